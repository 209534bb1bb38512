"""References by name: what each computes, where it is not defined, and where Captum parts from the definition."""

import pytest
import torch

from suite.attribution.guided_backprop import GuidedBackprop
from suite.errors import NotApplicable
from suite.verify.networks import small_cases
from suite.verify.references import find_references

CASES = {case.name: case for case in small_cases()}


def test_a_name_alone_is_the_suites():
    (reference,) = find_references("guided_backprop")
    case = CASES["in-place ReLU"]
    assert (reference.name, reference.twin, reference.attack) == ("suite:guided_backprop", "guided_backprop", False)
    assert torch.equal(reference(case), GuidedBackprop()(case.model, case.images, case.targets))


def test_pgd_has_a_variant_without_the_random_start():
    assert [(r.attack, r.still) for r in find_references("torchattacks:PGD")] == [(True, False), (True, True)]
    assert [r.still for r in find_references("suite:pgd")] == [True]
    assert [r.still for r in find_references("torchattacks:FGSM")] == [False]


def test_captum_is_no_reference_where_the_rule_is_undefined():
    (captum,) = find_references("captum:GuidedBackprop")
    with pytest.raises(NotApplicable, match="calls none"):
        captum(CASES["linear"])


def test_a_known_deviation_brings_the_definitions_map_and_why():
    (captum,) = find_references("captum:GuidedBackprop")
    for name, words in (("skip branch", "skip branch"), ("functional ReLU", "hooks 0 of 1")):
        deviation = captum.known_deviation(CASES[name])
        assert deviation is not None
        assert words in deviation[1]
        assert not torch.allclose(captum(CASES[name]), deviation[0])
    assert captum.known_deviation(CASES["in-place ReLU"]) is None
    assert find_references("saliency")[0].known_deviation(CASES["skip branch"]) is None
