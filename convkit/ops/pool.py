"""Max and average pooling over moving windows, forward and gradients: documentation, every check, output shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _options, _pool_shapes, _shapes
from .._arrays import as_array, empty
from .._ext import engine
from .._typing import Array, Padding, Size
from . import _pooling
from ._docs import documented
from ._pooling import Plan, as_indices, given, point_geometry, pooled_out
from ._shared import check_shape, remembered


@remembered
def _plan(x_shape, name, ceil_mode, count_pad, nd, kernel_size, stride, padding, dilation, layout) -> Plan:
    last = _options.channel_last(layout)
    shape = _pool_shapes.windows(nd, x_shape, kernel_size, stride, padding, dilation, ceil_mode, last, name)
    batched = len(x_shape) == nd + 2
    y_shape = _shapes.image_shape(shape.n, shape.channels, shape.out, last, batched)
    return Plan(engine.PoolGeometry(*shape, count_pad), y_shape, batched, last)


def _planned(nd, x_shape, kernel_size, stride, padding, dilation, ceil_mode, count_pad, layout, name="x") -> Plan:
    if type(ceil_mode) is not bool or type(count_pad) is not bool:
        ceil_mode, count_pad = _options.flag(ceil_mode, "ceil_mode"), _options.flag(count_pad, "count_include_pad")
    return _plan((x_shape, name, ceil_mode, count_pad), (nd, kernel_size, stride, padding, dilation, layout))


def _max_forward(nd, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out):
    x = as_array(x, "x")
    sizes = _planned(nd, x.shape, kernel_size, stride, padding, dilation, ceil_mode, False, layout)
    with_indices = _options.flag(return_indices, "return_indices")
    y, indices = pooled_out(out, sizes.y_shape, x.dtype, x, with_indices)
    _pooling.run(sizes.geometry, engine.POOL_MAX, x, y, indices, sizes.channel_last, sizes.batched)
    return given(out, (y, indices) if with_indices else y)


def max_backward(nd, grad, indices, x_shape, layout):
    """Gradient of any max pooling: what it needs to know of the windows is in the indices."""
    grad, indices = as_array(grad, "grad"), as_indices(indices)
    channel_last, x_shape = _options.channel_last(layout), _shapes.x_shape(x_shape)
    geometry, batched = point_geometry(nd, grad.shape, x_shape, "grad", "x_shape", channel_last)
    check_shape(indices, "indices", grad.shape, "that of grad")
    dx = empty(x_shape, grad.dtype)
    if not _pooling.run(geometry, engine.POOL_SCATTER_ADD, dx, grad, indices, channel_last, batched):
        _, _, plane = _shapes.split_image(x_shape, nd, "x_shape", channel_last)
        _pooling.refuse_indices(indices, plane, -1)
    return dx


def _avg_forward(nd, x, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout, out):
    x = as_array(x, "x")
    sizes = _planned(nd, x.shape, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout)
    y, _ = pooled_out(out, sizes.y_shape, x.dtype, x, False)
    _pooling.run(sizes.geometry, engine.POOL_AVERAGE, x, y, None, sizes.channel_last, sizes.batched)
    return given(out, y)


def _avg_backward(nd, grad, x_shape, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout):
    grad, x_shape = as_array(grad, "grad"), _shapes.x_shape(x_shape)
    sizes = _planned(
        nd, x_shape, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout, "x_shape"
    )
    check_shape(grad, "grad", sizes.y_shape, "that of the output")
    dx = empty(x_shape, grad.dtype)
    _pooling.run(sizes.geometry, engine.POOL_AVERAGE_GRAD, dx, grad, None, sizes.channel_last, sizes.batched)
    return dx


_MAX_DOC = """
    Maximum over moving windows of the last {nd} axes.

    Parameters
    ----------
    x : ndarray, {x} or {x1}
        Input, float32 or float64, of any strides.
    {windows}
    {return_indices}
    {layout}
    {into}

    Returns
    -------
    y : ndarray, {y} or {y1}
        {windows_out}
    indices : ndarray of int64, of the same shape
        Only with `return_indices`: the maximum's place, row-major in the plane {plane} of that image and channel
        without its padding, the same numbers in both layouts.

    {raises}

    Notes
    -----
    Of equal elements the first in row-major order is the maximum; a NaN is, and of several the last. Padding is never
    the maximum: a window without any element inside the image gives -inf and index -1.

    References
    ----------
    M. Ranzato, F. J. Huang, Y. Boureau and Y. LeCun, "Unsupervised learning of invariant feature hierarchies with
    applications to object recognition", CVPR 2007.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x = np.random.default_rng(0).random((1, 3, {eights}), np.float32)
    >>> convkit.max_pool{nd}d(x, 3, stride=2, padding=1).shape
    (1, 3, {fours})
"""

_MAX_BACKWARD_DOC = """
    Gradient of `max_pool{nd}d` with respect to its input.

    Each element receives the sum of the gradients of all windows whose maximum it is, added in row-major order.

    Parameters
    ----------
    grad : ndarray, {y} or {y1}
        Gradient of the loss with respect to the output.
    indices : ndarray of int64, of the same shape
        From the forward call. Index -1 gives its gradient to nobody; any other outside the plane is a ValueError.
    x_shape : tuple of int
        Shape of the input.
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
    >>> dx = convkit.max_pool{nd}d_backward(np.ones_like(y), indices, x.shape)
    >>> bool(np.count_nonzero(dx) == y.size)
    True
"""

_AVG_DOC = """
    Average over moving windows of the last {nd} axes.

    Parameters
    ----------
    x : ndarray, {x} or {x1}
        Input, float32 or float64, of any strides.
    {windows}
    count_include_pad : bool, default: True
        Whether padding counts, as zeros. A sum is divided by the number of its elements inside the image or, if padding
        counts, inside the padded image; what `ceil_mode` reaches over never counts.
    {layout}
    {into}

    Returns
    -------
    ndarray, {y} or {y1}
        {windows_out}

    {raises}

    Notes
    -----
    A window without any element inside the image gives 0. The elements of a window are summed along each row, then the
    sums of the rows are added; those of a window that is the whole plane, in 16 sums of every 16th element, then these.
    So the result has the same bits in both layouts and for any number of threads.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86, 1998.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x = np.random.default_rng(0).random((1, 3, {eights}), np.float32)
    >>> convkit.avg_pool{nd}d(x, 3, stride=2, padding=1).shape
    (1, 3, {fours})
"""

_AVG_BACKWARD_DOC = """
    Gradient of `avg_pool{nd}d` with respect to its input.

    Each element receives the sum, in row-major order, of the gradients of all windows it is in, each divided by what
    the forward call divided the window's sum by.

    Parameters
    ----------
    grad : ndarray, {y} or {y1}
        Gradient of the loss with respect to the output.
    x_shape : tuple of int
        Shape of the input.
    kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout
        As in the forward call.

    Returns
    -------
    ndarray, {x} or {x1}

    {raises}

    Examples
    --------
    >>> import convkit, numpy as np
    >>> convkit.avg_pool{nd}d_backward(np.ones((1, 3, {fours})), (1, 3, {eights}), 2).shape
    (1, 3, {eights})
"""


@documented(_MAX_DOC, "C", "C")
def max_pool1d(
    x: Array, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, dilation: Size = 1, *,
    ceil_mode: bool = False, return_indices: bool = False, layout: str = "NCHW", out: np.ndarray | None = None,
) -> Any:  # fmt: skip
    return _max_forward(1, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out)


@documented(_MAX_DOC, "C", "C")
def max_pool2d(
    x: Array, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, dilation: Size = 1, *,
    ceil_mode: bool = False, return_indices: bool = False, layout: str = "NCHW", out: np.ndarray | None = None,
) -> Any:  # fmt: skip
    return _max_forward(2, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out)


@documented(_MAX_DOC, "C", "C")
def max_pool3d(
    x: Array, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, dilation: Size = 1, *,
    ceil_mode: bool = False, return_indices: bool = False, layout: str = "NCHW", out: np.ndarray | None = None,
) -> Any:  # fmt: skip
    return _max_forward(3, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout, out)


@documented(_MAX_BACKWARD_DOC, "C", "C")
def max_pool1d_backward(
    grad: Array, indices: np.ndarray, x_shape: Sequence[int], *, layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    return max_backward(1, grad, indices, x_shape, layout)


@documented(_MAX_BACKWARD_DOC, "C", "C")
def max_pool2d_backward(
    grad: Array, indices: np.ndarray, x_shape: Sequence[int], *, layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    return max_backward(2, grad, indices, x_shape, layout)


@documented(_MAX_BACKWARD_DOC, "C", "C")
def max_pool3d_backward(
    grad: Array, indices: np.ndarray, x_shape: Sequence[int], *, layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    return max_backward(3, grad, indices, x_shape, layout)


@documented(_AVG_DOC, "C", "C")
def avg_pool1d(
    x: Array, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, *, dilation: Size = 1,
    ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "NCHW", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    return _avg_forward(1, x, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout, out)


@documented(_AVG_DOC, "C", "C")
def avg_pool2d(
    x: Array, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, *, dilation: Size = 1,
    ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "NCHW", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    return _avg_forward(2, x, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout, out)


@documented(_AVG_DOC, "C", "C")
def avg_pool3d(
    x: Array, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, *, dilation: Size = 1,
    ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "NCHW", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    return _avg_forward(3, x, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout, out)


@documented(_AVG_BACKWARD_DOC, "C", "C")
def avg_pool1d_backward(
    grad: Array, x_shape: Sequence[int], kernel_size: Size, stride: Size | None = None, padding: Padding = 0, *,
    dilation: Size = 1, ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    return _avg_backward(1, grad, x_shape, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout)


@documented(_AVG_BACKWARD_DOC, "C", "C")
def avg_pool2d_backward(
    grad: Array, x_shape: Sequence[int], kernel_size: Size, stride: Size | None = None, padding: Padding = 0, *,
    dilation: Size = 1, ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    return _avg_backward(2, grad, x_shape, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout)


@documented(_AVG_BACKWARD_DOC, "C", "C")
def avg_pool3d_backward(
    grad: Array, x_shape: Sequence[int], kernel_size: Size, stride: Size | None = None, padding: Padding = 0, *,
    dilation: Size = 1, ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    return _avg_backward(3, grad, x_shape, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout)
