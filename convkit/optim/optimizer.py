"""What every optimizer is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np

from ..nn.module import Parameter


class Optimizer(ABC):
    """Base of the optimizers: holds the parameters, walks over those that learn.

    An optimizer is a constructor and an `update` of one parameter. What it remembers of a parameter between steps lives
    in the dict that `update` is given, empty at first.

    Parameters
    ----------
    parameters : iterable of Parameter
        ``model.parameters()``.
    lr : float
        Learning rate, >= 0. An attribute that may be set between steps.

    Raises
    ------
    TypeError
        If `parameters` holds something else.
    ValueError
        If there are no parameters, or `lr` is negative or not finite.
    """

    def __init__(self, parameters: Iterable[Parameter], lr: float) -> None:
        self.parameters = list({id(parameter): parameter for parameter in parameters}.values())
        if not self.parameters:
            raise ValueError("parameters must be at least one, got none")
        for parameter in self.parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"parameters must be Parameters, got a {type(parameter).__name__}")
        self.lr = check_rate("lr", lr)
        self.state: list[dict[str, np.ndarray]] = [{} for _ in self.parameters]

    @abstractmethod
    def update(self, parameter: Parameter, state: dict[str, np.ndarray]) -> None:
        """Change one parameter in place by its gradient."""

    def step(self) -> None:
        """Update every parameter that learns and has a gradient.

        Raises
        ------
        RuntimeError
            If no parameter has one.
        """
        ready = [
            pair
            for pair in zip(self.parameters, self.state, strict=True)
            if pair[0].trainable and pair[0].grad is not None
        ]
        if not ready:
            raise RuntimeError(
                f"{type(self).__name__}.step: no parameter has a gradient; "
                "call model(x) and model.backward(loss.grad) first (and check that not everything is frozen)"
            )
        for parameter, state in ready:
            self.update(parameter, state)

    def zero_grad(self) -> None:
        """Forget the parameters' gradients."""
        for parameter in self.parameters:
            parameter.grad = None


def check_rate(name: str, value: float, below: float = np.inf) -> float:
    """Return `value` if it is a number in [0, below), else raise ValueError."""
    if not 0 <= value < below:
        raise ValueError(f"{name} must be a number in [0, {below}), got {value!r}")
    return float(value)
