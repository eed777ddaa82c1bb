"""Settings that are looked at when they are set, not when they are used: by then a step may be half done."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np


class Settings:
    """Base of what has settings.

    `numbers` names the attributes that may be set at any time, each with the bound it must stay below; `fixed` those
    that the constructor alone sets, since what is remembered depends on them, or a saved state does not say them.
    """

    numbers: dict[str, float] = {}
    fixed: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.numbers:
            value = check_rate(name, value, self.numbers[name])
        elif name in self.fixed and hasattr(self, name):
            kind = type(self).__name__
            raise AttributeError(f"{name} of {kind} is read-only: it is given to the constructor; make a new {kind}")
        super().__setattr__(name, value)


def check_rate(name: str, value: float, below: float = math.inf) -> float:
    """Return `value` if it is a number in [0, below), else raise."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number in [0, {below:g}), got {value!r} of type {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:  # an int or a fraction of hundreds of digits
        number = math.inf
    if not 0 <= number < below:
        raise ValueError(f"{name} must be a number in [0, {below:g}), got {value!r}")
    return number
