"""Rows of arrays, each by itself and threaded: the softmax along an axis."""

from __future__ import annotations

import math

import numpy as np

from .._arrays import as_array, empty
from .._ext import engine
from .._threads import current


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """exp(x) / sum(exp(x)) along an axis; equal infinities are equal scores."""
    x = np.ascontiguousarray(as_array(x, "x"))
    y = empty(x.shape, x.dtype)
    if not -x.ndim <= axis < x.ndim:
        raise np.exceptions.AxisError(axis, x.ndim)
    axis %= x.ndim
    if x.size:
        rows = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
        engine.softmax(x.reshape(rows), y.reshape(rows), current())
    return y
