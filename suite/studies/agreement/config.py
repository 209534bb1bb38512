"""The settings of the study."""

from suite.settings import StudySettings


class AgreementConfig(StudySettings):
    """Handwritten against the reference, per image."""


CONFIG = AgreementConfig
