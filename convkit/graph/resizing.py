"""Resizing by NumPy, axis by axis: all that ONNX's Resize knows, for what the engine has no call for."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._words import brief
from .table import Attrs


class _Axis(NamedTuple):
    """One axis: elements before and after, the scale, and the part of it that is taken, by where it begins and ends."""

    size: int
    out: int
    scale: float
    start: float
    end: float


def resized(attrs: Attrs, x: np.ndarray, shape: tuple[int, ...], scales: tuple[float, ...], roi: Any) -> np.ndarray:
    """`x` in another shape.

    Parameters
    ----------
    attrs : dict
        Of the node Resize.
    x : ndarray
    shape : tuple of int
    scales : tuple of float
        One for each axis.
    roi : ndarray or None
        Begin and end of what is taken along the axes, for tf_crop_and_resize.
    """
    cropping = attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    axes = [axis % x.ndim for axis in attrs.get("axes") or range(x.ndim)]
    nearest = attrs.get("mode", "nearest") == "nearest"
    y = x if nearest or x.dtype.kind == "f" else x.astype(np.float64)
    outside = []
    for axis, (out, scale) in enumerate(zip(shape, scales, strict=True)):
        start, end = 0.0, 1.0
        if cropping and axis in axes:
            at = axes.index(axis)
            start, end = float(roi[at]), float(roi[at + len(axes)])
        one = _Axis(x.shape[axis], out, scale, start, end)
        if out == x.shape[axis] and scale == 1 and (start, end) == (0.0, 1.0):
            continue
        places = _coordinates(one, attrs.get("coordinate_transformation_mode", "half_pixel"))
        if cropping:
            outside.append((axis, (places < 0) | (places > one.size - 1)))
        y = _picked(y, axis, places, attrs) if nearest else _weighted(y, axis, one, places, attrs)
    for axis, beyond in outside:
        y[(*(slice(None),) * axis, beyond)] = attrs.get("extrapolation_value", 0.0)
    return y.astype(x.dtype, copy=False)


def _coordinates(axis: _Axis, mode: str) -> np.ndarray:
    """Where the output's elements lie in the input."""
    x, size, length = np.arange(axis.out, dtype=np.float64), axis.size, axis.size * axis.scale
    if mode == "align_corners":
        return x * (size - 1) / (length - 1) if length != 1 else 0 * x
    if mode == "asymmetric":
        return x / axis.scale
    if mode == "tf_crop_and_resize":
        span = (axis.end - axis.start) * (size - 1)
        return axis.start * (size - 1) + (x * span / (axis.out - 1) if axis.out > 1 else x + span / 2)
    if mode == "pytorch_half_pixel" and axis.out == 1:
        return x - 0.5
    middle = (x + 0.5) / axis.scale - 0.5
    if mode == "half_pixel_symmetric":
        return middle + size / 2 * (1 - axis.out / length)
    if mode not in ("half_pixel", "pytorch_half_pixel"):
        raise ValueError(f"coordinate_transformation_mode must be one of ONNX's, got {brief(mode)}")
    return middle


_ROUNDINGS = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _picked(x: np.ndarray, axis: int, places: np.ndarray, attrs: Attrs) -> np.ndarray:
    index = _ROUNDINGS[attrs.get("nearest_mode", "round_prefer_floor")](places).astype(np.int64)
    return np.take(x, np.clip(index, 0, x.shape[axis] - 1), axis)


def _weighted(x: np.ndarray, axis: int, one: _Axis, places: np.ndarray, attrs: Attrs) -> np.ndarray:
    """Sums over the neighbours of each place; with antialias, over as many more as the scale leaves out."""
    cubic = attrs["mode"] == "cubic"
    squeezed = min(one.scale, 1.0) if attrs.get("antialias", 0) else 1.0
    first = math.floor(-(2 if cubic else 1) / squeezed) + 1
    taps = np.arange(first, (2 if cubic else 1) + 1 - first if squeezed < 1 else (3 if cubic else 2))
    low = np.floor(places)
    distance = np.abs((taps - (places - low)[:, np.newaxis]) * squeezed)
    weights = _cubic(distance, attrs.get("cubic_coeff_a", -0.75)) if cubic else np.maximum(1 - distance, 0)
    index = low[:, np.newaxis].astype(np.int64) + taps
    if attrs.get("exclude_outside", 0):
        weights = np.where((index >= 0) & (index < one.size), weights, 0)
    weights = weights / weights.sum(1, keepdims=True)
    index, broad = np.clip(index, 0, one.size - 1), (-1, *(1,) * (x.ndim - 1 - axis))
    total = np.zeros((*x.shape[:axis], one.out, *x.shape[axis + 1 :]), x.dtype)
    for k in range(len(taps)):
        total += np.take(x, index[:, k], axis) * weights[:, k].reshape(broad).astype(x.dtype)
    return total


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
