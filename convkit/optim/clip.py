"""Gradient clipping: between backward and step, and only where it is called."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from .._numbers import number
from .._options import flag
from .._range import p_norm
from ..nn.module import Parameter
from ._settings import check_rate
from .optimizer import unique_parameters


def clip_grad_norm(
    parameters: Iterable[Parameter], max_norm: float, *, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients together, in place, so that their joint norm does not exceed `max_norm`.

    Parameters
    ----------
    parameters : iterable of Parameter
        ``model.parameters()``; those that are frozen or without a gradient are passed over.
    max_norm : float
        >= 0; infinity only measures: no gradient changes, whatever it holds.
    norm_type : float, default 2
        Above 0: which p-norm of all gradients taken as one vector; infinity is their largest magnitude.
    error_if_nonfinite : bool, default False
        Whether a norm that is infinite or NaN is an error; else it goes through the formula as in PyTorch.

    Returns
    -------
    float
        The norm before, summed in float64; 0 without gradients.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or range, or a gradient is not of floats or read-only; nothing has changed
        then.
    FloatingPointError
        If the norm is not finite and `error_if_nonfinite`; the gradients are as they were.

    Notes
    -----
    The factor is ``min(1, max_norm / (norm + 1e-6))``, PyTorch's. No power of an element overflows or vanishes on the
    way: gradients of 1e200 are brought to `max_norm` as those of 1 are, even where their norm is more than float64 can
    hold and comes back infinite. With an infinite gradient the factor is 0: finite gradients become 0 and infinite
    ones NaN. With a NaN all become NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn, optim
    >>> w = nn.Parameter(np.zeros(2))
    >>> w.grad = np.array([3.0, 4.0])
    >>> optim.clip_grad_norm([w], 1.0)
    5.0
    >>> w.grad.round(3)
    array([0.6, 0.8])
    """
    grads, error_if_nonfinite = _grads(parameters), flag(error_if_nonfinite, "error_if_nonfinite")
    max_norm = number(max_norm, "max_norm", "a number of at least 0", lambda value: value >= 0)
    norm_type = number(norm_type, "norm_type", "a number above 0", lambda value: value > 0)
    root, scale = p_norm(grads, norm_type)
    norm = root * scale
    if error_if_nonfinite and not math.isfinite(norm):
        raise FloatingPointError(f"clip_grad_norm: the gradients' norm is {norm}")
    if max_norm < math.inf and not max_norm / (norm + 1e-6) >= 1:  # a NaN is not, and shows
        with np.errstate(under="ignore", invalid="ignore"):
            for grad in {id(grad): grad for grad in grads}.values():  # two parameters may hold one array
                _divide(grad, root, scale, max_norm)
    return norm


def clip_grad_value(parameters: Iterable[Parameter], clip_value: float) -> None:
    """Bring every element of the gradients, in place, into ``[-clip_value, clip_value]``.

    Parameters
    ----------
    parameters : iterable of Parameter
        ``model.parameters()``; those that are frozen or without a gradient are passed over.
    clip_value : float
        >= 0. An infinite element becomes this, too; a NaN stays.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or range, or a gradient is not of floats or read-only; nothing has changed
        then.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn, optim
    >>> w = nn.Parameter(np.zeros(2))
    >>> w.grad = np.array([3.0, -0.5])
    >>> optim.clip_grad_value([w], 1.0)
    >>> w.grad
    array([ 1. , -0.5])
    """
    grads, clip_value = _grads(parameters), check_rate("clip_value", clip_value)
    for grad in grads:
        bound = min(clip_value, float(np.finfo(grad.dtype).max))  # else a wider bound would let float32's infinity be
        np.clip(grad, -bound, bound, out=grad)


def _grads(parameters: Iterable[Parameter]) -> list[np.ndarray]:
    """The gradients that the next step will use."""
    grads = [p.grad for p in unique_parameters(parameters) if p.trainable and p.grad is not None]
    for grad in grads:
        if not isinstance(grad, np.ndarray) or grad.dtype.kind != "f":
            kind = f"an ndarray of {grad.dtype}" if isinstance(grad, np.ndarray) else type(grad).__name__
            raise TypeError(f"grad must be an ndarray of floats, got {kind}")
        if not grad.flags.writeable:
            raise ValueError("grad must be writable, got a read-only array")
    return grads


def _divide(grad: np.ndarray, root: float, scale: float, max_norm: float) -> None:
    """Multiply by ``max_norm / (root * scale + 1e-6)`` in place, although the factor may be too small for the dtype."""
    norm = root * scale + 1e-6
    factor = max_norm / norm
    if factor >= np.finfo(grad.dtype).tiny or not max_norm or not (math.isfinite(root) and math.isfinite(scale)):
        grad *= factor
        return
    mantissa, exponent = math.frexp(norm)
    if norm == math.inf:
        (a, i), (b, j) = math.frexp(root), math.frexp(scale)
        mantissa, exponent = a * b, i + j
    np.ldexp(grad, -exponent, out=grad)
    grad *= max_norm / mantissa
