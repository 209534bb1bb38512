"""Labels: does the map change when the network has learned permuted labels instead? One item a chunk and a seed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from suite.attribution.base import Attribution
from suite.attribution.fused import plan_cost
from suite.config import RunConfig
from suite.core.passes import Cost
from suite.results.schema import row
from suite.sanity.label_randomisation import STAGE, LabelAudit, settings_for
from suite.sanity.weight_randomisation import with_controls
from suite.studies.base import Outcome, Rows, Study, Work
from suite.studies.labels.config import LabelsConfig
from suite.studies.randomised import picture_of, rows_of
from suite.training.fit import Recipe, as_network, recipe_of, train


class Labels(Study):
    """Similarities between maps of the network and of its twin; and what each of the two had learned."""

    name: ClassVar[str] = "labels"

    def parts(self, config: RunConfig) -> int:
        """One a seed."""
        return config.section(LabelsConfig).seeds

    def prepare(self, config: RunConfig) -> None:
        for title in config.asked(self.name):
            for seed in range(self.parts(config)):
                for recipe in self._recipes(config, recipe_of(config, title), seed).values():
                    train(recipe)

    def _recipes(self, config: RunConfig, recipe: Recipe, seed: int) -> dict[str, Recipe]:
        settings, true = config.section(LabelsConfig), replace(recipe, seed=seed)
        permuted = replace(true, labels="permuted", stop=0.98, count=settings.count or recipe.count)
        others = {name: replace(true, architecture=name) for name in settings.against if name != recipe.architecture}
        return {"true": true, STAGE: permuted, **others}

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        settings = config.section(LabelsConfig)
        once, times = plan_cost(methods.values()), 1 + len(settings.noise_factors) * (3 + len(settings.against))
        return Cost(once.forwards * times * settings.seeds, once.backwards * times * settings.seeds)

    def run(self, work: Work) -> Outcome:
        settings = work.config.section(LabelsConfig)
        recipes = self._recipes(work.config, recipe_of(work.config, work.model.card.name), work.part)
        trained = {name: train(recipe) for name, recipe in recipes.items()}
        networks = {n: as_network(body, work.model).eval().requires_grad_(False) for n, (body, _) in trained.items()}
        audit = LabelAudit(
            networks.pop("true"), work.images, work.targets, work.ids, with_controls(work.methods),
            settings_for(settings.noise, settings.noise_factors, settings.cells),
            others=networks, seed=work.config.seed, draw=work.part,
        )  # fmt: skip
        rows = rows_of(self.name, work, audit)
        if not work.positions or work.positions[0] == 0:
            rows += [r for name in ("true", STAGE) for r in self._gates(work, name, trained[name][1])]
        return Outcome(rows, picture_of(self.name, work, audit, ["true labels", "permuted labels", *recipes]))

    def _gates(self, work: Work, name: str, known: Mapping[str, float]) -> Rows:
        """Accuracies; x is the number of pictures, 0 where it does not matter."""
        place = work.place(self.name) | {"other": "gate", "draw": work.part, "stage": name}
        sizes = {"train": 0.0, "test": known["test_n"]}
        return [row(**place, x=n, metric=f"accuracy_{k}", value=known[k]) for k, n in sizes.items()]


STUDY = Labels()
