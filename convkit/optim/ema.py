"""Shadow weights: the moving average of a model's weights, which often does better than the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._arrays import writable
from .._options import one_of
from .._range import converted
from ..nn.module import Module
from ._settings import Settings, check_rate
from ._state import check_keys, take_number
from .descent import Descent, descend


class EMA(Settings):
    """An exponential moving average of a model's weights, kept beside them.

    Parameters
    ----------
    model : Module
        Whose weights are averaged; they start as the average.
    decay : float, default 0.999
        In [0, 1): at each `update`, ``shadow = decay * shadow + (1 - decay) * weight``. An attribute that may be set
        between updates; `model` and `buffers` are read-only once given.
    buffers : {"average", "copy"}
        What happens to what the model's `state_dict` holds besides parameters, the running statistics of batch
        normalisation above all. Statistics must fit the weights: "average" lets them trail as the weights do; "copy"
        takes the model's present ones, the default of PyTorch's ``AveragedModel``, which have to be computed anew for
        the averages. Integers (numbers of batches) are always copied.

    Attributes
    ----------
    shadow : dict of str to ndarray
        The averages, by the names of the model's `state_dict`.

    Raises
    ------
    TypeError
        If `model` is not a Module, or `decay` no number.
    ValueError
        If `decay` or `buffers` is none of these.

    Notes
    -----
    A weight that is infinite or NaN makes its average so, and no later one takes that back, but for ``decay=0``: the
    averages then are the weights.

    Examples
    --------
    >>> from convkit import nn, optim
    >>> model = nn.Linear(1, 1, init="zeros", dtype="float64")
    >>> ema = optim.EMA(model, decay=0.75)
    >>> model.weight.data += 1  # as optimizer.step() would change it
    >>> ema.update()
    >>> with ema.swapped():
    ...     model.weight.data.item()  # the shadow weight
    0.25
    >>> model.weight.data.item()
    1.0
    """

    numbers = {"decay": 1.0}
    fixed = ("model", "buffers")

    def __init__(self, model: Module, decay: float = 0.999, *, buffers: str = "average") -> None:
        if not isinstance(model, Module):
            raise TypeError(f"model must be a Module, got {type(model).__name__}")
        one_of(buffers, ("average", "copy"), "buffers")
        self.model, self.decay, self.buffers = model, decay, buffers
        self.updates = 0
        self.shadow = _copies(model.state_dict())
        self._swapped = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"shadow": {name: writable(value) for name, value in state["shadow"].items()}})

    def update(self) -> None:
        """Let the averages follow the model's weights; to be called after every step of the optimizer.

        Raises
        ------
        RuntimeError
            Inside `swapped`, where the model has the averages themselves.
        ValueError
            If the model's weights are no longer those that are averaged. Nothing has changed then.
        """
        state = self.checked()
        parameters = {name for name, _ in self.model.named_parameters(remove_duplicate=False)}
        done: set[int] = set()  # layers may share a parameter
        steps, taken = [], []
        for name, value in state.items():
            shadow = self.shadow[name]
            if id(shadow) in done:
                continue
            done.add(id(shadow))
            averaged = name in parameters or (self.buffers == "average" and value.dtype.kind == "f")
            if averaged and self.decay:  # without, what was infinite or NaN would stay: times 0 it is NaN
                steps.append(Descent(shadow, value, rate=self.decay - 1, keep=self.decay))
            else:
                taken.append((shadow, value))
        descend(steps)
        for shadow, value in taken:
            np.copyto(shadow, value)
        self.updates += 1

    def checked(self) -> dict[str, np.ndarray]:
        """Return the model's state, or raise what `update` would raise; nothing changes."""
        self._refuse_swapped("update")
        state = self.model.state_dict()
        wrong = self.shadow.keys() ^ state.keys()
        for name, array in state.items():
            shadow = self.shadow.get(name)
            if shadow is not None and (array.shape != shadow.shape or array.dtype != shadow.dtype):
                wrong.add(name)
        if wrong:
            raise ValueError(f"model must have the arrays that are averaged, got others at {', '.join(sorted(wrong))}")
        return state

    @contextmanager
    def swapped(self) -> Iterator[Module]:
        """Inside the ``with`` the model has the averages, afterwards its own weights again, whatever happened.

        What changes the model inside is undone too; copy the averages into it for good with
        ``model.load_state_dict(ema.shadow)``.

        Yields
        ------
        Module
            The model.

        Raises
        ------
        RuntimeError
            If the weights are swapped already.
        """
        self._refuse_swapped("swapped")
        own = _copies(self.model.state_dict())
        self._swapped = True
        try:
            self.model.load_state_dict(self.shadow)
            yield self.model
        finally:
            self.model.load_state_dict(own)
            self._swapped = False

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the averages under ``"shadow."`` and their names, not copied, `decay` and the number of `updates`."""
        numbers = {"decay": np.array(self.decay, np.float64), "updates": np.array(self.updates, np.int64)}
        return numbers | {f"shadow.{name}": value for name, value in self.shadow.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state_dict` returned, of a model of the same build; averages are copied, `decay` taken too.

        Raises
        ------
        TypeError, ValueError
            If names, dtypes or shapes disagree, or the model's dtype cannot hold a value; nothing has changed then.
        """
        check_keys(state, ("decay", "updates", *(f"shadow.{name}" for name in self.shadow)))
        decay = check_rate("decay", take_number(state, "decay"), 1.0)
        updates = take_number(state, "updates", int)
        new = {}
        for name, value in self.shadow.items():
            loaded = np.asarray(state[f"shadow.{name}"])
            if loaded.dtype.kind != value.dtype.kind:
                raise TypeError(f"state['shadow.{name}'] must be of kind {value.dtype}, got {loaded.dtype}")
            if loaded.shape != value.shape:
                raise ValueError(f"state['shadow.{name}'] must have shape {value.shape}, got {loaded.shape}")
            new[name] = np.array(converted(loaded, value.dtype, f"state['shadow.{name}']"), order="C")
        self.decay, self.updates, self.shadow = decay, updates, new

    def _refuse_swapped(self, method: str) -> None:
        if self._swapped:
            raise RuntimeError(f"EMA.{method}: the model has the averages now; leave `with ema.swapped()` first")


def _copies(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Copy a state, in C order; a parameter under two names stays one array."""
    copies: dict[int, np.ndarray] = {}
    return {name: copies.setdefault(id(value), np.array(value, order="C")) for name, value in state.items()}
