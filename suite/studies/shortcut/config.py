"""The settings of the study."""

from pydantic import Field

from suite.settings import StudySettings


class ShortcutConfig(StudySettings):
    """A planted shortcut: does a map show the patch when, and only when, the network uses it?"""

    seeds: int = Field(1, ge=1, description="pairs of trainings")


CONFIG = ShortcutConfig
