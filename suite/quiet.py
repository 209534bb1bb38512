"""Silences what Lightning and Captum say about what is meant, for a while. No torch."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning_fabric", "lightning.pytorch")
_WARNINGS = (
    "You have overridden `transfer_batch_to_device`",
    "does not have many workers",
    "required_grads has been set automatically",
    "Setting backward hooks on ReLU activations",
    "Checkpoint directory .* exists and is not empty",
    "`isinstance.treespec, LeafSpec.` is deprecated",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block; the filters and levels of the program around it are found again afterwards."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for text in _WARNINGS:
            warnings.filterwarnings("ignore", message=f".*{text}")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
