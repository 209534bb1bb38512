"""The one LightningModule: hands each item to its study. And the writer that makes an item's shard, atomically."""

import suite._torchvision  # noqa: F401

import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BasePredictionWriter, TQDMProgressBar

from suite.attribution.base import Attribution
from suite.config import RunConfig
from suite.data.datamodule import Chunk
from suite.errors import SuiteError
from suite.models.network import Network
from suite.results.schema import row
from suite.results.store import write_shard
from suite.run.plan import WorkItem
from suite.studies.base import Outcome, Study, Work

log = logging.getLogger("suite")


class Bench(pl.LightningModule):
    """Networks, methods and studies of a run; one predict step is one item of work.

    Args:
        config: the run's.
        networks: title -> network.
        methods: label -> method.
        studies: name -> study.
        run_dir: where tracebacks of failed items go.
    """

    def __init__(
        self,
        config: RunConfig,
        networks: Mapping[str, Network],
        methods: Mapping[str, Attribution],
        studies: Mapping[str, Study],
        run_dir: Path,
    ) -> None:
        super().__init__()
        self.config = config
        self.networks = torch.nn.ModuleDict({f"n{i}": n for i, n in enumerate(networks.values())})
        self._key = {title: f"n{i}" for i, title in enumerate(networks)}
        self.methods = dict(methods)
        self.studies = dict(studies)
        self.run_dir = run_dir
        self._last: tuple[tuple[str, tuple[int, ...]], Work] | None = None

    def setup(self, stage: str) -> None:
        """Memory format, once the networks are on their device."""
        if self.config.memory_format == "channels_last":
            self.to(memory_format=torch.channels_last)

    def transfer_batch_to_device(self, batch: Chunk, device: torch.device, dataloader_idx: int) -> Chunk:
        """The images go to the device; all else stays."""
        if batch.item is None:
            return batch
        images = batch.images.to(device, next(self.parameters()).dtype)
        if self.config.memory_format == "channels_last":
            images = images.contiguous(memory_format=torch.channels_last)
        return replace(batch, images=images)

    def predict_step(self, batch: Chunk, batch_idx: int) -> tuple[WorkItem, Outcome] | None:
        """One item -> its rows; what goes wrong inside becomes a failed row with its traceback beside."""
        item = batch.item
        if item is None:
            return None
        study = self.studies[item.study]
        try:
            work = self._work(item, batch)
            if not len(batch.images) and item.study != "predictions":
                return item, Outcome([])
            return item, study.run(work)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {error}" if not isinstance(error, SuiteError) else str(error)
            if not isinstance(error, SuiteError):
                message += f" (traceback in errors/{self._trace(item)})"
            log.error("%s on %s, chunk %d: %s", item.study, item.model, item.index, message)
            fault = row(
                study=item.study, model=item.model, metric="item", x=float(item.index), status="failed", message=message
            )
            return item, Outcome([fault])

    def _work(self, item: WorkItem, batch: Chunk) -> Work:
        key = (item.model, item.images)
        if self._last is None or self._last[0] != key:
            place = {file.id: position for file, position in zip(self._files(batch), item.images, strict=True)}
            network = self.networks[self._key[item.model]]
            assert isinstance(network, Network)
            work = Work(
                model=network,
                methods=self.methods,
                images=batch.images,
                files=batch.files,
                positions=[place[file.id] for file in batch.files],
                notes=batch.notes,
                faults=batch.faults,
                config=self.config,
            )
            self._last = (key, work)
        return self._last[1]

    @staticmethod
    def _files(batch: Chunk) -> list[Any]:
        return sorted([*batch.files, *(file for file, _ in batch.faults)], key=lambda file: file.id)

    def _trace(self, item: WorkItem) -> str:
        name = f"{item.study}-{self._key[item.model]}-{item.index:06d}.txt"
        folder = self.run_dir / "errors"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(traceback.format_exc(), encoding="utf-8")
        return name


class ShardWriter(BasePredictionWriter):
    """Writes an item's pictures, then its shard; the shard is what makes the item done."""

    def __init__(self, run_dir: Path, models: Sequence[str]) -> None:
        super().__init__(write_interval="batch")
        self.run_dir = run_dir
        self.place = {model: i for i, model in enumerate(models)}

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """One item, atomically."""
        if prediction is None:
            return
        item, outcome = prediction
        place = self.place[item.model]
        folder = self.run_dir / "images" / f"{place:02d}"
        for stem, arrays in outcome.pictures.items():
            folder.mkdir(parents=True, exist_ok=True)
            partial = folder / f".{stem}.part.npz"
            np.savez_compressed(partial, **arrays)
            partial.replace(folder / f"{stem}.npz")
        write_shard(self.run_dir / "rows" / item.shard(place), outcome.rows)


class Progress(TQDMProgressBar):
    """Lightning's bar, saying which study is at work."""

    def on_predict_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *args: Any, **kwargs: Any) -> None:
        """Names the item."""
        super().on_predict_batch_start(trainer, pl_module, batch, *args, **kwargs)
        if batch.item is not None and self.is_enabled:
            self.predict_progress_bar.set_description(f"{batch.item.study} on {batch.item.model}")
