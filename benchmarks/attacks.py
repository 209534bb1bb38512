"""Success rates by our PGD beside torchattacks': interleaved rounds, CPU seconds and wall, medians and ratios.

    python benchmarks/attacks.py [rounds] [threads]

Both are asked the same: which of the twenty photos are fooled within epsilon by ten steps of epsilon / 4 from a random
start. torchattacks returns images, so its user pays one more forward for the verdict.
"""

import suite._torchvision

import statistics
import sys
import time
from collections.abc import Callable

import torch
import torchattacks

import suite
from suite.attacks.attack import bf16_supported
from suite.data.images import load_image
from suite.data.sources import list_images


def timed(job: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = job()
    return found, time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    rounds, threads = (int(word) for word in [*sys.argv[1:], *["5", "1"][len(sys.argv) - 1 :]][:2])
    torch.set_num_threads(threads)
    model = suite.load_model("squeezenet1_1").requires_grad_(False)
    files = list_images("embedded", classes=model.card.classes).files
    size = {"resize": model.card.resize, "crop": model.card.input_size}
    images = torch.stack([load_image(f.path, **size)[0] for f in files])
    labels = torch.tensor([f.label for f in files])
    ids = [f.id for f in files]

    def ours(epsilon: float, **more: object) -> torch.Tensor:
        return suite.attack(model, images, labels, "pgd", epsilon=epsilon, ids=ids, saved=False, **more).success

    def theirs(epsilon: float) -> torch.Tensor:
        made = torchattacks.PGD(model, eps=epsilon, alpha=epsilon / 4, steps=10)(images, labels)
        with torch.no_grad():
            return model(made).argmax(1) != labels

    print(f"{threads} threads, {rounds} rounds; seconds of CPU (wall); ratios are medians over rounds")
    for epsilon in (1, 4):
        radius = epsilon / 255
        jobs = {
            "torchattacks": lambda r=radius: theirs(r),
            "ours": lambda r=radius: ours(r),
            "ours, early stop": lambda r=radius: ours(r, early_stop=True),
        }
        if bf16_supported(images.device):
            jobs["ours, bf16 search"] = lambda r=radius: ours(r, early_stop=True, precision="bf16")
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
        fooled: dict[str, int] = {}
        for turn in range(rounds):
            names = list(jobs)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                found, cpu, wall = timed(jobs[name])
                seconds[name].append((cpu, wall))
                fooled[name] = int(found.sum())
        for name, spent in seconds.items():
            cpu, wall = (statistics.median(s[k] for s in spent) for k in (0, 1))
            ratio = statistics.median(t[0] / s[0] for t, s in zip(seconds["torchattacks"], spent, strict=True))
            print(
                f"{epsilon}/255  {name:17} {fooled[name]:2} of 20  {cpu:6.2f} ({wall:.2f})  {ratio:.2f} times as fast"
            )


if __name__ == "__main__":
    main()
