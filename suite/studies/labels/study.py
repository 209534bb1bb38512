"""Labels: does the map change when the network has learned permuted labels instead? One item a chunk and a seed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from suite.attribution.base import Attribution
from suite.attribution.fused import plan_cost
from suite.config import RunConfig
from suite.core.passes import Cost
from suite.models.blocks import blocks_of
from suite.results.schema import Keys
from suite.sanity.audit import RandomisationAudit, with_controls
from suite.sanity.stages import other_networks
from suite.sanity.verdict import PERMUTED
from suite.studies.base import Outcome, Rows, Study, Work
from suite.studies.labels.config import LabelsConfig
from suite.studies.randomised import KEYS, outcome_of
from suite.training.fit import Recipe, as_network, recipe_of, train

TRUE = "true"  # the network trained on true labels


class Labels(Study):
    """Similarities between maps of the network and of its twin, and the accuracies of both."""

    name: ClassVar[str] = "labels"
    keys: ClassVar[Keys] = {**KEYS, "labels": str, "pictures": int}

    def parts(self, config: RunConfig) -> int:
        """One a seed."""
        return config.section(LabelsConfig).seeds

    def prepare(self, config: RunConfig) -> None:
        for title in config.networks_of(self.name):
            for seed in range(self.parts(config)):
                for recipe in self._recipes(config, recipe_of(config, title), seed).values():
                    train(recipe)

    def _recipes(self, config: RunConfig, recipe: Recipe, seed: int) -> dict[str, Recipe]:
        settings, true = config.section(LabelsConfig), replace(recipe, seed=seed)
        permuted = replace(true, labels="permuted", stop=0.98, count=settings.count or recipe.count)
        others = {name: replace(true, architecture=name) for name in settings.against if name != recipe.architecture}
        return {TRUE: true, PERMUTED: permuted, **others}

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        settings = config.section(LabelsConfig)
        once, times = plan_cost(methods.values()), 1 + len(settings.noise_factors) * (3 + len(settings.against))
        return Cost(once.forwards * times * settings.seeds, once.backwards * times * settings.seeds)

    def run(self, work: Work) -> Outcome:
        recipes = self._recipes(work.config, recipe_of(work.config, work.model.card.name), work.part)
        trained = {name: train(recipe) for name, recipe in recipes.items()}
        networks = {n: as_network(body, work.model).eval().requires_grad_(False) for n, (body, _) in trained.items()}
        model = networks.pop(TRUE)
        stages = other_networks(networks, blocks_of(model, work.images)[::-1])
        audit = RandomisationAudit(
            model, stages, work.images, work.targets, work.ids, with_controls(work.methods),
            work.config.section(LabelsConfig).audit(work.config.seed), work.part,
        )  # fmt: skip
        outcome = outcome_of(self.name, work, audit, ["true labels", "permuted labels"])
        if work.positions[0] == 0:
            for name in (TRUE, PERMUTED):
                outcome.rows += self._gates(work, name, recipes[name].architecture, trained[name][1])
        return outcome

    def _gates(self, work: Work, labels: str, architecture: str, accuracies: Mapping[str, float]) -> Rows:
        """Accuracies, with the number of test pictures (0 for the training set, where no interval needs it)."""
        key = work.columns(self.name) | {"kind": "gate", "draw": work.part, "labels": labels, "block": architecture}
        sizes = {"train": 0.0, "test": accuracies["test_n"]}
        return [
            key | {"pictures": n, "metric": f"accuracy_{part}", "value": accuracies[part]} for part, n in sizes.items()
        ]


STUDY = Labels()
