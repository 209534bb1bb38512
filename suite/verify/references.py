"""What an implementation is held against: `captum:Saliency`, `suite:grad_cam`, `torchattacks:FGSM`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from suite.attribution.fused import make_method
from suite.errors import ConfigError, did_you_mean
from suite.models.state import in_use
from suite.reference.captum import captum_attribution
from suite.registry import attributions
from suite.verify.networks import Case

Compute = Callable[[nn.Module, Tensor, Tensor, str], Tensor]
"""(model, images, targets, layer) -> a map, or adversarial images."""


@dataclass(frozen=True)
class Reference:
    """A named implementation that is trusted.

    Attributes:
        name: as given, `captum:Saliency`.
        compute: see `Compute`.
        attack: whether it returns adversarial images rather than a map.
        twin: the suite's own method of the same definition, "" where there is none.
    """

    name: str
    compute: Compute
    attack: bool = False
    twin: str = ""

    def __call__(self, case: Case) -> Tensor:
        """On a case, the network found as it was."""
        with in_use(case.model), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.compute(case.model, case.images.clone(), case.targets, case.layer).detach()


_TWINS = {
    "Saliency": "gradient",
    "InputXGradient": "input_x_gradient",
    "GuidedBackprop": "guided_backprop",
    "Deconvolution": "deconvolution",
    "LayerGradCam": "grad_cam",
    "GuidedGradCam": "guided_grad_cam",
    "IntegratedGradients": "integrated_gradients",
    "LayerConductance": "layer_conductance",
    "LayerActivation": "layer_activation",
}


def find_reference(name: str) -> Reference:
    """The reference a name stands for.

    Raises:
        ConfigError: naming the nearest ones.
    """
    library, colon, item = name.partition(":")
    if not colon or library not in ("captum", "suite", "torchattacks"):
        raise ConfigError(f"--against {name!r}: expected captum:NAME, suite:NAME or torchattacks:NAME")
    if library == "captum":
        if item not in _TWINS:
            raise ConfigError(f"--against {name!r}: not one of {', '.join(_TWINS)}{did_you_mean(item, _TWINS)}")
        return Reference(name, captum_attribution(item), twin=_TWINS[item])
    if library == "suite":
        if item not in attributions():
            raise ConfigError(f"--against {name!r}: no such method{did_you_mean(item, attributions())}")
        return Reference(name, _own(item), twin=item)
    from suite.reference.torchattacks import ATTACKS, torchattacks_attack

    if item not in ATTACKS:
        raise ConfigError(f"--against {name!r}: not one of {', '.join(ATTACKS)}{did_you_mean(item, ATTACKS)}")
    return Reference(name, torchattacks_attack(item), attack=True)


def _own(name: str) -> Compute:
    def compute(model: nn.Module, images: Tensor, targets: Tensor, layer: str) -> Tensor:
        method = make_method(name)
        if method.layer_asked is not None:
            method = make_method(name, {"layer": layer})
        return method(model, images, targets)

    return compute


def own_twin(reference: Reference, case: Case) -> Tensor | None:
    """The suite's own map of the reference's definition."""
    if not reference.twin:
        return None
    found: Any = _own(reference.twin)(case.model, case.images, case.targets, case.layer)
    if reference.name == "captum:Saliency":
        found = found.abs()
    if reference.name == "captum:LayerGradCam":
        found = make_method("grad_cam", {"layer": case.layer, "relu": False})(case.model, case.images, case.targets)
    return found  # type: ignore[no-any-return]
