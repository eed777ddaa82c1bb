"""Rows of an array, each taken by itself: steps of the engine for softmax, normalisation and sums along axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._arrays import is_real
from .._ext import engine
from .placement import contiguous
from .table import Info
from .turns import in_turns, joined, split

_MOST_STEPS = 256  # of one node: each is planned and kept
# Rows are the engine's lanes; NumPy sums along them. A single one of so many values takes both as long, one of eight
# times as many NumPy a quarter of the engine's time, and eight of those 0.8 (Zen 3, one thread).
_LONG_ROW = 1 << 14


def lower_rows(
    plan: Any, node: Any, op: int, axis: int, axes: int, numbers: tuple = (None, None), *, epsilon: float = 0.0,
    factor: float = 1.0, least: float = 0.0, neighbours: tuple = (),
) -> bool:  # fmt: skip
    """One step of the engine over the rows along so many axes from this one on; the numbers are a scale and a bias.

    Where the rows are no axis of one step, turns along as few of the first axes, and of those behind the rows, as it
    takes: whether there are steps does not follow from how many images there are, unless they lie within rows' memory.
    """
    x, y = node.inputs[0], node.outputs[0]
    info = plan.info(x)
    if not is_real(info.dtype) or 0 in info.shape or plan.constant(x) is not None or len(node.outputs) > 1:
        return False
    if op not in _OF_ANY and info.dtype.itemsize != 4:  # squares in float64 hold those of float32 of any size
        return False
    places = plan.spot(x), plan.spot(y)
    if op in _SINGLE:
        places = places[0], _whole_rows(places[1], info, axis, axes)
        if math.prod(info.shape[axis : axis + axes]) > _LONG_ROW:
            return False
    behind = axis + axes
    for apart, kept in sorted(np.ndindex(axis + 1, len(info.shape) - behind + 1), key=sum):
        turned, own = [*range(apart), *range(behind, behind + kept)], [*range(apart, behind)]
        own += range(behind + kept, len(info.shape))
        sizes = info.shape[apart:axis], info.shape[axis:behind], info.shape[behind + kept :]
        spots = [_as_rows(place._replace(strides=[place.strides[k] for k in own]), sizes) for place in places]
        if None not in spots:
            break
    else:
        return False
    shape = tuple(map(math.prod, sizes))
    if shape[2] == 1:  # rows that are each other's neighbours are so along the last axis
        shape, spots = (1, shape[1], shape[0]), [(*spot[:2], (0, spot[2][1], spot[2][0]), spot[3]) for spot in spots]
    scale, bias = (_repeated(plan, value, sizes[1], info.dtype) for value in numbers)
    if any(array is None and value is not None for array, value in zip((scale, bias), numbers, strict=True)):
        return False
    outer = joined([info.shape[k] for k in turned], [[place.strides[k] for k in turned] for place in places])
    if math.prod(size for size, _ in split(outer)[0]) > _MOST_STEPS:
        return False
    for moved, turns, steps in in_turns(outer, spots):
        plan.program.turns(turns, 1, False, 0)
        plan.program.rows(op, info.dtype.itemsize, shape, *moved, scale, bias, epsilon, factor, least, neighbours)
        plan.program.moving(*steps)
    return True


_OF_ANY = frozenset((engine.SOFTMAX, engine.RESPONSE))  # dtype
_SINGLE = frozenset((engine.TOTAL, engine.ROOT))  # number that a row becomes


def _whole_rows(spot: Any, info: Info, axis: int, axes: int) -> Any:
    """The place of what has one number for each row, or that axis not at all, as of rows that begin there."""
    after = len(info.shape) - axis - axes
    strides, rows = spot.strides, Info(info.shape[axis : axis + axes], info.dtype)
    return spot._replace(
        strides=(*strides[:axis], *contiguous(rows), *strides[len(strides) - after :]), shape=info.shape
    )


def _repeated(plan: Any, value: Any, sizes: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
    """A constant with an element for each of a row."""
    data = None if value is None else plan.constant(value)
    if data is None or data.dtype != dtype:
        return None
    return np.ascontiguousarray(np.broadcast_to(data, sizes)).reshape(-1)


def _as_rows(spot: Any, sizes: tuple[tuple[int, ...], ...]) -> tuple | None:
    """A place as (n, c, l), if each is axes of one step, and either what is in a row or the rows are adjacent."""
    base, offset, strides, item, _ = spot
    steps, at = [], 0
    for part in sizes:
        step = reach = None
        for size, stride in list(zip(part, strides[at:], strict=False))[::-1]:
            if size != 1 and reach not in (None, stride):
                return None
            if size != 1:
                step, reach = stride if step is None else step, stride * size
        steps.append(item if step is None else step)
        at += len(part)
    alone = math.prod(sizes[1]) == 1
    rows = steps[0] if math.prod(sizes[2]) == 1 else steps[2]
    return (base, offset, tuple(steps), item) if alone or item in (steps[1], rows) else None
