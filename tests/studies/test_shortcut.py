"""A planted patch: what is measured of a map, which network is asked, and verdicts by hand."""

import pandas as pd
import pytest
import tiny
import torch
import works

from suite.config import validate
from suite.core.draws import generator_for
from suite.metrics.localisation import mass_inside
from suite.sanity.verdict import FAIL, PASS, UNDECIDED
from suite.studies.shortcut import report
from suite.studies.shortcut.config import ShortcutConfig
from suite.studies.shortcut.study import Shortcut, _patch_classes, pointing
from suite.training.fit import FACTORY, Recipe
from suite.training.shortcut import regions


def test_mass_and_pointing_by_hand():
    inside = regions(torch.arange(10), 28)
    size = torch.zeros(3, 28, 28, dtype=torch.float64)
    size[0][inside[0]], size[1, 20, 14] = 2.0, 1.0
    assert mass_inside(size[:2], inside[:2]).tolist() == [1.0, 0.0]
    assert pointing(size, inside[:3])[:2].tolist() == [1.0, 0.0]
    assert pointing(size, inside[:3])[2].isnan()
    size[2, 0, 0], size[2, 20, 20] = 1.0, 1.0  # a tie: one of two is on the patch
    assert pointing(size[2:], inside[:1]).tolist() == [0.5]


def test_a_patchs_class_is_seeded_by_photo_and_part():
    given = works.work(count=8)
    first = _patch_classes(given.begin(0)).tolist()
    expected = [int(torch.randint(10, (1,), generator=generator_for(0, name, "patch 0"))) for name in given.ids]
    assert first == expected
    assert _patch_classes(given.begin(1)).tolist() != first


def test_one_network_learns_from_the_patch_and_the_other_beside_it():
    recipes = Shortcut()._recipes(Recipe("mlp", count=100), 3)
    assert {name: (r.patch, r.seed) for name, r in recipes.items()} == {"used": ("planted", 3), "unused": ("idle", 3)}
    config = validate({"models": [{"label": "a", "factory": FACTORY}], "studies": {"shortcut": {"seeds": 4}}})
    assert Shortcut().parts(config) == config.section(ShortcutConfig).seeds == 4


def rows(detection, alarm, with_patch=1.0, seeds=3):
    """Rows of one method: on which share of 20 pictures its map points at the patch, used and unused."""
    lines = []
    for seed in range(seeds):
        for patch, share in (("used", detection), ("unused", alarm)):
            common = {"model": "m", "patch": patch, "seed": seed, "status": "ok", "control": False}
            correct = {"correct_with_patch": with_patch, "correct_without_patch": 0.1 if patch == "used" else 0.95}
            for i in range(20):
                for metric in ("pointing", "mass_in_patch"):
                    lines.append(common | {"method": "a", "metric": metric, "value": float(i < 20 * share)})
                for metric, right in correct.items():
                    lines.append(common | {"method": "", "metric": metric, "value": float(i < 20 * right)})
    return pd.DataFrame(lines)


@pytest.mark.parametrize(
    ("arguments", "verdict", "reason"),
    [
        ({"detection": 1, "alarm": 0}, PASS, "only then"),
        ({"detection": 0, "alarm": 0}, FAIL, "misses the patch"),
        ({"detection": 1, "alarm": 1}, FAIL, "not used"),
        ({"detection": 0.5, "alarm": 0}, UNDECIDED, "holds one half"),
        ({"detection": 1, "alarm": 0, "seeds": 2}, UNDECIDED, "2 seeds"),
        ({"detection": 1, "alarm": 0, "with_patch": 0.5}, report.WITHHELD, "used: correct_with_patch 0.500, seed 0"),
    ],
)
def test_verdicts_by_hand(arguments, verdict, reason):
    tables = report.tables(rows(**arguments), {})
    line = tables["shortcut_verdicts"].iloc[0]
    assert line["verdict"] == verdict
    assert reason in line["reason"]
    assert line["detection"] == pytest.approx(arguments["detection"])
    assert len(tables["shortcut_gates"]) == 4 * arguments.get("seeds", 3)


@pytest.mark.slow
def test_a_small_run_measures_every_method_in_both_networks(tmp_path, monkeypatch):
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path / "cache"))
    parameters = {"architecture": "mlp", "count": 50, "epochs": 1, "threads": 1}
    path = tiny.config(
        tmp_path, models=[{"label": "mlp", "factory": FACTORY, "parameters": parameters, "input_size": 28}],
        data={"source": "digits", "limit": 4, "batch_size": 2}, studies={"shortcut": {"seeds": 1}},
        methods=["saliency", {"name": "tiny:raising", "label": "broken"}],
    )  # fmt: skip
    found = tiny.rows(path, tmp_path / "run").query("study == 'shortcut'")
    assert set(found["patch"]) == {"used", "unused"}
    assert set(found.loc[found["method"] == "broken", "status"]) == {"failed"}
    assert set(found.loc[found["method"] == "", "metric"]) == {"correct_with_patch", "correct_without_patch"}
    mass = found[(found["method"] == "control_constant") & (found["metric"] == "mass_in_patch")]
    assert mass["value"].tolist() == pytest.approx([16 / 784] * 8)
