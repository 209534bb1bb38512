"""Shortcut: does a map show the planted patch when, and only when, the network uses it? One item a chunk and a seed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from suite.attribution.base import Attribution
from suite.attribution.fused import attribute_each, plan_cost
from suite.config import RunConfig
from suite.core.draws import generator_for
from suite.core.network import Network
from suite.core.passes import Cost
from suite.errors import as_suite_error
from suite.metrics import localisation
from suite.results.schema import Keys
from suite.sanity.audit import with_controls
from suite.studies.base import Outcome, Rows, Study, Work, magnitude
from suite.studies.shortcut.config import ShortcutConfig
from suite.training.fit import Recipe, as_network, recipe_of, train
from suite.training.shortcut import plant, regions


class Shortcut(Study):
    """Mass in the patch, pointing, and whether the network is right with the patch and without."""

    name: ClassVar[str] = "shortcut"
    keys: ClassVar[Keys] = {"patch": str, "seed": int}

    def parts(self, config: RunConfig) -> int:
        """One a seed."""
        return config.section(ShortcutConfig).seeds

    def prepare(self, config: RunConfig) -> None:
        for title in config.networks_of(self.name):
            for seed in range(self.parts(config)):
                for recipe in self._recipes(recipe_of(config, title), seed).values():
                    train(recipe)

    def _recipes(self, recipe: Recipe, seed: int) -> dict[str, Recipe]:
        recipe = replace(recipe, seed=seed)
        return {"used": replace(recipe, patch="planted"), "unused": replace(recipe, patch="idle")}

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        once, seeds = plan_cost(methods.values()), self.parts(config)
        return Cost((2 * once.forwards + 4) * seeds, 2 * once.backwards * seeds)

    def run(self, work: Work) -> Outcome:
        rows: Rows = []
        patched = _patch_classes(work)
        images, inside = plant(work.images, patched), regions(patched, work.size[0]).to(work.images.device)
        recipes = self._recipes(recipe_of(work.config, work.model.card.name), work.part)
        for patch, targets in (("used", patched), ("unused", work.targets)):
            network = as_network(train(recipes[patch])[0], work.model).eval().requires_grad_(False)
            fields = {"patch": patch, "seed": work.part}
            for metric, pictures in (("correct_with_patch", images), ("correct_without_patch", work.images)):
                with torch.no_grad():
                    correct = (network(pictures).argmax(1) == targets).double()
                rows += work.rows(self.name, "", metric, correct, **fields)
            rows += self._maps(work, network, images, targets, inside, fields)
        return Outcome(rows)

    def _maps(
        self, work: Work, network: Network, images: Tensor, targets: Tensor, inside: Tensor, fields: dict[str, Any]
    ) -> Rows:
        """Where the maps of pictures with a patch are large."""
        rows: Rows = []
        methods = with_controls(work.methods)
        ids = [f"{name} {fields['patch']} {work.part}" for name in work.ids]
        for label, maps in attribute_each(network, images, targets, methods, ids=ids).items():
            fields = fields | {"control": methods[label].control}
            if isinstance(maps, Exception):
                why = as_suite_error(f"method {label!r}", maps)
                rows += work.unavailable_rows(self.name, label, "pointing", why, **fields)
                continue
            size, undefined = magnitude(maps, work.size).double(), "the map is constant, zero or not finite"
            for metric, measure in (("mass_in_patch", localisation.mass_inside), ("pointing", pointing)):
                rows += work.rows(self.name, label, metric, measure(size, inside), **fields, undefined=undefined)
        return rows


def _patch_classes(work: Work) -> Tensor:
    """(B,) the class that each picture's patch says."""
    generators = [generator_for(work.config.seed, name, f"patch {work.part}") for name in work.ids]
    return torch.cat([torch.randint(10, (1,), generator=g) for g in generators]).to(work.images.device)


def pointing(size: Tensor, inside: Tensor) -> Tensor:
    """(B,) `localisation.pointing` of the region and the pixels beside it; NaN where a map is constant.

    The pointing game's 15 pixels of 224 would be two here, half the patch's side; a constant map points nowhere.
    """
    return localisation.pointing(size, inside, 1).masked_fill(size.amin((1, 2)) == size.amax((1, 2)), torch.nan)


STUDY = Shortcut()
