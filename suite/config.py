"""What a run is: the frozen schema, YAML, dotted overrides, the digest. No torch; names are resolved by `check`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, create_model, field_validator, model_validator

from suite.errors import ConfigError, did_you_mean
from suite.registry import ALWAYS, studies, study_part
from suite.settings import MethodConfig, Part, Side, StudySettings

S = TypeVar("S")


class NetworkConfig(Part):
    """A network and where its weights come from. A bare string in the YAML is its `name`."""

    name: str = ""
    label: str = Field("", description="the name in rows and tables; the network's name by default")
    provider: Literal["auto", "embedded", "torchvision", "timm", "factory"] = "auto"
    weights: str = Field("default", description="default, random, a weights enum name, or a .safetensors / .pth file")
    sha256: str = Field("", description="expected digest of a weights file; checked before it is read")
    seed: int = Field(0, description="seed of random weights")
    factory: str = Field("", description="package.module:function returning an nn.Module")
    parameters: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the factory")
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    input_size: Side | tuple[Side, Side] | None = None
    resize: Side | None = None
    classes: str = Field("", description="a file with one class name a line; bare indices without it")
    layer: str = Field("", description="target layer of the CAM family; found by architecture by default")
    optional: bool = Field(False, description="when it cannot be had: skipped rows instead of failed ones")

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _named(self) -> "NetworkConfig":
        if not self.factory and not self.name:
            raise ValueError("a network needs `name` or `factory`")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together: give both or neither")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std {self.std}: expected three numbers above 0, in [0, 1] pixel units")
        return self

    @property
    def title(self) -> str:
        """The network's name in rows: its label, else its name, else the factory's function."""
        return self.label or self.name or self.factory.rpartition(":")[2]


class DataConfig(Part):
    """Which images, which labels, how many, and the size of the fixed chunks in which they are worked on."""

    source: str = "embedded"
    labels: str = Field("", description="a CSV or the devkit's ground truth, for folders that carry no labels")
    limit: int | None = Field(None, ge=1)
    boxes: str = Field("", description="a folder of VOC-style XML, a file an image; the embedded photos have their own")
    batch_size: int = Field(10, ge=1)
    workers: int = Field(0, ge=0, description="processes that decode images beside the one that computes")

    @property
    def objects(self) -> str:
        """Where the boxes of the objects are, "" where there are none."""
        return self.boxes or (self.source if self.source == "embedded" else "")


class _Chosen(Part):
    """Which studies run; a study that is absent does not."""

    def chosen(self) -> tuple[str, ...]:
        """Names of the studies asked for, in the order of the registry."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)


if TYPE_CHECKING:
    StudiesConfig = _Chosen
else:  # a field for each study that may be chosen, also for those of installed packages
    _settings = {name: study_part(name, "config:CONFIG") or StudySettings for name in studies() if name != ALWAYS}
    _fields = {name: (kind | None, None) for name, kind in _settings.items()}
    StudiesConfig = create_model("StudiesConfig", __base__=_Chosen, **_fields)


class TrainerConfig(Part):
    """Lightning's own words for devices, nodes, precision and strategy."""

    accelerator: str = "auto"
    devices: int | str = 1
    num_nodes: int = Field(1, ge=1)
    strategy: str = "auto"
    precision: Literal["32-true", "64-true", "16-mixed", "bf16-mixed"] = "32-true"


class NumericsConfig(Part):
    """How a device computes; what it means is said in `suite.core.numerics`."""

    tf32: bool = Field(False, description="cards may round the inputs of convolutions and matrix products to 10 bits")
    deterministic: bool = Field(True, description="the same bits twice on a card, where its operators have such a form")
    draws: Literal["device", "cpu"] = Field("device", description="cpu gives a card the random numbers of a CPU")
    memory: float = Field(0.6, gt=0, le=1, description="share of a card's free memory that many passes may fill")


class RunConfig(Part):
    """One run. Two runs with equal digests compute the same rows."""

    name: str = "run"
    seed: int = Field(0, ge=0, lt=2**63)
    threads: int | None = Field(
        None, ge=1, le=1024, description="torch's CPU threads a process; torch's own by default"
    )
    models: tuple[NetworkConfig, ...] = Field((NetworkConfig(name="squeezenet1_1"),), min_length=1)
    data: DataConfig = DataConfig()
    methods: tuple[MethodConfig, ...] = Field(
        tuple(MethodConfig(name=n) for n in ("saliency", "guided_backprop", "grad_cam", "guided_grad_cam")),
        min_length=1,
    )
    studies: StudiesConfig = StudiesConfig()
    pictures: int = Field(40, ge=0, description="photos a network whose maps are kept and drawn")
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    trainer: TrainerConfig = TrainerConfig()
    numerics: NumericsConfig = NumericsConfig()

    @model_validator(mode="before")
    @classmethod
    def _one_model(cls, value: object) -> object:
        if isinstance(value, Mapping) and "model" in value:
            if "models" in value:
                raise ValueError("give `model` or `models`, not both")
            return {k: v for k, v in value.items() if k != "model"} | {"models": [value["model"]]}
        return value

    @field_validator("name")
    @classmethod
    def _no_path(cls, value: str) -> str:
        if value in ("", ".", "..") or set("/\\\0") & set(value):
            raise ValueError(f"{value!r} is no name: the run lands in reports/<name>; --run-dir takes a path")
        return value

    @field_validator("models", "methods")
    @classmethod
    def _distinct(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        titles = [part.title for part in value]
        twice = sorted({t for t in titles if titles.count(t) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} appears twice; give each a `label` of its own")
        return value

    def section(self, kind: type[S], default: S | None = None) -> S:
        """The settings of this kind: of the study that has them, or the default where that study was not asked for."""
        for name in self.studies.chosen():
            settings = getattr(self.studies, name)
            if isinstance(settings, kind):
                return settings
        if default is None:
            raise LookupError(f"no study of this run has settings of {kind.__name__}")
        return default

    def networks_of(self, study: str, available: Sequence[str] = ()) -> Sequence[str]:
        """Titles of the networks of a study; where it names none, the available ones, else all.

        Raises:
            ConfigError: it names one that the run does not have.
        """
        titles = tuple(part.title for part in self.models)
        chosen = tuple(getattr(getattr(self.studies, study, None), "networks", ()))
        for title in chosen:
            if title not in titles:
                raise ConfigError(f"studies.{study}.networks: no network {title!r}{did_you_mean(title, titles)}")
        return chosen or available or titles

    def digest(self) -> str:
        """Identifies what the run computes: everything but its name and how many processes share the work."""
        content = self.model_dump(mode="json")
        content.pop("name")
        content["data"].pop("workers")
        for key in ("devices", "num_nodes", "strategy"):
            content["trainer"].pop(key)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


class _Unique(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = _Unique(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        shipped = sorted(str(p) for p in Path("configs").glob("*.yaml"))
        raise ConfigError(f"{path}: no such configuration{did_you_mean(str(path), shipped)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); expected a YAML file") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict | None):
        raise ConfigError(f"{path}: expected keys and values at the top, found {type(tree).__name__}")
    return tree or {}


def load(path: Path, overrides: Sequence[str] = (), **changes: object) -> RunConfig:
    """Reads a YAML file, applies `key.path=value` overrides, and validates.

    Args:
        path: the YAML file; its stem is the run's name unless it says otherwise.
        overrides: `data.limit=5`, `models.0.name=vgg16`; values are read as YAML.
        changes: the same with dots as double underscores, for callers with typed values (`data__limit=5`).

    Raises:
        ConfigError: in one line, with the path of the key that is wrong.
    """
    tree = {"name": path.stem} | _read_yaml(path)
    presets: Any = tree.pop("presets", {})
    chosen = [text.removeprefix("preset=") for text in overrides if text.startswith("preset=")]
    for preset in chosen:
        if not isinstance(presets, dict) or preset not in presets:
            names = f"{', '.join(presets) or 'none'}{did_you_mean(preset, presets)}"
            raise ConfigError(f"preset {preset!r}: {path} has {names}")
        tree |= {"name": f"{path.stem}-{preset}"} | presets[preset]
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"override {text!r}: expected key=value, for example data.limit=5")
        if text.startswith("preset="):
            continue
        try:
            _set(tree, key.strip().split("."), yaml.safe_load(value), text)
        except yaml.YAMLError:
            raise ConfigError(f"override {text!r}: the value is not valid YAML") from None
    for name, typed in changes.items():
        if typed is not None:
            _set(tree, name.split("__"), typed, name)
    return validate(tree, str(path))


def validate(tree: Mapping[str, Any], origin: str = "configuration") -> RunConfig:
    """Checks a tree of plain values against the schema; one line for the first thing that is wrong."""
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(error)}") from None


def _set(tree: dict[str, Any], keys: list[str], value: object, text: str) -> None:
    node: Any = tree
    for depth, key in enumerate(keys, start=1):
        at: Any = key
        if isinstance(node, list):
            if not key.isdecimal() or int(key) >= len(node):
                raise ConfigError(f"override {text!r}: {key!r} is not an index of a list of {len(node)}")
            at = int(key)
        elif not isinstance(node, dict):
            raise ConfigError(f"override {text!r}: {key!r} has no place inside {node!r}")
        if depth == len(keys):
            node[at] = value
            return
        child = node.get(at) if isinstance(node, dict) else node[at]
        node[at] = {"name": child} if isinstance(child, str) else {} if child is None else child
        node = node[at]


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the top level"
    if first["type"] == "extra_forbidden":
        keys = _fields_at(first["loc"][:-1])
        hint = did_you_mean(str(first["loc"][-1]), keys) or f"; known here: {', '.join(keys)}"
        return f"{where}: unknown key{hint}"
    got = first.get("input")
    shown = "" if isinstance(got, Mapping) or first["type"] == "value_error" else f" (got {got!r:.80})"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg'].removeprefix('Value error, ')}{shown}{more}"


def _fields_at(location: Sequence[int | str]) -> list[str]:
    kind: Any = RunConfig
    for part in location:
        leaves: list[Any] = [kind.model_fields[part].annotation] if part in kind.model_fields else []
        while leaves and not (isinstance(leaves[0], type) and issubclass(leaves[0], BaseModel)):
            leaves = [*getattr(leaves[0], "__args__", ()), *leaves[1:]]
        kind = leaves[0] if leaves else kind
    return list(kind.model_fields)
