"""Clock and memory of one call, on any device."""

import os
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from suite.core.torch_private import allocations


def synchronise(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_bytes(run: Callable[[], object], device: torch.device) -> int | None:
    """The most bytes of tensors that a call holds at a time, above what was held before it; None where unknown."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        run()
        return None
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler greets on stderr otherwise
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    held = peak = 0
    for size in allocations(profiler):
        held += size
        peak = max(peak, held)
    return peak
