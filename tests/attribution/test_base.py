"""What all methods have in common, and parameters that cannot be."""

import networks as nets
import pytest
import torch
from networks import pictures, seeded

from suite.attribution.base import SampledPass
from suite.attribution.gradient_shap import GradientShap
from suite.attribution.guided_grad_cam import GuidedGradCam
from suite.attribution.integrated_gradients import IntegratedGradients
from suite.attribution.layer_conductance import LayerConductance
from suite.attribution.occlusion import Occlusion
from suite.attribution.smoothgrad import SmoothGrad
from suite.core.draws import ImageDraws
from suite.core.passes import Cost


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: IntegratedGradients(steps=0), "steps"),
        (lambda: IntegratedGradients(baseline="zeroes"), "did you mean 'zeros'"),
        (lambda: SmoothGrad(samples=0), "samples"),
        (lambda: SmoothGrad(sigma=-1), "sigma"),
        (lambda: GradientShap(baselines=()), "baseline"),
        (lambda: Occlusion(window=4, stride=5), "stride"),
        (lambda: LayerConductance(steps=0), "steps"),
        (lambda: GuidedGradCam(upsample="cubic"), "upsample"),
    ],
)
def test_impossible_parameters(make, said):
    with pytest.raises(ValueError, match=said):
        make()


class Doubled(SampledPass):
    """Twice the image plus its draws."""

    def compute(self, model, images, targets, draws):
        assert not torch.is_grad_enabled()
        assert targets.tolist() == [3] * len(images)
        return 2 * images + draws.normal(1)[:, 0]

    def cost(self):
        return Cost()


def test_a_sampled_method_is_given_checked_images_and_the_draws_of_their_names():
    net, x = seeded(nets.Conv), pictures()
    found = Doubled()(net, x.requires_grad_(), 3, ids=list("abcd"))
    assert torch.equal(found, 2 * x + ImageDraws(x, list("abcd"), 0, "Doubled").normal(1)[:, 0])
    assert Doubled().layer_asked is None
    assert LayerConductance("conv").layer_asked == "conv"
