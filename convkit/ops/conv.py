"""Convolution in one, two and three dimensions, forward and gradients: documentation, output shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import _options, _shapes
from .._ext import engine
from .._results import ConvGrads
from .._typing import Activation, Array, Padding, Size
from ._docs import documented
from ._shared import CONV_GRADS, Family, Plan, backward, forward, in_words, remembered


@remembered
def _plan(x_shape, weight_shape, nd, stride, padding, dilation, groups, padding_mode, layout) -> Plan:
    channel_last = _options.channel_last(layout)
    shape = _shapes.conv(nd, x_shape, weight_shape, stride, padding, dilation, groups, padding_mode, channel_last)
    batched = len(x_shape) == nd + 2
    y_shape = _shapes.image_shape(shape.n, weight_shape[0], shape.out, channel_last, batched)
    words = in_words(shape, shape.c_in, shape.c_out)
    return Plan(engine.Geometry(*shape), y_shape, weight_shape[:1], batched, channel_last, words)


CONV = Family(_plan, False, (engine.FORWARD, engine.GRAD_X, engine.GRAD_WEIGHT))


# ---------------------------------------------------------------- the public functions

_FORWARD_DOC = """
    {nd}-D cross-correlation of a batch of images with a bank of kernels, plus bias and activation.

    y[n, o, p] = act(bias[o] + sum over c, t of x[n, c, p*stride + t*dilation - lo] * weight[o, c, t]), where p and t
    run over output positions and kernel taps, and c over the input channels of o's group. The kernel is not flipped;
    ``weight[{flip}]``, a view, gives the mathematical convolution.

    Parameters
    ----------
    x : ndarray, {x} or {x1}
        Input, float32 or float64, of any strides. All arrays of a call share one dtype.
    weight : ndarray, {w}
        Kernels. Depthwise convolution is ``groups=C_in``.
    bias : ndarray, (C_out,), optional
        Added to every output of its channel.
    stride, dilation : int or tuple of {nd} int, default: 1
        Step of the kernel over the input, and of its taps; at least 1.
    padding : int, tuple or str, default: 0
        Elements added on both sides of the input: one int; a tuple of {nd} int, one per dimension; a tuple of {nd}
        pairs ``(lo, hi)``; ``"valid"``, none; ``"full"``, dilation*(k-1) on each side; ``"same"`` or ``"same_upper"``,
        with any stride: as many as ceil(in/stride) outputs need, an odd one at the end (as TensorFlow and ONNX have
        it, and PyTorch with stride 1); ``"same_lower"``, an odd one at the start.
    groups : int, default: 1
        Channels are cut into this many groups, each convolved with its own kernels; divides C_in and C_out.
    padding_mode : {{"zeros", "reflect", "replicate", "circular"}}
        What is found in the padding. Zeros contribute nothing, not even to infinite or NaN weights. "reflect" does not
        repeat the edge and needs padding < size; "circular" needs padding <= size.
    activation : None, str or tuple, default: None
        {activation}
    layout : {{"NCHW", "NHWC"}}
        "NHWC" has the channel axis of x and of the result last: {x_last}. `weight` is the same in both.
    {algorithm}
    {into}

    Returns
    -------
    ndarray, {y} or {y1}
        Along each axis out = floor((in + lo + hi - dilation*(k - 1) - 1) / stride) + 1.

    {raises}

    Notes
    -----
    N, C_in and C_out may be 0; without input channels the result is the bias alone. The output of an image has the same
    bits alone and in a batch, and for any number of threads.

    References
    ----------
    V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285.
    A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv:1509.09308: "winograd".

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x, weight = np.ones((1, 3, {eights})), np.ones((4, 3, {threes}))
    >>> convkit.conv{nd}d(x, weight, padding=1, activation="relu").shape
    (1, 4, {eights})
"""

_BACKWARD_DOC = """
    Gradients of `conv{nd}d` with respect to its input, weight and bias.

    With g the gradient of the loss before the activation,
    x[n, c, i] is the sum of g[n, o, p] * weight[o, c, t] over all o, p and t with i = p*stride + t*dilation - lo,
    weight[o, c, t] the sum of g[n, o, p] * x[n, c, p*stride + t*dilation - lo] over n and p, and
    bias[o] the sum of g[n, o, p] over n and p. Other padding modes than "zeros" map i to the element they repeat.

    {gradients}

    References
    ----------
    V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285: chapter 4.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x, weight, grad = np.ones((1, 3, {eights})), np.ones((4, 3, {threes})), np.ones((1, 4, {eights}))
    >>> grads = convkit.conv{nd}d_backward(grad, x, weight, padding=1)
    >>> grads.weight.shape, grads.bias.shape
    ((4, 3, {threes}), (4,))
"""


@documented(_FORWARD_DOC)
def conv1d(
    x: Array, weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1,
    groups: int = 1, *, padding_mode: str = "zeros", activation: Activation = None, layout: str = "NCHW",
    algorithm: str = "auto", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    sizes = (1, stride, padding, dilation, groups, padding_mode, layout)
    return forward(CONV, sizes, x, weight, bias, activation, algorithm, out)


@documented(_FORWARD_DOC)
def conv2d(
    x: Array, weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1,
    groups: int = 1, *, padding_mode: str = "zeros", activation: Activation = None, layout: str = "NCHW",
    algorithm: str = "auto", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    sizes = (2, stride, padding, dilation, groups, padding_mode, layout)
    return forward(CONV, sizes, x, weight, bias, activation, algorithm, out)


@documented(_FORWARD_DOC)
def conv3d(
    x: Array, weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1,
    groups: int = 1, *, padding_mode: str = "zeros", activation: Activation = None, layout: str = "NCHW",
    algorithm: str = "auto", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    sizes = (3, stride, padding, dilation, groups, padding_mode, layout)
    return forward(CONV, sizes, x, weight, bias, activation, algorithm, out)


@documented(_BACKWARD_DOC, sizes="stride, padding, dilation, groups, padding_mode")
def conv1d_backward(
    grad: Array, x: Array | Sequence[int], weight: Array | Sequence[int], stride: Size = 1, padding: Padding = 0,
    dilation: Size = 1, groups: int = 1, *, padding_mode: str = "zeros", activation: Activation = None,
    y: Array | None = None, layout: str = "NCHW", need: str | Sequence[str] = CONV_GRADS, algorithm: str = "auto",
    out: Sequence[np.ndarray | None] | None = None,
) -> ConvGrads:  # fmt: skip
    sizes = (1, stride, padding, dilation, groups, padding_mode, layout)
    return backward(CONV, sizes, grad, x, weight, activation, y, need, algorithm, out)


@documented(_BACKWARD_DOC, sizes="stride, padding, dilation, groups, padding_mode")
def conv2d_backward(
    grad: Array, x: Array | Sequence[int], weight: Array | Sequence[int], stride: Size = 1, padding: Padding = 0,
    dilation: Size = 1, groups: int = 1, *, padding_mode: str = "zeros", activation: Activation = None,
    y: Array | None = None, layout: str = "NCHW", need: str | Sequence[str] = CONV_GRADS, algorithm: str = "auto",
    out: Sequence[np.ndarray | None] | None = None,
) -> ConvGrads:  # fmt: skip
    sizes = (2, stride, padding, dilation, groups, padding_mode, layout)
    return backward(CONV, sizes, grad, x, weight, activation, y, need, algorithm, out)


@documented(_BACKWARD_DOC, sizes="stride, padding, dilation, groups, padding_mode")
def conv3d_backward(
    grad: Array, x: Array | Sequence[int], weight: Array | Sequence[int], stride: Size = 1, padding: Padding = 0,
    dilation: Size = 1, groups: int = 1, *, padding_mode: str = "zeros", activation: Activation = None,
    y: Array | None = None, layout: str = "NCHW", need: str | Sequence[str] = CONV_GRADS, algorithm: str = "auto",
    out: Sequence[np.ndarray | None] | None = None,
) -> ConvGrads:  # fmt: skip
    sizes = (3, stride, padding, dilation, groups, padding_mode, layout)
    return backward(CONV, sizes, grad, x, weight, activation, y, need, algorithm, out)
