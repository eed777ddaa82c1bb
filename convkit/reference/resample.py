"""interpolate and grid_sample: along each axis an output has a few taps (element, weight), and the sample is the sum
over all combinations of one tap per axis.

`terms` and `bound` say how far from these values a correct result in float32 or float64 may lie.
"""

from __future__ import annotations

import inspect
import itertools
from typing import NamedTuple

import numpy as np

from .. import _options, _resample_shapes, _shapes
from .._results import GridGrads
from .conv import _each, rounding

_NAMES = GridGrads._fields
_CUBIC = -0.75
_FARTHEST = 2.0**62


class _Tap(NamedTuple):
    """One element for every output along an axis; arrays of one shape."""

    index: np.ndarray
    inside: np.ndarray  # whether there is such an element
    weight: np.ndarray
    slope: np.ndarray  # of the weight, with respect to the grid's coordinate


# ---------------------------------------------------------------- weights


def _linear(t: np.ndarray) -> list[np.ndarray]:
    return [1 - t, t]


def _linear_slopes(t: np.ndarray, magnitude: bool) -> list[np.ndarray]:
    return [(1.0 if magnitude else -1.0) * np.ones_like(t), np.ones_like(t)]


def _cubic(t: np.ndarray) -> list[np.ndarray]:
    """Keys' kernel at distances 1+t, t, 1-t, 2-t: (a+2)d^3 - (a+3)d^2 + 1 up to 1, a(d^3 - 5d^2 + 8d - 4) up to 2.

    In factors, so that a weight near zero is as exact as the others.
    """
    s, a = 1 - t, _CUBIC
    return [a * t * s * s, s * (1 + t - (a + 2) * t * t), t * (1 + s - (a + 2) * s * s), a * s * t * t]


def _cubic_slopes(t: np.ndarray, magnitude: bool) -> list[np.ndarray]:
    """Derivatives of `_cubic`; or, with `magnitude`, their formulas on absolute values, which do not cancel."""
    s, a, sign = 1 - t, _CUBIC, -1 if magnitude else 1
    outer = [a * s * (1 - sign * 3 * t), a * t * (2 - sign * 3 * t)]
    inner = [d * (3 * (a + 2) * d - sign * 2 * (a + 3)) for d in (t, s)]
    return [outer[0], inner[0], -inner[1], outer[1]]


# ---------------------------------------------------------------- interpolate


def _window_taps(first: np.ndarray, end: np.ndarray, weight, size: int) -> list[_Tap]:
    """The elements first..end-1 of every output, with `weight(element)` over the sum of all of them."""
    each = first[:, None] + np.arange(np.max(end - first))
    inside = (each < end[:, None]) & (each < size)
    weights = np.where(inside, weight(each), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    inside &= weights != 0
    return [
        _Tap(np.where(keep, index, 0), keep, w, np.zeros(len(first)))
        for index, keep, w in zip(each.T, inside.T, weights.T, strict=True)
    ]


def _spread_taps(mode: str, align_corners: bool, size: int, out: int, scale: float | None) -> list[_Tap]:
    """What every output along one axis reads with antialias."""
    i = np.arange(out, dtype=np.float64)
    times, over = (float(size), float(out)) if scale is None else (1.0, scale)
    if align_corners:
        times, over = (size - 1.0, out - 1.0) if out > 1 else (0.0, 1.0)
    c, stretch = (i + 0.5) * times / over, max(times / over, 1.0)

    def weight(element):
        d = np.abs(element + 0.5 - c[:, None]) / stretch
        if mode == "bilinear":
            return np.maximum(1 - d, 0)
        near, far = (1 - d) * (1 + d - 1.5 * d * d), -0.5 * (d - 1) * (2 - d) * (2 - d)
        return np.where(d < 1, near, np.where(d < 2, far, 0))

    reach = (1 if mode == "bilinear" else 2) * stretch
    first = np.maximum(np.floor(c - reach), 0).astype(np.int64)
    return _window_taps(first, np.ceil(c + reach).astype(np.int64) + 1, weight, size)


def _axis_taps(mode: str, align_corners: bool, antialias: bool, size: int, out: int, scale: float | None) -> list[_Tap]:
    """What every output along one axis reads. Coordinates are formed in float64, in the order of the documentation."""
    if mode == "area":
        o = np.arange(out)
        return _window_taps(o * size // out, -((o + 1) * -size // out), np.ones_like, size)
    if antialias:
        return _spread_taps(mode, align_corners, size, out, scale)
    i = np.arange(out, dtype=np.float64)
    over, times = (float(out), float(size)) if scale is None else (scale, 1.0)
    if mode.startswith("nearest"):
        lower = np.floor((i + (0.5 if mode == "nearest-exact" else 0.0)) * times / over).astype(np.int64)
        return [_Tap(np.minimum(lower, size - 1), np.ones(out, bool), np.ones(out), np.zeros(out))]
    if align_corners:
        c = i * (size - 1) / (out - 1) if out > 1 else i
    else:
        c = (i + 0.5) * times / over - 0.5
    if mode != "bicubic":
        c = np.maximum(c, 0.0)
    lower = np.minimum(np.floor(c).astype(np.int64), size - 1)
    t = np.minimum(c - lower, 1.0)
    weights = _cubic(t) if mode == "bicubic" else _linear(t)
    first = lower - 1 if mode == "bicubic" else lower
    return [
        _Tap(np.clip(first + k, 0, size - 1), weight != 0, weight, np.zeros(out)) for k, weight in enumerate(weights)
    ]


def _outer(arrays, combine) -> np.ndarray:
    """One array per axis combined into one over all of them."""
    total = arrays[0]
    for array in arrays[1:]:
        total = combine(total[..., None], array)
    return total


def _resize(x_shape, size, scale_factor, mode, align_corners, antialias, channel_last):
    """Sizes, and the taps of every axis."""
    shape = _resample_shapes.resized(x_shape, size, scale_factor, channel_last)
    _options.interpolation_for(len(shape.in_), _options.interpolation(mode), align_corners, antialias)
    scales = shape.scales or (None,) * len(shape.in_)
    axes = zip(shape.in_, shape.out, scales, strict=True)
    return shape, [_axis_taps(mode, align_corners, antialias, *axis) for axis in axes]


def _interpolate(x, size, scale_factor, mode, align_corners, antialias, layout, weigh) -> np.ndarray:
    last = _options.channel_last(layout)
    shape, axes = _resize(np.shape(x), size, scale_factor, mode, align_corners, antialias, last)
    x = np.moveaxis(x, -1, 1) if last else x
    y = np.zeros((shape.n, shape.channels, *shape.out))
    for taps in itertools.product(*axes):
        counts = _outer([tap.inside for tap in taps], np.logical_and)
        weight = weigh(_outer([tap.weight for tap in taps], np.multiply))
        values = x[(..., *np.ix_(*(tap.index for tap in taps)))]
        y += np.where(counts, weight * np.where(counts, values, 0), 0)
    return np.moveaxis(y, 1, -1) if last else y


def _interpolate_backward(grad, x_shape, scale_factor, mode, align_corners, antialias, layout, weigh) -> np.ndarray:
    last = _options.channel_last(layout)
    x_shape = _shapes.array_shape(x_shape, "x_shape")
    grad = np.moveaxis(grad, -1, 1) if last else grad
    size = grad.shape[2:] if scale_factor is None else None
    shape, axes = _resize(x_shape, size, scale_factor, mode, align_corners, antialias, last)
    if grad.shape != (shape.n, shape.channels, *shape.out):
        raise ValueError(f"grad must have the shape of the output, got shape {grad.shape}")
    dx = np.zeros((shape.n, shape.channels, *shape.in_))
    for taps in itertools.product(*axes):
        counts = _outer([tap.inside for tap in taps], np.logical_and)
        weight = weigh(_outer([tap.weight for tap in taps], np.multiply))
        values = np.where(counts, weight * np.where(counts, grad, 0), 0)
        np.add.at(dx, (slice(None), slice(None), *np.ix_(*(tap.index for tap in taps))), values)
    return np.moveaxis(dx, 1, -1) if last else dx


def _as_is(weight):
    return weight


def interpolate(
    x, size=None, scale_factor=None, mode="nearest", align_corners=False, *, antialias=False, layout="NCHW"
):
    """`convkit.interpolate` in float64; its docstring has the formula of the coordinates."""
    x = np.asarray(x, np.float64)
    return np.ascontiguousarray(_interpolate(x, size, scale_factor, mode, align_corners, antialias, layout, _as_is))


def interpolate_backward(
    grad, x_shape, scale_factor=None, mode="nearest", align_corners=False, *, antialias=False, layout="NCHW"
):
    """`convkit.interpolate_backward` in float64."""
    grad = np.asarray(grad, np.float64)
    options = mode, align_corners, antialias, layout
    return np.ascontiguousarray(_interpolate_backward(grad, x_shape, scale_factor, *options, _as_is))


# ---------------------------------------------------------------- grid_sample


def _reflected(c: np.ndarray, size: int, align_corners: bool) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates mirrored into the image, and the sign of their derivative."""
    low, span = (0.0, size - 1) if align_corners else (-0.5, size)
    if span == 0:
        return np.zeros_like(c), np.ones_like(c)
    d = c - c.dtype.type(low)
    sign = np.where(d < 0, -1.0, 1.0)
    d = np.fmod(np.abs(d), c.dtype.type(2 * span))
    odd = d >= span
    return np.where(odd, c.dtype.type(2 * span) - d, d) + c.dtype.type(low), np.where(odd, -sign, sign)


def _mirrored(index: np.ndarray, size: int, align_corners: bool) -> np.ndarray:
    """Elements instead of coordinates mirrored."""
    period = 2 * (size - 1) if align_corners else 2 * size
    if period == 0:
        return np.zeros_like(index)
    index = np.where(index < 0, -index if align_corners else -1 - index, index) % period
    return np.where(index < size, index, period - index - (0 if align_corners else 1))


def _coordinates(g: np.ndarray, size: int, mode: str, padding_mode: str, align_corners: bool):
    """Coordinates in elements, formed in the dtype of g, operation by operation, and their derivatives."""
    half = g.dtype.type(0.5 * (size - 1 if align_corners else size))
    c = (g + g.dtype.type(1)) * half
    if not align_corners:
        c = c - g.dtype.type(0.5)
    c = np.where(c > -_FARTHEST, c, g.dtype.type(-_FARTHEST))  # a NaN too
    c = np.where(c < _FARTHEST, c, g.dtype.type(_FARTHEST))
    turn = np.full(g.shape, float(half))
    if mode != "bicubic" and padding_mode != "zeros":
        if padding_mode == "reflection":
            c, sign = _reflected(c, size, align_corners)
            turn = turn * sign
        last = g.dtype.type(size - 1)
        turn = np.where((c > 0) & (c < last), turn, 0.0)
        c = np.minimum(np.maximum(c, 0), last)
    return c, turn


def _grid_taps(g: np.ndarray, size: int, mode: str, padding_mode: str, align_corners: bool, magnitude: bool):
    """What every position reads along one axis, from the coordinates g of that axis."""
    c, turn = _coordinates(g, size, mode, padding_mode, align_corners)
    lower = np.rint(c) if mode == "nearest" else np.floor(c)
    t = (c - lower).astype(np.float64)  # rounded in the dtype of g
    lower = lower.astype(np.int64)
    if mode != "bicubic" and padding_mode != "zeros":
        lower = np.minimum(lower, size - 1)
    weights = {"nearest": lambda t: [np.ones_like(t)], "bilinear": _linear, "bicubic": _cubic}[mode](t)
    slopes = {"nearest": lambda t, _: [np.zeros_like(t)], "bilinear": _linear_slopes, "bicubic": _cubic_slopes}[mode]
    taps = []
    for k, (weight, slope) in enumerate(zip(weights, slopes(t, magnitude), strict=True)):
        index = lower + k - (1 if mode == "bicubic" else 0)
        if mode == "bicubic" and padding_mode == "border":
            index = np.clip(index, 0, size - 1)
        elif mode == "bicubic" and padding_mode == "reflection":
            index = _mirrored(index, size, align_corners)
        inside = (index >= 0) & (index < size)
        taps.append(_Tap(np.where(inside, index, 0), inside, weight, slope * turn))
    return taps


class _Samples(NamedTuple):
    """A grid_sample in canonical order, (N, C, *spatial) and (N, *out, nd), with its taps, outermost axis first."""

    shape: _resample_shapes.GridShape
    axes: list[list[_Tap]]
    batched: bool


def _samples(x_shape, grid, mode, padding_mode, align_corners, channel_last, magnitude) -> _Samples:
    shape = _resample_shapes.grid(x_shape, np.shape(grid), channel_last)
    nd = len(shape.in_)
    _options.grid_mode(mode, nd)
    _options.grid_padding(padding_mode)
    batched = np.ndim(grid) == nd + 2
    grid = np.asarray(grid) if batched else np.asarray(grid)[None]
    grid = grid.astype(grid.dtype.newbyteorder("="))
    coordinates = [grid[..., nd - 1 - axis] for axis in range(nd)]
    with np.errstate(over="ignore", invalid="ignore"):
        axes = [
            _grid_taps(g, size, mode, padding_mode, align_corners, magnitude)
            for g, size in zip(coordinates, shape.in_, strict=True)
        ]
    return _Samples(shape, axes, batched)


def _image(array, channel_last: bool, batched: bool) -> np.ndarray:
    array = np.asarray(array, np.float64) if batched else np.asarray(array, np.float64)[None]
    return np.moveaxis(array, -1, 1) if channel_last else array


def _product(factors) -> np.ndarray:
    total = 1.0
    for factor in factors:
        total = total * factor
    return total


def _grid_sample(x, grid, mode, padding_mode, align_corners, layout, weigh) -> np.ndarray:
    last = _options.channel_last(layout)
    shape, axes, batched = _samples(np.shape(x), grid, mode, padding_mode, align_corners, last, False)
    x = _image(x, last, batched)
    y = np.zeros((shape.n, shape.channels, *shape.out))
    for taps in itertools.product(*axes):
        inside, weight = np.logical_and.reduce([t.inside for t in taps]), weigh(_product(t.weight for t in taps))
        for n in range(shape.n):
            values = x[n][(slice(None), *(tap.index[n] for tap in taps))]
            y[n] += np.where(inside[n], weight[n] * values, 0)
    y = np.moveaxis(y, 1, -1) if last else y
    return np.ascontiguousarray(y if batched else y[0])


def _grid_sample_backward(grad, x, grid, mode, padding_mode, align_corners, layout, need, weigh, magnitude):
    last, (need_x, need_grid) = _options.channel_last(layout), _options.need(need, _NAMES)
    x_shape = _shapes.array_shape(x, "x") if isinstance(x, (tuple, list)) else np.shape(x)
    shape, axes, batched = _samples(x_shape, grid, mode, padding_mode, align_corners, last, magnitude)
    grad = _image(grad, last, batched)
    if grad.shape != (shape.n, shape.channels, *shape.out):
        raise ValueError(f"grad must have the shape of the output, got shape {grad.shape}")
    dx = np.zeros((shape.n, shape.channels, *shape.in_))
    dgrid = np.zeros((shape.n, *shape.out, len(axes)))
    for taps in itertools.product(*axes):
        inside, weight = np.logical_and.reduce([t.inside for t in taps]), weigh(_product(t.weight for t in taps))
        for n in range(shape.n):
            at = (slice(None), *(tap.index[n] for tap in taps))
            if need_x:
                np.add.at(dx[n], at, np.where(inside[n], weight[n] * grad[n], 0))
            if need_grid:
                products = np.where(inside[n], grad[n] * _image(x, last, batched)[n][at], 0).sum(axis=0)
                for axis, tap in enumerate(taps):
                    others = _product(t.weight[n] for t in taps if t is not tap)
                    dgrid[n, ..., len(axes) - 1 - axis] += weigh(others * tap.slope[n]) * products
    dx = np.moveaxis(dx, 1, -1) if last else dx
    grads = [np.ascontiguousarray(d if batched else d[0]) for d in (dx, dgrid)]
    return GridGrads(*(d if needed else None for d, needed in zip(grads, (need_x, need_grid), strict=True)))


def grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False, *, layout="NCHW"):
    """`convkit.grid_sample` in float64, but for the coordinates, which are formed in the dtype of `grid`."""
    return _grid_sample(x, grid, mode, padding_mode, align_corners, layout, _as_is)


def grid_sample_backward(
    grad, x, grid, mode="bilinear", padding_mode="zeros", align_corners=False, *, layout="NCHW", need=_NAMES
):
    """`convkit.grid_sample_backward` in float64, but for the coordinates, which are formed in the dtype of `grid`."""
    return _grid_sample_backward(grad, x, grid, mode, padding_mode, align_corners, layout, need, _as_is, False)


# ---------------------------------------------------------------- how far a correct result may lie from these


def _call(name: str, args, kwargs) -> dict:
    """The arguments of a call by name."""
    call = inspect.signature(globals()[name]).bind(*args, **kwargs)
    call.apply_defaults()
    return call.arguments


def _weights_of_axes(call: dict) -> int:
    """How many weights an output has along all axes together, of an interpolation or its gradient."""
    last = _options.channel_last(call["layout"])
    x_shape, size, factor = call.get("x_shape", np.shape(call.get("x"))), call.get("size"), call["scale_factor"]
    if "grad" in call and factor is None:
        size = np.shape(call["grad"])[1:-1] if last else np.shape(call["grad"])[2:]
    axes = _resize(x_shape, size, factor, call["mode"], call["align_corners"], True, last)[1]
    return sum(map(len, axes))


def terms(name: str, *args, **kwargs):
    """
    Size and number of the products that an operator sums for each element of its result.

    Parameters
    ----------
    name : str
        The operator, a function of this module.
    *args, **kwargs
        Its arguments.

    Returns
    -------
    S, K : ndarray or GridGrads each
        The sum of the absolute values of the products, and their number; both have the form and shapes of the
        operator's result. What lies outside is no product.
    """
    call = _call(name, args, kwargs)
    backward = {"magnitude": True} if name == "grid_sample_backward" else {}
    arrays = [n for n in ("x", "grad") if n in call and not isinstance(call[n], (tuple, list))]
    magnitudes = {n: np.abs(np.asarray(call[n], np.float64)) for n in arrays}
    ones = {n: np.ones(np.shape(call[n])) for n in arrays}
    function = globals()["_" + name]

    def count(weight):
        return np.ones_like(weight)

    return (
        function(**(call | magnitudes), weigh=np.abs, **backward),
        function(**(call | ones), weigh=count, **backward),
    )


def bound(name: str, *args, dtype=None, **kwargs):
    """
    How far a correct result may lie from this module's: gamma_n * S + n * tiny, derived and not tuned.

    With S and K from `terms`, u = 2**-24 or 2**-53 and gamma_n = n*u / (1 - n*u), it holds for sums in any order, fused
    or not. n is K and the roundings of one product's factors: 8 are enough for linear weights (1 - t along three axes,
    their two products, the slope's, and those with x and grad). A cubic weight has 8 more along each of its two axes,
    but not in a float32 interpolation, whose weights are formed in float64; with antialias each is over a sum of all of
    its axis, of as many terms. In float64 it is twice that, because the reference rounds as well.

    Parameters
    ----------
    name : str
        The operator, a function of this module.
    *args, **kwargs
        Its arguments, as the call under test had them.
    dtype : dtype, optional
        float32 or float64; by default that of the call's first array.

    Returns
    -------
    ndarray or GridGrads
        Of the form and shapes of the operator's result.
    """
    call = _call(name, args, kwargs)
    first = call["grad"] if "grad" in call else call["x"]
    dtype = np.dtype(dtype or np.asarray(first).dtype.newbyteorder("="))
    in_double = dtype == np.float32 and name.startswith("interpolate")
    extra = 24 if call["mode"] == "bicubic" and not in_double else 8
    if call.get("antialias") and not in_double:
        extra += _weights_of_axes(call)
    return _each(lambda s, k: rounding(dtype, s, k + extra), *terms(name, *args, **kwargs))
