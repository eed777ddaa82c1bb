"""What `convkit bench` makes of its rows: lines, means, quantiles, the worst; a document, and changes since another."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

import convkit

from .. import _probe
from .._words import percent
from .layers import Layer
from .measure import Row

WORST = 12
ENOUGH = 10  # rows, for quantiles: of a few each is an extreme
QUANTILES = (("least", 0.0), ("1 %", 0.01), ("5 %", 0.05), ("quarter", 0.25), ("median", 0.5), ("most", 1.0))


def legend(peers: bool = True, backward: bool = True) -> list[str]:
    """A sentence on each of the columns, those that only a run beside peers or of all gradients needs if asked for."""
    both = ", and all gradients (backward) as twice the forward pass" if backward else ""
    sentences = [
        "ms: convkit's time of a call with out=.",
        f"GFLOP/s: a multiply-add counts as two operations, on padding too{both}.",
        "peak: GFLOP/s as a share of the multiply-add peak, the highest that was measured.",
        "roof: the least time that peak and memory bandwidth allow, as a share of ms; at most 100 % in means.",
        "fresh: as ms, but each call allocates its results.",
    ]
    if peers:
        sentences.append("ratio: the fastest peer's time over ms, (fresh): over fresh; above 1, convkit is faster.")
    return sentences


class Table:
    """Lines about these layers, with a column for each of the peers."""

    def __init__(self, layers: Iterable[Layer], peers: Iterable[str]):
        self.labels, self.peers = 1 + max(len(layer.name) for layer in layers), tuple(peers)

    def heading(self) -> str:
        """The line of names."""
        names = [f"{'ms':>10}{'GFLOP/s':>9}{'peak':>7}{'roof':>7}{'fresh':>11}"]
        names += [f"{peer:>12}" for peer in self.peers]
        names += [f"{'ratio':>8}{'(fresh)':>9}"] if self.peers else []
        return f"{'layer':<{self.labels}}" + "".join(names)

    def line(self, row: Row) -> str:
        """A row's line."""
        shares = f"{percent(row.share):>7}{percent(row.roofline):>7}{mark(row)}"
        figures = f"{row.best().seconds * 1e3:>10.4g}{row.gflops:>9.1f}{shares}"
        words = [f"{row.layer.name:<{self.labels}}", figures, f"{row.best('fresh').seconds * 1e3:>10.4g}"]
        words += [f"{row.best(p).seconds * 1e3:>12.4g}" if p in row.bursts else f"{'-':>12}" for p in self.peers]
        if row.peers:
            words.append(f"{row.ratio():>8.2f}{row.ratio('fresh'):>9.2f}")
        elif self.peers:
            words.append(f"{'-':>8}{'-':>9}")
        return "".join(words) + ("" if row.steady else "  unsteady")

    def lines(self, rows: Iterable[Row]) -> Iterator[str]:
        """The line of names, and those of the rows."""
        yield self.heading()
        yield from map(self.line, rows)

    def means(self, title: str, rows: Sequence[Row]) -> str:
        """A line of geometric means, without the times."""
        share, roof = (mean(min(value(row), 1) for row in rows) for value in (lambda r: r.share, lambda r: r.roofline))
        text = f"{title:<{self.labels}}{'':>19}{percent(share):>7}{percent(roof):>7}"
        raced = [row for row in rows if row.peers]
        if raced:
            ratios = [mean(row.ratio(name) for row in raced) for name in ("convkit", "fresh")]
            text += f"{'':>{11 + 12 * len(self.peers)}}{ratios[0]:>8.2f}{ratios[1]:>9.2f}"
        return text


def mean(values: Iterable[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.fmean(map(math.log, values)))


def quantiles(values: Sequence[float]) -> Iterator[tuple[str, float]]:
    """Named quantiles, each a value that is there."""
    ordered = sorted(values)
    for name, part in QUANTILES:
        yield name, ordered[min(int(part * len(ordered)), len(ordered) - 1)]


def summary(table: Table, rows: Sequence[Row]) -> Iterator[str]:
    """What follows the rows of one direction and number of threads."""
    yield table.means(f"geometric mean of {len(rows)}", rows)
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(row.layer.family, []).append(row)
    if len(families) > 1:
        for family, members in sorted(families.items()):
            yield table.means(f"  {family}: {len(members)}", members)
    for title, name in (("ratio", "convkit"), ("fresh", "fresh")):
        ratios = [row.ratio(name) for row in rows if row.peers]
        if len(ratios) >= ENOUGH:
            yield f"{title}: " + ", ".join(f"{word} {value:.2f}" for word, value in quantiles(ratios))
    roofs = [min(row.roofline, 1) for row in rows]
    if len(roofs) >= ENOUGH:
        yield "roof: " + ", ".join(f"{word} {percent(value)}" for word, value in quantiles(roofs))
    yield from _worst(table, rows)
    refused: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for peer, why in row.refused.items():
            refused.setdefault((peer, (why.splitlines() or [""])[0][:200]), []).append(row.layer.name)
    for (peer, why), names in refused.items():
        yield f"{peer} was not timed on {', '.join(names)}: {why}"


def mark(row: Row, roof: bool = True) -> str:
    """What stands behind a share of the roofline, or of the peak alone, that is above 100 %."""
    why = row.why_above if roof or row.share > 1 else None
    return " " if why is None else _probe.MARKS[why]


def notes(rows: Sequence[Row], roof: bool = True) -> Iterator[str]:
    """What the marks mean, and whether the machine was disturbed."""
    found = {mark(row, roof) for row in rows}
    yield from (f"{sign} {why}" for why, sign in _probe.MARKS.items() if sign in found)
    if any(row.probe.disturbed for row in rows) and all(row.steady for row in rows):  # which say so themselves
        yield _probe.UNSTEADY


def _worst(table: Table, rows: Sequence[Row]) -> Iterator[str]:
    """The slowest rows beside the peers, or under the roof where there are none; only of a long list."""
    if len(rows) < 2 * WORST:
        return
    raced = [row for row in rows if row.peers]
    yield "worst first:"
    for row in sorted(raced or rows, key=lambda row: row.ratio() if raced else row.roofline)[:WORST]:
        yield table.line(row)


# ---------------------------------------------------------------- kept, and compared

SAME = ("layer", "direction", "dtype", "layout", "threads", "algorithm")  # what two rows must share to be compared


def document(rows: Sequence[Row]) -> dict:
    """For JSON: the rows, and on what they were measured."""
    libraries = {"convkit": convkit.__version__, "numpy": np.__version__}
    for peer in dict.fromkeys(peer for row in rows for peer in row.peers):
        libraries[peer] = _version(peer)
    return {"cpu": _cpu(), "isa": convkit.isa(), "versions": libraries, "rows": [row.as_dict() for row in rows]}


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:  # installed under another name
        return "unknown"


def _cpu() -> str:
    """The processor's name, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def changes(now: dict, then: dict) -> Iterator[str]:
    """Lines on how the rows of a document stand to the same ones of an earlier document."""
    earlier = {_key(row): row for row in then["rows"]}
    pairs = [(earlier[_key(row)], row) for row in now["rows"] if _key(row) in earlier]
    if not pairs:
        yield "the earlier run has none of these rows"
        return
    places = {f"{run['cpu']}, {run['isa']}, convkit {run['versions']['convkit']}" for run in (now, then)}
    yield f"then and now ({' / '.join(sorted(places))}), ms with out=, and how many times faster now:"
    found = sorted(((_speedup(*pair), *pair) for pair in pairs), key=lambda each: each[0])
    shown = found if len(found) <= 2 * WORST else found[:WORST] + found[-WORST:]
    width = 1 + max(len(row["name"]) for _, _, row in shown)
    for speedup, before, after in shown:
        times = f"{before['seconds']['convkit'] * 1e3:>10.4g}{after['seconds']['convkit'] * 1e3:>10.4g}"
        words = f"{after['name']:<{width}}{after['direction']:<10}{after['threads']:>3}{times}{speedup:>8.2f}"
        yield words + ("" if before["steady"] and after["steady"] else "  unsteady")
    peaks = [statistics.fmean(row["peak_gflops"] for row in rows) for rows in zip(*pairs, strict=True)]
    speedups = [speedup for speedup, _, _ in found]
    yield (
        f"geometric mean of {len(found)}: {mean(speedups):.3f} times faster, least {speedups[0]:.2f}, most "
        f"{speedups[-1]:.2f}; the peak was {peaks[0]:.0f} GFLOP/s and is {peaks[1]:.0f}"
    )


def _key(row: dict) -> str:
    return json.dumps([row[name] for name in SAME], sort_keys=True)


def _speedup(before: dict, after: dict) -> float:
    return before["seconds"]["convkit"] / after["seconds"]["convkit"]
