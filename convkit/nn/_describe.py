"""What layers take and show: numbers that are checked once, and what is not the default."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._arrays import is_real
from .._numbers import number
from .._words import brief


def added(eps: float) -> float:
    """What is added to a variance before its root: a finite number of at least 0."""
    return number(eps, "eps", "a finite number of at least 0", lambda value: 0 <= value < math.inf)


def real(dtype: Any) -> Any:
    """The dtype of parameters, as it is given."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if dtype is None or found is None or not is_real(found):  # NumPy takes None for float64
        raise TypeError(f"dtype must be float32 or float64, got {brief(dtype)}")
    return dtype


def unusual(options: Mapping[str, Any], operator: Callable) -> str:
    """``", name=value"`` for every option that is not the operator's default; one number for axes that are alike."""
    defaults = inspect.signature(operator).parameters
    shown = {name: alike(value) for name, value in options.items()}
    return "".join(f", {name}={value!r}" for name, value in shown.items() if value != defaults[name].default)


def alike(value: Any) -> Any:
    """`value`, or the int that all of it is."""
    same = (
        isinstance(value, tuple)
        and len(value) > 0
        and all(isinstance(item, int) and item == value[0] for item in value)
    )
    return value[0] if same else value
