"""What a module's state is loaded from: arrays by name, all checked before any is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .._arrays import is_real
from .._range import converted

_NAMED = 20  # entries that an error names: a state of another model has hundreds that do not fit


def fitting(
    own: dict[str, np.ndarray], state: Mapping[str, np.ndarray], alone: tuple[Sequence[str], Sequence[str]] | None
) -> dict[str, np.ndarray]:
    """Entries of a state as the module's own arrays take them; `alone` are names of one side, where they are errors."""
    new = {name: np.asarray(state[name]) for name in own if name in state}
    for name, value in new.items():
        _check_dtype(name, value, own[name].dtype)
    wrong = []
    for name, value in new.items():
        if value.shape != own[name].shape:
            wrong.append(f"{name!r}: expected shape {own[name].shape}, got {value.shape}")
            continue
        if not own[name].flags.writeable:
            wrong.append(f"{name!r}: expected an array to write to, got a read-only one in the model")
        try:
            new[name] = converted(value, own[name].dtype, repr(name))
        except ValueError as error:
            wrong.append(str(error))
    if alone is not None:
        wrong += [f"{name!r}: expected shape {own[name].shape}, got no such key" for name in alone[0]]
        wrong += [f"{name!r}: expected no such key, got shape {np.shape(state[name])}" for name in alone[1]]
    if wrong:
        more = f"; and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise ValueError(f"state must fit the model; {'; '.join(wrong[:_NAMED])}{more}")
    homes = {id(_home(array)) for array in own.values()}
    return {name: value.copy() if id(_home(value)) in homes else value for name, value in new.items()}


def _check_dtype(name: str, value: np.ndarray, dtype: np.dtype) -> None:
    """Raise unless an entry of a state may be converted to the dtype of the module's array."""
    if dtype.kind == "i" and value.dtype.kind not in "iu":
        raise TypeError(f"state[{name!r}] must be integers, got {value.dtype}")
    if dtype.kind == "f" and not is_real(value.dtype):
        raise TypeError(f"state[{name!r}] must be float32 or float64, got {value.dtype}; astype converts it")


def _home(array: np.ndarray) -> object:
    """Return what an array is a view of, or itself."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def kind_of(value: object) -> str:
    """Name what a caller passed, for an error message."""
    return f"an ndarray of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
