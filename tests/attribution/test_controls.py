"""Controls: maps that must lose. Their shapes, their determinism an image, and Sobel against scipy's."""

import networks as nets
import numpy as np
import pytest
import torch
from networks import pictures, seeded

from suite.attribution.controls import (
    AbsoluteNoise,
    Center,
    CenterEdges,
    Constant,
    Edges,
    Luminance,
    Noise,
    OtherImage,
    SmoothNoise,
    luminance,
)
from suite.attribution.fused import attribute, make_method
from suite.attribution.saliency import Saliency
from suite.core.passes import Cost
from suite.core.pixels import gaussian_blur
from suite.errors import NotApplicable
from suite.registry import ATTRIBUTIONS

CONTROLS = [name for name in ATTRIBUTIONS if name.startswith("control_")]


class Unused(nets.Linear):
    def forward(self, x):
        raise AssertionError("a control looked at the network")


@pytest.mark.parametrize("name", CONTROLS)
def test_shape_flag_and_determinism(name):
    x, ids = torch.rand(3, 3, 20, 31, generator=torch.Generator().manual_seed(0)), ["a", "b", "c"]
    net = seeded(nets.Conv) if name == "control_other_image" else seeded(Unused)
    method = make_method(name)
    targets = torch.tensor([1, 2, 1])
    found = method(net, x, targets, ids)
    assert found.shape == (3, 1, 20, 31)
    assert method.control
    assert torch.isfinite(found).all()
    assert torch.equal(found, method(net, x, targets, ids))
    if name != "control_other_image":
        order = [2, 0, 1]
        torch.testing.assert_close(method(net, x[order], 1, [ids[i] for i in order]), found[order])
        torch.testing.assert_close(method(net, x[1:2], 1, ["b"]), found[1:2])
        assert method.cost() == Cost()


def test_only_controls_are_controls():
    assert {n for n in ATTRIBUTIONS if make_method(n).control} == set(CONTROLS)


def test_sobel_equals_scipys():
    ndimage = pytest.importorskip("scipy.ndimage")
    x = torch.rand(2, 3, 17, 23, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grey = luminance(x)[:, 0].numpy()
    wanted = np.stack(
        [np.hypot(ndimage.sobel(g, 0, mode="nearest"), ndimage.sobel(g, 1, mode="nearest")) for g in grey]
    )
    np.testing.assert_allclose(Edges()(seeded(Unused), x, 0)[:, 0].numpy(), wanted, rtol=1e-12, atol=1e-12)


def test_luminance_of_pure_colours_and_of_one_channel():
    x = torch.eye(3).view(3, 3, 1, 1).expand(3, 3, 8, 8)
    assert Luminance()(seeded(Unused), x, 0)[:, 0, 0, 0].tolist() == pytest.approx([0.299, 0.587, 0.114])
    assert torch.equal(luminance(x[:, :1]), x[:, :1])


def test_noise_is_standard_normal_and_smooth_noise_is_smooth():
    x = torch.zeros(2, 3, 64, 64)
    noise = Noise()(seeded(Unused), x, 0, ["a", "b"])
    assert abs(float(noise.mean())) < 0.05
    assert abs(float(noise.std()) - 1) < 0.05
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise, Noise(seed=1)(seeded(Unused), x, 0, ["a", "b"]))
    smooth = SmoothNoise(sigma=4)(seeded(Unused), x, 0)
    assert smooth.diff(dim=3).abs().mean() < 0.2 * smooth.std()


def test_absolute_noise_is_half_normal():
    x = torch.zeros(2, 3, 64, 64)
    found = AbsoluteNoise()(seeded(Unused), x, 0, ["a", "b"])
    assert float(found.min()) >= 0
    assert float(found.mean()) == pytest.approx((2 / np.pi) ** 0.5, abs=0.03)
    assert not AbsoluteNoise.signed


def test_edges_in_the_middle_are_their_product_blurred():
    x = torch.rand(2, 3, 56, 40, generator=torch.Generator().manual_seed(0))
    edges, middle = (control()(seeded(Unused), x, 0) for control in (Edges, Center))
    torch.testing.assert_close(CenterEdges()(seeded(Unused), x, 0), gaussian_blur(edges * middle, 2.0))


def test_centre_is_a_centred_bump():
    bump = Center()(seeded(Unused), torch.zeros(1, 3, 9, 13), 0)[0, 0]
    assert bump.argmax() == 4 * 13 + 6
    assert torch.allclose(bump, bump.flip(0, 1))
    assert float(bump[4, 6]) == 1
    assert Constant()(seeded(Unused), torch.zeros(1, 3, 9, 13), 0).unique().tolist() == [1]


def test_another_images_map():
    net, x, targets = seeded(nets.Conv), pictures(), torch.tensor([0, 3, 4, 3])
    saliency = Saliency()(net, x, targets)
    assert torch.equal(OtherImage()(net, x, targets), saliency[[1, 2, 3, 0]])
    targets = torch.tensor([3, 3, 4, 3])
    saliency = Saliency()(net, x, targets)
    assert torch.equal(OtherImage()(net, x, targets), saliency[[2, 2, 3, 2]])
    assert not torch.equal(saliency[0], saliency[1])
    for count in (1, 4):
        with pytest.raises(NotApplicable, match="no photo of another class"):
            attribute(net, x[:count], 0, ["control_other_image"])
