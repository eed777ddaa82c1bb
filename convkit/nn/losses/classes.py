"""Losses over classes, by likelihood."""

from __future__ import annotations

import numpy as np

from .._limits import difference, share
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

    Scores may be infinite: a class at minus infinity, a masked one, has no probability, one at infinity has it all,
    and equal infinities are equal scores, so that several at infinity share it, and so do all classes where all are at
    minus infinity. The loss is infinite where what the label asks for has no probability, the gradient always finite.

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
        If `scores` or `class_weights` are not of float32 or float64, or `labels` not of integers.
    ValueError
        If the shapes do not fit, a label is no class, a number is out of its range, `reduction` is unknown, or a mean
        of no samples is asked for.
    """
    scores, labels = check_classes(scores, labels, ignore_index=ignore_index)
    smoothing = check_number("label_smoothing", label_smoothing, "in [0, 1]", lambda share: 0 <= share <= 1)
    weights = sample_weights(scores, labels, class_weights, ignore_index)
    shifted = difference(scores, scores.max(axis=1, keepdims=True, initial=-np.inf))  # (N, classes, *), all <= 0
    exps = np.exp(shifted)
    sums = exps.sum(axis=1, keepdims=True)  # (N, 1, *), >= 1
    softmax = np.divide(exps, sums, out=exps)
    log_softmax = np.subtract(shifted, np.log(sums), out=shifted)
    losses, grad = _of_truth(log_softmax, softmax.copy() if smoothing else softmax, labels, weights)
    if smoothing:
        even, even_grad = _of_all(log_softmax, softmax, check_class_weights(class_weights, scores))
        losses = share(1 - smoothing, losses) + smoothing * even
        grad = (1 - smoothing) * grad + smoothing * even_grad
    _leave_out(losses, grad, labels, ignore_index)
    return reduce(losses, grad, reduction, total=None if weights is None else weights.sum(dtype=np.float64))


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
    """
    name = "log_probabilities"
    scores, labels = check_classes(log_probabilities, labels, ignore_index=ignore_index, name=name)
    weights = sample_weights(scores, labels, class_weights, ignore_index)
    losses, grad = _of_truth(scores, np.zeros(scores.shape, scores.dtype), labels, weights)
    _leave_out(losses, grad, labels, ignore_index)
    return reduce(losses, grad, reduction, total=None if weights is None else weights.sum(dtype=np.float64), name=name)


def _of_truth(
    logs: np.ndarray, grad: np.ndarray, labels: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return minus the true classes' logarithms, ``(N, *)``, and `grad` less one at the true classes, both weighed."""
    classes = logs.shape[1]
    true = np.expand_dims(np.where((labels >= 0) & (labels < classes), labels, 0), 1)  # any class for the ignored
    losses = -np.take_along_axis(logs, true, axis=1)[:, 0]
    np.put_along_axis(grad, true, np.take_along_axis(grad, true, axis=1) - 1, axis=1)
    if weights is not None:
        losses = share(weights, losses)
        grad *= np.expand_dims(weights, 1)
    return losses, grad


def _of_all(log_softmax: np.ndarray, softmax: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return loss and gradient where all classes are equally true, each weighed by `table`."""
    shares = (table / len(table)).reshape(1, -1, *(1,) * (softmax.ndim - 2))
    return -share(shares, log_softmax).sum(axis=1), shares.sum() * softmax - shares


def _leave_out(losses: np.ndarray, grad: np.ndarray, labels: np.ndarray, ignore_index: int | None) -> None:
    """Make the ignored samples' losses and gradients zero, whatever their scores."""
    if ignore_index is not None:
        ignored = labels == ignore_index
        losses[ignored] = 0
        np.moveaxis(grad, 1, -1)[ignored] = 0
