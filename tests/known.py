"""What the tests of methods with answers known by hand share."""

import torch
from torch import Tensor, nn

DOUBLE = torch.float64
TARGETS = torch.tensor([0, 3, 4, 3])


def close(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def weights_of(linear: nn.Module) -> Tensor:
    """(B, 3, 8, 8): the weight row of each image's target."""
    return linear.fc.weight.detach()[TARGETS].view(-1, 3, 8, 8)
