"""All layers of a run on the roofline of the machine, as a picture; matplotlib is loaded by the first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import _extras
from .._files import save_picture
from .._words import counted
from ..train.history import log_axis
from .measure import Row
from .report import mark, notes

COLOURS = ("#2166ac", "#d6604d", "#1b7837", "#762a83", "#e08214", "#35978f", "#8c510a", "#c51b7d", "#666666", "#000000")
MARKERS = {" ": ("o", 6), "*": ("*", 9), "+": ("P", 7), "!": ("$!$", 8)}  # of what a table marks so, and their sizes
LABELLED = 8
DOT = 5  # pixels from the middle of one to what is beside it
DISTANCES = 9, 20, 32, 46, 60  # of a name from its dot, in points
DIRECTIONS = (1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1), (1, 0), (-1, 0)  # to the right and up


def roofline(path: Path, rows: Sequence[Row]) -> None:
    """Draw GFLOP/s against FLOPs per byte, a dot for convkit and a ring for the fastest peer of each row.

    The rows are of one direction on one number of threads. Those farthest under the roof are named; what is above it
    has another mark than a dot, the table's. Which and why stands below.
    """
    roof, families = rows[0].roof, sorted({row.layer.family for row in rows})
    figure = _extras.need("matplotlib.figure", "bench").Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots()
    intensity = np.array([row.flops / row.bytes for row in rows])
    ends = np.array([min(intensity.min(), 1) / 1.5, max(intensity.max(), 4 * roof.gflops / roof.triad) * 1.5])
    heights = np.minimum(roof.gflops, [ends[0] * roof.triad, roof.gflops, roof.gflops])
    label = f"roof: {roof.gflops:.0f} GFLOP/s, {roof.triad:.0f} GB/s"
    axes.plot([ends[0], roof.gflops / roof.triad, ends[1]], heights, color="black", label=label)
    log_axis(axes, "x")
    log_axis(axes, "y")
    for family, colour in zip(families, COLOURS * 2, strict=False):
        axes.plot([], [], "o", color=colour, markersize=6, label=family)
        for row in (row for row in rows if row.layer.family == family):
            at, (marker, size) = row.flops / row.bytes, MARKERS[mark(row)]
            axes.plot(at, row.gflops, linestyle="", marker=marker, color=colour, markersize=size)
            if row.peers:
                best = row.gflops / row.ratio()
                axes.plot([at, at], [row.gflops, best], color=colour, linewidth=0.7)
                axes.plot(at, best, "o", color=colour, markersize=6, markerfacecolor="none")
    if any(row.peers for row in rows):
        axes.plot([], [], "o", color="grey", markerfacecolor="none", label="the fastest peer")
    setting = rows[0].setting
    axes.set(
        title=f"{rows[0].direction}, {setting.dtype}, {counted(setting.threads, 'thread')}, {rows[0].isa}",
        xlabel="FLOPs for each byte that must be moved",
        ylabel="GFLOP/s (results in out=)",
        xlim=ends,
    )
    axes.grid(alpha=0.25, which="both")
    axes.legend(fontsize="small", frameon=False, loc="lower right")
    named = sorted(rows, key=lambda row: row.roofline)[:LABELLED]
    words = [f"named: the {len(named)} of {len(rows)} layers farthest under the roof"] if len(named) < len(rows) else []
    figure.supxlabel("\n".join([*words, *notes(rows)]), fontsize="small", x=0.01, ha="left")
    _name(axes, named, rows)
    save_picture(figure, path, 130)


def _name(axes: Any, named: Sequence[Row], rows: Sequence[Row]) -> None:
    """Names beside dots, where they cover no dot, no other name, not the legend, and do not leave the frame."""
    words = _extras.need("matplotlib.text", "bench").Text
    axes.figure.draw_without_rendering()  # which settles where all is
    dots = axes.transData.transform([(row.flops / row.bytes, row.gflops) for row in rows])
    taken = [axes.get_legend().get_window_extent().extents, *np.concatenate([dots - DOT, dots + DOT], axis=1)]
    left, bottom, right, top = axes.get_window_extent().extents
    for row in named:
        best = None
        for distance, (across, up) in itertools.product(DISTANCES, DIRECTIONS):
            text = axes.annotate(
                row.layer.name, (row.flops / row.bytes, row.gflops), (distance * across, distance * up),
                textcoords="offset points", fontsize="x-small", ha=("center", "left", "right")[across], va="center",
                arrowprops={"arrowstyle": "-", "linewidth": 0.4} if distance > DISTANCES[0] else None,
            )  # fmt: skip
            text.set_in_layout(False)
            text.get_window_extent()  # places it, and counts its line in
            x0, y0, x1, y1 = place = words.get_window_extent(text).extents
            over = sum(x0 < d and c < x1 and y0 < b and a < y1 for c, a, d, b in taken)
            over += 2 * (x0 < left or y0 < bottom or x1 > right or y1 > top)
            if best is not None and over >= best[0]:
                text.remove()
                continue
            if best is not None:
                best[1].remove()
            best = over, text, place
            if not over:
                break
        taken.append(best[2])
