"""What a run is: the frozen schema, YAML, dotted overrides, the digest. No torch; names are resolved by `check`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from suite.errors import ConfigError, did_you_mean


def _fraction(value: object) -> object:
    """Reads `8/255` as a number; everything else is left to pydantic."""
    if isinstance(value, str) and "/" in value:
        try:
            over, under = value.split("/")
            return float(Fraction(over.strip()) / Fraction(under.strip()))
        except (ValueError, ZeroDivisionError):
            return value
    return value


def parse_number(what: str, text: str) -> float:
    """`8/255` or `0.03` from a command line."""
    try:
        return float(_fraction(text))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigError(f"{what} {text!r}: expected a number such as 4/255 or 0.02") from None


Number = Annotated[float, BeforeValidator(_fraction)]
Side = Annotated[int, Field(ge=1, le=10_000)]  # pixels


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NetworkConfig(_Part):
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


class MethodConfig(_Part):
    """A method, its label in the rows, and its parameters. A bare string in the YAML is its `name`."""

    name: str
    label: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, value: object) -> object:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and "parameters" not in value:
            rest = {k: v for k, v in value.items() if k not in ("name", "label")}
            return {k: v for k, v in value.items() if k in ("name", "label")} | {"parameters": rest}
        return value

    @property
    def title(self) -> str:
        """The method's name in rows."""
        return self.label or self.name


class DataConfig(_Part):
    """Which images, which labels, how many, and the size of the fixed chunks in which they are worked on."""

    source: str = "embedded"
    labels: str = Field("", description="a CSV or the devkit's ground truth, for folders that carry no labels")
    limit: int | None = Field(None, ge=1)
    boxes: str = Field(
        "",
        description="a folder of VOC-style XML files, one an image, named as it is; the embedded photos have their own",
    )
    batch_size: int = Field(10, ge=1)
    workers: int = Field(0, ge=0, description="processes that decode images beside the one that computes")

    @property
    def objects(self) -> str:
        """Where the boxes of the objects are, "" where there are none."""
        return self.boxes or (self.source if self.source == "embedded" else "")


class _Study(_Part):
    networks: tuple[str, ...] = Field((), description="by title; all by default")


class AgreementConfig(_Study):
    """Handwritten against the reference, per image."""


class ComparisonConfig(_Study):
    """Method against method, beside maps of unrelated photos."""


class SharpnessConfig(_Study):
    """How concentrated the maps are: entropy, Gini, total variation, mass of the largest region."""


class BetweenNetworksConfig(_Study):
    """Network against network, by the maps of the same photo."""


class DifferentiateConfig(_Study):
    """Score, log-probability, probability or cross entropy; and where a gradient stops telling."""

    radii: tuple[Number, ...] = (1 / 16320, 1 / 4080, 1 / 1020, 1 / 255, 4 / 255, 16 / 255)
    grid: int = Field(4, ge=2, description="squares a side, whose interactions are measured")


Score = Literal[
    "deletion", "insertion", "road", "fidelity", "sensitivity", "complexity", "grid", "composites", "boxes", "axioms"
]
Ground = Literal["mean", "zeros", "white", "blurred", "noise"]


class ScoresConfig(_Study):
    """Metrics of maps, each beside maps that never see the network."""

    metrics: tuple[Score, ...] = Field(get_args(Score), min_length=1)
    steps: int = Field(28, ge=2, description="points of a deletion or insertion curve after the first")
    deletion: tuple[Ground, ...] = Field(("mean",), min_length=1, description="what replaces deleted pixels")
    insertion: tuple[Ground, ...] = Field(("blurred",), min_length=1, description="what pixels are inserted into")
    removed: tuple[float, ...] = Field((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), min_length=1)
    superpixels: int = Field(80, ge=5, description="of SLIC, a photo")
    samples: int = Field(100, ge=3, description="random subsets of superpixels a photo")
    perturbations: int = Field(10, ge=1, description="noisy copies for sensitivity")
    radius: Number = Field(0.02, gt=0, le=1, description="of that noise, in pixel units [0, 1]")
    confidence: float = Field(0.5, ge=0, lt=1, description="least confidence of photos in mosaics and composites")
    grids: tuple[int, ...] = Field((2, 3), min_length=1, description="sides of the mosaics, in photos")

    @field_validator("removed")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < share < 1 for share in value) or list(value) != sorted(set(value)):
            raise ValueError("expected rising shares strictly between 0 and 1, such as [0.1, 0.5, 0.9]")
        return value

    @field_validator("grids")
    @classmethod
    def _sides(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(2 <= side <= 8 for side in value):
            raise ValueError("expected sides of 2 to 8 photos, such as [2, 3]")
        return value


class AttacksConfig(_Study):
    """How easily the network is fooled, whether the attack is sound, and whether the maps notice."""

    methods: tuple[MethodConfig, ...] = Field(
        (
            MethodConfig(name="fgsm"),
            MethodConfig(name="pgd", parameters={"early_stop": True}),
            MethodConfig(name="pgd_l2", parameters={"early_stop": True}),
        ),
        min_length=1,
        description="attacks that take an epsilon; noise of the same size is added as a control",
    )
    epsilons: tuple[Number, ...] = (0, *(e / 255 for e in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)))
    epsilons_l2: tuple[Number, ...] = (0, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 100)
    at: Number = Field(1 / 255, gt=0, le=1, description="epsilon of transfer, maps, targets, agreement and the audit")
    targets: tuple[str, ...] = Field((), description="classes to aim at, by name, index or synset id")
    minimal: bool = Field(True, description="the smallest epsilon a photo, by bisection")
    agreement: bool = Field(True, description="torchattacks beside ours")
    noise_draws: int = Field(20, ge=1, description="draws of noise a photo and epsilon, of which the share that fools")
    limits: bool = Field(True, description="the fooling image's step swept, and gone on past success")
    audit: bool = True

    @field_validator("epsilons", "epsilons_l2")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(e < 0 for e in value) or list(value) != sorted(set(value)):
            raise ValueError("give radii of at least 0, ascending")
        return value

    @field_validator("epsilons")
    @classmethod
    def _in_pixels(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(e > 1 for e in value):
            raise ValueError(f"{max(value):g}: pixels are in [0, 1], so at most 1; did you mean {max(value):g}/255?")
        return value


class StylePairConfig(_Part):
    """A photo and a painting: names in `paintings`, names of pictures that scikit-image ships, or files."""

    content: str
    style: str
    preset: str = Field("", description="of the painting; the painting's own name where that is one, else starry_night")
    parameters: dict[str, Any] = Field(default_factory=dict, description="instead of the preset's: steps, form, ...")


class StyleTransferConfig(_Study):
    """Photos painted as paintings, judged by networks that were not asked, and what that does to maps."""

    pairs: tuple[StylePairConfig, ...] = Field(
        tuple(
            StylePairConfig(content="tubingen", style=style)
            for style in ("composition_vii", "the_scream", "starry_night")
        ),
        min_length=1,
    )
    paintings: str = Field("", description="a folder of pictures named as the pairs name them; others stand in without")
    size: int = Field(192, ge=32, le=2048, description="pixels of the photo's shorter side")

    @field_validator("pairs")
    @classmethod
    def _different(cls, value: tuple[StylePairConfig, ...]) -> tuple[StylePairConfig, ...]:
        names = [(pair.content, pair.style) for pair in value]
        if len(set(names)) < len(names):
            raise ValueError("give each pair of a photo and a painting once")
        return value


class PictureConfig(_Part):
    """What a picture is to be of. A bare string in the YAML is its `target`; a photo is an id, a label, or a path."""

    target: str = Field("", description="a class by name, index or synset id")
    layer: str = Field("", description="instead of a class")
    channel: int | None = Field(None, ge=0, description="of the layer")
    position: tuple[int, int] | None = Field(None, description="row and column of one neuron of the channel")
    like: str = Field("", description="a photo whose output of the layer is to be met: feature inversion")
    start: str = Field("", description="a photo to begin from, instead of noise")

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: object) -> object:
        return {"target": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_thing(self) -> "PictureConfig":
        if bool(self.target) == bool(self.layer):
            raise ValueError("a picture is of a class or of a layer: give `target` or `layer`")
        return self

    @property
    def title(self) -> str:
        """The picture's name in rows."""
        parts = [self.target or self.layer, *([f"channel {self.channel}"] if self.channel is not None else [])]
        parts += [f"at {self.position[0]}, {self.position[1]}"] if self.position else []
        return " ".join([*parts, *(f"{word} {photo}" for word in ("like", "start") if (photo := getattr(self, word)))])


class JobConfig(_Part):
    """Pictures that are made as one batch: each of `pictures` in each of `variants` and with each of `seeds`."""

    name: str = Field(min_length=1)
    pictures: tuple[PictureConfig, ...] = Field(min_length=1)
    preset: str = "cs231n"
    recipe: dict[str, Any] = Field(default_factory=dict, description="fields of the preset that are to be others")
    variants: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="name -> fields of the recipe, or another `preset`; the first is the measure"
    )
    seeds: int = Field(1, ge=1, description="of noise and jitter, from the run's own upwards")
    snapshots: tuple[int, ...] = Field((), description="iterations after which pictures are kept and scored too")
    networks: tuple[str, ...] = Field((), description="by title; all by default")


class VisualizationConfig(_Study):
    """What the network looks for: class visualisation, a job a batch."""

    jobs: tuple[JobConfig, ...] = Field(
        (JobConfig(name="recipes", pictures=(PictureConfig(target="gorilla"), PictureConfig(target="snail"))),),
        min_length=1,
    )

    @field_validator("jobs")
    @classmethod
    def _distinct(cls, value: tuple[JobConfig, ...]) -> tuple[JobConfig, ...]:
        for what, names in [("jobs", [j.name for j in value])] + [
            (j.name, [p.title for p in j.pictures]) for j in value
        ]:
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what}: {twice[0]!r} appears twice")
        return value


class SpeedConfig(_Study):
    """Own, reference and the bare passes, interleaved."""

    rounds: int = Field(10, ge=2)
    one_by_one: bool = True
    memory: bool = True


class SanityConfig(_Study):
    """Weight randomisation: does the map depend on what the network learned?"""

    orders: tuple[Literal["cascade_top", "cascade_bottom", "independent"], ...] = (
        "cascade_top",
        "cascade_bottom",
        "independent",
    )
    stages: Literal["all", "verdict"] = Field("all", description="verdict: top block, upper half, everything, almost")
    unit: Literal["block", "layer"] = "block"
    blocks: tuple[str, ...] = Field((), description="modules that are the blocks; found by architecture by default")
    draws: int = Field(10, ge=1, description="random networks; fewer than 3 decide nothing")
    noise: Number = Field(0.0112, gt=0, description="standard deviation of e, in pixel units [0, 1]")
    noise_factors: tuple[Number, ...] = Field((0.5, 1, 2, 4), description="times `noise`, for the stability")
    cells: tuple[int, ...] = Field((1, 4, 8, 16), description="pixels averaged before maps are compared; 4 is judged")
    batch_norm: Literal["kept", "reset"] = Field("kept", description="running statistics of randomised blocks")
    score: Literal["before_last_rectifier", "as_is"] = "before_last_rectifier"
    target: Literal["label", "top"] = "label"
    random_logit: bool = Field(True, description="also explain another class's score with the intact network")
    smoothed: int = Field(0, ge=0, description="noisy copies a map for sMPRT; 0 leaves it out")

    @model_validator(mode="after")
    def _judged(self) -> "SanityConfig":
        if "cascade_top" not in self.orders:
            raise ValueError("orders: cascade_top is what the verdict rests on; leave it in")
        if 1 not in self.noise_factors or 4 not in self.cells:
            raise ValueError("noise_factors must hold 1 and cells 4: the verdict is worked out there")
        return self


class LabelsConfig(_Study):
    """Label randomisation: the same network, trained on permuted labels; networks of suite.training alone."""

    seeds: int = Field(3, ge=1, description="pairs of trainings; fewer than 3 decide nothing")
    count: int = Field(0, ge=0, description="pictures the permuted network learns; as many as the other by default")
    against: tuple[str, ...] = Field((), description="other architectures, whose maps of a photo are compared too")
    noise: Number = Field(0.0112, gt=0, description="standard deviation of e, in pixel units [0, 1]")
    noise_factors: tuple[Number, ...] = (0.5, 1, 2, 4)
    cells: tuple[int, ...] = (1, 4)


class ShortcutConfig(_Study):
    """A planted shortcut: does a map show the patch when, and only when, the network uses it?"""

    seeds: int = Field(1, ge=1, description="pairs of trainings")


class StudiesConfig(_Part):
    """Which studies run; a study that is absent does not."""

    agreement: AgreementConfig | None = None
    comparison: ComparisonConfig | None = None
    sharpness: SharpnessConfig | None = None
    between_networks: BetweenNetworksConfig | None = None
    differentiate: DifferentiateConfig | None = None
    sanity: SanityConfig | None = None
    labels: LabelsConfig | None = None
    shortcut: ShortcutConfig | None = None
    scores: ScoresConfig | None = None
    attacks: AttacksConfig | None = None
    style_transfer: StyleTransferConfig | None = None
    visualization: VisualizationConfig | None = None
    speed: SpeedConfig | None = None
    digits: dict[str, Any] | None = Field(None, description="a run of its own, on networks that are trained first")

    def chosen(self) -> tuple[str, ...]:
        """Names of the studies asked for, in the order of the schema."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)


class TrainerConfig(_Part):
    """Lightning's own words for devices, nodes, precision and strategy."""

    accelerator: str = "auto"
    devices: int | str = 1
    num_nodes: int = Field(1, ge=1)
    strategy: str = "auto"
    precision: Literal["32-true", "64-true", "16-mixed", "bf16-mixed"] = "32-true"


class RunConfig(_Part):
    """One run. Two runs with equal digests compute the same rows."""

    name: str = "run"
    seed: int = Field(0, ge=0, lt=2**63)
    threads: int | None = Field(
        None, ge=1, le=1024, description="torch's CPU threads a process; torch's own choice by default"
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

    def asked(self, study: str, there: Sequence[str] = ()) -> Sequence[str]:
        """Titles of the networks that a study looks at; where it names none, those that are there, else all.

        Raises:
            ConfigError: it names one that the run does not have.
        """
        titles = tuple(part.title for part in self.models)
        wanted = tuple(getattr(getattr(self.studies, study, None), "networks", ()))
        for title in wanted:
            if title not in titles:
                raise ConfigError(f"studies.{study}.networks: no network {title!r}{did_you_mean(title, titles)}")
        return wanted or there or titles

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


def load(path: Path, overrides: Sequence[str] = (), **changes: object) -> RunConfig:
    """Reads a YAML file, applies `key.path=value` overrides, and validates.

    Args:
        path: the YAML file; its stem is the run's name unless it says otherwise.
        overrides: `data.limit=5`, `models.0.name=vgg16`; values are read as YAML.
        changes: the same with dots as double underscores, for callers with typed values (`data__limit=5`).

    Raises:
        ConfigError: in one line, with the path of the key that is wrong.
    """
    try:
        tree = _Unique(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        shipped = sorted(str(p) for p in Path("configs").glob("*.yaml"))
        raise ConfigError(f"{path}: no such configuration{did_you_mean(str(path), shipped)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); expected a YAML file") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys and values at the top, found {type(tree).__name__}")
    tree = {"name": path.stem} | tree
    presets: Any = tree.pop("presets", {})
    for text in [text for text in overrides if text.startswith("preset=")]:
        preset = text.removeprefix("preset=")
        if not isinstance(presets, dict) or preset not in presets:
            raise ConfigError(
                f"preset {preset!r}: {path} has {', '.join(presets) or 'none'}{did_you_mean(preset, presets)}"
            )
        tree |= {"name": f"{path.stem}-{preset}"} | presets[preset]
    overrides = [text for text in overrides if not text.startswith("preset=")]
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"override {text!r}: expected key=value, for example data.limit=5")
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
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        if isinstance(node, list):
            if not key.isdecimal() or int(key) >= len(node):
                raise ConfigError(f"override {text!r}: {key!r} is not an index of a list of {len(node)}")
            place: Any = int(key)
        elif isinstance(node, dict):
            place = key
        else:
            raise ConfigError(f"override {text!r}: {key!r} has no place inside {node!r}")
        if following is None:
            node[place] = value
            return
        child = node.get(place) if isinstance(node, dict) else node[place]
        if isinstance(child, str):
            child = {"name": child}
        if child is None:
            child = {}
        node[place] = child
        node = child


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the top level"
    if first["type"] == "extra_forbidden":
        known = _fields_at(first["loc"][:-1])
        hint = did_you_mean(str(first["loc"][-1]), known) or f"; known here: {', '.join(known)}"
        return f"{where}: unknown key{hint}"
    got = first.get("input")
    shown = "" if isinstance(got, Mapping) or first["type"] == "value_error" else f" (got {got!r:.80})"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg'].removeprefix('Value error, ')}{shown}{more}"


def _fields_at(location: Sequence[int | str]) -> list[str]:
    kind: Any = RunConfig
    for part in location:
        if isinstance(part, int):
            continue
        annotation = kind.model_fields[part].annotation if part in kind.model_fields else None
        inner = [a for a in _flat(annotation) if isinstance(a, type) and issubclass(a, BaseModel)]
        if inner:
            kind = inner[0]
    return list(kind.model_fields)


def _flat(annotation: Any) -> list[Any]:
    arguments = getattr(annotation, "__args__", ())
    return [annotation] if not arguments else [leaf for a in arguments for leaf in _flat(a)]
