"""Pooling and unpooling in float64 and plain NumPy: one window after another, as the definitions read."""

from __future__ import annotations

import inspect
import itertools
import math

import numpy as np

from .. import _options, _pool_shapes, _shapes
from .conv import _as_called, _canonical, _dtype, _must_have_shape, rounding

# ---------------------------------------------------------------- windows


def _moving(shape: _pool_shapes.PoolShape, axis: int, count_pad: bool) -> list[tuple[np.ndarray, int]]:
    """For each output of one axis: the inputs under it, and what its average is divided by."""
    size, hi = shape.in_[axis], shape.pad_hi[axis]
    windows = []
    for o in range(shape.out[axis]):
        taps = o * shape.stride[axis] - shape.pad_lo[axis] + np.arange(shape.kernel[axis]) * shape.dilation[axis]
        inside = taps[(taps >= 0) & (taps < size)]
        windows.append((inside, int(np.sum(taps < size + hi)) if count_pad else inside.size))
    return windows


def _adaptive(size: int, out: int) -> list[tuple[np.ndarray, int]]:
    """The same of an adaptive pooling."""
    bounds = [(o * size // out, -(-(o + 1) * size // out)) for o in range(out)]
    return [(np.arange(first, last), last - first) for first, last in bounds]


def _each_window(axes):
    """For each output: its position, the index of its elements in the plane, what its average is divided by."""
    for position in itertools.product(*(range(len(axis)) for axis in axes)):
        taps, counts = zip(*(axis[o] for axis, o in zip(axes, position, strict=True)), strict=True)
        yield (..., *position), (..., *np.ix_(*taps)), max(math.prod(counts), 1)


def _max(x: np.ndarray, axes) -> tuple[np.ndarray, np.ndarray]:
    out = tuple(map(len, axes))
    y, indices = np.full((*x.shape[:2], *out), -np.inf), np.full((*x.shape[:2], *out), -1)
    places = np.arange(math.prod(x.shape[2:])).reshape(x.shape[2:])
    for position, window, _ in _each_window(axes):
        place = places[window].reshape(-1)
        if not place.size:
            continue
        values = x[window].reshape(*x.shape[:2], place.size)
        nan = np.isnan(values)
        last_nan = place.size - 1 - np.argmax(nan[..., ::-1], axis=-1)
        best = np.where(nan.any(axis=-1), last_nan, np.argmax(values, axis=-1))
        y[position] = np.take_along_axis(values, best[..., None], -1)[..., 0]
        indices[position] = place[best]
    return y, indices


def _average(x: np.ndarray, axes, divide: bool) -> np.ndarray:
    y = np.zeros((*x.shape[:2], *map(len, axes)))
    spatial = tuple(range(2, x.ndim))
    for position, window, count in _each_window(axes):
        y[position] = x[window].sum(axis=spatial) / (count if divide else 1)
    return y


def _average_gradient(grad: np.ndarray, in_, axes, divide: bool) -> np.ndarray:
    dx = np.zeros((*grad.shape[:2], *in_))
    for position, window, count in _each_window(axes):
        dx[window] += (grad[position] / (count if divide else 1))[(..., *(None,) * len(in_))]
    return dx


# ---------------------------------------------------------------- by index


def _scatter(values: np.ndarray, indices: np.ndarray, plane, add: bool) -> np.ndarray:
    """A plane of zeros for each image and channel, with the values at, or added at, their places."""
    channels, elements = math.prod(values.shape[:2]), math.prod(plane)
    rows, places = values.reshape(channels, math.prod(values.shape[2:])), indices.reshape(channels, -1)
    _check_places(places, -1 if add else 0, elements)
    y = np.zeros((channels, elements))
    for target, row, place in zip(y, rows, places, strict=True):
        for value, index in zip(row, place, strict=True):
            if index >= 0:
                target[index] = target[index] + value if add else value
    return y.reshape(*values.shape[:2], *plane)


def _check_places(places: np.ndarray, least: int, elements: int) -> None:
    if places.size and not least <= places.min() <= places.max() < elements:
        raise ValueError(f"indices must lie in a plane of {elements} elements, got {places.min()} to {places.max()}")


def _indices(indices, nd: int, last: bool) -> np.ndarray:
    indices = np.asarray(indices)
    indices = indices[None] if indices.ndim == nd + 1 else indices
    return np.moveaxis(indices, -1, 1) if last else indices


# ---------------------------------------------------------------- the definitions


def _called(array: np.ndarray, nd: int, last: bool, like) -> np.ndarray:
    return _as_called(array, last, len(like) == nd + 2)


def _max_pooled(nd, x, axes, return_indices, last):
    y, indices = (_called(array, nd, last, np.shape(x)) for array in _max(_canonical(x, nd, last), axes))
    return (y, indices) if _options.flag(return_indices, "return_indices") else y


def _gradient_of_max(nd: int, grad, indices, x_shape, layout: str) -> np.ndarray:
    last = _options.channel_last(layout)
    _must_have_shape("indices", indices, np.shape(grad))
    _, _, plane = _shapes.split_image(x_shape, nd, "x_shape", last)
    dx = _scatter(_canonical(grad, nd, last), _indices(indices, nd, last), plane, True)
    return _called(dx, nd, last, x_shape)


def _moving_axes(nd, x_shape, kernel_size, stride, padding, dilation, ceil_mode, count_pad, last):
    ceil_mode, count_pad = _options.flag(ceil_mode, "ceil_mode"), _options.flag(count_pad, "count_include_pad")
    shape = _pool_shapes.windows(nd, x_shape, kernel_size, stride, padding, dilation, ceil_mode, last)
    return [_moving(shape, axis, count_pad) for axis in range(nd)]


def _adaptive_axes(nd, x_shape, output_size, last):
    _, _, in_ = _shapes.split_image(x_shape, nd, "x", last)
    out = _pool_shapes.adaptive_out(in_, _pool_shapes.plain_output_size(output_size))
    return list(map(_adaptive, in_, out))


def _gradient_of_average(nd, grad, x_shape, axes, last, divide):
    _, _, in_ = _shapes.split_image(x_shape, nd, "x_shape", last)
    return _called(_average_gradient(_canonical(grad, nd, last), in_, axes, divide), nd, last, x_shape)


def _moving_of(nd: int, divide: bool = True):
    def max_pool(
        x, kernel_size, stride=None, padding=0, dilation=1, *, ceil_mode=False, return_indices=False, layout="NCHW"
    ):
        last = _options.channel_last(layout)
        axes = _moving_axes(nd, np.shape(x), kernel_size, stride, padding, dilation, ceil_mode, False, last)
        return _max_pooled(nd, x, axes, return_indices, last)

    def max_pool_backward(grad, indices, x_shape, *, layout="NCHW"):
        return _gradient_of_max(nd, grad, indices, x_shape, layout)

    def avg_pool(
        x, kernel_size, stride=None, padding=0, *, dilation=1, ceil_mode=False, count_include_pad=True, layout="NCHW"
    ):  # fmt: skip
        last = _options.channel_last(layout)
        axes = _moving_axes(nd, np.shape(x), kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, last)
        return _called(_average(_canonical(x, nd, last), axes, divide), nd, last, np.shape(x))

    def avg_pool_backward(
        grad, x_shape, kernel_size, stride=None, padding=0, *, dilation=1, ceil_mode=False, count_include_pad=True,
        layout="NCHW",
    ):  # fmt: skip
        last = _options.channel_last(layout)
        axes = _moving_axes(nd, x_shape, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, last)
        return _gradient_of_average(nd, grad, x_shape, axes, last, divide)

    return max_pool, max_pool_backward, avg_pool, avg_pool_backward


def _adaptive_of(nd: int, divide: bool = True):
    def adaptive_avg_pool(x, output_size, *, layout="NCHW"):
        last = _options.channel_last(layout)
        axes = _adaptive_axes(nd, np.shape(x), output_size, last)
        return _called(_average(_canonical(x, nd, last), axes, divide), nd, last, np.shape(x))

    def adaptive_avg_pool_backward(grad, x_shape, *, layout="NCHW"):
        last = _options.channel_last(layout)
        _, _, out = _shapes.split_image(np.shape(grad), nd, "grad", last)
        return _gradient_of_average(nd, grad, x_shape, _adaptive_axes(nd, x_shape, out, last), last, divide)

    def adaptive_max_pool(x, output_size, *, return_indices=False, layout="NCHW"):
        last = _options.channel_last(layout)
        return _max_pooled(nd, x, _adaptive_axes(nd, np.shape(x), output_size, last), return_indices, last)

    def adaptive_max_pool_backward(grad, indices, x_shape, *, layout="NCHW"):
        return _gradient_of_max(nd, grad, indices, x_shape, layout)

    return adaptive_avg_pool, adaptive_avg_pool_backward, adaptive_max_pool, adaptive_max_pool_backward


def _unpool_of(nd: int):
    def max_unpool(x, indices, kernel_size, stride=None, padding=0, output_size=None, *, layout="NCHW"):
        last = _options.channel_last(layout)
        _must_have_shape("indices", indices, np.shape(x))
        plane = _pool_shapes.unpooled(nd, np.shape(x), kernel_size, stride, padding, output_size, last)
        y = _scatter(_canonical(x, nd, last), _indices(indices, nd, last), plane, False)
        return _called(y, nd, last, np.shape(x))

    def max_unpool_backward(grad, indices, *, layout="NCHW"):
        last = _options.channel_last(layout)
        grad, places = _canonical(grad, nd, last), _indices(indices, nd, last)
        planes = grad.reshape(*grad.shape[:2], math.prod(grad.shape[2:]))
        _check_places(places, 0, planes.shape[2])
        taken = np.take_along_axis(planes, places.reshape(*places.shape[:2], -1), -1)
        return _called(taken.reshape(places.shape), nd, last, np.shape(indices))

    return max_unpool, max_unpool_backward


def _named(nd: int, functions) -> tuple:
    for function in functions:
        stem, backward, _ = function.__name__.partition("_backward")
        name = f"{stem}{nd}d{backward}"
        function.__name__ = function.__qualname__ = name
        function.__doc__ = f"`convkit.{name}` in float64."
    return functions


max_pool1d, max_pool1d_backward, avg_pool1d, avg_pool1d_backward = _named(1, _moving_of(1))
max_pool2d, max_pool2d_backward, avg_pool2d, avg_pool2d_backward = _named(2, _moving_of(2))
max_pool3d, max_pool3d_backward, avg_pool3d, avg_pool3d_backward = _named(3, _moving_of(3))
(adaptive_avg_pool1d, adaptive_avg_pool1d_backward, adaptive_max_pool1d, adaptive_max_pool1d_backward) = _named(
    1, _adaptive_of(1)
)
(adaptive_avg_pool2d, adaptive_avg_pool2d_backward, adaptive_max_pool2d, adaptive_max_pool2d_backward) = _named(
    2, _adaptive_of(2)
)
(adaptive_avg_pool3d, adaptive_avg_pool3d_backward, adaptive_max_pool3d, adaptive_max_pool3d_backward) = _named(
    3, _adaptive_of(3)
)
max_unpool1d, max_unpool1d_backward = _named(1, _unpool_of(1))
max_unpool2d, max_unpool2d_backward = _named(2, _unpool_of(2))
max_unpool3d, max_unpool3d_backward = _named(3, _unpool_of(3))


# ---------------------------------------------------------------- how far a correct average may lie from these

# By an average's name: the same function without the division.
_SUMS = {
    function.__name__: function
    for nd in (1, 2, 3)
    for functions in (_moving_of(nd, divide=False), _adaptive_of(nd, divide=False))
    for function in _named(nd, functions)
}


def bound(name: str, *args, dtype=None, **kwargs) -> np.ndarray:
    """
    How far a correct average, or gradient of one, may lie from this module's: gamma_{K+2} * S + (K+2) * tiny.

    S is the same sum of absolute values, K the number of elements it has; one rounding is the division's. As in
    `convkit.reference.bound` it is derived and not tuned, and doubled in float64. What does not sum, such as a
    maximum, is exact and has no bound; the gradient of a maximum sums at most as many gradients as there are.

    Parameters
    ----------
    name : str
        An average pooling or its gradient.
    *args, **kwargs
        Its arguments, as the call under test had them.
    dtype : dtype, optional
        float32 or float64; by default that of the call's first array.
    """
    function = globals()[name]
    call = inspect.signature(function).bind(*args, **kwargs).arguments
    operand = "grad" if "grad" in call else "x"
    dtype = np.dtype(dtype or _dtype(call[operand]))
    sizes = function(**(call | {operand: np.abs(np.asarray(call[operand], np.float64))}))
    counts = _SUMS[name](**(call | {operand: np.ones(np.shape(call[operand]))}))
    return rounding(dtype, sizes, counts + 2)
