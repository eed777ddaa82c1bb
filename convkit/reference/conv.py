"""Convolution, columns and the linear map; and how far from the reference a correct result may lie.

One loop over kernel taps serves all of them: for each tap, the outputs that see an element of the input, and which
element each sees. What lies in zero padding is seen by nobody, so it contributes nothing, not even 0 * inf.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import _options, _shapes
from .._results import ConvGrads

_NAMES = ConvGrads._fields


# ---------------------------------------------------------------- taps


def axis_taps(shape: _shapes.ConvShape, axis: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """For each tap of one axis: the tap, the outputs that see an element through it, and the element each sees."""
    size, mode = shape.in_[axis], _options.name_of(shape.padding_mode, _options.PADDING_MODES)
    start = np.arange(shape.out[axis]) * shape.stride[axis] - shape.pad_lo[axis]
    taps = []
    for tap in range(shape.kernel[axis]):
        position = start + tap * shape.dilation[axis]
        seen = np.arange(position.size)
        if mode == "zeros":
            seen = np.flatnonzero((position >= 0) & (position < size))
        elif mode == "reflect":
            position = np.abs(position)
            position = np.where(position >= size, 2 * (size - 1) - position, position)
        elif mode == "replicate":
            position = np.clip(position, 0, size - 1)
        else:
            position = position % size
        taps.append((tap, seen, position[seen]))
    return taps


def _even(index: np.ndarray):
    """An index along one axis as a slice, which takes no copy, or the index itself if it is not evenly spaced."""
    if index.size < 2:
        return slice(int(index[0]), int(index[0]) + 1) if index.size else slice(0, 0)
    step = int(index[1] - index[0])
    return slice(int(index[0]), int(index[-1]) + 1, step) if step > 0 and (np.diff(index) == step).all() else index


def _region(along: tuple, sizes: tuple[int, ...]) -> tuple:
    """Indices along each axis as the index of all of them."""
    if all(isinstance(index, slice) for index in along):
        return along
    return np.ix_(*(np.arange(size)[index] for index, size in zip(along, sizes, strict=True)))


@functools.lru_cache(maxsize=1)  # a pass, its gradients and their bounds are of one shape
def _taps(shape: _shapes.ConvShape) -> list[tuple]:
    """For each tap of the kernel: its index, the outputs that see an element through it, and the elements they see."""
    axes = [axis_taps(shape, axis) for axis in range(len(shape.in_))]
    axes = [[(tap, _even(seen), _even(source)) for tap, seen, source in axis] for axis in axes]
    taps = (zip(*along, strict=True) for along in itertools.product(*axes))
    return [(tap, _region(seen, shape.out), _region(source, shape.in_)) for tap, seen, source in taps]


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products of matrices; what is not finite in them is nothing to warn of."""
    with np.errstate(all="ignore"):
        return a @ b


def _flat(values: np.ndarray) -> np.ndarray:
    """(n, groups, channels, *spatial) with its positions in one axis."""
    return values.reshape(*values.shape[:3], math.prod(values.shape[3:]))


def _by_tap(shape: _shapes.ConvShape, weight: np.ndarray) -> np.ndarray:
    """The weight as a matrix for each tap and group, (*kernel, groups, c_out, c_in)."""
    weight = weight.reshape(shape.groups, shape.c_out, shape.c_in, *shape.kernel)
    return np.ascontiguousarray(np.moveaxis(weight, (0, 1, 2), (-3, -2, -1)))


def _add_at(target: np.ndarray, source, values: np.ndarray) -> None:
    """target[..., source] += values; an element seen several times receives each of them."""
    index = (..., *source)
    if all(isinstance(along, slice) or np.unique(along).size == along.size for along in source):
        target[index] += values
    else:
        np.add.at(target, index, values)


# ---------------------------------------------------------------- arrays of shape (n, channels, *spatial)


def _convolve(shape: _shapes.ConvShape, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    x = x.reshape(shape.n, shape.groups, shape.c_in, *shape.in_)
    weight = _by_tap(shape, weight)
    y = np.zeros((shape.n, shape.groups, shape.c_out, *shape.out))
    for tap, seen, source in _taps(shape):
        patch = x[(..., *source)]  # (n, groups, c_in, *seen)
        sums = _product(weight[tap], _flat(patch))
        y[(..., *seen)] += sums.reshape(*sums.shape[:3], *patch.shape[3:])
    return y.reshape(shape.n, shape.groups * shape.c_out, *shape.out)


def _grad_x(shape: _shapes.ConvShape, grad: np.ndarray, weight: np.ndarray) -> np.ndarray:
    grad = grad.reshape(shape.n, shape.groups, shape.c_out, *shape.out)
    weight = _by_tap(shape, weight).swapaxes(-1, -2)
    dx = np.zeros((shape.n, shape.groups, shape.c_in, *shape.in_))
    for tap, seen, source in _taps(shape):
        patch = grad[(..., *seen)]  # (n, groups, c_out, *seen)
        sums = _product(weight[tap], _flat(patch))
        _add_at(dx, source, sums.reshape(*sums.shape[:3], *patch.shape[3:]))
    return dx.reshape(shape.n, shape.groups * shape.c_in, *shape.in_)


def _grad_weight(shape: _shapes.ConvShape, grad: np.ndarray, x: np.ndarray) -> np.ndarray:
    grad = grad.reshape(shape.n, shape.groups, shape.c_out, *shape.out)
    x = x.reshape(shape.n, shape.groups, shape.c_in, *shape.in_)
    dw = np.zeros((shape.groups, shape.c_out, shape.c_in, *shape.kernel))
    for tap, seen, source in _taps(shape):
        patch = _flat(x[(..., *source)]).swapaxes(2, 3)
        dw[(..., *tap)] = _product(_flat(grad[(..., *seen)]), patch).sum(axis=0)
    return dw.reshape(shape.groups * shape.c_out, shape.c_in, *shape.kernel)


class Sums(NamedTuple):
    """The three sums of products that convolution and its gradients are, (shape, operand, operand) -> array."""

    convolve: Callable
    grad_x: Callable
    grad_weight: Callable


SUMS = Sums(_convolve, _grad_x, _grad_weight)


def _counts(shape: _shapes.ConvShape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """In one channel of one image: the taps each output has inside, the reads of each element, the uses of each tap."""
    axes = []
    for axis, (size, out) in enumerate(zip(shape.in_, shape.out, strict=True)):
        taps = axis_taps(shape, axis)
        inside = sum(np.bincount(outputs, minlength=out) for _, outputs, _ in taps)
        reads = sum(np.bincount(elements, minlength=size) for _, _, elements in taps)
        axes.append((inside, reads, np.array([outputs.size for _, outputs, _ in taps])))
    return tuple(functools.reduce(np.multiply.outer, along).astype(float) for along in zip(*axes, strict=True))


def _each_channel(n: int, channels: int, plane: np.ndarray) -> np.ndarray:
    return np.broadcast_to(plane, (n, channels, *plane.shape)).copy()


# How many products each of the sums has, whatever the operands.
NUMBERS = Sums(
    lambda shape, *_: _each_channel(shape.n, shape.groups * shape.c_out, shape.c_in * _counts(shape)[0]),
    lambda shape, *_: _each_channel(shape.n, shape.groups * shape.c_in, shape.c_out * _counts(shape)[1]),
    lambda shape, *_: _each_channel(shape.groups * shape.c_out, shape.c_in, shape.n * _counts(shape)[2]),
)


def _im2col(shape: _shapes.ConvShape, x: np.ndarray) -> np.ndarray:
    cols = np.zeros((shape.n, shape.c_in, *shape.kernel, *shape.out))
    for tap, seen, source in _taps(shape):
        cols[(slice(None), slice(None), *tap, *seen)] = x[(..., *source)]
    return cols.reshape(shape.n, shape.c_in * math.prod(shape.kernel), math.prod(shape.out))


def _col2im(shape: _shapes.ConvShape, cols: np.ndarray) -> np.ndarray:
    cols = cols.reshape(shape.n, shape.c_in, *shape.kernel, *shape.out)
    x = np.zeros((shape.n, shape.c_in, *shape.in_))
    for tap, seen, source in _taps(shape):
        _add_at(x, source, cols[(slice(None), slice(None), *tap, *seen)])
    return x


# ---------------------------------------------------------------- activations


def _parameters(activation, dtype: np.dtype) -> tuple[str | None, float, float]:
    """Name and parameters of an activation, the latter rounded to the call's dtype, as they are by definition."""
    _, a, b = _options.activation(activation)
    name = activation if activation is None or isinstance(activation, str) else activation[0]
    if dtype == np.float32:
        a, b = float(np.float32(a)), float(np.float32(b))
    return name, a, b


def _sigmoid_times(z: np.ndarray, x) -> np.ndarray:
    """x * sigmoid(z); the root of exp(z) is still a normal number where exp(z) is not."""
    root = np.exp(np.minimum(z, -z) / 2)
    return np.where(z < 0, x * root * root, x) / (1 + root * root)


def _normal_below(z: np.ndarray) -> np.ndarray:
    """Phi(z) = erfc(-z / sqrt(2)) / 2. What rounding takes from the argument, erfc would multiply by its square."""
    root, rest = 0.7071067811865476, -4.833646656726457e-17  # sqrt(1 / 2) and what a double leaves of it
    t = -z * root
    head = z * 134217729 - (z * 134217729 - z)  # halves, whose products are exact (T. J. Dekker)
    root_head = 0.7071067839860916
    tail, root_tail = z - head, root - root_head
    lost = (((-head * root_head - t) - head * root_tail) - tail * root_head) - tail * root_tail - z * rest
    erfc = np.vectorize(math.erfc, otypes=[np.float64])(t)
    return (erfc - 2 / math.sqrt(math.pi) * np.exp(-t * t) * lost) / 2


def _activate(z: np.ndarray, activation, dtype: np.dtype) -> np.ndarray:
    name, a, b = _parameters(activation, dtype)
    finite = np.maximum(z, -2000)  # minus infinity times zero would be NaN
    with np.errstate(over="ignore", invalid="ignore"):
        if name == "relu":
            return np.maximum(z, 0)
        if name == "leaky_relu":
            return np.where(z < 0, z * a, z) if a else np.maximum(z, 0)
        if name == "sigmoid":
            return _sigmoid_times(z, 1)
        if name == "tanh":
            return np.tanh(z)
        if name == "silu":
            return _sigmoid_times(z, finite)
        if name == "gelu":
            return np.maximum(z, -40) * _normal_below(np.clip(z, -40, 40))
        if name in ("hard_sigmoid", "hard_swish"):
            return np.clip(z + 3, 0, 6) / 6 * (finite if name == "hard_swish" else 1)
        if name == "elu":
            return np.where(z > 0, z, a * np.expm1(np.minimum(z, 0)))
        return np.clip(z, a, b) if name == "clip" else z


def _before_activation(grad: np.ndarray, y: np.ndarray | None, activation, dtype: np.dtype) -> np.ndarray:
    """grad * act'(y). Where the derivative is zero the result is zero, also of an infinite gradient."""
    _options.activation_backward(activation)
    name, a, b = _parameters(activation, dtype)
    if name is None:
        return grad
    if name in ("relu", "leaky_relu"):
        return np.where(y > 0, grad, grad * a if a else 0)
    if name == "clip":
        return np.where((a < y) & (y < b), grad, 0)
    if name == "hard_sigmoid":
        return np.where((0 < y) & (y < 1), grad / 6, 0)
    if name == "elu":
        return grad * np.where(y > 0, 1, y + a)
    return grad * (y * (1 - y) if name == "sigmoid" else 1 - y * y)


# ---------------------------------------------------------------- shapes and layouts


def _dtype(value) -> np.dtype:
    """The dtype that a call with this first array has."""
    return np.dtype(np.float32 if np.asarray(value).dtype.newbyteorder("=") == np.float32 else np.float64)


def _canonical(image: np.ndarray, nd: int, channel_last: bool) -> np.ndarray:
    """An image argument as (n, channels, *spatial)."""
    image = np.asarray(image, np.float64)
    if image.ndim == nd + 1:
        image = image[None]
    return np.moveaxis(image, -1, 1) if channel_last else image


def _as_called(image: np.ndarray, channel_last: bool, batched: bool) -> np.ndarray:
    """The inverse of `_canonical`."""
    image = np.ascontiguousarray(np.moveaxis(image, 1, -1) if channel_last else image)
    return image if batched else image[0]


def _shape_of(value) -> tuple[int, ...]:
    """The shape of an argument that is an array or a shape."""
    return _shapes.array_shape(value, "shape") if isinstance(value, (tuple, list)) else np.shape(value)


def _must_have_shape(name: str, value, shape: tuple[int, ...]) -> None:
    if np.shape(value) != tuple(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}, got shape {np.shape(value)}")


# ---------------------------------------------------------------- the definitions


# Operators whose terms are not what they give for the operands' magnitudes, and for ones in their place: how to get S
# and K from these two sets of arguments.
TERMS = {}


def _conv(
    nd, x, weight, bias, stride, padding, dilation, groups, padding_mode, activation, layout, sums=SUMS
) -> np.ndarray:
    last, dtype = _options.channel_last(layout), _dtype(x)
    shape = _shapes.conv(nd, np.shape(x), np.shape(weight), stride, padding, dilation, groups, padding_mode, last)
    y = sums.convolve(shape, _canonical(x, nd, last), np.asarray(weight, np.float64))
    if bias is not None:
        _must_have_shape("bias", bias, np.shape(weight)[:1])
        y += np.asarray(bias, np.float64).reshape(-1, *(1,) * nd)
    return _as_called(_activate(y, activation, dtype), last, np.ndim(x) == nd + 2)


def _conv_backward(
    nd, grad, x, weight, stride, padding, dilation, groups, padding_mode, activation, y, layout, need, sums=SUMS
) -> ConvGrads:
    last, dtype, x_shape, weight_shape = _options.channel_last(layout), _dtype(grad), _shape_of(x), _shape_of(weight)
    need_x, need_weight, need_bias = _options.need(need, _NAMES)
    shape = _shapes.conv(nd, x_shape, weight_shape, stride, padding, dilation, groups, padding_mode, last)
    batched = len(x_shape) == nd + 2
    y_shape = _shapes.image_shape(shape.n, weight_shape[0], shape.out, last, batched)
    _must_have_shape("grad", grad, y_shape)
    grad = _canonical(grad, nd, last)
    if activation is not None:
        _must_have_shape("y", y, y_shape)
        grad = _before_activation(grad, _canonical(y, nd, last), activation, dtype)
    dx = dw = db = None
    if need_x:
        dx = _as_called(sums.grad_x(shape, grad, np.asarray(weight, np.float64)), last, batched)
    if need_weight:
        dw = sums.grad_weight(shape, grad, _canonical(x, nd, last))
    if need_bias:
        db = grad.sum(axis=(0, *range(2, nd + 2)))
    return ConvGrads(dx, dw, db)


def _conv_of(nd: int):
    def conv(
        x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *,
        padding_mode="zeros", activation=None, layout="NCHW", algorithm="auto",
    ):  # fmt: skip
        _options.algorithm(algorithm)
        return _conv(nd, x, weight, bias, stride, padding, dilation, groups, padding_mode, activation, layout)

    def terms(magnitudes: dict, ones: dict):
        del ones["algorithm"]
        return conv(**magnitudes), _conv(nd, **ones, sums=NUMBERS)

    conv.__name__ = conv.__qualname__ = f"conv{nd}d"
    conv.__doc__ = f"`convkit.conv{nd}d` in float64; algorithm makes no difference."
    TERMS[conv.__name__] = terms
    return conv


def _conv_backward_of(nd: int):
    def conv_backward(
        grad, x, weight, stride=1, padding=0, dilation=1, groups=1, *,
        padding_mode="zeros", activation=None, y=None, layout="NCHW", need=_NAMES, algorithm="auto",
    ):  # fmt: skip
        _options.algorithm(algorithm)
        return _conv_backward(
            nd, grad, x, weight, stride, padding, dilation, groups, padding_mode, activation, y, layout, need
        )

    def terms(magnitudes: dict, ones: dict):
        del ones["algorithm"]
        return conv_backward(**magnitudes), _conv_backward(nd, **ones, sums=NUMBERS)

    conv_backward.__name__ = conv_backward.__qualname__ = f"conv{nd}d_backward"
    conv_backward.__doc__ = f"`convkit.conv{nd}d_backward` in float64; algorithm makes no difference."
    TERMS[conv_backward.__name__] = terms
    return conv_backward


conv1d, conv2d, conv3d = map(_conv_of, (1, 2, 3))
conv1d_backward, conv2d_backward, conv3d_backward = map(_conv_backward_of, (1, 2, 3))


def im2col(x, kernel_size, stride=1, padding=0, dilation=1, *, padding_mode="zeros", layout="NCHW"):
    """`convkit.im2col` in float64."""
    last = _options.channel_last(layout)
    nd = _shapes.unfolded(np.ndim(x), kernel_size)
    shape = _shapes.columns(nd, np.shape(x), kernel_size, stride, padding, dilation, padding_mode, last)
    cols = _im2col(shape, _canonical(x, nd, last))
    return cols if np.ndim(x) == nd + 2 else cols[0]


def col2im(cols, output_size, kernel_size, stride=1, padding=0, dilation=1, *, padding_mode="zeros", layout="NCHW"):
    """`convkit.col2im` in float64."""
    last = _options.channel_last(layout)
    kernel, spatial = _shapes.folded(output_size, kernel_size)
    x_shape, _ = _shapes.folded_image(np.shape(cols), kernel, spatial, last)
    shape = _shapes.columns(len(spatial), x_shape, kernel, stride, padding, dilation, padding_mode, last)
    _shapes.check_positions(np.shape(cols), shape)
    return _as_called(_col2im(shape, np.asarray(cols, np.float64)), last, np.ndim(cols) == 3)


def linear(x, weight, bias=None, *, activation=None):
    """`convkit.linear` in float64."""
    _shapes.check_features(np.shape(x), np.shape(weight))
    y = np.einsum("...i,oi->...o", np.asarray(x, np.float64), np.asarray(weight, np.float64))
    if bias is not None:
        _must_have_shape("bias", bias, np.shape(weight)[:1])
        y = y + np.asarray(bias, np.float64)
    return _activate(y, activation, _dtype(x))


def linear_backward(grad, x, weight, *, activation=None, y=None, need=_NAMES):
    """`convkit.linear_backward` in float64."""
    need_x, need_weight, need_bias = _options.need(need, _NAMES)
    x_shape, weight_shape, dtype = _shape_of(x), _shape_of(weight), _dtype(grad)
    _shapes.check_features(x_shape, weight_shape)
    _must_have_shape("grad", grad, (*x_shape[:-1], weight_shape[0]))
    grad = np.asarray(grad, np.float64)
    if activation is not None:
        _must_have_shape("y", y, grad.shape)
        grad = _before_activation(grad, np.asarray(y, np.float64), activation, dtype)
    rows = grad.reshape(math.prod(grad.shape[:-1]), grad.shape[-1])
    dx = dw = db = None
    if need_x:
        dx = np.einsum("...o,oi->...i", grad, np.asarray(weight, np.float64))
    if need_weight:
        dw = np.einsum("ro,ri->oi", rows, np.asarray(x, np.float64).reshape(len(rows), x_shape[-1]))
    if need_bias:
        db = rows.sum(axis=0)
    return ConvGrads(dx, dw, db)


# ---------------------------------------------------------------- how far a correct result may lie from these

_OPERANDS = ("x", "weight", "mask", "bias", "grad", "cols")
_ROUNDINGS = {"leaky_relu": 1, "sigmoid": 3, "tanh": 3, "hard_sigmoid": 1, "elu": 2}  # in forming grad * act'(y)
# The largest slope of an activation; those that are more than a bound or a factor may be 4 units in the last place off.
_STEEPEST = {
    "sigmoid": 0.25, "tanh": 1.0, "silu": 1.1, "gelu": 1.13, "hard_swish": 1.5, "hard_sigmoid": 1 / 6, "elu": 1.0,
}  # fmt: skip


def _operator(name: str):
    """The operator of this package that has this name, of whichever family."""
    return getattr(sys.modules[__package__], name)


def _call(name: str, args, kwargs) -> dict:
    """The arguments of a call by name."""
    call = inspect.signature(_operator(name)).bind(*args, **kwargs)
    call.apply_defaults()
    return call.arguments


def _first(call: dict):
    """The array that settles a call's dtype."""
    return next(call[operand] for operand in ("grad", "x", "cols") if operand in call)


def _each(function, result, *others):
    """function over an array, or over the arrays of a named tuple."""
    if isinstance(result, tuple):
        rows = zip(result, *others, strict=True)
        return type(result)(*(None if row[0] is None else function(*row) for row in rows))
    return function(result, *others)


def rounding(dtype: np.dtype, s, n):
    """gamma_n * s + n * tiny; in float64 twice that, because the reference rounds as well."""
    limits, times = np.finfo(dtype), 2 if dtype == np.float64 else 1
    u = float(limits.eps) / 2
    return times * (n * u / (1 - n * u) * s + n * float(limits.smallest_subnormal))


def _steepness(grad: np.ndarray, y, activation, dtype: np.dtype) -> np.ndarray:
    """|grad| * act'(y) with the sums in the derivative's formula on absolute values too."""
    grad, y = np.abs(np.asarray(grad, np.float64)), np.asarray(y, np.float64)
    name, a, _ = _parameters(activation, dtype)
    if name == "sigmoid":
        return grad * np.abs(y) * (1 + np.abs(y))
    if name == "elu":
        return grad * np.where(y > 0, 1, np.abs(y) + a)
    return grad * (1 + y * y) if name == "tanh" else _before_activation(grad, y, activation, dtype)


def terms(name: str, *args, **kwargs):
    """
    Size and number of the products that an operator sums for each element of its result, before the activation.

    Parameters
    ----------
    name : str
        The operator, a function of `convkit.reference`.
    *args, **kwargs
        Its arguments.

    Returns
    -------
    S, K : ndarray or ConvGrads each
        The sum of the absolute values of the products, |bias| included, and their number, bias included; both have the
        form and shapes of the operator's result. A tap in zero padding is no product.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import reference
    >>> reference.terms("conv1d", np.array([[[1.0, -2.0, 3.0]]]), np.ones((1, 1, 2)))
    (array([[[3., 5.]]]), array([[[2., 2.]]]))
    """
    call = _call(name, args, kwargs)
    if call.get("activation") is not None and "grad" in call:
        call["grad"] = _steepness(call["grad"], call["y"], call["activation"], _dtype(call["grad"]))
    if "activation" in call:
        call["activation"] = None
    arrays = [n for n in _OPERANDS if call.get(n) is not None and not isinstance(call[n], (tuple, list))]
    magnitudes = {n: np.abs(np.asarray(call[n], np.float64)) for n in arrays}
    ones = {n: np.ones(np.shape(call[n])) for n in arrays}
    if name in TERMS:
        return TERMS[name]({**call, **magnitudes}, {**call, **ones})
    operator = _operator(name)
    return operator(**{**call, **magnitudes}), operator(**{**call, **ones})


def bound(name: str, *args, dtype=None, **kwargs):
    """
    How far a correct result may lie from the reference's: gamma_{K+2} * S + (K+2) * tiny, derived and not tuned.

    With S and K from `terms`, u = 2**-24 or 2**-53 and gamma_n = n*u / (1 - n*u), it holds for sums in any order,
    fused or not. In float64 it is twice that, because the reference rounds as well. An activation that is more than a
    bound or a factor may be off by 4 units in the last place more. In a gradient with an activation n counts the
    roundings of its derivative too.

    Parameters
    ----------
    name : str
        The operator, a function of `convkit.reference`.
    *args, **kwargs
        Its arguments, as the call under test had them.
    dtype : dtype, optional
        float32 or float64; by default that of the call's first array.

    Returns
    -------
    ndarray or ConvGrads
        Of the form and shapes of the operator's result.

    References
    ----------
    N. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, 2002: section 3.1.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x, weight = rng.standard_normal((1, 8, 9, 9), np.float32), rng.standard_normal((4, 8, 3, 3), np.float32)
    >>> error = abs(convkit.conv2d(x, weight, algorithm="implicit_gemm") - convkit.reference.conv2d(x, weight))
    >>> bool((error <= convkit.reference.bound("conv2d", x, weight)).all())
    True
    """
    call = _call(name, args, kwargs)
    dtype = np.dtype(dtype or _dtype(_first(call)))
    function, a, _ = _parameters(call.get("activation"), dtype)
    backward = "grad" in call
    extra = 2 + (_ROUNDINGS.get(function, 0) if backward else 0)
    allowed = _each(lambda s, k: rounding(dtype, s, k + extra), *terms(name, *args, **kwargs))
    if backward or function is None:
        return allowed
    steepest = _STEEPEST.get(function, 1.0)
    allowed = allowed * (max(1.0, a) if function in ("leaky_relu", "elu") else steepest)
    if function in _STEEPEST:
        result = _operator(name)(**call).astype(dtype)
        allowed += 4 * np.spacing(np.abs(result)).astype(np.float64)
    return allowed
