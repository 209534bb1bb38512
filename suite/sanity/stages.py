"""The networks that an audit compares with the intact one: blocks re-initialised, or other networks in its place."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from suite.models.blocks import Block
from suite.sanity.verdict import ALMOST, EVERYTHING, INTACT, PERMUTED

RANDOM_LOGIT = "random_logit"


@dataclass(frozen=True)
class Stage:
    """One network of an audit.

    Attributes:
        order: cascade_top, cascade_bottom, independent, everything, almost_same (all weights change by a thousandth),
            random_logit (another class, nothing is random), or permuted and architecture (another network).
        count: random blocks; under independent the block's number from the top; the number of another network.
        block: the block that was randomised last, or the name of the other architecture.
        blocks: those whose weights change.
        judged: whether the verdict needs it.
        network: stands in the place of the intact one.
    """

    order: str
    count: int
    block: str
    blocks: tuple[Block, ...] = ()
    judged: bool = False
    network: nn.Module | None = None

    @property
    def change(self) -> Hashable:
        """Equal for two stages that look at the same network."""
        return self.order if self.order in (ALMOST, RANDOM_LOGIT) else "", self.blocks, self.network


UNCHANGED = Stage(INTACT, 0, "")


def almost_same(blocks: Sequence[Block]) -> Stage:
    """The stage at which a map must stay."""
    return Stage(ALMOST, 0, "", tuple(blocks), True)


def random_blocks(
    blocks: Sequence[Block], orders: Sequence[str], *, verdict_only: bool = False, random_logit: bool = False
) -> list[Stage]:
    """The stages of weight randomisation (Adebayo et al. 2018).

    Args:
        blocks: of the network, from the top.
        orders: of cascade_top, cascade_bottom and independent.
        verdict_only: leaves out all but the top block, the upper half, everything and almost the same.
        random_logit: adds the stage of another class.
    """
    n = len(blocks)
    stages = []
    for order in orders:
        for count in range(1, n + (order == "independent")):
            first, end = {"cascade_top": (0, count), "cascade_bottom": (n - count, n)}.get(order, (count - 1, count))
            last = blocks[first if order == "cascade_bottom" else end - 1]
            judged = count == -(-n // 2) and order != "independent"
            if judged or not verdict_only or (order == "cascade_top" and count == 1):
                stages.append(Stage(order, count, last.name, tuple(blocks[first:end]), judged))
    stages += [Stage(EVERYTHING, n, blocks[-1].name, tuple(blocks), True), almost_same(blocks)]
    return [*stages, Stage(RANDOM_LOGIT, 0, "")] if random_logit else stages


def other_networks(others: Mapping[str, nn.Module], blocks: Sequence[Block]) -> list[Stage]:
    """The stages of label randomisation (Adebayo et al. 2018): `PERMUTED`, and other architectures by their names.

    The intact network's blocks are for the stage almost the same.
    """
    stages = []
    for number, (name, network) in enumerate(others.items(), start=1):
        order, block = (PERMUTED, "") if name == PERMUTED else ("architecture", name)
        stages.append(Stage(order, number, block, judged=True, network=network))
    return [*stages, almost_same(blocks)]
