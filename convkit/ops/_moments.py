"""Normalising each channel of ``(N, C, L)`` by its mean and variance, and the way back: the engine's, in a call each.

Arrays stay in their own dtype; what there is one number of for each channel is float64, and so are the engine's sums.
That gives statistics as exact as the values are, see normal.c. Where squares would overflow, or vanish, values are
multiplied by a power of two first, which changes none of their digits.

Infinities and NaN stay in their channel, and make no warnings, as in the engine's operators.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._ext import engine
from .._options import NO_ACTIVATION
from .._threads import current
from . import _channels
from ._channels import Map
from ._elementwise import Code

quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")


class Standard(NamedTuple):
    """How x becomes standard, ``xhat = (x * scale - shift - rest) * inv_std``, in numbers for each channel.

    Scales are powers of two, shifts near the mean, both of x's dtype; the rest is the mean of what is left.
    """

    known: np.ndarray  # (engine.KNOWN, C), float64: what the engine's ck_known says
    dtype: np.dtype

    @property
    def mean(self) -> np.ndarray:
        """The mean of x itself."""
        return (self.known[engine.SHIFT] + self.known[engine.REST]) / self.known[engine.SCALE]

    @property
    def var(self) -> np.ndarray:
        """The variance of x itself, infinite where float64 cannot hold it."""
        return self.known[engine.VARIANCE]

    @property
    def steep(self) -> np.ndarray:
        """The derivative of xhat with respect to x, were mean and variance constants."""
        return self.known[engine.INV_STD] * self.known[engine.SCALE]

    def repeated(self, times: int) -> Standard:
        """The same, every channel being so many."""
        return Standard(np.repeat(self.known, times, axis=1), self.dtype)

    @quiet
    def map(self, weight: np.ndarray | float = 1.0, bias: np.ndarray | float = 0.0) -> Map:
        """The map from x to ``xhat * weight + bias``."""
        scale, shift, rest, inv_std = self.known[[engine.SCALE, engine.SHIFT, engine.REST, engine.INV_STD]]
        slope = inv_std * weight
        return Map(*(numbers.astype(self.dtype) for numbers in (scale, shift, slope, bias - rest * slope)))


@quiet
def given(mean: np.ndarray, var: np.ndarray, eps: float, dtype: np.dtype) -> Standard:
    """The map by statistics that are known, for arrays of that dtype."""
    known, limits = np.empty((engine.KNOWN, len(mean))), np.finfo(dtype)
    # Where the mean is so large that x minus the mean might overflow, quarters do not.
    known[engine.SCALE] = scale = np.where(np.abs(mean) > limits.max * limits.eps / 4, 0.25, 1.0)
    known[engine.SHIFT] = shift = (mean * scale).astype(dtype)
    known[engine.REST] = mean.astype(np.float64) * scale - shift
    known[engine.INV_STD] = 1 / np.sqrt(var.astype(np.float64) + eps) / scale
    known[engine.VARIANCE] = var
    return Standard(known, dtype)


def standard(
    planes: np.ndarray,
    eps: float,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    out: np.ndarray | None = None,
    activation: Code = NO_ACTIVATION,
) -> Standard:
    """The map to mean 0 and variance ``var / (var + eps)``; and into `out`, if given, ``xhat * weight + bias``.

    `activation` is one that is no more than bounds.
    """
    known = np.empty((engine.KNOWN, planes.shape[1]))
    known[engine.SCALE] = 1
    if planes.size == 0:
        known[[engine.SHIFT, engine.REST, engine.VARIANCE]] = 0
        known[engine.INV_STD] = 1 / np.sqrt(eps) if eps else np.inf
        return Standard(known, planes.dtype)
    form = _channels.form_of(planes)
    x, y = _channels.arranged(planes, form), _channels.arranged(out, form)
    numbers = _numbers(weight, planes), _numbers(bias, planes)
    more = form.lanes, form.pieces, form.cuts, known, eps, *numbers, *activation, current()
    if engine.normal_forward(x, y, *more):
        known[engine.SCALE] = _scales(planes, known[engine.EXTREME] > 0)
        engine.normal_forward(x, y, *more)
    if out is not None:
        _channels.put_back(y, form, out)
    return Standard(known, planes.dtype)


def back(
    grads: np.ndarray,
    planes: np.ndarray,
    by: Standard,
    weight: np.ndarray | None,
    bias: np.ndarray | None = None,
    activation: Code = NO_ACTIVATION,
    *,
    constant: bool,
    total: np.ndarray | None,
    product: np.ndarray | None,
    out: np.ndarray | None,
) -> None:
    """The way back through normalisation; what is not None gets something, `planes` not being empty.

    `total` gets the sums of the gradient, `product` those of its product with xhat, and `out`, where moments are
    constants, not functions of x, ``steep * grad * weight``, else
    ``steep * (grad * weight - mean(grad * weight) - xhat * mean(grad * weight * xhat))``. Then the gradient may be that
    of an activation of ``xhat * weight + bias``, one that is no more than bounds.
    """
    form = _channels.form_of(planes)
    x, g, y = _channels.arranged(planes, form), _channels.arranged(grads, form), _channels.arranged(out, form)
    numbers = by.known, _numbers(weight, planes), _numbers(bias, planes), total, product
    engine.normal_backward(x, g, y, form.lanes, form.pieces, form.cuts, *numbers, constant, *activation, current())
    if out is not None:
        _channels.put_back(y, form, out)


def _numbers(numbers: np.ndarray | None, planes: np.ndarray) -> np.ndarray | None:
    """One for each channel, as the engine takes them."""
    if numbers is None:
        return None
    if numbers.shape != planes.shape[1:2]:
        raise ValueError(f"weight and bias must have shape {planes.shape[1:2]}, got {numbers.shape}")
    return np.ascontiguousarray(numbers, planes.dtype)


@quiet
def _scales(planes: np.ndarray, extreme: np.ndarray) -> np.ndarray:
    """Powers of two for the extreme channels, with which no square gets near the dtype's ends; else 1."""
    limits = np.finfo(planes.dtype)
    peak = np.maximum(planes.max(axis=(0, 2)), -planes.min(axis=(0, 2)))
    _, exponent = np.frexp(np.where(np.isfinite(peak), peak, 0))
    aim = limits.maxexp // 2 - 24
    return np.ldexp(1.0, -np.where(extreme, np.maximum(exponent - aim, limits.minexp), 0))


def follow(means: np.ndarray, variances: np.ndarray, by: Standard, times: float, rate: float) -> None:
    """Move running numbers, in place, towards means and towards variances times so much, by so much of the way.

    Infinity, which would stay for ever, counts as their dtype's largest number.
    """
    shape = by.known.shape[1:]
    for running in (means, variances):
        if running.shape != shape:
            raise ValueError(f"running statistics must have shape {shape}, got {running.shape}")
    engine.follow(means, variances, by.known, times, rate)


def plain(weight: np.ndarray, bias: np.ndarray | None = None) -> Map:
    """The map to ``x * weight + bias``."""
    zeros = np.zeros_like(weight)
    return Map(np.ones_like(weight), zeros, weight, zeros if bias is None else bias)
