"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._words import brief
from ..nn.module import Parameter
from ._settings import check_rate
from .descent import Descent
from .optimizer import DescendingOptimizer, Parameters


class _Adam(DescendingOptimizer):
    """The part that both share; they differ in where the weight decay goes."""

    numbers = {"lr": math.inf, "beta1": 1.0, "beta2": 1.0, "eps": math.inf, "weight_decay": math.inf}

    def __init__(
        self,
        parameters: Parameters,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        beta1, beta2 = _two(betas)
        super().__init__(parameters, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)

    @property
    def betas(self) -> tuple[float, float]:
        """`beta1` and `beta2`; set together, or each alone."""
        return self.beta1, self.beta2

    @betas.setter
    def betas(self, betas: tuple[float, float]) -> None:
        beta1, beta2 = _two(betas)
        self.beta1, self.beta2 = check_rate("beta1", beta1, 1.0), check_rate("beta2", beta2, 1.0)

    def _spelled(self, own: dict[str, Any]) -> dict[str, Any]:
        """A group's `betas` are two numbers."""
        if "betas" in own:
            own["beta1"], own["beta2"] = _two(own.pop("betas"))
        return own

    @property
    def arrays(self) -> tuple[str, ...]:
        """The moving averages of the gradient and of its square."""
        return ("mean", "square")

    def _decays(self) -> tuple[float, float]:
        """Of `weight_decay`: the penalty that goes through the averages, and what is decoupled from them."""
        return self.weight_decay, 0.0

    def descent(self, parameter: Parameter, grad: np.ndarray, state: dict[str, Any]) -> Descent:
        """The step of one parameter."""
        steps, (penalty, decay) = state["steps"], self._decays()
        return Descent(
            parameter.data,
            grad,
            m=state["mean"],
            s=state["square"],
            rate=self.lr / (1 - self.beta1**steps),
            keep=1 - self.lr * decay,
            l2=penalty,
            m_keep=self.beta1,
            m_take=1 - self.beta1,
            s_keep=self.beta2,
            s_take=1 - self.beta2,
            s_scale=1 / math.sqrt(1 - self.beta2**steps),
            eps=self.eps,
        )


def _two(betas: tuple[float, float]) -> tuple[float, float]:
    """Return `betas` if they are two."""
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise TypeError(f"betas must be two numbers, got {brief(betas)}")
    return betas[0], betas[1]


class Adam(_Adam):
    """Adam (Kingma and Ba, 2015), with an L2 penalty if wanted.

    Parameters
    ----------
    parameters : iterable of Parameter, or of dicts
        ``model.parameters()``, or groups, see `Optimizer`.
    lr : float, default 1e-3
        Learning rate, >= 0. It and all numbers below are attributes that may be set between steps.
    betas : (float, float), default (0.9, 0.999)
        How long the averages of gradient and squared gradient remember, each in [0, 1); as attributes, `beta1` and
        `beta2` too.
    eps : float, default 1e-8
        Added to the root, so that nothing is divided by zero.
    weight_decay : float, default 0
        L2 penalty: this times the parameter is added to its gradient. Adam then divides it by the gradient's size, so
        that parameters with large gradients decay less; `AdamW` does not.

    Raises
    ------
    TypeError
        If `parameters` holds something else, or a number is none.
    ValueError
        If a number is outside its range.

    Notes
    -----
    With ``g = grad + weight_decay * w``, m and s zero at first and t = 1 at the first step::

        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * g^2
        w = w - lr * (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps)

    A beta that is set between steps counts in the powers as if it had always been so, as in PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn, optim
    >>> w = nn.Parameter(np.array([1.0, 1.0]))
    >>> optimizer = optim.Adam([w], lr=0.1)
    >>> w.grad = np.array([1e-3, 1e3])
    >>> optimizer.step()
    >>> w.data.round(3)  # the first step is lr long, whatever the gradient
    array([0.9, 0.9])
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)


class AdamW(_Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Parameters
    ----------
    parameters, lr, betas, eps
        As of `Adam`.
    weight_decay : float, default 0.01
        Decoupled: at each step a parameter first shrinks by ``lr * weight_decay`` of itself, whatever its gradient.
        With this rule, ``w = (1 - lr * weight_decay) * w`` precedes Adam's step, whose gradient has no penalty.

    Raises
    ------
    TypeError
        If `parameters` holds something else, or a number is none.
    ValueError
        If a number is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn, optim
    >>> w = nn.Parameter(np.array([1.0, 10.0]))
    >>> optimizer = optim.AdamW([w], lr=0.1, weight_decay=0.5)
    >>> w.grad = np.zeros(2)
    >>> optimizer.step()
    >>> w.data.round(3)  # shrunk by lr * weight_decay, 5 %
    array([0.95, 9.5 ])
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def _decays(self) -> tuple[float, float]:
        return 0.0, self.weight_decay
