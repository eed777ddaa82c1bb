"""Rows of operators that reduce axes: sums, means, largest elements, norms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._arrays import is_real
from .._ext import engine
from .._range import norms
from .rows import lower_rows
from .table import OPS, Attrs, Info, Op, needs, positive


def _axes(attrs: Attrs, x: Any, axes: np.ndarray | None) -> tuple[int, ...] | None:
    """The axes to reduce; None for none at all."""
    if axes is not None and axes.size:
        return tuple(positive(int(axis), len(x.shape)) for axis in np.atleast_1d(axes))
    return None if attrs.get("noop_with_empty_axes", 0) else tuple(range(len(x.shape)))


def _reduce_infer(attrs: Attrs, x: Info, axes: Info | None = None) -> list[Info]:
    gone = _axes(attrs, x, needs(axes))
    if gone is None:
        return [Info(x.shape, x.dtype)]
    kept = [1 if axis in gone else size for axis, size in enumerate(x.shape)]
    if not attrs.get("keepdims", 1):
        kept = [size for axis, size in enumerate(x.shape) if axis not in gone]
    return [Info(tuple(kept), x.dtype)]


def _reduction(function: Callable) -> Callable:
    def run(attrs: Attrs, x: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
        gone = _axes(attrs, x, axes)
        gone = () if gone is None else gone
        return np.asarray(function(x, axis=gone, keepdims=bool(attrs.get("keepdims", 1)))).astype(x.dtype)

    return run


def _norm(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    found = norms(x, axis)
    return found if keepdims else np.squeeze(found, axis)


def _log_sum_exp(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    x = x if x.dtype.kind == "f" else x.astype(np.float64)
    largest = np.max(x, axis=axis, keepdims=True, initial=-math.inf)
    largest = np.where(np.isfinite(largest), largest, 0)
    sums = np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True)) + largest
    return sums if keepdims else np.squeeze(sums, axis)


def _extreme(function: Callable, sign: int) -> Callable:
    """Of nothing the least, or largest, number of the dtype."""

    def reduced(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
        if x.dtype.kind == "f":
            return function(x, axis=axis, keepdims=keepdims, initial=sign * math.inf)
        if x.dtype.kind == "b":
            return function(x, axis=axis, keepdims=keepdims, initial=sign > 0)
        limits = np.iinfo(x.dtype)
        return function(x, axis=axis, keepdims=keepdims, initial=limits.max if sign > 0 else limits.min)

    return reduced


def _lower_pooled(code: int) -> Callable[..., bool]:
    """Over the last axes of a matrix or of images, as pooling to one element."""

    def lower(plan: Any, node: Any) -> bool:
        x = plan.info(node.inputs[0])
        axes = None if len(node.inputs) < 2 or node.inputs[1] is None else plan.constant(node.inputs[1])
        gone = _axes(node.attrs, x, axes)
        kept = len(x.shape) - len(gone or ())
        whole = gone is not None and sorted(gone) == list(range(kept, len(x.shape))) and kept <= 2 and len(gone) <= 3
        spots = plan.spot(node.inputs[0]), plan.spot(node.outputs[0])
        if not whole or not gone or not is_real(x.dtype) or 0 in x.shape or isinstance(spots[0], np.ndarray):
            return False
        sizes = (1,) * (2 - kept) + x.shape[:kept]
        geometry = engine.PoolGeometry(*sizes, x.shape[kept:], (1,) * len(gone))
        plan.program.pool(geometry, code, x.dtype.itemsize, *(_images(spot, kept, len(gone)) for spot in spots), None)
        return True

    return lower


def _lower_total(code: int, mean: bool = False) -> Callable[..., bool]:
    """Over axes that follow each other, of float32, as sums of rows."""

    def lower(plan: Any, node: Any) -> bool:
        x = plan.info(node.inputs[0])
        axes = None if len(node.inputs) < 2 or node.inputs[1] is None else plan.constant(node.inputs[1])
        gone = sorted(_axes(node.attrs, x, axes) or ())
        if not gone or gone != list(range(gone[0], gone[-1] + 1)) or x.dtype != np.float32:
            return False
        factor = 1 / max(1, math.prod(x.shape[axis] for axis in gone)) if mean else 1.0
        return lower_rows(plan, node, code, gone[0], len(gone), factor=factor)

    return lower


def _either(*ways: Callable[..., bool]) -> Callable[..., bool]:
    """The first of these ways that there is for a node."""
    return lambda plan, node: any(way(plan, node) for way in ways)


def _images(spot: Any, kept: int, gone: int) -> tuple:
    """A place whose first axes are those of images and channels; those that are gone have stride 0."""
    base, offset, strides, item = spot[:4]
    tail = strides[kept:] or (0,) * gone
    return base, offset, ((0,) * (2 - kept) + strides[:kept] + tail), item


def _within_images(attrs: Attrs, x: Info, axes: Info | None = None) -> bool:
    """Whether it is known not to reduce the first axis."""
    return axes is not None and axes.data is not None and 0 not in (_axes(attrs, x, axes.data) or ())


_LOWERED = {
    "ReduceMean": _either(_lower_pooled(engine.POOL_AVERAGE), _lower_total(engine.TOTAL, mean=True)),
    "ReduceMax": _lower_pooled(engine.POOL_MAX),
    "ReduceSum": _lower_total(engine.TOTAL), "ReduceL2": _lower_total(engine.ROOT),
}  # fmt: skip
_POOLED = frozenset(("ReduceMean", "ReduceMax"))

for _name, _function in {
    "ReduceSum": np.sum, "ReduceMean": np.mean, "ReduceProd": np.prod,
    "ReduceMax": _extreme(np.max, -1), "ReduceMin": _extreme(np.min, 1), "ReduceL2": _norm,
    "ReduceL1": lambda x, **kw: np.sum(np.abs(x), **kw), "ReduceLogSumExp": _log_sum_exp,
    "ReduceSumSquare": lambda x, **kw: np.sum(np.square(x), **kw),
    "ReduceLogSum": lambda x, **kw: np.log(np.sum(x, **kw)),
}.items():  # fmt: skip
    _more = {"apart": _within_images, "any_order": True} if _name in _POOLED else {}
    OPS[_name] = Op(_reduction(_function), _reduce_infer, _LOWERED.get(_name), **_more)
