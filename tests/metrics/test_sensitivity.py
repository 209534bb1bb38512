"""Sensitivity against Captum's and by hand."""

import captum.metrics
import torch
from torch import nn

from suite.metrics.sensitivity import max_sensitivity, mean_sensitivity, relative_change


def test_sensitivity_is_captums_with_the_same_noise():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 10), nn.Tanh(), nn.Linear(10, 1))

    @torch.enable_grad()
    def explain(x):
        if isinstance(x, tuple):  # as Captum calls; a bare tensor given back would be taken for a tuple of its images
            return (explain(x[0]),)
        x = x.detach().requires_grad_()
        return torch.autograd.grad(model(x).sum(), x)[0]

    images, noises = torch.rand(3, 3, 4, 4), 0.05 * (2 * torch.rand(5, 3, 3, 4, 4) - 1)
    turns = iter(noises)
    theirs = captum.metrics.sensitivity_max(
        explain, images, lambda x: x + next(turns), n_perturb_samples=5, max_examples_per_batch=3
    )
    changes = torch.stack([relative_change(explain(images), explain(images + n)) for n in noises], 1)
    torch.testing.assert_close(max_sensitivity(changes).float(), theirs, rtol=1e-5, atol=1e-7)
    assert relative_change(torch.zeros(1, 3), torch.ones(1, 3)).isnan().all()
    assert mean_sensitivity(torch.tensor([[0.5, 1.0, 3.0]])).tolist() == [1.5]
