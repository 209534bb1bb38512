"""How an implementation behaves, apart from what it returns: state, batch, memory, no_grad."""

import gc
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from suite.verify.networks import Case

Function = Callable[[nn.Module, Tensor, Tensor], Any]


def snapshot(model: nn.Module) -> dict[str, object]:
    """All that must be found as it was, as comparable values."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    state: dict[str, object] = {}
    for name, module in model.named_modules():
        state[f"train mode of {name or 'the network'}"] = module.training
        state[f"hooks of {name or 'the network'}"] = tuple(len(getattr(module, h)) for h in hooks)
    for name, parameter in model.named_parameters():
        state[f"weights {name}"] = parameter.detach().clone()
        state[f"requires_grad of {name}"] = parameter.requires_grad
        state[f".grad of {name}"] = None if parameter.grad is None else parameter.grad.clone()
    for name, buffer in model.named_buffers():
        state[f"buffer {name}"] = buffer.clone()
    return state


def changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """Names of what differs."""

    def same(a: object, b: object) -> bool:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return torch.equal(a, b)
        return type(a) is type(b) and a == b

    return [name for name in before.keys() | after.keys() if not same(before.get(name), after.get(name))]


def state_changes(function: Function, case: Case) -> str:
    """What the function leaves changed on the network, in words; "" where nothing is."""
    before = snapshot(case.model)
    function(case.model, case.images.clone(), case.targets.clone())
    names = sorted(changed(before, snapshot(case.model)))
    if not names:
        return ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"changes the model's state: {names[0]}{more}"


def couples_batch(function: Function, case: Case, close: Callable[[Tensor, Tensor], bool]) -> str:
    """Whether an image's result depends on its neighbours, by giving them one at a time."""
    together = function(case.model, case.images.clone(), case.targets.clone()).detach()
    alone = torch.cat(
        [
            function(case.model, case.images[i : i + 1].clone(), case.targets[i : i + 1].clone()).detach()
            for i in range(len(case.images))
        ]
    )
    if together.shape == alone.shape and close(together, alone):
        return ""
    return "couples images of a batch: an image alone gives another result than among others"


def leaks(function: Function, case: Case, calls: int = 8) -> str:
    """Whether tensors stay alive call after call."""

    def held() -> int:
        gc.collect()
        return sum(1 for thing in gc.get_objects() if isinstance(thing, Tensor))

    counts = []
    for _ in range(calls):
        function(case.model, case.images.clone(), case.targets.clone())
        counts.append(held())
    growth = [b - a for a, b in pairwise(counts[2:])]
    if growth and min(growth) > 0:
        return f"leaks memory: {growth[-1]} more tensors stay alive after each call"
    return ""


def fails_without_grad(function: Function, case: Case) -> str:
    """Whether it depends on the caller having gradients enabled, as Lightning's predict loop has not."""
    with torch.no_grad():
        try:
            function(case.model, case.images.clone(), case.targets.clone())
        except Exception as error:
            return f"fails under no_grad ({type(error).__name__}): wrap its gradient in torch.enable_grad()"
    return ""
