"""The settings of the study."""

from typing import Literal, get_args

from pydantic import Field, field_validator

from suite.metrics.cards import Score
from suite.settings import Number, StudySettings

Baseline = Literal["mean", "zeros", "white", "blurred", "noise"]


class ScoresConfig(StudySettings):
    """Metrics of maps, each beside maps that never see the network."""

    metrics: tuple[Score, ...] = Field(get_args(Score), min_length=1)
    steps: int = Field(28, ge=2, description="points of a deletion or insertion curve after the first")
    deletion: tuple[Baseline, ...] = Field(("mean",), min_length=1, description="what replaces deleted pixels")
    insertion: tuple[Baseline, ...] = Field(("blurred",), min_length=1, description="what pixels are inserted into")
    removed: tuple[float, ...] = Field((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), min_length=1)
    superpixels: int = Field(80, ge=5, description="of SLIC, a photo")
    samples: int = Field(100, ge=3, description="random subsets of superpixels a photo")
    perturbations: int = Field(10, ge=1, description="noisy copies for sensitivity")
    radius: Number = Field(0.02, gt=0, le=1, description="of that noise, in pixel units [0, 1]")
    confidence: float = Field(0.5, ge=0, lt=1, description="least confidence of photos in mosaics and composites")
    grids: tuple[int, ...] = Field((2, 3), min_length=1, description="sides of the mosaics, in photos")

    @field_validator("removed")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < share < 1 for share in value) or list(value) != sorted(set(value)):
            raise ValueError("expected rising shares strictly between 0 and 1, such as [0.1, 0.5, 0.9]")
        return value

    @field_validator("grids")
    @classmethod
    def _sides(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(2 <= side <= 8 for side in value):
            raise ValueError("expected sides of 2 to 8 photos, such as [2, 3]")
        return value


CONFIG = ScoresConfig
