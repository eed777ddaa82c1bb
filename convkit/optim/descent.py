"""Steps of gradient descent, for all optimizers: they differ in coefficients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from .._arrays import FLOAT32, FLOAT64
from .._ext import engine
from .._range import converted
from .._threads import current


class Descent(NamedTuple):
    """One step of one array in the most general form that the optimizers need, in one pass over memory.

    Element by element, in the dtype of w::

        d = grad + l2 * w
        d = -R, if -inf < d < -R, or R, if R < d < inf         if there is an s; R^2 fits: 2^63, float64 2^511
        s = s_keep * s + s_take * d^2
        root = s_scale * sqrt(s) + eps, or 1 / R where that is 0
        d = d / root                               if s comes first (RMSprop)
        m = m_keep * m + m_take * d                if there is an m
        d = look * m + ahead * d
        d = d / root                               if s comes last (Adam)
        w = keep * w - rate * d

    A term whose `l2` or `ahead` is 0 is left out: times infinity it would be NaN.

    Parameters
    ----------
    w : ndarray of float32 or float64
        Changed in place; of any strides.
    grad : ndarray of the shape of w
    m, s : ndarray of the shape and dtype of w, contiguous and aligned, optional
        First and second moment, changed in place.
    rate, keep, l2, m_keep, m_take, look, ahead, s_keep, s_take, s_scale, eps : float
        The coefficients above.
    s_first : bool
        Whether the division comes before m; without an m it is all the same.
    """

    w: np.ndarray
    grad: np.ndarray
    m: np.ndarray | None = None
    s: np.ndarray | None = None
    rate: float = 0.0
    keep: float = 1.0
    l2: float = 0.0
    m_keep: float = 0.0
    m_take: float = 1.0
    look: float = 1.0
    ahead: float = 0.0
    s_keep: float = 0.0
    s_take: float = 0.0
    s_scale: float = 1.0
    eps: float = 0.0
    s_first: bool = False


def descend(steps: Iterable[Descent]) -> None:
    """Take steps of different arrays, on all threads.

    Raises
    ------
    TypeError, ValueError
        If an array does not fit its w. Nothing has changed then.
    """
    descend_checked([each._replace(grad=check_fit(each.w, each.grad, {"m": each.m, "s": each.s})) for each in steps])


def descend_checked(steps: Iterable[Descent]) -> None:
    """`descend` where `check_fit` has been asked already, and gave the gradients."""
    flat, apart = [], []
    for each in steps:
        w, grad = each.w, each.grad
        if not w.flags.carray:
            apart.append((w, np.array(w, order="C")))
            each = each._replace(w=apart[-1][1])
        flags = grad.flags
        if not (flags.c_contiguous and flags.aligned):
            each = each._replace(grad=np.array(grad, order="C"))
        flat.append(each)
    engine.descend(flat, current())
    for w, values in apart:
        w[...] = values


def check_fit(w: np.ndarray, grad: np.ndarray, memory: Mapping[str, np.ndarray | None]) -> np.ndarray:
    """Raise unless w can be changed, the gradient has its shape, and what is remembered of it its dtype as well.

    Returns
    -------
    ndarray
        The gradient, in the dtype of w.
    """
    dtype, shape, grad = w.dtype, w.shape, np.asarray(grad)
    if dtype not in (FLOAT32, FLOAT64):
        raise TypeError(f"a parameter must be float32 or float64 in native byte order, got {dtype.str}")
    if not w.flags.writeable:
        raise ValueError("a parameter must be writable to learn, got a read-only array; data = data.copy() makes it so")
    for name, array in (("grad", grad), *memory.items()):
        if array is None:
            continue
        if array.shape != shape:
            raise ValueError(f"{name} must have the shape of its parameter, {shape}, got {array.shape}")
        if array is grad:
            continue
        if array.dtype != dtype:
            raise TypeError(f"{name} must have the dtype of its parameter, {dtype}, got {array.dtype}")
        if not array.flags.carray:
            raise ValueError(f"{name} must be contiguous, aligned and writable, got an array that is not")
    if grad.dtype.kind not in "fiu":
        raise TypeError(f"grad must be of real numbers, got {grad.dtype}")
    return converted(grad, dtype, "grad")
