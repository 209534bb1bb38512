"""The only file that may touch private parts of torch: each function names the one it needs.

Torch may take any of them away without notice. tests/core/test_torch_private.py then says which, and holds every other
file of the suite to torch's public API.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def saved(node: Any, name: str) -> Any:
    """What autograd keeps with a node of its graph under this name (`_saved_self`, `_saved_min`); None where absent."""
    return getattr(node, f"_saved_{name}", None)


def output_shape(node: Any) -> torch.Size:
    """The shape of what a node of the graph computed (`_input_metadata`)."""
    return torch.Size(node._input_metadata[0].shape)


def base_of(tensor: Tensor) -> Tensor | None:
    """The tensor that this one is a view of (`_base`); None where it is no view."""
    return tensor._base


def reset_parameters(module: nn.Module) -> None:
    """A module's own initialisation, where it has one (`_reset_parameters` of `nn.MultiheadAttention`)."""
    for name in ("reset_parameters", "_reset_parameters"):
        if callable(reset := getattr(module, name, None)):
            reset()
            return


def allocations(profile: torch.profiler.profile) -> Iterator[int]:
    """Bytes of each allocation, negative where they are given back, in order (`kineto_results`)."""
    for event in profile.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            yield event.nbytes()  # type: ignore[union-attr]


def says_detached(error: BaseException | None) -> bool:
    """Whether autograd complains of a tensor without a graph: its errors have words, and no type of their own."""
    words = "does not require grad", "not have been used in the graph"
    return isinstance(error, RuntimeError) and any(part in str(error) for part in words)


def cpu_computes_bf16() -> bool:
    """Whether the processor has instructions for bfloat16 (`_is_amx_tile_supported`, `_is_avx512_bf16_supported`)."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
