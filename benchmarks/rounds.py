"""Jobs timed in turns: all of them in each round, in an order that turns, ratios within a round."""

import statistics
import time
from collections.abc import Callable, Mapping

Clock = Callable[[], float]


def interleaved(
    jobs: Mapping[str, Callable[[], object]], rounds: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each job in each round, by `clock` (`time.process_time` for those of the processor)."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    for turn in range(rounds):
        place = turn % len(names)
        for name in names[place:] + names[:place]:
            begun = clock()
            jobs[name]()
            seconds[name].append(clock() - begun)
    return seconds


def ratio(above: list[float], below: list[float]) -> float:
    """The median over rounds of above / below."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def show(seconds: Mapping[str, list[float]], unit: str, words: str) -> None:
    """A line a job: its median, and what that is in runs of the job `unit`."""
    for name, taken in seconds.items():
        print(f"  {name:34} {statistics.median(taken):8.3f} s  {ratio(taken, seconds[unit]):7.2f} {words}")
