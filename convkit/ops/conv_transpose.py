"""Transposed convolution in one, two and three dimensions, forward and gradients: the adjoint of convolution.

It is described to the engine by the convolution whose adjoint it is: that one's input is the output here.
"""

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
def _plan(x_shape, weight_shape, nd, stride, padding, output_padding, groups, dilation, output_size, layout) -> Plan:
    channel_last = _options.channel_last(layout)
    shape = _shapes.conv_transpose(
        nd, x_shape, weight_shape, stride, padding, output_padding, groups, dilation, output_size, channel_last
    )
    batched, c_out = len(x_shape) == nd + 2, shape.groups * shape.c_in
    y_shape = _shapes.image_shape(shape.n, c_out, shape.in_, channel_last, batched)
    words = in_words(shape, shape.c_out, shape.c_in)
    return Plan(engine.Geometry(*shape), y_shape, (c_out,), batched, channel_last, words)


CONV_TRANSPOSE = Family(_plan, True, (engine.TRANSPOSED, engine.TRANSPOSED_GRAD_X, engine.TRANSPOSED_GRAD_WEIGHT))


# ---------------------------------------------------------------- the public functions

_FORWARD_DOC = """
    {nd}-D transposed convolution of a batch of images with a bank of kernels, plus bias and activation.

    y[n, o, i] = act(bias[o] + sum over c, p, t with p*stride + t*dilation - lo = i of x[n, c, p] * weight[c, o, t]),
    where p and t run over input positions and kernel taps, and c over the input channels of o's group: every element
    of x puts a copy of its kernels, scaled by it, into the output, `stride` apart, and copies that overlap add up. It
    is the adjoint of `conv{nd}d` with the same weight and arguments, that is, the gradient of that one's input, and not
    its inverse.

    Parameters
    ----------
    x : ndarray, {x} or {x1}
        Input, float32 or float64, of any strides, at least 1 long along every spatial axis. All arrays of a call share
        one dtype.
    weight : ndarray, {w_transposed}
        Kernels; the input channels come first. Depthwise is ``groups=C_in`` with ``weight.shape[1] == 1``.
    bias : ndarray, (C_out,), optional
        Added to every output of its channel.
    stride, dilation : int or tuple of {nd} int, default: 1
        Step between the kernel's copies in the output, and between its taps; at least 1.
    padding : int, tuple or str, default: 0
        Elements cropped from both sides of the output, which are the padding of the convolution that this is the
        adjoint of: one int; a tuple of {nd} int, one per dimension; a tuple of {nd} pairs ``(lo, hi)``; ``"valid"``,
        none; ``"same"`` or ``"same_upper"``, as many as make out = in*stride, an odd one at the end; ``"same_lower"``,
        an odd one at the start. Where dilation*(k - 1) + 1 < stride, "same" has nothing to crop and adds what is
        missing at the end. There is no ``"full"``.
    output_padding : int or tuple of {nd} int, default: 0
        Elements added at the end of the output, less than max(stride, dilation). They are not empty: what `padding`
        would have cropped comes back first, and the rest holds the bias. They make the choice among the input sizes
        that a convolution of this stride takes to one output size. Must be 0 with `output_size` or "same".
    groups : int, default: 1
        Channels are cut into this many groups, each with its own kernels; divides C_in.
    output_size : int or tuple of {nd} int, optional
        Spatial size of the output, instead of `output_padding`: one that some allowed `output_padding` gives, or, with
        "same", in*stride.
    activation : None, str or tuple, default: None
        {activation}
    layout : {{"NCHW", "NHWC"}}
        "NHWC" has the channel axis of x and of the result last: {x_last}. `weight` is the same in both.
    {algorithm}
    {into}

    Returns
    -------
    ndarray, {y} or {y1}
        C_out = weight.shape[1]*groups, and along each axis
        out = (in - 1)*stride + dilation*(k - 1) + 1 - lo - hi + output_padding.

    {raises}

    Notes
    -----
    N, C_in and C_out may be 0; without input channels the result is the bias alone. The output of an image has the same
    bits alone and in a batch, and for any number of threads. With ``implicit_gemm`` nothing is scattered: each residue
    of the stride is a small dense convolution with the taps that fall on it. With ``im2col``, which "auto" takes for
    some shapes, products at the positions of x are added up where their taps fall.

    References
    ----------
    V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285: chapter 4.
    M. Zeiler, D. Krishnan, G. Taylor and R. Fergus, "Deconvolutional networks", CVPR 2010.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x, weight = np.ones((1, 3, {fours})), np.ones((3, 4, {twos}))
    >>> convkit.conv_transpose{nd}d(x, weight, stride=2).shape
    (1, 4, {eights})
"""

_BACKWARD_DOC = """
    Gradients of `conv_transpose{nd}d` with respect to its input, weight and bias.

    With g the gradient of the loss before the activation,
    x[n, c, p] is the sum of g[n, o, p*stride + t*dilation - lo] * weight[c, o, t] over o and t, a convolution of g,
    weight[c, o, t] the sum of x[n, c, p] * g[n, o, p*stride + t*dilation - lo] over n and p, and
    bias[o] the sum of g[n, o, i] over n and i; g is 0 outside the output.

    {gradients}

    References
    ----------
    V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285: chapter 4.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> weight, grad = np.ones((3, 4, {twos})), np.ones((1, 4, {eights}))
    >>> convkit.conv_transpose{nd}d_backward(grad, (1, 3, {fours}), weight, stride=2, need="x").x.shape
    (1, 3, {fours})
"""


@documented(_FORWARD_DOC)
def conv_transpose1d(
    x: Array, weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0,
    output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, output_size: Size | None = None,
    activation: Activation = None, layout: str = "NCHW", algorithm: str = "auto", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    sizes = (1, stride, padding, output_padding, groups, dilation, output_size, layout)
    return forward(CONV_TRANSPOSE, sizes, x, weight, bias, activation, algorithm, out)


@documented(_FORWARD_DOC)
def conv_transpose2d(
    x: Array, weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0,
    output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, output_size: Size | None = None,
    activation: Activation = None, layout: str = "NCHW", algorithm: str = "auto", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    sizes = (2, stride, padding, output_padding, groups, dilation, output_size, layout)
    return forward(CONV_TRANSPOSE, sizes, x, weight, bias, activation, algorithm, out)


@documented(_FORWARD_DOC)
def conv_transpose3d(
    x: Array, weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0,
    output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, output_size: Size | None = None,
    activation: Activation = None, layout: str = "NCHW", algorithm: str = "auto", out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    sizes = (3, stride, padding, output_padding, groups, dilation, output_size, layout)
    return forward(CONV_TRANSPOSE, sizes, x, weight, bias, activation, algorithm, out)


@documented(_BACKWARD_DOC, sizes="stride, padding, output_padding, groups, dilation, output_size")
def conv_transpose1d_backward(
    grad: Array, x: Array | Sequence[int], weight: Array | Sequence[int], stride: Size = 1, padding: Padding = 0,
    output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, output_size: Size | None = None,
    activation: Activation = None, y: Array | None = None, layout: str = "NCHW", need: str | Sequence[str] = CONV_GRADS,
    algorithm: str = "auto", out: Sequence[np.ndarray | None] | None = None,
) -> ConvGrads:  # fmt: skip
    sizes = (1, stride, padding, output_padding, groups, dilation, output_size, layout)
    return backward(CONV_TRANSPOSE, sizes, grad, x, weight, activation, y, need, algorithm, out)


@documented(_BACKWARD_DOC, sizes="stride, padding, output_padding, groups, dilation, output_size")
def conv_transpose2d_backward(
    grad: Array, x: Array | Sequence[int], weight: Array | Sequence[int], stride: Size = 1, padding: Padding = 0,
    output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, output_size: Size | None = None,
    activation: Activation = None, y: Array | None = None, layout: str = "NCHW", need: str | Sequence[str] = CONV_GRADS,
    algorithm: str = "auto", out: Sequence[np.ndarray | None] | None = None,
) -> ConvGrads:  # fmt: skip
    sizes = (2, stride, padding, output_padding, groups, dilation, output_size, layout)
    return backward(CONV_TRANSPOSE, sizes, grad, x, weight, activation, y, need, algorithm, out)


@documented(_BACKWARD_DOC, sizes="stride, padding, output_padding, groups, dilation, output_size")
def conv_transpose3d_backward(
    grad: Array, x: Array | Sequence[int], weight: Array | Sequence[int], stride: Size = 1, padding: Padding = 0,
    output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, output_size: Size | None = None,
    activation: Activation = None, y: Array | None = None, layout: str = "NCHW", need: str | Sequence[str] = CONV_GRADS,
    algorithm: str = "auto", out: Sequence[np.ndarray | None] | None = None,
) -> ConvGrads:  # fmt: skip
    sizes = (3, stride, padding, output_padding, groups, dilation, output_size, layout)
    return backward(CONV_TRANSPOSE, sizes, grad, x, weight, activation, y, need, algorithm, out)
