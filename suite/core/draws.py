"""Random tensors by name: seeded by (seed, image, purpose), so that neither batch nor order nor chunk matters.

Whatever a method or a study draws for an image it draws here; torch's global generator is never used. A CPU draws from
one `torch.Generator` an image. A card would launch a kernel an image for that, and draws by hashing counters instead.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import cached_property
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from suite.core.numerics import active
from suite.core.seeding import seed_of
from suite.errors import DataError

Kind = Literal["normal", "uniform", "choice"]

_STEP, _FIRST, _SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15  # splitmix64's, as int64


def generator_for(seed: int, image: str, purpose: str) -> torch.Generator:
    """A CPU generator of its own for one image and one purpose."""
    return torch.Generator().manual_seed(seed_of(seed, image, purpose))


class Digests(Sequence[str]):
    """Names of images from their pixels, hashed when the first of them is needed."""

    def __init__(self, images: Tensor) -> None:
        self._images = images

    @cached_property
    def _names(self) -> list[str]:
        arrays = self._images.detach().cpu().contiguous().flatten(1).view(torch.uint8).numpy()  # numpy has no bfloat16
        return [hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest() for array in arrays]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        return Digests(self._images[index]) if isinstance(index, slice) else self._names[index]


def image_ids(images: Tensor, ids: Sequence[str] | None) -> Sequence[str]:
    """The names given, or the digests of the pixels."""
    if ids is None:
        return Digests(images)
    if len(ids) != len(images):
        raise DataError(f"ids: expected {len(images)}, one an image, got {len(ids)}")
    return ids if isinstance(ids, Digests) else tuple(ids)


def draws_on_device(device: torch.device) -> bool:
    """Whether random numbers for images there are hashed there; a CPU's always come from its generators."""
    return device.type != "cpu" and active().draws == "device"


def stream_keys(seed: int, ids: Iterable[str], purpose: str, device: torch.device) -> Tensor:
    """(B,) int64: the name of each image's stream for `hashed`, in one copy to the device."""
    return torch.tensor([seed_of(seed, name, purpose) for name in ids], dtype=torch.int64).to(device)


def hashed(kind: Kind, keys: Tensor, first: int, shape: Sequence[int], among: int = 1) -> Tensor:
    """Random numbers as a hash of (key, counter), on any device, in a number of launches that does not depend on B.

    Integers wrap alike everywhere, so `choice` and `uniform` are the same bits on all devices, `normal` up to rounding.

    Args:
        kind: standard normal; uniform in [0, 1); or integers in [0, among).
        keys: (B,) int64, a stream each.
        first: the counter of the first number of `shape`; the next numbers of a stream begin at `first + prod(shape)`.
        shape: of what is drawn for each key.
        among: see `kind`.

    Returns:
        (B, *shape), float32, or int64 for `choice`.

    Source: splitmix64 (Steele, Lea & Flood 2014) of the counter from the key on; Box & Muller 1958 for normals.
    """
    counters = torch.arange(first + 1, first + prod(shape) + 1, device=keys.device)
    bits = keys[:, None] + counters * _STEP
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        bits ^= _shifted(bits, shift)
        bits *= factor
    bits ^= _shifted(bits, 31)
    high = _shifted(bits, 32)
    if kind == "choice":
        return (high % among).view(len(keys), *shape)
    if kind == "uniform":
        return ((high >> 8).float() * 2.0**-24).view(len(keys), *shape)
    radius = ((high + 1).float() * 2.0**-32).log_().mul_(-2).sqrt_()  # of a uniform in (0, 1]
    angle = (bits & 0xFFFFFFFF).float() * (2.0**-31 * torch.pi)
    return (radius * angle.cos_()).view(len(keys), *shape)


def _shifted(bits: Tensor, count: int) -> Tensor:
    """A logical shift to the right; torch's is arithmetic."""
    return (bits >> count) & ((1 << (64 - count)) - 1)


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
        self._names = image_ids(images, ids)
        self._seed, self._purpose = seed, purpose
        self._generators: dict[Kind, list[torch.Generator]] = {}  # of the whole batch, made when they are needed
        self._part = slice(None)  # of these, the images that stand here
        self._drawn: Counter[Kind] = Counter()  # samples, on a device that hashes them
        self._on_device = draws_on_device(images.device)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The images' names."""
        return tuple(self._names)[self._part]

    def _next(
        self, kind: Kind, count: int, shape: Sequence[int], draw: Callable[[torch.Generator], Tensor], among: int = 1
    ) -> Tensor:
        """(B, count, *shape): the next numbers of each image's stream."""
        purpose = f"{self._purpose} {kind}"
        if self._on_device:
            keys = stream_keys(self._seed, self.ids, purpose, self.images.device)
            first = self._drawn[kind] * prod(shape)
            self._drawn[kind] += count
            return hashed(kind, keys, first, (count, *shape), among)
        if kind not in self._generators:
            self._generators[kind] = [generator_for(self._seed, name, purpose) for name in self._names]
        generators = self._generators[kind][self._part]
        drawn = [torch.stack([draw(g) for _ in range(count)]) for g in generators]
        return torch.stack(drawn).to(self.images.device)

    def normal(self, count: int) -> Tensor:
        """(B, count, C, H, W), standard normal; the next `count` draws of each image."""
        shape = self.images.shape[1:]
        return self._next("normal", count, shape, lambda g: torch.randn(shape, generator=g)).to(self.images)

    def uniform(self, count: int) -> Tensor:
        """(B, count), uniform in [0, 1); the next `count` draws of each image."""
        return self._next("uniform", count, (), lambda g: torch.rand(1, generator=g)[0]).to(self.images)

    def choice(self, count: int, among: int) -> Tensor:
        """(B, count) int64 in [0, among), each with equal chances; the next `count` draws of each image."""
        return self._next("choice", count, (), lambda g: torch.randint(among, (1,), generator=g)[0], among)

    def split(self, size: int) -> list[tuple[slice, "ImageDraws"]]:
        """The same draws for consecutive parts of the batch."""
        begin, parts = self._part.start or 0, []
        for start in range(0, len(self.images), size):
            part = copy(self)
            part.__dict__.pop("ids", None)
            part.images, part._drawn = self.images[start : start + size], self._drawn.copy()
            part._part = slice(begin + start, begin + start + len(part.images))
            parts.append((slice(start, start + size), part))
        return parts
