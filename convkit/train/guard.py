"""When something is no longer finite: which layer did it.

A step only asks whether its loss and its gradients are finite: one pass over the gradients. If they are not, the same
batch goes through the model again, watched layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .._mode import hooks
from ..nn.module import Module, Parameter


class NonFiniteError(FloatingPointError):
    """Infinity or NaN turned up in training.

    Attributes
    ----------
    layer : str or None
        Path of the layer that produced it, as in `Module.named_modules`; None if no layer did.
    direction : {"forward", "backward", None}
        On which way.
    """

    def __init__(self, message: str, layer: str | None = None, direction: str | None = None) -> None:
        super().__init__(message)
        self.layer, self.direction = layer, direction
        self.sample: int | None = None  # of the batch, if it is one sample's


def is_finite(array: np.ndarray) -> bool:
    """Whether every element is."""
    return bool(np.isfinite(array).all())


def step_is_finite(loss: float, parameters: Iterable[Parameter]) -> bool:
    """Whether the loss and all gradients that are there are finite."""
    grads = (parameter.grad for parameter in parameters)
    return math.isfinite(loss) and all(grad is None or is_finite(grad) for grad in grads)


def diagnose(model: Module, loss: Callable[..., Any], x: np.ndarray, y: np.ndarray) -> NonFiniteError | None:
    """Go through a step again and say what is the first to make infinity or NaN out of finite numbers, if this does."""
    if not is_finite(x):
        found = NonFiniteError(f"x must be finite, got {_describe(x)} in the batch itself")
        found.sample = int(np.argwhere(~np.isfinite(x))[0, 0])
        return found
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Parameter) and not is_finite(value.data):
                return NonFiniteError(
                    f"the {name} of {_title(path, module)} must be finite, got {_describe(value.data)} before the step",
                    path,
                )
    model.zero_grad()
    found: list[NonFiniteError] = []
    with hooks(*_watching(model, found)):
        scores, back = model.begin(x)
        if not found:
            value, grad = loss(scores, y)
            if not (math.isfinite(value) and is_finite(grad)):
                return NonFiniteError(
                    f"the loss must be finite, got {value}, with {_describe(grad)} in its gradient; the scores it was "
                    f"computed from are finite, {scores.min()} to {scores.max()}"
                )
            back(grad, need_input=False)
    return found[0] if found else None


def _watching(model: Module, found: list[NonFiniteError]) -> tuple[Callable[..., None], Callable[..., None]]:
    """Hooks that add to `found` the layers that give no finite numbers, the one where it began first.

    What is inside a layer is done before the layer itself.
    """
    paths = {module: path for path, module in reversed(list(model.named_modules()))}  # the first name of several

    def look(direction: str, module: Module, what: str, array: Any) -> None:
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and not is_finite(array) and module in paths:
            found.append(
                NonFiniteError(
                    f"{_title(paths[module], module)} is the first whose {what} is not finite: {_describe(array)}; a "
                    "smaller learning rate, another initialisation or clipped gradients may help",
                    paths[module],
                    direction,
                )
            )

    def forward(module: Module, inputs: tuple, y: Any) -> None:
        for array in y if isinstance(y, tuple) else (y,):
            look("forward", module, "output", array)

    def backward(module: Module, grad: Any, dx: Any) -> None:
        for array in dx if isinstance(dx, tuple) else (dx,):
            look("backward", module, "input's gradient", array)
        for name, value in vars(module).items():
            if isinstance(value, Parameter):
                look("backward", module, f"{name}'s gradient", value.grad)

    return forward, backward


def _title(path: str, module: Module) -> str:
    """How a layer is named in a message."""
    return f"layer {path!r}, {type(module).__name__}({module.describe()}),"


def _describe(array: np.ndarray) -> str:
    """How many elements are not finite, and the first of them."""
    bad = np.argwhere(~np.isfinite(array))
    first = f", the first {array[tuple(bad[0])]} at {tuple(map(int, bad[0]))}" if len(bad) else ""
    return f"{len(bad)} of {array.size} values not finite{first}"
