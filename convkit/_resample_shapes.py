"""Sizes of resampling: interpolation by size or scale, and sampling through a grid; each formula in one place.

Nothing here touches an array. What resampling shares with convolution is in `_shapes`.
"""

from __future__ import annotations

import math
import numbers
from typing import NamedTuple

import numpy as np

from . import _shapes
from ._words import brief, with_type


class ResizeShape(NamedTuple):
    """Sizes of an interpolation, one int per axis; `scales` are None where a size was asked for."""

    n: int
    channels: int
    in_: tuple[int, ...]
    out: tuple[int, ...]
    scales: tuple[float, ...] | None


class GridShape(NamedTuple):
    """Sizes of a grid_sample, one int per axis."""

    n: int
    channels: int
    in_: tuple[int, ...]
    out: tuple[int, ...]


def plain_scale(value):
    """`scale_factor` with every number a plain float and every list a tuple."""
    if isinstance(value, (tuple, list)):
        return tuple(map(plain_scale, value))
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"scale_factor must be a real number, or a tuple of them, got {with_type(value)}")
    try:
        return float(value)
    except OverflowError as error:
        raise OverflowError("scale_factor must fit a float, got a number above its range") from error


def _scales(scale_factor, nd: int) -> tuple[float, ...]:
    scale_factor = plain_scale(scale_factor)
    scales = scale_factor if isinstance(scale_factor, tuple) else (scale_factor,) * nd
    if len(scales) != nd or any(isinstance(scale, tuple) for scale in scales):
        raise ValueError(f"scale_factor must be one number or {nd}, one per spatial axis, got {brief(scale_factor)}")
    if not all(0 < scale < math.inf for scale in scales):
        raise ValueError(f"scale_factor must be positive and finite, got {brief(scale_factor)}")
    return scales


def _scaled(size: int, scale: float) -> int:
    """Outputs along one axis: floor(size * scale)."""
    outputs = size * scale
    if outputs < 1:
        raise ValueError(f"scale_factor must leave every axis an element, got {scale} for an axis of {size}")
    if outputs > _shapes.INT64_MAX:
        raise OverflowError(f"scale_factor must keep every axis below 2**63, got {scale} for an axis of {size}")
    return math.floor(outputs)


def _not_empty(in_, shape) -> None:
    if 0 in in_:
        raise ValueError(f"x must have an element along every spatial axis, got shape {tuple(shape)}")


def resized(x_shape, size, scale_factor, channel_last: bool) -> ResizeShape:
    """Every size of an interpolation to `size` or by `scale_factor`, checked."""
    nd = len(x_shape) - 2
    if nd not in (1, 2, 3):
        expected = "(N, *spatial, C)" if channel_last else "(N, C, *spatial)"
        raise ValueError(f"x must have shape {expected} with 1 to 3 spatial axes, got shape {tuple(x_shape)}")
    n, channels, in_ = _shapes.split_image(x_shape, nd, "x", channel_last)
    _not_empty(in_, x_shape)
    if (size is None) == (scale_factor is None):
        given = "neither" if size is None else f"both, {size} and {scale_factor}"
        raise ValueError(f"size or scale_factor must be given, one of the two, got {given}")
    scales = None if scale_factor is None else _scales(scale_factor, nd)
    out = _shapes.per_axis(size, nd, "size", 1) if scales is None else tuple(map(_scaled, in_, scales))
    _shapes.output_elements((n, channels, *out), f"x and {'size' if scales is None else 'scale_factor'}")
    return ResizeShape(n, channels, in_, out, scales)


def grid(x_shape, grid_shape, channel_last: bool) -> GridShape:
    """Every size of a grid_sample, checked; an input and grid without a batch axis count as a batch of one."""
    nd = grid_shape[-1] if grid_shape else 0
    if nd not in (2, 3) or len(grid_shape) not in (nd + 1, nd + 2):
        raise ValueError(
            "grid must have shape (N, *out, 2) or (N, *out, 3), one coordinate per spatial axis, or the same without "
            f"N, got shape {tuple(grid_shape)}"
        )
    n, channels, in_ = _shapes.split_image(x_shape, nd, "x", channel_last)
    if len(x_shape) != len(grid_shape):
        raise ValueError(
            f"grid must have a batch axis where x has one, and only there, got shape {tuple(grid_shape)} for x of "
            f"shape {tuple(x_shape)}"
        )
    batched = len(x_shape) == nd + 2
    if batched and grid_shape[0] != n:
        raise ValueError(f"grid must have as many images as x, {n}, got shape {tuple(grid_shape)}")
    _not_empty(in_, x_shape)
    out = tuple(grid_shape[-nd - 1 : -1])
    _shapes.output_elements((n, channels, *out), "x and grid")
    return GridShape(n, channels, in_, out)
