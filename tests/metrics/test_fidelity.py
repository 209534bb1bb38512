"""Fidelity against answers worked out by hand, and Captum's infidelity."""

import captum.metrics
import numpy as np
import pytest
import torch
from networks import Sum
from scipy import stats
from torch import nn

from suite.metrics.fidelity import faithfulness_correlation, infidelity, mu_fidelity, relative_infidelity, subset_sums
from suite.metrics.perturbed import evaluate_perturbed

T = torch.tensor


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_truth_of_a_linear_network_is_perfectly_faithful():
    model, image = Sum([4.0, -1.0, 2.0, 3.0]), torch.rand(1, 1, 2, 2, generator=draw())
    masks = torch.rand(1, 9, 2, 2, generator=draw(3)) < 0.5
    clean = model(image).detach()[0, 0]
    drops = clean - evaluate_perturbed(model, image, T([0]), masks, torch.zeros_like(image), 4).score
    truth = (image * model.weights).detach()[:, 0]
    sums = subset_sums(truth, masks)
    torch.testing.assert_close(sums.float(), drops.float())
    assert float(faithfulness_correlation(sums, drops)) == pytest.approx(1)
    assert float(mu_fidelity(-sums, drops)) == pytest.approx(-1)
    assert float(infidelity(7 * sums, drops)) == pytest.approx(0, abs=1e-9)
    assert float(infidelity(0 * sums, drops)) == pytest.approx(float(drops.square().mean()))
    assert float(relative_infidelity(0 * sums, drops)) == pytest.approx(1)
    assert relative_infidelity(sums, 0 * drops).isnan().all()
    assert faithfulness_correlation(torch.zeros(1, 9), drops).isnan().all()


@pytest.mark.parametrize(
    ("metric", "oracle"), [(faithfulness_correlation, stats.pearsonr), (mu_fidelity, stats.spearmanr)]
)
def test_correlations_are_scipys(metric, oracle):
    sums, drops = torch.randn(2, 5, 30, generator=draw(4)).round(decimals=1)  # with ties
    expected = [oracle(a, b).statistic for a, b in zip(sums.numpy(), drops.numpy(), strict=True)]
    np.testing.assert_allclose(metric(sums, drops).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("normalise", [False, True])
def test_infidelity_is_captums_with_the_same_perturbations(normalise):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 10), nn.Tanh(), nn.Linear(10, 4))
    images, maps = torch.rand(3, 3, 4, 4), torch.randn(3, 3, 4, 4)
    noises = 0.3 * torch.randn(6, 3, 3, 4, 4)
    turns = iter(noises)
    theirs = captum.metrics.infidelity(
        model, lambda x: (n := next(turns), x - n), images, maps, target=T([0, 1, 2]), n_perturb_samples=6,
        max_examples_per_batch=3, normalize=normalise,
    )  # fmt: skip
    with torch.no_grad():
        pick = T([[0], [1], [2]])
        drops = torch.stack([(model(images) - model(images - n)).gather(1, pick)[:, 0] for n in noises], 1)
    predicted = (noises * maps).flatten(2).sum(2).T
    ours = infidelity(predicted, drops, normalise=normalise)
    torch.testing.assert_close(ours.float(), theirs, rtol=1e-4, atol=1e-7)
