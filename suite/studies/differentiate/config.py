"""The settings of the study."""

from pydantic import Field

from suite.settings import Number, StudySettings


class DifferentiateConfig(StudySettings):
    """Score, log-probability, probability or cross entropy; and where a gradient stops telling."""

    radii: tuple[Number, ...] = (1 / 16320, 1 / 4080, 1 / 1020, 1 / 255, 4 / 255, 16 / 255)
    grid: int = Field(4, ge=2, description="squares a side, whose interactions are measured")


CONFIG = DifferentiateConfig
