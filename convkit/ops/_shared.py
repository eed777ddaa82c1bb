"""What operators share: sizes that are found once, what a call takes in and gives back.

A call costs a few microseconds before any arithmetic, and on small images that is the whole cost. So all that depends
on sizes alone is checked once and kept, under a key of ints, names and tuples of such; what is left each time is to
look at the arrays.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .. import _options, _shapes
from .._arrays import as_array, as_out, empty, fits_out
from .._ext import engine
from .._results import ConvGrads
from .._threads import current
from .._words import brief, counted

# ---------------------------------------------------------------- plans

T = TypeVar("T")
_AUTO = "auto"  # the default, known by identity at no cost: an array would not even say whether it equals a name
_COUNTS = {3: "three", 5: "five"}


def remembered(plan: Callable[..., T]) -> Callable[[tuple, tuple], T]:
    """Decorator: what a function finds from sizes alone is kept.

    Its arguments come in two tuples: those that are plain for sure, such as an array's shape, and those that a caller
    gave, which are made plain first where they are not ints, strings, None or tuples of such: then equal keys mean
    equal sizes.
    """
    names = tuple(inspect.signature(plan).parameters)

    def made_plain(given: tuple) -> tuple:
        return tuple(map(_plain, given, names[-len(given) :]))

    return engine.remembered(plan, made_plain)


def _plain(value, name: str):
    if value is None or name in ("layout", "mode", "padding_mode"):
        return value
    if name == "padding":
        return _shapes.plain_padding(value)
    return _shapes.integer(value, name) if name == "groups" else _shapes.plain(value, name)


# ---------------------------------------------------------------- arguments and results


def check_shape(array: np.ndarray, name: str, shape: tuple[int, ...], why: str) -> None:
    """Whether an array has the one shape that the others leave it."""
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, {why}, got shape {array.shape}")


def array_or_shape(value, name: str, needed_for: str | None, grad, take: Callable = as_array):
    """(array, shape) of an argument that may be given as its shape, unless a gradient needs its values."""
    if isinstance(value, (tuple, list)):
        if needed_for:
            raise TypeError(
                f"{name} must be an array where need includes {needed_for!r}, got {type(value).__name__} {brief(value)}"
            )
        return None, _shapes.array_shape(value, name)
    array = take(value, name, grad, "grad")
    return array, array.shape


def taken_y(y, activation, grad, take: Callable = as_array):
    """The forward's output, where the activation's derivative is to be formed from it."""
    if activation is None:
        return None
    if y is None:
        raise ValueError("y must be the output of the forward call where activation is given, got None")
    y = take(y, "y", grad, "grad")
    check_shape(y, "y", grad.shape, "that of grad")
    return y


def results(names, needs, shapes, dtype, out, inputs) -> tuple[list, list]:
    """The arrays to return and the plain ndarrays to fill, both None where a gradient is not needed."""
    if out is None:
        fresh = [empty(shape, dtype) if needed else None for needed, shape in zip(needs, shapes, strict=True)]
        return fresh, fresh
    if not isinstance(out, tuple) or len(out) != len(names):
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


def batch(batched: bool, *arrays: np.ndarray | None) -> Sequence[np.ndarray | None]:
    """The arrays with a batch axis, as the engine wants them."""
    return arrays if batched else [array if array is None else array[None] for array in arrays]


# ---------------------------------------------------------------- convolution and transposed convolution


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a call needs to know about its sizes. Slots are read faster than a named tuple's fields."""

    geometry: engine.Geometry
    y_shape: tuple[int, ...]
    bias_shape: tuple[int]
    batched: bool
    channel_last: bool
    words: dict[str, str]  # `in_words` of its shape


@dataclass(frozen=True, slots=True)
class Family:
    """Where convolution and its relatives differ; `forward` and `backward` have what they share."""

    plan: Callable[[tuple, tuple], Plan]  # of the shapes of x and weight, and of the sizes that follow in the call
    transposed: bool
    ops: tuple[int, int, int]  # forward, and the gradients of x and of the weight, as engine.conv_explain calls them


CONV_GRADS = ConvGrads._fields
ONLY_FOR = {
    "direct": "depthwise convolution, and two groups or more of up to 8 channels",
    "winograd": "kernels of 3x3 taps along the last two axes without a stride",
}


def in_words(shape: _shapes.ConvShape, c_in: int, c_out: int) -> dict[str, str]:
    """What decides whether an algorithm of `ONLY_FOR` can do a convolution."""
    return {
        "direct": f"{counted(shape.groups, 'group')} of {counted(c_in, 'channel')} in and {c_out} out",
        "winograd": f"kernel {shape.kernel} and stride {shape.stride}",
    }


def check_algorithm(name, plan: Plan) -> int:
    """The engine's code of an algorithm, once it is found to do this shape."""
    if type(name) is str and name == _AUTO:  # another object, such as one that was pickled
        return engine.AUTO
    code = _options.algorithm(name)
    if code != engine.AUTO and not engine.conv_supports(plan.geometry, code):
        raise ValueError(
            f"algorithm must be another than {name!r}, which does only {ONLY_FOR[name]}; got {plan.words[name]}"
        )
    return code


def forward(family: Family, sizes: tuple, x, weight, bias, activation, algorithm, out) -> np.ndarray:
    """The forward pass of a convolution of this family; `sizes` are what its plan takes."""
    x = as_array(x, "x")
    weight = as_array(weight, "weight", x, "x")
    plan = family.plan((x.shape, weight.shape), sizes)
    if bias is not None:
        bias = as_array(bias, "bias", x, "x")
        check_shape(bias, "bias", plan.bias_shape, "one per output channel")
    act, a, b = _options.NO_ACTIVATION if activation is None else _options.activation(activation)
    code = engine.AUTO if algorithm is _AUTO else check_algorithm(algorithm, plan)
    if out is None:
        y = out = empty(plan.y_shape, x.dtype)
    elif fits_out(out, plan.y_shape, x, weight, bias):
        y = out
    else:
        y = as_out(out, "out", plan.y_shape, x.dtype, (("x", x), ("weight", weight), ("bias", bias)))
    if not plan.batched:
        x, y = x[None], y[None]
    last, transposed = plan.channel_last, family.transposed
    engine.conv_forward(plan.geometry, x, weight, bias, y, act, a, b, last, code, transposed, current())
    return out


def backward(family: Family, sizes: tuple, grad, x, weight, activation, y, need, algorithm, out) -> ConvGrads:
    """The gradients of `forward`."""
    needs = need_x, need_weight, need_bias = _options.need(need, CONV_GRADS)
    grad = as_array(grad, "grad")
    x, x_shape = array_or_shape(x, "x", "weight" if need_weight else None, grad)
    weight, weight_shape = array_or_shape(weight, "weight", "x" if need_x else None, grad)
    plan = family.plan((x_shape, weight_shape), sizes)
    check_shape(grad, "grad", plan.y_shape, "that of the output")
    act, a, b = _options.activation_backward(activation)
    y = taken_y(y, activation, grad)
    code = check_algorithm(algorithm, plan) if need_x or need_weight else _options.algorithm(algorithm)
    inputs = () if out is None else (("grad", grad), ("x", x), ("weight", weight), ("y", y))
    grads, (dx, dw, db) = results(CONV_GRADS, needs, (x_shape, weight_shape, plan.bias_shape), grad.dtype, out, inputs)
    grad, x, dx, y = batch(plan.batched, grad, x, dx, y)
    geometry, last, transposed = plan.geometry, plan.channel_last, family.transposed
    if need_x:
        engine.conv_grad_x(geometry, grad, weight, dx, act, a, b, y, last, code, transposed, current())
    if need_weight or need_bias:
        code = code if need_weight else engine.AUTO  # the sum for the bias alone is every algorithm's
        engine.conv_grad_weight(geometry, grad, x, dw, db, act, a, b, y, last, code, transposed, current())
    return ConvGrads(*grads)
