"""`suite.audit`: a run from Python on a network, images and labels in memory; otherwise as `suite run`."""

import operator
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from suite.config import RunConfig, validate
from suite.core.classes import ClassNames
from suite.core.network import Network
from suite.core.state import as_found
from suite.data.labels import resolve_label
from suite.data.sources import ImageFile, ImageList, in_run_order, list_digest, list_images
from suite.errors import ConfigError, DataError, NetworkError, did_you_mean
from suite.models.load import wrap
from suite.registry import load_object
from suite.report import build
from suite.report.sections import sections
from suite.report.tables import build_tables
from suite.results import read, read_manifest
from suite.run.runner import execute, prepare

Labels = Sequence[int | str | None] | Tensor | str | Path | None


class Audit:
    """The result of an audit. Its directory is a run's; a temporary one lives as long as this object.

    Attributes:
        run_dir: rows/, images/, run.json, and tables/, plots/, report.html once `report` is called.
    """

    def __init__(self, run_dir: Path | None) -> None:
        self.run_dir = run_dir or Path(tempfile.mkdtemp(prefix="suite-audit-"))
        if run_dir is None:
            weakref.finalize(self, shutil.rmtree, self.run_dir, ignore_errors=True)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row a number, as `suite.results.read` gives them."""
        return read(self.run_dir)

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The report's tables by name, verdicts first."""
        return build_tables(self.rows, read_manifest(self.run_dir))

    def table(self, name: str = "") -> pd.DataFrame:
        """One of the report's tables; the first without a name.

        Raises:
            ConfigError: there is no such table; the names of all are listed.
        """
        name = name or next(iter(self.tables))
        if name not in self.tables:
            hint = did_you_mean(name, self.tables)
            raise ConfigError(f"table {name!r}: not among this audit's{hint}; there are {', '.join(self.tables)}")
        return self.tables[name]

    def verdicts(self) -> pd.DataFrame:
        """All verdicts: study, model, method, measure, verdict, reason."""
        parts = [self.tables[s.verdicts].assign(study=s.study) for s in sections() if s.verdicts in self.tables]
        columns = ["study", "model", "method", "measure", "verdict", "reason"]
        return pd.concat([pd.DataFrame(columns=columns), *parts], ignore_index=True)[columns]

    def report(self, path: str | Path | None = None) -> Path:
        """Writes report.html, its tables and pictures, into the folder `path` (the audit's own without one)."""
        page = build(self.run_dir)
        if path is None or Path(path).resolve() == self.run_dir.resolve():
            return page
        shutil.copytree(self.run_dir, path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".lock"))
        return Path(path) / page.name


def audit(
    model: nn.Module,
    images: Tensor | str | Path,
    labels: Labels = None,
    *,
    methods: Sequence[str | Mapping[str, Any] | Callable[..., Tensor]] = (),
    studies: Sequence[str] | Mapping[str, Mapping[str, Any]] = ("agreement", "sharpness"),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: Sequence[str] | str | Path | None = None,
    name: str = "",
    run_dir: str | Path | None = None,
    network: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Audit:
    """Runs studies of attribution methods on a network and images in memory.

    Args:
        model: (B, 3, H, W) -> (B, K) unnormalised scores, in float32 or float64; left as it was.
        images: (B, 3, H, W) in [0, 1], before normalisation; or what `data.source` takes: a folder, a CSV, "embedded".
        labels: one an image, as index or class name, None where there is none: the top class is then explained. For a
            folder of images also a CSV of file,label.
        methods: names, mappings of `name`, `label` and parameters as in a YAML, or functions
            `(model, images, targets) -> (B, C, h, w)` of some module's top level. The four of `suite run` by default.
        studies: names, or name -> options.
        mean: per channel, of the normalisation that the network expects; without it the network takes pixels in [0, 1].
        std: beside `mean`.
        classes: K names, or a file of them; by default ImageNet's where K is 1,000, else indices.
        name: the network's in rows and tables; its class's by default.
        run_dir: where the run lands; a temporary directory by default.
        network: more of a YAML's network: `layer`; and `input_size`, `resize` for images from files.
        settings: more of a YAML: `seed`, `pictures`, `threads`, `trainer`, ...; `data` without its source.

    Raises:
        SuiteError: in one line, where no run is possible.
    """
    if not isinstance(model, nn.Module):
        raise NetworkError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(images, Tensor | str | Path):
        raise DataError(f"images: expected a tensor (B, 3, H, W) or a folder's path, got {type(images).__name__}")
    _refuse_half(model)
    title = name or (model.card.name if isinstance(model, Network) else type(model).__name__)
    entry: dict[str, Any] = {"name": title, "mean": mean, "std": std, **(network or {})}
    if isinstance(images, Tensor):
        _check_pixels(images)
        entry["input_size"] = tuple(images.shape[2:])
    if isinstance(classes, str | Path):
        entry["classes"], classes = str(classes), None
    if isinstance(studies, str):
        raise ConfigError(f"studies: expected a list, for example [{studies!r}], got a string")
    chosen = dict(studies) if isinstance(studies, Mapping) else {study: {} for study in studies}
    tree = {"name": "audit", **settings, "models": [entry], "studies": chosen}
    if methods:
        tree["methods"] = [_method(method) for method in methods]
    if not isinstance(images, Tensor):
        tree["data"] = {**settings.get("data", {}), "source": str(images)}
    config = validate(tree, "audit")
    threads = torch.get_num_threads()  # the run sets torch's threads
    try:
        with as_found(model):
            wrapped = _network(model, config, classes)
            prepared = prepare(
                config, loaded={title: wrapped}, images=_files(images, labels, wrapped.card.classes, config)
            )
            result = Audit(None if run_dir is None else Path(run_dir))
            execute(prepared, result.run_dir)
    finally:
        torch.set_num_threads(threads)
    return result


def _refuse_half(model: nn.Module) -> None:
    for key, weight in model.named_parameters():
        if weight.is_floating_point() and weight.dtype not in (torch.float32, torch.float64):
            why = f"its weight {key!r} is {weight.dtype}, too coarse for gradients to be compared"
            raise NetworkError(f"model: {why}: pass model.float(), or a copy of it")


def _check_pixels(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise DataError(f"images: expected (B, 3, H, W) with at least one image, got shape {tuple(images.shape)}")
    if not images.is_floating_point():
        raise DataError(f"images: expected floats in [0, 1], got {images.dtype}: pass images.float() / 255")
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise DataError(
            f"images: values from {low:.3g} to {high:.3g}, expected [0, 1]: pass them before normalisation, and its "
            "`mean` and `std` beside (or images.clamp(0, 1), where an interpolation went over)"
        )


def _method(method: object) -> str | dict[str, Any]:
    """A method as an entry of a YAML."""
    if isinstance(method, str | Mapping):
        return method if isinstance(method, str) else dict(method)
    target = f"{getattr(method, '__module__', '')}:{getattr(method, '__qualname__', '')}"
    if not callable(method) or "<" in target or load_object(target) is not method:
        raise ConfigError(f"methods: {method!r:.60} is no name, mapping or function of a module's top level")
    return {"name": target, "label": target.rpartition(":")[2]}


def _network(model: nn.Module, config: RunConfig, classes: Sequence[str] | None) -> Network:
    part = config.models[0]
    if not isinstance(model, Network):
        return wrap(model, part, classes)
    if part.mean or part.std:
        raise ConfigError("mean, std: this network has its own normalisation already; leave them out")
    size = part.input_size if isinstance(part.input_size, tuple) else model.card.input_size
    card = replace(model.card, name=part.title, input_size=size, layer=part.layer or model.card.layer)
    mean, std = (tuple(buffer.flatten().tolist()) for buffer in (model.mean, model.std))
    return Network(model.body, mean, std, card).eval()


def _files(images: Tensor | str | Path, labels: Labels, classes: ClassNames, config: RunConfig) -> ImageList:
    if isinstance(images, Tensor):
        if isinstance(labels, str | Path):
            raise DataError(f"labels {str(labels)!r}: a file goes with a folder of images; give one label an image")
        pixels = images.detach().cpu().to(torch.promote_types(images.dtype, torch.float32)).contiguous()
        named = [(f"image-{index:06d}", image) for index, image in enumerate(pixels)]
        files = tuple(ImageFile(n, Path(n), None, sha256(x.numpy().tobytes()).hexdigest(), x) for n, x in named)
        listed = ImageList("in hand", in_run_order(files, config.seed), len(files), list_digest(files), None)
    else:
        path, limit = labels if isinstance(labels, str | Path) else None, config.data.limit
        listed = list_images(images, labels=path, classes=classes, limit=limit, seed=config.seed)
    if labels is None or isinstance(labels, str | Path):
        return listed
    values = labels.tolist() if isinstance(labels, Tensor) else list(labels)
    if not isinstance(values, list) or len(values) != len(listed.files):
        raise DataError(f"labels: expected {len(listed.files)}, one an image, got {values!r:.60}")
    # Labels are in the order that a caller knows: the tensor's, or the folder's sorted names.
    by_id = sorted(listed.files, key=lambda file: file.id)
    files = tuple(replace(file, label=_label(values[i], i, classes)) for i, file in enumerate(by_id))
    return replace(listed, files=in_run_order(files, config.seed), digest=list_digest(files))


def _label(label: Any, index: int, classes: ClassNames) -> int | None:
    if label is None:
        return None
    where = f"labels[{index}]"
    if isinstance(label, str):
        return resolve_label(classes, label, where=where)
    try:
        if isinstance(label, bool):
            raise TypeError
        return resolve_label(classes, operator.index(label), where=where)
    except TypeError:
        raise DataError(f"{where}: expected a class index, a class name or None, got {label!r:.40}") from None
