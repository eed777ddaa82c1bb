"""What every optimizer is made of."""

from __future__ import annotations

import copy
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._arrays import writable
from ..nn.module import Parameter
from ._settings import Settings, check_rate
from ._state import check_keys, check_mapping, take_array, take_number
from .descent import check_fit

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


class Optimizer(Settings, ABC):
    """Base of the optimizers: holds the parameters, walks over those that learn, saves and resumes.

    An optimizer is a constructor, two lists and an `update` of one parameter: `numbers` names the attributes that
    `state_dict` saves, each with the bound it must stay below, and `arrays` what is remembered of each parameter
    between steps, arrays of its shape that start from zeros. Where a number of 0 switches one of them off, `resting`
    says so: it need not be there then.

    Parameters
    ----------
    parameters : iterable of Parameter
        ``model.parameters()``.
    **numbers : float
        ``lr`` and the others that the class lists; each at least 0 and below its bound.

    Attributes
    ----------
    lr : float
        Learning rate, see `convkit.optim.schedules`. It and all other `numbers` may be set between steps; what is no
        such number is refused then and there.

    Raises
    ------
    TypeError
        If `parameters` holds something else, or a number is none.
    ValueError
        If there are no parameters, or a number is outside its range.

    Notes
    -----
    Arithmetic is that of the parameter's dtype: a step past its range is infinite, and an infinite gradient makes its
    parameter infinite or NaN, which is not hidden. Where gradients are divided by the root of a mean of their squares
    (Adam, RMSprop), the squares have to fit: a finite gradient whose magnitude is above 2^63, about 9.2e18 (float64:
    2^511, 6.7e153), counts as that large, so that its first step is as long as that of any other; a root of 0 counts as
    2^-63 (2^-511), so that with ``eps=0`` a gradient of 0 moves nothing.
    """

    numbers: dict[str, float] = {"lr": math.inf}
    fixed: tuple[str, ...] = ("parameters",)
    lr: float

    def __init__(self, parameters: Iterable[Parameter], **numbers: float) -> None:
        self.parameters = unique_parameters(parameters)
        for name in self.numbers:
            setattr(self, name, numbers[name])
        self.state: list[dict[str, Any]] = [{} for _ in self.parameters]

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = [{name: writable(value) for name, value in each.items()} for each in state["state"]]
        vars(self).update(state | {"state": own})

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that are remembered of each parameter."""
        return ()

    @property
    def totals(self) -> tuple[str, ...]:
        """Names of the numbers that are remembered of each parameter, and start from 0."""
        return ()

    @property
    def resting(self) -> tuple[str, ...]:
        """Which of these names a step does not use while the `numbers` are what they are, nor change."""
        return ()

    @abstractmethod
    def update(self, parameter: Parameter, state: dict[str, Any]) -> None:
        """Change one parameter in place by its gradient.

        `state` has the `arrays` and `totals` that do not rest, and "steps", the number of this parameter's updates, 1
        at the first.
        """

    def step(self) -> None:
        """Update every parameter that learns and has a gradient.

        Raises
        ------
        RuntimeError
            If no parameter has one.
        TypeError, ValueError
            If a gradient or what is remembered of a parameter does not fit it, a parameter is read-only, or a number is
            more than its dtype can hold. Nothing has changed then.
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
        arrays = self.arrays
        for parameter, state in ready:
            check_fit(parameter.data, parameter.grad, {name: state[name] for name in arrays if name in state})
        self._check_numbers(parameter.dtype for parameter, _ in ready)
        used = self._used()
        new = [_missing(parameter, state, *used) for parameter, state in ready]  # all memory before the first change
        for (parameter, state), more in zip(ready, new, strict=True):
            state |= more
            state["steps"] += 1
            parameter.version += 1
            self.update(parameter, state)

    def _check_numbers(self, dtypes: Iterable[np.dtype]) -> None:
        """Raise if a number would be infinite in one of these dtypes: infinity times 0 is NaN."""
        large = {name: getattr(self, name) for name in self.numbers if getattr(self, name) > _LARGEST_FLOAT32}
        if large and any(dtype == np.float32 for dtype in dtypes):
            name, value = next(iter(large.items()))
            raise ValueError(f"{name} must be a number that float32, the parameters' dtype, can hold, got {value:g}")

    def _used(self) -> tuple[list[str], list[str]]:
        """The arrays and the totals that do not rest."""
        resting = self.resting
        return tuple([name for name in names if name not in resting] for names in (self.arrays, self.totals))

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
        used = self._used()
        for i, (parameter, own) in enumerate(zip(self.parameters, self.state, strict=True)):
            if own:
                own |= _missing(parameter, own, *used)  # zeros where a number was set since: it starts from them
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
            If names or shapes disagree, a number is outside its range, or the parameter's dtype cannot hold a value.
        """
        loaded = copy.copy(self)
        check_mapping(state)
        if all(name in state for name in self.numbers):  # what rests, and so may be missing, depends on them
            for name in self.numbers:
                setattr(loaded, name, take_number(state, name))
        each = ["steps", *itertools.chain(*loaded._used())]
        started = check_keys(state, self.numbers, each, len(self.parameters), optional=loaded.resting)
        new: list[dict[str, Any]] = [{} for _ in self.parameters]
        for i in started:
            parameter = self.parameters[i]
            new[i]["steps"] = take_number(state, f"{i}.steps", int)
            for name in self.arrays:
                if f"{i}.{name}" in state:
                    new[i][name] = take_array(state, f"{i}.{name}", parameter.shape, parameter.dtype)
            for name in self.totals:
                if f"{i}.{name}" in state:
                    new[i][name] = check_rate(f"state['{i}.{name}']", take_number(state, f"{i}.{name}"))
        vars(self).update({name: getattr(loaded, name) for name in self.numbers}, state=new)


def _missing(parameter: Parameter, state: dict[str, Any], arrays: list[str], totals: list[str]) -> dict[str, Any]:
    """What has to be remembered of a parameter and is not yet: all at its first step, some where a number was set."""
    more = {} if "steps" in state else {"steps": 0}
    more |= {name: np.zeros(parameter.shape, parameter.dtype) for name in arrays if name not in state}
    return more | {name: 0.0 for name in totals if name not in state}


def unique_parameters(parameters: Iterable[Parameter]) -> list[Parameter]:
    """List parameters, each once; at least one."""
    unique = list({id(parameter): parameter for parameter in parameters}.values())
    if not unique:
        raise ValueError("parameters must be at least one, got none")
    for parameter in unique:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"parameters must be Parameters, got a {type(parameter).__name__}")
    return unique
