"""An installed package adds a study, a method and metrics by entry points: listed, checked, run and reported."""

from pathlib import Path

import pandas as pd
import pytest
import tiny

from suite.results import read

STUDY = """
from typing import ClassVar

from suite.core.passes import Cost
from suite.studies.base import Outcome, Study

from brightness.config import BrightnessConfig


class Brightness(Study):
    name: ClassVar[str] = "brightness"

    def cost(self, methods, config):
        return Cost()

    def run(self, work):
        factor = work.config.section(BrightnessConfig).factor
        return Outcome(work.rows(self.name, "", "brightness", factor * work.images.mean((1, 2, 3))))


STUDY = Brightness()
"""
CONFIG = """
from suite.settings import StudySettings


class BrightnessConfig(StudySettings):
    factor: float = 1


CONFIG = BrightnessConfig
"""
REPORT = """
from suite.report.sections import Section, mean_with_interval, ok, summarise


def tables(rows, manifest):
    return {"brightness": summarise(ok(rows), ["model"], lambda group: mean_with_interval("mean", group["value"]))}


SECTION = Section(
    study="brightness", title="How bright are the photos of this plug-in?",
    texts={"brightness": ("Brightness", "Mean over photos.")}, tables=tables,
)
"""
METHOD = """
def flat(model, images, targets):
    return images.mean(1, keepdim=True)
"""
METRIC = """
import torch

from suite.metrics.cards import Card


@Card(
    takes="magnitude", better="lower", span="(0, 1]", paper="Nobody 2026", family="faithfulness",
    also=("control_constant",),
)
def peak(a):
    \"\"\"Share of the magnitude in the highest pixel.\"\"\"
    return a.double().amax((1, 2)) / a.double().sum((1, 2))


@Card(takes="everything", asked=("complexity",), better="higher", span="0 or 1", paper="Nobody 2027")
def faulty(maps, model, images, targets):
    \"\"\"Raises.\"\"\"
    assert model(images).shape[0] == len(maps) == len(targets)
    raise RuntimeError("this metric is broken")
"""
ENTRY_POINTS = """
[suite.studies]
brightness = brightness

[suite.attribution]
flat = brightness.method:flat

[suite.metrics]
peak = brightness.metric:peak
faulty = brightness.metric:faulty
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder on the path that holds a package and its metadata, as pip leaves them."""
    package, metadata = tmp_path / "site" / "brightness", tmp_path / "site" / "brightness-1.dist-info"
    for folder in (package, metadata):
        folder.mkdir(parents=True)
    (package / "__init__.py").write_text('"""How bright is a photo?"""\n')
    for name, text in {"study": STUDY, "config": CONFIG, "report": REPORT, "method": METHOD, "metric": METRIC}.items():
        (package / f"{name}.py").write_text(text)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: brightness\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    return tmp_path / "site"


def test_a_study_and_a_method_of_an_installed_package_are_run_and_reported(tmp_path: Path, installed: Path) -> None:
    path = {"PYTHONPATH": f"{installed}:{tiny.environment()['PYTHONPATH']}"}
    assert "How bright is a photo?" in tiny.suite("list", "studies", cwd=tmp_path, **path).stdout
    studies = {"brightness": {"factor": 2}, "sharpness": {}}
    config = tiny.config(tmp_path, methods=["saliency", "flat"], studies=studies)
    wrong = tiny.suite("check", config, "studies.brightness.facto=3", cwd=tmp_path, **path)
    assert wrong.returncode == 2
    assert "did you mean 'factor'" in wrong.stderr
    done = tiny.suite("run", config, "--run-dir", tmp_path / "run", cwd=tmp_path, timeout=280, **path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "run" / "report.html").read_text()
    assert "How bright are the photos of this plug-in?" in page
    assert "flat" in (tmp_path / "run" / "tables" / "sharpness.csv").read_text()
    assert (tmp_path / "run" / "tables" / "brightness.csv").exists()
    without = tiny.suite("check", config, cwd=tmp_path)
    assert "unknown key" in without.stderr


def test_metrics_of_an_installed_package_are_scored_and_tested(tmp_path: Path, installed: Path) -> None:
    path = {"PYTHONPATH": f"{installed}:{tiny.environment()['PYTHONPATH']}"}
    listed = tiny.suite("list", "metrics", cwd=tmp_path, **path).stdout
    line = next(line for line in listed.splitlines() if line.startswith("peak "))
    assert "faithfulness: Share of the magnitude in the highest pixel. Lower is better, (0, 1]; no pass beyond" in line
    config = tiny.config(tmp_path, methods=["saliency"], studies={"scores": {"metrics": ["complexity"]}})
    done = tiny.suite("run", config, "--run-dir", tmp_path / "run", cwd=tmp_path, timeout=280, **path)
    assert done.returncode == 1, done.stderr  # the faulty metric's rows
    tables = {name: pd.read_csv(tmp_path / "run" / "tables" / f"{name}.csv") for name in ("scores", "scores_metrics")}
    card = tables["scores_metrics"].set_index("measure").loc["peak"]
    assert (card["better"], card["family"], card["paper"]) == ("lower", "faithfulness", "Nobody 2026")
    assert card["self_test"] == "passes"  # the true map is a disc, flat and broad
    scores = tables["scores"][tables["scores"]["metric"] == "peak"].set_index("method")
    assert {"saliency", "control_noise", "control_constant"} <= set(scores.index)  # the card names the constant map
    assert "control_constant" not in set(tables["scores"].query("metric == 'gini'")["method"])
    rows = read(tmp_path / "run")
    broken = rows[(rows["metric"] == "faulty") & (rows["role"] != "self-test")]
    assert broken["message"].str.contains("metric 'faulty': RuntimeError: this metric is broken").all()
    assert (rows.loc[rows["metric"].isin(["gini", "peak"]), "status"] == "ok").all()
    assert "peak" in (tmp_path / "run" / "report.html").read_text()
