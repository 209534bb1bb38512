"""Which networks an audit looks at, which the verdict needs, and which two orders share."""

import networks
from audited import ORDERS, Linear

from suite.models.blocks import Block
from suite.sanity.stages import Stage, almost_same, other_networks, random_blocks

BLOCKS = [Block(name, ()) for name in ("d", "c", "b", "a", "stem")]  # from the top


def named(stage: Stage) -> str:
    return " ".join(block.name for block in stage.blocks)


def test_orders_and_what_is_judged():
    stages = {(s.order, s.count): s for s in random_blocks(BLOCKS, ORDERS, random_logit=True)}
    assert named(stages["cascade_top", 3]) == "d c b"
    assert stages["cascade_top", 3].block == "b"
    assert named(stages["cascade_bottom", 3]) == "b a stem"
    assert stages["cascade_bottom", 3].block == "b"
    assert named(stages["independent", 3]) == "b"
    assert named(stages["everything", 5]) == named(stages["almost_same", 0]) == "d c b a stem"
    assert named(stages["random_logit", 0]) == ""
    judged = [("cascade_top", 3), ("cascade_bottom", 3), ("everything", 5), ("almost_same", 0)]
    assert [k for k, s in stages.items() if s.judged] == judged
    assert len(stages) == 4 + 4 + 5 + 3


def test_the_verdict_alone_needs_the_top_block_the_upper_half_and_everything():
    stages = random_blocks(BLOCKS[:4], ("cascade_top",), verdict_only=True)
    orders = [("cascade_top", 1), ("cascade_top", 2), ("everything", 4), ("almost_same", 0)]
    assert [(s.order, s.count) for s in stages] == orders


def test_two_orders_share_a_network_where_the_same_blocks_are_random():
    stages = {(s.order, s.count): s.change for s in random_blocks(BLOCKS, ORDERS, random_logit=True)}
    assert stages["cascade_top", 1] == stages["independent", 1]
    assert stages["cascade_bottom", 1] == stages["independent", 5]
    assert stages["everything", 5] != stages["almost_same", 0]
    assert len(set(stages.values())) == len(stages) - 2


def test_other_networks_keep_their_names_and_almost_the_same_is_of_the_intact_one():
    twin, other = networks.seeded(Linear, 1), networks.seeded(Linear, 2)
    permuted, architecture, almost = other_networks({"permuted": twin, "vgg": other}, BLOCKS)
    assert (permuted.order, permuted.count, permuted.block, permuted.network) == ("permuted", 1, "", twin)
    assert (architecture.order, architecture.count, architecture.block) == ("architecture", 2, "vgg")
    assert permuted.change != architecture.change
    assert almost == almost_same(BLOCKS)
    assert all(s.judged for s in (permuted, architecture, almost))
