"""Arithmetic for losses and activations where IEEE 754 says NaN and there is a limit.

Two rules are enough: the difference of two equal scores is 0, be they infinite; and what has no share of something has
nothing of it, be it infinite. A NaN that was there before stays.
"""

from __future__ import annotations

import numpy as np


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a - b, broadcast; 0 where both are the same infinity. Beyond the largest number it is infinite, unwarned."""
    with np.errstate(invalid="ignore", over="ignore"):
        d = a - b
    return d if np.isfinite(b).all() else np.where(a == b, 0, d)


def share(part: np.ndarray | float, whole: np.ndarray) -> np.ndarray:
    """part * whole, broadcast; 0 where the part is 0, whatever the whole is."""
    with np.errstate(invalid="ignore", over="ignore"):
        product = part * whole
    return np.where(part == 0, 0, product) if np.isnan(product).any() else product


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """x - log(sum(exp(x))) along an axis; the largest is taken off first."""
    lowered = difference(x, x.max(axis=axis, keepdims=True, initial=-np.inf))
    return lowered - np.log(np.exp(lowered).sum(axis=axis, keepdims=True))
