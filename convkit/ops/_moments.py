"""Mean and variance of each channel of ``(N, C, L)``, and the maps that follow: what normalising layers are made of.

Arrays stay in their own dtype; what there is one number of for each channel is float64, and so are the engine's sums.
That gives statistics as exact as the values are, if values are shifted before they are squared, by a value of their own
channel: a variance is then off by no more than the number of values times a rounding of float64. Where squares would
overflow, or vanish, values are multiplied by a power of two first, which changes none of their digits.

Infinities and NaN stay in their channel, and make no warnings, as in the engine's operators.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from . import _channels
from ._channels import Map

NEAR = 2.0  # deviations: how near the mean a shift has to be in float64, where there is no wider dtype for the squares

quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")


class Standard(NamedTuple):
    """How x becomes standard, ``xhat = (x * scale - shift - rest) * inv_std``, in numbers for each channel."""

    scale: np.ndarray  # powers of two, of the dtype of x
    shift: np.ndarray  # of the dtype of x, near the mean
    rest: np.ndarray  # the mean of what is left
    inv_std: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The mean of x itself."""
        return (self.shift.astype(np.float64) + self.rest) / self.scale

    @property
    def steep(self) -> np.ndarray:
        """The derivative of xhat with respect to x, were mean and variance constants."""
        return self.inv_std * self.scale

    def repeated(self, times: int) -> Standard:
        """The same, every channel being so many."""
        return Standard(*(np.repeat(numbers, times) for numbers in self))

    @quiet
    def map(self, weight: np.ndarray | float = 1.0, bias: np.ndarray | float = 0.0) -> Map:
        """The map from x to ``xhat * weight + bias``."""
        slope = self.inv_std * weight
        dtype = self.shift.dtype
        return Map(self.scale, self.shift, slope.astype(dtype), (bias - self.rest * slope).astype(dtype))


@quiet
def given(mean: np.ndarray, var: np.ndarray, eps: float, dtype: np.dtype) -> Standard:
    """The map by statistics that are known, for arrays of that dtype."""
    inv_std, limits = 1 / np.sqrt(var.astype(np.float64) + eps), np.finfo(dtype)
    # Where the mean is so large that x minus the mean might overflow, quarters do not.
    scale = np.where(np.abs(mean) > limits.max * limits.eps / 4, 0.25, 1.0).astype(dtype)
    shift = (mean * scale).astype(dtype)
    return Standard(scale, shift, mean.astype(np.float64) * scale - shift, inv_std / scale)


@quiet
def standard(planes: np.ndarray, eps: float) -> tuple[Standard, np.ndarray]:
    """The map to mean 0 and variance ``var / (var + eps)``, and var, which is infinite where float64 cannot hold it."""
    channels, limits = planes.shape[1], np.finfo(planes.dtype)
    found, var = _measured(planes, math.sqrt(eps), np.ones(channels, planes.dtype))
    spread = var + eps
    extreme = ~(spread <= limits.max) | (spread < limits.tiny / limits.eps**2)
    if not (extreme.any() and planes.size):
        return found, var
    peak = np.maximum(planes.max(axis=(0, 2)), -planes.min(axis=(0, 2)))
    _, exponent = np.frexp(np.where(np.isfinite(peak), peak, 0))
    aim = limits.maxexp // 2 - 24  # numbers of about 2**aim: neither they nor their squares get near the dtype's ends
    exponent = np.where(extreme, np.maximum(exponent - aim, limits.minexp), 0)
    found, var = _measured(planes, np.ldexp(math.sqrt(eps), -exponent), np.ldexp(1.0, -exponent).astype(planes.dtype))
    return found, np.ldexp(var, 2 * exponent)


def _measured(planes: np.ndarray, root, scale: np.ndarray) -> tuple[Standard, np.ndarray]:
    """`standard` for a given scale; root is that of ``eps * scale**2``, and var is that of ``x * scale``."""
    count = max(planes.shape[0] * planes.shape[2], 1)
    shift = planes[0, :, 0] * scale if planes.size else np.zeros_like(scale)
    for _ in range(3):
        one, two = (_channels.moments(planes, scale, shift) / count).T
        var = np.maximum(two - one**2, 0)
        nearer = (shift + one).astype(planes.dtype)
        far = (np.abs(one) > NEAR * np.sqrt(var)) & (nearer != shift)
        if planes.dtype == np.float32 or not far.any():
            break
        shift = np.where(far, nearer, shift)
    rest = shift.astype(np.float64) - nearer + one
    return Standard(scale, nearer, rest, 1 / np.hypot(np.sqrt(var), root)), var


def plain(weight: np.ndarray, bias: np.ndarray | None = None) -> Map:
    """The map to ``x * weight + bias``."""
    zeros = np.zeros_like(weight)
    return Map(np.ones_like(weight), zeros, weight, zeros if bias is None else bias)
