"""The settings of the study."""

from suite.settings import StudySettings


class ComparisonConfig(StudySettings):
    """Method against method, beside maps of unrelated photos."""


CONFIG = ComparisonConfig
