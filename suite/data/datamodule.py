"""Work items with their images, as Lightning takes them. Decodes; computes nothing."""

import suite._torchvision  # noqa: F401 - pytorch_lightning imports torchmetrics, which imports torchvision

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from suite.data.images import load_image
from suite.data.sources import ImageFile, ImageList
from suite.errors import ImageError

Size = tuple[int | None, tuple[int, int]]  # resize and crop of a network's images, `Card.taken`


class Chunk:
    """One item of work and its images. Not a dataclass, because Lightning's double precision converts their fields.

    Args:
        item: the work item; None where a process has nothing left to do and only keeps step.
        images: (B, 3, H, W) in [0, 1]; those that could be read.
        files: the files of these images.
        notes: how each was converted when it was read ("converted from CMYK"), "" for most.
        faults: files that could not be used, and why.
        ids: of all files of the item, in its order.
    """

    def __init__(
        self,
        item: Any,
        images: Tensor,
        files: tuple[ImageFile, ...] = (),
        notes: tuple[str, ...] = (),
        faults: tuple[tuple[ImageFile, str], ...] = (),
        ids: tuple[str, ...] = (),
    ) -> None:
        self.item, self.images, self.files, self.notes, self.faults, self.ids = item, images, files, notes, faults, ids


@dataclass
class WorkDataset(Dataset[Chunk]):
    """An item's images, decoded when it is its turn, as its network takes them (`sizes`)."""

    items: Sequence[Any]  # each has `model` and `images` (positions in the list of files); None where there is no work
    images: ImageList
    sizes: Mapping[str, Size]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Chunk:
        item = self.items[index]
        if item is None:
            return Chunk(None, torch.empty(0))
        return read_chunk(item, [self.images.files[i] for i in item.images], self.sizes[item.model])


def read_chunk(item: Any, files: Sequence[ImageFile], size: Size) -> Chunk:
    """Decodes the files of an item; one that cannot be used is set aside with its reason."""
    resize, crop = size
    images, kept, notes, faults = [], [], [], []
    for file in files:
        try:
            image, note = file.pixels, ""
            if image is None:
                image, note = load_image(file.path, resize=resize, crop=crop)
        except ImageError as error:
            faults.append((file, str(error)))
        else:
            images.append(image)
            kept.append(file)
            notes.append(note)
    stacked = torch.stack(images) if images else torch.empty(0, 3, *crop)
    return Chunk(item, stacked, tuple(kept), tuple(notes), tuple(faults), tuple(file.id for file in files))


class WorkData(pl.LightningDataModule):
    """Hands out items one by one; Lightning's sampler assigns them to processes."""

    def __init__(self, dataset: WorkDataset, workers: int = 0) -> None:
        super().__init__()
        self.dataset = dataset
        self.workers = workers

    def setup(self, stage: str) -> None:
        """All processes take the first one's list: each may read a shared disk at another moment."""
        if self.trainer is not None:
            self.dataset.items = self.trainer.strategy.broadcast(self.dataset.items)

    def predict_dataloader(self) -> DataLoader[Chunk]:
        """One item a turn, in the order of the plan."""
        return DataLoader(self.dataset, batch_size=1, collate_fn=itemgetter(0), num_workers=self.workers)
