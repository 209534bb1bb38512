"""How many images one pass may hold: a fixed budget over the bytes that autograd keeps for one image."""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from suite.core.network import scores_of
from suite.core.state import in_use

BUDGET = 512 * 2**20  # bytes kept for backward at a time; more buys no speed on a CPU


_KNOWN: WeakKeyDictionary[nn.Module, dict[tuple[object, ...], int]] = WeakKeyDictionary()


def bytes_per_image(model: nn.Module, images: Tensor) -> int:
    """What autograd keeps for the backward pass of one image; counted once a network and kind of image."""
    known = _KNOWN.setdefault(model, {})
    kind = (*images.shape[1:], images.dtype, images.device)
    if kind not in known:
        known[kind] = _count_bytes(model, images)
    return known[kind]


def _count_bytes(model: nn.Module, images: Tensor) -> int:
    """Tensor by tensor, in one forward."""
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
