"""The settings of the study."""

from suite.settings import StudySettings


class BetweenNetworksConfig(StudySettings):
    """Network against network, by the maps of the same photo."""


CONFIG = BetweenNetworksConfig
