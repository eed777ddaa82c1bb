"""One array's step of gradient descent, for all optimizers: they differ in coefficients."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._arrays import FLOAT32, FLOAT64
from .._ext import engine
from .._threads import current


def descend(
    w: np.ndarray,
    grad: np.ndarray,
    m: np.ndarray | None = None,
    s: np.ndarray | None = None,
    *,
    rate: float,
    keep: float = 1.0,
    l2: float = 0.0,
    m_keep: float = 0.0,
    m_take: float = 1.0,
    look: float = 1.0,
    ahead: float = 0.0,
    s_keep: float = 0.0,
    s_take: float = 0.0,
    s_scale: float = 1.0,
    eps: float = 0.0,
    s_first: bool = False,
) -> None:
    """Take one step in the most general form that the optimizers need, in one pass over memory.

    Element by element, in the dtype of w, on all threads::

        d = grad + l2 * w
        s = s_keep * s + s_take * d^2              if there is an s
        root = s_scale * sqrt(s) + eps
        d = d / root                               if s comes first (RMSprop)
        m = m_keep * m + m_take * d                if there is an m
        d = look * m + ahead * d
        d = d / root                               if s comes last (Adam)
        w = keep * w - rate * d

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

    Raises
    ------
    TypeError, ValueError
        If an array does not fit w, which has not changed then.
    """
    check_fit(w, grad, {"m": m, "s": s})
    grad = np.require(grad, w.dtype, "CA")
    flat = w if w.flags.carray else np.array(w, order="C")
    engine.descend(
        flat,
        grad,
        m,
        s,
        current(),
        rate=rate,
        keep=keep,
        l2=l2,
        m_keep=m_keep,
        m_take=m_take,
        look=look,
        ahead=ahead,
        s_keep=s_keep,
        s_take=s_take,
        s_scale=s_scale,
        eps=eps,
        s_first=s_first,
    )
    if flat is not w:
        w[...] = flat


def check_fit(w: np.ndarray, grad: np.ndarray, memory: Mapping[str, np.ndarray | None]) -> None:
    """Raise unless w can be changed, the gradient has its shape, and what is remembered of it its dtype as well."""
    if w.dtype not in (FLOAT32, FLOAT64):
        raise TypeError(f"a parameter must be float32 or float64 in native byte order, got {w.dtype.str}")
    if not w.flags.writeable:
        raise ValueError("a parameter must be writable to learn, got a read-only array; data = data.copy() makes it so")
    for name, array in (("grad", grad), *memory.items()):
        if array is None:
            continue
        if np.shape(array) != w.shape:
            raise ValueError(f"{name} must have the shape of its parameter, {w.shape}, got {np.shape(array)}")
        if array is grad:
            continue
        if array.dtype != w.dtype:
            raise TypeError(f"{name} must have the dtype of its parameter, {w.dtype}, got {array.dtype}")
        if not array.flags.carray:
            raise ValueError(f"{name} must be contiguous, aligned and writable, got an array that is not")
