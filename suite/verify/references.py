"""What an implementation is held against: `captum:Saliency`, `suite:grad_cam`, `suite:pgd`, `torchattacks:FGSM`."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from suite.attacks.attack import attack, make_attack
from suite.attribution.fused import make_method
from suite.errors import ConfigError, NotApplicable, did_you_mean
from suite.models.rectifiers import rectifier_report
from suite.models.state import in_use
from suite.registry import attributions
from suite.verify.networks import Case

Compute = Callable[[nn.Module, Tensor, Tensor, str], Tensor]
"""(model, images, targets, layer) -> a map, or adversarial images."""

GUIDED = ("guided_backprop", "deconvolution", "guided_grad_cam")
_CAPTUM = {
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
_TORCHATTACKS = dict.fromkeys(("FGSM", "PGD", "PGDL2"), "")
_OWN_ATTACKS = {"fgsm": "FGSM", "pgd": "PGD"}  # the suite's -> the library's of the same defaults


@dataclass(frozen=True)
class Reference:
    """A named implementation that is trusted.

    Attributes:
        name: `captum:Saliency`.
        compute: see `Compute`.
        twin: the suite's own method of the same definition; "" for an attack, which returns images, not a map.
        variant: in words, where it is not the library's default.
    """

    name: str
    compute: Compute
    twin: str = ""
    variant: str = ""

    @property
    def item(self) -> str:
        """The name within the library; of the suite's attacks that of their twins in torchattacks."""
        name = self.name.rpartition(":")[2]
        return _OWN_ATTACKS.get(name, name)

    @property
    def attack(self) -> bool:
        """Whether it returns adversarial images."""
        return not self.twin

    @property
    def captum_guided(self) -> bool:
        """Whether it depends on Captum's hooks, which see ReLU modules only and sit on a tensor that others may use."""
        return self.name.startswith("captum:") and self.twin in GUIDED

    def __call__(self, case: Case) -> Tensor:
        """On a case, the network found as it was.

        Raises:
            NotApplicable: where the method is not defined on this network; Captum then gives the plain gradient.
        """
        with in_use(case.model), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.captum_guided:
                found = rectifier_report(case.model, case.images)
                if found.others or not found.total:
                    raise NotApplicable(f"{self.twin} is defined for ReLUs")
            torch.manual_seed(0)
            return self.compute(case.model, case.images.clone(), case.targets, case.layer).detach()

    def parted(self, case: Case) -> tuple[Tensor, str] | None:
        """The definition's map and why Captum parts from it, on networks where it is known to."""
        why = rectifier_report(case.model, case.images).why_captum_parts() if self.captum_guided else ""
        return (_own(self.twin)(case.model, case.images, case.targets, case.layer), why) if why else None


def find_references(name: str) -> tuple[Reference, ...]:
    """The reference a name stands for; both variants of an attack that may start at the image or beside it.

    Raises:
        ConfigError: naming the nearest ones.
    """
    known: dict[str, Mapping[str, str]]
    known = {"captum": _CAPTUM, "suite": attributions() | _OWN_ATTACKS, "torchattacks": _TORCHATTACKS}
    library, _, item = name.rpartition(":")
    library = library or "suite"
    if library not in known:
        raise ConfigError(f"--against {name!r}: expected captum:NAME, suite:NAME or torchattacks:NAME")
    if item not in known[library]:
        every = [f"{home}:{i}" for home, items in known.items() for i in items]
        same = [full for full in every if full.casefold().endswith(f":{item.casefold()}")]
        near = f"; did you mean {' or '.join(same)}?" if same else did_you_mean(f"{library}:{item}", every)
        raise ConfigError(f"--against {name!r}: no such reference{near or '; there are ' + ', '.join(known[library])}")
    full = f"{library}:{item}"
    if library == "captum":  # imported only here: each library takes seconds
        from suite.reference.captum import captum_attribution

        return (Reference(full, captum_attribution(item), _CAPTUM[item]),)
    if item in _OWN_ATTACKS:
        return (Reference(full, _own_attack(item), variant="without the random start" if item == "pgd" else ""),)
    if library == "suite":
        return (Reference(full, _own(item), item),)
    from suite.reference.torchattacks import torchattacks_attack

    seeded = Reference(full, torchattacks_attack(item))
    if item == "FGSM":
        return (seeded,)
    still = torchattacks_attack(item, random_start=False)
    return seeded, Reference(full, still, variant="without the random start")


def _own_attack(name: str) -> Compute:
    made = make_attack(name, {"random_start": False} if name == "pgd" else {})

    def compute(model: nn.Module, images: Tensor, targets: Tensor, _layer: str) -> Tensor:
        return attack(model, images, targets, made, saved=False).images

    return compute


def _own(name: str) -> Compute:
    method: Any = make_method(name)

    def compute(model: nn.Module, images: Tensor, targets: Tensor, layer: str) -> Tensor:
        made = method if method.layer_asked is None else replace(method, layer=layer)
        return made(model, images, targets)  # type: ignore[no-any-return]

    return compute
