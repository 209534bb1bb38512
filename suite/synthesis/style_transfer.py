"""Style transfer: a photo repainted until its layers' correlations are a painting's. Tensors in, tensors out.

Gatys, Ecker and Bethge 2016 (Image Style Transfer Using CNNs), in the form of the CS231n and CS7643 assignments
(`raw`), or with each layer's loss divided by the layer's own scale (`normalised`): one set of weights for all networks.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.core.draws import generator_for
from suite.core.layers import body_of, find_layer
from suite.core.network import Network
from suite.core.passes import tapped
from suite.core.pixels import luminance, neighbour_differences
from suite.core.state import in_use
from suite.errors import ConfigError, NetworkError, SuiteError, did_you_mean
from suite.registry import check_parameters

Form = Literal["normalised", "raw"]


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """(B, C, h, w) twice -> (B,): the sum of squared differences, without Gatys' half, as the assignments have it."""
    return (features - target).square().flatten(1).sum(1)


def gram(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, C): products of channels, summed over places, divided by C h w (Gatys 2016, eq. 3)."""
    flat = features.flatten(2)
    return flat @ flat.mT / flat[0].numel()


def style_loss(features: Tensor, target: Tensor) -> Tensor:
    """(B, C, h, w) and the painting's Gram matrix -> (B,): the sum of squared differences of the two Gram matrices."""
    return (gram(features) - target).square().flatten(1).sum(1)


def total_variation(images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B,): the sum of squared differences of neighbours, down and across."""
    down, across = neighbour_differences(images)
    return down.square().sum(1) + across.square().sum(1)


class _Enough(Exception):
    """All requested layers have been computed."""


def features(model: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Layer -> (B, C, h, w), connected to the graph; the forward pass ends at the last of them.

    Raises:
        NetworkError: a layer that does not exist, is not called, or gives no (B, C, h, w); an image too small for it.
    """

    def enough(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        if len(outputs) == len(set(layers)):
            raise _Enough

    with in_use(model), tapped(model, layers) as outputs, ExitStack() as hooks:
        for name in set(layers):
            hooks.callback(find_layer(model, name).register_forward_hook(enough).remove)
        try:
            model(images)
        except _Enough:
            pass
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            size = f"{images.shape[3]}x{images.shape[2]}"
            raise NetworkError(f"the network fails on {size} pixels ({' '.join(str(error).split())[:120]})") from None
    for name, output in outputs.items():
        if output.ndim != 4:
            raise NetworkError(f"layer {name!r}: gives {tuple(output.shape)}, expected (B, C, h, w); name another")
    return dict(outputs)


def default_layers(model: nn.Module, images: Tensor) -> tuple[str, tuple[str, ...]]:
    """The content layer and the style layers of a network; SqueezeNet's are the assignments'.

    Elsewhere style is the last module to finish at each of the first four sizes of map, content that of the third: on
    VGG Johnson et al.'s relu1_2, relu2_2, relu3_3, relu4_3 (2016).
    """
    body = body_of(model)
    if type(body).__name__ == "SqueezeNet":
        return "features.3", ("features.1", "features.4", "features.6", "features.7")
    last: dict[tuple[int, ...], str] = {}

    def note(_module: nn.Module, _inputs: Any, output: Any, *, name: str) -> None:
        if name and isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            last[tuple(output.shape[2:])] = name

    with in_use(model), torch.no_grad(), ExitStack() as hooks:
        for name, module in body.named_modules():
            hooks.callback(module.register_forward_hook(partial(note, name=name)).remove)
        model(images[:1])
    style = tuple(last.values())[:4]
    if not style:
        raise NetworkError("no layer of this network gives a (B, C, h, w) map: name content_layer and style_layers")
    return style[min(2, len(style) - 1)], style


@dataclass(frozen=True)
class StyleTransfer:
    """How a picture is painted.

    Attributes:
        form: `normalised`: the content loss over the squared norm of the photo's features, each style loss over that of
            the painting's Gram matrix, the mean of TV over pixels; steps in [0, 1] pixels, always clamped. `raw`: the
            sums themselves, in the network's normalised pixels clamped to +-1.5 until the last twentieth of the steps,
            as the assignments have it; its result may leave [0, 1] and is then clamped once (theirs is stretched from
            minimum to maximum).
        content_layer, style_layers: names of layers; the network's own by default (see `default_layers`).
        content_weight, tv_weight: of their terms.
        style_weights: one a style layer, or one that all layers share equally.
        optimizer: `adam`, begun anew at `decayed_rate` after `decay_at` of the steps, as in the assignments; `lbfgs`.
        rate, decayed_rate, decay_at: the schedule; `lbfgs` takes only `rate`, times its own step.
        steps: at each size.
        scales: sizes as shares of the photo's, coarse to fine; each begins where the last one ended.
        init: the photo, or uniform noise in [0, 1] of the pixels that are optimised.
        style_scale: the painting's shorter side over the photo's, for whoever reads the two; small makes small strokes.
        keep_colours: only brightness is painted, the photo's colours stay (Gatys et al. 2016, Preserving Color).
        seed: of the noise.
    """

    form: Form = "normalised"
    content_layer: str = ""
    style_layers: tuple[str, ...] = ()
    content_weight: float = 1.0
    style_weights: tuple[float, ...] = (15.0,)
    tv_weight: float = 1.0
    optimizer: Literal["adam", "lbfgs"] = "adam"
    rate: float = 0.02
    decayed_rate: float = 0.01
    decay_at: float = 0.7
    steps: int = 100
    scales: tuple[float, ...] = (0.5, 1.0)
    init: Literal["content", "noise"] = "content"
    style_scale: float = 1.0
    keep_colours: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        positive = {"rate": self.rate, "decayed_rate": self.decayed_rate} | {f"scale {s:g}": s for s in self.scales}
        weights = [self.content_weight, self.tv_weight, *self.style_weights]
        if self.steps < 1 or min(positive.values()) <= 0 or not self.scales or max(self.scales) > 1:
            raise ValueError(f"steps {self.steps}, {positive}: expected at least 1, more than 0, scales at most 1")
        if not self.style_weights or min(weights) < 0 or max(weights) == 0:
            raise ValueError(f"weights {weights}: expected at least 0, and one of them more")
        if len(self.style_weights) > 1 and self.style_layers and len(self.style_weights) != len(self.style_layers):
            raise ValueError(f"{len(self.style_weights)} style_weights for {len(self.style_layers)} style_layers")

    @property
    def pictures(self) -> int:
        """Pictures in all: each size's beginning, and one a step."""
        return (self.steps + 1) * len(self.scales)

    def on(self, model: nn.Module, images: Tensor) -> "StyleTransfer":
        """With the layers of this network, and a weight for each."""
        content, style = self.content_layer, self.style_layers
        if not (content and style):
            own_content, own_style = default_layers(model, images)
            content, style = content or own_content, style or own_style
        weights = self.style_weights
        if len(weights) == 1:
            weights = weights * len(style) if self.form == "raw" else (weights[0] / len(style),) * len(style)
        return replace(self, content_layer=content, style_layers=style, style_weights=weights)


_RAW = StyleTransfer(
    form="raw", content_layer="features.3", style_layers=tuple(f"features.{i}" for i in (1, 4, 6, 7)),
    rate=3.0, decayed_rate=0.1, decay_at=0.9, steps=200, scales=(1.0,),
)  # fmt: skip


def _presets(normalised: float, **raw: Any) -> dict[Form, StyleTransfer]:
    """The assignment's weights; beside them, what makes a painting where every layer's loss has its own scale."""
    return {"raw": replace(_RAW, **raw), "normalised": StyleTransfer(style_weights=(normalised,))}


PRESETS: dict[str, dict[Form, StyleTransfer]] = {
    "composition_vii": _presets(
        30.0, content_weight=5e-2, style_weights=(2e4, 500, 12, 1), tv_weight=5e-2, style_scale=512 / 192
    ),
    "the_scream": _presets(
        15.0, content_weight=3e-2, style_weights=(2e5, 800, 12, 1), tv_weight=2e-2, style_scale=224 / 192
    ),
    "starry_night": _presets(15.0, content_weight=6e-2, style_weights=(3e5, 1000, 15, 3), tv_weight=2e-2),
}


def make_settings(preset: str, parameters: Mapping[str, Any] | None = None) -> StyleTransfer:
    """A preset by name, in the form that `parameters` say, with these fields instead of its own.

    Raises:
        ConfigError: an unknown preset, an unknown field, a value that is none.
    """
    if preset not in PRESETS:
        raise ConfigError(f"preset {preset!r}: unknown{did_you_mean(preset, PRESETS)}; there are {', '.join(PRESETS)}")
    changes = check_parameters("style transfer", preset, StyleTransfer, parameters or {})
    try:
        return replace(PRESETS[preset][changes.get("form", "normalised")], **changes)
    except ValueError as error:
        raise ConfigError(f"style transfer {preset!r}: {error}") from None


class Losses:
    """The weighted terms of one network, photo (1, 3, H, W) and painting (1, 3, h, w), in [0, 1], at one size.

    Raises:
        NetworkError: a layer that gives nothing but zeros has no scale.
    """

    def __init__(self, model: nn.Module, content: Tensor, style: Tensor, settings: StyleTransfer) -> None:
        self.model, self.settings = model, settings
        self.content = features(model, content, [settings.content_layer])[settings.content_layer].detach()
        paintings = features(model, style, settings.style_layers)
        self.grams = {layer: gram(output.detach()) for layer, output in paintings.items()}
        targets = {"content": self.content} | {f"style {layer}": matrix for layer, matrix in self.grams.items()}
        self.scales = dict.fromkeys(targets, 1.0)
        if settings.form == "normalised":
            self.scales = {term: float(target.square().sum()) for term, target in targets.items()}
        if 0 in self.scales.values():
            term = next(term for term, scale in self.scales.items() if scale == 0)
            raise NetworkError(f"{term}: gives nothing but zeros for this picture, so its loss has no scale")

    def __call__(self, images: Tensor, variable: Tensor | None = None) -> dict[str, Tensor]:
        """Term -> its weighted loss, a number. TV is of `variable`, the pixels that are optimised."""
        settings = self.settings
        outputs = features(self.model, images, [*settings.style_layers, settings.content_layer])
        content = content_loss(outputs[settings.content_layer], self.content).sum()
        terms = {"content": settings.content_weight * content / self.scales["content"]}
        for layer, weight in zip(settings.style_layers, settings.style_weights, strict=True):
            loss = style_loss(outputs[layer], self.grams[layer]).sum()
            terms[f"style {layer}"] = weight * loss / self.scales[f"style {layer}"]
        pixels = images if variable is None else variable
        count = pixels.numel() if settings.form == "normalised" else 1
        return terms | {"tv": settings.tv_weight * total_variation(pixels).sum() / count}


@dataclass(frozen=True)
class Step:
    """A picture on the way, and the weighted losses on it.

    Attributes:
        size: index of the scale.
        step: steps taken at this size; `taken`: at all sizes up to it.
        image: (1, 3, H, W) in [0, 1], at the photo's size whatever the scale.
        terms: term -> weighted loss; their sum is minimised.
    """

    size: int
    step: int
    taken: int
    image: Tensor
    terms: dict[str, float]


class Diverged(SuiteError):
    """A loss became NaN or infinite."""


def resized(image: Tensor, scale: float) -> Tensor:
    """(1, 3, H, W) at a share of its size, antialiased; no side below 1 pixel."""
    if scale == 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[2:]]
    return F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def matched_grey(style: Tensor, content: Tensor) -> tuple[Tensor, Tensor]:
    """Both in grey, the painting's brightness with the photo's mean and spread (Gatys et al., Preserving Color)."""
    painting, photo = luminance(style), luminance(content)
    spread = photo.std() / painting.std().clamp_min(1e-6)
    moved = (spread * (painting - painting.mean()) + photo.mean()).clamp(0, 1)
    return moved.expand_as(style), photo.expand_as(content)


def transfer(model: nn.Module, content: Tensor, style: Tensor, settings: StyleTransfer) -> Iterator[Step]:
    """Paints a photo (1, 3, H, W) as a painting (1, 3, h, w), in [0, 1], on a network that is left as it was.

    Yields:
        steps + 1 pictures a size, the first as it begins; the last one of all is the result.

    Raises:
        Diverged: a loss is NaN or infinite; the picture yielded last is the last good one.
    """
    settings = settings.on(model, content)
    raw = settings.form == "raw"
    if raw and not isinstance(model, Network):
        raise NetworkError("the raw form works in a network's normalised pixels: give a `Network`")
    scale, shift = (model.std, model.mean) if isinstance(model, Network) and raw else (1.0, 0.0)
    low, high = (-1.5, 1.5) if raw else (0.0, 1.0)
    photo = content
    if settings.keep_colours:
        style, content = matched_grey(style, content)
    image = content
    for size, share in enumerate(settings.scales):
        small = resized(content, share)
        losses = Losses(model, small, resized(style, share), settings)
        if size:
            image = F.interpolate(image, small.shape[2:], mode="bilinear", align_corners=False)
            variable = (image - shift) / scale
        elif settings.init == "noise":
            noise = torch.rand(small.shape, generator=generator_for(settings.seed, "", "style transfer"))
            variable = noise.to(small)
        else:
            variable = (small - shift) / scale
        variable = variable.detach().clone().requires_grad_()
        optimizer = _optimizer(settings, variable, settings.rate)
        for step in range(settings.steps + 1):
            if not raw or step < 0.95 * settings.steps:
                variable.data.clamp_(low, high)
            with torch.inference_mode(False), torch.enable_grad():
                image = variable * scale + shift
                terms = losses(image, variable)
                total = sum(terms.values(), torch.zeros((), device=image.device))
                (variable.grad,) = torch.autograd.grad(total, variable)
            image = image.detach()
            numbers = dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))
            if not bool(torch.isfinite(total)):
                bad = ", ".join(term for term, value in numbers.items() if not math.isfinite(value))
                raise Diverged(f"step {step} at size {share:g}: {bad} is not finite; the last good picture is kept")
            shown = _shown(image, photo, keep_colours=settings.keep_colours)
            yield Step(size, step, size * settings.steps + step, shown, numbers)
            if step == settings.steps:
                break
            if settings.optimizer == "adam" and step == int(settings.decay_at * settings.steps):
                optimizer = _optimizer(settings, variable, settings.decayed_rate)
            optimizer.step(partial(float, total.detach()))


def _shown(image: Tensor, photo: Tensor, *, keep_colours: bool) -> Tensor:
    """The picture in [0, 1] at the photo's size; where they are kept, in the photo's colours at its own brightness."""
    image = image.clamp(0, 1)
    if image.shape != photo.shape:
        image = F.interpolate(image, photo.shape[2:], mode="bilinear", align_corners=False)
    return (photo + luminance(image) - luminance(photo)).clamp(0, 1) if keep_colours else image


def _optimizer(settings: StyleTransfer, variable: Tensor, rate: float) -> torch.optim.Optimizer:
    if settings.optimizer == "adam":
        return torch.optim.Adam([variable], lr=rate)
    return torch.optim.LBFGS([variable], lr=rate, max_iter=1, tolerance_grad=0, tolerance_change=0)


SNAPSHOTS = (0, 0.02, 0.06, 0.2, 0.5, 1)  # shares of all steps


@dataclass
class Painting:
    """A transfer so far, so that nothing is lost where it is stopped.

    Attributes:
        settings: of the transfer.
        curve: (size, step, terms) of every step.
        snapshots: a few of them with their pictures; the first among them.
        last: the result so far.
        stopped: why it ended early, "" where it did not.
    """

    settings: StyleTransfer
    curve: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)
    snapshots: list[Step] = field(default_factory=list)
    last: Step | None = None
    stopped: str = ""

    def strip(self) -> dict[str, Tensor]:
        """Name -> picture of the snapshots, and the last one."""
        steps = self.snapshots if self.last is None else [*self.snapshots, self.last]
        return {f"step {step.taken}": step.image for step in steps}

    def follow(self, steps: Iterator[Step], watch: Callable[[Step], None] = lambda step: None) -> "Painting":
        """Takes steps until there are no more, or a loss is not finite, which is noted; `watch` sees each."""
        marks = {round(share * (self.settings.pictures - 1)) for share in SNAPSHOTS}
        try:
            for step in steps:
                if len(self.curve) in marks:
                    self.snapshots.append(step)
                self.curve.append((step.size, step.step, step.terms))
                self.last = step
                watch(step)
        except Diverged as error:
            self.stopped = str(error)
        return self


def thinned(curve: Sequence[Any], most: int = 60) -> list[Any]:
    """At most `most` of a curve's points, evenly, with the first and the last."""
    count = min(most, len(curve))
    return [curve[round(k * (len(curve) - 1) / max(1, count - 1))] for k in range(count)]


def judged(model: nn.Module, content: Tensor, style: Tensor, picture: Tensor) -> dict[str, float]:
    """How far a picture is from the photo and from the painting's style, on a network's default layers.

    Returns:
        `content`: the content loss over that of the painting stretched to the photo's size: 0 is the photo, 1 is as far
        as the painting itself. `style`: the mean over layers of the normalised style losses, over that of the photo: 0
        is the painting, 1 is as far as the photo itself. NaN where painting and photo do not differ.
    """
    settings = StyleTransfer(content_weight=1, style_weights=(1,), tv_weight=0).on(model, content)
    losses = Losses(model, content, style, settings)
    stretched = F.interpolate(style, content.shape[2:], mode="bilinear", antialias=True, align_corners=False)
    with torch.no_grad():
        own, photo, painting = (_content_and_style(losses(image)) for image in (picture, content, stretched))
    pairs = {"content": (own[0], painting[0]), "style": (own[1], photo[1])}
    return {name: value / most if most else math.nan for name, (value, most) in pairs.items()}


def _content_and_style(terms: Mapping[str, Tensor]) -> tuple[float, float]:
    return float(terms["content"]), sum(float(value) for term, value in terms.items() if term.startswith("style "))
