"""Label randomisation: a gate that is not reached."""

import pandas as pd
import pytest
import torch

from suite.data.digits import Pictures
from suite.studies.labels.report import gates
from suite.training import fit

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


@pytest.fixture(autouse=True)
def tiny_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path))
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat(20)
    made = torch.rand(200, 3, 28, 28, generator=generator)
    monkeypatch.setattr(fit, "_pictures", lambda *_: Pictures(made, labels, made[:50], labels[:50]))


def test_a_gate_that_is_not_reached():
    common = {"other": "gate", "model": "cnn", "draw": 0}
    values = {("permuted", "train", 0): 0.5, ("permuted", "test", 1000): 0.11, ("true", "test", 1000): 0.93}
    rows = [common | {"stage": s, "metric": f"accuracy_{m}", "x": n, "value": v} for (s, m, n), v in values.items()]
    found = gates(pd.DataFrame(rows))
    assert found["held"].tolist() == ["no", "yes", "no"]
    assert found["why"][0] == "permuted labels: train accuracy 0.500, needed at least 0.95"
