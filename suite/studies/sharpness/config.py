"""The study has no settings of its own."""

from suite.settings import StudySettings

CONFIG = StudySettings
