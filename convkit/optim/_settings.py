"""Settings that are looked at when they are set, not when they are used: by then a step may be half done."""

from __future__ import annotations

import math
from typing import Any

from .._numbers import number


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
    return number(value, name, f"a number in [0, {below:g})", lambda value: 0 <= value < below)
