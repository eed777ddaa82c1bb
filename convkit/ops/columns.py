"""im2col and its adjoint: the patches under a kernel written out as columns, and columns added back into an image."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .. import _options, _shapes
from .._arrays import as_array, empty
from .._ext import engine
from .._threads import current
from .._typing import Array, Padding, Size
from ._shared import remembered


class _Plan(NamedTuple):
    geometry: engine.Geometry
    shape: _shapes.ConvShape
    channel_last: bool


@remembered
def _plan(nd, x_shape, kernel_size, stride, padding, dilation, padding_mode, layout) -> _Plan:
    channel_last = _options.channel_last(layout)
    shape = _shapes.columns(nd, x_shape, kernel_size, stride, padding, dilation, padding_mode, channel_last)
    return _Plan(engine.Geometry(*shape), shape, channel_last)


def im2col(
    x: Array, kernel_size: Size, stride: Size = 1, padding: Padding = 0, dilation: Size = 1, *,
    padding_mode: str = "zeros", layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    """
    Write the patch of x under every position of a kernel as one column of a matrix.

    cols[n, (c, t), p] = x[n, c, p*stride + t*dilation - lo], with channels, then taps, row-major along the rows, and
    output positions, row-major, along the columns. A convolution is then the matrix product
    ``weight.reshape(C_out, -1) @ cols``.

    Parameters
    ----------
    x : ndarray, (N, C, *spatial) or (C, *spatial)
        Input, float32 or float64, of any strides, with one to three spatial axes.
    kernel_size : int or tuple of int
        Size of the kernel, at least 1. A tuple has one int per spatial axis, and so says how many there are. One int
        means two axes where x has three or four, as for PyTorch's ``unfold``; else one where x has two, three where it
        has five.
    stride, padding, dilation, padding_mode
        As in `conv2d`. The order is that of the convolutions, not that of PyTorch's ``unfold``.
    layout : {"NCHW", "NHWC"}
        "NHWC" has the channel axis of x last; the columns are the same.

    Returns
    -------
    ndarray, (N, C*prod(kernel_size), L) or (C*prod(kernel_size), L)
        L is the product of the output sizes, along each axis
        floor((in + lo + hi - dilation*(k - 1) - 1) / stride) + 1.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or x a dtype other than float32 and float64.
    ValueError
        If a shape, size or option does not fit, or the padded input is smaller than the dilated kernel.
    OverflowError
        If a size, or the number of elements of the result, does not fit 64 bits.
    MemoryError
        If the result cannot be allocated.

    See Also
    --------
    col2im : the adjoint.

    References
    ----------
    K. Chellapilla, S. Puri and P. Simard, "High performance convolutional neural networks for document processing",
    10th International Workshop on Frontiers in Handwriting Recognition, 2006.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> convkit.im2col(np.arange(9.0).reshape(1, 3, 3), 2).tolist()
    [[0.0, 1.0, 3.0, 4.0], [1.0, 2.0, 4.0, 5.0], [3.0, 4.0, 6.0, 7.0], [4.0, 5.0, 7.0, 8.0]]
    """
    x = as_array(x, "x")
    kernel_size = _shapes.plain(kernel_size, "kernel_size")
    nd = _shapes.unfolded(x.ndim, kernel_size)
    plan = _plan((nd, x.shape, kernel_size), (stride, padding, dilation, padding_mode, layout))
    shape = plan.shape
    cols = empty((shape.n, shape.c_in * math.prod(shape.kernel), math.prod(shape.out)), x.dtype)
    batched = x.ndim == nd + 2
    engine.im2col(plan.geometry, x if batched else x[None], cols, plan.channel_last, current())
    return cols if batched else cols[0]


def col2im(
    cols: Array, output_size: Size, kernel_size: Size, stride: Size = 1, padding: Padding = 0, dilation: Size = 1, *,
    padding_mode: str = "zeros", layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    """
    Add columns back into the image they would have been taken from: the adjoint of `im2col`.

    x[n, c, i] is the sum of cols[n, (c, t), p] over all taps t and positions p for which `im2col` reads x[n, c, i]. It
    is not the inverse: elements under several patches are summed, elements under none are zero.

    Parameters
    ----------
    cols : ndarray, (N, C*prod(kernel_size), L) or (C*prod(kernel_size), L)
        Columns, float32 or float64, of any strides.
    output_size : int or tuple of int
        Spatial size of the image. A tuple has one int per spatial axis, and so says how many there are.
    kernel_size : int or tuple of int
        As in `im2col`; where `output_size` is one int, a tuple says how many spatial axes there are, and one int means
        two, as for PyTorch's ``fold``.
    stride, padding, dilation, padding_mode
        As in `conv2d`. With other padding modes than "zeros" what lies in the padding is added to the element repeated
        there.
    layout : {"NCHW", "NHWC"}
        "NHWC" has the channel axis of the result last; `cols` is the same.

    Returns
    -------
    ndarray, (N, C, *output_size) or (C, *output_size)
        L must be the number of positions that `im2col` finds in it.

    Raises
    ------
    TypeError, ValueError, OverflowError, MemoryError
        As `im2col`; ValueError too if the rows or columns of `cols` do not fit the sizes.

    See Also
    --------
    im2col : the patches themselves.

    References
    ----------
    K. Chellapilla, S. Puri and P. Simard, "High performance convolutional neural networks for document processing",
    10th International Workshop on Frontiers in Handwriting Recognition, 2006.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> convkit.col2im(np.ones((4, 4)), 3, 2).tolist()
    [[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]]
    """
    cols = as_array(cols, "cols")
    channel_last = _options.channel_last(layout)
    kernel, spatial = _shapes.folded(output_size, kernel_size)
    x_shape, batched = _shapes.folded_image(cols.shape, kernel, spatial, channel_last)
    plan = _plan((len(spatial), x_shape, kernel), (stride, padding, dilation, padding_mode, layout))
    _shapes.check_positions(cols.shape, plan.shape)
    x = empty(x_shape, cols.dtype)
    engine.col2im(plan.geometry, cols if batched else cols[None], x, channel_last, current())
    return x if batched else x[0]
