"""What all pooling operators share: indices taken in and checked, results allocated, the engine called."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import _shapes
from .._arrays import as_out, empty, fits_out, refuse_lazy
from .._ext import engine
from .._threads import current
from ._shared import batch

INT64 = np.dtype(np.int64)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a call needs to know about its sizes."""

    geometry: engine.PoolGeometry
    y_shape: tuple[int, ...]
    batched: bool
    channel_last: bool


def as_indices(value) -> np.ndarray:
    """The argument `indices` as an int64 ndarray, without a copy unless its byte order is foreign."""
    if isinstance(value, np.ma.MaskedArray) or not hasattr(type(value), "__array__"):
        raise TypeError(f"indices must be an int64 array, got {type(value).__name__}")
    refuse_lazy(value, "indices")
    array = np.asarray(value)
    if array.dtype.kind != "i" or array.dtype.itemsize != 8:
        raise TypeError(f"indices must be int64, got dtype {array.dtype}")
    return array.astype(INT64, copy=False)


def pooled_out(out, shape, dtype, x: np.ndarray, return_indices: bool):
    """(y, indices or None) to fill: `out`, or the parts of it that are given, or new arrays."""
    if not return_indices:
        if out is None:
            return empty(shape, dtype), None
        return out if fits_out(out, shape, x) else as_out(out, "out", shape, dtype, (("x", x),)), None
    inputs = (("x", x),)
    if out is None:
        return empty(shape, dtype), empty(shape, INT64)
    if not isinstance(out, tuple):
        raise TypeError(f"out must be a tuple (y, indices) where return_indices is True, got {type(out).__name__}")
    if len(out) != 2:
        raise ValueError(f"out must be a tuple (y, indices) where return_indices is True, got {len(out)} entries")
    y, indices = out
    y = empty(shape, dtype) if y is None else as_out(y, "out[0]", shape, dtype, inputs)
    others = (*inputs, ("out[0]", y))
    return y, empty(shape, INT64) if indices is None else as_out(indices, "out[1]", shape, INT64, others)


def given(out, filled):
    """What to return: the objects that the caller gave, or where they gave none, the arrays filled."""
    if out is None:
        return filled
    if isinstance(out, tuple):
        return tuple(array if mine is None else mine for mine, array in zip(out, filled, strict=True))
    return out


def run(geometry: engine.PoolGeometry, op: int, x, y, indices, channel_last: bool, batched: bool) -> bool:
    """One call of the engine; arrays without a batch axis get one. Whether all indices lay inside."""
    if not batched:
        x, y, indices = batch(False, x, y, indices)
    return engine.pool(geometry, op, x, y, indices, channel_last, current())


def refuse_indices(indices: np.ndarray, plane: tuple[int, ...], least: int):
    """Say which index lies outside the plane."""
    elements = math.prod(plane)
    where = tuple(int(i) for i in np.argwhere((indices < least) | (indices >= elements))[0])
    raise ValueError(
        f"indices must be at least {least} and less than {elements}, the number of elements of a plane {plane}, "
        f"got {indices[where]} at {where}"
    )


def point_geometry(nd, small, large, small_name, large_name, channel_last) -> tuple[engine.PoolGeometry, bool]:
    """Geometry of a move by index between images of two sizes, which must agree in all else; and whether batched."""
    n, channels, out = _shapes.split_image(small, nd, small_name, channel_last)
    n_large, channels_large, in_ = _shapes.split_image(large, nd, large_name, channel_last)
    if len(small) != len(large) or (n, channels) != (n_large, channels_large):
        raise ValueError(
            f"{small_name} must have the batch and channels of {large_name}, shape {tuple(large)}, "
            f"got shape {tuple(small)}"
        )
    return engine.PoolGeometry(n, channels, in_, out), len(small) == nd + 2
