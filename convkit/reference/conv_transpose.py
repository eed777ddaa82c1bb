"""Transposed convolution: the adjoint of a convolution, whose input is the output here and whose output the input."""

from __future__ import annotations

import numpy as np

from .. import _options, _shapes
from .._results import ConvGrads
from . import conv

_NAMES = ConvGrads._fields
_SIZES = ("stride", "padding", "output_padding", "groups", "dilation", "output_size")


def _conv_transpose(nd, x, weight, bias, sizes, activation, layout, sums=conv.SUMS) -> np.ndarray:
    last, dtype = _options.channel_last(layout), conv._dtype(x)
    shape = _shapes.conv_transpose(nd, np.shape(x), np.shape(weight), *sizes, last)
    # Every element of x is spread over the outputs that the convolution would have read to compute it.
    y = sums.grad_x(shape, conv._canonical(x, nd, last), np.asarray(weight, np.float64))
    if bias is not None:
        conv._must_have_shape("bias", bias, (y.shape[1],))
        y += np.asarray(bias, np.float64).reshape(-1, *(1,) * nd)
    return conv._as_called(conv._activate(y, activation, dtype), last, np.ndim(x) == nd + 2)


def _conv_transpose_backward(nd, grad, x, weight, sizes, activation, y, layout, need, sums=conv.SUMS) -> ConvGrads:
    last, dtype = _options.channel_last(layout), conv._dtype(grad)
    x_shape, weight_shape = conv._shape_of(x), conv._shape_of(weight)
    need_x, need_weight, need_bias = _options.need(need, _NAMES)
    shape = _shapes.conv_transpose(nd, x_shape, weight_shape, *sizes, last)
    batched = len(x_shape) == nd + 2
    y_shape = _shapes.image_shape(shape.n, shape.groups * shape.c_in, shape.in_, last, batched)
    conv._must_have_shape("grad", grad, y_shape)
    grad = conv._canonical(grad, nd, last)
    if activation is not None:
        conv._must_have_shape("y", y, y_shape)
        grad = conv._before_activation(grad, conv._canonical(y, nd, last), activation, dtype)
    dx = dw = db = None
    if need_x:
        dx = conv._as_called(sums.convolve(shape, grad, np.asarray(weight, np.float64)), last, batched)
    if need_weight:
        dw = sums.grad_weight(shape, conv._canonical(x, nd, last), grad)
    if need_bias:
        db = grad.sum(axis=(0, *range(2, nd + 2)))
    return ConvGrads(dx, dw, db)


def _conv_transpose_of(nd: int):
    def conv_transpose(
        x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, *,
        output_size=None, activation=None, layout="NCHW", algorithm="auto",
    ):  # fmt: skip
        _options.algorithm(algorithm)
        sizes = (stride, padding, output_padding, groups, dilation, output_size)
        return _conv_transpose(nd, x, weight, bias, sizes, activation, layout)

    def terms(magnitudes: dict, ones: dict):
        arrays, sizes = (ones[n] for n in ("x", "weight", "bias")), tuple(ones[n] for n in _SIZES)
        return conv_transpose(**magnitudes), _conv_transpose(nd, *arrays, sizes, None, ones["layout"], conv.NUMBERS)

    conv_transpose.__name__ = conv_transpose.__qualname__ = f"conv_transpose{nd}d"
    conv_transpose.__doc__ = f"`convkit.conv_transpose{nd}d` in float64; algorithm makes no difference."
    conv.TERMS[conv_transpose.__name__] = terms
    return conv_transpose


def _conv_transpose_backward_of(nd: int):
    def conv_transpose_backward(
        grad, x, weight, stride=1, padding=0, output_padding=0, groups=1, dilation=1, *,
        output_size=None, activation=None, y=None, layout="NCHW", need=_NAMES, algorithm="auto",
    ):  # fmt: skip
        _options.algorithm(algorithm)
        sizes = (stride, padding, output_padding, groups, dilation, output_size)
        return _conv_transpose_backward(nd, grad, x, weight, sizes, activation, y, layout, need)

    def terms(magnitudes: dict, ones: dict):
        arrays, sizes = (ones[n] for n in ("grad", "x", "weight")), tuple(ones[n] for n in _SIZES)
        options = (None, None, ones["layout"], ones["need"])
        numbers = _conv_transpose_backward(nd, *arrays, sizes, *options, conv.NUMBERS)
        return conv_transpose_backward(**magnitudes), numbers

    conv_transpose_backward.__name__ = conv_transpose_backward.__qualname__ = f"conv_transpose{nd}d_backward"
    conv_transpose_backward.__doc__ = f"`convkit.conv_transpose{nd}d_backward` in float64."
    conv.TERMS[conv_transpose_backward.__name__] = terms
    return conv_transpose_backward


conv_transpose1d, conv_transpose2d, conv_transpose3d = map(_conv_transpose_of, (1, 2, 3))
conv_transpose1d_backward, conv_transpose2d_backward, conv_transpose3d_backward = map(
    _conv_transpose_backward_of, (1, 2, 3)
)
