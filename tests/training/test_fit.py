"""Small trainings: resumed to the same bits, permuted labels, patches."""

import shutil

import pytest
import pytorch_lightning as pl
import torch
from small_digits import tiny_pictures  # noqa: F401 - a fixture of every test

from suite.training import fit
from suite.training.shortcut import SIZE, plant

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


SMALL = fit.Recipe("mlp", count=100, epochs=4, stop=2.0, threads=1)


class Stop(pl.Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 2:
            raise RuntimeError("killed")


@pytest.mark.slow
def test_killed_training_ends_in_the_same_bits():
    with pytest.raises(RuntimeError, match="killed"):
        fit.train(SMALL, (Stop(),))
    resumed, known = fit.train(SMALL)
    assert known["epochs"] == 4
    path = next((fit.cache_folder() / "trained").glob("*.safetensors"))
    path.unlink()
    undisturbed, _ = fit.train(SMALL)
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), undisturbed.parameters(), strict=True))
    path.with_suffix(".ckpt").unlink(missing_ok=True)
    before = path.stat().st_mtime_ns
    fit.train(SMALL)
    assert path.stat().st_mtime_ns == before  # made once


def test_what_is_trained_on():
    _, labels = fit.training_set(SMALL)
    _, permuted = fit.training_set(fit.Recipe("mlp", count=100, labels="permuted"))
    assert sorted(labels.tolist()) == sorted(permuted.tolist())
    assert (labels == permuted).float().mean() < 0.3
    images, told = fit.training_set(fit.Recipe("mlp", count=100, patch="planted"))
    assert torch.equal(images, plant(images, told))  # the patch says the label
    images, told = fit.training_set(fit.Recipe("mlp", count=100, patch="idle"))
    assert torch.equal(told, labels)
    assert (images == 1).all(1).flatten(1).sum(1).min() >= SIZE**2


@pytest.mark.slow
def test_adversarial_training_changes_the_weights_and_nothing_else_of_a_recipe(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path))
    plain, hard = (fit.Recipe(architecture="mlp", count=200, epochs=2, adversary=a, threads=1) for a in (0.0, 0.1))
    assert plain.digest != hard.digest
    bodies = [fit.train(recipe)[0] for recipe in (plain, hard)]
    assert not torch.equal(bodies[0][1].weight, bodies[1][1].weight)
    shutil.rmtree(tmp_path / "trained")
    again = fit.train(hard)[0]
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), bodies[1].parameters(), strict=True))
