"""Penalties on weights: what the objective has besides the data's loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..._limits import share
from ..._options import flag
from ..._range import p_norm
from .._gradients import whole
from ..module import Module
from ..parameter import Parameter
from ._common import check_number


class Penalty(NamedTuple):
    """A penalty and its gradients, apart from the loss; the objective is ``loss.value + penalty.value``.

    `grads` pairs each parameter with the penalty's gradient with respect to it, of its shape and dtype. What is past
    the range of float64 (the value) or of the dtype (a gradient) is infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> layer = nn.Linear(3, 2, rng=0)
    >>> penalty = nn.losses.l2_penalty(layer, 0.1)
    >>> penalty.backward()
    >>> bool(np.allclose(layer.weight.grad, 0.2 * layer.weight.data)), layer.bias.grad
    (True, None)
    """

    value: float
    grads: list[tuple[Parameter, np.ndarray]]

    def backward(self) -> None:
        """Add the gradients to the parameters' `grad`; to be called once, after the model's backward or before."""
        whole(self._add)

    def _add(self) -> None:
        for parameter, grad in self.grads:
            parameter.accumulate(grad)


def l1_penalty(model: Module, strength: float, *, biases: bool = False) -> Penalty:
    """Sum of the weights' magnitudes, ``strength * sum(|w|)``, whose gradient is ``strength * sign(w)``.

    Of infinite weights it is infinite; with a strength of 0 it and its gradient are 0 even then.

    Parameters
    ----------
    model : Module
        Its parameters that learn are penalised, each once.
    strength : float
        lambda, at least 0.
    biases : bool, default False
        Whether parameters called ``bias`` are penalised too.

    Returns
    -------
    Penalty

    Raises
    ------
    TypeError
        If `model` is not a Module, or `strength` no number.
    ValueError
        If `strength` is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> layer = nn.Linear(3, 2)
    >>> layer.weight.data = np.float32([[1, -2, 0], [0, 0, 3]])
    >>> value, [(parameter, grad)] = nn.losses.l1_penalty(layer, 0.5)
    >>> value, grad
    (3.0, array([[ 0.5, -0.5,  0. ],
           [ 0. ,  0. ,  0.5]], dtype=float32))
    """
    return _penalty(model, strength, biases, 1, lambda w, k: share(k, np.sign(w)))


def l2_penalty(model: Module, strength: float, *, biases: bool = False) -> Penalty:
    """Sum of the weights' squares, ``strength * sum(w^2)``, whose gradient is ``2 * strength * w``.

    An optimizer's ``weight_decay`` (the L2 one, not the decoupled) of ``2 * strength`` takes the same steps without
    reporting a value, biases included. Infinite weights are as in `l1_penalty`.

    Parameters
    ----------
    model, strength, biases
        As of `l1_penalty`.

    Returns
    -------
    Penalty

    Raises
    ------
    TypeError, ValueError
        As `l1_penalty`.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> layer = nn.Linear(3, 2)
    >>> layer.weight.data = np.float32([[1, -2, 0], [0, 0, 3]])
    >>> value, [(parameter, grad)] = nn.losses.l2_penalty(layer, 0.5)
    >>> value, grad
    (7.0, array([[ 1., -2.,  0.],
           [ 0.,  0.,  3.]], dtype=float32))
    """
    return _penalty(model, strength, biases, 2, lambda w, k: share(2 * k, w))


def _penalty(
    model: Module,
    strength: float,
    biases: bool,
    p: int,
    slope: Callable[[np.ndarray, float], np.ndarray],
) -> Penalty:
    """The p-th power of the weights' p-norm times `strength`, whose gradient is `slope`."""
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    strength = check_number("strength", strength, "of at least 0", lambda number: number >= 0)
    biases = flag(biases, "biases")
    chosen = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.trainable and (biases or name.rpartition(".")[2] != "bias")
    ]
    root, scale = p_norm([parameter.data for parameter in chosen], p) if strength else (0.0, 0.0)
    value = strength
    for _ in range(p):  # the strength first: the power alone may overflow
        value *= scale
        value *= root
    return Penalty(value, [(parameter, slope(parameter.data, strength)) for parameter in chosen])
