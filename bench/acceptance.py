"""The engine's promised figures, all measured in one run: `python bench/acceptance.py` prints them row by row.

Shares are of the multiply-add peak of the dtype and instruction set on the same threads, measured before and after each
layer as `convkit bench` does. A share taken while the machine was busy proves nothing, whichever way it errs: such rows
are measured again, and if the machine stays busy they count as short. The status is then 1.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import convkit

DENSE = ("r50_3x3_64", "r50_3x3_128", "r50_3x3_256", "r50_3x3_512", "r50_1x1_256_1024")
THREADS, ATTEMPTS = 2, 3
OVERHEAD_CALLS, OVERHEAD_BURSTS = 500, 20


@dataclass(frozen=True)
class Row:
    """One figure: `convkit bench` options that measure it, and the least share of the peak per layer."""

    title: str
    wanted: dict[str, float]
    direction: str = "forward"
    options: tuple[str, ...] = ()
    isa: str | None = None


def dense(share: float, one_by_one: float | None = None) -> dict[str, float]:
    """The same share for the five dense layers, or another one for the 1x1."""
    return dict.fromkeys(DENSE, share) | {DENSE[-1]: one_by_one or share}


ROWS = (
    Row("float32 forward", dense(0.85)),
    Row("float32 backward", dense(0.78), "backward"),
    Row("7x7 stem forward", {"stem7x7s2": 0.70}),
    Row("batch 1 forward", {"r50_3x3_64": 0.80}, options=("--batch", "1")),
    Row("NHWC forward", dense(0.80, 0.75), options=("--layout", "NHWC")),
    Row("float64 forward", dense(0.80, 0.75), options=("--dtype", "float64")),
    Row("AVX2 forward", dense(0.80, 0.75), isa="avx2"),
    Row("NHWC backward", dense(0.78, 0.75), "backward", ("--layout", "NHWC")),
    Row("float64 backward", dense(0.78, 0.75), "backward", ("--dtype", "float64")),
    Row("AVX2 backward", dense(0.78, 0.75), "backward", isa="avx2"),
)


def measure(row: Row) -> list[dict]:
    """The timings of a row's layers, by `convkit bench` in a process of its own."""
    command = [sys.executable, "-m", "convkit", "bench", "--layers", ",".join(row.wanted), "--direction", row.direction]
    command += ["--algorithm", "implicit_gemm", "--threads", str(THREADS), *row.options, "--json", "-"]
    # The installed package, not a source tree that this may have been started from.
    environment = os.environ | {"PYTHONSAFEPATH": "1"} | ({} if row.isa is None else {"CONVKIT_ISA": row.isa})
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, check=True)
    return json.loads(done.stdout)


def settled(row: Row, peaks: dict) -> Iterator[tuple[dict, bool]]:
    """The timings of a row's layers, and whether each was taken in quiet; `peaks` keeps the highest by kind."""
    for _ in range(ATTEMPTS):
        timings = measure(row)
        for timing in timings:
            kind = timing["dtype"], timing["isa"]
            peaks[kind] = max(peaks.get(kind, 0.0), timing["peak_gflops"])
        quiet = [t["steady"] and t["share"] <= 1 and t["peak_gflops"] >= 0.9 * peaks[kind] for t in timings]
        if all(quiet):
            break
    yield from zip(timings, quiet, strict=True)


def overhead() -> float:
    """Seconds of a call on 1x1x8x8 with a 3x3 kernel on one thread, the result allocated: best burst."""
    x, weight = np.ones((1, 1, 8, 8), np.float32), np.ones((1, 1, 3, 3), np.float32)
    bursts = []
    with convkit.threads(1):
        for _ in range(OVERHEAD_BURSTS):
            begin = time.perf_counter()
            for _ in range(OVERHEAD_CALLS):
                convkit.conv2d(x, weight)
            bursts.append((time.perf_counter() - begin) / OVERHEAD_CALLS)
    return min(bursts)


def results(rows: list[Row]) -> Iterator[tuple[str, str, str, bool]]:
    """(what, wanted, got, whether it is enough) for every figure."""
    peaks: dict = {}
    for row in rows:
        if row.isa is not None and row.isa not in convkit.available_isas():
            yield f"{row.title}", "", f"{row.isa} is absent here", True
            continue
        for timing, quiet in settled(row, peaks):
            wanted, share = row.wanted[timing["name"]], timing["share"]
            got = f"{share:6.1%}  {timing['gflops']:6.1f} of {timing['peak_gflops']:6.1f} GFLOP/s"
            got += "" if quiet else "  busy"
            yield f"{row.title:<18}{timing['name']}", f">= {wanted:.0%}", got, share >= wanted and quiet
    seconds = overhead()
    yield f"{'call overhead':<18}1x1x8x8, 3x3", "<= 10 us", f"{seconds * 1e6:5.2f} us", seconds <= 10e-6


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the engine's promised figures.")
    parser.add_argument("--rows", default="", metavar="TEXT", help="only rows whose title has this text")
    args = parser.parse_args()
    rows = [row for row in ROWS if args.rows.lower() in row.title.lower()]
    print(f"implicit_gemm, {THREADS} threads, batch 8; {convkit.isa()} unless the row says otherwise")
    print(f"{'what':<36}{'wanted':>9}  got")
    short = 0
    for what, wanted, got, enough in results(rows):
        short += not enough
        print(f"{what:<36}{wanted:>9}  {got}{'' if enough else '   SHORT'}", flush=True)
    print("all rows reached" if not short else f"{short} rows fell short")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
