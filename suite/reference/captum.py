"""Captum's version of each method. The only file that imports captum.

A counterpart has the method's own parameters and returns a map of the method's own shape; where randomness is involved
it also hands over the library's stream, so that both see the same draws.
"""

# mypy: warn_return_any = false

import suite._torchvision  # noqa: F401

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from captum import attr
from torch import Tensor, nn

from suite.attribution import (
    deconvolution,
    grad_cam,
    gradient,
    gradient_shap,
    guided_backprop,
    guided_grad_cam,
    input_x_gradient,
    integrated_gradients,
    layer_activation,
    layer_conductance,
    neuron_gradient,
    occlusion,
    saliency,
    smoothgrad,
)
from suite.attribution.base import Attribution
from suite.attribution.baselines import baseline
from suite.core.draws import ImageDraws
from suite.core.layers import find_layer
from suite.core.memory import images_per_forward, images_per_pass
from suite.core.numerics import numerics
from suite.core.passes import resolve_layer
from suite.core.state import in_use

Compute = Callable[[Any, nn.Module, Tensor, Tensor], Tensor]


class LibraryDraws(ImageDraws):
    """Captum's streams: the global generators of torch and numpy, in Captum's order and layout."""

    def __init__(self, images: Tensor, *, whole: int | None = None) -> None:
        self.images = images
        self.ids = tuple(str(i) for i in range(len(images)))
        self._torch = torch.Generator(images.device).manual_seed(0)
        self._numpy = np.random.RandomState(0)
        self._left: dict[str, Tensor] = {}
        self._whole = whole  # Captum draws all samples in one call: draw them so, and serve them in parts

    def _serve(self, kind: str, count: int, draw: Callable[[int], Tensor]) -> Tensor:
        total = self._whole or count
        drawn = self._left.pop(kind, None)
        if drawn is None:
            numbers = draw(len(self.images) * total)
            drawn = numbers.view(len(self.images), total, *numbers.shape[1:])
        if drawn.shape[1] > count:
            self._left[kind] = drawn[:, count:]
        return drawn[:, :count]

    def normal(self, count: int) -> Tensor:
        x, stream = self.images, self._torch
        draw = partial(torch.randn, generator=stream, device=x.device, dtype=x.dtype)
        return self._serve("normal", count, lambda n: draw((n, *x.shape[1:])))

    def uniform(self, count: int) -> Tensor:
        return self._serve("uniform", count, lambda n: torch.from_numpy(self._numpy.uniform(size=n)).to(self.images))

    def choice(self, count: int, among: int) -> Tensor:
        draw = self._numpy.choice
        return self._serve("choice", count, lambda n: torch.from_numpy(draw(among, n)).to(self.images.device))

    def split(self, size: int) -> list[tuple[slice, ImageDraws]]:
        # Captum never splits the images; the caller keeps the batch small enough for one part.
        return [(slice(None), self)]


@contextmanager
def _seeded() -> Iterator[None]:
    """Seeds what Captum draws from, torch's and numpy's global generators, and puts both back."""
    with torch.random.fork_rng(devices=[]):
        state = np.random.get_state()  # noqa: NPY002 - Captum draws from the legacy generator
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


@dataclass(frozen=True)
class Counterpart:
    """Captum's version of one method.

    Attributes:
        compute: (method, model, images, targets) -> Captum's map, in the method's shape.
        exact: promised equal to the bit on a CPU, for the same images in the same batch.
        tolerance: relative L2 distance allowed where it is not.
        reason: why a tolerance is needed.
        random: whether both must be given the library's stream.
        whole: whether the library draws all samples at once.
        guided: whether it depends on Captum's hooks on ReLU modules.
    """

    compute: Compute
    exact: bool = True
    tolerance: float = 0.0
    reason: str = ""
    random: bool = False
    whole: bool = False
    guided: bool = False

    def __call__(self, method: Attribution, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        """Captum's map, detached, on a model found as it was."""
        with numerics(), in_use(model), _seeded() if self.random else nullcontext():
            return self.compute(method, model, images.clone(), targets).detach()


def _layer(method: Any, model: nn.Module, images: Tensor) -> nn.Module:
    return find_layer(model, resolve_layer(model, images, method.layer))


def _saliency(method: Any, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return attr.Saliency(model).attribute(images, target=targets).amax(1, keepdim=True)


def _plain(kind: Any, **options: Any) -> Compute:
    """A Captum class that needs the network alone."""
    return lambda method, model, images, targets: kind(model).attribute(images, target=targets, **options)


def _layered(kind: Any, option: str, field: str) -> Compute:
    """A Captum class that needs a layer too, and a field of the method under Captum's name."""

    def compute(method: Any, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        options = {option: getattr(method, field)}
        return kind(model, _layer(method, model, images)).attribute(images, target=targets, **options)

    return compute


def _integrated_gradients(method: Any, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    room = images_per_pass(model, images)
    along = partial(attr.IntegratedGradients(model).attribute, n_steps=method.steps, internal_batch_size=room)
    parts = zip(*(torch.split(x, room) for x in (images, baseline(method.baseline, images), targets)), strict=True)
    return torch.cat([along(x, baselines=start, target=target) for x, start, target in parts])


def _noise_tunnel(kind: str) -> Compute:
    def compute(method: Any, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        tunnel = attr.NoiseTunnel(attr.Saliency(model))
        return tunnel.attribute(
            images,
            nt_type=kind,
            nt_samples=method.samples,
            nt_samples_batch_size=max(1, images_per_pass(model, images) // len(images)),
            stdevs=float(method.sigma),
            target=targets,
            abs=False,
        )

    return compute


def _gradient_shap(method: Any, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    # Captum takes one background for all images; the suite's is made of uniform colours where the two are compared.
    background = torch.cat([baseline(kind, images[:1]) for kind in method.baselines])
    shap = attr.GradientShap(model)
    return shap.attribute(images, background, n_samples=method.samples, stdevs=float(method.sigma), target=targets)


def _occlusion(method: Any, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    maps = attr.Occlusion(model).attribute(
        images,
        sliding_window_shapes=(images.shape[1], method.window, method.window),
        strides=(images.shape[1], method.stride, method.stride),
        baselines=baseline(method.baseline, images),
        target=targets,
        perturbations_per_eval=max(1, images_per_forward(images) // len(images)),
    )
    return maps[:, :1]


def _layer_activation(method: Any, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return _channels(method, attr.LayerActivation(model, _layer(method, model, images)).attribute(images))


def _layer_conductance(method: Any, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    maps = attr.LayerConductance(model, _layer(method, model, images)).attribute(
        images,
        baselines=baseline(method.baseline, images),
        target=targets,
        n_steps=method.steps,
        internal_batch_size=max(2 * len(images), images_per_pass(model, images)),
    )
    return _channels(method, maps)


def _neuron_gradient(method: Any, model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    def summed(output: Tensor) -> Tensor:
        return output[:, method.channel].flatten(1).sum(1)

    selector = summed if method.position is None else (method.channel, *method.position)
    return attr.NeuronGradient(model, _layer(method, model, images)).attribute(images, selector)


def _channels(method: Any, maps: Tensor) -> Tensor:
    maps = maps if maps.ndim == 4 else maps[:, :, None, None]
    return maps if method.channel is None else maps[:, method.channel : method.channel + 1]


_CHUNKS = "Captum takes the whole expansion, or overlapping chunks, in one batch; sums and rectifiers round differently"

COUNTERPARTS: dict[type[Attribution], Counterpart] = {
    saliency.Saliency: Counterpart(_saliency),
    gradient.Gradient: Counterpart(_plain(attr.Saliency, abs=False)),
    input_x_gradient.InputXGradient: Counterpart(_plain(attr.InputXGradient)),
    guided_backprop.GuidedBackprop: Counterpart(_plain(attr.GuidedBackprop), guided=True),
    deconvolution.Deconvolution: Counterpart(_plain(attr.Deconvolution), guided=True),
    grad_cam.GradCam: Counterpart(_layered(attr.LayerGradCam, "relu_attributions", "relu")),
    guided_grad_cam.GuidedGradCam: Counterpart(
        _layered(attr.GuidedGradCam, "interpolate_mode", "upsample"), guided=True
    ),
    integrated_gradients.IntegratedGradients: Counterpart(_integrated_gradients),
    smoothgrad.SmoothGrad: Counterpart(_noise_tunnel("smoothgrad"), random=True),
    smoothgrad.VarGrad: Counterpart(_noise_tunnel("vargrad"), random=True),
    gradient_shap.GradientShap: Counterpart(
        _gradient_shap, exact=False, tolerance=1e-3, reason=_CHUNKS, random=True, whole=True
    ),
    occlusion.Occlusion: Counterpart(_occlusion),
    layer_activation.LayerActivation: Counterpart(_layer_activation),
    layer_conductance.LayerConductance: Counterpart(_layer_conductance, exact=False, tolerance=1e-3, reason=_CHUNKS),
    neuron_gradient.NeuronGradient: Counterpart(_neuron_gradient),
}


def counterpart(method: Attribution) -> Counterpart | None:
    """Captum's version of a method; None for controls and users' own."""
    return COUNTERPARTS.get(type(method))


def captum_attribution(name: str) -> Callable[[nn.Module, Tensor, Tensor, str], Tensor]:
    """A Captum class at its defaults, as (model, images, targets, layer) -> map; see `suite verify`."""
    kind = getattr(attr, name)

    def compute(model: nn.Module, images: Tensor, targets: Tensor, layer: str) -> Tensor:
        method = kind(model, find_layer(model, layer)) if name.startswith("Layer") or "Cam" in name else kind(model)
        options: dict[str, Any] = {} if name == "LayerActivation" else {"target": targets}
        if name in ("IntegratedGradients", "LayerConductance"):  # by default all steps are one batch
            options["internal_batch_size"] = max(2 * len(images), images_per_pass(model, images))
        with numerics():
            return method.attribute(images, **options)

    return compute
