"""The study of scores on a tiny network: rows, damaged maps, the self-test, and what the report makes of them."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from torch import nn

from suite.attribution.baselines import baseline
from suite.attribution.controls import Center, Constant, Edges, Noise
from suite.attribution.fused import as_methods
from suite.attribution.gradient import Gradient
from suite.attribution.saliency import Saliency
from suite.config import load, validate
from suite.core.classes import ClassNames
from suite.core.network import Card, Network
from suite.core.partners import WHY_NONE
from suite.core.passes import predict
from suite.core.pixels import gaussian_blur, luminance
from suite.data.datamodule import read_chunk
from suite.data.sources import ImageFile, list_images
from suite.metrics.cards import PLACEBOS, cards
from suite.metrics.statistics import paired_test
from suite.models.load import load_model
from suite.report import build
from suite.report.tables import build_tables
from suite.results import as_table
from suite.studies.base import Work
from suite.studies.scores import report
from suite.studies.scores.scoring import CONTROLS, Scoring
from suite.studies.scores.self_test import PLANTED, self_test
from suite.studies.scores.study import Scores
from suite.studies.scores.values import SIDE, measure_name

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
    return as_table(rows, Scores.keys).to_pandas()


def run(*names, count=6, **changes):
    made = work(as_methods(names), count, **changes)
    return frame(Scoring(made, {**CONTROLS, **made.methods}, made.config.studies.scores).all_rows())


@pytest.mark.slow
def test_every_metric_gives_a_row_a_photo_for_methods_and_controls():
    rows = run("saliency", "grad_cam", "integrated_gradients")
    for method in ("saliency", "grad_cam", "control_noise", "control_edges"):
        mine = rows[rows["method"] == method]
        there = set(mine["metric"])
        assert set(cards()) - {"completeness_gap", "corloc", "mask_iou", "box_iou"} - there <= set(), method
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
    keys = ["image", "metric", "baseline", "variant", "share"]
    key = [whole[c].fillna(-1) for c in keys]
    by = whole.assign(who=["scaled" if "scaled" in m else m for m in whole["method"]]).groupby([*key, "who"])["value"]
    values = by.first().unstack("who")
    mine = next(c for c in values if c not in ("scaled", *CONTROLS))
    np.testing.assert_allclose(values["scaled"], values[mine], rtol=1e-4, atol=1e-5)
    one = alone[alone["method"] == mine].assign(share=lambda r: r["share"].fillna(-1)).set_index(keys)["value"]
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


def coloured(classes, methods=()):
    """A network that sees which of red, green, blue and black a picture is, and pictures of these classes."""
    made = work(as_methods(methods), len(classes))
    convolution = nn.Conv2d(3, 4, 1, bias=False)
    convolution.weight.data = 9 * torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]]).view(4, 3, 1, 1)
    body = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    made.model = Network(body.eval(), (0.4,) * 3, (1.0,) * 3, made.model.card)
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    made.images = colours[list(classes)].view(-1, 3, 1, 1).repeat(1, 1, 32, 32)
    made.files = [ImageFile(f.id, None, c, "") for f, c in zip(made.files, classes, strict=True)]
    return made


def scored(made, *metrics, **changes):
    chosen = settings(metrics=list(metrics), **changes)
    return frame(Scoring(made, {**CONTROLS, **made.methods}, chosen).all_rows())


def test_classes_in_blocks_have_mosaics_and_composites():
    classes = [k for k in range(4) for _ in range(10)]
    rows = scored(coloured(classes, ["gradient"]), "grid", "composites")
    mine = rows[rows["method"] == "control_center"]
    assert mine.loc[mine["metric"] == "grid_pointing", "status"].tolist() == ["ok"] * 40
    assert mine.loc[mine["metric"] == "mass_accuracy", "status"].tolist() == ["ok"] * 40


def test_a_photo_without_a_mosaic_or_a_composite_says_what_is_missing():
    rows = scored(coloured([0] * 4), "grid", "composites", confidence=0.5)
    says = rows[rows["method"] == "control_edges"].groupby("metric")["message"].unique()
    assert says["grid_pointing"].tolist() == [
        "no 4 such photos of different classes are left in the chunk for a mosaic with this one"
    ]
    assert says["mass_accuracy"].tolist() == [WHY_NONE]
    made = coloured([0, 1, 2, 3, 3])
    made.files[4] = ImageFile(made.files[4].id, None, 1, "")  # black, and called green
    rows = scored(made, "grid", "composites", confidence=0.5)
    says = rows[(rows["method"] == "control_center") & (rows["image"] == made.ids[4])]
    assert set(says["message"]) == {"the target does not come first with confidence 0.5"}
    there = rows[(rows["metric"] == "grid_pointing") & (rows["method"] == "control_center") & (rows["status"] == "ok")]
    assert there["image"].tolist() == made.ids[:4]


def test_infidelity_of_unsigned_slopes_is_by_size_and_of_signed_ones_by_gradient_times_change():
    def size(model, images, targets):
        return Saliency()(model, images, targets)

    def product(model, images, targets):
        return Gradient()(model, images, targets) * (images - baseline("mean", images))

    rows = run("saliency", "gradient", size, product, metrics=["fidelity"])
    values = rows[rows["metric"] == "infidelity"].pivot(index="image", columns="method", values="value")
    named = {name: next(c for c in values if name in c) for name in ("size", "product")}
    np.testing.assert_allclose(values["saliency"], values[named["size"]], rtol=1e-6)
    np.testing.assert_allclose(values["gradient"], values[named["product"]], rtol=1e-4)


def test_a_control_stands_where_it_decides_and_a_users_own_everywhere():
    rows = run("saliency", metrics=["deletion", "fidelity", "composites", "complexity"])
    for name, card in cards().items():
        there = set(rows.loc[rows["metric"] == name, "method"])
        if there:
            assert set(card.controls) <= there, name
    for name in CONTROLS.keys() - set(PLACEBOS):
        stands = {"deletion", "gini"} & set(rows.loc[rows["method"] == name, "metric"])
        assert not stands, name
    rows = run("control_constant", "control_edges", metrics=["deletion", "fidelity"])
    for name in ("control_constant", "control_edges"):
        mine = rows[(rows["method"] == name) & (rows["metric"] == "deletion") & (rows["variant"] == "probability")]
        assert mine["image"].tolist() == [f"{i}.png" for i in range(6)], name


def test_cost_counts_each_control_once():
    config = validate({"studies": {"scores": SMALL | {"metrics": ["deletion", "insertion", "road"]}}})
    one, none = (Scores().cost(as_methods(names), config).forwards for names in (["control_edges"], []))
    more = Scores().cost(as_methods(["control_constant"]), config).forwards
    assert one == none == 2 * (3 * 4 + 1) + 2 * 4
    assert more == none + 2 * 3 + 2


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


def _named(rows):
    """The rows of known metrics with the name of their measure."""
    rows = rows[rows["metric"].isin(cards().keys())]
    kinds = rows.groupby("metric")["baseline"].nunique()
    lines = zip(rows["metric"], rows["variant"], rows["baseline"], strict=True)
    return rows.assign(measure=[measure_name(m, v, o if kinds[m] > 1 else "") for m, v, o in lines])


@pytest.mark.slow
def test_the_self_test_knows_truth_from_noise():
    made = work({})
    rows = frame(self_test(made, settings(steps=14, samples=40, removed=[0.2, 0.5])))
    named = _named(rows)
    verdicts = {
        name: report._self_test(group, cards()[group["metric"].iloc[0]].sign)
        for name, group in named[~named["variant"].isin(SIDE)].groupby("measure")
    }
    sensitive = [name for name, verdict in verdicts.items() if "noise does as well" in verdict]
    assert sensitive == ["max sensitivity", "mean sensitivity"]  # a fixed map of noise is perfectly stable
    passed = {name for name, verdict in verdicts.items() if verdict == "passes"}
    assert passed >= {"deletion", "insertion", "road", "faithfulness correlation", "mu fidelity", "infidelity",
                      "gini", "entropy", "effective complexity", "grid pointing (2x2)", "mass accuracy (composites)"}  # fmt: skip # noqa: E501


def test_on_a_linear_network_the_truth_beats_the_constant_and_absolute_noise_in_infidelity():
    maps = PLANTED | {name: CONTROLS[name] for name in ("control_constant", "control_absolute_noise")}
    rows = frame(self_test(work({}), settings(metrics=["fidelity"], samples=40), maps))
    found = rows[rows["metric"] == "infidelity"].set_index("method")["value"]
    assert found["truth"] < 0.05 < min(found["control_constant"], found["control_absolute_noise"])


def _blind():
    """Maps that never see the network, by name: what the controls are made of, in other forms."""

    def edges(images, blur=0.0, spread=0.0):
        found = Edges()(None, images, 0)
        found = found * Center(spread=spread)(None, images, 0) if spread else found
        return gaussian_blur(found, blur) if blur else found

    return {
        "centre x edges": lambda x: edges(x, 0, 0.25), "centre x edges, blurred 2": lambda x: edges(x, 2, 0.25),
        "centre x edges, blurred 4": lambda x: edges(x, 4, 0.25),
        "centre x edges, blurred 16": lambda x: edges(x, 16, 0.25),
        "narrow centre x edges": lambda x: edges(x, 0, 0.15), "edges blurred 4": lambda x: edges(x, 4),
        "edges blurred 16": lambda x: edges(x, 16), "narrow centre": lambda x: Center(spread=0.15)(None, x, 0),
        "absolute noise": lambda x: Noise(seed=5)(None, x, 0).abs(), "constant": lambda x: Constant()(None, x, 0),
        "luminance": luminance,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_map_that_never_sees_the_network_beats_all_controls_in_any_measure():
    model = load_model("squeezenet1_1").requires_grad_(False)
    files = list_images("embedded", classes=model.card.classes).files
    images = read_chunk(None, files, model.card.taken).images
    right = [i for i, top in enumerate(predict(model, images).argmax(1).tolist()) if top == files[i].label]
    files, images = [files[i] for i in right], images[right]
    wanted = ["deletion", "insertion", "road", "fidelity", "grid", "composites", "boxes"]
    own = {"metrics": wanted, "steps": 8, "samples": 30, "removed": [0.3, 0.7], "grids": [2]}
    config = validate({"data": {"source": "embedded", "batch_size": 20}, "studies": {"scores": own}})
    blind = as_methods({name: lambda _, x, targets, make=make: make(x) for name, make in _blind().items()})
    made = Work(model, blind, images, files, right, [""] * len(files), (), config)
    rows = frame(Scoring(made, {**CONTROLS, **blind}, config.studies.scores).all_rows())
    named = _named(rows[rows["status"] == "ok"])
    assert named["measure"].nunique() >= 15
    assert not _beaten(named, blind, {name: card.controls for name, card in cards().items()})
    assert _beaten(named, blind, dict.fromkeys(cards(), ("control_noise", "control_edges")))  # why there are more


def _beaten(named, blind, controls):
    """(measure, map) of the maps that are better than each of a metric's controls, p < 0.05 without correction."""
    found = []
    for measure, group in named[~named["variant"].isin(SIDE)].groupby("measure"):
        wide, metric = group.pivot(index="image", columns="method", values="value"), group["metric"].iloc[0]
        sign = 1 if cards()[metric].better == "higher" else -1
        for name in blind:
            tests = [paired_test(*wide[[name, control]].dropna().T.to_numpy()) for control in controls[metric]]
            if all(sign * test.mean > 0 and test.p < 0.05 for test in tests):
                found.append((measure, name))
    return found


def test_the_self_test_has_a_row_for_each_measure_and_no_other():
    rows = frame(self_test(work({}), settings(metrics=["complexity"])))
    assert set(rows["metric"]) == {"gini", "entropy", "effective_complexity"}
    assert set(rows["method"]) == PLANTED.keys()


def test_a_metric_that_likes_noise_fails_its_self_test():
    rows = frame(self_test(work({}), settings(metrics=["complexity"]), PLANTED | {"noise": PLANTED["truth"]}))
    assert report._self_test(rows[rows["metric"] == "gini"], 1).startswith("fails: noise does as well")


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
    assert (tmp_path / "run" / "plots" / "scores-photos-net.png").is_file()
    tables = build_tables(rows, read_manifest(tmp_path / "run"))
    streamed = build_tables(tmp_path / "run", read_manifest(tmp_path / "run"))
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, streamed[name], check_exact=True)
    assert tables["scores_verdicts"].columns.tolist() == ["model", "method", "measure", "verdict", "reason"]
    assert set(tables["scores_which"]["use"]) <= set(report.USES)
    assert Scores().cost({}, load(path)).forwards > 0


def test_axioms_alone_have_tables_and_no_empty_figure(tmp_path):
    path = tiny.config(tmp_path, methods=["saliency"], studies={"scores": {"metrics": ["axioms"]}})
    tiny.rows(path, tmp_path / "run")
    build(tmp_path / "run")
    assert not list((tmp_path / "run" / "plots").glob("scores-net*"))
    assert (tmp_path / "run" / "tables" / "scores.csv").exists()
