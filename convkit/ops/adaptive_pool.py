"""Pooling to a given output size, forward and gradients; to size 1 it is global pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _options, _pool_shapes, _shapes
from .._arrays import as_array, empty
from .._ext import engine
from .._typing import Array
from . import _pooling
from ._docs import documented
from ._pooling import Plan, given, pooled_out
from ._shared import check_shape, remembered
from .pool import max_backward


@remembered
def _plan(nd, x_shape, output_size, name, layout) -> Plan:
    last = _options.channel_last(layout)
    n, channels, in_ = _shapes.split_image(x_shape, nd, name, last)
    _pool_shapes.check_not_empty(in_, name, x_shape)
    out = _pool_shapes.adaptive_out(in_, output_size)
    _shapes.output_elements((n, channels, *out), "x and output_size")
    batched = len(x_shape) == nd + 2
    y_shape = _shapes.image_shape(n, channels, out, last, batched)
    return Plan(engine.PoolGeometry(n, channels, in_, out), y_shape, batched, last)


def _forward(op, nd, x, output_size, return_indices, layout, out):
    x = as_array(x, "x")
    sizes = _plan((nd, x.shape, _pool_shapes.plain_output_size(output_size), "x"), (layout,))
    with_indices = _options.flag(return_indices, "return_indices")
    y, indices = pooled_out(out, sizes.y_shape, x.dtype, x, with_indices)
    _pooling.run(sizes.geometry, op, x, y, indices, sizes.channel_last, sizes.batched)
    return given(out, (y, indices) if with_indices else y)


def _avg_backward(nd, grad, x_shape, layout):
    grad, x_shape = as_array(grad, "grad"), _shapes.x_shape(x_shape)
    _, _, out = _shapes.split_image(grad.shape, nd, "grad", _options.channel_last(layout))
    sizes = _plan((nd, x_shape, out, "x_shape"), (layout,))
    check_shape(grad, "grad", sizes.y_shape, "with the batch and channels of x_shape")
    dx = empty(x_shape, grad.dtype)
    _pooling.run(sizes.geometry, engine.POOL_AVERAGE_GRAD, dx, grad, None, sizes.channel_last, sizes.batched)
    return dx


# What both kinds say of their windows, behind the first word.
_WINDOWS = """ over as many windows of the last {nd} axes as are asked for.

    Output o of an axis covers the inputs from floor(o*in/out) to ceil((o + 1)*in/out) - 1.

    Parameters
    ----------
    x : ndarray, {x} or {x1}
        Input, float32 or float64, of any strides, with spatial sizes of at least 1.
    output_size : int or tuple of {ints}
        Size of the output, at least 0, larger than the input's if need be; None stands for the input's size.
        1 is global pooling.
"""

_AVG_DOC = (
    "\n    Average"
    + _WINDOWS
    + """\
    {layout}
    {into}

    Returns
    -------
    ndarray, {y} or {y1}
        The spatial sizes are `output_size`.

    {raises}

    References
    ----------
    M. Lin, Q. Chen and S. Yan, "Network in network", 2013, arXiv:1312.4400: global average pooling.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x = np.random.default_rng(0).random((1, 3, {eights}), np.float32)
    >>> convkit.adaptive_avg_pool{nd}d(x, 1).shape
    (1, 3, {ones})
"""
)

_MAX_DOC = (
    "\n    Maximum"
    + _WINDOWS
    + """\
    {return_indices}
    {layout}
    {into}

    Returns
    -------
    y : ndarray, {y} or {y1}
        The spatial sizes are `output_size`.
    indices : ndarray of int64, of the same shape
        Only with `return_indices`: as in `max_pool{nd}d`, which has the rules for equal elements and NaN, too.

    {raises}

    References
    ----------
    M. Lin, Q. Chen and S. Yan, "Network in network", 2013, arXiv:1312.4400: global average pooling.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x = np.random.default_rng(0).random((1, 3, {eights}), np.float32)
    >>> convkit.adaptive_max_pool{nd}d(x, 1).shape
    (1, 3, {ones})
"""
)

_AVG_BACKWARD_DOC = """
    Gradient of `adaptive_avg_pool{nd}d` with respect to its input.

    Each element receives the sum of the gradients of all windows it is in, each divided by the window's size.

    Parameters
    ----------
    grad : ndarray, {y} or {y1}
        Gradient of the loss with respect to the output, whose size it has.
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
    >>> convkit.adaptive_avg_pool{nd}d_backward(np.ones((1, 3, {ones})), (1, 3, {eights})).shape
    (1, 3, {eights})
"""

_MAX_BACKWARD_DOC = """
    Gradient of `adaptive_max_pool{nd}d` with respect to its input.

    Each element receives the sum of the gradients of all windows whose maximum it is, added in row-major order.

    Parameters
    ----------
    grad : ndarray, {y} or {y1}
        Gradient of the loss with respect to the output.
    indices : ndarray of int64, of the same shape
        From the forward call.
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
    >>> y, indices = convkit.adaptive_max_pool{nd}d(x, 1, return_indices=True)
    >>> int(np.count_nonzero(convkit.adaptive_max_pool{nd}d_backward(np.ones_like(y), indices, x.shape)))
    3
"""


@documented(_AVG_DOC, "C", "C")
def adaptive_avg_pool1d(
    x: Array, output_size: int | None | Sequence[int | None], *, layout: str = "NCHW", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    return _forward(engine.POOL_AVERAGE, 1, x, output_size, False, layout, out)


@documented(_AVG_DOC, "C", "C")
def adaptive_avg_pool2d(
    x: Array, output_size: int | None | Sequence[int | None], *, layout: str = "NCHW", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    return _forward(engine.POOL_AVERAGE, 2, x, output_size, False, layout, out)


@documented(_AVG_DOC, "C", "C")
def adaptive_avg_pool3d(
    x: Array, output_size: int | None | Sequence[int | None], *, layout: str = "NCHW", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    return _forward(engine.POOL_AVERAGE, 3, x, output_size, False, layout, out)


@documented(_MAX_DOC, "C", "C")
def adaptive_max_pool1d(
    x: Array, output_size: int | None | Sequence[int | None], *, return_indices: bool = False, layout: str = "NCHW",
    out: np.ndarray | None = None,
) -> Any:  # fmt: skip
    return _forward(engine.POOL_MAX, 1, x, output_size, return_indices, layout, out)


@documented(_MAX_DOC, "C", "C")
def adaptive_max_pool2d(
    x: Array, output_size: int | None | Sequence[int | None], *, return_indices: bool = False, layout: str = "NCHW",
    out: np.ndarray | None = None,
) -> Any:  # fmt: skip
    return _forward(engine.POOL_MAX, 2, x, output_size, return_indices, layout, out)


@documented(_MAX_DOC, "C", "C")
def adaptive_max_pool3d(
    x: Array, output_size: int | None | Sequence[int | None], *, return_indices: bool = False, layout: str = "NCHW",
    out: np.ndarray | None = None,
) -> Any:  # fmt: skip
    return _forward(engine.POOL_MAX, 3, x, output_size, return_indices, layout, out)


@documented(_AVG_BACKWARD_DOC, "C", "C")
def adaptive_avg_pool1d_backward(grad: Array, x_shape: Sequence[int], *, layout: str = "NCHW") -> np.ndarray:
    return _avg_backward(1, grad, x_shape, layout)


@documented(_AVG_BACKWARD_DOC, "C", "C")
def adaptive_avg_pool2d_backward(grad: Array, x_shape: Sequence[int], *, layout: str = "NCHW") -> np.ndarray:
    return _avg_backward(2, grad, x_shape, layout)


@documented(_AVG_BACKWARD_DOC, "C", "C")
def adaptive_avg_pool3d_backward(grad: Array, x_shape: Sequence[int], *, layout: str = "NCHW") -> np.ndarray:
    return _avg_backward(3, grad, x_shape, layout)


@documented(_MAX_BACKWARD_DOC, "C", "C")
def adaptive_max_pool1d_backward(
    grad: Array, indices: np.ndarray, x_shape: Sequence[int], *, layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    return max_backward(1, grad, indices, x_shape, layout)


@documented(_MAX_BACKWARD_DOC, "C", "C")
def adaptive_max_pool2d_backward(
    grad: Array, indices: np.ndarray, x_shape: Sequence[int], *, layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    return max_backward(2, grad, indices, x_shape, layout)


@documented(_MAX_BACKWARD_DOC, "C", "C")
def adaptive_max_pool3d_backward(
    grad: Array, indices: np.ndarray, x_shape: Sequence[int], *, layout: str = "NCHW",
) -> np.ndarray:  # fmt: skip
    return max_backward(3, grad, indices, x_shape, layout)
