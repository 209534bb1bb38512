"""Each hypothesis gives the result of the mistake it names."""

import pytest
import torch

from suite.verify.hypotheses import ATTACK_FORMS, FORMS, SCALES, mistakes
from suite.verify.networks import small_cases
from suite.verify.references import CAPTUM, find_references

CASE = list(small_cases())[2]


def results(name, words):
    (reference,) = find_references(name)
    (make,) = [make for text, make in mistakes(reference) if words in text]
    return dict(make(CASE))


def test_a_softmax_explains_probabilities():
    found = results("suite:gradient", "the softmax probability")[""](CASE)
    x = CASE.images.clone().requires_grad_()
    chosen = CASE.model(x.clone()).softmax(1).gather(1, CASE.targets[:, None]).sum()
    torch.testing.assert_close(found, torch.autograd.grad(chosen, x)[0])


def test_a_wrong_layer_is_named():
    forms = results("suite:grad_cam", "the wrong layer")
    assert {"first", "relu"} <= forms.keys()
    assert not torch.equal(forms["first"](CASE), find_references("grad_cam")[0](CASE))


@pytest.mark.parametrize("name", [f"captum:{name}" for name in CAPTUM] + ["suite:saliency", "torchattacks:FGSM"])
def test_no_mistake_is_named_twice_and_all_can_be_computed(name):
    reference, *_ = find_references(name)
    named = list(mistakes(reference))
    assert len({text for text, _ in named}) == len(named)
    for _, make in named[:3]:
        detail, compute = next(iter(make(CASE)))
        assert isinstance(detail, str)
        assert compute(CASE).ndim == 4


def test_relations_make_equal_what_differs_by_them():
    a = torch.randn(2, 3, 6, 4, generator=torch.Generator().manual_seed(0))
    relations = dict((*FORMS, *SCALES, *ATTACK_FORMS))
    planted = {
        "the sign": -a,
        "the channel sum": a.sum(1, keepdim=True),
        "nearest upsampling": torch.nn.functional.interpolate(a, scale_factor=2.0),
        "the scale": 3 * a,
        "the range of each image (scale and offset)": 2 * a + 1,
    }
    for name, wrong in planted.items():
        pair = relations[name](CASE, wrong, a)
        assert pair is not None
        torch.testing.assert_close(*pair)
    assert relations["the channel sum"](CASE, a, a) is None
