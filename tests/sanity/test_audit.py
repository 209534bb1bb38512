"""The audit on networks where the right verdict is provable, and what it must not depend on or leave behind."""

import audited
import networks
import numpy as np
import pytest
import tiny
import torch
from audited import Linear, Squares, smooth_pictures
from torch import nn

from suite.attribution.guided_grad_cam import GuidedGradCam
from suite.core.partners import WHY_NONE
from suite.models.load import weights_digest
from suite.sanity.audit import CONTROLS, RandomisationAudit, histogram_entropy, with_controls
from suite.sanity.settings import AuditSettings
from suite.sanity.stages import Stage
from suite.sanity.verdict import FAIL, PASS, UNDECIDED, UNINFORMATIVE, arrange, verdicts

NOISE = AuditSettings().noise


def the_input(model, images, targets):
    return images


def judged(rows):
    table, _, _ = verdicts(arrange(rows, NOISE), rows)
    return dict(zip(table["method"], table["verdict"], strict=True))


@pytest.mark.slow
def test_provable_verdicts():
    net = networks.seeded(Linear)
    digest = weights_digest(net)
    found = judged(audited.rows(net, {"gradient": "gradient", "input": the_input}, smooth_pictures()))
    assert found["gradient"] == PASS
    assert found["input"] == FAIL
    assert [found[c] for c in ("control_edges", "control_luminance")] == [FAIL, FAIL]
    assert [found[c] for c in ("control_constant", "control_noise")] == [UNINFORMATIVE, UNINFORMATIVE]
    assert weights_digest(net) == digest
    rows = audited.rows(networks.seeded(Squares), ["gradient"], smooth_pictures())
    assert judged(rows)["gradient"] == UNDECIDED  # its sign is the network's, its size is the photo's
    _, measures, _ = verdicts(arrange(rows, NOISE), rows)
    said = measures[measures["method"] == "gradient"].set_index("measure")["verdict"]
    assert (said["spearman_abs"], said["spearman_signed"]) == (FAIL, PASS)


def test_photos_of_one_class_have_no_null():
    net, images = networks.seeded(Linear), smooth_pictures(4)
    assert audited.audit(net, ["gradient"], images, torch.tensor([0, 0, 0, 1])).partner == [3, 3, 3, 0]
    for block in audited.audit(net, ["gradient"], images, torch.zeros(4).long()).rows():
        if block.fields["kind"] in ("null", "other"):
            assert np.isnan(block.values).all()
            assert set(block.undefined) == {WHY_NONE}


def test_a_frozen_factor_has_no_null_either_where_photos_are_of_one_class():
    run = audited.audit(tiny.net(), {"g": GuidedGradCam(layer="second")}, smooth_pictures(3), torch.zeros(3).long())
    nulls = [block for block in run.rows() if block.fields["kind"] in ("null", "other")]
    assert {block.fields["method"] for block in nulls} == {"g", "g (Grad-CAM factor frozen)"}
    assert all(np.isnan(block.values).all() for block in nulls)


@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
def test_the_frozen_factor_is_upsampled_as_the_method_does(upsample):
    """With the intact network the frozen map is the method's own, so it resembles a noisy copy as much."""
    net, images, targets = tiny.net(), smooth_pictures(4), torch.arange(4)
    run = audited.audit(net, {"guided": GuidedGradCam(layer="second", upsample=upsample)}, images)
    maps, factors = run.maps(net, images, targets, "test")
    assert list(maps) == ["guided"]  # the factors stand apart
    run._intact_factors = factors
    (frozen,) = run.frozen_maps(factors).values()
    torch.testing.assert_close(frozen, maps["guided"])
    (swapped,) = run.frozen_maps(factors, [1, 0, 3, 2]).values()
    guided, cam = factors.values()
    cam = nn.functional.interpolate(cam, size=images.shape[2:], mode=upsample)
    torch.testing.assert_close(swapped, guided[[1, 0, 3, 2]] * cam)


def test_a_method_that_fails_costs_its_own_rows_alone_and_says_why():
    def fails(model, images, targets):
        raise RuntimeError("boom")

    net, images = networks.seeded(Linear), smooth_pictures(4)
    rows = audited.frame([audited.audit(net, {"fails": fails, "gradient": "gradient"}, images, cells=(1, 4))])
    bad = rows[rows["method"] == "fails"]
    assert set(bad["status"]) == {"failed"}
    assert {text.partition(" (")[0] for text in bad["message"]} == {"method 'fails': RuntimeError: boom"}
    assert set(bad["cell"]) == {4}
    assert set(bad["kind"]) == {"self", "other", "stage", "null"}
    good = rows[rows["method"] == "gradient"]
    assert (good["status"] == "ok").all()
    alone = audited.frame([audited.audit(net, {"gradient": "gradient"}, images, cells=(1, 4))])
    np.testing.assert_array_equal(good["value"], alone.loc[alone["method"] == "gradient", "value"])


def test_stages_that_look_at_the_same_network_share_it():
    net, seen = tiny.net(), []

    def counted(model, images, targets):
        seen.append(weights_digest(model))
        return images

    images = smooth_pictures(4)
    run = audited.audit(net, {"counted": counted}, images)
    rows = audited.frame([run])
    measured = rows[(rows["method"] == "counted") & (rows["kind"] == "stage")]
    stages = set(zip(measured["order"], measured["blocks"], strict=True))
    assert len(stages) == len(run.stages) == 9  # two of each cascade, three independent, everything, almost the same
    assert len(set(seen)) == 8  # intact; top and bottom block are each of two orders
    assert len(seen) == 1 + 8


def test_other_networks_stand_in_the_place_of_random_ones():
    net, other = networks.seeded(Linear), networks.seeded(Linear, 1)
    digests = []

    def seen(model, images, targets):
        digests.append(weights_digest(model))
        return images

    rows = audited.frame([audited.audit(net, {"seen": seen}, smooth_pictures(4), permuted=other)])
    assert set(rows["order"]) == {"intact", "permuted", "almost_same"}
    assert digests.count(weights_digest(other)) == 1
    assert weights_digest(net) in digests


def test_a_random_logit_is_another_class_of_the_intact_network():
    net, images, classes = networks.seeded(Linear), smooth_pictures(6), []

    def noted(model, images, targets):
        classes.append(targets.tolist())
        return images

    blocks = audited.audit(net, {"noted": noted}, images).stages[0].blocks
    stage = Stage("random_logit", 0, "")
    targets = torch.arange(6) % 4
    run = RandomisationAudit(
        net, [stage], images, targets, list("abcdef"), audited.as_methods({"noted": noted}), AuditSettings(), 0
    )
    rows = audited.frame([run])
    assert blocks
    assert all(a != b for a, b in zip(classes[-1], targets.tolist(), strict=True))
    assert "random_logit" in set(rows["order"])


def test_smoothed_maps_of_a_linear_network_are_its_weights():
    """A gradient that ignores the photo is not changed by smoothing, so sMPRT is the cascade's plain mean."""
    net, images = networks.seeded(Linear), smooth_pictures(4)
    rows = audited.frame([audited.audit(net, ["gradient"], images, smoothed=3)])
    plain = rows[(rows["order"] == "everything") & (rows["metric"] == "spearman_abs") & (rows["kind"] == "stage")]
    smoothed = rows[rows["kind"] == "smoothed"]
    assert set(smoothed["metric"]) == {"smprt"}
    np.testing.assert_allclose(smoothed["value"], plain["value"], atol=1e-9)


def test_the_entropy_of_a_histogram_is_that_of_its_bins():
    flat = torch.linspace(0, 1, 101)[:100].view(1, 1, 10, 10)
    two = torch.tensor([0.0, 1.0]).repeat(50).view(1, 1, 10, 10)
    assert histogram_entropy(torch.cat([flat, two])).tolist() == pytest.approx([np.log(100), np.log(2)], abs=0.02)
    assert histogram_entropy(torch.ones(1, 1, 4, 4)).tolist() == [0]


def test_controls_are_added_and_a_label_of_the_users_own_stays():
    mine = audited.as_methods({"control_noise": the_input})
    held = with_controls(mine)
    assert set(held) == set(CONTROLS)
    assert held["control_noise"] is mine["control_noise"]


def test_linear_network_by_hand():
    """The map is the target's weights whatever the photo: r_self is 1 to the bit, and r_stage that of two weights."""
    net = networks.seeded(Linear)
    rows = audited.rows(net, ["gradient"], smooth_pictures(), draws=1)
    mine = rows[(rows["method"] == "gradient") & (rows["metric"] == "spearman_abs")]
    assert mine[mine["kind"] == "self"]["value"].to_numpy() == pytest.approx(1)
    assert mine[(mine["kind"] == "stage") & (mine["order"] == "everything")]["value"].abs().max() < 0.5


def test_seeds_do_not_depend_on_the_batch():
    net, images = networks.seeded(Squares), smooth_pictures()
    whole, part = (audited.rows(net, ["smoothgrad"], some, draws=1) for some in (images, images[:6]))
    keys = ["method", "order", "blocks", "kind", "noise", "cell", "metric", "image"]
    both = whole.merge(part, on=keys)
    both = both[~both["kind"].isin(["null", "other"])]  # their x' is one of the chunk
    np.testing.assert_allclose(both["value_x"], both["value_y"], atol=1e-6)
    assert len(both) > 200


@pytest.mark.parametrize(("count", "draws"), [(1, 3), (12, 1), (12, 2)])
def test_one_image_or_two_draws_are_undecided(count, draws):
    found = judged(audited.rows(networks.seeded(Squares), ["gradient"], smooth_pictures(count), draws=draws))
    assert found["gradient"] == UNDECIDED


def test_a_method_that_fails_at_one_stage_has_no_mean_over_the_cascade():
    net, images = networks.seeded(networks.TwoLayer), smooth_pictures(3)[:, :, :8, :8]
    lowest = net.first.weight.detach().clone()
    stages = set()

    def late(model, images, targets):
        stages.add((torch.equal(model.first.weight, lowest), model.second.weight.detach().sum().item()))
        if not torch.equal(model.first.weight, lowest):
            raise RuntimeError("boom")
        return images.detach()

    rows = audited.frame([audited.audit(net, {"late": late, "gradient": "gradient"}, images, smoothed=2)])
    assert set(rows.loc[rows["kind"] == "smoothed", "method"]) == {"gradient"}
    assert len({second for intact, second in stages if intact}) > 1  # it gave maps where only the top was random


def test_a_map_with_nan_costs_its_neighbours_nothing():
    def damaged(model, images, targets):
        maps = images.detach().clone()
        maps[0] = torch.nan
        return maps

    rows = audited.frame([audited.audit(networks.seeded(Linear), {"damaged": damaged}, smooth_pictures(4))])
    rolled = rows[(rows["method"] == "damaged") & (rows["kind"] == "rolled") & (rows["metric"] == "spearman_abs")]
    assert rolled.sort_values("image")["status"].tolist() == ["not_applicable", "ok", "ok", "ok"]
