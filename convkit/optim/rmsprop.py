"""RMSprop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..nn.module import Parameter
from .descent import Descent
from .optimizer import DescendingOptimizer, Parameters


class RMSprop(DescendingOptimizer):
    """Gradient descent, each gradient divided by the root of its moving mean square (Tieleman and Hinton, 2012).

    Parameters
    ----------
    parameters : iterable of Parameter, or of dicts
        ``model.parameters()``, or groups, see `Optimizer`.
    lr : float, default 0.01
        Learning rate, >= 0. It and all numbers below are attributes that may be set between steps.
    alpha : float, default 0.99
        How long the mean square remembers, in [0, 1).
    eps : float, default 1e-8
        Added to the root, so that nothing is divided by zero.
    momentum : float, default 0
        In [0, 1); applied after the division, in PyTorch's form. While it is 0, v below rests, as in `SGD`.
    weight_decay : float, default 0
        L2 penalty: this times the parameter is added to its gradient.
    decoupled_weight_decay : float, default 0
        Shrink the parameter itself by ``lr`` times this, past the gradient.

    Raises
    ------
    TypeError
        If `parameters` holds something else, or a number is none.
    ValueError
        If a number is outside its range.

    Notes
    -----
    With ``g = grad + weight_decay * w``, s and v zero at first::

        s = alpha * s + (1 - alpha) * g^2
        v = momentum * v + g / (sqrt(s) + eps)
        w = w - lr * v

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn, optim
    >>> w = nn.Parameter(np.array([1.0, 1.0]))
    >>> optimizer = optim.RMSprop([w], lr=0.01, alpha=0.99)
    >>> w.grad = np.array([1e-3, 1e3])
    >>> optimizer.step()
    >>> w.data.round(3)  # lr / sqrt(1 - alpha), whatever the gradient
    array([0.9, 0.9])
    """

    numbers = {
        "lr": math.inf,
        "alpha": 1.0,
        "eps": math.inf,
        "momentum": 1.0,
        "weight_decay": math.inf,
        "decoupled_weight_decay": math.inf,
    }

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        decoupled_weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            parameters,
            lr=lr,
            alpha=alpha,
            eps=eps,
            momentum=momentum,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    @property
    def arrays(self) -> tuple[str, ...]:
        """The mean square and the velocity."""
        return ("square", "velocity")

    @property
    def resting(self) -> tuple[str, ...]:
        """The velocity, where there is no momentum."""
        return () if self.momentum else ("velocity",)

    def descent(self, parameter: Parameter, grad: np.ndarray, state: dict[str, Any]) -> Descent:
        """The step of one parameter."""
        return Descent(
            parameter.data,
            grad,
            m=state["velocity"] if self.momentum else None,
            s=state["square"],
            rate=self.lr,
            keep=1 - self.lr * self.decoupled_weight_decay,
            l2=self.weight_decay,
            m_keep=self.momentum,
            s_keep=self.alpha,
            s_take=1 - self.alpha,
            eps=self.eps,
            s_first=True,
        )
