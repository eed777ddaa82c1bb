"""Mean and variance of each channel of ``(N, C, L)``, and the maps that follow: what normalising layers are made of.

Arrays stay in their own dtype; what there is one number of for each channel is float64. That gives statistics as exact
as the values are, if values are shifted before they are squared: x minus a number of its own dtype near the mean is
exact where x is close to it, and where it is not, the difference is large and its rounding does not matter. Where
squares would overflow, or vanish, values are multiplied by a power of two first, which changes none of their digits.

Infinities and NaN stay in their channel, and make no warnings, as in the engine's operators.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

PIECE = 128  # elements of a plane that are summed in its own dtype: the error of a sum grows with their number
NEAR = 0.1  # deviations: how near the mean a shift has to be

quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")


class Standard(NamedTuple):
    """How x becomes standard, ``xhat = (x * scale - shift - rest) * inv_std``, in numbers for each channel."""

    scale: np.ndarray | None  # powers of two; None: all of them 1
    shift: np.ndarray  # of the dtype of x, near the mean
    rest: np.ndarray  # the mean of what is left
    inv_std: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The mean of x itself."""
        return (self.shift + self.rest) / (1 if self.scale is None else self.scale)


@quiet
def given(mean: np.ndarray, var: np.ndarray, eps: float, dtype: np.dtype) -> Standard:
    """The map by statistics that are known, for arrays of that dtype."""
    inv_std, limits = 1 / np.sqrt(var.astype(np.float64) + eps), np.finfo(dtype)
    # Where the mean is so large that x minus the mean might overflow, quarters do not.
    scale = np.where(np.abs(mean) > limits.max * limits.eps / 4, 0.25, 1.0)
    shift = (mean * scale).astype(dtype)
    return Standard(scale if (scale < 1).any() else None, shift, mean * scale - shift, inv_std / scale)


@quiet
def standard(planes: np.ndarray, eps: float, out: np.ndarray) -> tuple[Standard, np.ndarray]:
    """The map to mean 0 and variance ``var / (var + eps)``, and var; `out` is left with ``x * scale - shift``.

    var, of x itself, is infinity where float64 cannot hold it.
    """
    found, var = _measured(planes, math.sqrt(eps), None, out)
    limits, spread = np.finfo(planes.dtype), var + eps
    extreme = ~np.isfinite(spread) | (spread < limits.tiny / limits.eps**2)
    if not (extreme.any() and planes.size):
        return found, var
    peak = np.maximum(planes.max(axis=(0, 2)), -planes.min(axis=(0, 2)))
    _, exponent = np.frexp(np.where(np.isfinite(peak), peak, 0))
    aim = limits.maxexp // 2 - 24  # numbers of about 2**aim: neither they nor their squares get near the dtype's ends
    exponent = np.where(extreme, np.maximum(exponent - aim, limits.minexp), 0)
    scale = np.ldexp(1.0, -exponent).astype(planes.dtype)
    found, var = _measured(planes, np.ldexp(math.sqrt(eps), -exponent), scale, out)
    return found, np.ldexp(var, 2 * exponent)


def _measured(planes: np.ndarray, root, scale: np.ndarray | None, out: np.ndarray) -> tuple[Standard, np.ndarray]:
    """`standard` for a given scale; root is that of ``eps * scale**2``, and var is that of ``x * scale``."""
    count = max(planes.shape[0] * planes.shape[2], 1)
    shift = (sums(planes if scale is None else _times(planes, scale, out)) / count).astype(planes.dtype)
    for _ in range(3):
        _centre(planes, scale, shift, out)
        rest = sums(out) / count
        var = np.maximum(sums(out, out) / count - rest**2, 0)
        # A first mean may be some units in its last place off: too much where all values are almost the same.
        nearer = (shift + rest).astype(planes.dtype)
        far = (np.abs(rest) > NEAR * np.sqrt(var)) & (nearer != shift)
        if not far.any():
            break
        shift = np.where(far, nearer, shift)
    return Standard(scale, shift, rest, 1 / np.hypot(np.sqrt(var), root)), var


@quiet
def centre(planes: np.ndarray, by: Standard, out: np.ndarray) -> None:
    """``x * scale - shift`` into `out`."""
    _centre(planes, by.scale, by.shift, out)


@quiet
def finish(out: np.ndarray, by: Standard, weight: np.ndarray | float = 1.0, bias: np.ndarray | float = 0.0) -> None:
    """From ``x * scale - shift`` to ``xhat * weight + bias``, in place."""
    slope = by.inv_std * weight
    out *= column(slope, out)
    out += column(bias - by.rest * slope, out)


@quiet
def input_gradient(
    grads: np.ndarray,
    xhat: np.ndarray,
    by: Standard,
    means: tuple[np.ndarray, np.ndarray] | None,
    weight: np.ndarray | float,
    out: np.ndarray,
) -> None:
    """Into `out`, which may be `xhat`: ``weight * inv_std * scale * (grad - mean(grad) - xhat * mean(grad * xhat))``.

    `means` are the two of them, or None where statistics are constants, not functions of x.
    """
    if means is not None:
        _times(xhat, -means[1], out)
        out += grads
        out -= column(means[0], out)
        grads = out
    _times(grads, by.inv_std * weight * (1.0 if by.scale is None else by.scale), out)


def _centre(planes: np.ndarray, scale: np.ndarray | None, shift: np.ndarray, out: np.ndarray) -> None:
    """``x * scale - shift`` into `out`."""
    np.subtract(planes if scale is None else _times(planes, scale, out), column(shift, planes), out=out)


def _times(planes: np.ndarray, values: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The product with one number for each channel, in `out`."""
    return np.multiply(planes, column(values, planes), out=out)


@quiet
def sums(planes: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
    """Sum of each channel, of a product if there are two: pieces in their own dtype, pieces added up in float64."""
    length, operands = planes.shape[2], [array for array in (planes, times) if array is not None]
    # einsum adds in vectors, three times as fast as add.reduce, and makes no array of the product. Where channels come
    # last, vectors are of channels, and each sum one chain of additions.
    piece = PIECE if planes.strides[2] == planes.itemsize else PIECE // 8
    whole, total = length - length % piece, np.zeros(planes.shape[1])
    if whole:
        pieces = (array[:, :, :whole].reshape(*array.shape[:2], whole // piece, piece) for array in operands)
        each = np.einsum("ncpl->ncp" if times is None else "ncpl,ncpl->ncp", *pieces)
        total += each.sum(axis=(0, 2), dtype=np.float64)
    if whole < length:
        each = np.einsum("ncl->nc" if times is None else "ncl,ncl->nc", *(array[:, :, whole:] for array in operands))
        total += each.sum(axis=0, dtype=np.float64)
    return total


def column(values: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """One number for a channel, to be broadcast over its planes."""
    return values.astype(planes.dtype)[:, np.newaxis]
