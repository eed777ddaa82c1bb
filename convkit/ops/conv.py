"""Convolution in one, two and three dimensions, forward and gradients: documentation, every check, output shapes.

A call costs a few microseconds before any arithmetic, and on small images that is the whole cost. So all that depends
on sizes alone is checked once and kept, under a key of plain ints; what is left each time is to look at the arrays.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .. import _options, _shapes
from .._arrays import as_array, as_out, empty, same_dtype
from .._ext import engine
from .._results import ConvGrads
from .._threads import current
from .._typing import Activation, Array, Padding, Size

_NAMES = ConvGrads._fields
_COUNTS = {3: "three", 5: "five"}
ONLY_FOR = {
    "direct": "depthwise convolution and groups of up to 8 channels",
    "winograd": "kernels of 3x3 taps along the last two axes without a stride",
}


class Plan(NamedTuple):
    """All that a call needs to know about its sizes."""

    geometry: engine.Geometry
    y_shape: tuple[int, ...]
    bias_shape: tuple[int]
    batched: bool
    channel_last: bool
    words: str  # `in_words` of its shape


class Family(NamedTuple):
    """Where convolution and its relatives differ; `forward` and `backward` have what they share."""

    plan: Callable[..., Plan]  # of x's shape, weight's shape and the sizes that follow in the call
    forward: Callable
    grad_x: Callable
    grad_weight: Callable
    ops: tuple[int, int, int]  # what engine.conv_explain calls these three


def in_words(shape: _shapes.ConvShape, c_in: int, c_out: int) -> str:
    """What decides which algorithms can do a convolution."""
    return f"channels per group: {c_in} in, {c_out} out; kernel {shape.kernel}, stride {shape.stride}"


@lru_cache(maxsize=1024)
def _plan(nd, x_shape, weight_shape, stride, padding, dilation, groups, padding_mode, layout) -> Plan:
    channel_last = _options.channel_last(layout)
    shape = _shapes.conv(nd, x_shape, weight_shape, stride, padding, dilation, groups, padding_mode, channel_last)
    batched = len(x_shape) == nd + 2
    y_shape = _shapes.image_shape(shape.n, weight_shape[0], shape.out, channel_last, batched)
    words = in_words(shape, shape.c_in, shape.c_out)
    return Plan(engine.Geometry(*shape), y_shape, weight_shape[:1], batched, channel_last, words)


def _planned(x_shape, weight_shape, nd, stride, padding, dilation, groups, padding_mode, layout) -> Plan:
    if type(stride) is not int:
        stride = _shapes.plain(stride, "stride")
    if type(padding) is not int:
        padding = _shapes.plain_padding(padding)
    if type(dilation) is not int:
        dilation = _shapes.plain(dilation, "dilation")
    if type(groups) is not int:
        groups = _shapes.integer(groups, "groups")
    if type(padding_mode) is not str or type(layout) is not str:  # perhaps not hashable
        _options.channel_last(layout)
        _options.padding_mode(padding_mode)
    return _plan(nd, x_shape, weight_shape, stride, padding, dilation, groups, padding_mode, layout)


CONV = Family(_planned, engine.conv_forward, engine.conv_grad_x, engine.conv_grad_weight, (0, 1, 2))


def check_algorithm(name, plan: Plan) -> int:
    code = _options.algorithm(name)
    if not engine.conv_supports(plan.geometry, code):
        raise ValueError(f"algorithm must be another than {name!r}, which does {ONLY_FOR[name]}; got {plan.words}")
    return code


def check_shape(array: np.ndarray, name: str, shape: tuple[int, ...], why: str) -> None:
    """Whether an array has the one shape that the others leave it."""
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, {why}, got shape {array.shape}")


def forward(family: Family, sizes: tuple, x, weight, bias, activation, algorithm, out) -> np.ndarray:
    """The forward pass of a convolution of this family; `sizes` are what its plan takes."""
    x, weight = as_array(x, "x"), as_array(weight, "weight")
    dtype = x.dtype
    if weight.dtype is not dtype:
        same_dtype(weight, "weight", x, "x")
    plan = family.plan(x.shape, weight.shape, *sizes)
    if bias is not None:
        bias = as_array(bias, "bias")
        if bias.dtype is not dtype:
            same_dtype(bias, "bias", x, "x")
        if bias.shape != plan.bias_shape:
            check_shape(bias, "bias", plan.bias_shape, "one per output channel")
    act, a, b = _options.NO_ACTIVATION if activation is None else _options.activation(activation)
    code = 0 if algorithm == "auto" else check_algorithm(algorithm, plan)
    if out is None:
        y = out = empty(plan.y_shape, dtype)
    else:
        y = as_out(out, "out", plan.y_shape, dtype, (("x", x), ("weight", weight), ("bias", bias)))
    if not plan.batched:
        x, y = x[None], y[None]
    family.forward(plan.geometry, x, weight, bias, y, act, a, b, plan.channel_last, code, current())
    return out


def array_or_shape(value, name: str, needed_for: str | None, grad: np.ndarray):
    """(array, shape) of an argument that may be given as its shape, unless a gradient needs its values."""
    if isinstance(value, (tuple, list)):
        if needed_for:
            raise TypeError(
                f"{name} must be an array where need includes {needed_for!r}, got {type(value).__name__} {value!r}"
            )
        return None, _shapes.array_shape(value, name)
    array = as_array(value, name)
    same_dtype(array, name, grad, "grad")
    return array, array.shape


def taken_y(y, activation, grad: np.ndarray):
    """The forward's output, where the activation's derivative is to be formed from it."""
    if activation is None:
        return None
    if y is None:
        raise ValueError("y must be the output of the forward call where activation is given, got None")
    y = as_array(y, "y")
    same_dtype(y, "y", grad, "grad")
    check_shape(y, "y", grad.shape, "that of grad")
    return y


def results(names, needs, shapes, dtype, out, inputs) -> tuple[list, list]:
    """The arrays to return and the plain ndarrays to fill, both None where a gradient is not needed."""
    if out is None:
        out = (None,) * len(names)
    elif not isinstance(out, tuple) or len(out) != len(names):
        expected = f"out must be a tuple of {_COUNTS[len(names)]} arrays or None for {names}"
        if isinstance(out, tuple):
            raise ValueError(f"{expected}, got {len(out)} entries")
        raise TypeError(f"{expected}, got {type(out).__name__}")
    filled = []
    for name, needed, shape, given in zip(names, needs, shapes, out, strict=True):
        if given is not None and not needed:
            raise ValueError(f"out.{name} must be None where need does not include {name!r}, got an array")
        if given is None:
            filled.append(None)
        else:
            filled.append(as_out(given, f"out.{name}", shape, dtype, inputs))
            inputs = (*inputs, (f"out.{name}", filled[-1]))
    # Allocated once everything has been checked.
    fresh = [empty(s, dtype) if n and f is None else f for n, s, f in zip(needs, shapes, filled, strict=True)]
    return [f if o is None else o for f, o in zip(fresh, out, strict=True)], fresh


def backward(family: Family, sizes: tuple, grad, x, weight, activation, y, need, algorithm, out) -> ConvGrads:
    """The gradients of `forward`."""
    needs = need_x, need_weight, need_bias = _options.need(need, _NAMES)
    grad = as_array(grad, "grad")
    x, x_shape = array_or_shape(x, "x", "weight" if need_weight else None, grad)
    weight, weight_shape = array_or_shape(weight, "weight", "x" if need_x else None, grad)
    plan = family.plan(x_shape, weight_shape, *sizes)
    check_shape(grad, "grad", plan.y_shape, "that of the output")
    act, a, b = _options.activation_backward(activation)
    y = taken_y(y, activation, grad)
    code = 0
    if algorithm != "auto":
        code = check_algorithm(algorithm, plan) if need_x or need_weight else _options.algorithm(algorithm)
    inputs = (("grad", grad), ("x", x), ("weight", weight), ("y", y))
    grads, (dx, dw, db) = results(_NAMES, needs, (x_shape, weight_shape, plan.bias_shape), grad.dtype, out, inputs)
    if not plan.batched:
        grad, x, dx, y = (array if array is None else array[None] for array in (grad, x, dx, y))
    if need_x:
        family.grad_x(plan.geometry, grad, weight, dx, act, a, b, y, plan.channel_last, code, current())
    if need_weight or need_bias:
        code = code if need_weight else 0  # the sum for the bias alone is every algorithm's
        family.grad_weight(plan.geometry, grad, x, dw, db, act, a, b, y, plan.channel_last, code, current())
    return ConvGrads(*grads)


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
        "relu", ("leaky_relu", slope), "sigmoid", "tanh", ("clip", lo, hi), "silu", "gelu", "hard_swish",
        "hard_sigmoid" or ("elu", alpha), applied to the sum before it is stored; NaN passes through. Parameters are
        rounded to the call's dtype. "gelu" is x * Phi(x), "hard_sigmoid" clip(x + 3, 0, 6) / 6, "hard_swish" x
        times that.
    layout : {{"NCHW", "NHWC"}}
        "NHWC" has the channel axis of x and of the result last: {x_last}. `weight` is the same in both.
    algorithm : {{"auto", "implicit_gemm", "im2col", "direct", "winograd"}}
        "implicit_gemm" and "im2col" can do every shape, "direct" depthwise convolution and narrow groups, "winograd"
        kernels of 3x3 taps along the last two axes, without a stride: a quarter of the products, in float32 an error of
        at most 2e-5 of the result in the L2 norm for normal deviates, but no bound element by element, nor exact
        integers. "auto" is one of them by a rule of one image's shape: "winograd" for 16 channels in and out and more
        (of a group), and four tiles of 4x4 outputs and more that are half full.
    out : ndarray, optional
        Array of the result's shape and dtype to write to and return: writable, of any strides, overlapping neither
        itself nor an input.

    Returns
    -------
    ndarray, {y} or {y1}
        Along each axis out = floor((in + lo + hi - dilation*(k - 1) - 1) / stride) + 1.

    Raises
    ------
    TypeError
        If an argument has the wrong type, an array a dtype other than float32 and float64, or arrays have two dtypes.
    ValueError
        If a shape, size or option does not fit, the padded input is smaller than the dilated kernel, or `algorithm`
        cannot do the shape.
    OverflowError
        If a size, or the number of elements of the result, does not fit 64 bits.
    MemoryError
        If the result cannot be allocated.

    Notes
    -----
    N, C_in and C_out may be 0; without input channels the result is the bias alone. The output of an image has the same
    bits alone and in a batch, and for any number of threads.

    References
    ----------
    V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285.
    A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv:1509.09308: "winograd".
"""

_BACKWARD_DOC = """
    Gradients of `conv{nd}d` with respect to its input, weight and bias.

    With g the gradient of the loss before the activation,
    x[n, c, i] is the sum of g[n, o, p] * weight[o, c, t] over all o, p and t with i = p*stride + t*dilation - lo,
    weight[o, c, t] the sum of g[n, o, p] * x[n, c, p*stride + t*dilation - lo] over n and p, and
    bias[o] the sum of g[n, o, p] over n and p. Other padding modes than "zeros" map i to the element they repeat.

    Parameters
    ----------
    grad : ndarray, {y} or {y1}
        Gradient of the loss with respect to the output of `conv{nd}d`; with `activation`, after it.
    x : ndarray or tuple of int
        The input, or its shape where `need` does not include "weight".
    weight : ndarray or tuple of int
        The weight, or its shape where `need` does not include "x".
    stride, padding, dilation, groups, padding_mode, layout
        As in the forward call.
    activation : None, str or tuple, default: None
        As in the forward call, but neither "silu" nor "gelu" nor "hard_swish", whose derivatives are no functions of y.
        With it g = grad * act'(y): relu, 1 where y > 0, else 0; leaky_relu, 1 where y > 0, else slope; sigmoid,
        y*(1 - y); tanh, 1 - y*y; clip, 1 where lo < y < hi, else 0; hard_sigmoid, 1/6 where 0 < y < 1, else 0; elu, 1
        where y > 0, else y + alpha. Without it g = grad.
    y : ndarray, optional
        The output of the forward call: required with `activation`, not looked at without.
    need : str or sequence of str, default: ("x", "weight", "bias")
        The gradients to compute. The others come back as None and cost nothing.
    algorithm : {{"auto", "implicit_gemm", "im2col", "direct", "winograd"}}
        As in `conv{nd}d`. The bits of a gradient of weight or bias follow from the batch, too, which it is a sum over.
    out : tuple of three arrays or None, optional
        A ConvGrads or tuple of arrays to fill and return, under the rules of `conv{nd}d`; None entries are allocated.

    Returns
    -------
    ConvGrads
        Named tuple (x, weight, bias) of arrays that have the shapes of the input, the weight, and (C_out,).

    Raises
    ------
    TypeError, ValueError, OverflowError, MemoryError
        As `conv{nd}d`; ValueError too if `need` has an unknown name, or `activation` comes without `y`.

    Notes
    -----
    All gradients have the same bits for any number of threads; that of the input of an image also alone and in a batch.
    An empty batch gives zeros.

    References
    ----------
    V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285: chapter 4.
"""


def doc_words(nd: int) -> dict[str, object]:
    """How the docstrings of one to three dimensions differ."""
    axes = ("L",) if nd == 1 else ("D", "H", "W")[-nd:]
    space, out = ", ".join(axes), ", ".join(axis + "_out" for axis in axes)
    kernel = ", ".join("k" + axis for axis in axes)
    return {
        "nd": nd,
        "x": f"(N, C_in, {space})",
        "x1": f"(C_in, {space})",
        "x_last": f"(N, {space}, C_in)",
        "y": f"(N, C_out, {out})",
        "y1": f"(C_out, {out})",
        "w": f"(C_out, C_in/groups, {kernel})",
        "w_transposed": f"(C_in, C_out/groups, {kernel})",
        "flip": ", ".join(["..."] + ["::-1"] * nd),
        "out": out,
        "per_tap": ", ".join("zyx"[-nd:]),
        "corners": 2**nd,
        "sampled": ("linear", "bilinear", "trilinear")[nd - 1],
        "valid": (1, 8, *[14] * nd),
        "full": (1, 8, *[18] * nd),
    }


def documented(template: str):
    """Decorator: the docstring that the functions of one to three dimensions share, in the words of one of them."""

    def document(function):
        nd = next(int(character) for character in function.__name__ if character.isdigit())
        function.__doc__ = inspect.cleandoc(template).format(**doc_words(nd))
        return function

    return document


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


@documented(_BACKWARD_DOC)
def conv1d_backward(
    grad: Array, x: Array | Sequence[int], weight: Array | Sequence[int], stride: Size = 1, padding: Padding = 0,
    dilation: Size = 1, groups: int = 1, *, padding_mode: str = "zeros", activation: Activation = None,
    y: Array | None = None, layout: str = "NCHW", need: str | Sequence[str] = _NAMES, algorithm: str = "auto",
    out: Sequence[np.ndarray | None] | None = None,
) -> ConvGrads:  # fmt: skip
    sizes = (1, stride, padding, dilation, groups, padding_mode, layout)
    return backward(CONV, sizes, grad, x, weight, activation, y, need, algorithm, out)


@documented(_BACKWARD_DOC)
def conv2d_backward(
    grad: Array, x: Array | Sequence[int], weight: Array | Sequence[int], stride: Size = 1, padding: Padding = 0,
    dilation: Size = 1, groups: int = 1, *, padding_mode: str = "zeros", activation: Activation = None,
    y: Array | None = None, layout: str = "NCHW", need: str | Sequence[str] = _NAMES, algorithm: str = "auto",
    out: Sequence[np.ndarray | None] | None = None,
) -> ConvGrads:  # fmt: skip
    sizes = (2, stride, padding, dilation, groups, padding_mode, layout)
    return backward(CONV, sizes, grad, x, weight, activation, y, need, algorithm, out)


@documented(_BACKWARD_DOC)
def conv3d_backward(
    grad: Array, x: Array | Sequence[int], weight: Array | Sequence[int], stride: Size = 1, padding: Padding = 0,
    dilation: Size = 1, groups: int = 1, *, padding_mode: str = "zeros", activation: Activation = None,
    y: Array | None = None, layout: str = "NCHW", need: str | Sequence[str] = _NAMES, algorithm: str = "auto",
    out: Sequence[np.ndarray | None] | None = None,
) -> ConvGrads:  # fmt: skip
    sizes = (3, stride, padding, dilation, groups, padding_mode, layout)
    return backward(CONV, sizes, grad, x, weight, activation, y, need, algorithm, out)
