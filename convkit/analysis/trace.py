"""What a model does to one batch, layer by layer: it is run once, on zeros, and looked at while it runs.

Whatever its `run` says in Python happens, so branches, loops and layers of one's own need no description. Arrays on
their way between layers are a subclass of ndarray that remembers which layers it comes from through NumPy's arithmetic,
so the calls form a graph: the sum at the end of a residual block knows both of its terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .. import _shapes
from ..nn._mode import hooks
from ..nn.module import Module, Parameter
from ..nn.sequential import Sequential

INPUT = -1  # the source that is the model's input

_Sources = frozenset[int] | None


class Call(NamedTuple):
    """One call of a layer."""

    name: str  # path in the model, "" if the layer is the model
    layer: Module
    x_shape: tuple[int, ...]
    y_shape: tuple[int, ...]
    sources: _Sources  # indices of the calls that x was made from, or INPUT; None where they were lost

    @property
    def flops(self) -> int:
        """What the layer says of itself."""
        return self.layer.flops(self.x_shape, self.y_shape)


class _Tracked(np.ndarray):
    """An array that knows which calls it was made from; views and NumPy's functions of it know, too."""

    sources: _Sources = None

    def __array_finalize__(self, parent: np.ndarray | None) -> None:
        self.sources = getattr(parent, "sources", None)

    def __array_ufunc__(self, ufunc, method: str, *inputs, out: tuple = (), **options):
        plain = {"out": _plain(out)} if out else {}
        result = getattr(ufunc, method)(*_plain(inputs), **plain, **options)
        return _track(result, _merged((inputs, out), result))

    def __array_function__(self, function: Callable, types, args: tuple, kwargs: dict):
        result = function(*_plain(args), **_plain(kwargs))
        return _track(result, _merged((args, kwargs), result))


def _each(function: Callable, value: Any) -> Any:
    """`value` with `function` applied to every array in it."""
    if isinstance(value, np.ndarray):
        return function(value)
    if isinstance(value, dict):
        return {key: _each(function, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_each(function, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _plain(value: Any) -> Any:
    """`value` with plain arrays instead of tracked ones."""
    return _each(lambda array: array.view(np.ndarray), value)


def _track(value: Any, sources: _Sources) -> Any:
    """`value` with arrays that come from `sources`."""

    def tracked(array: np.ndarray) -> _Tracked:
        array = array.view(_Tracked)
        array.sources = sources
        return array

    return _each(tracked, value)


def _merged(operands: Any, result: Any) -> _Sources:
    """Sources of what NumPy made of `operands`.

    A plain array as large as the result may be an activation that went through something that does not track, such as
    an operator called without a layer; then nothing is known any more. A smaller one is a parameter or a constant.
    """
    arrays: list[np.ndarray] = []
    _each(arrays.append, operands)
    tracked = [array.sources for array in arrays if isinstance(array, _Tracked)]
    strangers = [array for array in arrays if not isinstance(array, _Tracked) and array.shape == np.shape(result)]
    if strangers or None in tracked:
        return None
    return frozenset().union(*tracked)


def trace(model: Module, input_shape: tuple[int, ...]) -> list[Call]:
    """Run `model` in evaluation on zeros of `input_shape`, and return the calls of its layers in order.

    A layer is a module with parameters of its own or without modules inside. The model is left as it was.
    """
    shape = checked_shape(input_shape)
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    calls: list[Call] = []
    names = {layer: name for name, layer in reversed(list(model.named_modules())) if _is_layer(layer)}  # the first one

    def record(layer: Module, inputs: tuple, y: Any) -> Any:
        if layer not in names:
            return None
        x, first = inputs[0], y[0] if isinstance(y, tuple) else y
        calls.append(Call(names[layer], layer, x.shape, first.shape, getattr(x, "sources", None)))
        return _track(y, frozenset({len(calls) - 1}))

    with of_batch(shape), hooks(forward=record):
        model.predict(_track(np.zeros(shape, dtype_of(model)), frozenset({INPUT})))
    return calls


@contextmanager
def of_batch(input_shape: tuple[int, ...]) -> Iterator[None]:
    """What the model says of an array inside may be far from the argument that it comes from: a note names that."""
    try:
        yield
    except (TypeError, ValueError) as error:
        error.add_note(f"input_shape must be that of a batch, (N, C, *spatial), which the model takes: {input_shape}")
        raise


def checked_shape(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The argument `input_shape`, as ints."""
    if not isinstance(input_shape, tuple | list):
        raise TypeError(
            f"input_shape must be a tuple of ints, got {input_shape!r} of type {type(input_shape).__name__}"
        )
    return _shapes.array_shape(input_shape, "input_shape")


def dtype_of(model: Module) -> np.dtype:
    """What the model computes in: the dtype of its parameters."""
    return next((parameter.dtype for parameter in model.parameters()), np.dtype(np.float32))


def _is_layer(module: Module) -> bool:
    if isinstance(module, Sequential):
        return False
    inside = next(module.named_children(), None)
    return inside is None or any(isinstance(value, Parameter) for value in vars(module).values())
