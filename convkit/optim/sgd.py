"""Gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..nn.module import Parameter
from .optimizer import Optimizer, check_rate


class SGD(Optimizer):
    """Gradient descent: stochastic, mini-batch or whole-batch, depending only on what it is fed.

    Parameters
    ----------
    parameters : iterable of Parameter
        ``model.parameters()``.
    lr : float
        Learning rate, >= 0; an attribute that may be set between steps.
    momentum : float, default 0
        In [0, 1).
    weight_decay : float, default 0
        L2 penalty: this times the parameter is added to its gradient.
    nesterov : bool, default False
        Look ahead: step along ``g + momentum * v`` instead of ``v``.

    Raises
    ------
    ValueError
        If a number is outside its range, or `nesterov` is asked for without momentum.

    Notes
    -----
    Momentum is in PyTorch's form, the learning rate outside the velocity::

        g = grad + weight_decay * w
        v = momentum * v + g              # v = g at the first step
        w = w - lr * (g + momentum * v    if nesterov else    v)

    Other books put lr inside v, or weigh g by 1 - momentum; with a constant lr those are the same steps at another lr.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float,
        momentum: float = 0.0,
        *,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(parameters, lr)
        self.momentum = check_rate("momentum", momentum, below=1)
        self.weight_decay = check_rate("weight_decay", weight_decay)
        self.nesterov = nesterov
        if nesterov and not momentum:
            raise ValueError("momentum must be above 0 where nesterov is True, got 0")

    def update(self, parameter: Parameter, state: dict[str, np.ndarray]) -> None:
        """Take one step for one parameter."""
        step = parameter.grad
        if self.weight_decay:
            step = step + self.weight_decay * parameter.data
        if self.momentum:
            velocity = state.setdefault("velocity", np.zeros_like(step))
            velocity *= self.momentum
            velocity += step
            step = step + self.momentum * velocity if self.nesterov else velocity
        parameter.data -= self.lr * step
