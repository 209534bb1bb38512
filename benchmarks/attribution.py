"""Four maps in one pass against Captum's four calls, and channels_last against the usual memory format.

    python benchmarks/attribution.py [--rounds 20] [--batch 10] [--threads 2]

The jobs of a round run one after the other, in an order that turns; ratios are taken within a round. SqueezeNet 1.1 on
the embedded photos. pytorch-grad-cam takes part where it is installed: `make benchmark NAME=attribution`.
"""

import suite._torchvision

import argparse
import warnings
from collections.abc import Callable

import torch
from rounds import interleaved, ratio, show

import suite
from suite.attribution.fused import as_methods, attribute
from suite.core.layers import default_layer, find_layer
from suite.core.state import in_use
from suite.data.images import load_image
from suite.data.sources import list_images
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
        "Grad-CAM, own": lambda: attribute(model, images, targets, ["grad_cam"]),
        "four maps, own": lambda: attribute(model, images, targets, FOUR),
        "four maps, Captum": lambda: [counterpart(m)(m, model, images, targets) for m in methods.values()],
        "four maps, own, channels_last": lambda: attribute(wide, other, targets, FOUR),
    }
    own, captums = jobs["four maps, own"](), jobs["four maps, Captum"]()
    equal = all(torch.equal(a, b) for a, b in zip(own.values(), captums, strict=True))
    theirs = _grad_cam(model, images, targets)
    if theirs is not None:
        jobs["Grad-CAM, pytorch-grad-cam"] = theirs
    seconds = interleaved(jobs, given.rounds)
    print(f"SqueezeNet 1.1, {len(images)} photos, {given.threads} threads, {given.rounds} rounds; bit-equal: {equal}")
    show(seconds, "forward and gradient", "passes")
    share = ratio(seconds["forward"], seconds["forward and gradient"])
    over = ratio(seconds["four maps, Captum"], seconds["four maps, own"])
    wide_over = ratio(seconds["four maps, own"], seconds["four maps, own, channels_last"])
    print(f"f, the forward's share of a pass     {share:.2f}, so two backwards cost 2 - f = {2 - share:.2f} passes")
    print(f"Captum's four calls over own         {over:.2f}")
    print(f"usual format over channels_last      {wide_over:.2f}")


def _grad_cam(model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor) -> Callable[[], object] | None:
    try:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    except ImportError:
        return None
    layer = find_layer(model, default_layer(model, images))
    wanted = [ClassifierOutputTarget(int(target)) for target in targets]

    def run() -> object:
        with GradCAM(model, [layer]) as made:
            return made(images, wanted)

    return run


if __name__ == "__main__":
    main()
