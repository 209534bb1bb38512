"""Scores of a made picture have known answers."""

import numpy as np
import pytest
import torch

from suite.core.pixels import as_saved
from suite.synthesis import scores


def test_scores_have_known_answers() -> None:
    grey = torch.full((1, 3, 16, 16), 0.5)
    board = ((torch.arange(16)[:, None] + torch.arange(16)) % 2).float().expand(1, 3, 16, 16)
    both = torch.cat([grey, board])
    assert scores.contrast(both).tolist() == pytest.approx([0, 0.5])
    assert scores.saturated(both).tolist() == [0, 1]
    assert scores.total_variation(both).tolist() == [0, 1]
    frequency = scores.high_frequency(both)
    assert frequency[0].isnan()
    assert frequency[1] == 1
    noise = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    assert float(scores.high_frequency(noise)) == pytest.approx(1 - torch.pi / 16, abs=0.01)
    assert scores.diversity(board.expand(3, -1, -1, -1)) == 0
    assert np.isnan(scores.diversity(board))
    assert torch.equal(as_saved(noise), (noise * 255).round() / 255)
