"""The study of scores on a tiny network: rows, damaged maps, the self-test, and what the report makes of them."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from torch import nn

from suite.attribution.fused import as_methods
from suite.config import load, validate
from suite.data.classes import ClassNames
from suite.data.sources import ImageFile
from suite.metrics.cards import CARDS
from suite.models.network import Card, Network
from suite.report import scores as report
from suite.studies.base import Work
from suite.studies.scores import Scores
from suite.studies.scoring import CONTROLS, Scoring
from suite.studies.self_test import PLANTED, self_test

SMALL = {"steps": 4, "samples": 12, "removed": [0.3, 0.6], "perturbations": 2, "grids": [2], "confidence": 0.0}


def settings(**changes):
    return validate({"studies": {"scores": SMALL | changes}}).studies.scores


def network():
    torch.manual_seed(0)
    card = Card("tiny", "", "", (32, 32), None, ClassNames.indices(tiny.K))
    return Network(tiny.net().eval(), (0.4,) * 3, (0.2,) * 3, card)


def work(methods, count=6, **changes):
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    files = [ImageFile(f"{i}.png", None, i, "") for i in range(count)]
    config = validate({"studies": {"scores": SMALL | changes}})
    return Work(network(), methods, images, files, list(range(count)), [""] * count, (), config)


def frame(rows):
    return pd.DataFrame(rows)


def run(*names, count=6, **changes):
    made = work(as_methods(names), count, **changes)
    return frame(Scoring(made, {**CONTROLS, **made.methods}, made.config.studies.scores).all_rows())


@pytest.mark.slow
def test_every_metric_gives_a_row_a_photo_for_methods_and_controls():
    rows = run("saliency", "grad_cam", "integrated_gradients")
    for method in ("saliency", "grad_cam", "control_noise", "control_edges"):
        mine = rows[rows["method"] == method]
        there = set(mine["metric"])
        assert set(CARDS) - {"completeness_gap", "corloc", "mask_iou", "box_iou"} - there <= set(), method
        assert set(mine.loc[mine["metric"] == "gini", "image"]) == {f"{i}.png" for i in range(6)}
    assert not (rows["status"] == "failed").any(), rows[rows["status"] == "failed"]["message"].unique()
    gap = rows[rows["metric"] == "completeness_gap"]
    assert set(gap["method"]) == {"integrated_gradients"}
    assert gap["value"].max() < 0.05
    moved = rows[rows["metric"] == "implementation_invariance"].groupby("method")["value"].max()
    assert moved["saliency"] < 1e-4
    moved = rows[rows["metric"] == "input_invariance"].groupby("method")["value"].max()
    assert moved["saliency"] < 1e-4 < moved["integrated_gradients"]


def test_guided_backprop_depends_on_how_a_relu_is_written():
    rows = run("guided_backprop", "gradient", metrics=["axioms"])
    moved = rows[rows["metric"] == "implementation_invariance"].groupby("method")["value"].max()
    assert moved["guided_backprop"] > 0.01 > moved["gradient"]


def test_scores_do_not_depend_on_the_batch_or_the_scale_of_the_map():
    def scaled(model, images, targets):
        return 1000 * images.mean(1, keepdim=True)

    metrics = ["deletion", "road", "fidelity", "complexity"]
    whole = run(tiny.luminance, scaled, metrics=metrics)
    alone = run(tiny.luminance, count=1, metrics=metrics)
    keys = ["image", "metric", "other", "stage", "x"]
    key = [whole[c].fillna(-1) for c in keys]
    by = whole.assign(who=["scaled" if "scaled" in m else m for m in whole["method"]]).groupby([*key, "who"])["value"]
    values = by.first().unstack("who")
    mine = next(c for c in values if c not in ("scaled", *CONTROLS))
    np.testing.assert_allclose(values["scaled"], values[mine], rtol=1e-4, atol=1e-5)
    one = alone[alone["method"] == mine].assign(x=lambda r: r["x"].fillna(-1)).set_index(keys)["value"]
    np.testing.assert_allclose(one, values[mine].reindex(one.index), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_damaged_map_is_one_failed_row(bad):
    def damaged(model, images, targets):
        found = images.clone()
        if len(images) == 6:
            found[2, 0, 0, 0] = bad
        return found

    rows = run(damaged)
    failed = rows[rows["status"] == "failed"]
    assert failed["image"].tolist() == ["2.png"]
    assert failed["metric"].tolist() == ["map"]
    mine = rows[(rows["method"] == failed["method"].iloc[0]) & (rows["metric"] == "gini")]
    assert set(mine["image"]) == {f"{i}.png" for i in (0, 1, 3, 4, 5)}


def test_empty_negative_and_constant_maps_are_scored_or_not_applicable_never_zero():
    def zero(model, images, targets):
        return torch.zeros_like(images)

    def negative(model, images, targets):
        return -torch.rand_like(images) - 0.1

    def constant(model, images, targets):
        return torch.ones(len(images), 7, 5, 4)

    rows = run(zero, negative, constant)
    assert not (rows["status"] == "failed").any()
    for name in ("zero", "negative", "constant"):
        mine = rows[rows["method"].str.contains(name)]
        assert (mine.loc[mine["metric"] == "deletion", "status"] == "ok").sum() > 0
    empty = rows[rows["method"].str.contains("zero")]
    for metric in ("gini", "faithfulness_correlation", "max_sensitivity", "mass_accuracy"):
        assert set(empty.loc[empty["metric"] == metric, "status"]) == {"not_applicable"}, metric
    negative_mass = rows[rows["method"].str.contains("negative") & (rows["metric"] == "mass_accuracy")]
    assert set(negative_mass["status"]) == {"not_applicable"}


def test_a_method_that_fails_on_mosaics_costs_the_others_nothing():
    def small(model, images, targets):
        assert images.shape[2] == 32, "only 32"
        return images

    made = work(as_methods([small, "saliency"]), 4)
    convolution = nn.Conv2d(3, 4, 1, bias=False)
    convolution.weight.data = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]]).view(4, 3, 1, 1)
    body = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    made.model = Network(body.eval(), (0.4,) * 3, (0.2,) * 3, made.model.card)
    made.images = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]).view(4, 3, 1, 1).repeat(1, 1, 32, 32)
    rows = frame(Scoring(made, {**CONTROLS, **made.methods}, settings(metrics=["grid"])).all_rows())
    failed = rows[rows["status"] == "failed"]
    assert set(failed["metric"]) == {"grid"}
    assert failed["method"].nunique() == 1
    assert failed["message"].str.contains("only 32").all()
    assert (rows.loc[rows["method"] == "saliency", "metric"] == "grid_pointing").any()


def test_a_method_that_raises_costs_only_its_own_rows():
    rows = run(tiny.raising, "saliency", metrics=["complexity"])
    failed = rows[rows["status"] == "failed"]
    assert len(failed) == 6
    assert "boom" in failed["message"].iloc[0]
    assert (rows.loc[rows["method"] == "saliency", "status"] == "ok").all()


def test_a_network_of_one_size_has_no_mosaics():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3 * 32 * 32, tiny.K)

        def forward(self, x):
            return self.head(x.reshape(len(x), -1))

    made = work({})
    made.model = Network(Fixed().eval(), (0.4,) * 3, (0.2,) * 3, made.model.card)
    made.files = [ImageFile(f.id, None, int(t), "") for f, t in zip(made.files, [0, 1, 2, 3, 4, 5], strict=True)]
    with torch.no_grad():
        made.model.body.head.weight.zero_()
        made.model.body.head.bias.zero_()
        made.files = [ImageFile(f.id, None, None, "") for f in made.files]
    rows = frame(Scoring(made, CONTROLS, settings(metrics=["grid"])).all_rows())
    assert set(rows["status"]) == {"not_applicable"}


@pytest.mark.slow
def test_the_self_test_knows_truth_from_noise():
    made = work({})
    rows = frame(self_test(made, settings(steps=14, samples=40, removed=[0.2, 0.5])))
    named = report._named(rows.assign(study="scores"))
    verdicts = {
        name: report._self_test(group, report._sign(group["metric"].iloc[0]))
        for name, group in named[~named["stage"].isin(report.SIDE)].groupby("measure")
    }
    sensitive = [name for name, verdict in verdicts.items() if "noise does as well" in verdict]
    assert sensitive == ["max sensitivity", "mean sensitivity"]  # a fixed map of noise is perfectly stable
    passed = {name for name, verdict in verdicts.items() if verdict == "passes"}
    assert passed >= {"deletion", "insertion", "road", "faithfulness correlation", "mu fidelity", "infidelity",
                      "gini", "entropy", "effective complexity", "grid pointing (2x2)", "mass accuracy (composites)"}  # fmt: skip # noqa: E501


def test_a_metric_that_likes_noise_fails_its_self_test():
    rows = frame(self_test(work({}), settings(metrics=["complexity"]), PLANTED | {"noise": PLANTED["truth"]}))
    gini = report._named(rows.assign(study="scores"))
    assert report._self_test(gini[gini["metric"] == "gini"], 1).startswith("fails: noise does as well")


@pytest.mark.slow
def test_a_whole_run_has_its_section(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tiny.ROOT / "tests"))
    path = tiny.config(tmp_path, 9, studies={"scores": SMALL}, methods=["saliency", "guided_backprop", "grad_cam"],
                       data={"source": str(tmp_path / "photos"), "batch_size": 9})  # fmt: skip
    rows = tiny.rows(path, tmp_path / "run")
    again = tiny.rows(path, tmp_path / "again")
    pd.testing.assert_frame_equal(rows, again)
    from suite.report import build
    from suite.results import read_manifest

    page = build(tmp_path / "run").read_text()
    assert "Are the maps faithful" in page
    tables = report._tables(rows, read_manifest(tmp_path / "run"))
    assert tables["scores_verdicts"].columns.tolist() == ["model", "method", "measure", "verdict", "reason"]
    assert set(tables["scores_which"]["use"]) <= set(report.USES)
    assert Scores().cost({}, load(path)).forwards > 0
