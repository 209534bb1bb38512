"""The schema: what is refused and in which words, fractions, overrides, the digest."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from suite.config import RunConfig, load, validate
from suite.errors import ConfigError

SHIPPED = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def said(text: str, tmp_path: Path, *overrides: str, **changes: object) -> str:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, overrides, **changes)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("data: {limitt: 3}", ["data.limitt", "unknown key", "did you mean 'limit'"]),
        ("sed: 1", ["sed: unknown key", "'seed'"]),
        ("zzzzzz: 1", ["zzzzzz", "known here", "models", "studies"]),
        ("studies: {agrement: {}}", ["studies.agrement", "'agreement'"]),
        ("studies: {speed: {round: 3}}", ["studies.speed.round", "'rounds'"]),
        ("model: {name: a, weigths: random}", ["models.0.weigths", "'weights'"]),
        ("data: {limit: many}", ["data.limit", "integer", "'many'"]),
        ("data: {limit: 0}", ["data.limit", "greater than or equal to 1"]),
        ("data: {batch_size: 2.5}", ["data.batch_size", "2.5"]),
        ("data: 3", ["data:", "3"]),
        ("studies: {speed: {rounds: 1}}", ["studies.speed.rounds", "2"]),
        ("trainer: {precision: '8'}", ["trainer.precision", "32-true"]),
        ("model: a\nmodels: [b]", ["`model` or `models`"]),
        ("models: []", ["models", "at least 1"]),
        ("methods: []", ["methods", "at least 1"]),
        ("methods: [saliency, saliency]", ["methods", "'saliency' appears twice", "label"]),
        ("models: [a, a]", ["models", "'a' appears twice"]),
        ("methods: [3]", ["methods.0", "3"]),
        ("model: {}", ["models.0", "`name` or `factory`"]),
        ("model: {factory: 'a:b', input_size: [1, 2, 3]}", ["models.0.input_size"]),
        ("[1, 2]", ["keys and values", "list"]),
        ("just words", ["keys and values", "str"]),
        ("a: [1", ["not valid YAML"]),
        ("a: b: c", ["not valid YAML"]),
        ("1: 2", ["1"]),
        ("threads: 1\nseed: 3\nthreads: 2", ["'threads' stands twice", "line 3"]),
        ("data: {limit: 1, limit: 2}", ["'limit' stands twice"]),
        ("name: ../../elsewhere", ["name:", "is no name", "--run-dir"]),
        ("threads: 100000", ["threads", "1024"]),
        ("seed: -1", ["seed", "greater than or equal to 0"]),
        ("studies: {sanity: {noise: .nan}}", ["studies.sanity.noise", "finite"]),
        ("model: {name: a, mean: [0, 0, 0]}", ["models.0", "mean and std go together"]),
        ("model: {name: a, mean: [0, 0, 0], std: [1, 1, 0]}", ["models.0", "std", "above 0"]),
        ("model: {name: a, mean: [0, 0, .nan], std: [1, 1, 1]}", ["models.0.mean.2", "finite"]),
        ("model: {name: a, input_size: 0}", ["models.0.input_size", "greater than or equal to 1"]),
    ],
)
def test_bad_input_is_one_line_that_names_it(text: str, parts: list[str], tmp_path: Path) -> None:
    message = said(text, tmp_path)
    for part in parts:
        assert part in message, message
    assert str(tmp_path / "c.yaml") in message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("data.limti=3", ["data.limti", "'limit'"]),
        ("nonsense", ["'nonsense'", "key=value"]),
        ("=3", ["'=3'", "key=value"]),
        ("methods.4.name=x", ["'4' is not an index of a list of 2"]),
        ("methods.²=x", ["'²' is not an index"]),
        ("methods.first=x", ["'first' is not an index"]),
        ("seed.deep=1", ["'deep' has no place inside 1"]),
        ("data.limit=[1", ["not valid YAML"]),
        ("data..limit=1", ["unknown key"]),
    ],
)
def test_bad_overrides(override: str, parts: list[str], tmp_path: Path) -> None:
    message = said("seed: 1\nmethods: [saliency, grad_cam]", tmp_path, override)
    for part in parts:
        assert part in message, message


def test_missing_and_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quick.yaml").touch()
    with pytest.raises(
        ConfigError, match=r"configs/quik.yaml: no such configuration; did you mean 'configs/quick.yaml'"
    ):
        load(Path("configs/quik.yaml"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(ConfigError, match=r"bytes\.yaml: (cannot be read|not valid YAML)"):
        load(tmp_path / "bytes.yaml")


def test_overrides_reach_inside_lists_and_bare_strings(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("methods: [saliency, grad_cam]\nmodel: vgg16")
    made = load(path, ["methods.1.layer=features.3", "data.limit=5", "name=other"], seed=7, data__batch_size=2)
    assert made.methods[1].parameters == {"layer": "features.3"}
    assert (made.data.limit, made.name, made.seed, made.data.batch_size) == (5, "other", 7, 2)
    assert [m.title for m in made.models] == ["vgg16"]
    assert load(path).name == "c"


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text("")
    assert load(tmp_path / "e.yaml").methods == RunConfig(name="e").methods


def test_fractions() -> None:
    radii = validate({"studies": {"differentiate": {"radii": ["8/255", "1 / 4", 0.5]}}}).studies.differentiate
    assert radii is not None
    assert radii.radii == (8 / 255, 0.25, 0.5)
    for wrong in ("1/0", "a/b", "1/2/3"):
        with pytest.raises(ConfigError, match=r"studies.differentiate.radii.0"):
            validate({"studies": {"differentiate": {"radii": [wrong]}}})


def test_model_and_models_are_the_same_thing() -> None:
    assert validate({"model": "a"}).digest() == validate({"models": ["a"]}).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"threads": 3},
        {"data": {"limit": 3}},
        {"data": {"batch_size": 3}},
        {"data": {"source": "x"}},
        {"methods": ["saliency"]},
        {"methods": [{"name": "grad_cam", "relu": False}]},
        {"model": {"name": "squeezenet1_1", "weights": "random"}},
        {"studies": {"agreement": {}}},
        {"memory_format": "channels_last"},
        {"trainer": {"precision": "64-true"}},
        {"trainer": {"accelerator": "cpu"}},
    ],
)
def test_the_digest_changes_with_what_is_computed(change: dict[str, object]) -> None:
    assert validate(change).digest() != RunConfig().digest()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x"},
        {"trainer": {"devices": 2}},
        {"trainer": {"num_nodes": 4}},
        {"trainer": {"strategy": "ddp"}},
        {"data": {"workers": 2}},
    ],
)
def test_the_digest_knows_nothing_of_names_and_processes(change: dict[str, object]) -> None:
    assert validate(change).digest() == RunConfig().digest()


def test_frozen() -> None:
    made = RunConfig()
    with pytest.raises(ValidationError):
        made.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        made.data.limit = 3  # type: ignore[misc]


def test_configs_are_shipped() -> None:
    assert "quick" in [path.stem for path in SHIPPED]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_configuration_validates(path: Path) -> None:
    assert load(path).name == path.stem
