"""What a dtype can hold: conversions that refuse what it cannot, and norms whose powers neither overflow nor vanish."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

_PIECE = 1 << 17  # elements; in float64 they stay in cache
_VANISHING = 1e-280  # a sum of powers below may have lost some of them to underflow


def converted(value: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """`value` in `dtype`: rounded, but never a finite number made infinite, or an integer another one.

    Raises
    ------
    ValueError
        If an element has no place in `dtype`; the message has `name`, the element and where it is.
    """
    if value.dtype == dtype:
        return value
    with np.errstate(over="ignore", invalid="ignore"):
        result = value.astype(dtype)
    if np.can_cast(value.dtype, dtype):
        return result
    if dtype.kind == "f":
        lost = np.isfinite(value) & ~np.isfinite(result)
    else:
        limits = np.iinfo(dtype)
        lost = (value < limits.min) | (value > limits.max)
    if lost.any():
        where = tuple(map(int, np.argwhere(lost)[0]))
        raise ValueError(f"{name} must have values that {dtype} can hold, got {value[where]} at {where}")
    return result


def p_norm(arrays: Sequence[np.ndarray], p: float) -> tuple[float, float]:
    """Return the p-norm of all elements of all arrays as two factors, in float64.

    The second is 1 unless a power of an element would overflow or vanish, or the root of their sum overflow: then it is
    the largest magnitude. Their product is the norm; it alone may still be more than float64 can hold. Infinity and NaN
    come out as such.
    """
    if p < math.inf:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            total = _sum_of_powers(arrays, p, 1.0)
            if _VANISHING < total < math.inf and math.isfinite(root := _root(total, p)):
                return root, 1.0
    largest = float(np.max([np.abs(piece).max() for piece in _pieces(arrays)], initial=0.0))  # a NaN is the largest
    if p == math.inf or largest == 0 or not math.isfinite(largest):
        return largest, 1.0
    with np.errstate(under="ignore"):
        return _root(_sum_of_powers(arrays, p, largest), p), largest


def _pieces(arrays: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """All elements, in float64."""
    for flat in (array.reshape(-1) for array in arrays):
        for i in range(0, flat.size, _PIECE):
            yield flat[i : i + _PIECE].astype(np.float64)


def _sum_of_powers(arrays: Sequence[np.ndarray], p: float, scale: float) -> float:
    """The sum of |x / scale|^p."""
    total = 0.0
    for piece in _pieces(arrays):
        if scale != 1:
            piece /= scale
        powers = np.square(piece, out=piece) if p == 2 else np.abs(piece, out=piece) ** p
        total += float(powers.sum())
    return total


def _root(total: float, p: float) -> float:
    """The p-th root; infinite where p is so small that it overflows."""
    if p == 2:
        return math.sqrt(total)
    try:
        return total ** (1 / p)
    except OverflowError:
        return math.inf


def scaled(x: np.ndarray, axis: int | tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """x in float64, multiplied along axes by a power of two that brings its largest magnitude near 1; and that power.

    No digit changes, and squares neither overflow nor vanish. Infinity and NaN stay.
    """
    wide = x.astype(np.float64)
    largest = np.abs(wide).max(axis, keepdims=True, initial=0.0)
    _, exponent = np.frexp(np.where(np.isfinite(largest), largest, 0.0))
    return np.ldexp(wide, -exponent, out=wide), exponent


def norms(x: np.ndarray, axis: int | tuple[int, ...], *, scaled_by: float = 1.0) -> np.ndarray:
    """The Euclidean norms along axes, which are kept, times a number; in float64."""
    wide, exponent = scaled(x, axis)
    return np.ldexp(np.sqrt(np.square(wide, out=wide).sum(axis, keepdims=True)) * scaled_by, exponent)
