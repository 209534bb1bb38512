"""Counts on any device what would make a card wait: values read back, and shapes that depend on values."""

from collections import Counter
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

_WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique_consecutive", "_unique2", "equal", "is_nonzero")


class HostReads(TorchDispatchMode):
    """Inside a `with`: `count` operators that read a value back, by name in `operators`.

    Boolean indexing shows as nonzero. `Tensor.numpy` and `tolist` of a whole tensor are not seen on a CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()

    @property
    def count(self) -> int:
        return sum(self.operators.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        if name in _WAITING:
            self.operators[name] += 1
        return func(*args, **(kwargs or {}))
