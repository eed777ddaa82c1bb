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
UNSTEADY = "unsteady: other work was using the machine, so that figures may be off either way"
FEWER = 4  # times, the products of Winograd's algorithm than those that are counted
WINOGRAD_ABOVE = "above 100 %: Winograd's algorithm takes down to a quarter of the products that are counted"
CACHES_ABOVE = "above the roofline: data that the caches hold, whose bandwidth is higher than memory's"
BUSY_ABOVE = "above 100 %: other work was using the machine while its peak was measured"


def why_above(winograd: bool, share: float) -> str:
    """Why something is above the roofline, with that share of the multiply-add peak."""
    return CACHES_ABOVE if share <= 1 else WINOGRAD_ABOVE if winograd and share <= FEWER else BUSY_ABOVE


class Probe:
    """The machine on some threads, for one dtype: its multiply-add peak in GFLOP/s, as it is now and at its `best`.

    `triad` is the highest memory bandwidth seen, in GB/s. `peak` has the highest figures of whole measurements, also of
    `others`, which are more dtypes; `moved` says whether any has differed.
    """

    def __init__(self, dtype: str, threads: int, *others: str) -> None:
        self.dtype, self.threads, self.moved = dtype, threads, False
        self._dtypes = (dtype, *others)
        self._first = self.peak = self._measured()
        self.best, self.triad = self.peak.gflops[dtype][threads], self.peak.triad

    def _measured(self) -> Peak:
        """With one thread, too: several are as fast at least, also where other work holds up one of them."""
        return machine_peak(dtypes=self._dtypes, threads={1, self.threads}, seconds=FULL_SECONDS)

    def renew(self) -> None:
        """Measure all again, after what was timed."""
        now, first, high = self._measured(), self._first, {}
        pairs = [(first.triad, now.triad)]
        for dtype, rates in now.gflops.items():
            pairs += [(first.gflops[dtype][n], rate) for n, rate in rates.items()]
            high[dtype] = {n: max(rate, self.peak.gflops[dtype][n]) for n, rate in rates.items()}
        self.moved = self.moved or any(max(pair) > min(pair) * (1 + MOVED) for pair in pairs)
        self.best, self.triad = max(self.best, high[self.dtype][self.threads]), max(self.triad, now.triad)
        self.peak = Peak(now.isa, high, self.triad)

    def __call__(self, seconds: float = 0.0) -> float:
        """The peak now: the best of the rounds of a millisecond in `seconds`, and of three at least."""
        now = engine.measure_fma(self.dtype, self.threads, seconds) / 1e9
        self.best = max(self.best, now)
        return now

    def __str__(self) -> str:
        return f"peak {self.best:.0f} GFLOP/s, triad {self.triad:.0f} GB/s"
