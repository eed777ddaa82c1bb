"""This machine's peak beside what is timed: short bursts before it, in between and after, of which the highest counts.

Other work on a machine lowers its peak, for milliseconds or for seconds; nothing raises it. So a peak from one short
measurement is too low whenever it met such a moment, and shares of it are above 100 %.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ._ext import engine
from .machine import Peak, machine_peak

FULL_SECONDS = 0.05  # for each figure of a measurement that is no burst between others
MOVED = 0.1  # two measurements of the peak, on a quiet machine, differ by less than this
PEAK_FELL = 0.92  # a probe below this share of the best one has met a slow episode
FEW_SWITCHES, SWITCH_SECONDS = 1, 0.05  # a process beside us takes a core every few milliseconds, the system seldom
ROSE = 1.01  # a peak or bandwidth that is higher by this is another one; by less, shares would hardly read differently
SETTLED, MOST_MEASURED = 3, 12  # measurements that are to find nothing higher, of so many at most
REPEATED = 1.08  # what shares caches and memory with us leaves no other trace than times that nothing repeats
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
UNSTEADY = "unsteady: other work was using the machine, so that figures may be off either way"
FEWER = 4  # times, the products of Winograd's algorithm than those that are counted
WINOGRAD_ABOVE = "above 100 %: Winograd's algorithm takes down to a quarter of the products that are counted"
CACHES_ABOVE = "above the roofline: data that the caches hold, whose bandwidth is higher than memory's"
BUSY_ABOVE = "above 100 %: other work was using the machine while its peak was measured"
MARKS = {WINOGRAD_ABOVE: "*", CACHES_ABOVE: "+", BUSY_ABOVE: "!"}  # of what is above the roofline, in a table


def why_above(winograd: bool, share: float) -> str:
    """Why something is above the roofline, with that share of the multiply-add peak."""
    return CACHES_ABOVE if share <= 1 else WINOGRAD_ABOVE if winograd and share <= FEWER else BUSY_ABOVE


@dataclass
class Roof:
    """What shares are of: a multiply-add peak in GFLOP/s and a memory bandwidth in GB/s.

    All rows of a table share one, so that whatever is said of them agrees, though a higher peak is seen meanwhile.
    """

    gflops: float
    triad: float

    def __str__(self) -> str:
        return f"peak {self.gflops:.0f} GFLOP/s, triad {self.triad:.0f} GB/s"


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


def _switches() -> int:
    """How often the threads of this process have had to give way to others."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


class Probe:
    """The machine on some threads, for one dtype: its multiply-add peak in GFLOP/s, as it is now and at its `best`.

    `triad` is the highest memory bandwidth seen, in GB/s. `peak` has the highest figures of whole measurements, also of
    `others`, which are more dtypes; `disturbed` says whether any has differed, or all were interrupted. `roof` is what
    had been seen when it was settled or renewed: in between, only `best` follows what is seen.
    """

    def __init__(self, dtype: str, threads: int, *others: str) -> None:
        self.dtype, self.threads, self.disturbed, self._alone = dtype, threads, False, False
        self._dtypes = (dtype, *others)
        self._first = self.peak = self._measured()
        self.best, self.triad = self.peak.gflops[dtype][threads], self.peak.triad
        self.roof = Roof(self.best, self.triad)

    def settle(self) -> Roof:
        """A new roof, from measurements that go on until some of them find nothing higher."""
        lower = 0
        for _ in range(MOST_MEASURED):
            now = self._measured()
            best, triad = now.gflops[self.dtype][self.threads], now.triad
            lower = 0 if best > ROSE * self.best or triad > ROSE * self.triad else lower + 1
            self.best, self.triad = max(self.best, best), max(self.triad, triad)
            if lower == SETTLED:
                break
        self.roof = Roof(self.best, self.triad)
        return self.roof

    def _measured(self) -> Peak:
        """With one thread, too: several are as fast at least, also where other work holds up one of them."""
        begun, before = time.perf_counter(), _switches()
        peak = machine_peak(dtypes=self._dtypes, threads={1, self.threads}, seconds=FULL_SECONDS)
        self._alone = self._seldom(_switches() - before, time.perf_counter() - begun) or self._alone
        return peak

    def _seldom(self, switches: int, seconds: float) -> bool:
        """Whether so many interruptions may be the system's."""
        return switches <= FEW_SWITCHES + seconds / SWITCH_SECONDS or self.threads > CORES

    def renew(self) -> bool:
        """Measure all again, after what was timed, and raise the roof; whether it rose."""
        now, first, high = self._measured(), self._first, {}
        pairs = [(first.triad, now.triad)]
        for dtype, rates in now.gflops.items():
            pairs += [(first.gflops[dtype][n], rate) for n, rate in rates.items()]
            high[dtype] = {n: max(rate, self.peak.gflops[dtype][n]) for n, rate in rates.items()}
        moved = any(max(pair) > min(pair) * (1 + MOVED) for pair in pairs)
        self.disturbed = self.disturbed or moved or not self._alone
        self.best, self.triad = max(self.best, high[self.dtype][self.threads]), max(self.triad, now.triad)
        self.peak = Peak(now.isa, high, self.triad)
        rose = self.best > ROSE * self.roof.gflops or self.triad > ROSE * self.roof.triad
        if rose:
            self.roof.gflops, self.roof.triad = self.best, self.triad
        return rose

    def __call__(self) -> float:
        """The peak now, in a burst of a few milliseconds."""
        now = engine.measure_fma(self.dtype, self.threads, 0.0) / 1e9
        self.best = max(self.best, now)
        return now

    def counts(self, burst: Burst) -> bool:
        """Whether the burst had the machine for itself; a later, higher peak may yet say that it had not."""
        at_peak = min(burst.before, burst.after) >= PEAK_FELL * self.best
        return at_peak and self._seldom(burst.switches, burst.duration)

    def steady(self, bursts: Sequence[Burst]) -> bool:
        """Whether the best burst that counts has been repeated by another."""
        seconds = sorted(burst.seconds for burst in bursts if self.counts(burst))
        return len(seconds) > 1 and seconds[1] <= REPEATED * seconds[0]

    def unsteady(self, bursts: Sequence[Burst]) -> bool:
        """Whether other work was using the machine while the peak was measured, or in all of a call's bursts."""
        return self.disturbed or not self.steady(bursts)

    def best_of(self, bursts: Sequence[Burst]) -> Burst:
        """The fastest burst of those that count, or of all where none does."""
        return min([burst for burst in bursts if self.counts(burst)] or bursts, key=lambda burst: burst.seconds)
