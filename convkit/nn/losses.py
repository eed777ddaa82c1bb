"""Losses: the value and its gradient side by side.

A loss is a function of a model's output and of what is known of the samples; it returns a `Loss`, and ``loss.grad``
goes straight into ``model.backward``. The loss of one sample is ``reduction="none"``; the cost of a set is its mean or
its sum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Loss(NamedTuple):
    """A loss and its gradient with respect to the model's output.

    With ``reduction="none"`` `value` is an array, one loss for each sample, and `grad` holds each sample's own
    gradient; else `value` is a float.
    """

    value: float | np.ndarray
    grad: np.ndarray


def softmax_cross_entropy(scores: np.ndarray, labels: np.ndarray, *, reduction: str = "mean") -> Loss:
    """Cross-entropy between softmax(scores) and the true classes.

    For a sample with scores s and true class c the loss is ``log(sum(exp(s))) - s[c]``, its gradient
    ``softmax(s) - onehot(c)``. The largest score is taken off first, so scores of 1e4 and more are safe.

    Parameters
    ----------
    scores : ndarray of float32 or float64, ``(N, classes, *)``
        Not yet through a softmax. Further axes (the pixels of a segmentation) are further samples.
    labels : ndarray of integers, ``(N, *)``
        The true classes, 0 to classes - 1.
    reduction : {"mean", "sum", "none"}
        Mean over all samples, sum over them, or one value for each.

    Returns
    -------
    Loss
        `value`: a float, or with "none" an array ``(N, *)``; `grad`: of the shape and dtype of `scores`.

    Raises
    ------
    TypeError
        If `scores` is not of float32 or float64, or `labels` not of integers.
    ValueError
        If the shapes do not fit, a label is no class, `reduction` is unknown, or a mean of no samples is asked for.
    """
    scores, labels = _check_classes(scores, labels)
    true = np.expand_dims(labels, 1)  # (N, 1, *)
    shifted = scores - scores.max(axis=1, keepdims=True, initial=-np.inf)  # (N, classes, *), all <= 0
    exps = np.exp(shifted)
    sums = exps.sum(axis=1, keepdims=True)  # (N, 1, *), >= 1
    losses = np.log(sums) - np.take_along_axis(shifted, true, axis=1)  # (N, 1, *)
    grad = exps / sums  # softmax
    np.put_along_axis(grad, true, np.take_along_axis(grad, true, axis=1) - 1, axis=1)
    return reduce(losses[:, 0], grad, reduction)


def reduce(losses: np.ndarray, grad: np.ndarray, reduction: str) -> Loss:
    """Turn the samples' losses and their gradients into the `Loss` that `reduction` asks for; for authors of losses.

    Parameters
    ----------
    losses : ndarray, ``(N, *)``
        One for each sample.
    grad : ndarray
        The gradient of the sum of `losses`; changed in place.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Loss
    """
    if reduction == "none":
        return Loss(losses, grad)
    total = float(losses.sum(dtype=np.float64))
    if reduction == "sum":
        return Loss(total, grad)
    if reduction != "mean":
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    if losses.size == 0:
        raise ValueError("scores must hold at least one sample where reduction is 'mean', got none")
    grad /= losses.size
    return Loss(total / losses.size, grad)


def _check_classes(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check the arguments of a loss over classes."""
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.dtype not in (np.float32, np.float64):
        raise TypeError(f"scores must be float32 or float64, got {scores.dtype}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if scores.ndim < 2:
        raise ValueError(f"scores must have shape (N, classes, *), got shape {scores.shape}")
    expected = (scores.shape[0], *scores.shape[2:])
    if labels.shape != expected:
        raise ValueError(f"labels must have shape {expected} for scores of shape {scores.shape}, got {labels.shape}")
    classes = scores.shape[1]
    bad = np.argwhere((labels < 0) | (labels >= classes))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise ValueError(f"labels must be classes 0 to {classes - 1}, got {labels[where]} at {where}")
    return scores, labels
