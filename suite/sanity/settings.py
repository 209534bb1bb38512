"""The settings of an audit of random networks. No torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class AuditSettings:
    """How maps are compared; which networks they are of is said by the audit's stages.

    Attributes:
        seed: the run's.
        noise: standard deviation of the noise e that is added to a photo, in pixel units [0, 1].
        noise_factors: times `noise`. The stages that no verdict needs are compared at factor 1 alone.
        cells: sides of the squares of pixels that are averaged before maps are compared; each divides the next.
        batch_norm: running statistics of re-initialised blocks.
        smoothed: noisy copies a map for sMPRT; 0 leaves it out.
    """

    seed: int = 0
    noise: float = 0.0112
    noise_factors: tuple[float, ...] = (1,)
    cells: tuple[int, ...] = (4,)
    batch_norm: Literal["kept", "reset"] = "kept"
    smoothed: int = 0
