"""The fully connected map: a convolution with a kernel of one pixel, over rows of features, the channel axis last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import _options, _shapes
from .._arrays import as_array, as_out, empty, fits_out
from .._ext import engine
from .._results import ConvGrads
from .._threads import current
from .._typing import Activation, Array
from ._docs import documented
from ._shared import CONV_GRADS, array_or_shape, check_shape, remembered, taken_y

_MOST_AXES = 4  # a batch axis and three spatial ones


_Form = tuple[tuple[int, ...], engine.Geometry]  # leading sizes that arrays are given, and the convolution of such


@dataclass(frozen=True, slots=True)
class _Plan:
    y_shape: tuple[int, ...]
    folded: _Form  # for arrays that have all rows in one axis, which is best, and costs contiguous ones nothing
    others: _Form  # for arrays that keep their axes, so that none is copied, as long as the engine has axes enough

    def form(self, *arrays: np.ndarray | None) -> _Form:
        """That of these arrays."""
        return self.folded if all(a is None or a.flags.c_contiguous for a in arrays) else self.others


@remembered
def _plan(x_shape, weight_shape) -> _Plan:
    _shapes.check_features(x_shape, weight_shape)
    lead, rows = x_shape[:-1], _shapes.elements(x_shape[:-1], "x")
    folded = (1, rows) if rows else (0, 1)  # an empty batch: a convolution has no image without pixels
    others = lead if rows and 2 <= len(lead) <= _MOST_AXES else folded
    return _Plan(
        (*lead, weight_shape[0]), *(_convolution(sizes, x_shape[-1], weight_shape) for sizes in (folded, others))
    )


def _convolution(lead: tuple[int, ...], features: int, weight_shape: tuple[int, ...]) -> _Form:
    nd = len(lead) - 1
    shape = _shapes.conv(nd, (*lead, features), (*weight_shape, *(1,) * nd), 1, 0, 1, 1, "zeros", True)
    return lead, engine.Geometry(*shape)


def _as_image(array: np.ndarray | None, lead: tuple[int, ...]) -> np.ndarray | None:
    return array if array is None else array.reshape(*lead, array.shape[-1])


def _as_kernel(weight: np.ndarray | None, nd: int) -> np.ndarray | None:
    return weight if weight is None else weight.reshape(*weight.shape, *(1,) * nd)


_FORWARD_DOC = """
    Fully connected map: act(x @ weight.T + bias) over the last axis of x.

    Parameters
    ----------
    x : ndarray, (*, in)
        Input, float32 or float64, of any strides and leading axes. All arrays of a call share one dtype.
    weight : ndarray, (out, in)
        One row of factors per output feature.
    bias : ndarray, (out,), optional
        Added to every row of the result.
    activation : None, str or tuple, default: None
        {activation}
    {into}

    Returns
    -------
    ndarray, (*, out)
        The leading axes are those of x.

    Raises
    ------
    TypeError
        If an argument has the wrong type, an array a dtype other than float32 and float64, or arrays have two dtypes.
    ValueError
        If a shape or option does not fit.
    OverflowError
        If the number of elements of the result does not fit 64 bits.
    MemoryError
        If the result cannot be allocated.

    Notes
    -----
    Computed as a 1x1 convolution (M. Lin, Q. Chen and S. Yan, "Network in network", 2014, arXiv:1312.4400, section 3)
    by the same engine as `conv2d`. An array with more than four leading axes that cannot be folded in place is copied.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> convkit.linear(np.ones((2, 3)), np.ones((4, 3)), bias=np.arange(4.0)).tolist()
    [[3.0, 4.0, 5.0, 6.0], [3.0, 4.0, 5.0, 6.0]]
"""


@documented(_FORWARD_DOC)
def linear(
    x: Array, weight: Array, bias: Array | None = None, *, activation: Activation = None,
    out: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    x = as_array(x, "x")
    weight = as_array(weight, "weight", x, "x")
    plan = _plan((x.shape, weight.shape), ())
    if bias is not None:
        bias = as_array(bias, "bias", x, "x")
        check_shape(bias, "bias", weight.shape[:1], "one per output feature")
    act, a, b = _options.activation(activation)
    if out is None:
        y = out = empty(plan.y_shape, x.dtype)
    elif fits_out(out, plan.y_shape, x, weight, bias):
        y = out
    else:
        y = as_out(out, "out", plan.y_shape, x.dtype, (("x", x), ("weight", weight), ("bias", bias)))
    if engine.linear_forward(plan.folded[1], x, weight, bias, y, act, a, b, current()):
        return out
    lead, geometry = plan.others
    x, image, kernel = _as_image(x, lead), _as_image(y, lead), _as_kernel(weight, len(lead) - 1)
    engine.conv_forward(geometry, x, kernel, bias, image, act, a, b, True, engine.AUTO, False, current())
    if not (y.flags.c_contiguous or np.may_share_memory(image, y)):  # more axes than the engine has, that do not fold
        y[...] = image.reshape(plan.y_shape)
    return out


_BACKWARD_DOC = """
    Gradients of `linear` with respect to its input, weight and bias.

    With g the gradient before the activation, as rows: x = g @ weight, weight = g.T @ x, bias = the sum of g's rows.

    Parameters
    ----------
    grad : ndarray, (*, out)
        Gradient of the loss with respect to the output of `linear`; with `activation`, after it.
    x : ndarray, (*, in), or tuple of int
        The input, or its shape where `need` does not include "weight".
    weight : ndarray, (out, in), or tuple of int
        The weight, or its shape where `need` does not include "x".
    activation : None, str or tuple, default: None
        {derivative}
    y : ndarray, (*, out), optional
        The output of the forward call: required with `activation`, not looked at without.
    need : str or sequence of str, default: ("x", "weight", "bias")
        The gradients to compute. The others come back as None and cost nothing.

    Returns
    -------
    ConvGrads
        Named tuple (x, weight, bias) of arrays that have the shapes of the input, the weight, and (out,).

    Raises
    ------
    TypeError, ValueError, OverflowError, MemoryError
        As `linear`; ValueError too if `need` has an unknown name, or `activation` comes without `y`.

    Notes
    -----
    The chain rule of D. Rumelhart, G. Hinton and R. Williams, "Learning representations by back-propagating errors",
    Nature 323, 1986. Without rows all gradients are zero.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> grads = convkit.linear_backward(np.ones((2, 4)), np.ones((2, 3)), np.ones((4, 3)))
    >>> grads.x.tolist(), grads.bias.tolist()
    ([[4.0, 4.0, 4.0], [4.0, 4.0, 4.0]], [2.0, 2.0, 2.0, 2.0])
"""


@documented(_BACKWARD_DOC)
def linear_backward(
    grad: Array, x: Array | Sequence[int], weight: Array | Sequence[int], *, activation: Activation = None,
    y: Array | None = None, need: str | Sequence[str] = CONV_GRADS,
) -> ConvGrads:  # fmt: skip
    needs = need_x, need_weight, need_bias = _options.need(need, CONV_GRADS)
    grad = as_array(grad, "grad")
    x, x_shape = array_or_shape(x, "x", "weight" if need_weight else None, grad)
    weight, weight_shape = array_or_shape(weight, "weight", "x" if need_x else None, grad)
    plan = _plan((x_shape, weight_shape), ())
    check_shape(grad, "grad", plan.y_shape, "that of the output")
    act, a, b = _options.activation_backward(activation)
    y = taken_y(y, activation, grad)
    lead, geometry = plan.form(grad, x, y)
    shapes = (x_shape, weight_shape, weight_shape[:1])
    grads = [empty(shape, grad.dtype) if needed else None for needed, shape in zip(needs, shapes, strict=True)]
    dx, dw, db = _as_image(grads[0], lead), _as_kernel(grads[1], len(lead) - 1), grads[2]
    grad, x, y = (_as_image(array, lead) for array in (grad, x, y))
    if need_x:
        kernel = _as_kernel(weight, len(lead) - 1)
        engine.conv_grad_x(geometry, grad, kernel, dx, act, a, b, y, True, engine.AUTO, False, current())
    if need_weight or need_bias:
        engine.conv_grad_weight(geometry, grad, x, dw, db, act, a, b, y, True, engine.AUTO, False, current())
    return ConvGrads(*grads)
