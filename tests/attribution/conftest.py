"""A linear network, of which every first-order map is a row of its weights."""

import networks as nets
import pytest
from known import DOUBLE
from networks import seeded
from torch import nn


@pytest.fixture
def linear() -> nn.Module:
    return seeded(nets.Linear, dtype=DOUBLE)
