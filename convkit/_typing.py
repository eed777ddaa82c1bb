"""Types of the arguments that operators, layers and transforms share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np


class HasArray(Protocol):
    """What gives an array of float32 or float64, such as a `convkit.nn.Parameter`."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray: ...


Array = np.ndarray | HasArray
Size = int | Sequence[int]
Padding = int | str | Sequence[int] | Sequence[tuple[int, int]]
Activation = str | tuple[Any, ...] | None
Rng: TypeAlias = "np.random.Generator | int | None"  # a string: NumPy loads its random numbers when they are named
