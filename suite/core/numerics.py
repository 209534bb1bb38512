"""How a device computes: in full precision and with the same bits twice, unless a configuration says otherwise."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import torch

_NOT_DETERMINISTIC = re.compile(r"(\S+) does not have a deterministic implementation")


@dataclass(frozen=True)
class Numerics:
    """What a run asks of its device.

    Attributes:
        tf32: whether convolutions and matrix products may round their inputs to 10 bits of mantissa, which cards do by
            default: 1.3 times as fast, and gradients differ in the third digit.
        deterministic: whether the same call gives the same bits twice.
        draws: where random numbers come from: `device` draws a card's on the card, `cpu` gives it a CPU's.
        memory: the share of a card's free memory that a method of many passes may fill.
    """

    tf32: bool = False
    deterministic: bool = True
    draws: Literal["device", "cpu"] = "device"
    memory: float = 0.6


_ACTIVE: ContextVar[tuple[Numerics, set[str]] | None] = ContextVar("numerics", default=None)


def active() -> Numerics:
    """The numerics of the block that this is inside of, else the default."""
    outer = _ACTIVE.get()
    return Numerics() if outer is None else outer[0]


@contextmanager
def numerics(wanted: Numerics | None = None) -> Iterator[set[str]]:
    """Sets torch's switches for the duration and puts them back.

    An operator that has no deterministic form on a card runs all the same. The switches are the process's: blocks of
    several threads that overlap put back each other's.

    Args:
        wanted: None leaves the switches of a `numerics` block around this one as they are; outside of any it is the
            default, full precision and the same bits twice.

    Yields:
        the names of these operators, complete when the block ends; always empty without a card.
    """
    outer = _ACTIVE.get()
    if wanted is None and outer is not None:
        yield outer[1]
        return
    wanted, without = wanted or Numerics(), set[str]()
    token = _ACTIVE.set((wanted, without))
    try:
        with _switched(wanted), _collected(without) if torch.cuda.is_available() else nullcontext():
            yield without
    finally:
        _ACTIVE.reset(token)


@contextmanager
def _switched(wanted: Numerics) -> Iterator[None]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    memory: Any = torch.utils.deterministic  # its switch is set through the module's class
    before = cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, matmul.allow_tf32
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = memory.fill_uninitialized_memory
    try:
        cudnn.allow_tf32 = matmul.allow_tf32 = wanted.tf32
        if wanted.deterministic:
            cudnn.deterministic, cudnn.benchmark = True, False
            if torch.cuda.is_available() and not deterministic[0]:
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS has a deterministic form then
                torch.use_deterministic_algorithms(True, warn_only=True)
                memory.fill_uninitialized_memory = False  # nothing reads it: a launch saved
        yield
    finally:
        cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, matmul.allow_tf32 = before
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
        memory.fill_uninitialized_memory = filled


@contextmanager
def _collected(names: set[str]) -> Iterator[None]:
    """Torch's warnings of operators without a deterministic form become names; all others are shown as ever."""
    with warnings.catch_warnings():
        show = warnings.showwarning
        warnings.filterwarnings("always", message=f".*{_NOT_DETERMINISTIC.pattern}")

        def sort_out(message: Warning | str, *where: object, **more: object) -> None:
            if match := _NOT_DETERMINISTIC.search(str(message)):
                names.add(match.group(1))
            else:
                show(message, *where, **more)  # type: ignore[arg-type]

        warnings.showwarning = sort_out
        yield
