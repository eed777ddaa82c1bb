"""The way back through one call of a layer: taken once, with a gradient that fits, while nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._mode import how, keeping
from ._gradients import whole
from .parameter import Parameter, learns

if TYPE_CHECKING:
    from .module import Module

Way = Callable[[Any, bool], Any]  # back(grad, need_input): what `Module.run` returns beside the output
NOTHING_DUE = "{}.backward: nothing to go back through; call it on a batch first, once for each backward"


class Back:
    """The way back through one call of a layer, to be taken once."""

    __slots__ = ("_back", "_inputs", "_module", "_shape", "_versions")

    def __init__(self, module: Module, back: Way, args: tuple, y: Any) -> None:
        self._module, self._back, self._inputs, self._shape = module, back, _given(args), _wanted(y)
        self._versions = [(each, each.version) for each in vars(module).values() if isinstance(each, Parameter)]

    def __call__(self, grad: Any, need_input: bool = True) -> Any:
        try:
            self._check(grad)
            back, self._back = self._back, None
            return whole(self._take, back, grad, need_input)
        except (TypeError, ValueError) as error:
            self._module._note_layer(error)
            raise

    def _check(self, grad: Any) -> None:
        """Whether a way back may be taken, and with this gradient of the output."""
        if not keeping():
            raise RuntimeError(f"{self._name}.backward: nothing is kept under inference()")
        if grad is None:
            raise TypeError(
                f"grad must be an array, got None in {self._name}.backward; a backward returns its input's gradient "
                "only where need_input is True"
            )
        if self._back is None:
            raise RuntimeError(NOTHING_DUE.format(self._name))
        if (got := _shape(grad)) != self._shape:
            raise ValueError(f"grad must have the output's shape {self._shape}, got {got} in {self._name}.backward")
        for parameter, version in self._versions:
            if parameter.version != version:
                of = next((name for name, value in vars(self._module).items() if value is parameter), "a parameter")
                raise RuntimeError(f"{self._name}.backward: {of} was changed after the forward; go back before a step")

    @property
    def _name(self) -> str:
        return type(self._module).__name__

    def _take(self, back: Way, grad: Any, need_input: bool) -> Any:
        dx = back(grad, need_input) if need_input or learns(self._module) else None
        dx = dx if need_input else None
        if need_input and getattr(dx, "shape", None) != self._inputs:
            self._check_input(dx)
        for hook in how.get().hooks:
            if hook.backward is not None:
                hook.backward(self._module, grad, dx)
        return dx

    def _check_input(self, dx: Any) -> None:
        if self._inputs and (dx is None or (got := _shape(dx)) not in (self._inputs, self._inputs[0])):
            raise (TypeError if dx is None else ValueError)(
                f"{self._name}.run's way back must return the input's gradient, of shape "
                f"{self._inputs}, got {'None' if dx is None else f'shape {got}'}"
            )


def nothing_kept(grad: Any, need_input: bool = True) -> None:
    """The way back through a call that kept nothing."""
    raise RuntimeError("backward: nothing was kept of this call, it was made under inference()")


def _shape(grad: Any) -> tuple:
    """A gradient's shape; of several a tuple of them."""
    return tuple(map(np.shape, grad)) if isinstance(grad, (tuple, list)) else getattr(grad, "shape", ())


def _given(args: tuple) -> tuple:
    """The shape of the gradient that a way back returns, of several arrays of floats a tuple, of which the first may be
    all; () where it is open.
    """
    if len(args) == 1 and type(args[0]) is np.ndarray:
        return args[0].shape if args[0].dtype.kind == "f" else ()
    several = args[0] if args and isinstance(args[0], tuple | list) else args
    if several is not args and len(args) > 1:
        return ()
    shapes = tuple(x.shape for x in several if isinstance(x, np.ndarray) and x.dtype.kind == "f")
    return shapes[0] if len(shapes) == 1 and several is args else shapes


def _wanted(y: Any) -> tuple:
    """The shape of the gradient that a backward takes; of several arrays a tuple. Indices have none."""
    if not isinstance(y, tuple):
        return y.shape
    shapes = tuple(array.shape for array in y if array.dtype.kind == "f")
    return shapes[0] if len(shapes) == 1 < len(y) else shapes
