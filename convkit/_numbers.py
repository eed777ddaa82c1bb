"""Arguments that are numbers and no sizes."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from ._words import brief, with_type


def number(value: Any, name: str, expected: str = "a finite number", fits: Callable = math.isfinite) -> float:
    """`value` as a float that fits what is expected. A bool is not a number; a NumPy number is."""
    usual = type(value) is float or type(value) is int  # asked in a tenth of the time
    if not usual and (isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real)):
        raise TypeError(f"{name} must be {expected}, got {with_type(value)}")
    try:
        plain = float(value)
    except OverflowError:  # an int or a fraction of hundreds of digits
        plain = math.inf
    if not fits(plain):
        raise ValueError(f"{name} must be {expected}, got {brief(value)}")
    return plain


def generator(rng: Any) -> np.random.Generator:
    """The source of random numbers that is given, or one of that seed."""
    try:
        if isinstance(rng, bool | np.bool_):
            raise TypeError
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"rng must be a numpy.random.Generator, an int of at least 0 or None, got {brief(rng)}"
        ) from None
