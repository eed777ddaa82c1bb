"""Gradient descent with momentum."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._options import flag, one_of
from ..nn.module import Parameter
from .descent import Descent
from .optimizer import DescendingOptimizer, Optimizer, Parameters

# What each form of momentum remembers. The names differ because the arrays mean different things: the state of one form
# is not to be taken for another's.
_MEMORY = {"pytorch": "velocity", "classic": "displacement", "ewma": "average"}


class SGD(DescendingOptimizer):
    """Gradient descent: stochastic, mini-batch or whole-batch, depending only on what it is fed.

    Parameters
    ----------
    parameters : iterable of Parameter, or of dicts
        ``model.parameters()``, or groups, see `Optimizer`.
    lr : float
        Learning rate, >= 0. It, `momentum` and both decays are attributes that may be set between steps.
    momentum : float, default 0
        In [0, 1); the larger, the longer past gradients count. While it is 0, v below rests, neither used nor changed;
        it starts from zero at the first step with momentum.
    form : {"pytorch", "classic", "ewma"}
        Which of the formulas below momentum follows.
    nesterov : bool, default False
        Look ahead: take the gradient as if the momentum's step had been taken already. Not with "ewma".
    bias_correction : bool, default True
        With "ewma": divide the average, which starts from zero, by what its weights have added up to so far.
        It, `form` and `nesterov` are read-only once given.
    weight_decay : float, default 0
        L2 penalty: this times the parameter is added to its gradient, and so goes through the momentum.
    decoupled_weight_decay : float, default 0
        Shrink the parameter itself by ``lr`` times this, past gradient and momentum (Loshchilov and Hutter, 2019).
        Without momentum that is the same as `weight_decay`.

    Raises
    ------
    TypeError
        If `parameters` holds something else, or a number is none.
    ValueError
        If a number is outside its range, `form` is unknown, or `nesterov` is asked for without momentum or with "ewma".

    Notes
    -----
    With ``g = grad + weight_decay * w``, and v zero at first::

        pytorch                          v = momentum * v + g
                                         w = w - lr * v
                            nesterov:    w = w - lr * (g + momentum * v)

        classic                          v = momentum * v - lr * g
                                         w = w + v
                            nesterov:    w = w + momentum * v - lr * g

        ewma                             v = momentum * v + (1 - momentum) * g
                                         t = momentum * t + (1 - momentum)           t zero at first
                                         w = w - lr * v / t
                            uncorrected: w = w - lr * v

    With a constant lr, "classic" takes the steps of "pytorch", and uncorrected "ewma" those of "pytorch" at
    ``lr * (1 - momentum)``. When lr changes, "classic" carries the old rate on inside v. "pytorch" is what
    ``torch.optim.SGD`` does, "classic" the heavy ball (Polyak, 1964; nesterov as in Sutskever et al., 2013), "ewma" the
    exponentially weighted moving average, corrected as in Adam (Kingma and Ba, 2015).

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn, optim
    >>> w = nn.Parameter(np.array([1.0]))
    >>> optimizer = optim.SGD([w], lr=0.1, momentum=0.9)
    >>> for _ in range(3):
    ...     w.grad = np.array([1.0])
    ...     optimizer.step()
    ...     print(w.data.round(3))
    [0.9]
    [0.71]
    [0.439]
    """

    fixed = (*Optimizer.fixed, "form", "nesterov", "bias_correction")
    numbers = {"lr": math.inf, "momentum": 1.0, "weight_decay": math.inf, "decoupled_weight_decay": math.inf}

    def __init__(
        self,
        parameters: Parameters,
        lr: float,
        momentum: float = 0.0,
        *,
        form: str = "pytorch",
        nesterov: bool = False,
        bias_correction: bool = True,
        weight_decay: float = 0.0,
        decoupled_weight_decay: float = 0.0,
    ) -> None:
        one_of(form, _MEMORY, "form")
        nesterov, bias_correction = flag(nesterov, "nesterov"), flag(bias_correction, "bias_correction")
        super().__init__(
            parameters,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
        )
        if nesterov and not momentum:
            raise ValueError("momentum must be above 0 where nesterov is True, got 0")
        if nesterov and form == "ewma":
            raise ValueError("form must be 'pytorch' or 'classic' where nesterov is True, got 'ewma'")
        self.form, self.nesterov, self.bias_correction = form, nesterov, bias_correction

    @property
    def arrays(self) -> tuple[str, ...]:
        """The velocity."""
        return (_MEMORY[self.form],)

    @property
    def totals(self) -> tuple[str, ...]:
        """What the weights of an average add up to."""
        return ("total",) if self.form == "ewma" and self.bias_correction else ()

    @property
    def resting(self) -> tuple[str, ...]:
        """Without momentum, everything."""
        return () if self.momentum else (*self.arrays, *self.totals)

    def descent(self, parameter: Parameter, grad: np.ndarray, state: dict[str, Any]) -> Descent:
        """The step of one parameter."""
        lr, momentum = self.lr, self.momentum
        take, rate = 1.0, lr
        if self.form == "classic" and momentum:
            take, rate = -lr, -1.0
        elif self.form == "ewma" and momentum:
            take = 1 - momentum
            if self.bias_correction:
                state["total"] = momentum * state["total"] + take
                rate = lr / state["total"]
        return Descent(
            parameter.data,
            grad,
            m=state[_MEMORY[self.form]] if momentum else None,
            rate=rate,
            keep=1 - lr * self.decoupled_weight_decay,
            l2=self.weight_decay,
            m_keep=momentum,
            m_take=take,
            look=momentum if self.nesterov else 1.0,
            ahead=take if self.nesterov else 0.0,
        )
