"""Can this saliency map be trusted? Handwritten attribution methods, checked against Captum, on real photos.

`suite.attribute`, `suite.attack`, `suite.load_model` and `suite.audit` are the library; `suite run` is the command.
Importing this costs nothing: torch is loaded on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite import results
    from suite.attacks.attack import attack
    from suite.attribution.fused import attribute
    from suite.auditing import audit
    from suite.models.load import load_model

__version__ = "0.2.0"
__all__ = ["attack", "attribute", "audit", "load_model", "results"]

_PUBLIC = {
    "attack": "suite.attacks.attack",
    "attribute": "suite.attribution.fused",
    "audit": "suite.auditing",
    "load_model": "suite.models.load",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "results":
        return importlib.import_module("suite.results")
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'suite' has no attribute {name!r}")
