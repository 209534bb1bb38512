"""The settings of the study."""

from suite.settings import StudySettings


class CourseworkConfig(StudySettings):
    """What two courses ask, answered from the tables of the run's other studies."""


CONFIG = CourseworkConfig
