"""All that a call could change in a network, its images and the generators: equal before and after."""

import numpy as np
import torch
from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def state(net: nn.Module) -> dict:
    """Everything that a method could change, comparable with ==."""
    kept = {
        "values": {k: (v.dtype, tuple(v.shape), v.numpy().tobytes()) for k, v in net.state_dict().items()},
        "places": {k: (id(v), v.data_ptr(), v._version) for k, v in [*net.named_parameters(), *net.named_buffers()]},
        "requires_grad": {k: p.requires_grad for k, p in net.named_parameters()},
        "grad": {k: None if p.grad is None else (id(p.grad), p.grad.tolist()) for k, p in net.named_parameters()},
        "tensor hooks": {k: len(p._backward_hooks or ()) for k, p in net.named_parameters()},
        "training": {k: m.training for k, m in net.named_modules()},
        "hooks": {(k, h): len(getattr(m, h)) for k, m in net.named_modules() for h in HOOKS},
        "modules": [(k, id(m)) for k, m in net.named_modules()],
        "dict": {k: sorted(vars(m)) for k, m in net.named_modules()},
    }
    return kept


def randomness() -> tuple:
    legacy = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), legacy[1].tolist(), legacy[2]


def around(net, x):
    return state(net), randomness(), x.tolist(), x.requires_grad, x._version, torch.is_grad_enabled()
