"""Deletion against its bare forward passes, ROAD's imputation in seconds, and Quantus on the same curve points.

    python benchmarks/scores.py [--rounds 5] [--photos 8] [--steps 28] [--threads 2]

The jobs of a round run one after the other, in an order that turns; ratios are taken within a round. SqueezeNet 1.1 on
the embedded photos. Quantus takes part where it can be imported, in an environment of its own beside the suite's:

    make benchmark NAME=scores
"""

import suite._torchvision

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from rounds import interleaved, ratio, show

import suite
from suite.attribution.fused import as_methods
from suite.config import validate
from suite.core.network import scores_of
from suite.core.state import in_use
from suite.data.datamodule import read_chunk
from suite.data.sources import list_images
from suite.metrics.imputation import impute
from suite.metrics.perturbed import first_removed
from suite.metrics.removal import area
from suite.studies.base import Work
from suite.studies.scores.scoring import CONTROLS, Scoring


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("rounds", 5), ("photos", 8), ("steps", 28), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    model = suite.load_model("squeezenet1_1").requires_grad_(False)
    files = list_images("embedded", classes=model.card.classes).files[: given.photos]
    images = read_chunk(None, files, model.card.taken).images
    settings = {"metrics": ["deletion"], "steps": given.steps}
    config = validate({"studies": {"scores": settings}})
    work = Work(model, as_methods(["grad_cam"]), images, files, range(len(files)), [""] * len(files), (), config)
    scoring = Scoring(work, {**CONTROLS, **work.methods}, config.studies.scores)
    ranks, shares = scoring.ranks, torch.linspace(0, 1, given.steps + 1)
    ground, wide = torch.zeros_like(images), images.contiguous(memory_format=torch.channels_last)

    def bare(batch: torch.Tensor) -> None:
        with in_use(model), torch.no_grad():
            for _ in range(given.steps):
                scores_of(model, batch)

    def deletion() -> None:
        found = scoring.evaluate(images, first_removed(ranks["grad_cam"], shares[1:]), ground)
        area(torch.cat([scoring.clean.probability, found.probability], 1))

    jobs: dict[str, Callable[[], object]] = {
        "bare forwards": lambda: bare(images),
        "bare forwards, channels last": lambda: bare(wide),
        "deletion": deletion,
    }
    quantus_deletion = _quantus(model, images, work, given.steps)
    if quantus_deletion is not None:
        jobs["Quantus PixelFlipping"] = quantus_deletion
    for job in jobs.values():
        job()
    seconds = interleaved(jobs, given.rounds)
    print(f"{given.photos} photos, {given.steps} steps, {given.threads} threads, median of {given.rounds} rounds")
    show(seconds, "bare forwards", "x bare forwards")
    show(seconds, "bare forwards, channels last", "x bare forwards, channels last")
    if quantus_deletion is not None:
        print(f"Quantus over own: {ratio(seconds['Quantus PixelFlipping'], seconds['deletion']):.1f}")
    for label, kind in (("control_noise", "scattered"), ("grad_cam", "blobs")):
        for share in (0.1, 0.5, 0.9):
            removed = first_removed(ranks[label], torch.tensor([share]))
            times = []
            for image, gone in zip(images, removed, strict=True):
                begun = time.perf_counter()
                impute(image[None], gone[None])
                times.append(time.perf_counter() - begun)
            middle, most = statistics.median(times), max(times)
            print(f"ROAD imputation, {kind:9} {share:.0%}: {middle:.3f} s a photo, at most {most:.3f}")


def _quantus(model: torch.nn.Module, images: torch.Tensor, work: Work, steps: int) -> Callable[[], object] | None:
    try:
        import quantus
    except ImportError:
        print("Quantus is not installed here: see this file's first lines for how to take it along")
        return None
    pixels = images[0, 0].numel()
    metric = quantus.PixelFlipping(features_in_step=pixels // steps, perturb_baseline="black", disable_warnings=True)
    maps = torch.nn.functional.interpolate(work.maps["grad_cam"], images.shape[2:]).expand_as(images).numpy()

    def run() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return metric(model, images.numpy(), work.targets.numpy(), maps, device="cpu")

    return run


if __name__ == "__main__":
    main()
