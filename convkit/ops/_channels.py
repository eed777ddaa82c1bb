"""Sums over channels of ``(N, C, L)`` and affine maps of them, threaded, in one pass each: what normalising is made of.

A map is four numbers for each channel, of the arrays' dtype: ``xhat = (x * scale - shift) * slope + add``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._ext import engine
from .._options import NO_ACTIVATION
from .._threads import current
from ._elementwise import Code

LANES = 16  # the fewest channels that the engine takes side by side
# A sum of LONG values is the sum of up to CUTS runs'. Threads share whole channels: of fewer than FEW, each run is
# passed as a channel of its own; of more, runs are summed within the channel, which is then read once. (64 runs took
# 1.4 times as long for 3 channels of 512x512, on one thread of a Zen 3.)
LONG, CUTS, FEW = 1 << 16, 16, 32


class Map(NamedTuple):
    """The numbers of a map, ``(C,)`` each."""

    scale: np.ndarray
    shift: np.ndarray
    slope: np.ndarray
    add: np.ndarray


def moments(planes: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """``(C, 2)``: the sums of d and of d**2, d = x * scale - shift, in float64."""
    return _sums(planes, None, (scale, shift))


def gradient_sums(grads: np.ndarray, planes: np.ndarray, by: Map) -> np.ndarray:
    """``(C, 2)``: the sums of the gradient and of its product with xhat, in float64."""
    return _sums(planes, grads, by)


def apply(planes: np.ndarray, by: Map, out: np.ndarray, activation: Code = NO_ACTIVATION) -> None:
    """xhat into `out`, which overlaps nothing; `activation` is one that is no more than bounds."""
    _map(planes, None, by, out, activation)


def gradient(
    grads: np.ndarray, planes: np.ndarray, by: Map, u: np.ndarray, v: np.ndarray, w: np.ndarray, out: np.ndarray
) -> None:
    """``grad * u + xhat * v + w`` into `out`, which overlaps nothing."""
    _map(planes, grads, (*by, u, v, w), out)


class Form(NamedTuple):
    """How the engine is to see an array."""

    lanes: bool  # channels adjacent, not values
    pieces: int = 1  # of a plane, each of which counts as a channel
    cuts: int = 1  # of a channel's sum: the same sums as those of so many pieces
    joined: bool = False  # the planes of all images are one


_PLAIN, _LANES = Form(lanes=False), Form(lanes=True)


def form_of(array: np.ndarray) -> Form:
    """The form follows from memory and sizes. How a sum is cut follows from the channel's length alone, not from how
    many channels there are: they may be samples that are normalised by themselves.
    """
    n, c, length = array.shape
    if c >= LANES and (length == 1 or array.strides[1] == array.itemsize < array.strides[2]):
        return _LANES
    if length < LANES:  # values are taken for channels of their own
        lanes = c * length >= LANES
        return Form(lanes, pieces=length if lanes else 1, joined=n > 1 and not lanes)
    if length < LONG:
        return _PLAIN
    cuts = next((k for k in range(CUTS, 1, -1) if length % k == 0), 1)
    return Form(lanes=False, pieces=cuts) if c < FEW else Form(lanes=False, cuts=cuts)


def apart(array: np.ndarray, samples: int) -> np.ndarray:
    """Samples, each of which is normalised by itself, as the channels ``(1, samples, L)`` of one image. In C order: how
    their values are summed may not follow from how they lay, of which there is no choice beside other samples.
    """
    return np.ascontiguousarray(array).reshape(1, samples, array.size // max(samples, 1))


def arranged(array: np.ndarray | None, form: Form) -> np.ndarray | None:
    """The array in that form: a view, or where its memory is in another order a copy."""
    if array is None:
        return None
    n, c, length = array.shape
    if form.joined:
        return np.ascontiguousarray(array.swapaxes(0, 1)).reshape(1, c, n * length)
    if form.lanes and form.pieces == 1:
        adjacent = array.strides[1] == array.itemsize
        return array if adjacent else np.ascontiguousarray(array.swapaxes(1, 2)).swapaxes(1, 2)
    if array.strides[2] != array.itemsize:
        array = np.ascontiguousarray(array)
    return array if form.pieces == 1 else array.reshape(n, c * form.pieces, length // form.pieces)


def _numbers(values: tuple[np.ndarray, ...], form: Form) -> tuple[np.ndarray, ...]:
    if form.pieces > 1:
        return tuple(np.repeat(value, form.pieces) for value in values)
    return tuple(np.ascontiguousarray(value) for value in values)


def _sums(planes: np.ndarray, grads: np.ndarray | None, by: tuple[np.ndarray, ...]) -> np.ndarray:
    channels = planes.shape[1]
    if planes.size == 0:
        return np.zeros((channels, 2))
    form = form_of(planes)
    sums = np.empty((channels * form.pieces, 2))
    x, g = arranged(planes, form), arranged(grads, form)
    engine.channels(x, g, None, sums, form.lanes, form.cuts, _numbers(by, form), *NO_ACTIVATION, current())
    # In their order, as sum(axis=1) does it, which takes ten times as long.
    return sums if form.pieces == 1 else np.einsum("cpk->ck", sums.reshape(channels, form.pieces, 2))


def _map(
    planes: np.ndarray,
    grads: np.ndarray | None,
    numbers: tuple[np.ndarray, ...],
    out: np.ndarray,
    activation: Code = NO_ACTIVATION,
) -> None:
    if out.size == 0:
        return
    form = form_of(out)
    x, g, y = arranged(planes, form), arranged(grads, form), arranged(out, form)
    engine.channels(x, g, y, None, form.lanes, form.cuts, _numbers(numbers, form), *activation, current())
    put_back(y, form, out)


def put_back(y: np.ndarray, form: Form, out: np.ndarray) -> None:
    """The values of `y`, which is `out` in that form, into `out`, unless they are there already."""
    if y is not out and not np.may_share_memory(y, out):
        n, c, length = out.shape
        out[...] = y.reshape(c, n, length).swapaxes(0, 1) if form.joined else y.reshape(out.shape)
