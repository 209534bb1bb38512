"""Scores: is the map faithful, stable, concentrated, well placed? Each method beside maps that know no network."""

from collections.abc import Mapping
from typing import ClassVar

from suite.attribution.base import Attribution
from suite.attribution.fused import plan_cost
from suite.config import RunConfig
from suite.core.passes import Cost
from suite.results.schema import Keys
from suite.studies.base import Outcome, Study, Work
from suite.studies.scores.config import ScoresConfig
from suite.studies.scores.scoring import CONTROLS, Scoring, controls_of
from suite.studies.scores.self_test import self_test


class Scores(Study):
    """Rows by metric (see `suite.metrics.cards`), variant (its form) and baseline (the pixels' replacement)."""

    name: ClassVar[str] = "scores"
    keys: ClassVar[Keys] = {"role": str, "variant": str, "baseline": str, "share": float}

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        settings = config.section(ScoresConfig, ScoresConfig())
        number = len({*controls_of("deletion"), *methods})
        forwards = {
            "deletion": len(settings.deletion) * ((settings.steps - 1) * number + 1),
            "insertion": len(settings.insertion) * ((settings.steps - 1) * number + 1),
            "road": len(settings.removed) * number,
            "fidelity": settings.samples,
            "grid": 1,
            "composites": 1,
            "axioms": 2,
        }
        maps = {"sensitivity": settings.perturbations, "composites": 1, "axioms": 2}
        maps["grid"] = sum(side**2 for side in settings.grids)  # each cell's map is of a picture of side² photos
        alone, again = (sum(passes.get(metric, 0) for metric in settings.metrics) for passes in (forwards, maps))
        maps_once = plan_cost(methods.values())
        return Cost(alone + again * maps_once.forwards, again * maps_once.backwards)

    def run(self, work: Work) -> Outcome:
        settings = work.config.section(ScoresConfig, ScoresConfig())
        rows = Scoring(work, {**CONTROLS, **work.methods}, settings).all_rows()
        if work.first:
            rows += self_test(work, settings)
            for label, method in work.methods.items():
                passes = method.cost().forwards + method.cost().backwards
                rows.append(work.columns(self.name, label) | {"metric": "passes", "value": passes, "unit": "pass"})
        return Outcome(rows, work.pictures("agreement", "comparison", "sharpness"))


STUDY = Scores()
