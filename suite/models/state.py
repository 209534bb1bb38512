"""A network is used in eval mode with gradients available, and found exactly as it was afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def in_use(model: nn.Module) -> Iterator[None]:
    """Eval mode and gradients inside; every module's own training flag is put back on the way out, also after an error.

    Gradients are taken with `torch.autograd.grad`, so no `.grad` and no `requires_grad` is ever touched. Lightning's
    predict loop and `torch.inference_mode` are left for the duration.
    """
    training = [module for module in model.modules() if module.training]
    with torch.inference_mode(False), torch.enable_grad():
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True
