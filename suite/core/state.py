"""A network is used in eval mode with gradients available, and found exactly as it was afterwards.

Every call of a network stands inside `in_use`; code that is not the suite's inside `guarded` as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from suite.errors import NetworkError


@contextmanager
def in_use(model: nn.Module) -> Iterator[None]:
    """Eval mode and gradients inside; every module's own training flag is put back on the way out, also after an error.

    Gradients are taken with `torch.autograd.grad`, so no `.grad` and no `requires_grad` is ever touched. Lightning's
    predict loop and `torch.inference_mode` are left for the duration.
    """
    if not isinstance(model, nn.Module):
        raise NetworkError(f"model: expected a torch.nn.Module, got {model!r:.60}; suite.load_model gives one by name")
    training = [module for module in model.modules() if module.training]
    with torch.inference_mode(False), torch.enable_grad():
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True


@contextmanager
def as_found(model: nn.Module) -> Iterator[None]:
    """For a network in hand: training flags, `requires_grad` and device are put back on the way out."""
    flags = [(module, module.training) for module in model.modules()]
    frozen = [(tensor, tensor.requires_grad, tensor.device) for tensor in model.parameters()]
    try:
        yield
    finally:
        if frozen and frozen[0][0].device != frozen[0][2]:
            model.to(frozen[0][2])
        for module, training in flags:
            module.training = training
        for tensor, requires_grad, _ in frozen:
            tensor.requires_grad_(requires_grad)


_STRUCTURE = [name for name, value in vars(nn.Module()).items() if isinstance(value, dict)]
"""A module's own dictionaries: its submodules, parameters and buffers, and all kinds of hooks."""


def _settings(module: nn.Module) -> dict[str, object]:
    """Public attributes such as a ReLU's `inplace`, and a `forward` that somebody put on the instance."""
    public = {name: value for name, value in vars(module).items() if name[0] != "_" and name != "training"}
    return {name: value for name, value in public.items() if name == "forward" or isinstance(value, bool | int | float)}


class Snapshot:
    """Copies of all that foreign code could change in a network, and the way back."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = [
            (module, module.training, _settings(module), {name: dict(getattr(module, name)) for name in _STRUCTURE})
            for module in model.modules()
        ]
        tensors = [*model.parameters(), *model.buffers()]
        self.tensors = [(t, t.detach().clone(), t.requires_grad, t.grad) for t in tensors]

    def restore(self) -> list[str]:
        """Puts everything back; what had to be, in words."""
        changed: set[str] = set()
        for module, training, settings, structure in self.modules:
            if module.training != training:
                changed.add("training flags")
                module.training = training
            if (now := _settings(module)) != settings:
                changed.add("modules' settings")
                for name in now.keys() - settings.keys():
                    delattr(module, name)
                vars(module).update(settings)
            for name, before in structure.items():
                current = getattr(module, name)
                if {k: id(v) for k, v in current.items()} != {k: id(v) for k, v in before.items()}:
                    changed.add("hooks" if "hooks" in name else "modules or weights")
                    current.clear()
                    current.update(before)
        for tensor, values, requires_grad, grad in self.tensors:
            if not torch.equal(tensor, values):
                changed.add("weights or buffers")
                tensor.data.copy_(values)
            if tensor.requires_grad != requires_grad:
                changed.add("requires_grad")
                tensor.requires_grad_(requires_grad)
            if tensor.grad is not grad:
                changed.add(".grad")
                tensor.grad = grad
        return sorted(changed)


@contextmanager
def guarded(model: nn.Module, who: str) -> Iterator[None]:
    """For code that is not the suite's: the network is put back as it was, and a change is an error.

    Raises:
        NetworkError: naming `who` and what was changed, where the code itself raised nothing.
    """
    before = Snapshot(model)
    try:
        yield
    except BaseException:
        before.restore()
        raise
    if changed := before.restore():
        raise NetworkError(
            f"{who} changed the network ({', '.join(changed)}): work on a copy, or undo it before returning"
        )
