"""How good guesses are. A metric is a function of scores and labels that returns a mean over the samples.

It is a number, which in the mean over several batches counts as much as its batch has samples, or, where something else
is counted, a pair (number, weight); those of convkit return a `Mean`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .._shapes import at_least, integer
from ..nn.losses import Loss, NothingCountsError


class Mean(float):
    """A mean that says what it was divided by; else a float like any other.

    Parameters
    ----------
    value : float
    weight : float, optional
        What `value` weighs in a mean over several batches: the number of the samples that count, or the sum of their
        weights. None: as much as the batch has samples.

    Examples
    --------
    >>> from convkit import train
    >>> share = train.Mean(0.75, 4)
    >>> 100 * share, share.weight
    (75.0, 4)
    """

    weight: float | None

    def __new__(cls, value: float, weight: float | None = None) -> Mean:
        mean = super().__new__(cls, value)
        mean.weight = weight
        return mean


Metric = Callable[[np.ndarray, np.ndarray], float | Mean | tuple[float, float] | Loss]


def accuracy(scores: np.ndarray, labels: np.ndarray, *, ignore_index: int | None = None) -> Mean:
    """Share of samples whose highest score is that of the true class; of equal scores the first counts.

    Parameters
    ----------
    scores : ndarray, ``(N, classes, *)``
        Further axes (the pixels of a segmentation) are further samples.
    labels : ndarray of integers, ``(N, *)``
    ignore_index : int, optional
        A label that marks samples to be left out, as in `convkit.nn.losses.softmax_cross_entropy`.

    Returns
    -------
    Mean
        A float; its `weight` is the number of samples that count.

    Raises
    ------
    TypeError
        If `labels` is not of integers, or `ignore_index` no int.
    ValueError
        If the shapes do not fit, a label is no class, or there is no sample that counts.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import train
    >>> scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    >>> share = train.accuracy(scores, np.array([1, 1, -1]), ignore_index=-1)
    >>> share, share.weight
    (0.5, 2)
    """
    return top_k(scores, labels, 1, ignore_index=ignore_index)


def top_k(scores: np.ndarray, labels: np.ndarray, k: int = 5, *, ignore_index: int | None = None) -> Mean:
    """Share of samples whose true class is among the `k` highest scores; of equal scores the first ones count.

    Parameters
    ----------
    scores : ndarray, ``(N, classes, *)``
        A true class whose score is NaN is never among them.
    labels : ndarray of integers, ``(N, *)``
    k : int, default 5
        At least 1.
    ignore_index : int, optional
        A label that marks samples to be left out.

    Returns
    -------
    Mean
        A float; its `weight` is the number of samples that count.

    Raises
    ------
    TypeError
        If `labels` is not of integers, or `k` or `ignore_index` no int.
    ValueError
        If the shapes do not fit, there is no sample that counts, a label is no class, or `k` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import train
    >>> scores = np.array([[0.1, 0.3, 0.6], [0.7, 0.2, 0.1]])
    >>> train.top_k(scores, np.array([1, 2]), 1), train.top_k(scores, np.array([1, 2]), 2)
    (0.0, 0.5)
    """
    at_least(k, "k")
    scores, labels = np.asarray(scores), _classes(labels, "labels")
    if not _of_classes(scores, labels):
        raise ValueError(
            f"labels must have shape (N, *) for scores of shape (N, classes, *), got {labels.shape} for {scores.shape}"
        )
    counts = np.ones(labels.shape, bool)
    if ignore_index is not None:
        counts = labels != integer(ignore_index, "ignore_index", "an int or None")
    _within(labels[counts], scores.shape[1], "labels")
    return _share(scores, labels, counts, k)


def _share(scores: np.ndarray, labels: np.ndarray, counts: np.ndarray, k: int) -> Mean:
    """`top_k` of the samples that count."""
    weight = int(np.count_nonzero(counts))
    if not weight:
        which = " that counts" if labels.size else ""
        raise NothingCountsError(f"scores must hold at least one sample{which}, got none in shape {labels.shape}")
    labels = np.where(counts, labels, 0)[:, np.newaxis]
    true = np.take_along_axis(scores, labels, axis=1)
    before = np.arange(scores.shape[1]).reshape(-1, *(1,) * (scores.ndim - 2)) < labels
    # NaN is not "at most" anything: it is counted as ahead of the true class, and everything is ahead of a true NaN.
    ahead = ~(scores <= true) | ((scores == true) & before)
    return Mean(np.count_nonzero((ahead.sum(axis=1) < k) & counts) / weight, weight)


def fitting(loss: Callable[..., Any], scores: Any, labels: Any) -> dict[str, Metric]:
    """The metrics where none are named: the accuracy, if scores tell classes apart and labels name them; else none."""
    labels = np.asarray(labels)
    apart = isinstance(scores, np.ndarray) and _of_classes(scores, labels) and scores.shape[1] > 1
    if not apart or labels.dtype.kind not in "iu":
        return {}
    ignored = loss.keywords.get("ignore_index") if isinstance(loss, partial) else None
    return {"accuracy": partial(_accuracy_of_known, ignore_index=ignored)}


def _accuracy_of_known(scores: np.ndarray, labels: np.ndarray, ignore_index: int | None) -> Mean:
    """The accuracy where the loss has let all labels pass: one that is no class marks a sample to be left out."""
    labels = np.asarray(labels)
    counts = (labels >= 0) & (labels < scores.shape[1])
    return _share(scores, labels, counts if ignore_index is None else counts & (labels != ignore_index), 1)


def _of_classes(scores: Any, labels: np.ndarray) -> bool:
    """Whether scores ``(N, classes, *)`` and labels ``(N, *)`` have the shapes of each other."""
    shape = np.shape(scores)
    return len(shape) >= 2 and labels.shape == (shape[0], *shape[2:])


def confusion_matrix(labels: np.ndarray, guesses: np.ndarray, classes: int | None = None) -> np.ndarray:
    """Count how often each class was taken for each.

    Parameters
    ----------
    labels, guesses : ndarray of integers, of one shape
        True and guessed classes (``scores.argmax(axis=1)``).
    classes : int or None
        Number of classes; None: the largest that occurs, plus 1.

    Returns
    -------
    ndarray of int64, ``(classes, classes)``
        Row i, column j: how many samples of class i were taken for j. The diagonal is right.

    Raises
    ------
    TypeError
        If an array is not of integers.
    ValueError
        If the shapes differ, or a number is no class.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import train
    >>> train.confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1])).tolist()
    [[1, 1], [0, 1]]
    """
    labels, guesses = _classes(labels, "labels"), _classes(guesses, "guesses")
    if labels.shape != guesses.shape:
        raise ValueError(f"guesses must have the shape of labels, {labels.shape}, got {guesses.shape}")
    if classes is None:
        classes = 1 + max((int(array.max()) for array in (labels, guesses) if array.size), default=-1)
    _within(labels, integer(classes, "classes"), "labels")
    _within(guesses, classes, "guesses")
    pairs = labels.ravel().astype(np.int64) * classes + guesses.ravel().astype(np.int64)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def _classes(value: np.ndarray, name: str) -> np.ndarray:
    """An array of integers."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    return array


def _within(array: np.ndarray, classes: int, name: str) -> None:
    """Every number is one of so many classes."""
    if array.size and not (array.min() >= 0 and array.max() < classes):
        raise ValueError(f"{name} must be classes 0 to {classes - 1}, got {array.min()} to {array.max()}")
