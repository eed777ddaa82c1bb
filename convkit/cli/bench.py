"""`convkit bench`: time layers beside this machine's peak, and beside other libraries where they are asked for."""

from __future__ import annotations

import argparse
import fnmatch
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import convkit

from .._options import ALGORITHMS, LAYOUTS
from ..benchmarks import draw, peers, report
from ..benchmarks.layers import LAYERS, OTHERS, Layer
from ..benchmarks.measure import Build, Row, measure, measure_again
from ..benchmarks.problem import DIRECTIONS, Setting
from ..benchmarks.timing import Probe

AGAIN, TIMES_MORE = 0.9, 3  # a layer that a peer beats by this ratio is timed so many more times


def select(patterns: str | None) -> list[Layer]:
    """The layers whose name fits one of the comma-separated patterns; without any the thirty published ones."""
    if patterns is None:
        return [*LAYERS]
    fits = re.compile("|".join(map(fnmatch.translate, patterns.split(",")))).match
    return [layer for layer in (*LAYERS, *OTHERS) if fits(layer.name)]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _several(text: str) -> list[int]:
    return [_positive(part) for part in text.split(",")]


def _peers(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in peers.PEERS:
            raise argparse.ArgumentTypeError(f"must be of {', '.join(peers.PEERS)}, got {name!r}")
    return names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options to `parser`."""
    parser.description = "Time layers beside this machine's peak and roofline, and beside other libraries."
    parser.epilog = report.UNITS + " CONVKIT_ISA chooses the instruction set."
    add = parser.add_argument
    names = "names of layers, wildcards allowed, comma-separated (default: the thirty published ones)"
    add("--layers", metavar="PATTERN", help=names)
    add("--sweep", type=_positive, metavar="N", help="N random layers instead of the published ones")
    add("--seed", type=int, default=0, help="of the random layers (default: 0)")
    add("--against", type=_peers, default=[], metavar="PEERS", help=f"comma-separated, of {', '.join(peers.PEERS)}")
    add("--direction", nargs="+", choices=DIRECTIONS, default=["forward"], help="default: forward")
    add("--backward", action="store_const", const=["backward"], dest="direction", help="as --direction backward")
    add("--dtype", choices=("float32", "float64"), default="float32")
    add("--layout", choices=LAYOUTS, default="NCHW")
    add("--algorithm", choices=ALGORITHMS, default="auto", help="of layers that are not deformable (default: auto)")
    add("--threads", type=_several, metavar="N[,N]", help="default: as convkit.get_num_threads()")
    add("--batch", type=_positive, help="images per call instead of each layer's own")
    add("--json", nargs="?", const="-", metavar="FILE", help="results as JSON: on standard output, or in FILE")


def _layers(args: argparse.Namespace) -> list[Layer]:
    layers = select(args.layers) if args.sweep is None else draw.random_layers(args.sweep, args.seed)
    return layers if args.batch is None else [replace(layer, n=args.batch) for layer in layers]


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    layers = _layers(args)
    if not layers:
        names = ", ".join(layer.name for layer in select("*"))
        print(f"convkit bench: --layers must fit one of {names}; got {args.layers!r}", file=sys.stderr)
        return 2
    table = sys.stderr if args.json == "-" else sys.stdout
    builders = {name: peers.load(name) for name in args.against}
    rows: list[Row] = []
    try:
        for threads in args.threads or [convkit.get_num_threads()]:
            setting = Setting(args.dtype, args.layout, threads, args.algorithm)
            probe = Probe(args.dtype, threads)
            for direction in args.direction:
                for line in _group(layers, direction, setting, builders, probe, rows):
                    print(line, file=table, flush=True)
    except ValueError as error:  # an algorithm that cannot do one of the layers
        print(f"convkit bench: {error}; --layers chooses those that it can do", file=sys.stderr)
        return 2
    print(report.UNITS, file=table)
    if args.json:
        text = json.dumps({"rows": [row.as_dict() for row in rows]}, indent=1) + "\n"
        if args.json == "-":
            sys.stdout.write(text)
        else:
            Path(args.json).write_text(text)
    return 0


def _group(
    layers: Sequence[Layer],
    direction: str,
    setting: Setting,
    builders: Mapping[str, Build],
    probe: Probe,
    rows: list[Row],
) -> Iterator[str]:
    """Lines of one direction on one number of threads; its rows are added to `rows`."""
    table = report.Table(layers, builders)
    words = setting.dtype, setting.layout, report.counted(setting.threads), f"algorithm {setting.algorithm}"
    yield f"{direction}: {', '.join(words)}, {convkit.isa()}, {probe}"
    yield table.heading()
    group = []
    for layer in layers:
        group.append(measure(layer, direction, setting, builders, probe))
        yield table.line(group[-1])
    slow = [row for row in group if row.peers and row.ratio() < AGAIN]
    if slow:
        yield f"below {AGAIN}, and timed {TIMES_MORE} more times:"
    for row in slow:
        for _ in range(TIMES_MORE):
            measure_again(row, builders)
        yield table.line(row)
    probe.renew()
    yield from report.summary(table, group)
    rows += group
