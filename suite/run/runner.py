"""One run, from a configuration to rows on disk. Every process may do all that comes before the Trainer."""

import suite._torchvision  # noqa: F401

import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from suite.attribution.base import Attribution
from suite.config import NetworkConfig, RunConfig
from suite.core.classes import ClassNames
from suite.core.network import Network, zero_input
from suite.core.numerics import Numerics, numerics
from suite.core.passes import Needs, run_pass
from suite.data.boxes import check_boxes
from suite.data.datamodule import WorkData, WorkDataset
from suite.data.sources import ImageList, list_images, write_files_csv
from suite.errors import ConfigError, NetworkError, SuiteError, as_suite_error
from suite.models.load import load_model
from suite.quiet import quiet
from suite.registry import ALWAYS
from suite.results.manifest import RunLock, read_manifest, write_manifest
from suite.results.schema import AT_ONCE, METRIC_VERSIONS
from suite.results.store import compact, done, mend, names, scan, write_shard
from suite.run.bench import Bench, Progress, ShardWriter
from suite.run.environment import commit, hardware, versions
from suite.run.plan import WorkItem, assign_to_ranks, methods_of, plan, studies_of
from suite.run.process import is_first
from suite.studies.base import Study
from suite.training.fit import FACTORY

log = logging.getLogger("suite")


@dataclass
class Prepared:
    """All that a run needs before its first pass.

    Attributes:
        networks: title -> network, those that could be loaded.
        unavailable: title -> status (skipped where the configuration calls it optional, else failed) and message.
        items: all work, done or not.
    """

    config: RunConfig
    networks: dict[str, Network]
    unavailable: dict[str, dict[str, str]]
    methods: dict[str, Attribution]
    studies: dict[str, Study]
    images: ImageList
    items: list[WorkItem]

    @property
    def titles(self) -> list[str]:
        """Titles of all configured networks; a network's index here is its number in file names."""
        return [m.title for m in self.config.models]

    @property
    def run(self) -> str:
        """Marks the run's shards: configuration, images, and that chunks follow the order of `in_run_order`."""
        return f"{self.config.digest()}-{self.images.digest}-hashed"

    def shard(self, item: WorkItem) -> str:
        """An item's shard under rows/."""
        return item.shard(self.titles.index(item.model))


def prepare(
    config: RunConfig,
    loaded: Mapping[str, Network] | None = None,
    images: ImageList | None = None,
    *,
    fit: bool = True,
) -> Prepared:
    """Loads networks, builds methods, lists images, plans.

    Args:
        config: the run's.
        loaded: networks that are in hand already, by title.
        images: a list in hand already.
        fit: whether to train networks that need it; they have random weights otherwise, for a dry run.

    Raises:
        SuiteError: in one line, where no run is possible: an unknown method, parameter or layer, no images.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    methods = methods_of(config)
    studies = studies_of(config)
    with numerics(_numerics(config)):
        networks, unavailable = _networks(config, loaded or {}, fit)
    classes = [n.card.classes for n in networks.values()] or [_promised_classes(config)]
    if any(len(c) != len(classes[0]) for c in classes):
        raise ConfigError("models: networks of one run must have the same classes; run these one by one")
    if images is None:
        data = config.data
        images = list_images(
            data.source, labels=data.labels or None, classes=classes[0], limit=data.limit, seed=config.seed
        )
    if config.data.objects:
        check_boxes(config.data.objects)
    for network in networks.values():
        check_layers(network, methods)
    for study in studies.values():
        study.cost(methods, config)  # counting passes checks a study's own names and parameters
    for name, study in studies.items():
        for title in config.networks_of(name, list(networks)):
            if title in networks:
                study.check(config, networks[title])
    items = plan(config, list(networks), len(images.files), studies)
    return Prepared(config, networks, unavailable, methods, studies, images, items)


def _networks(
    config: RunConfig, loaded: Mapping[str, Network], fit: bool
) -> tuple[dict[str, Network], dict[str, dict[str, str]]]:
    """The networks that could be loaded, and the status and message of the others."""
    networks, unavailable = dict(loaded), {}
    for part in config.models:
        if part.title in networks:
            continue
        try:
            untrained = part.model_copy(update={"parameters": {**part.parameters, "fit": False}})
            networks[part.title] = _load(part if fit or part.factory != FACTORY else untrained)
        except NetworkError as error:
            unavailable[part.title] = {"status": "skipped" if part.optional else "failed", "message": str(error)}
            log.log(logging.WARNING if part.optional else logging.ERROR, "%s", error)
    needed = [reason["message"] for reason in unavailable.values() if reason["status"] == "failed"]
    if needed and not networks:
        raise NetworkError(needed[0])
    return networks, unavailable


def _promised_classes(config: RunConfig) -> ClassNames:
    """The classes that labels are resolved with where no network could be loaded."""
    files = [part.classes for part in config.models if part.classes]
    return ClassNames.from_file(files[0]) if files else ClassNames.imagenet()


def _load(part: NetworkConfig) -> Network:
    try:
        network = load_model(part)
    except SuiteError:
        raise
    except Exception as error:  # a factory of the user's own may raise anything
        raise NetworkError(str(as_suite_error(f"network {part.title!r}", error))) from error
    card = network.card
    if card.resize is not None and card.resize < max(card.input_size):
        raise ConfigError(
            f"models: {part.title!r}: resize {card.resize} is smaller than the input size {max(card.input_size)}; "
            "give resize >= input_size, or no resize"
        )
    return network


def check_layers(network: Network, methods: Mapping[str, Attribution]) -> None:
    """Refuses a method whose layer does not exist, is not called exactly once, or gives no tensor."""
    for label, method in methods.items():
        if method.layer_asked:
            needs = Needs(layers=frozenset({method.layer_asked}))
            try:
                run_pass(network, zero_input(network, network.card.input_size), 0, needs)
            except NetworkError as error:
                raise ConfigError(f"method {label!r} on {network.card.name}: {error}") from None


def execute(prepared: Prepared, run_dir: Path) -> dict[str, Any]:
    """Runs what is not done yet, and leaves rows and run.json.

    Returns:
        the manifest; its `status` is done, or interrupted where the run was stopped.

    Raises:
        SuiteError: where the directory belongs to another run, is in use, or cannot be written.
    """
    first = is_first()
    with quiet():
        trainer = _trainer(prepared, run_dir)
    with RunLock(run_dir) if first else nullcontext(), _stoppable():
        threads = prepared.config.threads or max(1, torch.get_num_threads() // trainer.num_devices)
        manifest = _claim(prepared, run_dir, threads) if first else {"threads": threads}
        already = done(run_dir, prepared.run)
        todo = [item for item in prepared.items if prepared.shard(item) not in already]
        if first:
            _write_unavailable(prepared, run_dir)
            _finish(manifest, run_dir, prepared, "running", len(prepared.items) - len(todo))
        try:
            if todo:
                with quiet(), _noting(prepared.config, manifest):
                    _predict(prepared, run_dir, trainer, todo, manifest["threads"])
            if first:
                _gather(prepared, run_dir)
        except (KeyboardInterrupt, SystemExit):
            if first:
                _finish(manifest, run_dir, prepared, "interrupted")
                log.warning("interrupted; what was done is kept, the same command goes on from here")
            return manifest
        except BaseException:
            if first:
                _finish(manifest, run_dir, prepared, "failed")
            raise
        if first:
            _finish(manifest, run_dir, prepared, "done")
    return manifest


def _gather(prepared: Prepared, run_dir: Path) -> None:
    """Puts the shards of each study into parts.

    Raises:
        SuiteError: an item has left no rows.
    """
    if missing := {prepared.shard(item) for item in prepared.items} - names(run_dir):
        raise SuiteError(
            f"{run_dir}: {len(missing)} of {len(prepared.items)} items left no rows, first {min(missing)}; "
            "give the same command again"
        )
    for name in prepared.studies:
        shards = {prepared.shard(item).partition("/")[2] for item in prepared.items if item.study == name}
        compact(run_dir / "rows" / name, shards)


def _numerics(config: RunConfig) -> Numerics:
    return Numerics(**config.numerics.model_dump())


@contextmanager
def _noting(config: RunConfig, manifest: dict[str, Any]) -> Iterator[None]:
    """The run's numerics; operators that have no deterministic form are named in its manifest, and in one line."""
    without: set[str] = set()
    try:
        with numerics(_numerics(config)) as without:
            yield
    finally:
        if without:
            log.warning(
                "%s: no deterministic form on this device, so last digits may differ between two runs; "
                "numerics.deterministic=false is faster and promises none",
                ", ".join(sorted(without)),
            )
        if "numerics" in manifest:
            manifest["numerics"]["not_deterministic"] = sorted({*manifest["numerics"]["not_deterministic"], *without})


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM stops a run as Ctrl-C does. Lightning only notes SIGTERM, and ignores Ctrl-C after the first one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _trainer(prepared: Prepared, run_dir: Path) -> pl.Trainer:
    settings = prepared.config.trainer
    cores = os.cpu_count() or 1
    if settings.accelerator == "cpu" and isinstance(settings.devices, int) and settings.devices > cores:
        raise ConfigError(f"trainer.devices: {settings.devices} processes on {cores} cores; give at most {cores}")
    try:
        return pl.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=settings.strategy,
            precision=settings.precision,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            inference_mode=False,
            callbacks=[ShardWriter(run_dir, prepared.titles, prepared.run), Progress()],
        )
    except (MisconfigurationException, ImportError, ValueError, TypeError) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def _predict(prepared: Prepared, run_dir: Path, trainer: pl.Trainer, todo: Sequence[WorkItem], threads: int) -> None:
    config = prepared.config
    for study in prepared.studies.values():
        study.prepare(config)
    for network in prepared.networks.values():
        network.requires_grad_(False)  # pixels need gradients, weights do not
    sizes = {title: network.card.taken for title, network in prepared.networks.items()}
    turns = assign_to_ranks(todo, trainer.world_size)
    data = WorkData(WorkDataset(turns, prepared.images, sizes), config.data.workers)
    bench = Bench(config, prepared.networks, prepared.methods, prepared.studies, run_dir, threads)
    trainer.predict(bench, datamodule=data, return_predictions=False)


def _claim(prepared: Prepared, run_dir: Path, threads: int) -> dict[str, Any]:
    """The directory's manifest: a new one, or the same run's; a directory of another run is refused."""
    fresh = _manifest(prepared, threads)
    if not (run_dir / "run.json").exists():
        stray = run_dir / "rows"
        if stray.exists() and any(stray.rglob("*.parquet")):
            raise SuiteError(f"{run_dir}: holds rows but no run.json; give another --run-dir or empty it")
        return fresh
    before = read_manifest(run_dir)
    fresh["threads"] = prepared.config.threads or before.get("threads", threads)  # else the rest is rounded otherwise
    for key, what in (("config_digest", "configuration"), ("data_digest", "images or labels")):
        old, new = before.get(key), fresh[key]
        if old != new:
            raise SuiteError(
                f"{run_dir}: belongs to a run of another {what} ({old}, this one's is {new}); give another --run-dir"
            )
    if before.get("metric_versions", {}) != METRIC_VERSIONS:
        raise SuiteError(
            f"{run_dir}: its metrics are of other versions ({before.get('metric_versions', {})}, this one's are "
            f"{METRIC_VERSIONS}); give another --run-dir"
        )
    for title, info in fresh["models"].items():
        digest = before.get("models", {}).get(title, {}).get("digest")
        if digest is not None and info["digest"] is not None and digest != info["digest"]:
            raise SuiteError(f"{run_dir}: network {title!r} had other weights there; give another --run-dir")
    mend(run_dir)
    fresh["numerics"] = {**fresh["numerics"], **before.get("numerics", {})}
    return {**fresh, "started": before.get("started", fresh["started"]), "id": before.get("id", fresh["id"])}


def _manifest(prepared: Prepared, threads: int) -> dict[str, Any]:
    config, images = prepared.config, prepared.images
    classes = next((n.card.classes for n in prepared.networks.values()), ClassNames.imagenet())
    labels = {file.label for file in images.files if file.label is not None}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "id": f"{config.name}-{config.digest()}",
        "name": config.name,
        "config": config.model_dump(mode="json"),
        "config_digest": config.digest(),
        "data_digest": images.digest,
        "seed": config.seed,
        "started": now,
        "versions": versions(),
        "metric_versions": METRIC_VERSIONS,
        "hardware": hardware(),
        "numerics": {**config.numerics.model_dump(), "not_deterministic": []},
        "commit": commit(),
        "threads": threads,
        "data": {
            "source": Path(images.source).resolve().name if images.source != "embedded" else "embedded",
            "n": len(images.files),
            "total": images.total,
            "digest": images.digest,
            "files": [{"id": f.id, "label": f.label, "sha256": f.sha256} for f in images.files],
        },
        "models": {title: _network_entry(prepared, title) for title in prepared.titles},
        "methods": {
            part.title: {
                "name": part.name,
                "parameters": part.parameters,
                "caption": repr(method),
                "signed": method.signed,
                "control": method.control,
            }
            for part, method in zip(config.methods, prepared.methods.values(), strict=True)
        },
        "class_names": {str(i): classes.name(i) for i in sorted(labels) if 0 <= i < len(classes)},
    }


def _network_entry(prepared: Prepared, title: str) -> dict[str, Any]:
    folder = f"{prepared.titles.index(title):02d}"  # under images/
    if title in prepared.unavailable:
        return {"folder": folder, "digest": None, "provider": None} | prepared.unavailable[title]
    card = prepared.networks[title].card
    return {
        "folder": folder,
        "digest": card.digest,
        "provider": card.provider,
        "classes": len(card.classes),
        "weights": sum(p.numel() for p in prepared.networks[title].parameters()),
        "input_size": list(card.input_size),
        "resize": card.resize,
        "default_layer": card.layer,
        "status": "ok",
    }


def _write_unavailable(prepared: Prepared, run_dir: Path) -> None:
    """Writes a row for each network that could not be loaded; removes it once the network can be."""
    for number, title in enumerate(prepared.titles):
        path = run_dir / "rows" / ALWAYS / f"{number:02d}-network.parquet"
        if title not in prepared.unavailable:
            path.unlink(missing_ok=True)
            continue
        row = {"study": ALWAYS, "model": title, "metric": "network"} | prepared.unavailable[title]
        write_shard(path, [row], prepared.run)


def _finish(
    manifest: dict[str, Any], run_dir: Path, prepared: Prepared, status: str, already: int | None = None
) -> None:
    if already is None:
        already = len(names(run_dir) & {prepared.shard(item) for item in prepared.items})
    manifest["status"] = status
    manifest["finished"] = datetime.now(UTC).isoformat(timespec="seconds") if status != "running" else None
    manifest["items"] = {"total": len(prepared.items), "done": already}
    if status != "running":
        classes = next((n.card.classes for n in prepared.networks.values()), None)
        indices, manifest["memory"] = _gleaned(run_dir)
        if classes is not None:
            manifest["class_names"] |= {str(i): classes.name(i) for i in indices}
    write_manifest(run_dir, manifest)
    if all(file.pixels is None for file in prepared.images.files):
        write_files_csv(prepared.images, run_dir / "files.csv")


def _gleaned(run_dir: Path) -> tuple[list[int], list[str]]:
    """The classes that rows speak of, and where memory did not hold a chunk."""
    classes, halved = set[float](), set[str]()
    for rows in scan(run_dir, columns=("study", "model", "metric", "status", "value", "target", "message")):
        is_class = pc.is_in(rows["metric"], pa.array(["top1", "prediction"]))
        predicted = pc.and_(is_class, pc.equal(rows["status"], "ok"))
        classes |= {*rows["value"].filter(predicted).unique().to_pylist(), *rows["target"].unique().to_pylist()}
        held = rows.filter(pc.equal(rows["metric"], AT_ONCE)).to_pylist()
        halved |= {f"{line['study']} on {line['model']}: {line['message']}" for line in held}
    return sorted(int(one) for one in classes if one is not None), sorted(halved)
