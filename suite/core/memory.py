"""How many images a pass may hold: a fixed budget over what autograd keeps for one image, and halves where it fails.

It counts and divides; what is computed is its callers' affair.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from suite.core.draws import ImageDraws
from suite.core.network import scores_of
from suite.core.state import in_use

BUDGET = 512 * 2**20  # bytes kept for backward at a time; more buys no speed on a CPU
T = TypeVar("T")

_BYTES: WeakKeyDictionary[nn.Module, dict[tuple[object, ...], int]] = WeakKeyDictionary()


def bytes_per_image(model: nn.Module, images: Tensor) -> int:
    """What autograd keeps for the backward pass of one image; counted once a network and kind of image."""
    counts = _BYTES.setdefault(model, {})
    kind = (*images.shape[1:], images.dtype, images.device)
    if kind not in counts:
        counts[kind] = _count_bytes(model, images)
    return counts[kind]


def _count_bytes(model: nn.Module, images: Tensor) -> int:
    storages: dict[int, int] = {}
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold its own node, which holds it: a graph that is never freed

    with in_use(model), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        scores_of(model, images[:1].detach().clone().requires_grad_().clone())
    return max(1, sum(storages.values()))


def images_per_pass(model: nn.Module, images: Tensor, budget: int = BUDGET) -> int:
    """At least one, and as many as the budget holds."""
    return max(1, budget // bytes_per_image(model, images))


def parts_that_fit(model: nn.Module, images: Tensor, draws: ImageDraws) -> Iterator[tuple[slice, ImageDraws, int]]:
    """The batch in parts of at most `images_per_pass`: which images, their draws, and how many copies share a pass."""
    room = images_per_pass(model, images)
    for part, own in draws.split(room):
        yield part, own, max(1, room // len(images[part]))


def in_halves(make: Callable[[slice], T], images: slice, *, smallest: int = 1) -> list[T]:
    """What `make` makes of all images or, where memory does not hold that, of halves, quarters, ... in their order.

    Raises:
        torch.OutOfMemoryError: where `smallest` images are too many.
    """
    size = images.stop - images.start
    try:
        return [make(images)]
    except torch.OutOfMemoryError:
        if size <= smallest:
            raise
    torch.cuda.empty_cache()
    middle = images.start + (size + 1) // 2
    halves = slice(images.start, middle), slice(middle, images.stop)
    return [result for half in halves for result in in_halves(make, half, smallest=smallest)]
