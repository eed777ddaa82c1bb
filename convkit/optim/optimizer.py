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
from .._options import of_kind
from .._words import brief, with_type
from ..nn.module import Module, Parameter
from ._settings import Settings, check_rate
from ._state import check_keys, check_mapping, take_array, take_number
from .descent import Descent, check_fit, descend, descend_checked

Parameters = Iterable[Parameter] | Iterable[Mapping[str, Any]]
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


class Optimizer(Settings, ABC):
    """Base of the optimizers: holds the parameters, walks over those that learn, saves and resumes.

    An optimizer is a constructor, two lists and an `update` of one parameter: `numbers` names the attributes that
    `state_dict` saves, each with the bound it must stay below, and `arrays` what is remembered of each parameter
    between steps, arrays of its shape that start from zeros. Where a number of 0 switches one of them off, `resting`
    says so: it need not be there then.

    Parameters
    ----------
    parameters : iterable of Parameter, or of dicts
        ``model.parameters()``; or groups, ``[{"params": weights}, {"params": biases, "weight_decay": 0}]``, each with
        numbers of its own and the optimizer's for the rest. See `decay_groups`.
    **numbers : float
        ``lr`` and the others that the class lists; each at least 0 and below its bound.

    Attributes
    ----------
    lr : float
        Learning rate, see `convkit.optim.schedules`. It and all other `numbers` may be set between steps; what is no
        such number is refused then and there.
    groups : list of Group
        One, if no dicts were given.

    Raises
    ------
    TypeError
        If `parameters` holds something else, or a number is none.
    ValueError
        If there are no parameters, one is in two groups, or a number is outside its range.

    Notes
    -----
    Arithmetic is that of the parameter's dtype: a step past its range is infinite, and an infinite gradient makes its
    parameter infinite or NaN, which is not hidden. Where gradients are divided by the root of a mean of their squares
    (Adam, RMSprop), the squares have to fit: a finite gradient whose magnitude is above 2^63, about 9.2e18 (float64:
    2^511, 6.7e153), counts as that large, so that its first step is as long as that of any other; a root of 0 counts as
    2^-63 (2^-511), so that with ``eps=0`` a gradient of 0 moves nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn, optim
    >>> class SignDescent(optim.Optimizer):
    ...     def update(self, parameter, state):
    ...         parameter.data -= self.lr * np.sign(parameter.grad)
    >>> w = nn.Parameter(np.array([1.0, 1.0]))
    >>> w.grad = np.array([5.0, -0.2])
    >>> SignDescent([w], lr=0.1).step()
    >>> w.data
    array([0.9, 1.1])
    """

    numbers: dict[str, float] = {"lr": math.inf}
    fixed: tuple[str, ...] = ("parameters", "groups")
    lr: float

    def __init__(self, parameters: Parameters, **numbers: float) -> None:
        for name in self.numbers:
            setattr(self, name, numbers[name])
        self.groups = self._grouped(_listed(parameters))
        self.parameters = unique_parameters(parameter for group in self.groups for parameter in group.parameters)
        if len(self.parameters) != sum(len(group.parameters) for group in self.groups):
            raise ValueError("parameters must each be in one group, got one that is in two")
        self.state: list[dict[str, Any]] = [{} for _ in self.parameters]

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = [{name: writable(value) for name, value in each.items()} for each in state["state"]]
        vars(self).update(state | {"state": own})

    def _grouped(self, parameters: list[Any]) -> list[Group]:
        """Groups of what the constructor was given."""
        if not any(isinstance(entry, Mapping) for entry in parameters):
            return [Group(unique_parameters(parameters), {}, self.numbers)]
        groups = []
        for entry in parameters:
            if not isinstance(entry, Mapping) or "params" not in entry:
                raise TypeError(f"parameters must be Parameters, or dicts with 'params', got {brief(entry)}")
            own = self._spelled({name: value for name, value in entry.items() if name != "params"})
            if own.keys() - self.numbers.keys():
                names = ", ".join(["params", *self.numbers])
                raise ValueError(
                    f"a group must have some of {names}, got {', '.join(own.keys() - self.numbers.keys())}"
                )
            if "lr" in own:
                rate = check_rate("lr", own.pop("lr"))
                if not self.lr:
                    raise ValueError("lr must be above 0 where a group has its own, got 0")
                own["lr_scale"] = rate / self.lr
            members = entry["params"]
            members = [members] if isinstance(members, Parameter) else list(members)
            groups.append(Group(members and unique_parameters(members), own, self.numbers))
        return groups

    def _spelled(self, own: dict[str, Any]) -> dict[str, Any]:
        """A group's numbers under the names of `numbers`."""
        return own

    def _views(self) -> list[Optimizer]:
        """For each parameter the optimizer with the numbers of its group."""
        views = []
        for group in self.groups:
            view = self
            own = group.numbers
            if own:
                view = object.__new__(type(self))
                vars(view).update(vars(self) | own, lr=self.lr * own.get("lr_scale", 1.0))
            views += [view] * len(group.parameters)
        return views

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
            each
            for each in zip(self._views(), self.parameters, self.state, strict=True)
            if each[1].trainable and each[1].grad is not None
        ]
        if not ready:
            raise RuntimeError(
                f"{type(self).__name__}.step: no parameter has a gradient; "
                "call model(x) and model.backward(loss.grad) first (and check that not everything is frozen)"
            )
        arrays, used = self.arrays, {}
        grads, new = [], []  # all memory before the first change
        for view, parameter, state in ready:
            memory = {name: state[name] for name in arrays if name in state}
            grads.append(check_fit(parameter.data, parameter.grad, memory))
            kind = id(view), parameter.data.dtype
            if kind not in used:
                view._check_numbers(parameter.data.dtype)
                used[kind] = view._used()
            new.append(_missing(parameter, state, *used[kind]))
        for (_, parameter, state), more in zip(ready, new, strict=True):
            state |= more
            state["steps"] += 1
            parameter.version += 1
        self._update_all(ready, grads)

    def _update_all(self, ready: list[tuple[Any, Parameter, dict[str, Any]]], grads: list[np.ndarray]) -> None:
        """Change parameters, each by the optimizer with its numbers; these are their gradients, once checked."""
        for view, parameter, state in ready:
            view.update(parameter, state)

    def _check_numbers(self, dtype: np.dtype) -> None:
        """Raise if a number would be infinite in this dtype: infinity times 0 is NaN."""
        if dtype != np.float32:
            return
        for name in self.numbers:
            value = getattr(self, name)
            if value > _LARGEST_FLOAT32:
                raise ValueError(
                    f"{name} must be a number that float32, the parameters' dtype, can hold, got {value:g}"
                )

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
            The `numbers` by name, as arrays of no axes; those that the group at index k has of its own, as
            ``"groups.k.weight_decay"``; and for the parameter at index i that has been updated ``"i.steps"`` and its
            `arrays`, such as ``"i.velocity"``: the optimizer's own, not copies. It goes as it is into
            ``np.savez(file, **state)`` or a safetensors file.
        """
        state = {name: np.array(getattr(holder, own), np.float64) for name, holder, own in self._all_numbers()}
        for i, (view, parameter, own) in enumerate(zip(self._views(), self.parameters, self.state, strict=True)):
            if own:  # where a number was set since, it starts from zeros
                own |= _missing(parameter, own, *view._used())
            state |= {f"{i}.{name}": np.asarray(value) for name, value in own.items()}
        return state

    def _all_numbers(self) -> list[tuple[str, Settings, str]]:
        """Every number of the optimizer and its groups: its name in the state, what has it, and its name there."""
        of_groups = [
            (f"groups.{k}.{name}", group, name) for k, group in enumerate(self.groups) for name in group.numbers
        ]
        return [*((name, self, name) for name in self.numbers), *of_groups]

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
        check_mapping(state)
        loaded = object.__new__(type(self))
        vars(loaded).update(vars(self) | {"groups": [copy.copy(group) for group in self.groups]})
        numbers = loaded._all_numbers()
        for name, holder, own in numbers:
            if name in state:  # what rests, and so may be missing, depends on them
                setattr(holder, own, take_number(state, name))
        views = loaded._views()
        each = [(["steps", *itertools.chain(*view._used())], view.resting) for view in views]
        started = check_keys(state, [name for name, _, _ in numbers], each)
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
        for (_, mine, name), (_, holder, _) in zip(self._all_numbers(), numbers, strict=True):
            setattr(mine, name, getattr(holder, name))
        self.state = new


class DescendingOptimizer(Optimizer):
    """Base of optimizers whose update is a `Descent`: all parameters take theirs in one call of the engine."""

    @abstractmethod
    def descent(self, parameter: Parameter, grad: np.ndarray, state: dict[str, Any]) -> Descent:
        """The step of one parameter, by this gradient; `state` is that of `update`, its totals may be changed."""

    def update(self, parameter: Parameter, state: dict[str, Any]) -> None:
        """Take one step for one parameter."""
        descend([self.descent(parameter, parameter.grad, state)])

    def _update_all(self, ready: list[tuple[Any, Parameter, dict[str, Any]]], grads: list[np.ndarray]) -> None:
        if type(self).update is not DescendingOptimizer.update:  # another's own, which is asked for each
            super()._update_all(ready, grads)
            return
        each = zip(ready, grads, strict=True)
        descend_checked([view.descent(parameter, grad, state) for (view, parameter, state), grad in each])


def _missing(parameter: Parameter, state: dict[str, Any], arrays: list[str], totals: list[str]) -> dict[str, Any]:
    """What has to be remembered of a parameter and is not yet: all at its first step, some where a number was set."""
    if state.keys() >= {"steps", *arrays, *totals}:
        return {}
    more = {} if "steps" in state else {"steps": 0}
    more |= {name: np.zeros(parameter.shape, parameter.dtype) for name in arrays if name not in state}
    return more | {name: 0.0 for name in totals if name not in state}


class Group:
    """Parameters that an optimizer may have numbers of their own for; made by `Optimizer`.

    Attributes
    ----------
    parameters : list of Parameter
    lr_scale : float
        If the group has a rate of its own: its ratio to the optimizer's `lr`, which a schedule changes for all groups.
    weight_decay, momentum, ... : float
        Those of the optimizer's numbers that the group has of its own. Any may be set between steps.

    Examples
    --------
    >>> from convkit import nn, optim
    >>> layer = nn.Linear(3, 2, rng=0)
    >>> groups = [{"params": layer.weight}, {"params": layer.bias, "lr": 0.05, "weight_decay": 0}]
    >>> optimizer = optim.SGD(groups, lr=0.1, weight_decay=1e-4)
    >>> optimizer.groups[1].numbers
    {'weight_decay': 0.0, 'lr_scale': 0.5}
    """

    def __init__(self, parameters: list[Parameter], own: Mapping[str, float], numbers: Mapping[str, float]) -> None:
        bounds = {name: bound for name, bound in numbers.items() if name != "lr"} | {"lr_scale": math.inf}
        vars(self).update(parameters=parameters, _bounds=bounds)
        for name, value in own.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: float) -> None:
        if name not in self._bounds:
            raise AttributeError(f"a group's numbers must be some of {', '.join(self._bounds)}, got {name}")
        vars(self)[name] = check_rate(name, value, self._bounds[name])

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers that it has of its own."""
        return {name: value for name, value in vars(self).items() if name in self._bounds}


def decay_groups(model: Module, number: str = "weight_decay") -> list[dict[str, Any]]:
    """Split a model's parameters into those that weight decay suits and those that are spared.

    Parameters
    ----------
    model : Module
    number : str, default "weight_decay"
        The optimizer's number that is 0 for the second group; "decoupled_weight_decay" of `SGD` and `RMSprop`.

    Returns
    -------
    list of dict
        For an optimizer's `parameters`. Spared are biases, and what has no more than one axis: the weights of
        normalisations, the slopes of `PReLU`; and all that a layer has which normalises (`Module.decays` is False).

    Examples
    --------
    >>> from convkit import nn, optim
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    >>> optimizer = optim.AdamW(optim.decay_groups(model), weight_decay=0.05)
    >>> [len(group.parameters) for group in optimizer.groups], optimizer.groups[1].weight_decay
    ([1, 3], 0.0)
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    of_kind(number, str, "number", "the name of one of the optimizer's numbers")
    spared = {
        id(value)
        for module in model.modules()
        for name, value in vars(module).items()
        if isinstance(value, Parameter) and (name == "bias" or value.data.ndim <= 1 or not module.decays)
    }
    split: tuple[list[Parameter], list[Parameter]] = ([], [])
    for parameter in model.parameters():
        split[id(parameter) in spared].append(parameter)
    return [{"params": split[0]}, {"params": split[1], number: 0.0}]


def _listed(parameters: Iterable[Any]) -> list[Any]:
    """What an argument `parameters` holds."""
    model = callable(getattr(parameters, "parameters", None))
    if model or not isinstance(parameters, Iterable):
        got = f"a {type(parameters).__name__}, whose parameters() are" if model else with_type(parameters)
        raise TypeError(f"parameters must be an iterable of Parameters, got {got}")
    return list(parameters)


def unique_parameters(parameters: Iterable[Parameter]) -> list[Parameter]:
    """List parameters, each once; at least one."""
    unique = list({id(parameter): parameter for parameter in _listed(parameters)}.values())
    if not unique:
        raise ValueError("parameters must be at least one, got none")
    for parameter in unique:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"parameters must be Parameters, got a {type(parameter).__name__}")
    return unique
