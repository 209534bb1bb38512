"""The audit on networks where the right verdict is provable, and what it must not depend on or leave behind."""

from functools import partial

import networks
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from torch import nn

from suite.attribution.fused import as_methods
from suite.attribution.guided_grad_cam import GuidedGradCam
from suite.core.partners import WHY_NONE
from suite.models.blocks import blocks_of, randomised
from suite.models.load import load_model, weights_digest
from suite.sanity.config import SanityConfig
from suite.sanity.label_randomisation import LabelAudit
from suite.sanity.score import Unrectified, before_last_rectifier
from suite.sanity.verdict import FAIL, PASS, UNDECIDED, UNINFORMATIVE, UNSTABLE, arrange, verdicts
from suite.sanity.weight_randomisation import Compared, WeightAudit, keys_for, plan_stages, with_controls
from suite.studies.labels import report as labels

SIDE = 32
SETTINGS = SanityConfig(draws=3, cells=(4,), noise_factors=(1,))


class Linear(nn.Module):
    """The gradient is the weight, and nothing else: it follows the network wholly, S is 1."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * SIDE * SIDE, 4)

    def forward(self, x):
        return self.fc(x.flatten(1))


class Squares(Linear):
    """The gradient is the weight times the photo: half of it ignores the network."""

    def forward(self, x):
        return self.fc((x**2).flatten(1))


def the_input(model, images, targets):
    return images


def smooth_pictures(count=12):
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    return nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1)


def audit(model, methods, images, draws=3, permuted=None, **changes):
    """Rows of the study sanity, or of labels where `permuted` networks are given, one a draw."""
    settings = SETTINGS.model_copy(update=changes)
    targets = torch.arange(len(images)) % 4
    ids = [f"{i:02d}" for i in range(len(images))]
    lines = []
    for draw in range(draws):
        kind = WeightAudit if permuted is None else partial(LabelAudit, others={"permuted": permuted[draw]})
        run = kind(model, images, targets, ids, with_controls(as_methods(methods)), settings, seed=0, draw=draw)
        for f in run.findings():
            for image, value in zip(ids, f.values.tolist(), strict=True):
                line = {"method": f.method, "stage": f.stage.order, "x": float(f.stage.count), "other": f.kind}
                line |= {"noise": f.noise, "cell": f.cell, "metric": f.metric, "image": image, "draw": draw}
                status = "ok" if np.isfinite(value) else "not_applicable"
                line |= {"value": value, "status": status, "message": "", "control": f.method.startswith("control")}
                lines.append(line)

    return pd.DataFrame(lines)


def judged(rows):
    table, _, _ = verdicts(arrange(rows, SETTINGS.noise), rows)
    return dict(zip(table["method"], table["verdict"], strict=True))


@pytest.mark.slow
def test_provable_verdicts():
    net = networks.seeded(Linear)
    digest = weights_digest(net)
    found = judged(audit(net, {"gradient": "gradient", "input": the_input}, smooth_pictures()))
    assert found["gradient"] == PASS
    assert found["input"] == FAIL
    assert [found[c] for c in ("control_edges", "control_luminance")] == [FAIL, FAIL]
    assert [found[c] for c in ("control_constant", "control_noise")] == [UNINFORMATIVE, UNINFORMATIVE]
    assert weights_digest(net) == digest
    rows = audit(networks.seeded(Squares), ["gradient"], smooth_pictures())
    assert judged(rows)["gradient"] == UNDECIDED  # its sign is the network's, its size is the photo's
    _, measures, _ = verdicts(arrange(rows, SETTINGS.noise), rows)
    said = measures[measures["method"] == "gradient"].set_index("measure")["verdict"]
    assert (said["spearman_abs"], said["spearman_signed"]) == (FAIL, PASS)


def test_labels_judge_by_the_same_rules():
    """The twin's gradient is another one; a map for this network alone is UNSTABLE; one gate that fails withholds."""
    net, twins = networks.seeded(Linear), [networks.seeded(Linear, seed) for seed in (1, 2, 3)]
    own = weights_digest(net)

    def detects(model, images, targets):
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(int(weights_digest(model)[:8], 16)))
        return images if weights_digest(model) == own else noise

    rows = audit(net, {"gradient": "gradient", "input": the_input, "detects": detects}, smooth_pictures(), 3, twins)
    rows = rows.assign(model="linear", layer="")
    known = {"true": 0.99, "permuted": 0.1}
    gates = [
        {"model": "linear", "other": "gate", "metric": "accuracy_test", "stage": k, "x": 1000.0, "value": v, "draw": 0}
        for k, v in known.items()
    ]
    manifest = {"config": {"studies": {"labels": {"noise": SETTINGS.noise}}}}
    found = labels.tables(pd.concat([rows, pd.DataFrame(gates)]), manifest)
    table = found["labels_verdicts"].set_index("method")
    said = table["verdict"].to_dict()
    assert (said["gradient"], said["input"], said["detects"]) == (PASS, FAIL, UNSTABLE)
    assert (said["control_edges"], said["control_noise"]) == (FAIL, UNINFORMATIVE)
    assert {"s", "s_low", "s_high", "kept", "r_permuted", "r_other", "seeds", "pairs", "stability"} <= {*table}
    assert "with permuted labels" in table["reason"]["gradient"]
    gates[0]["value"] = 0.5
    table = labels.tables(pd.concat([rows, pd.DataFrame(gates)]), manifest)["labels_verdicts"]
    assert set(table["verdict"]) == {labels.WITHHELD}


def test_photos_of_one_class_have_no_null():
    images = smooth_pictures(4)
    run = WeightAudit(
        networks.seeded(Linear), images, torch.tensor([0, 0, 0, 1]), list("abcd"), as_methods(["gradient"]), SETTINGS,
        seed=0, draw=0,
    )  # fmt: skip
    assert run.partner == [3, 3, 3, 0]
    run = WeightAudit(
        networks.seeded(Linear), images, torch.zeros(4).long(), list("abcd"), as_methods(["gradient"]), SETTINGS,
        seed=0, draw=0,
    )  # fmt: skip
    for found in run.findings():
        if found.kind in ("null", "other"):
            assert found.values.isnan().all()
            assert set(found.why) == {WHY_NONE}


@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
def test_the_frozen_factor_is_upsampled_as_the_method_does(upsample):
    """With the intact network the frozen map is the method's own, so it resembles a noisy copy as much."""
    net, images = tiny.net(), smooth_pictures(4)
    methods = {"guided": GuidedGradCam(layer="second", upsample=upsample)}
    targets = torch.arange(4)
    run = WeightAudit(net, images, targets, list("abcd"), methods, SETTINGS, seed=0, draw=0)
    found = run.maps(images, targets, "test")
    frozen = "guided (Grad-CAM factor frozen)"
    made = run._with_held(found, {frozen: found["\0cam|guided"]})
    torch.testing.assert_close(made[frozen], made["guided"])
    swapped = run._with_held(found, {frozen: found["\0cam|guided"]}, [1, 0, 3, 2])[frozen]
    cam = nn.functional.interpolate(found["\0cam|guided"], size=images.shape[2:], mode=upsample)
    torch.testing.assert_close(swapped, found["\0guided"][[1, 0, 3, 2]] * cam)


def test_almost_the_same_is_a_thousandth_and_seeded():
    net = networks.seeded(Linear)
    before, digest = net.fc.weight.detach().clone(), weights_digest(net)
    blocks, seen = blocks_of(net, smooth_pictures(1)), []
    for draw in (0, 0, 1):
        with randomised(net, blocks, seed=0, draw=draw, jitter=0.001):
            seen.append(net.fc.weight.detach() / before - 1)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert seen[0].std().item() == pytest.approx(0.001, rel=0.05)
    assert weights_digest(net) == digest


def test_linear_network_by_hand():
    """The map is the target's weights whatever the photo: r_self is 1 to the bit, and r_stage that of two weights."""
    net = networks.seeded(Linear)
    rows = audit(net, ["gradient"], smooth_pictures(), draws=1)
    mine = rows[(rows["method"] == "gradient") & (rows["metric"] == "spearman_abs")]
    assert mine[mine["other"] == "self"]["value"].to_numpy() == pytest.approx(1)
    assert mine[(mine["other"] == "stage") & (mine["stage"] == "everything")]["value"].abs().max() < 0.5


def test_seeds_do_not_depend_on_the_batch():
    net, images = networks.seeded(Squares), smooth_pictures()
    whole, part = audit(net, ["smoothgrad"], images, draws=1), audit(net, ["smoothgrad"], images[:6], draws=1)
    keys = ["method", "stage", "x", "other", "noise", "cell", "metric", "image"]
    both = whole.merge(part, on=keys)
    both = both[~both["other"].isin(["null", "other"])]  # their x' is one of the chunk
    np.testing.assert_allclose(both["value_x"], both["value_y"], atol=1e-6)
    assert len(both) > 200


@pytest.mark.parametrize(("count", "draws"), [(1, 3), (12, 1), (12, 2)])
def test_one_image_or_two_draws_are_undecided(count, draws):
    found = judged(audit(networks.seeded(Squares), ["gradient"], smooth_pictures(count), draws=draws))
    assert found["gradient"] == UNDECIDED


def test_constant_zero_and_nan_maps_have_reasons():
    maps = torch.rand(4, 1, SIDE, SIDE)
    maps[1], maps[2], maps[3, 0, 0, 0] = 0, 0.5, torch.nan
    ready = Compared(maps, keys_for(True, (SIDE, SIDE), (1, 4)), (SIDE, SIDE))
    for key in ready.found:
        assert ready.similarity(key, ready).isnan().tolist() == [False, True, True, True], key
        turned = ready.at([1, 0, 0, 1])  # a zero map against another one, a constant and a NaN against sound ones
        assert ready.similarity(key, turned)[:2].tolist() == [0, 0], key
        assert ready.similarity(key, turned)[2:].isnan().all(), key
        assert ready.similarity(key, ready)[0] == pytest.approx(1)
    assert [w.removeprefix("the intact network's map ") for w in ready.reasons(ready)] == [
        "", "is zero everywhere", "is constant", "holds NaN or infinity",
    ]  # fmt: skip


def test_stages():
    names = ["d", "c", "b", "a"]
    stages = {(s.order, s.count): s for s in plan_stages([*names, "stem"], SanityConfig())}
    assert stages["cascade_top", 3].chosen == (0, 1, 2)
    assert stages["cascade_bottom", 3].chosen == (2, 3, 4)
    assert stages["independent", 3].chosen == (2,)
    judged = [("cascade_top", 3), ("cascade_bottom", 3), ("everything", 5), ("almost_same", 0)]
    assert [k for k, s in stages.items() if s.judged] == judged
    quick = plan_stages(names, SanityConfig(stages="verdict", orders=("cascade_top",), random_logit=False))
    orders = [("cascade_top", 1), ("cascade_top", 2), ("everything", 4), ("almost_same", 0)]
    assert [(s.order, s.count) for s in quick] == orders


def test_score_before_the_last_rectifier():
    net = load_model("squeezenet1_1")
    images = torch.rand(2, 3, 64, 64)
    before = net(images)
    view = before_last_rectifier(net, images)
    assert isinstance(view, Unrectified)
    scores = view(images)
    assert (before >= 0).all()
    assert (scores < 0).any()
    head = nn.Sequential(*list(net.body.classifier)[:2])
    by_hand = head(net.body.features((images - net.mean) / net.std)).mean((2, 3))
    torch.testing.assert_close(scores, by_hand, rtol=1e-4, atol=1e-5)
    assert torch.equal(net(images), before)
    other = load_model("net", factory="tiny:net", input_size=SIDE)
    assert before_last_rectifier(other, torch.rand(1, 3, SIDE, SIDE)) is other


@pytest.mark.slow
def test_study_rows_resume_to_the_same_bits(tmp_path):
    studies = {"sanity": {"draws": 2, "cells": [4], "noise_factors": [1]}}
    path = tiny.config(tmp_path, count=4, data={"source": str(tmp_path / "photos"), "batch_size": 2}, studies=studies)
    rows = tiny.rows(path, tmp_path / "run")
    sanity = rows[rows["study"] == "sanity"]
    assert set(sanity["draw"]) == {0, 1}
    assert not (sanity["status"] == "failed").any()
    for shard in sorted((tmp_path / "run" / "rows" / "sanity").glob("*.parquet"))[1:3]:
        shard.unlink()
    again = tiny.rows(path, tmp_path / "run")

    pd.testing.assert_frame_equal(rows, again)
