"""One small training with Trainer.fit: seeded to the bit, resumed at the last epoch, stopped at its gate, kept."""

import suite._torchvision  # noqa: F401

import contextlib
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from filelock import FileLock
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from suite.attacks.attack import attack
from suite.attacks.pgd import PGD
from suite.config import RunConfig
from suite.core.atomic import replacing
from suite.core.network import Network
from suite.core.seeding import seed_of
from suite.data.digits import Pictures, cache_folder, load_pictures
from suite.errors import ConfigError
from suite.quiet import quiet
from suite.registry import build
from suite.training.nets import make_net
from suite.training.shortcut import plant

FACTORY = "suite.training.fit:net"
VERSION = 2  # counted up when the same recipe would give other weights


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; equal recipes give equal bits.

    Attributes:
        architecture: of `suite.training.nets`.
        dataset: of `suite.data.digits`.
        root: torchvision's folder.
        count: training pictures, the same number of each class; 0 takes all.
        labels: true, or permuted over the training pictures (Adebayo et al. 2018), evenly within each class.
        patch: none; giving the class away, on pictures that do not (planted); or anywhere, the labels true (idle).
        adversary: trained on PGD's images of this epsilon in the box instead of the pictures (Madry et al. 2018,
            equation 2.1; five steps of a quarter from a random start); 0 trains on the pictures.
        seed: of weights, permutation, order and starts.
        rate: Adam's learning rate.
        batch: pictures a step.
        epochs: at most.
        stop: training accuracy at which it ends.
        threads: torch's, while it trains.
    """

    architecture: str = "cnn"
    dataset: str = "digits"
    root: str = ""
    count: int = 0
    labels: Literal["true", "permuted"] = "true"
    patch: Literal["none", "planted", "idle"] = "none"
    adversary: float = 0.0
    seed: int = 0
    rate: float = 3e-4
    batch: int = 50
    epochs: int = 100
    stop: float = 0.999
    threads: int = 2

    @property
    def digest(self) -> str:
        """Names the files."""
        content = {k: v for k, v in asdict(self).items() if k != "root"} | {"version": VERSION}
        if not self.adversary:
            del content["adversary"]
        return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()


@lru_cache(maxsize=2)
def _pictures(dataset: str, root: str) -> Pictures:
    return load_pictures(dataset, root)


def training_set(recipe: Recipe) -> tuple[Tensor, Tensor]:
    """The pictures and labels of a recipe: a class-balanced part, permuted and patched as it says."""
    pictures = _pictures(recipe.dataset, recipe.root)
    images, labels = pictures.train, pictures.train_labels
    if recipe.count:
        each = -(-recipe.count // 10)
        chosen = torch.cat([torch.nonzero(labels == k)[:each, 0] for k in range(10)])
        images, labels = images[chosen], labels[chosen]
    generator = torch.Generator().manual_seed(seed_of(recipe.seed, "labels"))
    shuffled = labels.clone()  # every class gets every label equally often, so that no class can be learned
    for k in range(10):
        members = torch.nonzero(labels == k)[:, 0]
        order = torch.randperm(len(members), generator=generator)
        shuffled[members[order]] = (torch.arange(len(members)) + k) % 10
    if recipe.patch == "none":
        return images, shuffled if recipe.labels == "permuted" else labels
    images = plant(images, shuffled)  # the patch and the digit know nothing of one another
    return images, shuffled if recipe.patch == "planted" else labels


class _Fit(pl.LightningModule):
    """Cross-entropy and Adam; every epoch's order comes from (seed, epoch)."""

    def __init__(self, body: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> None:
        super().__init__()
        self.body, self.recipe = body, recipe
        self.images, self.labels = images, labels

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        generator = torch.Generator().manual_seed(seed_of(self.recipe.seed, "order", self.current_epoch))
        order = torch.randperm(len(self.images), generator=generator)
        return DataLoader(TensorDataset(self.images[order], self.labels[order]), self.recipe.batch)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        if self.recipe.adversary:
            seed = seed_of(self.recipe.seed, "adversary", self.current_epoch, batch_idx)
            options: dict[str, Any] = {"epsilon": self.recipe.adversary, "seed": seed, "saved": False}
            images = attack(self.body, images, labels, PGD(steps=5), **options).images
        return F.cross_entropy(self.body(images), labels)

    def on_train_epoch_end(self) -> None:
        self.log("train_accuracy", accuracy(self.body, self.images, self.labels), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.recipe.rate)


def accuracy(body: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of right answers."""
    with torch.no_grad():
        parts = zip(torch.split(images, 500), torch.split(labels, 500), strict=True)
        right = [int((body(x).argmax(1) == y).sum()) for x, y in parts]
    return sum(right) / len(images)


def train(recipe: Recipe, callbacks: tuple[pl.Callback, ...] = ()) -> tuple[nn.Module, Mapping[str, float]]:
    """The network in eval mode, read from its file or trained now, and its accuracies.

    One process trains at a time; `callbacks` are the Trainer's. The accuracies are `train` (on the training pictures)
    and `test`; `test_n` is the number of test pictures, `epochs` that of epochs.
    """
    path = cache_folder() / "trained" / f"{recipe.architecture}-{recipe.digest}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    side = _pictures(recipe.dataset, recipe.root).train.shape[2]
    body = make_net(recipe.architecture, side, 10, recipe.seed)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            _train_now(recipe, body, path, callbacks)
    with safe_open(path, "pt") as stored:
        body.load_state_dict({name: stored.get_tensor(name) for name in stored.keys()})  # noqa: SIM118 - no mapping
        accuracies: dict[str, float] = json.loads(stored.metadata()["accuracies"])
    return body.eval(), accuracies


def _train_now(recipe: Recipe, body: nn.Module, path: Path, callbacks: tuple[pl.Callback, ...]) -> None:
    images, labels = training_set(recipe)
    pictures = _pictures(recipe.dataset, recipe.root)
    last = path.with_suffix(".ckpt")
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    words = f"{len(images)} pictures, labels {recipe.labels}, patch {recipe.patch}"
    print(f"training {recipe.architecture} on {words}", file=sys.stderr)
    try:
        with quiet(), contextlib.redirect_stdout(sys.stderr), torch.inference_mode(False), torch.enable_grad():
            trainer = pl.Trainer(
                accelerator="cpu", devices=1, max_epochs=recipe.epochs, logger=False, enable_model_summary=False,
                reload_dataloaders_every_n_epochs=1, log_every_n_steps=1,
                callbacks=[
                    EarlyStopping(
                        "train_accuracy", mode="max", stopping_threshold=recipe.stop - 1e-9, patience=10**6,
                        check_on_train_epoch_end=True,
                    ),
                    ModelCheckpoint(path.parent, last.stem, save_on_train_epoch_end=True, enable_version_counter=False),
                    *callbacks,
                ],
            )  # fmt: skip
            module = _Fit(body, images, labels, recipe)
            trainer.fit(module, ckpt_path=str(last) if last.exists() else None, weights_only=True)
            if trainer.interrupted:
                raise KeyboardInterrupt
        body.eval()
        tested = plant(pictures.test, pictures.test_labels.flip(0)) if recipe.patch == "idle" else pictures.test
        accuracies = {
            "train": accuracy(body, images, labels),
            "test": accuracy(body, tested, pictures.test_labels),
            "test_n": len(tested),
            "epochs": trainer.current_epoch,
        }
    finally:
        torch.set_num_threads(threads)
    with replacing(path) as temporary:
        save_file(body.state_dict(), temporary, metadata={"accuracies": json.dumps(accuracies)})
    last.unlink(missing_ok=True)


def net(fit: bool = True, **recipe: Any) -> nn.Module:
    """A factory for the YAML: `{factory: "suite.training.fit:net", parameters: {architecture: cnn}, input_size: 28}`.

    `recipe` are fields of `Recipe`; without `fit` the weights are random, for a dry run.
    """
    checked: Recipe = build("factory", FACTORY, Recipe, recipe)
    if fit:
        return train(checked)[0]
    return make_net(checked.architecture, 32 if checked.dataset == "CIFAR10" else 28, 10, checked.seed)


def recipe_of(config: RunConfig, title: str) -> Recipe:
    """The recipe of a run's network; a ConfigError where the suite did not train it."""
    for part in config.models:
        if part.title == title and part.factory == FACTORY:
            return Recipe(**part.parameters)
    remedy = f"give it the factory {FACTORY!r}, as configs/labels.yaml does"
    raise ConfigError(f"network {title!r}: not trained here; {remedy}")


def as_network(body: nn.Module, like: Network) -> Network:
    """A trained body that takes pictures as another network of the run does."""
    mean, std = like.mean.flatten().tolist(), like.std.flatten().tolist()
    return Network(body, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), like.card).to(like.mean)
