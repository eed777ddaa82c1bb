"""`convkit bench`: time the layers of `convkit.layers` and set each against this machine's multiply-add peak.

A timing is the median of a burst of calls with `out=`, the best of several bursts: a burst is short enough to fall
between the slow episodes of a shared machine. The peak is measured right before and right after, and once more at the
end; shares are of the highest one seen. Where the two peaks differ, or the bursts or their calls do, or a peak is far
below the highest, or the share is above one, the machine was not quiet: the layer is timed again, and at last marked as
unsteady.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import convkit

from .._ext import engine
from .._options import ALGORITHMS, LAYOUTS
from ..layers import LAYERS, UPSAMPLING, Layer

DIRECTIONS = ("forward", "x", "weight", "backward")
PASSES = {"forward": 1, "x": 1, "weight": 1, "backward": 2}  # FLOPs, as multiples of the forward pass's
# The operator of each kind of layer; other kinds are not timed.
BUILT = {"conv": "conv{nd}d", "convT": "conv_transpose{nd}d"}

BURSTS, CALLS = 5, 7
PEAK_SECONDS = 0.05
PEAKS_DIFFER, BURSTS_DIFFER, CALLS_DIFFER, PEAK_FELL = 0.03, 0.10, 0.25, 0.10
ATTEMPTS = 4

UNITS = (
    "GFLOP/s counts a multiply-add as 2 FLOPs, taps on padding included; forward, x and weight have the same FLOPs, "
    "backward (x, weight and bias) twice as many. share is of the highest multiply-add peak measured in this run."
)
UNSTEADY = (
    "unsteady: other work was using the machine (repeats or peaks differ, or the share is above 100 %), "
    "so the figure may be off either way."
)


@dataclass(frozen=True)
class Setting:
    """What is the same for all layers of a run."""

    dtype: str = "float32"
    layout: str = "NCHW"
    threads: int = 1
    algorithm: str = "auto"


@dataclass(frozen=True)
class Timing:
    """One layer in one direction; `repeats` counts all timed calls, `steady` says whether the machine was quiet."""

    name: str
    direction: str
    dtype: str
    layout: str
    threads: int
    algorithm: str
    isa: str
    median_s: float
    repeats: int
    gflops: float
    peak_gflops: float
    share: float
    steady: bool


def prepare(layer: Layer, direction: str, setting: Setting) -> Callable[[], object]:
    """A call of one layer in one direction, its operands and results allocated."""
    rng = np.random.default_rng(0)
    operator = BUILT[layer.kind].format(nd=len(layer.kernel))

    def image(channels: int, spatial: tuple[int, ...]) -> np.ndarray:
        shape = (layer.n, channels, *spatial) if setting.layout == "NCHW" else (layer.n, *spatial, channels)
        return rng.standard_normal(shape, setting.dtype)

    x, grad = image(layer.c_in, layer.spatial), image(layer.c_out, layer.out_spatial)
    weight = rng.standard_normal(layer.weight_shape, setting.dtype)
    bias = rng.standard_normal(layer.c_out, setting.dtype)
    sizes = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
    options = sizes | {"layout": setting.layout, "algorithm": setting.algorithm}
    if direction == "forward":
        forward, y = getattr(convkit, operator), np.empty_like(grad)
        return lambda: forward(x, weight, bias, out=y, **options)
    need = ("x", "weight", "bias") if direction == "backward" else (direction,)
    results = {"x": np.empty_like(x), "weight": np.empty_like(weight), "bias": np.empty_like(bias)}
    out = tuple(results[name] if name in need else None for name in ("x", "weight", "bias"))
    backward = getattr(convkit, operator + "_backward")
    return lambda: backward(grad, x, weight, need=need, out=out, **options)


def burst(call: Callable[[], object], calls: int = CALLS) -> tuple[float, float]:
    """The median and the least seconds of `calls` calls in a row."""
    taken = []
    for _ in range(calls):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken), min(taken)


_best_peaks: dict[tuple[str, int, str], float] = {}  # of this process, by dtype, threads and instruction set


def measure_peak(dtype: str, threads: int) -> float:
    """Multiply-add peak in GFLOP/s, as it is now."""
    peak = engine.measure_fma(dtype, threads, PEAK_SECONDS) / 1e9
    key = dtype, threads, convkit.isa()
    _best_peaks[key] = max(peak, _best_peaks.get(key, 0.0))
    return peak


def best_peak(dtype: str, threads: int) -> float:
    """The highest of all `measure_peak` so far: other work on the machine can only lower it."""
    return _best_peaks[dtype, threads, convkit.isa()]


def measure(layer: Layer, direction: str, setting: Setting) -> Timing:
    """Time one layer in one direction between two measurements of the peak; of several attempts the quietest counts."""
    flops = PASSES[direction] * layer.flops
    attempts = []
    with convkit.threads(setting.threads):
        call = prepare(layer, direction, setting)
        call()
        for _ in range(ATTEMPTS):
            before = measure_peak(setting.dtype, setting.threads)
            bursts = sorted(burst(call) for _ in range(BURSTS))
            after = measure_peak(setting.dtype, setting.threads)
            low, high = sorted((before, after))
            median, least = bursts[0]
            best = best_peak(setting.dtype, setting.threads)
            unrest = max(
                (high / low - 1) / PEAKS_DIFFER,
                (best / low - 1) / PEAK_FELL,
                (bursts[BURSTS // 2][0] / median - 1) / BURSTS_DIFFER,
                (median / least - 1) / CALLS_DIFFER,
                flops / median / 1e9 / best,
            )
            attempts.append((unrest, median))
            if unrest <= 1:
                break
    unrest, seconds = min(attempts)
    gflops = flops / seconds / 1e9
    return Timing(
        name=layer.name,
        direction=direction,
        **asdict(setting),
        isa=convkit.isa(),
        median_s=seconds,
        repeats=len(attempts) * BURSTS * CALLS,
        gflops=gflops,
        peak_gflops=best,
        share=gflops / best,
        steady=unrest <= 1,
    )


def settled(timing: Timing) -> Timing:
    """The timing set against the highest peak of all; what was measured at a far lower one is not steady after all."""
    best = best_peak(timing.dtype, timing.threads)
    share = timing.gflops / best
    steady = timing.steady and best / timing.peak_gflops - 1 <= PEAK_FELL
    return replace(timing, peak_gflops=best, share=share, steady=steady)


def select(patterns: str, batch: int | None = None) -> list[Layer]:
    """The layers whose operator is built and whose name fits one of the comma-separated patterns."""
    fits = re.compile("|".join(map(fnmatch.translate, patterns.split(",")))).match
    chosen = [layer for layer in (*LAYERS, *UPSAMPLING) if layer.kind in BUILT and fits(layer.name)]
    return chosen if batch is None else [replace(layer, n=batch) for layer in chosen]


# ---------------------------------------------------------------- the table


HEADING = f"{'layer':<18}{'direction':<11}{'ms':>10}{'GFLOP/s':>10}{'share':>9}"


def row(timing: Timing) -> str:
    """A line of the table."""
    figures = f"{timing.median_s * 1e3:>10.3f}{timing.gflops:>10.1f}{timing.share:>9.1%}"
    return f"{timing.name:<18}{timing.direction:<11}{figures}{'' if timing.steady else '  unsteady'}"


def summary(printed: list[Timing], final: list[Timing]) -> Iterator[str]:
    """What follows the rows: those that a higher peak has changed since, means, and what the words mean."""
    changed = [
        after
        for before, after in zip(printed, final, strict=True)
        if after.share < 0.99 * before.share or after.steady != before.steady
    ]
    if changed:
        yield f"the peak rose to {changed[0].peak_gflops:.0f} GFLOP/s during the run; against that:"
        yield from map(row, changed)
    for direction in dict.fromkeys(timing.direction for timing in final):
        logarithms = [math.log(timing.share) for timing in final if timing.direction == direction]
        if len(logarithms) == 1:
            continue
        yield f"{'geometric mean':<18}{direction:<11}{'':>20}{math.exp(statistics.fmean(logarithms)):>9.1%}"
    yield UNITS
    if not all(timing.steady for timing in final):
        yield UNSTEADY


def counted(threads: int) -> str:
    """A number of threads in words."""
    return f"{threads} thread{'s' if threads > 1 else ''}"


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options to `parser`."""
    parser.description = "Time the layers of convkit.layers against this machine's multiply-add peak."
    parser.epilog = UNITS + " CONVKIT_ISA chooses the instruction set."
    add = parser.add_argument
    add("--layers", default="*", metavar="PATTERN", help="names, wildcards allowed, comma-separated (default: all)")
    add("--direction", nargs="+", choices=DIRECTIONS, default=["forward", "backward"], help="default: forward backward")
    add("--dtype", choices=("float32", "float64"), default="float32")
    add("--layout", choices=LAYOUTS, default="NCHW")
    add("--algorithm", choices=ALGORITHMS, default="auto")
    add("--threads", type=_positive, help="default: as convkit.get_num_threads()")
    add("--batch", type=_positive, help="images per call instead of each layer's own")
    add("--json", metavar="FILE", help="results as JSON; - is standard output, with the table on standard error")


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    layers = select(args.layers, args.batch)
    if not layers:
        names = ", ".join(layer.name for layer in select("*"))
        print(f"convkit bench: --layers must fit one of {names}; got {args.layers!r}", file=sys.stderr)
        return 2
    setting = Setting(args.dtype, args.layout, args.threads or convkit.get_num_threads(), args.algorithm)
    table = sys.stderr if args.json == "-" else sys.stdout
    words = setting.dtype, setting.layout, counted(setting.threads), f"algorithm {setting.algorithm}", convkit.isa()
    print(*words, sep=", ", file=table)
    print(HEADING, file=table)
    printed: list[Timing] = []
    try:
        for layer in layers:
            for direction in args.direction:
                printed.append(measure(layer, direction, setting))
                print(row(printed[-1]), file=table, flush=True)
    except ValueError as error:  # an algorithm that cannot do one of the layers
        print(f"convkit bench: {error}; --layers chooses those that it can do", file=sys.stderr)
        return 2
    measure_peak(setting.dtype, setting.threads)
    final = [settled(timing) for timing in printed]
    print(*summary(printed, final), sep="\n", file=table)
    if args.json:
        text = json.dumps([asdict(timing) for timing in final], indent=1) + "\n"
        if args.json == "-":
            sys.stdout.write(text)
        else:
            Path(args.json).write_text(text)
    return 0
