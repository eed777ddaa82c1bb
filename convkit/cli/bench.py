"""`convkit bench`: time the layers of `convkit.layers` and set each against this machine's multiply-add peak.

A timing is the median of a burst of calls with `out=`, the best of several bursts: a burst is short enough to fall
between the slow episodes of a shared machine. The peak is measured right before and right after; where the two differ,
or the bursts do, or the peak is far below an earlier one, the machine was not quiet and the layer is timed again.
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
PEAKS_DIFFER, BURSTS_DIFFER, PEAK_FELL = 0.03, 0.10, 0.10
ATTEMPTS = 4

UNITS = (
    "GFLOP/s counts a multiply-add as 2 FLOPs, taps on padding included; forward, x and weight have the same FLOPs, "
    "backward (x, weight and bias) twice as many. share is of the multiply-add peak measured with each layer."
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


def burst(call: Callable[[], object], calls: int = CALLS) -> float:
    """The median seconds of `calls` calls in a row."""
    taken = []
    for _ in range(calls):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def measure_peak(dtype: str, threads: int) -> float:
    """Multiply-add peak in GFLOP/s, as it is now."""
    return engine.measure_fma(dtype, threads, PEAK_SECONDS) / 1e9


def measure(layer: Layer, direction: str, setting: Setting, known_peak: float = 0.0) -> Timing:
    """Time one layer in one direction between two measurements of the peak; of several attempts the quietest counts.

    `known_peak` is the highest that this run has seen in this setting: both peaks can fall into one slow episode.
    """
    attempts = []
    with convkit.threads(setting.threads):
        call = prepare(layer, direction, setting)
        call()
        for _ in range(ATTEMPTS):
            before = measure_peak(setting.dtype, setting.threads)
            bursts = sorted(burst(call) for _ in range(BURSTS))
            after = measure_peak(setting.dtype, setting.threads)
            low, high = sorted((before, after))
            unrest = max(
                (high / low - 1) / PEAKS_DIFFER,
                (known_peak / low - 1) / PEAK_FELL,
                (bursts[BURSTS // 2] / bursts[0] - 1) / BURSTS_DIFFER,
            )
            attempts.append((unrest, bursts[0], (low + high) / 2))
            if unrest <= 1:
                break
    unrest, seconds, peak = min(attempts)
    gflops = PASSES[direction] * layer.flops / seconds / 1e9
    return Timing(
        name=layer.name,
        direction=direction,
        **asdict(setting),
        isa=convkit.isa(),
        median_s=seconds,
        repeats=len(attempts) * BURSTS * CALLS,
        gflops=gflops,
        peak_gflops=peak,
        share=gflops / peak,
        steady=unrest <= 1,
    )


def select(patterns: str, batch: int | None = None) -> list[Layer]:
    """The layers whose operator is built and whose name fits one of the comma-separated patterns."""
    fits = re.compile("|".join(map(fnmatch.translate, patterns.split(",")))).match
    chosen = [layer for layer in (*LAYERS, *UPSAMPLING) if layer.kind in BUILT and fits(layer.name)]
    return chosen if batch is None else [replace(layer, n=batch) for layer in chosen]


def timed(layers: list[Layer], directions: list[str], setting: Setting, timings: list[Timing]) -> Iterator[Timing]:
    """Time the layers in turn; each timing is appended to `timings` and yielded."""
    for layer in layers:
        for direction in directions:
            known_peak = max((timing.peak_gflops for timing in timings), default=0.0)
            timings.append(measure(layer, direction, setting, known_peak))
            yield timings[-1]


# ---------------------------------------------------------------- the table


def rows(timings: Iterator[Timing]) -> Iterator[str]:
    """The lines of the table, each as soon as its timing is there."""
    yield f"{'layer':<18}{'direction':<11}{'ms':>10}{'GFLOP/s':>10}{'share':>9}"
    shares: dict[str, list[float]] = {}
    for timing in timings:
        shares.setdefault(timing.direction, []).append(timing.share)
        figures = f"{timing.median_s * 1e3:>10.3f}{timing.gflops:>10.1f}{timing.share:>9.1%}"
        yield f"{timing.name:<18}{timing.direction:<11}{figures}{'' if timing.steady else '  unsteady'}"
    for direction, values in shares.items():
        mean = math.exp(statistics.fmean(map(math.log, values)))
        yield f"{'geometric mean':<18}{direction:<11}{'':>20}{mean:>9.1%}"


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
    print(*asdict(setting).values(), convkit.isa(), sep=", ", file=table)
    timings: list[Timing] = []
    try:
        for row in rows(timed(layers, args.direction, setting, timings)):
            print(row, file=table, flush=True)
    except ValueError as error:  # an algorithm that cannot do one of the layers
        print(f"convkit bench: {error}; --layers chooses those that it can do", file=sys.stderr)
        return 2
    print(UNITS, file=table)
    if args.json:
        text = json.dumps([asdict(timing) for timing in timings], indent=1) + "\n"
        if args.json == "-":
            sys.stdout.write(text)
        else:
            Path(args.json).write_text(text)
    return 0
