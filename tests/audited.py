"""Networks whose audit is provable, pictures for them, and the rows of an audit: what several tests of audits audit."""

from dataclasses import replace

import torch
from torch import nn

from suite.attribution.fused import as_methods
from suite.models.blocks import blocks_of
from suite.results.columns import as_table
from suite.sanity.audit import RandomisationAudit, with_controls
from suite.sanity.settings import AuditSettings
from suite.sanity.stages import other_networks, random_blocks
from suite.studies.randomised import KEYS

SIDE = 32
ORDERS = ("cascade_top", "cascade_bottom", "independent")


class Linear(nn.Module):
    """The gradient is the weight, and nothing else: it follows the network wholly, S is 1."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * SIDE * SIDE, 4)

    def forward(self, x):
        return self.fc(x.flatten(1))


class Squares(Linear):
    """The gradient is the weight times the photo: half of it ignores the network."""

    def forward(self, x):
        return self.fc((x**2).flatten(1))


def smooth_pictures(count=12):
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    return nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1)


def audit(model, methods, images, targets=None, draw=0, permuted=None, orders=ORDERS, **settings):
    """An audit of the methods alone; of the network `permuted` in the place of random ones where it is given."""
    blocks = blocks_of(model, images)[::-1]
    stages = random_blocks(blocks, orders) if permuted is None else other_networks({"permuted": permuted}, blocks)
    targets = torch.arange(len(images)) % 4 if targets is None else targets
    ids = [f"{i:02d}" for i in range(len(images))]
    return RandomisationAudit(model, stages, images, targets, ids, as_methods(methods), AuditSettings(**settings), draw)


def frame(audits):
    """The rows of several audits as a study writes them."""
    blocks = [block for one in audits for block in one.rows()]
    named = [replace(block, fields={**block.fields, "study": "sanity", "model": "m"}) for block in blocks]
    return as_table(named, KEYS).to_pandas()


def rows(model, methods, images, draws=3, permuted=None, **settings):
    """Rows of the study sanity, or of labels where `permuted` networks are given, one a draw; controls are held too."""
    methods = with_controls(as_methods(methods))
    twins = permuted or [None] * draws
    return frame([audit(model, methods, images, None, k, twins[k], **settings) for k in range(draws)])
