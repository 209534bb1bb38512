"""Counts on any device what would make a card wait: values read back, and shapes that depend on values."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique_consecutive", "_unique2", "equal", "is_nonzero")


class _Calls(TorchFunctionMode):
    """Reads of whole tensors, which no operator of a CPU shows."""

    def __init__(self, operators: Counter[str]) -> None:
        super().__init__()
        self.operators = operators

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.tolist, Tensor.cpu) and args[0].ndim:
            self.operators[func.__name__] += 1
        return func(*args, **(kwargs or {}))


class HostReads(TorchDispatchMode):
    """Inside a `with`: `count` operators that read a value back, by name in `operators`.

    Boolean indexing counts as nonzero. A whole tensor read by `tolist` or `cpu` is one read, also on a CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()

    @property
    def count(self) -> int:
        return sum(self.operators.values())

    def __enter__(self) -> "HostReads":
        self._calls = _Calls(self.operators)
        self._calls.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._calls.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        if name in _WAITING:
            self.operators[name] += 1
        elif name in ("index", "index_put_", "index_put"):
            masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
            if masks:
                self.operators["nonzero"] += 1
        return func(*args, **(kwargs or {}))
