"""This machine's peak beside what is timed: short bursts before it, in between and after, of which the highest counts.

Other work on a machine lowers its peak, for milliseconds or for seconds; nothing raises it. So a peak from one short
measurement is too low whenever it met such a moment, and shares of it are above 100 %.
"""

from __future__ import annotations

from ._ext import engine
from .machine import Peak, machine_peak

FULL_SECONDS = 0.05  # for each figure of a measurement that is no burst between others
BETWEEN_SECONDS = 0.01  # of a burst between others, beside calls of which the best of many counts
MOVED = 0.1  # two measurements of the peak, on a quiet machine, differ by less than this
UNSTEADY = (
    f"unsteady: this machine's peak moved by more than {MOVED:.0%} between two measurements: other work was using it, "
    "so that figures may be off either way"
)
FEWER = 4  # times, the products of Winograd's algorithm than those that are counted
WINOGRAD_ABOVE = "above 100 %: Winograd's algorithm takes down to a quarter of the products that are counted"
CACHES_ABOVE = "above the roofline: data that the caches hold, whose bandwidth is higher than memory's"
BUSY_ABOVE = "above 100 %: other work was using the machine while its peak was measured"


def why_above(winograd: bool, share: float) -> str:
    """Why something is above the roofline, with that share of the multiply-add peak."""
    return CACHES_ABOVE if share <= 1 else WINOGRAD_ABOVE if winograd and share <= FEWER else BUSY_ABOVE


def highest(first: Peak, second: Peak) -> Peak:
    """The higher of two measurements, figure by figure."""
    gflops = {
        dtype: {threads: max(rate, second.gflops[dtype][threads]) for threads, rate in rates.items()}
        for dtype, rates in first.gflops.items()
    }
    return Peak(first.isa, gflops, max(first.triad, second.triad))


def moved(first: Peak, second: Peak) -> bool:
    """Whether any figure of two measurements differs by more than it does on a quiet machine."""
    pairs = [(rate, second.gflops[dtype][n]) for dtype, rates in first.gflops.items() for n, rate in rates.items()]
    return any(max(pair) > min(pair) * (1 + MOVED) for pair in [*pairs, (first.triad, second.triad)])


class Probe:
    """The machine on some threads, for one dtype: its multiply-add peak in GFLOP/s, as it is now and at its `best`.

    `triad` is the highest memory bandwidth seen, in GB/s; `moved` says whether measurements of both have differed.
    """

    def __init__(self, dtype: str, threads: int) -> None:
        self.dtype, self.threads, self.moved = dtype, threads, False
        self._first = self._peak()
        self.best, self.triad = self._first.gflops[dtype][threads], self._first.triad

    def _peak(self) -> Peak:
        return machine_peak(dtypes=(self.dtype,), threads={1, self.threads}, seconds=FULL_SECONDS)

    def renew(self) -> None:
        """Measure both again, after what was timed."""
        now = self._peak()
        self.moved = self.moved or moved(self._first, now)
        self.best, self.triad = max(self.best, now.gflops[self.dtype][self.threads]), max(self.triad, now.triad)

    def __call__(self, seconds: float = 0.0) -> float:
        """The peak now: the best of the rounds of a millisecond in `seconds`, and of three at least."""
        now = engine.measure_fma(self.dtype, self.threads, seconds) / 1e9
        self.best = max(self.best, now)
        return now

    def __str__(self) -> str:
        return f"peak {self.best:.0f} GFLOP/s, triad {self.triad:.0f} GB/s"
