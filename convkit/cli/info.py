"""`convkit info`: how convkit was built, what it chose here, and this machine's peak."""

from __future__ import annotations

import argparse

import convkit

DIFFER = 0.1  # two measurements of the peak, on a quiet machine, by less than this


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def higher(first: convkit.Peak, second: convkit.Peak) -> tuple[convkit.Peak, bool]:
    """The higher of two measurements, figure by figure, and whether they agree."""
    gflops = {
        dtype: {threads: max(rate, second.gflops[dtype][threads]) for threads, rate in rates.items()}
        for dtype, rates in first.gflops.items()
    }
    best = convkit.Peak(first.isa, gflops, max(first.triad, second.triad))
    lows = [min(rate, second.gflops[dtype][n]) for dtype, rates in first.gflops.items() for n, rate in rates.items()]
    highs = [rate for rates in gflops.values() for rate in rates.values()]
    pairs = [*zip(highs, lows, strict=True), (best.triad, min(first.triad, second.triad))]
    return best, all(high <= low * (1 + DIFFER) for high, low in pairs)


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    convkit.show_config()
    peak, steady = higher(convkit.machine_peak(), convkit.machine_peak())
    print(peak)
    if not steady:
        print(f"unsteady: two measurements differ by more than {DIFFER:.0%}: other work was using the machine")
    return 0
