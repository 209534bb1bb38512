"""The settings of the study."""

from suite.settings import StudySettings


class SharpnessConfig(StudySettings):
    """How concentrated the maps are: entropy, Gini, total variation, mass of the largest region."""


CONFIG = SharpnessConfig
