"""What the README promises: its example method works as printed, its links lead somewhere, its configurations exist."""

import re
import tomllib
from pathlib import Path

import pytest
import tiny
import yaml

from suite.results import read

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_example_method_works_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, methods = re.findall(r"```(?:python|yaml)\n(.*?)```", README.partition("<!-- tested:")[2], re.DOTALL)[:2]
    name = re.match(r"# (\w+)\.py\n", code).group(1)  # type: ignore[union-attr]
    assert len([line for line in code.splitlines() if line.strip()]) <= 22
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    path = tiny.config(tmp_path, methods=yaml.safe_load(methods)["methods"])
    assert tiny.main(monkeypatch, "run", path, "--run-dir", tmp_path / "run") == 0
    rows = read(tmp_path / "run")
    blurred = rows[(rows["method"] == "blurred") | (rows["other_method"] == "blurred")]
    assert set(blurred["study"]) == {"agreement", "comparison", "sharpness"}
    assert set(blurred.loc[blurred["study"] == "agreement", "status"]) == {"not_applicable"}
    assert (blurred.loc[blurred["study"] == "sharpness", "status"] == "ok").all()


def test_its_parameters_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.findall(r"```python\n(# my_methods.*?)```", README, re.DOTALL)[0]
    (tmp_path / "my_methods.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    path = tiny.config(tmp_path, methods=[{"name": "my_methods:BlurredSaliency", "windw": 3}])
    assert tiny.main(monkeypatch, "check", path) == 2
    assert "did you mean 'window'" in capsys.readouterr().err


def test_links_lead_somewhere_and_every_configuration_is_named() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) > 8
    assert not [link for link in links if not (ROOT / link).exists()]
    assert {link for link in links if link.startswith("configs/")} == {
        f"configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")
    }
    assert not re.search(r"@[A-Z]+@", README)


def test_the_architecture_page_names_every_folder_in_the_order_that_the_linter_keeps() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("| folder |")[2].partition("\n\n")[0]
    told = [set(re.findall(r"`(\w+)(?:/|\.py)`", line.split("|")[1])) for line in table.splitlines()[2:]]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [re.findall(r"suite\.(\w+)", layer) for layer in contracts[0]["layers"]]
    place = {name: i for i, layer in enumerate(layers) for name in layer}
    assert set().union(*told) == place.keys() - {"_torchvision"}
    order = [place[name] for names in told for name in sorted(names, key=place.__getitem__)]
    assert order == sorted(order)
    homes = {path.name for path in (ROOT / "suite").iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert homes <= set().union(*told)
    assert not [name for name in re.findall(r"`(\w+/\w+\.py)`", page) if not (ROOT / "suite" / name).exists()]
    core = page.partition("| file |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+\.py)`", core)) == {p.name for p in (ROOT / "suite/core").glob("*.py")} - {
        "__init__.py"
    }
