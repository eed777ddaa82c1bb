"""Rows of arrays, each by itself and threaded: the softmax along an axis, and the cross-entropy after it."""

from __future__ import annotations

import math

import numpy as np

from .._arrays import as_array, empty
from .._ext import engine
from .._threads import current


def with_axis(x: np.ndarray, axis: int) -> np.ndarray:
    """`x` as an array of real numbers that has this axis; a number has one, as in PyTorch."""
    x = as_array(x, "x")
    if not -x.ndim <= axis < x.ndim and (x.ndim or axis not in (-1, 0)):
        raise np.exceptions.AxisError(axis, x.ndim)
    return x


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """exp(x) / sum(exp(x)) along an axis; equal infinities are equal scores."""
    x = with_axis(x, axis)
    y = empty(x.shape, x.dtype)
    if x.size:
        shape = x.shape or (1,)
        axis %= len(shape)
        rows = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        engine.softmax(np.ascontiguousarray(x).reshape(rows), y.reshape(rows), current())
    return y


def cross_entropy(scores: np.ndarray, labels: np.ndarray, *, gradient: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """-log(softmax(scores)) at the labels, ``(N, *)``, and, if wanted, the gradient of each, ``(N, classes, *)``."""
    n, classes, *more = scores.shape
    rows = n, classes, math.prod(more)
    losses, grad = empty(labels.shape, scores.dtype), empty(scores.shape, scores.dtype) if gradient else None
    if labels.size:
        labels = np.ascontiguousarray(labels, np.int64)
        slopes = None if grad is None else grad.reshape(rows)
        engine.cross_entropy(np.ascontiguousarray(scores).reshape(rows), labels, losses, slopes, current())
    return losses, grad
