"""Gradients are added to as a whole or not at all: what a way back has added is taken back if it raises."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from .parameter import Parameter

_T = TypeVar("_T")

# Of each parameter that the way back under way has added to: what `grad` was, and a copy of it where it was an array,
# which is added to in place.
_Before = dict["Parameter", tuple[np.ndarray | None, np.ndarray | None]]
_before: ContextVar[_Before | None] = ContextVar("convkit.nn gradients", default=None)


def whole(way: Callable[..., _T], *args: Any) -> _T:
    """``way(*args)``; if it raises, gradients are as they were. Inside another one, that one sees to it."""
    if _before.get() is not None:
        return way(*args)
    before: _Before = {}
    token = _before.set(before)
    try:
        return way(*args)
    except BaseException:
        for parameter, (grad, values) in before.items():
            parameter.grad = grad
            if grad is not None and values is not None:
                np.copyto(grad, values)
        raise
    finally:
        _before.reset(token)


def about_to_add(parameter: Parameter) -> None:
    """Remember what a parameter's gradient is, for the first addition of a way back to it."""
    before = _before.get()
    if before is not None and parameter not in before:
        grad = parameter.grad
        before[parameter] = grad, None if grad is None else grad.copy()
