"""interpolate and its gradient: documentation, every check, output shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .. import _options, _resample_shapes, _shapes
from .._arrays import as_array, as_out, empty
from .._ext import engine
from .._threads import current
from .._typing import Array, Size
from . import _pooling
from ._shared import check_shape, remembered

_SAMPLING = dict.fromkeys(("nearest", "nearest-exact"), engine.NEAREST) | {"bicubic": engine.CUBIC}
_SAMPLING |= dict.fromkeys(("linear", "bilinear", "trilinear"), engine.LINEAR)


class _Plan(NamedTuple):
    geometry: engine.ResizeGeometry | engine.PoolGeometry
    y_shape: tuple[int, ...]
    channel_last: bool


def coordinates(shape: _resample_shapes.ResizeShape, mode: str, align_corners: bool, antialias: bool) -> tuple:
    """(sampling, antialias, times, over, before, after): output i lies at (i + before) * times / over - after."""
    if align_corners:
        times, over = [size - 1 for size in shape.in_], [size - 1 for size in shape.out]
        times = [0 if steps == 0 else t for t, steps in zip(times, over, strict=True)]
        over = [max(steps, 1) for steps in over]
    elif shape.scales is None:
        times, over = shape.in_, shape.out
    else:
        times, over = [1.0] * len(shape.in_), shape.scales
    before = 0.0 if (align_corners and not antialias) or mode == "nearest" else 0.5
    after = 0.0 if mode == "nearest-exact" or antialias else before
    return _SAMPLING[mode], antialias, tuple(times), tuple(over), before, after


@remembered
def _plan(x_shape, size, scale_factor, align_corners, antialias, mode, layout) -> _Plan:
    channel_last = _options.channel_last(layout)
    shape = _resample_shapes.resized(x_shape, size, scale_factor, channel_last)
    mode = _options.interpolation(mode)
    _options.interpolation_for(len(shape.in_), mode, align_corners, antialias)
    y_shape = _shapes.image_shape(shape.n, shape.channels, shape.out, channel_last, True)
    if mode == "area":
        return _Plan(engine.PoolGeometry(*shape[:4]), y_shape, channel_last)
    geometry = engine.ResizeGeometry(*shape[:4], *coordinates(shape, mode, align_corners, antialias))
    return _Plan(geometry, y_shape, channel_last)


def _planned(x_shape, size, scale_factor, mode, align_corners, antialias, layout) -> _Plan:
    """The plan with these arguments, every one of them made plain first: True, 1 and 1.0 are one key."""
    size = None if size is None else _shapes.plain(size, "size")
    scale_factor = None if scale_factor is None else _resample_shapes.plain_scale(scale_factor)
    flags = _options.flag(align_corners, "align_corners"), _options.flag(antialias, "antialias")
    return _plan((x_shape, size, scale_factor, *flags), (mode, layout))


def size_of(grad_shape, x_shape, scale_factor, layout) -> tuple[int, ...] | None:
    """The argument `size` of the call whose output has the shape of grad; None where it had a scale."""
    if len(grad_shape) != len(x_shape):
        raise ValueError(f"grad must have as many axes as x_shape, {len(x_shape)}, got shape {grad_shape}")
    if scale_factor is not None:
        return None
    return grad_shape[1:-1] if _options.channel_last(layout) else grad_shape[2:]


def _run(plan: _Plan, x: np.ndarray, y: np.ndarray, backward: bool) -> None:
    """y from x, or, backward, x, the gradient of the input, from y, that of the output."""
    if isinstance(plan.geometry, engine.PoolGeometry):
        op = engine.POOL_AVERAGE_GRAD if backward else engine.POOL_AVERAGE
        _pooling.run(plan.geometry, op, x, y, None, plan.channel_last, True)
    else:
        engine.resize(plan.geometry, x, y, backward, plan.channel_last, current())


def interpolate(
    x: Array, size: Size | None = None, scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
    align_corners: bool = False, *, antialias: bool = False, layout: str = "NCHW", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """
    Resize a batch of signals, images or volumes.

    Along each axis, of `in` elements before and `out` after, output i lies at coordinate c of the input:

    - ``c = (i + 1/2) * in / out - 1/2``, or with `scale_factor` ``c = (i + 1/2) / scale - 1/2``; linear modes take 0
      where this is negative;
    - ``c = i * (in - 1) / (out - 1)`` with `align_corners`, or 0 where out is 1;
    - "nearest" takes the element at ``floor(i * in / out)``, "nearest-exact" the one at
      ``floor((i + 1/2) * in / out)``, with `scale_factor` 1 and scale for in and out.

    With ``l = floor(c)``, at most in - 1, and ``t = min(c - l, 1)``, linear modes are (1 - t)*x[l] + t*x[l+1], and
    bicubic the four elements l-1..l+2 weighted by Keys' kernel with A = -0.75. Elements past the edge are the edge's;
    where t is 0 or 1 no other element than x[l] or x[l+1] counts, not even an infinite one.

    With `antialias` each output is a weighted mean. Its centre is ``c = (i + 1/2) * in / out`` (with `scale_factor`
    over the scale, with `align_corners` times (in - 1) / (out - 1)), and ``d = abs(j + 1/2 - c) / s`` is how far
    element j is from it, with ``s = max(in / out, 1)``. Weights are 1 - d up to d = 1 ("bilinear"), or Keys' kernel
    with A = -0.5 up to d = 2 ("bicubic"), divided by their sum. Elements of no weight do not count.

    "area" is the mean of all elements from floor(i * in / out) to ceil((i + 1) * in / out) - 1, as in
    `adaptive_avg_pool2d`.

    Parameters
    ----------
    x : ndarray, (N, C, *spatial)
        Input, float32 or float64, of any strides, with one to three spatial axes.
    size : int or tuple of int, optional
        Spatial size of the result, at least 1. Either `size` or `scale_factor` is given.
    scale_factor : float or tuple of float, optional
        Ratio of the sizes, positive. It is used as given, also where `out` was rounded; PyTorch copies the elements of
        an axis whose size stays, whatever the scale.
    mode : {"nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area"}
        The linear modes and "bicubic" are for one, two, two and three spatial axes. "nearest" is PyTorch's, which most
        networks were trained with; "nearest-exact" is the one without its shift.
    align_corners : bool, default: False
        Whether the first and last element keep their places, rather than the edges of the outermost elements.
    antialias : bool, default: False
        Whether, where an axis shrinks, all elements count, rather than the nearest ones: for "bilinear" and "bicubic".
    layout : {"NCHW", "NHWC"}
        "NHWC" has the channel axis of x and of the result last.
    out : ndarray, optional
        Array of the result's shape and dtype to write to and return: writable, of any strides, overlapping neither
        itself nor an input.

    Returns
    -------
    ndarray, (N, C, *out)
        out is `size`, or along each axis floor(in * scale).

    Raises
    ------
    TypeError
        If an argument has the wrong type, or x a dtype other than float32 and float64.
    ValueError
        If a shape, size or option does not fit, both or neither of `size` and `scale_factor` are given, or a spatial
        axis is empty before or after.
    OverflowError
        If a size, or the number of elements of the result, does not fit 64 bits.
    MemoryError
        If the result cannot be allocated.

    See Also
    --------
    grid_sample : samples at places that are given one by one.

    Notes
    -----
    Coordinates depend on sizes alone and not on the dtype of x: they are formed in float64, every operation rounded in
    the order written here, and the weights, formed from them in float64, are rounded once to the dtype of x. N and C
    may be 0. Results have the same bits for any number of threads, and in both layouts.

    References
    ----------
    R. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on Acoustics, Speech and
    Signal Processing 29, 1981.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> convkit.interpolate(x, 2, mode="area")[0, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    x = as_array(x, "x")
    plan = _planned(x.shape, size, scale_factor, mode, align_corners, antialias, layout)
    if out is None:
        y = out = empty(plan.y_shape, x.dtype)
    else:
        y = as_out(out, "out", plan.y_shape, x.dtype, (("x", x),))
    _run(plan, x, y, False)
    return out


def interpolate_backward(
    grad: Array, x_shape: Sequence[int], scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
    align_corners: bool = False, *, antialias: bool = False, layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    """
    Gradient of `interpolate` with respect to its input: its adjoint.

    Every element receives the sum of the gradients of the outputs that it was read for, times its weight in each.

    Parameters
    ----------
    grad : ndarray, (N, C, *out)
        Gradient of the loss with respect to the output. Its spatial size is the `size` of the forward call.
    x_shape : tuple of int
        Shape of the input.
    scale_factor : float or tuple of float, optional
        As in the forward call, if it was given there.
    mode, align_corners, antialias, layout
        As in the forward call.

    Returns
    -------
    ndarray, x_shape

    Raises
    ------
    TypeError, ValueError, OverflowError, MemoryError
        As `interpolate`; ValueError too if grad is not of the shape that `interpolate` gives.

    Notes
    -----
    The sums have the same bits for any number of threads, and in both layouts.

    References
    ----------
    R. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on Acoustics, Speech and
    Signal Processing 29, 1981.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> convkit.interpolate_backward(np.ones((1, 1, 4, 4)), (1, 1, 2, 2)).tolist()
    [[[[4.0, 4.0], [4.0, 4.0]]]]
    """
    grad = as_array(grad, "grad")
    x_shape = _shapes.x_shape(x_shape)
    size = size_of(grad.shape, x_shape, scale_factor, layout)
    plan = _planned(x_shape, size, scale_factor, mode, align_corners, antialias, layout)
    check_shape(grad, "grad", plan.y_shape, "that of the output")
    dx = empty(x_shape, grad.dtype)
    _run(plan, dx, grad, True)
    return dx
