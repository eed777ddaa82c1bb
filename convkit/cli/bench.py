"""`convkit bench`: time layers beside this machine's peak, and beside other libraries where they are asked for."""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import convkit

from .._ext import engine
from .._options import ALGORITHMS, LAYOUTS
from .._probe import UNSTEADY, Probe
from .._words import counted, wrapped
from ..benchmarks import draw, fit, peers, picture, report
from ..benchmarks.layers import LAYERS, OTHERS, Layer
from ..benchmarks.measure import Build, Row, measure, measure_again
from ..benchmarks.problem import DIRECTIONS, Setting
from ._arguments import INTERRUPTED, failed, picture_name, reading, several, thread_count, to_write, whole

ROOFLINE = "convkit-roofline.png"
FITTED = 60  # random layers that costs are fitted to where no others are asked for
AGAIN, TIMES_MORE = 0.9, 3  # a layer that a peer beats by this ratio is timed so many more times


def _fitting(patterns: str) -> Callable[[str], object]:
    """Whether a name fits one of the comma-separated patterns."""
    return re.compile("|".join(map(fnmatch.translate, patterns.split(",")))).match


def select(patterns: str | None) -> list[Layer]:
    """The layers whose name fits one of the comma-separated patterns; without any the thirty published ones."""
    if patterns is None:
        return [*LAYERS]
    fits = _fitting(patterns)
    return [layer for layer in (*LAYERS, *OTHERS) if fits(layer.name)]


def _output(text: str) -> str:
    return text if text == "-" else to_write(text)


def _picture(text: str) -> str:
    return to_write(picture_name("bench")(text))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options to `parser`."""
    parser.description = "Time layers beside this machine's peak and roofline, and beside other libraries."
    parser.epilog = " ".join(report.legend()) + " CONVKIT_ISA chooses the instruction set."
    add = parser.add_argument
    names = (
        "names of layers, wildcards allowed, comma-separated (default: the thirty published ones); ? lists all names"
    )
    add("--layers", metavar="PATTERN", help=names)
    add("--kind", default="*", metavar="PATTERN", help="kinds of layers alone, such as 'depthwise*,few inputs'")
    add("--sweep", type=whole(1), metavar="N", help="N random layers instead of the published ones")
    add("--seed", type=whole(0, math.inf), default=0, help="of the random layers (default: 0)")
    peers.add_against(parser)
    add("--direction", nargs="+", choices=DIRECTIONS, default=["forward"], help="default: forward")
    add("--backward", action="store_const", const=["backward"], dest="direction", help="as --direction backward")
    add("--dtype", choices=("float32", "float64"), default="float32", help="default: float32")
    add("--layout", choices=LAYOUTS, default="NCHW", help="default: NCHW")
    add("--algorithm", choices=ALGORITHMS, default="auto", help="of layers that are not deformable (default: auto)")
    ahead = "weights laid out ahead of the calls, as other engines' sessions have them: without deformable layers"
    add("--prepared", action="store_true", help=ahead)
    add("--threads", type=several(thread_count, "1,2"), metavar="N[,N]", help="default: as convkit.get_num_threads()")
    add("--batch", type=whole(1), help="images per call instead of each layer's own")
    add("--roofline", nargs="?", const=ROOFLINE, type=_picture, metavar="FILE", help=f"draw it (default: {ROOFLINE})")
    words = "results as JSON: on standard output, or in FILE"
    add("--json", nargs="?", const="-", type=_output, metavar="FILE", help=words)
    add("--save", type=to_write, metavar="FILE", help="as --json FILE: for a later --compare")
    add("--compare", metavar="FILE", help="say what has changed since the run that was saved there")
    costs = f"refit the planner's costs to the layers (default: {FITTED} random ones), print them"
    add("--fit", action="store_true", help=costs)


def _layers(args: argparse.Namespace) -> list[Layer]:
    """The layers that the arguments ask for."""
    if args.prepared and args.direction != ["forward"]:
        raise ValueError(f"--direction must be forward with --prepared, got {' '.join(args.direction)}")
    named = _fitting(args.kind)

    def fits(kind: str) -> bool:
        return named(kind) and not (args.prepared and kind == "deformable")

    kinds = draw.FAMILIES if args.sweep else (*draw.FAMILIES, "deformable")
    if not any(map(fits, kinds)):
        raise ValueError(f"--kind must fit one of {', '.join(kinds)}; got {args.kind!r}")
    if not args.sweep:
        layers = [layer for layer in select(args.layers) if fits(layer.family)]
    else:
        layers = draw.random_layers(args.sweep, args.seed, lambda layer: fits(layer.family))
    if not layers:
        names = ", ".join(layer.name for layer in select("*") if fits(layer.family))
        but = ", the deformable ones left out by --prepared" if args.prepared else ""
        raise ValueError(f"--layers must fit one of {names}{but}; got {args.layers!r}")
    return layers if args.batch is None else [replace(layer, n=args.batch) for layer in layers]


def _saved(path: str) -> dict:
    with reading("--compare", "a file that --save wrote", path):
        document = json.loads(Path(path).read_text())
        return document | {"rows": document["rows"]}


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status. What is interrupted says and writes what it has."""
    table, status = sys.stderr if args.json == "-" else sys.stdout, 0
    groups: list[list[Row]] = []
    try:
        if args.fit:
            args.sweep = args.sweep or (None if args.layers else FITTED)
        if args.layers == "?":
            print(*(layer.name for layer in select("*")), sep="\n")
            return 0
        layers, earlier = _layers(args), _saved(args.compare) if args.compare else None
        if args.fit:
            return _fit(args, layers)
        for line in _lines(args, layers, {name: peers.load(name) for name in args.against}, groups):
            print(line, file=table, flush=True)
    except ValueError as error:
        return failed("bench", error, 2)
    except KeyboardInterrupt:
        status = INTERRUPTED
    groups = [group for group in groups if group]
    if not groups:
        raise KeyboardInterrupt
    rows = [row for group in groups for row in group]
    for line in report.legend(any(row.peers for row in rows), any(row.direction == "backward" for row in rows)):
        print(wrapped(line), file=table)
    if not all(row.steady for row in rows):
        print(UNSTEADY, file=table)
    document = report.document(rows)
    if earlier is not None:
        print(*report.changes(document, earlier), sep="\n", file=table)
    try:
        _write(args, document, groups)
    except OSError as error:  # such as a disk that is full by now
        return failed("bench", error, 2)
    return status


def _fit(args: argparse.Namespace, layers: Sequence[Layer]) -> int:
    """On one thread, where an estimate is of the work alone."""
    setting, probe, before = Setting(args.dtype, args.layout, 1), Probe(args.dtype, 1), engine.costs()
    samples = []
    for direction in args.direction:
        for sample in fit.measure(layers, direction, setting, probe):
            samples.append(sample)
            times = ", ".join(f"{name} {seconds * 1e6:.0f} us" for name, seconds in sample.seconds.items())
            print(f"{sample.problem.layer.name}  {direction}: {times}", flush=True)
    if not samples:
        raise ValueError("--fit needs layers that may be arranged in several ways; these may not")
    try:
        print("before:", fit.quality(samples))
        costs = fit.fit(samples, print)
        print("after:", fit.quality(samples))
    finally:
        engine.set_costs(before)
    print(*fit.changed(costs, before), sep="\n")
    return 0


def _write(args: argparse.Namespace, document: dict, groups: Sequence[Sequence[Row]]) -> None:
    text = json.dumps(document, indent=1) + "\n"
    if args.json == "-":
        sys.stdout.write(text)
    for path in {args.json, args.save} - {None, "-"}:
        Path(path).write_text(text)
    for group in groups if args.roofline else ():
        which = f"-{group[0].direction}-{group[0].setting.threads}" if len(groups) > 1 else ""
        path = Path(args.roofline)
        path = path.with_stem(path.stem + which)
        picture.roofline(path, group)
        print(f"written: {path}", file=sys.stderr if args.json == "-" else sys.stdout)


def _lines(
    args: argparse.Namespace, layers: Sequence[Layer], builders: Mapping[str, Build], groups: list[list[Row]]
) -> Iterator[str]:
    """What is printed while it is measured; the rows of each number of threads and each direction go to `groups`."""
    for threads in args.threads or [convkit.get_num_threads()]:
        setting = Setting(args.dtype, args.layout, threads, args.algorithm, args.prepared)
        probe = Probe(args.dtype, threads)
        for direction in args.direction:
            groups.append([])
            probe.settle()
            words = args.dtype, args.layout, counted(threads, "thread"), f"algorithm {args.algorithm}", convkit.isa()
            words += ("prepared",) if args.prepared else ()
            yield f"{direction}: {', '.join(words)}, {probe.roof}"
            table = report.Table(layers, builders)
            try:
                yield from _group(table, layers, direction, setting, builders, probe, groups[-1])
            except KeyboardInterrupt:
                if groups[-1]:
                    yield "interrupted; so far:"
                    yield from report.summary(table, groups[-1])
                    yield from report.notes(groups[-1])
                raise
            if probe.renew():  # shares above and below must be of one roof
                yield f"by the end the machine had shown {probe.roof}; all lines once more, as shares of that:"
                yield from table.lines(groups[-1])
            yield from report.summary(table, groups[-1])
            yield from report.notes(groups[-1])


def _group(
    table: report.Table,
    layers: Sequence[Layer],
    direction: str,
    setting: Setting,
    builders: Mapping[str, Build],
    probe: Probe,
    group: list[Row],
) -> Iterator[str]:
    """Lines of one direction on one number of threads; its rows are added to `group`."""
    yield table.heading()
    for layer in layers:
        try:
            group.append(measure(layer, direction, setting, builders, probe))
        except (ValueError, MemoryError) as error:  # an algorithm that cannot do the layer, or too many images
            raise ValueError(f"{layer.name}: {error}; --layers and --batch choose what can be done") from error
        yield table.line(group[-1])
    slow = [row for row in group if row.peers and row.ratio() < AGAIN]
    if slow:
        yield f"below {AGAIN}, and timed {TIMES_MORE} more times:"
    for row in slow:
        for _ in range(TIMES_MORE):
            measure_again(row, builders)
        yield table.line(row)
