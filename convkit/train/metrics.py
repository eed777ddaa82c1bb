"""How good guesses are. A metric is a function of scores and labels that returns a mean over the samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._shapes import integer


class Means:
    """Means over samples that come in batches."""

    def __init__(self) -> None:
        self.samples = 0
        self.sums: dict[str, float] = {}

    def add(self, means: Mapping[str, float], samples: int) -> None:
        """Take in the means over so many more samples."""
        for name, value in means.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value) * samples
        self.samples += samples

    def __call__(self) -> dict[str, float]:
        """The means over all of them."""
        return {name: total / self.samples for name, total in self.sums.items()}


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of samples whose highest score is that of the true class; of equal scores the first counts.

    Parameters
    ----------
    scores : ndarray, ``(N, classes, *)``
        Further axes (the pixels of a segmentation) are further samples.
    labels : ndarray of integers, ``(N, *)``

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If `labels` is not of integers.
    ValueError
        If the shapes do not fit, or there is no sample.
    """
    return top_k(scores, labels, 1)


def top_k(scores: np.ndarray, labels: np.ndarray, k: int = 5) -> float:
    """Share of samples whose true class is among the `k` highest scores; of equal scores the first ones count.

    Parameters
    ----------
    scores : ndarray, ``(N, classes, *)``
        A true class whose score is NaN is never among them.
    labels : ndarray of integers, ``(N, *)``
    k : int, default 5
        At least 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If `labels` is not of integers, or `k` no int.
    ValueError
        If the shapes do not fit, there is no sample, a label is no class, or `k` is below 1.
    """
    if integer(k, "k") < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    scores, labels = np.asarray(scores), _classes(labels, "labels")
    if scores.ndim < 2 or labels.shape != (expected := (len(scores), *scores.shape[2:])):
        raise ValueError(
            f"labels must have shape (N, *) for scores of shape (N, classes, *), got {labels.shape} for {scores.shape}"
        )
    if not labels.size:
        raise ValueError(f"scores must hold at least one sample, got shape {expected}")
    classes = scores.shape[1]
    _within(labels, classes, "labels")
    true = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)
    before = np.arange(classes).reshape(-1, *(1,) * (scores.ndim - 2)) < labels[:, np.newaxis]
    # NaN is not "at most" anything: it is counted as ahead of the true class, and everything is ahead of a true NaN.
    ahead = ~(scores <= true) | ((scores == true) & before)
    return float((ahead.sum(axis=1) < k).mean())


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
