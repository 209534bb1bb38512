"""Coursework has no work of its own: its report answers the courses' questions from the other studies' tables."""

from typing import ClassVar

from suite.config import RunConfig
from suite.studies.base import Outcome, Study, Work


class Coursework(Study):
    """No items, no rows."""

    name: ClassVar[str] = "coursework"

    def parts(self, config: RunConfig) -> int:
        return 0

    def run(self, work: Work) -> Outcome:
        return Outcome([])


STUDY = Coursework()
