"""Silence for a while: what is meant is not said, what is not meant is, and all is found again afterwards."""

import logging
import warnings

import pytest

from suite.quiet import quiet


def test_only_the_warnings_that_are_meant_are_silenced() -> None:
    with warnings.catch_warnings(record=True) as said, quiet():
        warnings.warn("The 'predict_dataloader' does not have many workers which may be a bottleneck", stacklevel=1)
        warnings.warn("Setting backward hooks on ReLU activations. The hooks will be removed", stacklevel=1)
        warnings.filterwarnings("always", message="something else")
        warnings.warn("something else", stacklevel=1)
    assert [str(warning.message) for warning in said] == ["something else"]


def test_levels_and_filters_are_found_again_also_after_an_error() -> None:
    logger, before = logging.getLogger("pytorch_lightning"), list(warnings.filters)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        with quiet():
            assert logger.level == logging.ERROR
        assert logger.level == logging.INFO
        with pytest.raises(ArithmeticError), quiet():
            raise ArithmeticError
        assert logger.level == logging.INFO
        assert warnings.filters == before
    finally:
        logger.setLevel(level)
