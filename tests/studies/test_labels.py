"""Label randomisation: one set of rules with sanity, gates that withhold, and the twin that is trained."""

from dataclasses import replace

import audited
import networks
import pandas as pd
import pytest
import tiny
import torch
from audited import Linear, smooth_pictures

from suite.config import validate
from suite.models.load import weights_digest
from suite.sanity.settings import AuditSettings
from suite.sanity.verdict import FAIL, PASS, UNINFORMATIVE, UNSTABLE
from suite.studies.labels import report as labels
from suite.studies.labels.config import LabelsConfig
from suite.studies.labels.study import Labels
from suite.training.fit import FACTORY, Recipe

NOISE = AuditSettings().noise


def the_input(model, images, targets):
    return images


def test_labels_judge_by_the_same_rules():
    """The twin's gradient is another one; a map for this network alone is UNSTABLE; one gate that fails withholds."""
    net, twins = networks.seeded(Linear), [networks.seeded(Linear, seed) for seed in (1, 2, 3)]
    own = weights_digest(net)

    def detects(model, images, targets):
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(int(weights_digest(model)[:8], 16)))
        return images if weights_digest(model) == own else noise

    rows = audited.rows(
        net, {"gradient": "gradient", "input": the_input, "detects": detects}, smooth_pictures(), 3, twins
    )
    rows = rows.assign(model="linear", layer="")
    known = {"true": 0.99, "permuted": 0.1}
    gates = [
        {
            "model": "linear",
            "kind": "gate",
            "metric": "accuracy_test",
            "labels": k,
            "pictures": 1000,
            "value": v,
            "draw": 0,
        }
        for k, v in known.items()
    ]
    manifest = {"config": {"studies": {"labels": {"noise": NOISE}}}}
    found = labels.tables(pd.concat([rows, pd.DataFrame(gates)]), manifest)
    table = found["labels_verdicts"].set_index("method")
    said = table["verdict"].to_dict()
    assert (said["gradient"], said["input"], said["detects"]) == (PASS, FAIL, UNSTABLE)
    assert (said["control_edges"], said["control_noise"]) == (FAIL, UNINFORMATIVE)
    assert {"s", "s_low", "s_high", "kept", "r_permuted", "r_other", "seeds", "pairs", "stability"} <= {*table}
    assert "with permuted labels" in table["reason"]["gradient"]
    gates[0]["value"] = 0.5
    table = labels.tables(pd.concat([rows, pd.DataFrame(gates)]), manifest)["labels_verdicts"]
    assert set(table["verdict"]) == {labels.WITHHELD}


def test_a_gate_that_is_not_reached():
    common = {"kind": "gate", "model": "cnn", "block": "cnn", "draw": 0}
    values = {("permuted", "train", 0): 0.5, ("permuted", "test", 1000): 0.11, ("true", "test", 1000): 0.93}
    rows = [
        common | {"labels": s, "metric": f"accuracy_{m}", "pictures": n, "value": v} for (s, m, n), v in values.items()
    ]
    found = labels.gates(pd.DataFrame(rows))
    assert found["held"].tolist() == ["no", "yes", "no"]
    assert found["why"][0] == "permuted labels: train accuracy 0.500, needed at least 0.95"


def test_the_twin_differs_in_its_labels_and_others_in_their_architecture():
    settings = {"labels": {"seeds": 2, "count": 50, "against": ["mlp", "cnn"]}}
    config = validate({"models": [{"label": "cnn", "factory": FACTORY}], "studies": settings})
    recipes = Labels()._recipes(config, Recipe("cnn", count=100), 1)
    assert list(recipes) == ["true", "permuted", "mlp"]  # cnn is no other architecture
    assert recipes["true"] == Recipe("cnn", count=100, seed=1)
    assert recipes["permuted"] == replace(recipes["true"], labels="permuted", stop=0.98, count=50)
    assert recipes["mlp"] == replace(recipes["true"], architecture="mlp")
    assert Labels().parts(config) == 2


def test_the_audit_takes_the_studys_settings():
    assert LabelsConfig(noise=0.5, cells=(4,)).audit(7) == AuditSettings(7, 0.5, (0.5, 1, 2, 4), (4,))


@pytest.mark.slow
def test_a_small_run_compares_the_network_with_its_twin(tmp_path, monkeypatch):
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path / "cache"))
    parameters = {"architecture": "mlp", "count": 50, "epochs": 1, "threads": 1}
    path = tiny.config(
        tmp_path, models=[{"label": "mlp", "factory": FACTORY, "parameters": parameters, "input_size": 28}],
        data={"source": "digits", "limit": 4, "batch_size": 2}, methods=["saliency"],
        studies={"labels": {"seeds": 1, "count": 50, "noise_factors": [1], "cells": [4], "against": ["cnn"]}},
    )  # fmt: skip
    rows = tiny.rows(path, tmp_path / "run").query("study == 'labels'")
    assert set(rows["order"]) == {"intact", "permuted", "architecture", "almost_same", ""}
    assert set(rows.loc[rows["order"] == "architecture", "block"]) == {"cnn"}
    gates = rows[rows["kind"] == "gate"]
    assert len(gates) == 4  # of the first chunk alone
    assert torch.tensor(gates["value"].to_numpy()).isfinite().all()
