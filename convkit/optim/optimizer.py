"""What every optimizer is made of."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._arrays import writable
from ..nn.module import Parameter
from ._state import check_keys, take_array, take_number
from .descent import check_fit


class Optimizer(ABC):
    """Base of the optimizers: holds the parameters, walks over those that learn, saves and resumes.

    An optimizer is a constructor, two lists and an `update` of one parameter: `numbers` names the attributes that
    `state_dict` saves, each with the bound it must stay below, and `arrays` what is remembered of each parameter
    between steps, arrays of its shape that start from zeros.

    Parameters
    ----------
    parameters : iterable of Parameter
        ``model.parameters()``.
    **numbers : float
        ``lr`` and the others that the class lists; each at least 0 and below its bound.

    Attributes
    ----------
    lr : float
        Learning rate; may be set between steps, see `convkit.optim.schedules`.

    Raises
    ------
    TypeError
        If `parameters` holds something else, or a number is none.
    ValueError
        If there are no parameters, or a number is outside its range.
    """

    numbers: dict[str, float] = {"lr": math.inf}
    lr: float

    def __init__(self, parameters: Iterable[Parameter], **numbers: float) -> None:
        self.parameters = unique_parameters(parameters)
        for name, below in self.numbers.items():
            setattr(self, name, check_rate(name, numbers[name], below))
        self.state: list[dict[str, Any]] = [{} for _ in self.parameters]

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = [{name: writable(value) for name, value in each.items()} for each in state["state"]]
        vars(self).update(state | {"state": own})

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that are remembered of each parameter."""
        return ()

    @abstractmethod
    def update(self, parameter: Parameter, state: dict[str, Any]) -> None:
        """Change one parameter in place by its gradient.

        `state` has the `arrays`, and "steps", the number of this parameter's updates, 1 at the first.
        """

    def step(self) -> None:
        """Update every parameter that learns and has a gradient.

        Raises
        ------
        RuntimeError
            If no parameter has one.
        TypeError, ValueError
            If `lr` has been set to what is no rate, or a gradient or what is remembered of a parameter does not fit it.
            Nothing has changed then.
        """
        check_rate("lr", self.lr)
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
            check_fit(parameter.data, parameter.grad, {name: state[name] for name in self.arrays if state})
        for parameter, state in ready:
            if not state:
                state |= {"steps": 0} | {name: np.zeros(parameter.shape, parameter.dtype) for name in self.arrays}
            state["steps"] += 1
            self.update(parameter, state)

    def zero_grad(self) -> None:
        """Forget the parameters' gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return all that the next steps depend on, besides the parameters themselves.

        Returns
        -------
        dict of str to ndarray
            The `numbers` by name, as arrays of no axes, and for the parameter at index i that has been updated
            ``"i.steps"`` and its `arrays`, such as ``"i.velocity"``: the optimizer's own, not copies. It goes as it is
            into ``np.savez(file, **state)`` or a safetensors file.
        """
        state = {name: np.array(getattr(self, name), np.float64) for name in self.numbers}
        for i, own in enumerate(self.state):
            state |= {f"{i}.{name}": np.asarray(value) for name, value in own.items()}
        return state

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state_dict` returned, of an optimizer of the same kind over the same parameters.

        From there the steps have the same bits as if there had been no interruption. The numbers (`lr` and the others)
        are taken over too, as in PyTorch. Everything is checked first: after an error nothing has changed.

        Parameters
        ----------
        state : mapping of str to array
            Its arrays are copied; float32 and float64 are converted into each other.

        Raises
        ------
        TypeError
            If `state` is not a mapping, or a value has another dtype.
        ValueError
            If names or shapes disagree, or a number is outside its range.
        """
        started = check_keys(state, self.numbers, ("steps", *self.arrays), len(self.parameters))
        numbers = {name: check_rate(name, take_number(state, name), below) for name, below in self.numbers.items()}
        new: list[dict[str, Any]] = [{} for _ in self.parameters]
        for i in started:
            parameter = self.parameters[i]
            new[i]["steps"] = take_number(state, f"{i}.steps", int)
            for name in self.arrays:
                new[i][name] = take_array(state, f"{i}.{name}", parameter.shape, parameter.dtype)
        vars(self).update(numbers)
        self.state = new


def unique_parameters(parameters: Iterable[Parameter]) -> list[Parameter]:
    """List parameters, each once; at least one."""
    unique = list({id(parameter): parameter for parameter in parameters}.values())
    if not unique:
        raise ValueError("parameters must be at least one, got none")
    for parameter in unique:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"parameters must be Parameters, got a {type(parameter).__name__}")
    return unique


def check_rate(name: str, value: float, below: float = math.inf) -> float:
    """Return `value` if it is a number in [0, below), else raise."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number in [0, {below:g}), got {value!r} of type {type(value).__name__}")
    if not 0 <= value < below:
        raise ValueError(f"{name} must be a number in [0, {below:g}), got {value!r}")
    return float(value)
