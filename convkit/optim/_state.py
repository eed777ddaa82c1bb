"""Reading a state that was saved: nothing in it is trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .._arrays import is_real
from .._range import converted


def check_mapping(state: Mapping[str, np.ndarray]) -> None:
    """Raise unless `state` has names."""
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a mapping of names to arrays, got {type(state).__name__}")


def check_keys(
    state: Mapping[str, np.ndarray],
    numbers: Iterable[str],
    each: Sequence[tuple[Sequence[str], Sequence[str]]] = (),
) -> list[int]:
    """Check the names in `state`: all of `numbers` and, for some of the indices, all that `each` has there.

    Of the second ones there an index has all or none.

    Returns
    -------
    list of int
        Those indices.
    """
    check_mapping(state)
    expected, started = list(numbers), []
    for i, groups in enumerate(each):
        names, more = ([f"{i}.{name}" for name in group] for group in groups)
        if any(name in state for name in (*names, *more)):
            started.append(i)
            expected += names + (more if any(name in state for name in more) else [])
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
    return np.array(converted(value, dtype, f"state[{name!r}]"), dtype, order="C")
