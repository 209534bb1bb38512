"""Coursework has no work of its own: its report answers the courses' questions from the other studies' tables."""

from collections.abc import Mapping
from typing import ClassVar

from suite.attribution.base import Attribution
from suite.config import RunConfig
from suite.core.passes import Cost
from suite.studies.base import Outcome, Study, Work


class Coursework(Study):
    """No items, no rows."""

    name: ClassVar[str] = "coursework"

    def parts(self, config: RunConfig) -> int:
        return 0

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        return Cost()

    def run(self, work: Work) -> Outcome:
        return Outcome([])


STUDY = Coursework()
