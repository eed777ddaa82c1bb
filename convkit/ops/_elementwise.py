"""Element by element, threaded, in one pass: activations with their derivatives, and two arrays into one."""

from __future__ import annotations

import numpy as np

from .._arrays import as_array, empty, same_dtype
from .._ext import engine
from .._options import NO_ACTIVATION
from .._threads import current

Code = tuple[int, float, float]  # kind, a, b; those of `convkit._options.activation` are activations, too

_BINARY = {
    "add": engine.PLUS, "subtract": engine.MINUS, "multiply": engine.TIMES, "divide": engine.OVER,
    "maximum": engine.LARGER, "minimum": engine.SMALLER,
}  # fmt: skip
RELU, SIGMOID, TANH, SILU, GELU, HARD_SWISH, HARD_SIGMOID, GELU_TANH = (
    (kind, 0.0, 0.0)
    for kind in (
        engine.RELU, engine.SIGMOID, engine.TANH, engine.SILU, engine.GELU, engine.HARD_SWISH, engine.HARD_SIGMOID,
        engine.GELU_TANH,
    )
)  # fmt: skip


def leaky_relu(slope: float) -> Code:
    """x where x > 0, else slope * x."""
    return engine.LEAKY_RELU, slope, 0.0


def clip(lo: float, hi: float) -> Code:
    """lo where x is below it, hi where x is above it."""
    return engine.CLIP, lo, hi


def softplus(beta: float, threshold: float) -> Code:
    """log(1 + exp(beta * x)) / beta; x where beta * x > threshold."""
    return engine.SOFTPLUS, beta, threshold


def elu(alpha: float, scale: float) -> Code:
    """scale * x where x > 0, else scale * alpha * (exp(x) - 1); the derivative is taken from x."""
    return engine.ELU_OF_X, alpha, scale


def _run(op: int, activation: Code, a: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    shape = a.shape
    y = empty(shape, a.dtype)
    if len(shape) > engine.MAX_AXES:
        flat = a.reshape(-1), None if b is None else b.reshape(-1)
        engine.elementwise(op, y.reshape(-1), *flat, *activation, current())
    else:
        engine.elementwise(op, y, a, b, *activation, current())
    return y


def activate(x: np.ndarray, activation: Code) -> np.ndarray:
    """The activation of every element."""
    return _run(engine.ACTIVATE, activation, as_array(x, "x"), None)


def activate_backward(grad: np.ndarray, kept: np.ndarray, activation: Code) -> np.ndarray:
    """grad times the derivative, of which `kept` is the argument or the result, as ck_activation in convkit.h says."""
    grad, kept = as_array(grad, "grad"), as_array(kept, "x")
    same_dtype(grad, "grad", kept, "x")
    return _run(engine.ACTIVATE_BACK, activation, grad, kept)


def binary(name: str, a: np.ndarray, b: np.ndarray, activation: Code = NO_ACTIVATION) -> np.ndarray:
    """Two arrays into one, broadcast, and an activation after it; a maximum or minimum with NaN is NaN."""
    a, b = as_array(a, "a"), as_array(b, "b")
    same_dtype(b, "b", a, "a")
    if a.shape != b.shape:
        a, b = np.broadcast_arrays(a, b)
    return _run(_BINARY[name], activation, a, b)
