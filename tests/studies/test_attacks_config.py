"""The settings of the study attacks refuse radii that no attack could use."""

import pytest
from pydantic import ValidationError

from suite.studies.attacks.config import CONFIG, AttacksConfig


def test_defaults_begin_at_nothing_and_ascend() -> None:
    settings = AttacksConfig()
    for radii in (settings.epsilons, settings.epsilons_l2):
        assert radii[0] == 0
        assert list(radii) == sorted(set(radii))
    assert [method.name for method in settings.methods] == ["fgsm", "pgd", "pgd_l2"]
    assert CONFIG is AttacksConfig


@pytest.mark.parametrize("radii", [[0.1, 0.1], [0.2, 0.1], [-0.1, 0.1]])
@pytest.mark.parametrize("name", ["epsilons", "epsilons_l2"])
def test_radii_ascend_from_zero(name, radii) -> None:
    with pytest.raises(ValidationError, match="radii of at least 0, ascending"):
        AttacksConfig(**{name: radii})


def test_a_fraction_is_a_number_and_levels_of_255_are_recognised() -> None:
    assert AttacksConfig(epsilons=["0", "8/255"]).epsilons == (0, 8 / 255)
    with pytest.raises(ValidationError, match="did you mean 8/255"):
        AttacksConfig(epsilons=[0, 8])
    assert AttacksConfig(epsilons_l2=[0, 8]).epsilons_l2 == (0, 8)
