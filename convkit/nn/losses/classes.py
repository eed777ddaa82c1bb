"""Losses over classes, by likelihood."""

from __future__ import annotations

import numpy as np

from ..._limits import log_softmax, share
from ..._mode import keeping
from ...ops import _rows
from ._common import Loss, check_class_weights, check_classes, check_number, reduce, sample_weights


def softmax_cross_entropy(
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    class_weights: np.ndarray | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Loss:
    """Cross-entropy between softmax(scores) and the true classes.

    For a sample with scores s and true class c the loss is ``log(sum(exp(s))) - s[c]``, its gradient
    ``softmax(s) - onehot(c)``. The largest score is taken off first, so scores of 1e4 and more are safe.

    Scores may be infinite. A class at minus infinity, a masked one, has probability 0; a class at infinity has 1. Equal
    infinities are equal scores: several classes at infinity share the probability, and so do all classes if all are at
    minus infinity. The loss is infinite where the label's class has probability 0; the gradient is always finite.

    Parameters
    ----------
    scores : ndarray of float32 or float64, ``(N, classes, *)``
        Not yet through a softmax. Further axes (the pixels of a segmentation) are further samples.
    labels : ndarray of integers, ``(N, *)``
        The true classes, 0 to classes - 1.
    class_weights : ndarray, ``(classes,)``, optional
        What a sample of each class counts; a mean then divides by the sum of its samples' weights.
    label_smoothing : float, default 0
        In [0, 1]: the share e of the true class that is spread evenly over all classes (Szegedy et al., 2016). With
        class weights w the loss is ``(1 - e) * w[c] * -log p[c] + e / classes * sum(w * -log p)``, as in PyTorch.
    ignore_index : int, optional
        A label that marks samples to be left out: loss and gradient zero, and not counted in a mean. Without it every
        label must be a class (PyTorch has -100 here by default).
    reduction : {"mean", "sum", "none"}
        Mean over all samples, sum over them, or one value for each.

    Returns
    -------
    Loss
        `value`: a float, or with "none" an array ``(N, *)``; `grad`: of the shape and dtype of `scores`.

    Raises
    ------
    TypeError
        If `scores` or `class_weights` are not of float32 or float64, `labels` not of integers, or `ignore_index` is no
        int.
    ValueError
        If the shapes do not fit, a label is no class, a number is out of its range, `reduction` is unknown, or a mean
        of no samples is asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn import losses
    >>> value, grad = losses.softmax_cross_entropy(np.array([[0.0, 0.0, 0.0]]), np.array([2]))
    >>> round(value, 4), grad.round(2)  # log(3)
    (1.0986, array([[ 0.33,  0.33, -0.67]]))
    >>> losses.softmax_cross_entropy(np.array([[1e4, 0.0]]), np.array([1])).value
    10000.0
    """
    scores, labels = check_classes(scores, labels, ignore_index=ignore_index)
    smoothing = check_number("label_smoothing", label_smoothing, "in [0, 1]", lambda share: 0 <= share <= 1)
    weights = sample_weights(scores, labels, class_weights, ignore_index)
    truth = labels if ignore_index is None else np.where(labels == ignore_index, 0, labels)
    losses, grad = _rows.cross_entropy(scores, truth, gradient=keeping())
    if weights is None and not smoothing:
        return reduce(losses, grad, reduction)
    if weights is not None:
        losses = share(weights, losses)
    if smoothing:
        even = _even(check_class_weights(class_weights, scores), scores)
        losses = share(1 - smoothing, losses) + smoothing * -share(even, log_softmax(scores, 1)).sum(axis=1)

    def slope() -> np.ndarray:
        slopes = grad if weights is None else np.multiply(grad, np.expand_dims(weights, 1), out=grad)
        if smoothing:
            slopes = (1 - smoothing) * slopes + smoothing * (even.sum() * _rows.softmax(scores, 1) - even)
        return _leave_out(slopes, labels, ignore_index)

    total = None if weights is None else weights.sum(dtype=np.float64)
    return reduce(_leave_out(losses, labels, ignore_index), slope, reduction, total=total)


def negative_log_likelihood(
    log_probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    class_weights: np.ndarray | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Loss:
    """Minus the logarithm of the true class's probability: cross-entropy for outputs that are log-softmax already.

    For a sample with log-probabilities l and true class c the loss is ``-l[c]``, its gradient ``-onehot(c)``. It is
    infinite where l[c] is minus infinity, and 0 even there if the class's weight is 0.

    Parameters
    ----------
    log_probabilities : ndarray of float32 or float64, ``(N, classes, *)``
    labels, class_weights, ignore_index, reduction
        As of `softmax_cross_entropy`.

    Returns
    -------
    Loss
        `value`: a float, or with "none" an array ``(N, *)``; `grad`: of the shape and dtype of `log_probabilities`.

    Raises
    ------
    TypeError, ValueError
        As `softmax_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn import losses
    >>> value, grad = losses.negative_log_likelihood(np.log([[0.2, 0.8], [0.5, 0.5]]), np.array([1, 0]))
    >>> round(value, 4), grad
    (0.4581, array([[ 0. , -0.5],
           [-0.5,  0. ]]))
    """
    name = "log_probabilities"
    scores, labels = check_classes(log_probabilities, labels, ignore_index=ignore_index, name=name)
    weights = sample_weights(scores, labels, class_weights, ignore_index)
    losses = _of_truth(scores, labels, weights)

    def slope() -> np.ndarray:
        return _leave_out(_less_truth(np.zeros(scores.shape, scores.dtype), labels, weights), labels, ignore_index)

    total = None if weights is None else weights.sum(dtype=np.float64)
    return reduce(_leave_out(losses, labels, ignore_index), slope, reduction, total=total, name=name)


def _true(labels: np.ndarray, classes: int) -> tuple[np.ndarray, ...]:
    """The index of the true classes into ``(N, classes, *)``, which makes ``(N, *)`` of it; of any for the ignored."""
    first, *others = np.indices(labels.shape, sparse=True)
    return first, np.where((labels >= 0) & (labels < classes), labels, 0), *others


def _of_truth(logs: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Minus the true classes' logarithms, ``(N, *)``, weighed."""
    losses = -logs[_true(labels, logs.shape[1])]
    return losses if weights is None else share(weights, losses)


def _less_truth(grad: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """`grad` less one at the true classes, weighed, in place."""
    grad[_true(labels, grad.shape[1])] -= 1
    if weights is not None:
        grad *= np.expand_dims(weights, 1)
    return grad


def _even(table: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The share of each class where all are equally true, weighed by `table`; against ``(N, classes, *)``."""
    return (table / len(table)).reshape(1, -1, *(1,) * (scores.ndim - 2))


def _leave_out(values: np.ndarray, labels: np.ndarray, ignore_index: int | None) -> np.ndarray:
    """The samples' losses ``(N, *)``, or gradients ``(N, classes, *)``, those of the ignored made zero."""
    if ignore_index is not None:
        (values if values.ndim == labels.ndim else np.moveaxis(values, 1, -1))[labels == ignore_index] = 0
    return values
