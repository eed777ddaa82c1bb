"""What every loss is made of: its result, its reduction, its checks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..._arrays import is_real, native
from ..._mode import keeping
from ..._numbers import number
from ..._options import of_kind, one_of
from ..._shapes import integer
from ..._words import brief

REDUCTIONS = ("mean", "sum", "none")


class _ValueAndGradient(NamedTuple):
    value: float | np.ndarray
    grad: np.ndarray | None


class Loss(_ValueAndGradient):
    """A loss and its gradient with respect to the model's output: ``value, grad = loss``.

    Parameters
    ----------
    value : float or ndarray
        With ``reduction="none"`` an array, one loss for each sample; else a number.
    grad : ndarray or None
        The gradient of `value`; with "none" each sample's own. None under `convkit.nn.inference`.
    weight : float, optional
        What `value` was divided by, and so what it weighs in a mean over several batches: of a mean the number of
        samples that count, or the sum of their weights. None: as much as the batch has samples.
    reduction : {"mean", "sum", "none"}
        What `value` is of its samples; sums of several batches are added up.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn.losses import softmax_cross_entropy
    >>> loss = softmax_cross_entropy(np.zeros((3, 2)), np.array([0, -1, 1]), ignore_index=-1)
    >>> value, grad = loss
    >>> round(value, 6), grad.shape, loss.weight
    (0.693147, (3, 2), 2.0)
    """

    weight: float | None
    reduction: str

    def __new__(
        cls, value: float | np.ndarray, grad: np.ndarray | None, weight: float | None = None, reduction: str = "mean"
    ) -> Loss:
        loss = super().__new__(cls, value, grad)
        loss.weight, loss.reduction = weight, reduction
        return loss

    def _replace(self, **changes: Any) -> Loss:
        return Loss(**self._asdict() | vars(self) | changes)

    def __repr__(self) -> str:
        fields = (self._asdict() | vars(self)).items()
        return f"Loss({', '.join(f'{name}={value!r}' for name, value in fields)})"


class NothingCountsError(ValueError):
    """A mean over samples was asked for, and none of them counts.

    Attributes
    ----------
    total : float
        What the mean would have divided by nothing: mostly 0.
    """

    def __init__(self, message: str, total: float = 0.0) -> None:
        super().__init__(message)
        self.total = total


def reduce(
    losses: np.ndarray,
    grad: np.ndarray | Callable[[], np.ndarray] | None,
    reduction: str,
    *,
    total: float | None = None,
    name: str = "scores",
) -> Loss:
    """Turn the samples' losses and their gradients into the `Loss` that `reduction` asks for; for authors of losses.

    Parameters
    ----------
    losses : ndarray, ``(N, *)``
        One for each sample.
    grad : ndarray, function or None
        The gradient of the sum of `losses`, changed in place; or what returns it, called only where it is wanted. None
        is what another loss has under `convkit.nn.inference`.
    reduction : {"mean", "sum", "none"}
    total : float, optional
        What a mean divides by, where samples have weights; else their number.
    name : str
        What the message calls the samples that are missing.

    Returns
    -------
    Loss

    Raises
    ------
    TypeError
        If `losses` or `grad` is no array of numbers, or `total` no number.
    ValueError
        If `reduction` is unknown.
    NothingCountsError
        A ValueError, if a mean of no samples, or of none that counts, is asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn import losses
    >>> def fourth_power(predictions, targets, reduction="mean"):
    ...     d = predictions - targets
    ...     return losses.reduce(d**4, lambda: 4 * d**3, reduction)
    >>> fourth_power(np.array([1.0, 3.0]), np.array([0.0, 1.0]))
    Loss(value=8.5, grad=array([ 2., 16.]), weight=2.0, reduction='mean')
    """
    one_of(reduction, REDUCTIONS, "reduction")
    losses = np.asarray(losses)
    if losses.dtype.kind not in "biuf":
        raise TypeError(f"losses must be an array of numbers, got {losses.dtype}")
    if not keeping():
        grad = None
    elif callable(grad):
        grad = grad()
    if grad is not None:
        of_kind(grad, (np.ndarray, np.generic), "grad", "an ndarray, a function that returns one, or None")
    if reduction == "none":
        return Loss(losses, grad, 1.0, reduction)
    with np.errstate(over="ignore"):
        value = float(losses.sum(dtype=np.float64))
    if reduction == "sum":
        return Loss(value, grad, 1.0, reduction)
    weight = float(losses.size) if total is None else number(total, "total", "a number or None", lambda _: True)
    if not weight > 0:
        counts = " that counts" if losses.size else ""
        raise NothingCountsError(
            f"{name} must hold at least one sample{counts} where reduction is 'mean', got none", value
        )
    if grad is not None:
        grad /= weight
    return Loss(value / weight, grad, weight)


def check_scores(scores: np.ndarray, name: str = "scores") -> np.ndarray:
    """Return an array of float32 or float64, else raise TypeError."""
    scores = np.asarray(scores)
    if not is_real(scores.dtype):
        raise TypeError(f"{name} must be float32 or float64, got {scores.dtype}")
    return native(scores)


def check_number(name: str, value: float, expected: str, fits: Callable[[float], bool]) -> float:
    """Return `value` if it is a finite number that fits, else raise."""
    return number(value, name, f"a number {expected}", lambda value: math.isfinite(value) and fits(value))


def check_positive(name: str, value: float) -> float:
    """Return `value` if it is a finite number above 0, else raise."""
    return check_number(name, value, "above 0", lambda number: number > 0)


def check_held(name: str, value: float, dtype: np.dtype) -> float:
    """Return a number above 0 if it is one in `dtype`, too: neither infinity nor 0; else raise ValueError."""
    with np.errstate(over="ignore", under="ignore"):
        held = float(dtype.type(value))
    if not 0 < held < math.inf:
        raise ValueError(f"{name} must be a number above 0 that {dtype} can hold, got {brief(value)}")
    return value


def check_same_shape(name: str, value: np.ndarray, first: str, scores: np.ndarray) -> None:
    """Raise ValueError unless the shapes agree; broadcasting would hide a mistake."""
    if value.shape != scores.shape:
        raise ValueError(f"{name} must have the shape of {first}, {scores.shape}, got {value.shape}")


def _of_sample(message: str, where: tuple[int, ...]) -> ValueError:
    """An error about a sample of a batch, for whoever knows which sample of a set that is."""
    error = ValueError(message)
    if where:
        error.sample = where[0]
    return error


def check_classes(
    scores: np.ndarray, labels: np.ndarray, *, ignore_index: int | None = None, name: str = "scores"
) -> tuple[np.ndarray, np.ndarray]:
    """Check scores ``(N, classes, *)`` and labels ``(N, *)``, each a class or `ignore_index`; return both as arrays."""
    scores, labels = check_scores(scores, name), np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if scores.ndim < 2:
        raise ValueError(f"{name} must have shape (N, classes, *), got shape {scores.shape}")
    expected = (scores.shape[0], *scores.shape[2:])
    if labels.shape != expected:
        raise ValueError(f"labels must have shape {expected} for {name} of shape {scores.shape}, got {labels.shape}")
    classes = scores.shape[1]
    wrong = labels.astype(np.int64, copy=False).view(np.uint64) >= classes  # where one below 0 is beyond all others
    if ignore_index is not None:
        wrong &= labels != integer(ignore_index, "ignore_index", "an int or None")
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        also = "" if ignore_index is None else f", or {ignore_index} to be ignored"
        raise _of_sample(f"labels must be classes 0 to {classes - 1}{also}, got {labels[where]} at {where}", where)
    return scores, labels


def sample_weights(
    scores: np.ndarray, labels: np.ndarray, class_weights: np.ndarray | None, ignore_index: int | None
) -> np.ndarray | None:
    """Return the weight of each sample, ``(N, *)``, zero for those to be ignored; None where all count one."""
    if class_weights is None and ignore_index is None:
        return None
    table = check_class_weights(class_weights, scores)
    if ignore_index is None:
        return table[labels]
    kept = labels != ignore_index
    return np.where(kept, table[np.where(kept, labels, 0)], 0).astype(scores.dtype, copy=False)


def check_class_weights(class_weights: np.ndarray | None, scores: np.ndarray) -> np.ndarray:
    """Return the weight of each class, in the scores' dtype; ones where none are given."""
    if class_weights is None:
        return np.ones(scores.shape[1], scores.dtype)
    weights = check_scores(class_weights, "class_weights")
    if weights.shape != scores.shape[1:2]:
        raise ValueError(f"class_weights must have shape {scores.shape[1:2]}, one a class, got {weights.shape}")
    with np.errstate(over="ignore"):
        weights = weights.astype(scores.dtype, copy=False)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(f"class_weights must be finite {scores.dtype} and at least 0, got one that is not")
    return weights


def check_targets(scores: np.ndarray, targets: np.ndarray, name: str = "scores") -> tuple[np.ndarray, np.ndarray]:
    """Check outputs and targets of one shape and dtype; return both as arrays."""
    scores, targets = check_scores(scores, name), check_scores(targets, "targets")
    if targets.dtype != scores.dtype:
        raise TypeError(f"targets must have the dtype of {name}, {scores.dtype}, got {targets.dtype}")
    check_same_shape("targets", targets, name, scores)
    return scores, targets


def check_signs(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check scores and labels -1 or +1 of one shape; return both in the scores' dtype."""
    scores, labels = check_scores(scores), np.asarray(labels)
    if labels.dtype.kind not in "if":
        raise TypeError(f"labels must be numbers -1 or 1, got {labels.dtype}")
    check_same_shape("labels", labels, "scores", scores)
    bad = np.argwhere(np.abs(labels) != 1)
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise _of_sample(f"labels must be -1 or 1, got {labels[where]} at {where}", where)
    return scores, labels.astype(scores.dtype)
