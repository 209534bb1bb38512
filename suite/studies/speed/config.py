"""The settings of the study."""

from pydantic import Field

from suite.settings import StudySettings


class SpeedConfig(StudySettings):
    """Own, reference and the bare passes, interleaved."""

    rounds: int = Field(10, ge=2)
    one_by_one: bool = True
    memory: bool = True


CONFIG = SpeedConfig
