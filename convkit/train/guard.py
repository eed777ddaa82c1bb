"""When something is no longer finite: which layer did it.

A step only asks whether its loss and its gradients are finite: one pass over the gradients. If they are not, the same
batch goes through the model again, watched layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..nn.losses import Loss
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


def is_finite(array: np.ndarray) -> bool:
    """Whether every element is."""
    return bool(np.isfinite(array).all())


def step_is_finite(loss: Loss, parameters: Iterable[Parameter]) -> bool:
    """Whether the loss and all gradients that are there are finite."""
    grads = (parameter.grad for parameter in parameters)
    return math.isfinite(loss.value) and all(grad is None or is_finite(grad) for grad in grads)


def diagnose(model: Module, loss: Callable[..., Any], x: np.ndarray, y: np.ndarray) -> NonFiniteError:
    """Go through a step again and say which layer is the first to make infinity or NaN out of finite numbers."""
    if not is_finite(x):
        return NonFiniteError(f"x must be finite, got {_describe(x)} in the batch itself")
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Parameter) and not is_finite(value.data):
                return NonFiniteError(
                    f"the {name} of {_title(path, module)} must be finite, got {_describe(value.data)} before the step",
                    path,
                )
    model.zero_grad()
    with _watched(model) as found:
        scores = model(x)
        if not found:
            value, grad = loss(scores, y)
            if not (math.isfinite(value) and is_finite(grad)):
                return NonFiniteError(
                    f"the loss must be finite, got {value}, with {_describe(grad)} in its gradient; the scores it was "
                    f"computed from are finite, {scores.min()} to {scores.max()}"
                )
            model.backward(grad)
    if found:
        return found[0]
    return NonFiniteError("the step's gradients must be finite, and are not, through no layer; is it the penalty's?")


@contextmanager
def _watched(model: Module) -> Iterator[list[NonFiniteError]]:
    """Until the end every layer inside looks at what it gives; the list gets the layers that gave no finite numbers.

    What is inside a layer is done before the layer itself, so the first one in the list is where it began.
    """
    found: list[NonFiniteError] = []
    modules = list(model.named_modules())
    try:
        for path, module in modules:
            _watch(path, module, found)
        yield found
    finally:
        for _, module in modules:
            vars(module).pop("forward", None)
            vars(module).pop("backward", None)


def _watch(path: str, module: Module, found: list[NonFiniteError]) -> None:
    """Put watched methods in front of the module's own."""
    forward, backward = module.forward, module.backward

    def report(direction: str, what: str, array: np.ndarray) -> None:
        found.append(
            NonFiniteError(
                f"{_title(path, module)} is the first whose {what} is not finite: {_describe(array)}; a smaller "
                "learning rate, another initialisation or clipped gradients may help",
                path,
                direction,
            )
        )

    def watched_forward(*args: Any, **options: Any) -> Any:
        y = forward(*args, **options)
        if isinstance(y, np.ndarray) and not is_finite(y):
            report("forward", "output", y)
        return y

    def watched_backward(*args: Any, **options: Any) -> Any:
        grad = backward(*args, **options)
        if isinstance(grad, np.ndarray) and not is_finite(grad):
            report("backward", "input's gradient", grad)
        for name, value in vars(module).items():
            if isinstance(value, Parameter) and value.grad is not None and not is_finite(value.grad):
                report("backward", f"{name}'s gradient", value.grad)
        return grad

    module.forward, module.backward = watched_forward, watched_backward


def _title(path: str, module: Module) -> str:
    """How a layer is named in a message."""
    return f"layer {path!r}, {type(module).__name__}({module.describe()}),"


def _describe(array: np.ndarray) -> str:
    """How many elements are not finite, and the first of them."""
    bad = np.argwhere(~np.isfinite(array))
    first = f", the first {array[tuple(bad[0])]} at {tuple(map(int, bad[0]))}" if len(bad) else ""
    return f"{len(bad)} of {array.size} values not finite{first}"
