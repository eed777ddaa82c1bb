"""grid_sample and its gradients: documentation, every check, output shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .. import _options, _resample_shapes, _shapes
from .._arrays import as_array, as_out, empty
from .._ext import engine
from .._results import GridGrads
from .._threads import current
from .._typing import Array
from ._shared import array_or_shape, batch, check_shape, remembered

_NAMES = GridGrads._fields


class _Plan(NamedTuple):
    geometry: engine.GridGeometry
    y_shape: tuple[int, ...]
    batched: bool
    channel_last: bool


@remembered
def _plan(x_shape, grid_shape, align_corners, mode, padding_mode, layout) -> _Plan:
    channel_last = _options.channel_last(layout)
    shape = _resample_shapes.grid(x_shape, grid_shape, channel_last)
    sampling = _options.grid_mode(mode, len(shape.in_))
    geometry = engine.GridGeometry(*shape, sampling, _options.grid_padding(padding_mode), align_corners)
    batched = len(x_shape) == len(shape.in_) + 2
    y_shape = _shapes.image_shape(shape.n, shape.channels, shape.out, channel_last, batched)
    return _Plan(geometry, y_shape, batched, channel_last)


def planned(x_shape, grid_shape, mode, padding_mode, align_corners, layout) -> _Plan:
    """The sizes of a call, which are remembered."""
    align_corners = _options.flag(align_corners, "align_corners")
    return _plan((x_shape, grid_shape, align_corners), (mode, padding_mode, layout))


def grid_sample(
    x: Array, grid: Array, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = False, *,
    layout: str = "NCHW", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """
    Sample images or volumes at the places that a grid names.

    The last axis of `grid` holds the coordinates (x, y) or (x, y, z) of one output position, innermost spatial axis
    first. Along an axis of `size` elements a coordinate g, in -1..1 from edge to edge of the outermost elements, or,
    with `align_corners`, from middle to middle, becomes

    - ``c = (g + 1) * (size / 2) - 1/2``, or with `align_corners` ``c = (g + 1) * ((size - 1) / 2)``,

    clamped to -2**62..2**62, a NaN to the lower end. "border" then clamps c to 0..size-1; "reflection" first mirrors it
    at -1/2 and size-1/2, or with `align_corners` at 0 and size-1, as often as it takes. "nearest" takes the element
    nearest to c, of two the even one; "bilinear" weights the elements l = floor(c) and l+1 by 1-t and t, t = c - l;
    "bicubic" leaves c as it is, weights l-1..l+2 by Keys' kernel with A = -0.75, and clamps or mirrors each of these
    four instead. The weight of an element is the product over the axes. What lies outside counts as zero.

    Parameters
    ----------
    x : ndarray, (N, C, *spatial) or (C, *spatial)
        Input with two or three spatial axes, float32 or float64, of any strides. All arrays of a call share one dtype.
    grid : ndarray, (N, *out, 2) or (N, *out, 3), or without N
        The places, in both layouts with the coordinates last.
    mode : {"bilinear", "nearest", "bicubic"}
        "bilinear" is trilinear on volumes; "bicubic" is for images only.
    padding_mode : {"zeros", "border", "reflection"}
        What is found outside the input.
    align_corners : bool, default: False
        Whether -1 and 1 are the middles of the outermost elements, rather than their outer edges.
    layout : {"NCHW", "NHWC"}
        "NHWC" has the channel axis of x and of the result last.
    out : ndarray, optional
        Array of the result's shape and dtype to write to and return: writable, of any strides, overlapping neither
        itself nor an input.

    Returns
    -------
    ndarray, (N, C, *out) or (C, *out)

    Raises
    ------
    TypeError
        If an argument has the wrong type, an array a dtype other than float32 and float64, or arrays have two dtypes.
    ValueError
        If a shape or option does not fit, or a spatial axis of x is empty.
    OverflowError
        If the number of elements of the result does not fit 64 bits.
    MemoryError
        If the result cannot be allocated.

    See Also
    --------
    interpolate : the same on a regular grid.

    Notes
    -----
    The coordinate c, and t, are by definition formed in the dtype of the call, every operation rounded in the order
    written here. N, C and the sizes of the output may be 0. Results have the same bits for any number of threads, and
    in both layouts.

    References
    ----------
    M. Jaderberg, K. Simonyan, A. Zisserman and K. Kavukcuoglu, "Spatial transformer networks", 2015, arXiv:1506.02025.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x, middle = np.arange(4.0).reshape(1, 1, 2, 2), np.zeros((1, 1, 1, 2))
    >>> convkit.grid_sample(x, middle).tolist()
    [[[[1.5]]]]
    """
    x = as_array(x, "x")
    grid = as_array(grid, "grid", x, "x")
    plan = planned(x.shape, grid.shape, mode, padding_mode, align_corners, layout)
    if out is None:
        y = out = empty(plan.y_shape, x.dtype)
    else:
        y = as_out(out, "out", plan.y_shape, x.dtype, (("x", x), ("grid", grid)))
    x, grid, y = batch(plan.batched, x, grid, y)
    engine.grid_forward(plan.geometry, x, grid, y, plan.channel_last, current())
    return out


def grid_sample_backward(
    grad: Array, x: Array, grid: Array, mode: str = "bilinear", padding_mode: str = "zeros",
    align_corners: bool = False, *, layout: str = "NCHW", need: str | Sequence[str] = _NAMES,
) -> GridGrads:  # fmt: skip
    """
    Gradients of `grid_sample` with respect to its input and its grid.

    That of x adds, to each element that a position reads, the position's gradient times the element's weight. That of a
    coordinate is the sum over channels of the gradient times the derivative of the sample with respect to c, times
    dc/dg = size/2, or (size - 1)/2 with `align_corners`. Where the sample has a kink its derivative is by definition

    - at whole c, after mirroring, that of the piece to the right, l = floor(c), so that with "zeros" it is that of
      x[0] at c = -1 and zero at c = size;
    - with "border" and "reflection" zero where c, after mirroring, lies on the first or last element or outside;
    - zero everywhere for "nearest".

    Parameters
    ----------
    grad : ndarray, (N, C, *out) or (C, *out)
        Gradient of the loss with respect to the output.
    x : ndarray or tuple of int
        The input, or its shape where `need` does not include "grid".
    grid : ndarray
        The grid.
    mode, padding_mode, align_corners, layout
        As in the forward call.
    need : str or sequence of str, default: ("x", "grid")
        The gradients to compute. The others come back as None and cost nothing.

    Returns
    -------
    GridGrads
        Named tuple (x, grid) of arrays that have the shapes of the input and of the grid.

    Raises
    ------
    TypeError, ValueError, OverflowError, MemoryError
        As `grid_sample`; ValueError too if `need` has an unknown name.

    Notes
    -----
    Both gradients have the same bits for any number of threads. Every element of that of x is summed over the positions
    in row-major order.

    References
    ----------
    M. Jaderberg, K. Simonyan, A. Zisserman and K. Kavukcuoglu, "Spatial transformer networks", 2015, arXiv:1506.02025.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x, middle = np.arange(4.0).reshape(1, 1, 2, 2), np.zeros((1, 1, 1, 2))
    >>> convkit.grid_sample_backward(np.ones((1, 1, 1, 1)), x, middle).x.tolist()
    [[[[0.25, 0.25], [0.25, 0.25]]]]
    """
    need_x, need_grid = _options.need(need, _NAMES)
    grad = as_array(grad, "grad")
    x, x_shape = array_or_shape(x, "x", "grid" if need_grid else None, grad)
    grid = as_array(grid, "grid", grad, "grad")
    plan = planned(x_shape, grid.shape, mode, padding_mode, align_corners, layout)
    check_shape(grad, "grad", plan.y_shape, "that of the output")
    dx = empty(x_shape, grad.dtype) if need_x else None
    dgrid = np.zeros(grid.shape, grid.dtype) if need_grid else None
    grads = GridGrads(dx, dgrid)
    grad, x, grid, dx, dgrid = batch(plan.batched, grad, x, grid, dx, dgrid)
    if need_x:
        engine.grid_grad_x(plan.geometry, grad, grid, dx, plan.channel_last, current())
    if need_grid and mode != "nearest":
        engine.grid_grad_grid(plan.geometry, grad, x, grid, dgrid, plan.channel_last, current())
    return grads
