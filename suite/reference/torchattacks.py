"""torchattacks' attacks, at their defaults. The only file that imports torchattacks."""

import suite._torchvision  # noqa: F401

from collections.abc import Callable

import torchattacks
from torch import Tensor, nn

ATTACKS = ("FGSM", "PGD", "PGDL2")


def torchattacks_attack(
    name: str, *, targeted: bool = False, **options: float
) -> Callable[[nn.Module, Tensor, Tensor, str], Tensor]:
    """(model, images in [0, 1], labels, unused) -> adversarial images; draws from torch's global generator."""

    def compute(model: nn.Module, images: Tensor, labels: Tensor, _layer: str) -> Tensor:
        # torchattacks finds the device from the first parameter, which every network here has.
        attack = getattr(torchattacks, name)(model, **options)
        if targeted:
            attack.set_mode_targeted_by_label(quiet=True)
        return attack(images, labels)  # type: ignore[no-any-return]

    return compute
