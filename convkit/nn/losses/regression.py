"""Losses of predicted numbers."""

from __future__ import annotations

import numpy as np

from ..._limits import difference
from ..._options import one_of
from ._common import REDUCTIONS, Loss, check_held, check_positive, check_targets, reduce


def l1(predictions: np.ndarray, targets: np.ndarray, *, reduction: str = "mean") -> Loss:
    """Absolute error ``|d|``, d = prediction - target; its mean is the MAE. The gradient is sign(d), 0 at d = 0.

    An infinite d has an infinite loss; where prediction and target are the same infinity d is 0.

    Parameters
    ----------
    predictions : ndarray of float32 or float64, any shape
        Every element is a sample.
    targets : ndarray of the shape and dtype of `predictions`
    reduction : {"mean", "sum", "none"}
        Mean over all elements, sum over them, or one value for each.

    Returns
    -------
    Loss
        `value`: a float, or with "none" an array; `grad`: an array; arrays are of the predictions' shape and dtype.

    Raises
    ------
    TypeError
        If an array is not of float32 or float64, or they are of two dtypes.
    ValueError
        If the shapes differ, `reduction` is unknown, or a mean of no samples is asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn import losses
    >>> value, grad = losses.l1(np.array([1.0, 5.0]), np.array([0.0, 7.0]))
    >>> value, grad
    (1.5, array([ 0.5, -0.5]))
    """
    error = _error(predictions, targets)
    return reduce(np.abs(error), lambda: np.sign(error), reduction, name="predictions")


def l2(predictions: np.ndarray, targets: np.ndarray, *, reduction: str = "mean") -> Loss:
    """Squared error ``d^2``, d = prediction - target; its mean is the MSE. The gradient is ``2 * d``.

    Squares that are to be added up are float64, whatever the dtype: float32 has none of 1e30. One that is beyond the
    largest number is infinite, its gradient is not. At infinity d is as in `l1`.

    Parameters
    ----------
    predictions, targets, reduction
        As of `l1`.

    Returns
    -------
    Loss
        As of `l1`.

    Raises
    ------
    TypeError, ValueError
        As `l1`.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn import losses
    >>> value, grad = losses.l2(np.array([1.0, 5.0]), np.array([0.0, 7.0]))
    >>> value, grad
    (2.5, array([ 1., -2.]))
    """
    error = _error(predictions, targets)

    def slope() -> np.ndarray:
        with np.errstate(over="ignore"):
            return 2 * error

    return reduce(_product(error, error, reduction), slope, reduction, name="predictions")


def huber(predictions: np.ndarray, targets: np.ndarray, *, delta: float = 1.0, reduction: str = "mean") -> Loss:
    """Squared error near zero, absolute error far from it (Huber, 1964).

    With d = prediction - target: ``d^2 / 2`` where |d| <= delta, else ``delta * (|d| - delta / 2)``; the gradient is d
    cut to [-delta, delta]. At infinity d is as in `l1`.

    Parameters
    ----------
    predictions, targets, reduction
        As of `l1`.
    delta : float, default 1
        Above 0.

    Returns
    -------
    Loss
        As of `l1`.

    Raises
    ------
    TypeError, ValueError
        As `l1`; besides if `delta` is not a number above 0 that the dtype can hold.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn import losses
    >>> value, grad = losses.huber(np.array([0.5, 3.0]), np.zeros(2), reduction="none")
    >>> value, grad
    (array([0.125, 2.5  ]), array([0.5, 1. ]))
    """
    delta = check_positive("delta", delta)
    error = _error(predictions, targets)
    check_held("delta", delta, error.dtype)
    grad = np.clip(error, -delta, delta)
    return reduce(_product(grad, error - grad / 2, reduction), grad, reduction, name="predictions")


def smooth_l1(predictions: np.ndarray, targets: np.ndarray, *, beta: float = 1.0, reduction: str = "mean") -> Loss:
    """Huber's loss divided by its bend (Girshick, 2015): slope 1 far from zero, whatever beta.

    With d = prediction - target: ``d^2 / (2 * beta)`` where |d| < beta, else ``|d| - beta / 2``. At infinity d is as in
    `l1`.

    Parameters
    ----------
    predictions, targets, reduction
        As of `l1`.
    beta : float, default 1
        Above 0; for 0, which PyTorch allows, use `l1`.

    Returns
    -------
    Loss
        As of `l1`.

    Raises
    ------
    TypeError, ValueError
        As `l1`; besides if `beta` is not a number above 0 that the dtype can hold.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit.nn import losses
    >>> value, grad = losses.smooth_l1(np.array([0.25, 3.0]), np.zeros(2), beta=0.5, reduction="none")
    >>> value, grad
    (array([0.0625, 2.75  ]), array([0.5, 1. ]))
    """
    beta = check_positive("beta", beta)
    error = _error(predictions, targets)
    check_held("beta", beta, error.dtype)
    bent = np.clip(error, -beta, beta)
    slope = bent / beta
    return reduce(_product(slope, error - bent / 2, reduction), slope, reduction, name="predictions")


def _error(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    predictions, targets = check_targets(predictions, targets, "predictions")
    return difference(predictions, targets)


def _product(a: np.ndarray, b: np.ndarray, reduction: str) -> np.ndarray:
    """a * b; in float64 where the elements are going to be added up, since a square soon is beyond float32."""
    kind = one_of(reduction, REDUCTIONS, "reduction")
    with np.errstate(over="ignore"):
        return np.multiply(a, b, dtype=a.dtype if kind == "none" else np.float64)
