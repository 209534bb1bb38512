"""Random tensors by name: seeded by (seed, image, purpose), so that neither batch nor order nor chunk matters.

Whatever a method or a study draws for an image it draws here; torch's global generator is never used.
"""

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from suite.core.seeding import seed_of
from suite.errors import DataError


def generator_for(seed: int, image: str, purpose: str) -> torch.Generator:
    """A CPU generator of its own for one image and one purpose."""
    return torch.Generator().manual_seed(seed_of(seed, image, purpose))


def image_ids(images: Tensor, ids: Sequence[str] | None) -> tuple[str, ...]:
    """The names given, or the digests of the pixels."""
    if ids is None:
        arrays = images.detach().cpu().contiguous()
        raw = [array.flatten().view(torch.uint8).numpy().tobytes() for array in arrays]  # numpy has no bfloat16
        return tuple(hashlib.blake2b(data, digest_size=16).hexdigest() for data in raw)
    if len(ids) != len(images):
        raise DataError(f"ids: expected {len(images)}, one an image, got {len(ids)}")
    return tuple(ids)


class ImageDraws:
    """Draws for a batch, sample by sample; the same whatever the batch and however many are drawn at a time.

    Each kind of draw has a stream of its own, so that a chunk's size does not decide which number serves for what.

    Args:
        images: (B, C, H, W); gives shape, device and dtype.
        ids: one name an image, or None for digests of the pixels.
        seed: of the run or the method.
        purpose: what the draws are for; other purposes get other draws.
    """

    def __init__(self, images: Tensor, ids: Sequence[str] | None, seed: int, purpose: str) -> None:
        self.images = images
        self.ids = image_ids(images, ids)
        self._generators = {
            kind: [generator_for(seed, name, f"{purpose} {kind}") for name in self.ids]
            for kind in ("normal", "uniform", "choice")
        }

    def _next(self, kind: str, count: int, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        drawn = [torch.stack([draw(g) for _ in range(count)]) for g in self._generators[kind]]
        return torch.stack(drawn).to(self.images.device)

    def normal(self, count: int) -> Tensor:
        """(B, count, C, H, W), standard normal; the next `count` draws of each image."""
        shape = self.images.shape[1:]
        return self._next("normal", count, lambda g: torch.randn(shape, generator=g)).to(self.images)

    def uniform(self, count: int) -> Tensor:
        """(B, count), uniform in [0, 1); the next `count` draws of each image."""
        return self._next("uniform", count, lambda g: torch.rand(1, generator=g)[0]).to(self.images)

    def choice(self, count: int, among: int) -> Tensor:
        """(B, count) int64 in [0, among), each with equal chances; the next `count` draws of each image."""
        return self._next("choice", count, lambda g: torch.randint(among, (1,), generator=g)[0])

    def split(self, size: int) -> list[tuple[slice, "ImageDraws"]]:
        """The same draws for consecutive parts of the batch."""
        parts = []
        for start in range(0, len(self.images), size):
            part = object.__new__(type(self))
            chosen = slice(start, start + size)
            part.images, part.ids = self.images[chosen], self.ids[chosen]
            part._generators = {kind: streams[chosen] for kind, streams in self._generators.items()}
            parts.append((chosen, part))
        return parts
