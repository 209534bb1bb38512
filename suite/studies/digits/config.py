"""The settings of the study: a configuration of its own, checked when its networks are known."""

from typing import Any

CONFIG = dict[str, Any]
