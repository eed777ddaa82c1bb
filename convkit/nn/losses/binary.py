"""Losses of two classes: one score for each sample, large for one class and small for the other."""

from __future__ import annotations

import numpy as np

from ..._limits import share
from ._common import Loss, check_held, check_number, check_positive, check_signs, check_targets, reduce


def binary_cross_entropy_with_logits(
    scores: np.ndarray, targets: np.ndarray, *, pos_weight: float = 1.0, reduction: str = "mean"
) -> Loss:
    """Cross-entropy between sigmoid(scores) and probabilities.

    For a score s and target t it is ``-(pos_weight * t * log(sigmoid(s)) + (1 - t) * log(1 - sigmoid(s)))``, its
    gradient without weight ``sigmoid(s) - t``. Nothing larger than 1 is ever exponentiated, so any score is safe, an
    infinite one too: where it is right beyond doubt the loss is 0, where the target gives the other class any share it
    is infinite, and the gradient is finite in both.

    Parameters
    ----------
    scores : ndarray of float32 or float64, any shape
        Not yet through a sigmoid. Every element is a sample.
    targets : ndarray of the shape and dtype of `scores`
        In [0, 1]: 1 for the positive class, 0 for the other.
    pos_weight : float, default 1
        What the positive class counts; above 0, also in the scores' dtype.
    reduction : {"mean", "sum", "none"}
        Mean over all elements, sum over them, or one value for each.

    Returns
    -------
    Loss
        `value`: a float, or with "none" an array; `grad`: an array; arrays are of the shape and dtype of `scores`.

    Raises
    ------
    TypeError
        If an array is not of float32 or float64, or they are of two dtypes.
    ValueError
        If the shapes differ, a target or `pos_weight` is out of its range, `reduction` is unknown, or a mean of no
        samples is asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn import losses
    >>> scores, targets = np.array([0.0, 1e4]), np.array([1.0, 1.0])
    >>> value, grad = losses.binary_cross_entropy_with_logits(scores, targets, reduction="none")
    >>> value.round(3), grad
    (array([0.693, 0.   ]), array([-0.5,  0. ]))
    """
    scores, targets = check_targets(scores, targets)
    weight = check_held("pos_weight", check_positive("pos_weight", pos_weight), scores.dtype)
    _check_each(targets, (targets >= 0) & (targets <= 1), "in [0, 1]")
    positive = weight * targets
    negative = 1 - targets
    losses = share(positive, _softplus(-scores)) + share(negative, _softplus(scores))
    return reduce(losses, lambda: negative * _sigmoid(scores) - positive * _sigmoid(-scores), reduction)


def focal(
    scores: np.ndarray,
    targets: np.ndarray,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: str = "mean",
) -> Loss:
    """Binary cross-entropy that makes little of what is well classified already (Lin et al., 2017).

    With p the probability that sigmoid(scores) gives to the true class, ``a * (1 - p)^gamma * -log(p)``; a is `alpha`
    where the target is 1 and ``1 - alpha`` where it is 0. As ``torchvision.ops.sigmoid_focal_loss``, whose default
    reduction is "none".

    At an infinite score loss and gradient are 0 where it is right; where it is wrong the loss is infinite and the
    gradient a, towards the right side. Where a is 0 both are 0.

    Parameters
    ----------
    scores : ndarray of float32 or float64, any shape
        Not yet through a sigmoid; any size is safe. Every element is a sample.
    targets : ndarray of the shape and dtype of `scores`
        1 for the positive class, 0 for the other.
    alpha : float or None, default 0.25
        In [0, 1], the share of the positive class; None for no such weight.
    gamma : float, default 2
        At least 0; with 0 it is the binary cross-entropy, weighed.
    reduction : {"mean", "sum", "none"}
        Mean over all elements, sum over them, or one value for each.

    Returns
    -------
    Loss
        As of `binary_cross_entropy_with_logits`.

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy_with_logits`; besides if a target is neither 0 nor 1, or `alpha` or `gamma` out of its
        range.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn import losses
    >>> scores, targets = np.array([1.0, -1.0]), np.array([1.0, 1.0])  # the first is right, the second wrong
    >>> losses.focal(scores, targets, alpha=None, reduction="none").value.round(4)
    array([0.0227, 0.7019])
    >>> losses.binary_cross_entropy_with_logits(scores, targets, reduction="none").value.round(4)
    array([0.3133, 1.3133])
    """
    scores, targets = check_targets(scores, targets)
    gamma = check_number("gamma", gamma, "at least 0", lambda power: power >= 0)
    gamma = min(gamma, float(np.finfo(scores.dtype).max))
    _check_each(targets, (targets == 0) | (targets == 1), "0 or 1")
    sign = 2 * targets - 1
    margin = sign * scores
    right, wrong = _sigmoid(margin), _sigmoid(-margin)  # p and 1 - p
    entropy = _softplus(-margin)  # -log(p)
    scale = wrong**gamma
    if alpha is not None:
        alpha = check_number("alpha", alpha, "in [0, 1]", lambda share: 0 <= share <= 1)
        scale *= alpha * targets + (1 - alpha) * (1 - targets)
    return reduce(share(scale, entropy), lambda: -sign * share(scale, wrong + gamma * share(right, entropy)), reduction)


def binary_hinge(scores: np.ndarray, labels: np.ndarray, *, margin: float = 1.0, reduction: str = "mean") -> Loss:
    """Support vector machine of two classes: ``max(0, margin - y * s)`` for a score s and label y.

    Its gradient is -y below the margin, and 0 from there on (Cortes and Vapnik, 1995). At an infinite score the loss is
    0 or infinite.

    Parameters
    ----------
    scores : ndarray of float32 or float64, any shape
        Every element is a sample.
    labels : ndarray of the shape of `scores`
        -1 or 1, integers or floats.
    margin : float, default 1
        Above 0, also in the scores' dtype.
    reduction : {"mean", "sum", "none"}
        Mean over all elements, sum over them, or one value for each.

    Returns
    -------
    Loss
        `value`: a float, or with "none" an array; `grad`: an array; arrays are of the shape and dtype of `scores`.

    Raises
    ------
    TypeError
        If `scores` is not of float32 or float64, or `labels` not of numbers.
    ValueError
        If the shapes differ, a label is neither -1 nor 1, `margin` is not above 0, `reduction` is unknown, or a mean of
        no samples is asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn import losses
    >>> losses.binary_hinge(np.array([2.0, 0.5, -1.0]), np.array([1, 1, 1]), reduction="none").value
    array([0. , 0.5, 2. ])
    """
    scores, labels = check_signs(scores, labels)
    margin = check_held("margin", check_positive("margin", margin), scores.dtype)
    short = margin - labels * scores
    return reduce(np.maximum(short, 0), lambda: np.where(short > 0, -labels, 0), reduction)


def perceptron(scores: np.ndarray, labels: np.ndarray, *, reduction: str = "mean") -> Loss:
    """Perceptron criterion: ``max(0, -y * s)`` for a score s and label y (Rosenblatt, 1958).

    Its gradient is -y where the sign is wrong and 0 where it is right. At a score of exactly 0 it is -y as well, as the
    perceptron's rule has it: weights that start from zero learn. At an infinite score the loss is 0 or infinite.

    Parameters
    ----------
    scores, labels, reduction
        As of `binary_hinge`.

    Returns
    -------
    Loss
        As of `binary_hinge`.

    Raises
    ------
    TypeError, ValueError
        As `binary_hinge`.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn import losses
    >>> losses.perceptron(np.array([2.0, 0.5, -1.0]), np.array([1, 1, 1]), reduction="none").value
    array([0., 0., 1.])
    """
    scores, labels = check_signs(scores, labels)
    short = -labels * scores
    return reduce(np.maximum(short, 0), lambda: np.where(short >= 0, -labels, 0), reduction)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))  # never above 1
    return np.where(x >= 0, 1, small) / (1 + small)


def _softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x))."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _check_each(targets: np.ndarray, fits: np.ndarray, expected: str) -> None:
    bad = np.argwhere(~fits)
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise ValueError(f"targets must be {expected}, got {targets[where]} at {where}")
