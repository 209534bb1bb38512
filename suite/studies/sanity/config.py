"""The settings of the study: those of its audit."""

from suite.sanity.config import SanityConfig

CONFIG = SanityConfig
