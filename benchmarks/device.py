"""Every method and PGD against Captum and torchattacks, on whatever device there is: one table of ratios.

    python benchmarks/device.py [--minutes 8] [--rounds 5] [--images 16] [--networks squeezenet1_1 resnet18 resnet50]
                                [--attacked 200] [--threads 2] [--tf32]

The jobs of a round run one after the other, in an order that turns; times (of the processor
where there is no card) are medians, ratios medians of the rounds'.
Both sides compute under the same numerics; what draws starts from other random numbers. On a card the libraries are
called as they are by default; on a CPU Captum is given the suite's chunks, which it needs to fit into memory. Without
a card the defaults are few images, one round and no ResNet-50. When the minutes are over, what is left is named.

SqueezeNet 1.1 has its embedded weights, others have random ones.
"""

import suite._torchvision

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torchattacks
from captum import attr
from rounds import interleaved, ratio
from torch import Tensor, nn

import suite
from suite.attribution.base import Attribution
from suite.attribution.fused import make_method, plan_cost
from suite.core.numerics import Numerics, numerics
from suite.core.state import in_use
from suite.data.images import load_image
from suite.data.sources import list_images
from suite.reference.captum import counterpart
from suite.run.environment import hardware

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from host_reads import HostReads

FOUR = ["saliency", "guided_backprop", "grad_cam", "guided_grad_cam"]
MANY = {
    "IG-50": ("integrated_gradients", {"steps": 50}),
    "SmoothGrad-50": ("smoothgrad", {"samples": 50}),
    "VarGrad-50": ("vargrad", {"samples": 50}),
    "GradientSHAP-20": ("gradient_shap", {"samples": 20}),
    "conductance-20": ("layer_conductance", {"steps": 20}),
    "occlusion": ("occlusion", {}),
}
CARD = torch.cuda.is_available()
Job = Callable[[], object]
Row = tuple[str, dict[str, Job], float | None]  # what, its jobs, the passes that it needs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    few = {"minutes": 8.0, "rounds": 5 if CARD else 1, "images": 16 if CARD else 2, "attacked": 200 if CARD else 8}
    for name, value in {**few, "threads": 2}.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    networks = ["squeezenet1_1", "resnet18", "resnet50"]
    parser.add_argument("--networks", nargs="+", default=networks if CARD else networks[:2])
    parser.add_argument("--tf32", action="store_true", help="fast numerics: TF32, nothing deterministic")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    warnings.filterwarnings("ignore", module="captum")
    torch.manual_seed(0)
    machine = hardware()
    device = f"{machine['accelerator']}, driver {machine['driver']}" if CARD else f"CPU: {machine['processor']}"
    print(f"{device}; torch {torch.__version__}, {asked.threads} threads, {asked.images} images, {asked.rounds} rounds")
    print(
        f"{'':28} {'ours ms':>9} {'library':>9} {'ratio':>6} {'passes':>7} {'floor':>6} {'reads':>5} {'MiB':>6} library"
    )
    end, left = time.monotonic() + 60 * asked.minutes, list[str]()
    with numerics(Numerics(tf32=asked.tf32, deterministic=not asked.tf32)) as without:
        overhead()
        for name in asked.networks:
            model, images, targets = on_device(name, asked.images)
            twice(name, model, images, targets)
            bare = timed({"pass": lambda m=model, x=images, t=targets: bare_pass(m, x, t)}, 3)["pass"]
            rows = attributions(model, images, targets)
            rows += attacks(model, asked.attacked) if name == "squeezenet1_1" else []
            for what, jobs, floor in rows:
                if time.monotonic() > end:
                    left.append(f"{name}: {what}")
                else:
                    line(f"{name[:10]} {what}", jobs, asked.rounds, statistics.median(bare), floor)
    if left:
        print(f"not measured, the time was over: {', '.join(left)}")
    if without:
        print(f"no deterministic form: {', '.join(sorted(without))}")


def on_device(name: str, count: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A network, photos (repeated where there are too few), and its own top classes."""
    model = suite.load_model(name, **({} if name == "squeezenet1_1" else {"weights": "random"}))
    files = list_images("embedded", classes=model.card.classes, limit=min(count, 20)).files
    size = {"resize": model.card.resize, "crop": model.card.input_size}
    images = torch.stack([load_image(file.path, **size)[0] for file in files])
    images = images.repeat(-(-count // len(images)), 1, 1, 1)[:count]
    device = "cuda" if CARD else "cpu"
    model, images = model.to(device).requires_grad_(False), images.to(device)
    with torch.no_grad():
        return model, images, model(images).argmax(1)


def bare_pass(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    pixels = images.detach().requires_grad_()
    with in_use(model):
        return torch.autograd.grad(model(pixels).gather(1, targets[:, None]).sum(), pixels)[0]


def attributions(model: nn.Module, images: Tensor, targets: Tensor) -> list[Row]:
    """Four maps together, then each method of many passes."""
    ids = [str(i) for i in range(len(images))]
    methods = {method: make_method(method) for method in FOUR}
    forward, whole = (
        statistics.median(timed({"job": job}, 3)["job"])
        for job in (lambda: suite_forward(model, images), lambda: bare_pass(model, images, targets))
    )
    share = min(1.0, forward / whole)

    def floor(*asked: Attribution) -> float:
        cost = plan_cost(asked)
        return share * cost.forwards + (1 - share) * cost.backwards

    four = {
        "ours": lambda: suite.attribute(model, images, targets, FOUR, ids=ids),
        "library": lambda: [counterpart(m)(m, model, images, targets) for m in methods.values()],
    }
    rows: list[Row] = [("four maps", four, floor(*methods.values()))]
    for what, (method_name, parameters) in MANY.items():
        method = make_method(method_name, parameters)
        jobs = {
            "ours": lambda m=method: suite.attribute(model, images, targets, [m], ids=ids),
            "library": lambda m=method, what=what: captums(what, m, model, images, targets),
        }
        rows.append((what, jobs, floor(method)))  # occlusion's windows are counted at 224 x 224
    return rows


def suite_forward(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images)


def captums(what: str, method: Attribution, model: nn.Module, images: Tensor, targets: Tensor) -> object:
    """Captum by its defaults on a card, in chunks on a CPU."""
    if CARD and what == "IG-50":
        return attr.IntegratedGradients(model).attribute(images, target=targets, n_steps=50)
    if CARD and what in ("SmoothGrad-50", "VarGrad-50"):
        kind = what.partition("-")[0].lower()
        options = {"nt_type": kind, "nt_samples": 50, "stdevs": 0.15, "abs": False}
        return attr.NoiseTunnel(attr.Saliency(model)).attribute(images, target=targets, **options)
    return counterpart(method)(method, model, images, targets)


def attacks(model: nn.Module, count: int) -> list[Row]:
    """PGD-10 at 1/255 with and without early stop, against torchattacks with the forward that gives its verdict."""
    _, images, labels = on_device("squeezenet1_1", count)
    ids, epsilon = [str(i) for i in range(count)], 1 / 255

    def ours(**options: object) -> object:
        return suite.attack(model, images, labels, "pgd", epsilon=epsilon, ids=ids, saved=False, **options)

    def library() -> object:
        moved = torchattacks.PGD(model, eps=epsilon, alpha=epsilon / 4, steps=10)(images, labels)
        return suite_forward(model, moved).argmax(1) != labels

    return [
        (f"PGD-10, {count} images", {"ours": ours, "library": library}, None),
        ("PGD-10, early stop", {"ours": lambda: ours(early_stop=True), "library": library}, None),
    ]


def synchronised(job: Job) -> Job:
    def run() -> None:
        job()
        if CARD:
            torch.cuda.synchronize()

    return run


def timed(jobs: dict[str, Job], rounds: int) -> dict[str, list[float]]:
    """Seconds on the wall on a card, of the processor without one."""
    clock = time.perf_counter if CARD else time.process_time
    return interleaved({name: synchronised(job) for name, job in jobs.items()}, rounds, clock)


def peak(job: Job) -> float:
    """MiB at the peak on a card, what stood there before left out; the job's first run."""
    if not CARD:
        job()
        return float("nan")
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    synchronised(job)()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def line(what: str, jobs: dict[str, Job], rounds: int, bare: float, floor: float | None) -> None:
    peaks = {"library": peak(jobs["library"])}
    with HostReads() as reads:
        peaks["ours"] = peak(jobs["ours"])
    seconds = timed(jobs, rounds)
    own, library = (1000 * statistics.median(seconds[name]) for name in ("ours", "library"))
    over, floors = ratio(seconds["ours"], seconds["library"]), "" if floor is None else f"{floor:.2f}"
    passes = "" if floor is None else f"{own / 1000 / bare:.2f}"
    memory = [f"{peaks[name]:.0f}" if CARD else "" for name in ("ours", "library")]
    print(
        f"{what:28} {own:9.1f} {library:9.1f} {over:6.2f} {passes:>7} {floors:>6} {reads.count:5} "
        f"{memory[0]:>6} {memory[1]}".rstrip(),
        flush=True,
    )


def twice(name: str, model: nn.Module, images: Tensor, targets: Tensor) -> None:
    """Whether two equal calls of all methods give the same bits."""
    methods = {name: make_method(name) for name in FOUR}
    methods |= {what: make_method(*of) for what, of in MANY.items()} if CARD else {}
    first, second = (suite.attribute(model, images, targets, methods) for _ in range(2))
    differ = [label for label in first if not torch.equal(first[label], second[label])]
    print(
        f"{name}: two equal calls {f'differ in {differ}' if differ else 'are the same bits'} ({len(methods)} methods)"
    )


def overhead() -> None:
    """What names, checks and contexts cost on a network of 16 x 16 pixels: milliseconds over its bare passes."""
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)).eval()
    images, targets, ids = torch.rand(4, 3, 16, 16), torch.arange(4), list("abcd")
    if CARD:
        model, images, targets = model.cuda(), images.cuda(), targets.cuda()

    def passes() -> None:
        pixels = images.detach().requires_grad_()
        total = model(pixels).gather(1, targets[:, None]).sum()
        torch.autograd.grad(total, pixels, retain_graph=True)
        torch.autograd.grad(total, pixels)

    def step() -> None:
        pixels = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(pixels), targets), pixels)
        (images + torch.clamp(images + 0.01 * gradient.sign() - images, -0.03, 0.03)).clamp(0, 1)

    def attacked(steps: int) -> Job:
        return lambda: suite.attack(model, images, targets, "pgd", steps=steps, ids=ids, saved=False)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    jobs: dict[str, Job] = {"passes": passes, "four": lambda: suite.attribute(model, images, targets, FOUR)}
    jobs |= {"step": step, "10 steps": attacked(10), "20 steps": attacked(20)}
    timed(jobs, 3)
    seconds = timed(jobs, 50)
    torch.set_num_threads(threads)

    def median(over: Callable[..., float], *names: str) -> float:
        return 1000 * statistics.median(over(*values) for values in zip(*(seconds[n] for n in names), strict=True))

    four = median(lambda call, bare: call - bare, "four", "passes")
    each = median(lambda twenty, ten, bare: (twenty - ten) / 10 - bare, "20 steps", "10 steps", "step")
    print(f"over bare passes of a tiny network: four maps by name {four:.2f} ms, a step of PGD {each:.2f} ms")


if __name__ == "__main__":
    main()
