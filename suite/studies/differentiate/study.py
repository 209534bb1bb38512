"""What to differentiate: the score, its log-probability, its probability or the cross entropy; and a gradient's limits.

No method of the run is used: the maps here are plain gradients at the pixels, of the class explained.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.attribution.base import Attribution
from suite.attribution.input_x_gradient import InputXGradient
from suite.attribution.integrated_gradients import IntegratedGradients
from suite.config import RunConfig
from suite.core.draws import ImageDraws
from suite.core.network import scores_of
from suite.core.passes import Cost, predict, score
from suite.core.state import in_use
from suite.metrics.similarity import rank_correlation, ranks
from suite.results.schema import Keys
from suite.studies.base import Outcome, Rows, Study, Work, finite, magnitude
from suite.studies.differentiate.config import DifferentiateConfig

QUANTITIES = ("score", "log_probability", "probability", "cross_entropy")
_OTHERS = "others"  # the other classes' scores, each weighted by its share of their probability
_DIRECTIONS = 4  # random ones a photo and radius
_PATH = IntegratedGradients(steps=32)  # its quadrature is within some hundredths of the change on real photos


class Saturated(nn.Module):
    """1 - ReLU(1 - x) of one pixel: flat from 1 on, where the gradient says that nothing counts."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, 1, 1) -> (B, 1)."""
        flat: Tensor = 1 - F.relu(1 - images.flatten(1))
        return flat


class Differentiate(Study):
    """Gradients of four quantities side by side, and how far the first of them can be trusted.

    Rows: `spearman` and `spearman_magnitude` of two quantities' gradients; `other_classes`, the share of a gradient
    that comes through other classes' scores, |g_o| / (|g_t| + |g_o|) for the gradient (1 - p)(g_t - g_o) of log p;
    `relative_norm`, a gradient's norm over the score's; `linear_error`, how much of f(x + d) - f(x) is missed by g.d;
    `share_of_change`, how much of f(x) - f(black) an attribution's sum carries; `interaction`, what no sum of pixels
    can carry: |f(x) - f(x without A) - f(x without B) + f(x without both)| over |f(x) - f(x without both)|, summed over
    touching squares of the photo. A square is taken away by painting it in the photo's mean colour.
    """

    name: ClassVar[str] = "differentiate"
    keys: ClassVar[Keys] = {"other_quantity": str, "direction": str, "radius": float, "example": str}

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        options = config.section(DifferentiateConfig)
        squares = options.grid**2 + len(_touching(options.grid))
        steps = len(options.radii) * (1 + _DIRECTIONS)
        return Cost(1 + steps + squares + 1, len(QUANTITIES) + 1) + _PATH.cost()

    def run(self, work: Work) -> Outcome:
        options = work.config.section(DifferentiateConfig)
        gradients = _gradients(work)
        rows = self._quantities(work, gradients)
        rows += self._linear(work, gradients["score"], options.radii)
        rows += self._saturation(work, gradients["score"])
        return Outcome(rows + self._interactions(work, options.grid))

    def _quantities(self, work: Work, gradients: Mapping[str, Tensor]) -> Rows:
        others = work.scores.double().softmax(1).scatter(1, work.targets[:, None], 0).sum(1)  # 1 - p, precisely
        rows = work.rows(self.name, "", "other_probability", others, unit="probability")
        norms = {name: torch.linalg.vector_norm(g.double(), dim=(1, 2, 3)) for name, g in gradients.items()}
        through = norms[_OTHERS] / (norms["score"] + norms[_OTHERS])
        zero = "the gradient is zero everywhere: the softmax is saturated at this precision"
        for name in QUANTITIES:
            share = torch.zeros_like(through) if name == "score" else through
            rows += work.rows(self.name, name, "other_classes", share, undefined=zero)
            rows += work.rows(self.name, name, "relative_norm", norms[name] / norms["score"], undefined=zero)
        signed = {name: ranks(gradients[name]) for name in QUANTITIES}
        sizes = {name: ranks(magnitude(gradients[name], work.size)) for name in QUANTITIES}
        for a, b in combinations(QUANTITIES, 2):
            for metric, ranked in (("spearman", signed), ("spearman_magnitude", sizes)):
                alike = rank_correlation(ranked[a], ranked[b])
                rows += work.rows(self.name, a, metric, alike, other_quantity=b, undefined=zero)
        return rows

    def _linear(self, work: Work, gradient: Tensor, radii: Sequence[float]) -> Rows:
        """The root of the summed squares of what is missed over that of the change, over a stage's directions."""
        draws = ImageDraws(work.images, work.ids, work.config.seed, self.name)
        stages = {"sign_of_gradient": gradient.sign()[:, None], "random_signs": draws.normal(_DIRECTIONS).sign()}
        clean, same = _score(work), "the score does not change at this radius"
        rows: Rows = []
        for stage, directions in stages.items():
            predicted = torch.einsum("bchw,bkchw->kb", gradient.double(), directions.double())
            for radius in radii:
                change = torch.stack([_score(work, work.images + radius * d) - clean for d in directions.unbind(1)])
                error = finite((change - radius * predicted).norm(dim=0) / change.norm(dim=0))  # of (k, B)
                rows += work.rows(
                    self.name, "score", "linear_error", error, direction=stage, radius=radius, undefined=same
                )
        return rows

    def _saturation(self, work: Work, gradient: Tensor) -> Rows:
        change = _score(work) - _score(work, torch.zeros_like(work.images))
        same = "the score of the photo is that of a black one"
        maps = {
            "input_x_gradient": gradient * work.images,
            "integrated_gradients": _PATH(work.model, work.images, work.targets, work.ids),
        }
        rows: Rows = []
        for name, values in maps.items():
            share = (values.double().sum((1, 2, 3)) / change).masked_fill(change == 0, torch.nan)
            rows += work.rows(self.name, name, "share_of_change", share, example="photo", undefined=same)
        if work.first:
            toy, at = Saturated(), torch.full((1, 1, 1, 1), 2.0)
            for name, method in (("input_x_gradient", InputXGradient()), ("integrated_gradients", _PATH)):
                fields = work.columns(self.name, name) | {"metric": "share_of_change", "example": "toy"}
                rows.append(fields | {"value": abs(float(method(toy, at, 0)))})  # of a change of 1
        return rows

    def _interactions(self, work: Work, grid: int) -> Rows:
        height, width = work.size
        down, across = (torch.arange(side, device=work.images.device) * grid // side for side in (height, width))
        square = down[:, None] * grid + across  # (H, W)
        paint = work.images.mean((2, 3), keepdim=True)

        def without(*numbers: int) -> Tensor:
            hidden = torch.isin(square, torch.tensor(numbers, device=square.device))
            return _score(work, torch.where(hidden, paint, work.images))

        clean = _score(work)
        alone = [without(number) for number in range(grid**2)]
        together, change = torch.zeros_like(clean), torch.zeros_like(clean)
        for a, b in _touching(grid):
            without_both = without(a, b)
            together += (clean - alone[a] - alone[b] + without_both).abs()
            change += (clean - without_both).abs()
        same = "no square of the photo changes the score"
        return work.rows(self.name, "score", "interaction", together / change, undefined=same)


def _touching(grid: int) -> list[tuple[int, int]]:
    numbers = range(grid**2)
    return [(n, n + 1) for n in numbers if (n + 1) % grid] + [(n, n + grid) for n in numbers if n + grid < grid**2]


def _score(work: Work, images: Tensor | None = None) -> Tensor:
    """(B,) of the photos, or of other images in their place."""
    return score(work.scores if images is None else predict(work.model, images), work.targets).double()


def _gradients(work: Work) -> dict[str, Tensor]:
    """(B, 3, H, W) for each quantity, and for the other classes' scores: one forward, a backward each."""
    with in_use(work.model):
        pixels = work.images.detach().clone().requires_grad_()
        scores = scores_of(work.model, pixels.clone())
        weights = scores.detach().double().scatter(1, work.targets[:, None], -torch.inf).softmax(1).to(scores)
        quantities = {
            "score": score(scores, work.targets).sum(),
            "log_probability": score(scores.log_softmax(1), work.targets).sum(),
            "probability": score(scores.softmax(1), work.targets).sum(),
            "cross_entropy": F.cross_entropy(scores, work.targets, reduction="sum"),
            _OTHERS: (weights * scores).sum(),
        }
        return {name: torch.autograd.grad(q, pixels, retain_graph=True)[0] for name, q in quantities.items()}


STUDY = Differentiate()
