"""A sweep of k pictures as one batch against one at a time: interleaved rounds, CPU seconds and wall, medians.

    python benchmarks/synthesis.py [rounds] [threads] [pictures] [steps]

Runs on a GPU where there is one; wall time is then what counts.
"""

import suite._torchvision

import statistics
import sys
import time
from collections.abc import Callable

import torch

import suite
from suite.synthesis.class_visualization import Objective, Recipe, visualize


def timed(job: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    job()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    defaults = ["5", "2", "5", "20"]
    rounds, threads, count, steps = (int(word) for word in [*sys.argv[1:], *defaults[len(sys.argv) - 1 :]])
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = suite.load_model("squeezenet1_1").requires_grad_(False).to(device)
    objectives = [Objective(Recipe(steps=steps, rate=1.0 + 2 * k), target=113) for k in range(count)]
    jobs = {
        "one batch": lambda: visualize(model, objectives),
        "one at a time": lambda: [visualize(model, [objective]) for objective in objectives],
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for name in jobs:
        jobs[name]()  # warm
    for turn in range(rounds):
        for name in list(jobs)[:: 1 if turn % 2 else -1]:
            spent[name].append(timed(jobs[name]))
    print(f"{device}, {threads} threads, {count} pictures of {steps} steps, {rounds} rounds; medians")
    for name, seconds in spent.items():
        cpu, wall = (statistics.median(s[k] for s in seconds) for k in (0, 1))
        print(f"{name:14} CPU {cpu:7.2f} s, wall {wall:7.2f} s")
    pairs = list(zip(spent["one at a time"], spent["one batch"], strict=True))
    cpu, wall = (statistics.median(a[k] / b[k] for a, b in pairs) for k in (0, 1))
    print(f"one batch is {cpu:.2f} times as fast by CPU, {wall:.2f} by the clock")


if __name__ == "__main__":
    main()
