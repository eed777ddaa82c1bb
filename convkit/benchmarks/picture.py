"""All layers of a run on the roofline of the machine, as a picture; matplotlib is loaded by the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import _extras
from .._files import save_picture
from .._words import counted
from ..train.history import log_axis
from .measure import Row

COLOURS = ("#2166ac", "#d6604d", "#1b7837", "#762a83", "#e08214", "#35978f", "#8c510a", "#c51b7d", "#666666", "#000000")
LABELLED = 8


def roofline(path: Path, rows: Sequence[Row]) -> None:
    """Draw GFLOP/s against FLOPs per byte, a dot for convkit and a ring for the fastest peer of each row.

    The rows are of one direction on one number of threads. Those farthest under the roof are named.
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
        members = [row for row in rows if row.layer.family == family]
        x = [row.flops / row.bytes for row in members]
        axes.plot(x, [row.gflops for row in members], "o", color=colour, markersize=6, label=family)
        for at, row in zip(x, members, strict=True):
            if row.peers:
                best = row.gflops / row.ratio()
                axes.plot([at, at], [row.gflops, best], color=colour, linewidth=0.7)
                axes.plot(at, best, "o", color=colour, markersize=6, markerfacecolor="none")
    for row in sorted(rows, key=lambda row: row.roofline)[:LABELLED]:
        place = {"xytext": (4, -9), "textcoords": "offset points", "fontsize": "x-small"}
        axes.annotate(row.layer.name, (row.flops / row.bytes, row.gflops), **place)
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
    save_picture(figure, path, 130)
