"""How fast the target's probability falls as the pixels that a map calls important go. Pure functions of outputs."""

from collections.abc import Iterator

import torch
from torch import Tensor

from suite.metrics.cards import Card
from suite.metrics.perturbed import TargetOutputs

Form = tuple[str, Tensor, str]  # its name, (B,) values, and why one is NaN
_LEAST = {"score": 1.0, "probability": 0.05}  # fall from clean to wholly perturbed that a curve can be divided by


def area(curves: Tensor) -> Tensor:
    """(B, S) at even steps over [0, 1], both ends among them -> (B,): the area under it (trapezoids)."""
    return torch.trapezoid(curves, dim=1) / (curves.shape[1] - 1)


def normalised(curves: Tensor, clean: Tensor, gone: Tensor, least: float) -> Tensor:
    """(B, S): 1 at the clean answer (B, 1), 0 at the wholly perturbed one; NaN where they are nearer than `least`."""
    span = clean - gone
    scaled: Tensor = (curves - gone) / span
    return scaled.masked_fill(span < least, torch.nan)


def _areas(curves: TargetOutputs, clean: TargetOutputs, gone: TargetOutputs) -> Iterator[Form]:
    """Of the probability as it is, and of score and probability between their two ends."""
    yield "raw", area(curves.probability), ""
    for variant, least in _LEAST.items():
        ends = getattr(clean, variant), getattr(gone, variant)
        why = f"the target's {variant} falls by less than {least:g} from clean to wholly perturbed"
        yield variant, area(normalised(getattr(curves, variant), *ends, least)), why


@Card(
    takes="outputs",
    asked=("deletion",),
    better="lower",
    span="about [0, 1]",
    paper="Petsiuk et al. 2018 (RISE); Samek et al. 2017",
    says="Area under the target's probability, between its clean and its wholly perturbed value, while the highest "
    "pixels go first. Pixel flipping is the same with black and steps of one pixel.",
)
def deletion(curves: TargetOutputs, clean: TargetOutputs, gone: TargetOutputs) -> Iterator[Form]:
    """Areas under curves (B, S) at even shares from 0 to 1 of the pixels removed.

    Source: Petsiuk, Das and Saenko, RISE, BMVC 2018; the division by the fall between the curve's ends is ours.
    """
    return _areas(curves, clean, gone)


@Card(takes="outputs", asked=("insertion",), better="higher", span="about [0, 1]", paper="Petsiuk et al. 2018 (RISE)")
def insertion(curves: TargetOutputs, clean: TargetOutputs, gone: TargetOutputs) -> Iterator[Form]:
    """The same area while the highest pixels come back first, into a blurred photo.

    Of curves (B, S) at even shares from 0 to 1 of the pixels put back.
    """
    return _areas(curves, clean, gone)


@Card(
    takes="outputs",
    asked=("road",),
    better="lower",
    span="at least 0; accuracy in [0, 1]",
    cost="one forward and imputation a share removed and method",
    paper="Rong et al. 2022 (ROAD)",
    says="Mean probability of the target over the clean one, highest pixels replaced by a noisy mean of their "
    "neighbours; accuracy: share of removals after which the target still comes first.",
)
def road(curves: TargetOutputs, clean: TargetOutputs) -> Iterator[Form]:
    """Means over shares removed, of copies (B, S) whose removed pixels are imputed (`imputation.impute`).

    Source: Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022.
    """
    whole, least = clean.probability[:, 0], _LEAST["probability"]
    kept = (curves.probability.mean(1) / whole).masked_fill(whole < least, torch.nan)
    yield "probability", kept, f"the target's clean probability is less than {least:g}"
    yield "accuracy", curves.top.mean(1), ""
