"""How everything is timed: contenders in turn, in short bursts between two probes of the machine's peak.

A burst is one call or some in a row, as short as the quiet spells of a shared machine; its time is the median call's.
Before each, the process sleeps: the threads of the contender before would still be waiting for work, busily, on the
cores of the next (ONNX Runtime's for some 30 ms). Then the multiply-add peak is probed on as many threads as are timed,
for some milliseconds; then the contender runs untimed until clock and caches have settled to it. A machine that is
shared falls, for seconds at a time, to a fraction of itself: bursts with a low peak before or after them do not count,
nor do those that other processes interrupted often, and where of a contender's bursts not two count and agree, all
contenders get more. Contenders take turns in rotating order, have equally many bursts, and each is given its best.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ._probe import Burst, Probe
from ._threads import threads

QUIET_SECONDS, LONGEST_QUIET_SECONDS = 0.060, 0.5
SETTLE_SECONDS, BURST_SECONDS = 0.003, 0.012
MOST_CALLS = 500
ROUNDS = 5


@dataclass(frozen=True)
class Contender:
    """Something to time: `call` does the work, and `read` makes arrays by name of what it returned."""

    name: str
    call: Callable[[], Any]
    read: Callable[[Any], dict[str, Any]] = field(default=lambda result: {})


def be_quiet() -> None:
    """Sleep until this process's threads have gone to sleep, too."""
    time.sleep(QUIET_SECONDS)
    end = time.perf_counter() + LONGEST_QUIET_SECONDS
    while time.perf_counter() < end:
        wall, busy = time.perf_counter(), time.process_time()
        time.sleep(0.005)
        if time.process_time() - busy < 0.2 * (time.perf_counter() - wall):
            return


def _settle(call: Callable[[], Any]) -> float:
    """Run untimed for a few milliseconds; the seconds of a call."""
    calls, begin = 0, time.perf_counter()
    while (taken := time.perf_counter() - begin) < SETTLE_SECONDS or not calls:
        call()
        calls += 1
    return taken / calls


def run_burst(call: Callable[[], Any], seconds: float | None = None) -> Burst:
    """Calls in a row, as many as fit, after some untimed milliseconds of them; the peak is left to be filled in."""
    estimate = _settle(call)
    calls = min(max(round((BURST_SECONDS if seconds is None else seconds) / estimate), 1), MOST_CALLS)
    taken = []
    used = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(calls):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    now = resource.getrusage(resource.RUSAGE_SELF)
    return Burst(
        seconds=statistics.median(taken),
        faults=(now.ru_minflt - used.ru_minflt) / calls,
        switches=now.ru_nivcsw - used.ru_nivcsw,
        duration=sum(taken),
    )


def in_turn(contenders: Iterable[Contender], probe: Probe, seconds: float | None = None) -> Iterator[tuple[str, Burst]]:
    """A burst of each contender by name, one after the other, each between two probes of the peak."""
    be_quiet()
    before = probe()
    for contender in contenders:
        burst = run_burst(contender.call, seconds)
        be_quiet()
        after = probe()
        yield contender.name, replace(burst, before=before, after=after)
        before = after


def bursts_of(call: Callable[[], Any], probe: Probe, seconds: float) -> list[Burst]:
    """Bursts of one call by itself, each of some seconds, on the threads of the caller."""
    return [burst for _, burst in in_turn([Contender("convkit", call)] * ROUNDS, probe, seconds)]


class Race:
    """Contenders on one task, and the bursts that they have run."""

    def __init__(self, contenders: Sequence[Contender], probe: Probe, bursts: dict[str, list[Burst]] | None = None):
        self.contenders, self.probe = list(contenders), probe
        self.bursts = {} if bursts is None else bursts
        self._turn = 0

    def run(self, rounds: int | None = None) -> None:
        """A burst of each contender in each round; who begins changes from round to round."""
        order = []
        for _ in range(ROUNDS if rounds is None else rounds):
            first = self._turn % len(self.contenders)
            self._turn += 1
            order += self.contenders[first:] + self.contenders[:first]
        with threads(self.probe.threads):
            for name, burst in in_turn(order, self.probe):
                self.bursts.setdefault(name, []).append(burst)
