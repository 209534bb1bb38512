"""The LightningModule that hands each item to its study, and the writer of an item's shard."""

import suite._torchvision  # noqa: F401

import io
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytorch_lightning as pl
import torch
import torch.distributed
from pytorch_lightning.callbacks import BasePredictionWriter, TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm

from suite.attribution.base import Attribution
from suite.config import RunConfig
from suite.core.atomic import write_bytes
from suite.core.memory import in_halves
from suite.core.network import Network
from suite.data.datamodule import Chunk
from suite.errors import SuiteError
from suite.results.columns import as_table, with_note, without_doubles
from suite.results.schema import AT_ONCE
from suite.results.store import write_shard
from suite.run.plan import WorkItem
from suite.studies.base import Outcome, Row, Study, Work

log = logging.getLogger("suite")


class _OutOfMemoryError(SuiteError):
    """Not even the smallest part of an item fits."""

    def __init__(self, note: str, hint: str) -> None:
        super().__init__(f"{note}; {hint}")
        self.note = note


def _of_item(item: WorkItem, status: str, message: str) -> Row:
    """The one row of an item that has no other."""
    return _where(item) | {"metric": "item", "status": status, "message": message}


def _where(item: WorkItem) -> Row:
    return {"study": item.study, "model": item.model, "chunk": item.index, "part": item.part}


def _held(item: WorkItem, images: int, note: str) -> Row:
    """The row that says how many images memory held at once."""
    return _where(item) | {"metric": AT_ONCE, "value": images, "unit": "image", "message": note}


class Bench(pl.LightningModule):
    """Networks (by title), methods and studies of a run; one predict step is one item of work.

    Tracebacks of failed items go to `run_dir`. Every process uses the first one's number of `threads`.
    """

    def __init__(
        self,
        config: RunConfig,
        networks: Mapping[str, Network],
        methods: Mapping[str, Attribution],
        studies: Mapping[str, Study],
        run_dir: Path,
        threads: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.networks = torch.nn.ModuleDict({f"n{i}": n for i, n in enumerate(networks.values())})
        self._key = {title: f"n{i}" for i, title in enumerate(networks)}
        self.methods = dict(methods)
        self.studies = dict(studies)
        self.run_dir = run_dir
        self.threads = threads
        self._chunk: tuple[int, ...] = ()
        self._works: dict[str, Work] = {}  # of this chunk, by network

    def setup(self, stage: str) -> None:
        """Threads, which Lightning's launcher has set its own way, and memory format, now that the device is known."""
        torch.set_num_threads(self.trainer.strategy.broadcast(self.threads))
        if self.config.memory_format == "channels_last":
            self.to(memory_format=torch.channels_last)

    def transfer_batch_to_device(self, batch: Chunk, device: torch.device, dataloader_idx: int) -> Chunk:
        """The images go to the device; all else stays."""
        if batch.item is None:
            return batch
        dtype = next((p.dtype for p in self.parameters()), batch.images.dtype)  # a network may have no parameters
        batch.images = batch.images.to(device, dtype)
        if self.config.memory_format == "channels_last":
            batch.images = batch.images.contiguous(memory_format=torch.channels_last)
        return batch

    def predict_step(self, batch: Chunk, batch_idx: int) -> tuple[WorkItem, Outcome] | None:
        """One item -> its rows; an error becomes a failed row that names the file of its traceback."""
        item = batch.item
        if item is None:
            return None
        study = self.studies[item.study]
        try:
            work = self._work(item, batch)
            if not len(batch.images) and not study.without_images:
                message = "not one image of the first chunk could be read"
                rows = [_of_item(item, "not_applicable", message)] if study.once else []
                return item, Outcome(as_table(rows, study.keys))
            outcome = self._fitting(study, work)
            table = as_table(outcome.rows, study.keys)
            if work.at_once < len(work.images):
                note = f"out of memory with {len(work.images)} images at once, done {work.at_once} at a time"
                log.warning("%s on %s, chunk %d: %s", item.study, item.model, item.index, note)
                held = as_table([_held(item, work.at_once, note)], study.keys)
                table = pa.concat_tables([with_note(table, note), held])
            return item, Outcome(table, outcome.pictures)
        except Exception as error:
            message = f"{type(error).__name__}: {error}" if not isinstance(error, SuiteError) else str(error)
            if not isinstance(error, SuiteError):
                message += f" (traceback in errors/{self._trace(item)})"
            log.error("%s on %s, chunk %d: %s", item.study, item.model, item.index, message)
            rows = [_of_item(item, "failed", message)]
            if isinstance(error, _OutOfMemoryError):
                rows.append(_held(item, 0, error.note))
            return item, Outcome(as_table(rows, study.keys))

    def _fitting(self, study: Study, work: Work) -> Outcome:
        """The study's outcome, put together of halves where memory does not hold all images.

        Numbers are then those of the halves: equal up to rounding, but for what pairs photos of a chunk.
        """
        size = len(work.images)
        smallest = size if study.once else 1

        def run(at: slice) -> tuple[Work, Outcome]:
            part = work if at.stop - at.start == size else work.some(at)
            return part, study.run(part)

        try:
            parts = in_halves(run, slice(0, size), smallest=smallest)
        except torch.OutOfMemoryError as error:
            hint = "lower data.batch_size" if smallest > 1 else "give a smaller input_size or network"
            note = f"out of memory with {smallest} image{'s' * (smallest > 1)} at once"
            raise _OutOfMemoryError(note, hint) from error
        outcomes = [outcome for _, outcome in parts]
        if len(outcomes) == 1:
            return outcomes[0]
        work.at_once = max(part.at_once for part, _ in parts)
        rows = without_doubles(pa.concat_tables([as_table(outcome.rows, study.keys) for outcome in outcomes]))
        return Outcome(rows, {stem: picture for outcome in outcomes for stem, picture in outcome.pictures.items()})

    def _work(self, item: WorkItem, batch: Chunk) -> Work:
        if self._chunk != item.images:
            for work in self._works.values():
                work.others = ()  # they hold each other, and their maps
            self._chunk, self._works = item.images, {}
        position = dict(zip(batch.ids, item.images, strict=True))
        size = self._network(item.model).card.taken
        for title in self._key:
            if title not in self._works and self._network(title).card.taken == size:
                self._works[title] = Work(
                    model=self._network(title),
                    methods=self.methods,
                    images=batch.images,
                    files=batch.files,
                    positions=[position[file.id] for file in batch.files],
                    notes=batch.notes,
                    faults=batch.faults,
                    config=self.config,
                )
        work = self._works[item.model]
        alike = (t for t in self._key if t != item.model and self._network(t).card.taken == size)
        work.others = [self._works[title] for title in alike]
        return work.begin(item.part)

    def _network(self, title: str) -> Network:
        network = self.networks[self._key[title]]
        assert isinstance(network, Network)
        return network

    def _trace(self, item: WorkItem) -> str:
        name = f"{item.study}-{self._key[item.model]}-{item.index:06d}-{item.part:03d}.txt"
        folder = self.run_dir / "errors"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(traceback.format_exc(), encoding="utf-8")
        return name


class ShardWriter(BasePredictionWriter):
    """Writes an item's pictures, then its shard; the shard is what makes the item done."""

    def __init__(self, run_dir: Path, models: Sequence[str], run: str) -> None:
        super().__init__(write_interval="batch")
        self.run_dir, self.run = run_dir, run
        self._parent = os.getppid()
        self.number = {model: i for i, model in enumerate(models)}
        self._all: torch.distributed.ProcessGroup | None = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Makes a group whose processes may wait for each other as long as an item takes, not some minutes."""
        if trainer.world_size > 1:
            self._all = torch.distributed.new_group(backend="gloo", timeout=timedelta(days=30))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Waits for all processes, so that the report sees all rows."""
        if self._all is not None:
            torch.distributed.barrier(self._all)

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
        """One item, atomically; nothing once the process that started this one is gone, and the lock with it."""
        if trainer.global_rank and os.getppid() != self._parent:
            raise SuiteError("the first process of this run is gone; the same command goes on from here")
        if prediction is None:
            return
        item, outcome = prediction
        number = self.number[item.model]
        folder = self.run_dir / "images" / f"{number:02d}"
        for stem, arrays in outcome.pictures.items():
            packed = io.BytesIO()
            np.savez_compressed(packed, **arrays)
            write_bytes(folder / f"{stem}.npz", packed.getvalue())
            for picture in folder.glob(f"{stem}*.png"):  # drawn from earlier arrays
                picture.unlink()
        write_shard(self.run_dir / "rows" / item.shard(number), outcome.rows, self.run)


class Progress(TQDMProgressBar):
    """Lightning's bar, on stderr, saying which study is at work."""

    def init_predict_tqdm(self) -> Tqdm:
        """One bar; stdout is for results."""
        return Tqdm(desc="starting", position=0, disable=self.is_disabled, leave=True, file=sys.stderr, smoothing=0)

    def on_predict_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *args: Any, **kwargs: Any) -> None:
        """Names the item."""
        super().on_predict_batch_start(trainer, pl_module, batch, *args, **kwargs)
        if batch.item is not None and self.is_enabled:
            self.predict_progress_bar.set_description(f"{batch.item.study} on {batch.item.model}")
