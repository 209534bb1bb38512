"""The weight audit of four maps beside Quantus's MPRT: 8 photos, each single layer from the top, full maps.

    make benchmark NAME=sanity            (an environment of its own: Quantus is LGPL and no dependency)
    python benchmarks/sanity.py [--rounds 1] [--photos 8] [--threads 2] [--measures 1]      the suite alone

Both audits get the same network, photos and layers; the jobs of a round run one after the other, ratios are taken
within it. One measure is Spearman of absolute maps, two (`OPTIONS="--measures 2"`) add that of signed ones, for which
Quantus runs anew and the suite compares the maps that it has. Quantus 0.6.0's MPRT takes no other of its own measures:
they return lists, or refuse images, and it stops.
"""

import suite._torchvision

import argparse
import copy
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from rounds import interleaved, ratio, show

import suite
from suite.attribution.fused import as_methods, attribute_each
from suite.core.network import scores_of
from suite.core.state import in_use
from suite.data.images import load_image
from suite.data.sources import list_images
from suite.models.blocks import blocks_of, randomised
from suite.reference.captum import counterpart
from suite.sanity.compared import Compared, Measure

FOUR = ["saliency", "guided_backprop", "grad_cam", "guided_grad_cam"]
MEASURES = [Measure("spearman", "abs", 1), Measure("spearman", "signed", 1)]
OURS, BARE, THEIRS = "audit of four methods", "bare passes", "Quantus's MPRT, four methods"
LAST = "the audit, in channels_last"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("rounds", 1), ("photos", 8), ("threads", 2), ("measures", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    measures = MEASURES[: given.measures]
    torch.set_num_threads(given.threads)

    model = suite.load_model("squeezenet1_1").requires_grad_(False)
    card = model.card
    files = list_images("embedded", classes=card.classes).files[: given.photos]
    images = torch.stack([load_image(f.path, resize=card.resize, crop=card.input_size)[0] for f in files])
    targets = torch.tensor([f.label for f in files])
    methods, size = as_methods(FOUR), (images.shape[2], images.shape[3])
    blocks = blocks_of(model, images, "layer")[::-1]

    def bare() -> None:
        for _ in range(len(blocks) + 1):
            with in_use(model):
                pixels = images.clone().requires_grad_()
                torch.autograd.grad(scores_of(model, pixels).gather(1, targets[:, None]).sum(), pixels)

    def audit(network: torch.nn.Module, pixels: torch.Tensor) -> None:
        def ready() -> dict[str, Compared]:
            found = attribute_each(network, pixels, targets, methods)
            return {label: Compared(maps, measures, size) for label, maps in found.items()}

        intact = ready()
        layers = blocks_of(network, pixels, "layer")[::-1]
        for count in range(1, len(layers) + 1):
            with randomised(network, layers[:count], seed=0, draw=0):
                for label, found in ready().items():
                    for measure in measures:
                        intact[label].similarity(measure, found)

    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    jobs: dict[str, Callable[[], object]] = {
        BARE: bare,
        OURS: lambda: audit(model, images),
        LAST: lambda: audit(last, images.contiguous(memory_format=torch.channels_last)),
    }
    theirs = _quantus(methods, model, images, targets, given.measures)
    if theirs is not None:
        jobs[THEIRS] = theirs
    seconds = interleaved(jobs, given.rounds)
    print(
        f"SqueezeNet 1.1, {len(images)} photos, {len(blocks)} layers, {len(measures)} measures, {given.threads} threads"
    )
    show(seconds, BARE, "x the bare passes")
    if theirs is not None:
        for name in (OURS, LAST):
            print(f"Quantus over {name}: {ratio(seconds[THEIRS], seconds[name]):.1f}")


def _quantus(
    methods: dict[str, Any], model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor, measures: int
) -> Callable[[], object] | None:
    try:
        import quantus
    except ImportError:
        print("Quantus is not installed here: see this file's first lines for how to take it along")
        return None
    similar = quantus.similarity_func
    pairs = [(similar.correlation_spearman, True), (similar.correlation_spearman, False)]

    def explainer(method: Any, absolute: bool) -> Callable[..., np.ndarray]:
        def explain(model: torch.nn.Module, inputs: Any, targets: Any, **_: object) -> np.ndarray:
            x, y = torch.as_tensor(inputs, dtype=torch.float32), torch.as_tensor(targets)
            found = counterpart(method)(method, model, x, y)
            found = torch.nn.functional.interpolate(found, size=x.shape[2:], mode="bilinear")
            return (found.abs() if absolute else found).sum(1, keepdim=True).numpy()

        return explain

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for (measure, absolute), method in product(pairs[:measures], methods.values()):
                metric = quantus.MPRT(
                    layer_order="top_down",
                    similarity_func=measure,
                    abs=absolute,
                    disable_warnings=True,
                    display_progressbar=False,
                )
                metric(
                    model=model,
                    x_batch=images.numpy(),
                    y_batch=targets.numpy(),
                    explain_func=explainer(method, absolute),
                    device="cpu",
                    batch_size=len(images),
                )

    return run


if __name__ == "__main__":
    main()
