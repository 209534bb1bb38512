"""The references of `suite verify`: `captum:Saliency`, `suite:grad_cam`, `suite:pgd`, `torchattacks:FGSM`."""

import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from suite.attacks.attack import attack, make_attack
from suite.attribution.fused import make_method
from suite.core.rectifiers import rectifier_report
from suite.core.state import in_use
from suite.errors import ConfigError, did_you_mean
from suite.registry import attributions
from suite.verify.networks import Case

Compute = Callable[[nn.Module, Tensor, Tensor, str], Tensor]
"""(model, images, targets, layer) -> a map, or adversarial images."""

GUIDED = ("guided_backprop", "deconvolution", "guided_grad_cam")
CAPTUM = {  # Captum's classes -> the suite's method of the same definition
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
_ATTACKS = {"fgsm": "FGSM", "pgd": "PGD"}  # the suite's -> torchattacks' of the same defaults
_TORCHATTACKS = ("FGSM", "PGD", "PGDL2")


@dataclass(frozen=True)
class Reference:
    """A named implementation that is trusted.

    Attributes:
        name: `captum:Saliency`.
        compute: see `Compute`.
        twin: the name with the same definition: the suite's method for a map, torchattacks' class for an attack.
        attack: whether it returns adversarial images, not a map.
        still: whether it starts at the image itself, where the library's default has a random start.
    """

    name: str
    compute: Compute
    twin: str
    attack: bool = False
    still: bool = False

    @property
    def captum_guided(self) -> bool:
        """Whether it depends on Captum's hooks, which see ReLU modules only and sit on a tensor that others may use."""
        return self.name.startswith("captum:") and self.twin in GUIDED

    def __call__(self, case: Case) -> Tensor:
        """The reference's result on a case, whose network is left as it was.

        Raises:
            NotApplicable: where the method is not defined on this network; Captum then gives the plain gradient.
        """
        with in_use(case.model), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.captum_guided:
                rectifier_report(case.model, case.images).require_rectifiers(self.twin)
            torch.manual_seed(0)
            return self.compute(case.model, case.images.clone(), case.targets, case.layer).detach()

    def known_deviation(self, case: Case) -> tuple[Tensor, str] | None:
        """The definition's map, and why Captum deviates from it on this network; None where no deviation is known."""
        why = rectifier_report(case.model, case.images).why_captum_deviates() if self.captum_guided else ""
        return (_own(self.twin)(case.model, case.images, case.targets, case.layer), why) if why else None


def find_references(name: str) -> tuple[Reference, ...]:
    """The reference of a name; both variants of an attack that may start at the image or at random.

    Raises:
        ConfigError: no such reference; the nearest names are listed.
    """
    libraries: dict[str, Collection[str]]
    libraries = {"captum": CAPTUM, "suite": [*attributions(), *_ATTACKS], "torchattacks": _TORCHATTACKS}
    library, _, item = name.rpartition(":")
    library = library or "suite"
    if library not in libraries:
        raise ConfigError(f"--against {name!r}: expected captum:NAME, suite:NAME or torchattacks:NAME")
    if item not in libraries[library]:
        every = [f"{home}:{i}" for home, items in libraries.items() for i in items]
        same = [full for full in every if full.casefold().endswith(f":{item.casefold()}")]
        hint = f"; did you mean {' or '.join(same)}?" if same else did_you_mean(f"{library}:{item}", every)
        raise ConfigError(
            f"--against {name!r}: no such reference{hint or '; there are ' + ', '.join(libraries[library])}"
        )
    full = f"{library}:{item}"
    if library == "captum":  # imported only here: each library takes seconds
        from suite.reference.captum import captum_attribution

        return (Reference(full, captum_attribution(item), CAPTUM[item]),)
    if library == "suite" and item in _ATTACKS:
        return (Reference(full, _own_attack(item), _ATTACKS[item], attack=True, still=item == "pgd"),)
    if library == "suite":
        return (Reference(full, _own(item), item),)
    from suite.reference.torchattacks import torchattacks_attack

    starts: tuple[dict[str, bool], ...] = ({},) if item == "FGSM" else ({}, {"random_start": False})
    return tuple(
        Reference(full, torchattacks_attack(item, **start), item, attack=True, still=bool(start)) for start in starts
    )


def _own_attack(name: str) -> Compute:
    method = make_attack(name, {"random_start": False} if name == "pgd" else {})
    return lambda model, images, targets, _layer: attack(model, images, targets, method, saved=False).images


def _own(name: str) -> Compute:
    method: Any = make_method(name)

    def compute(model: nn.Module, images: Tensor, targets: Tensor, layer: str) -> Tensor:
        on_layer = method if method.layer_asked is None else replace(method, layer=layer)
        return on_layer(model, images, targets)  # type: ignore[no-any-return]

    return compute
