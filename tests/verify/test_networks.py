"""The small networks hide nothing: what each stands for is there."""

import torch
from torch import nn

from suite.verify.networks import CLASSES, SIZE, SkipBranch, small_cases

CASES = {case.name: case for case in small_cases()}


def test_they_are_the_same_on_every_call_and_leave_the_random_state_alone():
    before = torch.get_rng_state()
    for case in small_cases():
        assert torch.equal(case.images, CASES[case.name].images)
        assert torch.equal(case.model(case.images), CASES[case.name].model(case.images))
    assert torch.equal(torch.get_rng_state(), before)


def test_each_has_what_its_name_says():
    kinds = {name: [type(m) for m in case.model.modules()] for name, case in CASES.items()}
    assert nn.ReLU not in kinds["linear"]
    assert nn.ReLU not in kinds["functional ReLU"]
    assert nn.BatchNorm2d in kinds["batch norm"]
    assert all(m.inplace for m in CASES["in-place ReLU"].model.modules() if isinstance(m, nn.ReLU))
    for case in CASES.values():
        assert case.images.shape == (5, 3, *SIZE)
        assert case.model(case.images.clone()).shape == (5, CLASSES)
        assert len(set(case.targets.tolist())) == 5


def test_a_cut_skip_changes_gradients_and_not_scores():
    case = CASES["skip branch"]
    model = case.model
    assert isinstance(model, SkipBranch)
    gradients, scores = [], []
    for model.cut in (False, True):
        x = case.images.clone().requires_grad_()
        scores.append(model(x))
        gradients.append(torch.autograd.grad(scores[-1].sum(), x)[0])
    assert torch.equal(*scores)
    assert not torch.allclose(*gradients)
