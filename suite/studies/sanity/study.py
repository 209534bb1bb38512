"""Sanity: does the map depend on what the network learned? One item is one chunk of images and one draw."""

from collections.abc import Mapping
from itertools import chain
from typing import ClassVar

from suite.attribution.base import Attribution
from suite.attribution.fused import plan_cost
from suite.config import RunConfig
from suite.core.passes import Cost
from suite.errors import NotApplicable
from suite.models.blocks import blocks_of
from suite.results.schema import Keys
from suite.sanity.audit import RandomisationAudit, with_controls
from suite.sanity.score import before_last_rectifier
from suite.sanity.stages import random_blocks
from suite.sanity.verdict import INTACT, METRIC
from suite.studies.base import Outcome, Study, Work
from suite.studies.randomised import KEYS, outcome_of
from suite.studies.sanity.config import SanityConfig


class Sanity(Study):
    """Similarities of maps; what they mean is worked out from the rows, by `suite.sanity.verdict`."""

    name: ClassVar[str] = "sanity"
    keys: ClassVar[Keys] = KEYS

    def parts(self, config: RunConfig) -> int:
        """One a draw."""
        return config.section(SanityConfig).draws

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        """For ten blocks; more blocks cost as much more."""
        settings = config.section(SanityConfig)
        once = plan_cost(methods.values())
        judged = 2 + len(set(settings.orders) - {"independent"})  # everything, almost the same, half of a cascade
        others = {"all": 9 * len(settings.orders) + 2 - judged, "verdict": 1}[settings.stages] + settings.random_logit
        times = 1 + len(settings.noise_factors) * (1 + judged) + others
        times += settings.smoothed * {"all": 11, "verdict": 4}[settings.stages]
        return Cost(once.forwards * times * settings.draws, once.backwards * times * settings.draws)

    def run(self, work: Work) -> Outcome:
        settings, model = work.config.section(SanityConfig), work.model
        if settings.score == "before_last_rectifier":
            try:
                model = before_last_rectifier(model, work.images)
            except NotApplicable as why:
                key = {"kind": "self", "order": INTACT, "blocks": 0, "noise": 0.0, "cell": 0, "draw": work.part}
                rows = (work.unavailable_rows(self.name, label, METRIC, why, **key) for label in work.methods)
                return Outcome(list(chain.from_iterable(rows)))
        blocks = blocks_of(model, work.images, settings.unit, settings.blocks)[::-1]
        stages = random_blocks(
            blocks, settings.orders, verdict_only=settings.stages == "verdict", random_logit=settings.random_logit
        )
        targets = work.targets if settings.target == "label" else work.scores.argmax(1)
        audit = RandomisationAudit(
            model, stages, work.images, targets, work.ids, with_controls(work.methods),
            settings.audit(work.config.seed), work.part,
        )  # fmt: skip
        return outcome_of(self.name, work, audit, [INTACT, *(block.name for block in blocks)])


STUDY = Sanity()
