"""Losses over classes, by comparing scores."""

from __future__ import annotations

import numpy as np

from ..._limits import difference
from ._common import Loss, check_classes, check_held, check_positive, reduce


def multiclass_hinge(scores: np.ndarray, labels: np.ndarray, *, margin: float = 1.0, reduction: str = "mean") -> Loss:
    """Multi-class support vector machine: every wrong class should score lower than the true one, by a margin.

    For a sample with scores s and true class c the loss is ``sum over j != c of max(0, s[j] - s[c] + margin)`` (Weston
    and Watkins, 1999); its gradient is 1 for each j that counts, and minus their number for c. PyTorch's
    ``MultiMarginLoss`` is this divided by the number of classes.

    Scores may be infinite; two that are the same infinity are equal, and cost the margin.

    Parameters
    ----------
    scores : ndarray of float32 or float64, ``(N, classes, *)``
        Further axes are further samples.
    labels : ndarray of integers, ``(N, *)``
        The true classes, 0 to classes - 1.
    margin : float, default 1
        Above 0, also in the scores' dtype.
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
        If the shapes do not fit, a label is no class, `margin` is not above 0, `reduction` is unknown, or a mean of no
        samples is asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn import losses
    >>> round(losses.multiclass_hinge(np.array([[3.2, 5.1, -1.7]]), np.array([0])).value, 6)
    2.9
    """
    scores, labels = check_classes(scores, labels)
    margin = check_held("margin", check_positive("margin", margin), scores.dtype)
    true = np.expand_dims(labels, 1)  # (N, 1, *)
    excess = difference(scores, np.take_along_axis(scores, true, axis=1)) + margin  # (N, classes, *)
    np.put_along_axis(excess, true, 0, axis=1)

    def slope() -> np.ndarray:
        grad = (excess > 0).astype(scores.dtype)
        np.put_along_axis(grad, true, -grad.sum(axis=1, keepdims=True), axis=1)
        return grad

    with np.errstate(over="ignore"):
        losses = np.maximum(excess, 0).sum(axis=1)
    return reduce(losses, slope, reduction)


def zero_one(scores: np.ndarray, labels: np.ndarray, *, reduction: str = "mean") -> Loss:
    """1 for a sample whose largest score is not the true class's, else 0; the mean is the error rate.

    It is what one wants to be small and cannot be trained on: the gradient is zero wherever there is one, and is
    returned as zero everywhere.

    Parameters
    ----------
    scores : ndarray of float32 or float64, ``(N, classes, *)``
        Of equal scores the first is taken for the largest. Further axes are further samples.
    labels, reduction
        As of `multiclass_hinge`.

    Returns
    -------
    Loss
        `value`: a float, or with "none" an array ``(N, *)``; `grad`: zeros of the shape and dtype of `scores`.

    Raises
    ------
    TypeError, ValueError
        As `multiclass_hinge`.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn import losses
    >>> losses.zero_one(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1])).value
    0.5
    """
    scores, labels = check_classes(scores, labels)
    if scores.shape[1] == 0:  # then there are no labels either
        wrong = np.zeros(labels.shape, scores.dtype)
    else:
        wrong = (scores.argmax(axis=1) != labels).astype(scores.dtype)
    return reduce(wrong, lambda: np.zeros(scores.shape, scores.dtype), reduction)
