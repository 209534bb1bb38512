"""Speed: what each map costs, in the bare passes that no method can avoid. Rows are raw samples, not medians."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from suite.attribution.base import Attribution
from suite.attribution.fused import attribute_each, plan_cost
from suite.config import RunConfig
from suite.core.network import scores_of
from suite.core.passes import Cost, predict
from suite.core.state import in_use
from suite.errors import unavailable
from suite.reference.captum import counterpart
from suite.results.schema import Keys
from suite.studies.base import Outcome, Row, Rows, Study, Work
from suite.studies.speed.clock import peak_bytes, synchronise
from suite.studies.speed.config import SpeedConfig


@dataclass(frozen=True)
class _Job:
    method: str
    implementation: str
    stage: str
    run: Callable[[], object]


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Collects before and not during: a collection of all that the libraries hold costs more than a small pass."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _seconds(job: _Job, device: torch.device) -> float:
    synchronise(device)
    start = time.perf_counter()
    job.run()
    synchronise(device)
    return time.perf_counter() - start


class Speed(Study):
    """Bare passes, own maps and Captum's, interleaved; the order turns each round, so that no job is always first."""

    name: ClassVar[str] = "speed"
    keys: ClassVar[Keys] = {"implementation": str, "job": str, "photos": int, "round": int}
    once: ClassVar[bool] = True

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        own = plan_cost(methods.values())
        single = sum((m.cost() for m in methods.values()), Cost())
        rounds = config.section(SpeedConfig).rounds + 1
        return Cost((own.forwards + 2 * single.forwards) * rounds, (own.backwards + 2 * single.backwards) * rounds)

    def run(self, work: Work) -> Outcome:
        settings = work.config.section(SpeedConfig)
        rows = self._undefined(work)
        timed, jobs = len(work.methods) - len(rows), self._jobs(work, one_by_one=settings.one_by_one)
        device = work.images.device
        for job in jobs:  # warm-up, and what each job holds at its peak
            peak = peak_bytes(job.run, device) if settings.memory else job.run()
            if isinstance(peak, int):
                rows.append(self._row(work, job, "peak_memory", peak / 2**20, "MiB"))
        for draw in range(settings.rounds):
            turn = draw % len(jobs)
            with _no_garbage():
                seconds = {job: _seconds(job, device) for job in jobs[turn:] + jobs[:turn]}
            bare = {job.stage: s for job, s in seconds.items() if job.method == "forward_and_gradient"}
            captum = [s for job, s in seconds.items() if job.implementation == "captum"]
            if len(captum) == timed:  # one call a method is all that there is to time
                seconds[_Job("all methods", "captum", "batch", tuple)] = sum(captum)
            for job in seconds:
                rows.append(self._row(work, job, "seconds", seconds[job], "s", draw))
                rows.append(self._row(work, job, "passes", seconds[job] / bare[job.stage], "bare passes", draw))
        return Outcome(rows)

    def _undefined(self, work: Work) -> Rows:
        """Why a method is not timed."""
        fields = {"implementation": "own", "job": "batch", "photos": len(work.images), "metric": "seconds"}
        missing = {label: why for label, why in work.maps.items() if not isinstance(why, Tensor)}
        return [work.columns(self.name, label) | fields | unavailable(why) for label, why in missing.items()]

    def _row(self, work: Work, job: _Job, metric: str, value: float, unit: str, draw: int | None = None) -> Row:
        fields = {"implementation": job.implementation, "job": job.stage, "photos": len(work.images), "round": draw}
        return work.columns(self.name, job.method) | fields | {"metric": metric, "value": value, "unit": unit}

    def _jobs(self, work: Work, *, one_by_one: bool) -> list[_Job]:
        model, images, targets = work.model, work.images, work.targets
        defined = {label: m for label, m in work.methods.items() if isinstance(work.maps[label], Tensor)}

        def bare(batch: Tensor, classes: Tensor) -> object:
            with in_use(model):
                pixels = batch.detach().requires_grad_()
                return torch.autograd.grad(scores_of(model, pixels).gather(1, classes.unsqueeze(1)).sum(), pixels)

        def own(batch: Tensor, classes: Tensor) -> object:
            return attribute_each(model, batch, classes, defined)

        def each(call: Callable[[Tensor, Tensor], object]) -> object:
            return [call(images[i : i + 1], targets[i : i + 1]) for i in range(len(images))]

        jobs = [
            _Job("forward", "bare", "batch", partial(predict, model, images)),
            _Job("forward_and_gradient", "bare", "batch", partial(bare, images, targets)),
        ]
        for label, method in defined.items():
            jobs.append(_Job(label, "own", "batch", partial(method, model, images, targets)))
            if (reference := counterpart(method)) is not None:
                jobs.append(_Job(label, "captum", "batch", partial(reference, method, model, images, targets)))
        jobs.append(_Job("all methods", "own", "batch", partial(own, images, targets)))
        if one_by_one:
            jobs.append(_Job("forward_and_gradient", "bare", "one_by_one", partial(each, bare)))
            jobs.append(_Job("all methods", "own", "one_by_one", partial(each, own)))
        return jobs


STUDY = Speed()
