"""Reading a state that was saved: nothing in it is trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._arrays import is_real


def check_keys(
    state: Mapping[str, np.ndarray], numbers: Iterable[str], each: tuple[str, ...] = (), count: int = 0
) -> list[int]:
    """Check the names in `state`: all of `numbers` and, for some of the indices below `count`, all of `each`.

    Returns
    -------
    list of int
        Those indices.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a mapping of names to arrays, got {type(state).__name__}")
    started = [i for i in range(count) if any(f"{i}.{name}" in state for name in each)]
    expected = [*numbers, *(f"{i}.{name}" for i in started for name in each)]
    missing = [name for name in expected if name not in state]
    known = set(expected)
    surplus = [name for name in state if name not in known]
    if missing or surplus:
        raise ValueError(f"state must have the same names; missing: {missing}, unexpected: {surplus}")
    return started


def take_number(state: Mapping[str, np.ndarray], name: str, kind: type = float) -> Any:
    """Return the float (or, where `kind` is int, the whole number >= 0) at `name`."""
    value = np.asarray(state[name])
    if value.shape != ():
        raise ValueError(f"state[{name!r}] must be one number, got shape {value.shape}")
    if value.dtype.kind not in ("iu" if kind is int else "fiu"):
        raise TypeError(f"state[{name!r}] must be {'an integer' if kind is int else 'a float'}, got {value.dtype}")
    if kind is int and value < 0:
        raise ValueError(f"state[{name!r}] must be at least 0, got {value}")
    return kind(value)


def take_array(state: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return a copy of the array at `name`, in `dtype`."""
    value = np.asarray(state[name])
    if not is_real(value.dtype):
        raise TypeError(f"state[{name!r}] must be float32 or float64, got {value.dtype}")
    if value.shape != shape:
        raise ValueError(f"state[{name!r}] must have shape {shape}, got {value.shape}")
    return np.array(value, dtype, order="C")
