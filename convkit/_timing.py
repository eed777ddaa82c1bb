"""How long a call takes, where a quick answer will do; `convkit.benchmarks.timing` takes more care."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def timed(call: Callable[[], Any], seconds: float) -> list[float]:
    """Seconds of each of as many calls in a row as fit into some seconds, of one at least."""
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def best_time(call: Callable[[], Any], bursts: int, seconds: float, after: Callable[[], Any] | None = None) -> float:
    """The median call's of the best of some bursts, each of some seconds; `after` each, something else may be done."""
    medians = []
    for _ in range(bursts):
        medians.append(statistics.median(timed(call, seconds)))
        if after is not None:
            after()
    return min(medians)
