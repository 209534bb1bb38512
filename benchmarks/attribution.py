"""Four maps in one pass against Captum's four calls, and channels_last against the usual memory format.

    python benchmarks/attribution.py [--rounds 20] [--batch 10] [--threads 2]

The jobs of a round run one after the other, in an order that turns; ratios are taken within a round. SqueezeNet 1.1 on
the embedded photos.
"""

import suite._torchvision

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch

import suite
from suite.attribution.fused import as_methods, attribute
from suite.data.images import load_image
from suite.data.sources import list_images
from suite.models.state import in_use
from suite.reference.captum import counterpart

FOUR = ["saliency", "guided_backprop", "grad_cam", "guided_grad_cam"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore", module="captum")

    model, wide = suite.load_model("squeezenet1_1"), suite.load_model("squeezenet1_1")
    wide.to(memory_format=torch.channels_last)
    card = model.card
    files = list_images("embedded", classes=card.classes, limit=given.batch).files
    images = torch.stack([load_image(f.path, resize=card.resize, crop=card.input_size)[0] for f in files])
    targets = torch.tensor([file.label for file in files])
    other = images.contiguous(memory_format=torch.channels_last)
    methods = as_methods(FOUR)

    def bare() -> None:
        with in_use(model):
            pixels = images.detach().requires_grad_()
            torch.autograd.grad(model(pixels).gather(1, targets[:, None]).sum(), pixels)

    def forward() -> None:
        with torch.no_grad():
            model(images)

    jobs: dict[str, Callable[[], object]] = {
        "forward": forward,
        "forward and gradient": bare,
        "four maps, own": lambda: attribute(model, images, targets, FOUR),
        "four maps, Captum": lambda: [counterpart(m)(m, model, images, targets) for m in methods.values()],
        "four maps, own, channels_last": lambda: attribute(wide, other, targets, FOUR),
    }
    own, theirs = jobs["four maps, own"](), jobs["four maps, Captum"]()
    equal = all(torch.equal(a, b) for a, b in zip(own.values(), theirs, strict=True))
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    for turn in range(given.rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            jobs[name]()
            seconds[name].append(time.perf_counter() - start)

    def ratio(a: str, b: str) -> float:
        return statistics.median(x / y for x, y in zip(seconds[a], seconds[b], strict=True))

    print(f"SqueezeNet 1.1, {len(images)} photos, {given.threads} threads, {given.rounds} rounds; bit-equal: {equal}")
    for name, taken in seconds.items():
        print(f"  {name:32} {statistics.median(taken):7.3f} s  {ratio(name, 'forward and gradient'):5.2f} passes")
    share = ratio("forward", "forward and gradient")
    print(f"f, the forward's share of a pass     {share:.2f}, so two backwards cost 2 - f = {2 - share:.2f} passes")
    print(f"Captum's four calls over own         {ratio('four maps, Captum', 'four maps, own'):.2f}")
    print(f"usual format over channels_last      {ratio('four maps, own', 'four maps, own, channels_last'):.2f}")


if __name__ == "__main__":
    main()
