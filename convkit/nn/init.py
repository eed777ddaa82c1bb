"""Values that a layer's weights start from.

Every initialiser has one signature, ``init(shape, *, rng=None, dtype="float32")``, and so may be one's own. The numbers
are drawn in float64 and rounded once, so a float32 and a float64 layer of the same seed start from the same values.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .._numbers import generator
from .._shapes import x_shape
from .._typing import Rng
from .._words import brief
from ._describe import real
from .parameter import Parameter

Initialiser = Callable[..., np.ndarray]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many inputs feed one output and how many outputs one input feeds, as PyTorch counts them.

    `shape` is a weight's, ``(out, in / groups, *kernel)``.

    Raises
    ------
    TypeError
        If it is no tuple of ints.
    ValueError
        If it has fewer than two sizes, or one is negative.

    Examples
    --------
    >>> from convkit.nn import init
    >>> init.fans((8, 3, 5, 5))  # a Conv2d of 3 to 8 channels
    (75, 200)
    """
    if len(x_shape(shape, "shape")) < 2:
        raise ValueError(f"shape must be that of a weight, (out, in / groups, *kernel), got {brief(shape)}")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


def he(shape: tuple[int, ...], *, rng: Rng = None, dtype: str = "float32") -> np.ndarray:
    """Draw from N(0, 2 / fan_in), which keeps the size of activations through ReLU layers.

    Parameters
    ----------
    shape : tuple of int
        A weight's, ``(out, in / groups, *kernel)``.
    rng : numpy.random.Generator, int or None
        Source of the numbers, or its seed; None takes a fresh one.
    dtype : {"float32", "float64"}

    Returns
    -------
    ndarray

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun: Delving deep into rectifiers, ICCV 2015, eq. 10.

    Examples
    --------
    >>> from convkit.nn import init
    >>> weight = init.he((64, 32, 3, 3), rng=0)
    >>> round(float(weight.var()), 4), round(2 / (32 * 9), 4)
    (0.0069, 0.0069)
    """
    fan_in, _ = fans(shape)
    return generator(rng).normal(0.0, math.sqrt(2 / max(fan_in, 1)), shape).astype(real(dtype))


def he_uniform(shape: tuple[int, ...], *, rng: Rng = None, dtype: str = "float32") -> np.ndarray:
    """Draw from U(-a, a), a = sqrt(6 / fan_in): the variance of `he`, evenly spread.

    Parameters
    ----------
    shape, rng, dtype
        As in `he`.

    Returns
    -------
    ndarray

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun: Delving deep into rectifiers, ICCV 2015, eq. 10.

    Examples
    --------
    >>> from convkit.nn import init
    >>> weight = init.he_uniform((64, 32, 3, 3), rng=0)
    >>> round(float(abs(weight).max()), 4), round((6 / (32 * 9)) ** 0.5, 4)
    (0.1443, 0.1443)
    """
    bound = math.sqrt(6 / max(fans(shape)[0], 1))
    return generator(rng).uniform(-bound, bound, shape).astype(real(dtype))


def glorot(shape: tuple[int, ...], *, rng: Rng = None, dtype: str = "float32") -> np.ndarray:
    """Draw from U(-a, a), a = sqrt(6 / (fan_in + fan_out)), for layers that are linear around zero (tanh, softmax).

    Parameters
    ----------
    shape, rng, dtype
        As in `he`.

    Returns
    -------
    ndarray

    References
    ----------
    X. Glorot, Y. Bengio: Understanding the difficulty of training deep feedforward networks, AISTATS 2010, eq. 16.

    Examples
    --------
    >>> from convkit.nn import init
    >>> weight = init.glorot((64, 32, 3, 3), rng=0)
    >>> round(float(abs(weight).max()), 4), round((6 / (32 * 9 + 64 * 9)) ** 0.5, 4)
    (0.0833, 0.0833)
    """
    bound = math.sqrt(6 / max(sum(fans(shape)), 1))
    return generator(rng).uniform(-bound, bound, shape).astype(real(dtype))


def glorot_normal(shape: tuple[int, ...], *, rng: Rng = None, dtype: str = "float32") -> np.ndarray:
    """Draw from N(0, 2 / (fan_in + fan_out)): the variance of `glorot`, in a bell.

    Parameters
    ----------
    shape, rng, dtype
        As in `he`.

    Returns
    -------
    ndarray

    References
    ----------
    X. Glorot, Y. Bengio: Understanding the difficulty of training deep feedforward networks, AISTATS 2010, eq. 16.

    Examples
    --------
    >>> from convkit.nn import init
    >>> weight = init.glorot_normal((64, 32, 3, 3), rng=0)
    >>> round(float(weight.var()), 4), round(2 / (32 * 9 + 64 * 9), 4)
    (0.0023, 0.0023)
    """
    return generator(rng).normal(0.0, math.sqrt(2 / max(sum(fans(shape)), 1)), shape).astype(real(dtype))


def zeros(shape: tuple[int, ...], *, rng: Rng = None, dtype: str = "float32") -> np.ndarray:
    """Return zeros.

    Parameters
    ----------
    shape, dtype
        As in `he`.
    rng : numpy.random.Generator, int or None
        Checked, but not drawn from: all initialisers look alike.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from convkit.nn import init
    >>> init.zeros((2, 3))
    array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    if rng is not None:
        generator(rng)
    return np.zeros(x_shape(shape, "shape"), real(dtype))


BY_NAME: dict[str, Initialiser] = {
    "he": he,
    "glorot": glorot,
    "zeros": zeros,
    "he_uniform": he_uniform,
    "glorot_normal": glorot_normal,
}


def get(init: str | Initialiser) -> Initialiser:
    """Return the initialiser of that name, or `init` itself if it is a function.

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> from convkit.nn import init
    >>> init.get("he") is init.he
    True
    """
    if callable(init):
        return init
    if not isinstance(init, str) or init not in BY_NAME:
        raise ValueError(f"init must be one of {', '.join(map(repr, BY_NAME))} or a function, got {brief(init)}")
    return BY_NAME[init]


def parameter(init: str | Initialiser, shape: tuple[int, ...], rng: Rng, dtype: str) -> Parameter:
    """Return a weight of that shape, as `init` wants it.

    Raises
    ------
    ValueError
        If there is no initialiser of that name, or a function gives another shape.

    Examples
    --------
    >>> from convkit.nn import init
    >>> init.parameter("he", (8, 3, 5, 5), 0, "float32")
    Parameter(shape=(8, 3, 5, 5), dtype=float32)
    """
    data = get(init)(shape, rng=rng, dtype=real(dtype))
    if np.shape(data) != shape:
        raise ValueError(f"init must give an array of shape {shape}, got one of shape {np.shape(data)}")
    return Parameter(data)
