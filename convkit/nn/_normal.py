"""What goes back through normalisation: gradients of weight, bias and input from sums over channels."""

from __future__ import annotations

import numpy as np

from .._options import NO_ACTIVATION
from ..ops import _channels, _moments
from ..ops._channels import Map
from ..ops._elementwise import Code
from ..ops._moments import Standard, quiet
from .parameter import Parameter


@quiet
def accumulate(sums: np.ndarray, weight: Parameter, bias: Parameter | None) -> None:
    """Add to their gradients sums of the output's and of its product with xhat, ``(C, 2)``, once or several times."""
    times = len(sums) // max(weight.size, 1)
    total, product = np.ascontiguousarray(sums.reshape(times, weight.size, 2).sum(axis=0).T, weight.dtype)
    weight.accumulate(product.reshape(weight.shape))
    if bias is not None:
        bias.accumulate(total.reshape(bias.shape))


def go_back(
    grads: np.ndarray,
    planes: np.ndarray,
    by: Standard,
    weight: Parameter | None,
    bias: Parameter | None,
    out: np.ndarray | None,
    activation: Code = NO_ACTIVATION,
    *,
    constant: bool = False,
) -> None:
    """Add to the gradients of weight and bias, where they learn; into `out`, if it is wanted, the input's.

    Where moments are not `constant`, an activation that is no more than bounds may have followed.
    """
    numbers = [each and each.data for each in (weight, bias)]
    product, total = [np.zeros_like(each.data) if each and each.trainable else None for each in (weight, bias)]
    if planes.size:
        of = {"constant": constant, "total": total, "product": product, "out": out}
        _moments.back(grads, planes, by, *numbers, activation, **of)
    if product is not None:
        weight.accumulate(product)
    if total is not None:
        bias.accumulate(total)


@quiet
def input_gradient(
    grads: np.ndarray,
    planes: np.ndarray,
    to_xhat: Map,
    steep: np.ndarray,
    weight: np.ndarray | None,
    sums: np.ndarray,
    out: np.ndarray,
    together: int = 1,
) -> None:
    """Into `out`: ``steep * (grad * weight - mean(grad * weight) - xhat * mean(grad * weight * xhat))``.

    `sums` are those of the gradient and its product with xhat, ``(C, 2)``; so many adjacent channels were normalised
    `together`.
    """
    weight = np.ones(planes.shape[1]) if weight is None else weight
    slope = (steep * weight).astype(out.dtype)
    means = (sums * weight[:, np.newaxis]).reshape(-1, together, 2).sum(axis=1)
    means /= max(planes.shape[0] * planes.shape[2] * together, 1)
    back = (np.repeat(means, together, axis=0) * -steep[:, np.newaxis]).astype(out.dtype)
    _channels.gradient(grads, planes, to_xhat, slope, back[:, 1], back[:, 0], out)
