"""Makes `import torchvision` work beside a torch that cannot load torchvision's compiled operators. Imports torch.

Whatever imports torchvision, captum, torchattacks, timm, torchmetrics or pytorch_lightning (all import torchvision)
does this first:

    from suite._torchvision import torchvision      # where torchvision itself is used
    import suite._torchvision  # noqa: F401         # where it is not

ruff keeps these lines above the others (pyproject.toml, isort sections).
"""

# Why: torchvision's wheel on PyPI is compiled against the CUDA build of torch. Beside a CPU build its extension _C does
# not load, which torchvision tolerates in silence, but then it registers the shapes of torchvision::nms (and ::qnms, in
# newer releases) and dies with "operator torchvision::nms does not exist". Nothing here calls either, so declaring the
# schemas is enough: the import goes through, and a call to them still fails with torchvision's own message.
# Where the extension loads, the operators exist and nothing is declared.

import importlib.util
from contextlib import suppress
from pathlib import Path

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def _missing() -> list[str]:
    return [name for name in ("nms", "qnms") if not hasattr(torch.ops.torchvision, name)]


def declare_missing_operators() -> list[str]:
    """Declares the schemas of torchvision's nms and qnms where its compiled extension cannot give them.

    Returns:
        The operators that were declared; empty where torchvision's own exist, or where this has been done before.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
    """
    spec = importlib.util.find_spec("torchvision")  # finds the folder; runs nothing of torchvision
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("torchvision is not installed; install it with: pip install torchvision")
    if _missing():
        for folder in spec.submodule_search_locations:
            for extension in sorted(path for path in Path(folder).glob("_C*") if path.suffix in {".so", ".pyd"}):
                with suppress(OSError):  # built for another torch: the case that this module is for
                    torch.ops.load_library(extension)  # type: ignore[no-untyped-call]
    missing = _missing()
    for name in missing:
        torch.library.define(f"torchvision::{name}", _SCHEMA)
    return missing


declare_missing_operators()

import torchvision  # noqa: E402 - only now

__all__ = ["declare_missing_operators", "torchvision"]
