"""Label randomisation (Adebayo et al. 2018): maps of a network trained on permuted labels, in a random one's place."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import nn

from suite.sanity.config import SanityConfig
from suite.sanity.verdict import ALMOST
from suite.sanity.weight_randomisation import Stage, WeightAudit, almost_same

STAGE = "permuted"


class LabelAudit(WeightAudit):
    """Other networks in the place of random ones: the one trained on permuted labels, and other architectures.

    Args:
        others: name -> network; `STAGE` is the permuted one.
        more: as `WeightAudit` takes it.
    """

    def __init__(self, model: nn.Module, *more: Any, others: Mapping[str, nn.Module], **named: Any) -> None:
        super().__init__(model, *more, **named)
        self.others = list(others.values())
        kinds = [STAGE if name == STAGE else "architecture" for name in others]
        self.stages = [
            Stage(kind, k + 1, "" if kind == STAGE else name, (k,), True)
            for k, (kind, name) in enumerate(zip(kinds, others, strict=True))
        ]
        self.stages.append(almost_same(len(self.blocks)))

    def _changed(self, stage: Stage) -> AbstractContextManager[None]:
        return super()._changed(stage) if stage.order == ALMOST else self._instead(self.others[stage.chosen[0]])

    @contextmanager
    def _instead(self, other: nn.Module) -> Iterator[None]:
        kept, self.model = self.model, other
        try:
            yield
        finally:
            self.model = kept


def settings_for(noise: float, noise_factors: Sequence[float], cells: Sequence[int]) -> SanityConfig:
    """What a `LabelAudit` takes of a `WeightAudit`'s settings."""
    return SanityConfig(noise=noise, noise_factors=tuple(noise_factors), cells=tuple(cells), random_logit=False)
