"""Class visualisation by hand: what picture does a class, a layer, a channel or a neuron want? A batch is one run.

x <- x + rate d(s - lambda ||x||^2)/dx in the network's normalised pixels, with jitter, a periodic blur and a clamp to
valid pixels, after Simonyan, Vedaldi and Zisserman 2014 and Yosinski et al. 2015, as the CS231n, CS7643 and RDFIA
assignments have it; or Lucid's picture (Olah et al. 2017). Every picture of a batch has its own recipe, target, seed
and end. Knows of tensors and networks, nothing of files, studies or progress bars.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from suite.core.draws import generator_for
from suite.core.layers import find_layer
from suite.core.network import Network, scores_of, zero_input
from suite.core.passes import score, tapped
from suite.core.state import in_use
from suite.errors import ConfigError, NetworkError
from suite.synthesis.image_parameters import blur, fourier_image, fourier_spectrum, roll, turned


@dataclass(frozen=True)
class Recipe:
    """How a picture is made; lengths and rates are in the network's normalised pixels (pixel / std).

    Attributes:
        steps: gradient steps.
        rate: length of a step along the gradient, or Adam's.
        l2: lambda, the weight of the penalty.
        penalty: the norm of the picture, squared (CS231n's text) or plain (RDFIA's).
        gradient: divided by its norm over the picture, or raw.
        ascend: the gradient, or its absolute value (`saliency`): a mistake that students make, kept to be measured.
        jitter: the picture is moved by 0..jitter pixels right and down at each step, and back.
        blur_every: steps between blurs, the first one after step 0; 0 never.
        blur_sigma: in pixels.
        image: what moves: pixels, or a spectrum behind decorrelated colours and a sigmoid, always a valid picture.
        optimiser: plain ascent, or Adam.
        robust: each step sees the picture moved, enlarged and turned a little (up to 6 pixels, a tenth, 10 degrees).
            One resampling; Lucid has four in a row.
    """

    steps: int = 100
    rate: float = 25.0
    l2: float = 1e-3
    penalty: Literal["squared", "plain"] = "squared"
    gradient: Literal["normalised", "raw"] = "normalised"
    ascend: Literal["gradient", "saliency"] = "gradient"
    jitter: int = 16
    blur_every: int = 10
    blur_sigma: float = 0.5
    image: Literal["pixels", "fourier"] = "pixels"
    optimiser: Literal["ascent", "adam"] = "ascent"
    robust: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.rate <= 0 or min(self.l2, self.jitter, self.blur_every) < 0 or self.blur_sigma <= 0:
            raise ValueError("steps, rate and blur_sigma are more than 0, l2, jitter and blur_every at least 0")


PRESETS: Mapping[str, Recipe] = {
    "rdfia": Recipe(steps=200, rate=5.0, penalty="plain", gradient="raw"),
    "cs231n": Recipe(),
    # The assignment says "a gradient step" and no more; of its public solutions some divide by the norm. Not here.
    "cs7643": Recipe(gradient="raw"),
    "modern": Recipe(
        steps=128, rate=0.05, l2=0.0, gradient="raw", jitter=0, blur_every=0,
        image="fourier", optimiser="adam", robust=True,
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Objective:
    """The objective of one picture: a class, or something of a layer.

    Attributes:
        recipe: how.
        target: the class whose score is made large.
        layer: instead of a class: its mean squared output is made large (DeepDream), or what follows.
        channel: its mean over the layer's positions.
        position: (row, column) of one neuron of the channel.
        like: (3, H, W) in [0, 1], a photo whose output of the layer is to be met (feature inversion, Mahendran and
            Vedaldi 2015): the score is minus the squared distance, relative to the photo's.
        start: (3, H, W) in [0, 1] to begin from, instead of noise.
        seed: of noise and jitter, so that one picture is the same whatever stands beside it.
    """

    recipe: Recipe = Recipe()
    target: int | None = None
    layer: str = ""
    channel: int | None = None
    position: tuple[int, int] | None = None
    like: Tensor | None = None
    start: Tensor | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.target is None) != bool(self.layer):
            raise ConfigError("a picture is of a class or of a layer: give one of the two")
        if (self.position is not None and self.channel is None) or (self.like is not None and self.channel is not None):
            raise ConfigError("a position needs a channel, and a photo's features are those of a whole layer")

    def value(self, scores: Tensor, outputs: Mapping[str, Tensor], reference: Tensor | None) -> Tensor:
        """The value that ascends: a function of one picture's (K,) scores and its layers' outputs."""
        if self.target is not None:
            return scores[self.target]
        output = outputs[self.layer]
        if reference is not None:
            return -(output - reference).square().sum() / reference.square().sum()
        if self.channel is None:
            return output.square().mean()
        unit = (self.channel, *(self.position or ()))
        if any(not 0 <= i < n for i, n in zip(unit, output.shape, strict=False)) or len(unit) > output.ndim:
            raise ConfigError(f"layer {self.layer!r}: its output is {tuple(output.shape)}, it has no {unit}")
        return output[unit].mean()


class Ascent:
    """A batch on its way up; `advance` takes one step of all that are not done.

    Args:
        model: (B, 3, H, W) in [0, 1] -> (B, K); left as it was after every step.
        objectives: the batch.
        size: (H, W); the network's own by default.

    Attributes:
        step: steps begun.
        done: (B,) steps that moved each picture.
        stopped: "" or why a picture was stopped early, one each.
        idle: (B,) steps at which the gradient was zero everywhere: a rectifier that is off has none.
        snapshots: iteration -> `images` after so many steps; a picture that was done stays.
        interrupted: whether Ctrl-C ended it.

    Raises:
        ConfigError: recipes of pixels and of spectra in one batch, a class or channel that does not exist.
        NetworkError: a layer that does not exist, scores that carry no gradient.
    """

    def __init__(self, model: nn.Module, objectives: Sequence[Objective], size: tuple[int, int] | None = None) -> None:
        if not objectives or len({objective.recipe.image for objective in objectives}) > 1:
            raise ConfigError("a batch is of at least one picture, all of pixels or all of spectra")
        if size is None and not isinstance(model, Network):
            raise ConfigError("size: a bare module does not tell its input size, give (height, width)")
        self.model, self.objectives = model, tuple(objectives)
        self.recipes = [objective.recipe for objective in objectives]
        probe = zero_input(model, size or model.card.input_size)  # type: ignore[union-attr,arg-type]
        self.mean = model.mean if isinstance(model, Network) else torch.zeros_like(probe[..., :1, :1])
        self.std = model.std if isinstance(model, Network) else torch.ones_like(self.mean)
        self.fourier = self.recipes[0].image == "fourier"
        self.width = probe.shape[3]
        with in_use(model), torch.no_grad():
            self.free = torch.cat([self._begin(objective, probe) for objective in objectives])
            self.features = [self._features(objective, probe) for objective in objectives]
            classes = scores_of(model, probe).shape[1]
        for target in (objective.target for objective in objectives if objective.target is not None):
            if not 0 <= target < classes:
                raise ConfigError(f"class {target}: out of range, this network's classes are 0..{classes - 1}")
        self._before = self.free
        self._moments = [torch.zeros_like(self.free) for _ in range(2)]
        self._draws = [generator_for(objective.seed, "", "jitter") for objective in objectives]
        self.step = 0
        self.done = torch.zeros(len(objectives), dtype=torch.int64)
        self.stopped = [""] * len(objectives)
        self.idle = torch.zeros_like(self.done)
        self.snapshots: dict[int, Tensor] = {}
        self.interrupted = False
        self._curves: list[Tensor] = []

    @property
    def images(self) -> Tensor:
        """(B, 3, H, W) in [0, 1], detached: the pictures so far."""
        with torch.inference_mode(False), torch.no_grad():
            return self._pixels(self.free).clamp(0, 1)

    @property
    def values(self) -> Tensor:
        """(steps, B): the objective's value of the jittered picture before each step; NaN once a picture is done."""
        return self._curve(0)

    @property
    def confidences(self) -> Tensor:
        """(steps, B): likewise, the softmax of the target; NaN without one."""
        return self._curve(1)

    def _curve(self, which: int) -> Tensor:
        return torch.stack([step[which] for step in self._curves] or [torch.empty(len(self.objectives))])[: self.step]

    @property
    def moving(self) -> list[int]:
        """The pictures that are neither done nor stopped."""
        return [i for i, recipe in enumerate(self.recipes) if not self.stopped[i] and self.step < recipe.steps]

    def advance(self) -> bool:
        """One forward and one backward for all that still move; False where none does."""
        alive = self.moving
        if not alive:
            return False
        index = torch.tensor(alive, device=self.free.device)
        layers = {self.objectives[i].layer for i in alive} - {""}
        with in_use(self.model):
            free = self.free[index].requires_grad_()
            pixels = self._pixels(free)
            with tapped(self.model, layers) as outputs:
                scores = scores_of(self.model, self._shaken(pixels, alive))
            terms = []
            for k, i in enumerate(alive):
                own = {name: output[k] for name, output in outputs.items()}
                terms.append(self.objectives[i].value(scores[k], own, self.features[i]))
            values = torch.stack(terms)
            norm = ((pixels - self.mean) / self.std).flatten(1).norm(dim=1)
            penalty = torch.where(self._are(alive, "penalty", "squared"), norm.square(), norm)
            total = (values - self._numbers(alive, "l2", values) * penalty).sum()
            if not total.requires_grad:
                raise NetworkError("the network's scores carry no gradient: it detaches, or computes in integers")
            gradient = torch.autograd.grad(total, free)[0]
        self.idle[alive] += (gradient.flatten(1) == 0).all(1).cpu()
        with torch.inference_mode(False), torch.no_grad():
            moved = self._regularised(free + self._move(gradient, index, alive), alive)
            value_fine = values.isfinite()
            fine = value_fine & moved.flatten(1).isfinite().all(1)
            if not bool(fine.all()):
                kept = torch.where(_wide(value_fine, moved), free, self._before[index])
                moved = torch.where(_wide(fine, moved), moved, kept)
            self._before, self.free = self.free, self.free.index_copy(0, index, moved)
            self._note(index, values, scores)
        for i, value_is, step_is in zip(alive, value_fine.tolist(), fine.tolist(), strict=True):
            self.done[i] += step_is
            if not step_is:
                what = "gradient" if value_is else "score"
                why = f"its {what} is not finite; the last good picture is kept"
                self.stopped[i] = f"stopped at step {self.step}: {why}"
        self.step += 1
        return bool(self.moving)

    def _numbers(self, alive: Sequence[int], name: str, like: Tensor) -> Tensor:
        """(B,) a number of each recipe."""
        return like.new_tensor([getattr(self.recipes[i], name) for i in alive])

    def _are(self, alive: Sequence[int], name: str, word: str) -> Tensor:
        """(B,) bool, whether each recipe says that word."""
        return torch.tensor([getattr(self.recipes[i], name) == word for i in alive], device=self.free.device)

    def _begin(self, objective: Objective, probe: Tensor) -> Tensor:
        """(1, ...) the variable at its start: noise, or a picture."""
        if objective.start is not None:
            picture = objective.start.to(probe)[None]
            return fourier_spectrum(picture) if self.fourier else (picture - self.mean) / self.std
        shape = fourier_spectrum(probe).shape if self.fourier else probe.shape
        noise = torch.randn(shape, generator=generator_for(objective.seed, "", "start")).to(probe)
        return noise * 0.01 if self.fourier else noise

    def _features(self, objective: Objective, probe: Tensor) -> Tensor | None:
        if objective.layer:
            find_layer(self.model, objective.layer)
        if objective.like is None:
            return None
        with tapped(self.model, [objective.layer]) as outputs:
            scores_of(self.model, objective.like.to(probe)[None])
        return outputs[objective.layer][0].detach()

    def _pixels(self, free: Tensor) -> Tensor:
        return fourier_image(free, self.width) if self.fourier else free * self.std + self.mean

    def _shaken(self, pixels: Tensor, alive: Sequence[int]) -> Tensor:
        """Each picture as this step sees it: jittered and turned by its own draws; the gradient undoes that."""
        offsets, turns = [], []
        for i in alive:
            recipe, draws = self.recipes[i], self._draws[i]
            offsets.append(torch.randint(recipe.jitter + 1, (2,), generator=draws))
            turns.append((torch.rand(4, generator=draws) * 2 - 1) * recipe.robust)
        pixels = roll(pixels, torch.stack(offsets))
        turn = torch.stack(turns).to(pixels)
        if not bool(turn.any()):
            return pixels
        return turned(pixels, 6 * turn[:, :2], 1 + 0.1 * turn[:, 2], torch.deg2rad(10 * turn[:, 3]))

    def _move(self, gradient: Tensor, index: Tensor, alive: Sequence[int]) -> Tensor:
        """The step of each picture: along the gradient, or Adam's (Kingma and Ba 2015, its usual betas)."""
        gradient = torch.where(_wide(self._are(alive, "ascend", "saliency"), gradient), gradient.abs(), gradient)
        norm = gradient.flatten(1).norm(dim=1)
        divided = self._are(alive, "gradient", "normalised") & (norm > 0)
        step = gradient / _wide(torch.where(divided, norm, 1), gradient)
        adam = self._are(alive, "optimiser", "adam")
        if bool(adam.any()):
            scaled = []
            for k, (beta, new) in enumerate(((0.9, gradient), (0.999, gradient.square()))):
                moment = beta * self._moments[k][index] + (1 - beta) * new
                self._moments[k] = self._moments[k].index_copy(0, index, moment)
                scaled.append(moment / (1 - beta ** (self.step + 1)))
            step = torch.where(_wide(adam, step), scaled[0] / (scaled[1].sqrt() + 1e-8), step)
        return _wide(self._numbers(alive, "rate", gradient), gradient) * step

    def _regularised(self, moved: Tensor, alive: Sequence[int]) -> Tensor:
        """Clamped to valid pixels, then blurred where it is a picture's turn."""
        if self.fourier:
            return moved
        moved = moved.maximum(-self.mean / self.std).minimum((1 - self.mean) / self.std)
        due: dict[float, list[int]] = {}
        for k, recipe in enumerate(self.recipes[i] for i in alive):
            if recipe.blur_every and self.step % recipe.blur_every == 0:
                due.setdefault(recipe.blur_sigma, []).append(k)
        for sigma, pictures in due.items():
            moved[pictures] = blur(moved[pictures], sigma)
        return moved

    def _note(self, index: Tensor, values: Tensor, scores: Tensor) -> None:
        nothing = values.new_full((len(self.objectives),), torch.nan)
        targets = [-1 if objective.target is None else objective.target for objective in self.objectives]
        aims = torch.tensor(targets, device=index.device)[index]
        shares = score(scores.softmax(1), aims.clamp_min(0)).masked_fill(aims < 0, torch.nan)
        self._curves.append(torch.stack([nothing.index_copy(0, index, x) for x in (values, shares.to(values))]).cpu())


def visualize(
    model: nn.Module,
    objectives: Sequence[Objective],
    *,
    size: tuple[int, int] | None = None,
    snapshots: Iterable[int] = (),
    watch: Callable[[Ascent], None] = lambda ascent: None,
    keep: bool = False,
) -> Ascent:
    """Makes a batch of pictures, one forward and one backward a step for all of them; the `Ascent` at its end.

    After the iterations `snapshots` the pictures are kept too; `watch` is called after every step; with `keep` Ctrl-C
    ends the run with what there is, instead of being passed on.
    """
    ascent, iterations, going = Ascent(model, objectives, size), set(snapshots), True
    try:
        while going:
            going = ascent.advance()
            if ascent.step in iterations:
                ascent.snapshots[ascent.step] = ascent.images
            watch(ascent)
    except KeyboardInterrupt:
        if not keep:
            raise
        ascent.interrupted = True
    stuck = (ascent.idle == ascent.done) & (ascent.done > 0)
    why = "its gradient was zero at every step, a rectifier is off: begin from a photo, or take another neuron"
    ascent.stopped = [note or why * still for note, still in zip(ascent.stopped, stuck.tolist(), strict=True)]
    return ascent


def _wide(column: Tensor, like: Tensor) -> Tensor:
    """(B,) -> (B, 1, ...), to go with `like`."""
    return column.view(-1, *[1] * (like.ndim - 1))
