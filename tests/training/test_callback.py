"""A callback for anybody's training, which leaves no trace."""

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from small_digits import tiny_pictures  # noqa: F401 - a fixture of every test
from torch import nn

from suite.errors import ConfigError
from suite.training.callback import AttributionAudit
from suite.training.shortcut import regions

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


class Small(pl.LightningModule):
    """With all that a callback could disturb: dropout, batch norm, frozen weights, random augmentation."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(128, 10),
        )  # fmt: skip
        self.net[0].weight.requires_grad_(False)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        x, y = batch
        return nn.functional.cross_entropy(self(x + 0.1 * torch.randn_like(x)), y)

    def configure_optimizers(self):
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], 1e-2)


class Recording(CSVLogger):
    """Keeps the pictures that it is given: by `log_image` as Weights & Biases' logger, or as TensorBoard's writer."""

    def __init__(self, folder, writer):
        super().__init__(folder)
        self.pictures = []
        if writer:
            self.experiment.add_image = lambda name, one, step: self.pictures.append((name, one, step))
        else:
            self.log_image = lambda name, some, step: self.pictures.append((name, some[0], step))


def run(*callbacks, logger=False):
    pl.seed_everything(0, verbose=False)
    module, images = Small(), torch.rand(40, 3, 28, 28)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, torch.arange(40) % 10), 10, shuffle=True)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=3, logger=logger, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=list(callbacks),
    )  # fmt: skip
    trainer.fit(module, data)
    return module, trainer


@pytest.mark.slow
def test_callback_leaves_training_bit_identical():
    images, targets = torch.rand(4, 3, 28, 28), torch.arange(4)
    region = regions(targets, 28)
    plain, _ = run()
    audited, trainer = run(AttributionAudit(images, targets, ["saliency", "smoothgrad"], region=region))
    theirs, ours = plain.state_dict(), audited.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    assert {"audit/saliency/S", "audit/saliency/mass"} <= trainer.callback_metrics.keys()
    assert not audited.net[0].weight.requires_grad
    _, stopped = run(AttributionAudit(images, targets, region=region, stop_above=0.0))
    assert stopped.current_epoch == 1


@pytest.mark.slow
def test_callback_gives_its_numbers_to_every_logger_and_its_maps_to_those_that_take_pictures(tmp_path):
    images, targets = torch.rand(4, 3, 28, 28), torch.arange(4)
    loggers = [Recording(tmp_path / "a", writer=True), Recording(tmp_path / "b", writer=False)]
    audit = AttributionAudit(images, targets, ["saliency", "grad_cam"], region=regions(targets, 28), every=2)
    run(audit, logger=loggers)
    for logger in loggers:
        wanted = {f"audit/{method}/{what}" for method in ("saliency", "grad_cam") for what in ("S", "mass")}
        logged = pd.read_csv(f"{logger.log_dir}/metrics.csv").dropna(axis=1, how="all")
        assert wanted <= set(logged)  # Grad-CAM's map is smaller than the region, and brought to its size
        assert [(name, step) for name, _, step in logger.pictures] == [("audit/saliency", 8), ("audit/grad_cam", 8)]
        for name, picture, _ in logger.pictures:
            grey = torch.as_tensor(picture).squeeze()
            assert grey.shape == (28, 4 * 28)
            assert 0 <= grey.min() <= grey.max() <= 1
            if name == "audit/saliency":  # Grad-CAM's may be zero everywhere
                assert grey.unflatten(1, (4, 28)).amax((0, 2)).tolist() == [1, 1, 1, 1]


def test_callback_says_what_it_needs():
    with pytest.raises(ConfigError, match=r"region has shape \(2, 7, 7\), expected .* \(2, 28, 28\)"):
        AttributionAudit(torch.rand(2, 3, 28, 28), torch.arange(2), region=torch.ones(2, 7, 7))
    with pytest.raises(ConfigError, match="at least two images"):
        AttributionAudit(torch.rand(1, 3, 28, 28), torch.arange(1))
    with pytest.raises(ConfigError, match="needs the region"):
        AttributionAudit(torch.rand(2, 3, 28, 28), torch.arange(2), stop_above=0.5)
