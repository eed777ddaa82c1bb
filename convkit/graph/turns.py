"""Steps of a program for each of many matrices or rows: what is the same but for where it lies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._ext import engine
from .placement import Spot

Axes = list[tuple[int, tuple[int, ...]]]  # of each its size, and every place's stride along it


def movable(plan: Any, spot: Any) -> Spot:
    """A place that turns may move on: of an array, which the program keeps, where it is."""
    return Spot(*plan.program.fixed(spot), spot.shape) if isinstance(spot, np.ndarray) else spot


def joined(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> Axes:
    """Axes of these sizes, of each place the strides, as few as they are."""
    axes: Axes = []
    for size, steps in zip(sizes, zip(*strides, strict=True), strict=True):
        if size == 1:
            continue
        if axes and all(outer == size * inner for outer, inner in zip(axes[-1][1], steps, strict=True)):
            axes[-1] = axes[-1][0] * size, steps
        else:
            axes.append((size, steps))
    return axes


def split(axes: Axes) -> tuple[Axes, Axes]:
    """Those of a program's turns, and the shortest ones before them, if there are too many."""
    outer = sorted(range(len(axes)), key=lambda k: axes[k][0])[: max(len(axes) - engine.TURN_AXES, 0)]
    return [axes[k] for k in outer], [axis for k, axis in enumerate(axes) if k not in outer]


def turns_at_once(axes: Axes) -> int:
    """How many turns a program takes together."""
    return math.prod(size for size, _ in split(axes)[1])


def in_turns(axes: Axes, places: Sequence[tuple]) -> Iterator[tuple[list[Any], tuple[int, ...], list[tuple[int, ...]]]]:
    """Places (base, offset, ...), the sizes of the axes of turns, and each place's steps along them.

    Several times, with the places moved on, where there are more axes than turns may have.
    """
    outer, inner = split(axes)
    sizes = tuple(size for size, _ in inner)
    steps = [tuple(stride[k] for _, stride in inner) for k in range(len(places))]
    for index in np.ndindex(*(size for size, _ in outer)):
        moved = [
            (base, offset + sum(i * stride[k] for i, (_, stride) in zip(index, outer, strict=True)), *rest)
            for k, (base, offset, *rest) in enumerate(places)
        ]
        yield moved, sizes, steps
