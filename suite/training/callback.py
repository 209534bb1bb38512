"""A Lightning callback for anybody's Trainer: maps, S and the shortcut's mass while a network is trained."""

import suite._torchvision  # noqa: F401 - pytorch_lightning imports torchmetrics, which imports torchvision

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn

from suite.attribution.fused import Method, as_methods, attribute_each
from suite.errors import ConfigError
from suite.models.blocks import blocks_of
from suite.sanity.audit import RandomisationAudit
from suite.sanity.settings import AuditSettings
from suite.sanity.stages import random_blocks
from suite.sanity.verdict import EVERYTHING, INTACT, METRIC, ORDER, sensitivity

log = logging.getLogger("suite")


class AttributionAudit(pl.Callback):
    """Every `every` epochs: S with everything random, the share of each map in a region, and the maps themselves.

    Random state, training flags, gradients and weights are left as they were, so the training gives the same bits as
    without the callback. Numbers go through `LightningModule.log` (to any logger), as `audit/<method>/S`
    and `audit/<method>/mass`; maps, side by side, to loggers that take images (TensorBoard, Weights & Biases).

    Args:
        images: (B, 3, H, W), a few of the validation set, at least two; S needs them to be of two classes.
        targets: (B,) the classes explained.
        methods: as `suite.attribute` takes them.
        every: epochs.
        draws: random networks S is averaged over.
        region: (B, H, W), true where a suspected shortcut is.
        stop_above: stops the training once a method has more than this share of its map in the region.
        network: the part of the module that gives scores; the module itself by default.
    """

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        methods: Iterable[str | Method] | Mapping[str, str | Method] = ("saliency",),
        *,
        every: int = 1,
        draws: int = 2,
        region: Tensor | None = None,
        stop_above: float | None = None,
        network: Callable[[pl.LightningModule], nn.Module] = lambda module: module,
    ) -> None:
        if len(images) < 2 or every < 1 or draws < 1:
            raise ConfigError("AttributionAudit: give at least two images, and every and draws of at least 1")
        if region is not None and region.shape != (len(images), *images.shape[2:]):
            expected = f"expected (B, H, W) of the images, {(len(images), *images.shape[2:])}"
            raise ConfigError(f"AttributionAudit: region has shape {tuple(region.shape)}, {expected}")
        if stop_above is not None and region is None:
            raise ConfigError("AttributionAudit: stop_above needs the region of the suspected shortcut")
        self.images, self.targets, self.region = images, targets, region
        self.methods, self.every, self.draws = as_methods(methods), every, draws
        self.stop_above, self.network = stop_above, network

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Audits, logs, and stops the training where the map sits on the shortcut."""
        if (trainer.current_epoch + 1) % self.every:
            return
        images, targets = self.images.to(pl_module.device), self.targets.to(pl_module.device)
        with isolate_rng(include_cuda=images.is_cuda):  # random state is restored
            numbers, maps = self._audit(self.network(pl_module), images, targets)
        pl_module.log_dict(numbers)
        for label, grey in maps.items():
            self._show(trainer, f"audit/{label}", grey)
        mass = [v for k, v in numbers.items() if k.endswith("/mass")]
        if self.stop_above is not None and mass and max(mass) > self.stop_above:
            trainer.should_stop = True

    def _audit(self, model: nn.Module, images: Tensor, targets: Tensor) -> tuple[dict[str, float], dict[str, Tensor]]:
        numbers, maps = {}, {}
        for label, result in attribute_each(model, images, targets, self.methods).items():
            if isinstance(result, Exception):
                log.warning("AttributionAudit: %s has no map: %s", label, result)
                continue
            size = F.interpolate(result.abs().sum(1, keepdim=True), images.shape[2:], mode="bilinear")[:, 0]
            scaled = size / size.amax((1, 2), keepdim=True).clamp_min(1e-12)
            maps[label] = torch.cat([*scaled], 1)  # (H, B W): the images side by side
            if self.region is not None:
                share = (size * self.region.to(size)).sum((1, 2)) / size.sum((1, 2))
                numbers[f"audit/{label}/mass"] = float(share.nanmean())
        ids = [str(i) for i in range(len(images))]
        stages = random_blocks(blocks_of(model, images)[::-1], (ORDER,), verdict_only=True)
        similarities: dict[tuple[str, str], list[np.ndarray]] = {}
        for draw in range(self.draws):
            audit = RandomisationAudit(model, stages, images, targets, ids, self.methods, AuditSettings(), draw)
            for block in audit.rows():
                key = block.fields
                if key["metric"] == METRIC and key["order"] in (INTACT, EVERYTHING):
                    similarities.setdefault((key["method"], key["kind"]), []).append(block.values)
        for label in self.methods:
            parts = [similarities.get((label, kind), []) for kind in ("self", "stage", "null", "other")]
            if all(parts):
                value = sensitivity(*(np.stack(part, 1) for part in parts)).value
                if np.isfinite(value):
                    numbers[f"audit/{label}/S"] = value
        return numbers, maps

    @staticmethod
    def _show(trainer: pl.Trainer, name: str, grey: Tensor) -> None:
        """A grey picture in [0, 1], to loggers that take images."""
        for logger in trainer.loggers:
            experiment: Any = getattr(logger, "experiment", None)
            if hasattr(logger, "log_image"):
                logger.log_image(name, [grey.cpu().numpy()], step=trainer.global_step)
            elif hasattr(experiment, "add_image"):
                experiment.add_image(name, grey.cpu()[None], trainer.global_step)
