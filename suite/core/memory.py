"""How many images a pass may hold: a fixed budget over what autograd keeps for one image, and halves where it fails.

It counts and divides; what is computed is its callers' affair.
"""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from suite.core.draws import ImageDraws
from suite.core.network import scores_of
from suite.core.numerics import active
from suite.core.state import in_use

BUDGET = 512 * 2**20  # bytes kept for backward at a time; more buys no speed on a CPU
_BUSY = 128 * 224 * 224  # pixels in a pass that keep a card busy; more costs memory alone
_PER_FORWARD = 32  # images in a forward without gradients on a CPU
_SMALLER: ContextVar[int] = ContextVar("smaller", default=1)  # after how many times less memory than planned was there
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


def images_per_pass(model: nn.Module, images: Tensor, budget: int | None = None) -> int:
    """At least one, and as many as the budget holds: by default 512 MiB or, on a card, a share of what is free there.

    On a card it is a power of two, and at most what keeps it busy: a little more or less of free memory would otherwise
    round the same call in another way.
    """
    if budget is None:
        budget = _free_on(images.device) if images.is_cuda else BUDGET
    room = budget // bytes_per_image(model, images) // _SMALLER.get()
    if images.is_cuda:
        room = min(_power_of_two(room), images_per_forward(images))
    return max(1, room)


def images_per_forward(images: Tensor) -> int:
    """How many images share a forward pass of which no gradient is kept."""
    height, width = images.shape[2:]
    room = _power_of_two(_BUSY // (height * width)) if images.is_cuda else _PER_FORWARD
    return max(1, room // _SMALLER.get())


def _power_of_two(count: int) -> int:
    """The largest that is not above."""
    return 1 << max(0, count.bit_length() - 1)


def _free_on(device: torch.device) -> int:
    """Bytes of a card that may be filled: a share (`Numerics.memory`) of what neither torch nor others use now."""
    free, _ = torch.cuda.mem_get_info(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(active().memory * (free + cached))


def parts_that_fit(model: nn.Module, images: Tensor, draws: ImageDraws) -> Iterator[tuple[slice, ImageDraws, int]]:
    """The batch in parts of at most `images_per_pass`: which images, their draws, and how many copies share a pass."""
    room = images_per_pass(model, images)
    for part, own in draws.split(room):
        yield part, own, max(1, room // len(images[part]))


def in_halves(make: Callable[[slice], T], images: slice, *, smallest: int = 1) -> list[T]:
    """What `make` makes of all images or, where memory does not hold that, of halves, quarters, ... in their order.

    Passes inside are smaller by as much (`images_per_pass`), also where one image is copied many times.

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
    token = _SMALLER.set(2 * _SMALLER.get())
    try:
        return [result for half in halves for result in in_halves(make, half, smallest=smallest)]
    finally:
        _SMALLER.reset(token)
