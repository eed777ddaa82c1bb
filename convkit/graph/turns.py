"""One step of a program for each of many matrices or rows: what is the same but for where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Axes = list[tuple[int, tuple[int, ...]]]  # of each its size, and every place's stride along it


def joined(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> Axes:
    """Axes of these sizes, of each place the strides, as few as they are; the longest is the last."""
    axes: Axes = []
    for size, steps in zip(sizes, zip(*strides, strict=True), strict=True):
        if size == 1:
            continue
        if axes and all(outer == size * inner for outer, inner in zip(axes[-1][1], steps, strict=True)):
            axes[-1] = axes[-1][0] * size, steps
        else:
            axes.append((size, steps))
    return sorted(axes, key=lambda axis: axis[0])


def in_turns(axes: Axes, places: Sequence[tuple]) -> Iterator[tuple[list[Any], int, tuple[int, ...]]]:
    """Through all but the last axis: the places (base, offset, ...), moved on, and how often which steps are taken."""
    *outer, (turns, steps) = axes or [(1, (0,) * len(places))]
    for index in np.ndindex(*(size for size, _ in outer)):
        moved = [
            (base, offset + sum(i * stride[k] for i, (_, stride) in zip(index, outer, strict=True)), *rest)
            for k, (base, offset, *rest) in enumerate(places)
        ]
        yield moved, turns, steps
