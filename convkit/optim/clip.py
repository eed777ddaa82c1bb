"""Gradient clipping: between backward and step, and only where it is called."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..nn.module import Parameter
from .optimizer import check_rate, unique_parameters

_PIECE = 1 << 17


def clip_grad_norm(
    parameters: Iterable[Parameter], max_norm: float, *, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients together, in place, so that their joint norm does not exceed `max_norm`.

    Parameters
    ----------
    parameters : iterable of Parameter
        ``model.parameters()``; those without a gradient are passed over.
    max_norm : float
        >= 0; infinity only measures.
    norm_type : float, default 2
        Which p-norm of all gradients taken as one vector; infinity is their largest magnitude.
    error_if_nonfinite : bool, default False
        Whether a norm that is infinite or NaN is an error; else it goes through the formula as in PyTorch.

    Returns
    -------
    float
        The norm before, summed in float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or range.
    FloatingPointError
        If the norm is not finite and `error_if_nonfinite`; the gradients are as they were.

    Notes
    -----
    The factor is ``min(1, max_norm / (norm + 1e-6))``, PyTorch's.
    """
    parameters = unique_parameters(parameters)
    if max_norm != math.inf:
        max_norm = check_rate("max_norm", max_norm)
    if not norm_type > 0:
        raise ValueError(f"norm_type must be above 0, got {norm_type!r}")
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = _norm(grads, norm_type)
    if error_if_nonfinite and not math.isfinite(norm):
        raise FloatingPointError(f"clip_grad_norm: the gradients' norm is {norm}")
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1:  # a NaN is not, and shows
        for grad in grads:
            grad *= factor
    return norm


def clip_grad_value(parameters: Iterable[Parameter], clip_value: float) -> None:
    """Bring every element of the gradients, in place, into ``[-clip_value, clip_value]``.

    Parameters
    ----------
    parameters : iterable of Parameter
        ``model.parameters()``; those without a gradient are passed over.
    clip_value : float
        >= 0. A NaN stays.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or range.
    """
    parameters, clip_value = unique_parameters(parameters), check_rate("clip_value", clip_value)
    for parameter in parameters:
        if parameter.grad is not None:
            np.clip(parameter.grad, -clip_value, clip_value, out=parameter.grad)


def _norm(grads: list[np.ndarray], p: float) -> float:
    """Return the p-norm of all elements, in float64 and in pieces that stay in cache."""
    pieces = (
        flat[i : i + _PIECE].astype(np.float64)
        for flat in (grad.reshape(-1) for grad in grads)
        for i in range(0, flat.size, _PIECE)
    )
    if p == math.inf:
        return float(np.max([np.abs(piece).max() for piece in pieces], initial=0.0))  # a NaN is the largest
    if p == 2:
        return math.sqrt(sum(float(np.square(piece, out=piece).sum()) for piece in pieces))
    return sum(float((np.abs(piece) ** p).sum()) for piece in pieces) ** (1 / p)
