"""The settings of the study scores refuse shares and mosaics that mean nothing."""

import pytest
from pydantic import ValidationError

from suite.studies.scores.config import CONFIG, ScoresConfig


def test_defaults_ask_for_every_name() -> None:
    settings = ScoresConfig()
    assert len(settings.metrics) == len(set(settings.metrics)) == 10
    assert settings.grids == (2, 3)
    assert CONFIG is ScoresConfig


@pytest.mark.parametrize("shares", [[0.0, 0.5], [0.5, 1.0], [0.5, 0.1], [0.5, 0.5]])
def test_removed_shares_rise_strictly_between_0_and_1(shares) -> None:
    with pytest.raises(ValidationError, match="rising shares"):
        ScoresConfig(removed=shares)


@pytest.mark.parametrize("sides", [[1], [9], [2, 10]])
def test_mosaics_have_2_to_8_photos_a_side(sides) -> None:
    with pytest.raises(ValidationError, match="sides of 2 to 8"):
        ScoresConfig(grids=sides)


@pytest.mark.parametrize(
    "changes", [{"metrics": ["no_such"]}, {"deletion": ["no_such"]}, {"metrics": []}, {"steps": 1}]
)
def test_unknown_names_and_empty_lists_are_refused(changes) -> None:
    with pytest.raises(ValidationError):
        ScoresConfig(**changes)
