"""Max unpooling, the partial inverse of max pooling, and its gradient."""

from __future__ import annotations

import numpy as np

from .. import _options, _pool_shapes, _shapes
from .._arrays import as_array, as_out, empty
from .._ext import engine
from .._typing import Array, Padding, Size
from . import _pooling
from ._docs import documented
from ._pooling import as_indices, given, point_geometry
from ._shared import check_shape


def _forward(nd, x, indices, kernel_size, stride, padding, output_size, layout, out):
    """`max_unpool1d` to 3d: zeros, and at each index the element of x."""
    x, indices, last = as_array(x, "x"), as_indices(indices), _options.channel_last(layout)
    plane = _pool_shapes.unpooled(nd, x.shape, kernel_size, stride, padding, output_size, last)
    check_shape(indices, "indices", x.shape, "that of x")
    n, channels, _ = _shapes.split_image(x.shape, nd, "x", last)
    y_shape = _shapes.image_shape(n, channels, plane, last, x.ndim == nd + 2)
    _shapes.output_elements(y_shape, "x and output_size")
    geometry, batched = point_geometry(nd, x.shape, y_shape, "x", "the output", last)
    if out is None:
        y = empty(y_shape, x.dtype)
    else:
        y = as_out(out, "out", y_shape, x.dtype, (("x", x), ("indices", indices)))
        if not _pooling.run(geometry, engine.POOL_CHECK, None, None, indices, last, batched):
            _pooling.refuse_indices(indices, plane, 0)
    if not _pooling.run(geometry, engine.POOL_SCATTER, y, x, indices, last, batched):
        _pooling.refuse_indices(indices, plane, 0)
    return given(out, y)


def _backward(nd, grad, indices, layout):
    grad, indices, last = as_array(grad, "grad"), as_indices(indices), _options.channel_last(layout)
    geometry, batched = point_geometry(nd, indices.shape, grad.shape, "indices", "grad", last)
    dx = empty(indices.shape, grad.dtype)
    if not _pooling.run(geometry, engine.POOL_GATHER, grad, dx, indices, last, batched):
        _, _, plane = _shapes.split_image(grad.shape, nd, "grad", last)
        _pooling.refuse_indices(indices, plane, 0)
    return dx


_FORWARD_DOC = """
    Put values back to where `max_pool{nd}d` found them, zeros everywhere else.

    Parameters
    ----------
    x : ndarray, {x} or {x1}
        Values, float32 or float64, of any strides.
    indices : ndarray of int64, of the same shape
        Places in the planes of the output, row-major; of repeated ones the last, in row-major order, stands.
        Any outside is a ValueError that names it.
    kernel_size, stride, padding
        As in `max_pool{nd}d`; no padding by name other than ``"valid"``. They serve to find the output size.
    output_size : int or tuple of {ints}, optional
        Spatial size of the output, less than `stride` away from what it is by default. The whole shape is taken, too.
    {layout}
    {into}

    Returns
    -------
    ndarray, {y} or {y1}
        Along each axis out = (in - 1)*stride - lo - hi + kernel_size, or `output_size`.

    {raises}

    References
    ----------
    M. D. Zeiler, G. W. Taylor and R. Fergus, "Adaptive deconvolutional networks for mid and high level feature
    learning", ICCV 2011.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x = np.random.default_rng(0).random((1, 3, {eights}), np.float32)
    >>> y, indices = convkit.max_pool{nd}d(x, 2, return_indices=True)
    >>> convkit.max_unpool{nd}d(y, indices, 2).shape
    (1, 3, {eights})
"""

_BACKWARD_DOC = """
    Gradient of `max_unpool{nd}d` with respect to its input: each value's is found where the value was put.

    Where indices repeat, each of them receives the gradient, as in PyTorch, though only one value stands.

    Parameters
    ----------
    grad : ndarray, {y} or {y1}
        Gradient of the loss with respect to the output.
    indices : ndarray of int64, {x} or {x1}
        As in the forward call.
    layout : {{"NCHW", "NHWC"}}
        As in the forward call.

    Returns
    -------
    ndarray, {x} or {x1}

    {raises}

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x = np.random.default_rng(0).random((1, 3, {eights}), np.float32)
    >>> y, indices = convkit.max_pool{nd}d(x, 2, return_indices=True)
    >>> np.array_equal(convkit.max_unpool{nd}d_backward(x, indices), y)
    True
"""


@documented(_FORWARD_DOC, "C", "C")
def max_unpool1d(
    x: Array, indices: np.ndarray, kernel_size: Size, stride: Size | None = None, padding: Padding = 0,
    output_size: Size | None = None, *, layout: str = "NCHW", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    return _forward(1, x, indices, kernel_size, stride, padding, output_size, layout, out)


@documented(_FORWARD_DOC, "C", "C")
def max_unpool2d(
    x: Array, indices: np.ndarray, kernel_size: Size, stride: Size | None = None, padding: Padding = 0,
    output_size: Size | None = None, *, layout: str = "NCHW", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    return _forward(2, x, indices, kernel_size, stride, padding, output_size, layout, out)


@documented(_FORWARD_DOC, "C", "C")
def max_unpool3d(
    x: Array, indices: np.ndarray, kernel_size: Size, stride: Size | None = None, padding: Padding = 0,
    output_size: Size | None = None, *, layout: str = "NCHW", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    return _forward(3, x, indices, kernel_size, stride, padding, output_size, layout, out)


@documented(_BACKWARD_DOC, "C", "C")
def max_unpool1d_backward(grad: Array, indices: np.ndarray, *, layout: str = "NCHW") -> np.ndarray:
    return _backward(1, grad, indices, layout)


@documented(_BACKWARD_DOC, "C", "C")
def max_unpool2d_backward(grad: Array, indices: np.ndarray, *, layout: str = "NCHW") -> np.ndarray:
    return _backward(2, grad, indices, layout)


@documented(_BACKWARD_DOC, "C", "C")
def max_unpool3d_backward(grad: Array, indices: np.ndarray, *, layout: str = "NCHW") -> np.ndarray:
    return _backward(3, grad, indices, layout)
