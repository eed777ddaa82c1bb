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

import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import convkit

from .. import _probe

QUIET_SECONDS, LONGEST_QUIET_SECONDS = 0.060, 0.5
SETTLE_SECONDS, BURST_SECONDS = 0.003, 0.012
MOST_CALLS = 500
ROUNDS = 5
PEAK_FELL = 0.92  # a probe below this share of the best one has met a slow episode
FEW_SWITCHES, SWITCH_SECONDS = 1, 0.05  # a process beside us takes a core every few milliseconds, the system seldom
REPEATED = 1.08  # what shares caches and memory with us leaves no other trace than times that nothing repeats
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Contender:
    """Something to time: `call` does the work, and `read` makes arrays by name of what it returned."""

    name: str
    call: Callable[[], Any]
    read: Callable[[Any], dict[str, Any]] = field(default=lambda result: {})


@dataclass(frozen=True)
class Burst:
    """Calls in a row: the median's seconds, page faults of a call, and what the machine did meanwhile.

    `switches` is how often this process's threads had to give way to others, in the `duration` in seconds of the whole
    burst; `before` and `after` are the peak in GFLOP/s.
    """

    seconds: float
    faults: float = 0.0
    switches: int = 0
    duration: float = 0.0
    before: float = 0.0
    after: float = 0.0


class RaceProbe(_probe.Probe):
    """The machine's peak, and which bursts of a contender stand beside it."""

    def counts(self, burst: Burst) -> bool:
        """Whether the burst had the machine for itself; a later, higher peak may yet say that it had not."""
        at_peak = min(burst.before, burst.after) >= PEAK_FELL * self.best
        alone = burst.switches <= FEW_SWITCHES + burst.duration / SWITCH_SECONDS
        return at_peak and (alone or self.threads > CORES)

    def steady(self, bursts: Sequence[Burst]) -> bool:
        """Whether the best burst that counts has been repeated by another."""
        seconds = sorted(burst.seconds for burst in bursts if self.counts(burst))
        return len(seconds) > 1 and seconds[1] <= REPEATED * seconds[0]

    def best_of(self, bursts: Sequence[Burst]) -> Burst:
        """The fastest burst of those that count, or of all where none does."""
        return min([burst for burst in bursts if self.counts(burst)] or bursts, key=lambda burst: burst.seconds)


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


def run_burst(call: Callable[[], Any]) -> Burst:
    """Calls in a row, after some untimed milliseconds of them; the peak is left to be filled in."""
    estimate = _settle(call)
    calls = min(max(round(BURST_SECONDS / estimate), 1), MOST_CALLS)
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


class Race:
    """Contenders on one task, and the bursts that they have run."""

    def __init__(self, contenders: Sequence[Contender], probe: RaceProbe, bursts: dict[str, list[Burst]] | None = None):
        self.contenders, self.probe = list(contenders), probe
        self.bursts = {} if bursts is None else bursts
        self._turn = 0

    def run(self, rounds: int | None = None) -> None:
        """A burst of each contender in each round; who begins changes from round to round."""
        with convkit.threads(self.probe.threads):
            be_quiet()
            before = self.probe()
            for _ in range(ROUNDS if rounds is None else rounds):
                first = self._turn % len(self.contenders)
                self._turn += 1
                for contender in self.contenders[first:] + self.contenders[:first]:
                    burst = run_burst(contender.call)
                    be_quiet()
                    after = self.probe()
                    self.bursts.setdefault(contender.name, []).append(replace(burst, before=before, after=after))
                    before = after
