"""Element by element, threaded, in one pass: activations with their derivatives, and two arrays into one."""

from __future__ import annotations

import numpy as np

from .._arrays import as_array, empty, same_dtype
from .._ext import engine
from .._threads import current

_ACTIVATE, _ACTIVATE_BACK = 0, 1
_BINARY = {"add": 2, "subtract": 3, "multiply": 4, "divide": 5, "maximum": 6, "minimum": 7}
_IDENTITY = (0, 0.0, 0.0)
# (code, a, b); those of `convkit._options.activation` are activations, too.
RELU, SIGMOID, TANH, SILU, GELU = ((code, 0.0, 0.0) for code in (1, 3, 4, 6, 7))
HARD_SWISH, HARD_SIGMOID, GELU_TANH = ((code, 0.0, 0.0) for code in (8, 9, 11))


def leaky_relu(slope: float) -> tuple[int, float, float]:
    """x where x > 0, else slope * x."""
    return 2, slope, 0.0


def clip(lo: float, hi: float) -> tuple[int, float, float]:
    """lo where x is below it, hi where x is above it."""
    return 5, lo, hi


def softplus(beta: float, threshold: float) -> tuple[int, float, float]:
    """log(1 + exp(beta * x)) / beta; x where beta * x > threshold."""
    return 12, beta, threshold


def elu(alpha: float, scale: float) -> tuple[int, float, float]:
    """scale * x where x > 0, else scale * alpha * (exp(x) - 1); the derivative is taken from x."""
    return 13, alpha, scale


def _run(op: int, activation: tuple[int, float, float], a: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    shape = a.shape
    y = empty(shape, a.dtype)
    if len(shape) > engine.MAX_AXES:
        flat = a.reshape(-1), None if b is None else b.reshape(-1)
        engine.elementwise(op, y.reshape(-1), *flat, *activation, current())
    else:
        engine.elementwise(op, y, a, b, *activation, current())
    return y


def activate(x: np.ndarray, activation: tuple[int, float, float]) -> np.ndarray:
    """The activation of every element."""
    return _run(_ACTIVATE, activation, as_array(x, "x"), None)


def activate_backward(grad: np.ndarray, kept: np.ndarray, activation: tuple[int, float, float]) -> np.ndarray:
    """grad times the derivative, of which `kept` is the argument or the result, as ck_activation in convkit.h says."""
    grad, kept = as_array(grad, "grad"), as_array(kept, "x")
    same_dtype(grad, "grad", kept, "x")
    return _run(_ACTIVATE_BACK, activation, grad, kept)


def binary(name: str, a: np.ndarray, b: np.ndarray, activation: tuple[int, float, float] = _IDENTITY) -> np.ndarray:
    """Two arrays into one, broadcast, and an activation after it; a maximum or minimum with NaN is NaN."""
    a, b = as_array(a, "a"), as_array(b, "b")
    same_dtype(b, "b", a, "a")
    if a.shape != b.shape:
        a, b = np.broadcast_arrays(a, b)
    return _run(_BINARY[name], activation, a, b)
