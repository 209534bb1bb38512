"""Layers by name: finding, listing, and the CAM family's default target layer. No hook outlives a call.

What a layer gives is taken in `passes.py`.
"""

from contextlib import ExitStack
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from suite.core.network import Network
from suite.core.state import in_use
from suite.errors import NetworkError, NotApplicable, did_you_mean


def body_of(model: nn.Module) -> nn.Module:
    """The module whose names a user knows: inside a `Network` its body, else the module itself."""
    return model.body if isinstance(model, Network) else model


def layer_names(model: nn.Module) -> list[str]:
    """All submodules by their dotted names, in order of definition."""
    return [name for name, _ in body_of(model).named_modules() if name]


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The submodule of that dotted name.

    Raises:
        NetworkError: naming the nearest layers.
    """
    try:
        if name:
            return body_of(model).get_submodule(name)
    except AttributeError:
        pass
    layers: dict[str, nn.Module] = dict(body_of(model).named_modules())
    if not name or name not in layers:
        hint = did_you_mean(name, layers) or f"; it has {', '.join([n for n in layers if n][:12])}, ..."
        raise NetworkError(f"layer {name!r}: this network has none of that name{hint} (`suite list layers --model`)")
    return layers[name]


def default_layer(model: nn.Module, images: Tensor) -> str:
    """The layer that the literature takes for Grad-CAM.

    SqueezeNet's last Fire, ResNet's layer4, VGG's last convolution before its ReLU (Selvaraju et al. 2017, and the
    choice of Captum's users); elsewhere the last module to finish with a 4-D output of more than one position, which is
    what feeds global pooling. A layer named in the network's configuration comes first.

    Args:
        model: any network.
        images: (B, 3, H, W); one of them is passed through where the family is not known.

    Raises:
        NotApplicable: where no layer gives a map (a network of fully connected layers alone).
    """
    if isinstance(model, Network) and model.card.layer:
        find_layer(model, model.card.layer)
        return model.card.layer
    body = body_of(model)
    family = type(body).__name__
    names: dict[str, nn.Module] = dict(body.named_modules())
    if family == "SqueezeNet" and "features.12" in names:
        return "features.12"
    if family == "ResNet" and "layer4" in names:
        return "layer4"
    if family == "VGG" and "features" in names:
        convolutions = [n for n, m in names.items() if n.startswith("features.") and isinstance(m, nn.Conv2d)]
        return max(convolutions, key=lambda n: int(n.split(".")[1]))
    kind = (*images.shape[1:], *names)
    known = _LAST_MAPS.setdefault(model, {})
    if kind not in known:
        known[kind] = _last_map(model, images[:1])
    return known[kind]


_LAST_MAPS: WeakKeyDictionary[nn.Module, dict[tuple[object, ...], str]] = WeakKeyDictionary()
"""Networks of no known family: size of the images and names of the layers -> the default layer, found by a forward."""


def _last_map(model: nn.Module, image: Tensor) -> str:
    finished: list[tuple[str, torch.Size]] = []

    def note(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            finished.append((name, output.shape))

    with ExitStack() as hooks, in_use(model), torch.no_grad():
        for name, module in body_of(model).named_modules():
            if name and not isinstance(module, torch.jit.ScriptModule):  # scripted ones take no hook
                hook = lambda _module, _inputs, output, name=name: note(name, output)  # noqa: E731
                hooks.enter_context(module.register_forward_hook(hook))
        model(image.clone())  # which may change its input in place
    wide = [name for name, shape in finished if shape[2] * shape[3] > 1] or [name for name, _ in finished]
    if not wide:
        raise NotApplicable(
            "no layer of this network gives a (B, C, h, w) map, so none is the default target: name one with `layer`"
        )
    return wide[-1]
