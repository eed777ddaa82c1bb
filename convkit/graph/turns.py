"""One step of a program for each of many matrices or rows: what is the same but for where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def in_turns(
    sizes: Sequence[int], places: Sequence[tuple], strides: Sequence[Sequence[int]]
) -> Iterator[tuple[list[Any], int, tuple[int, ...]]]:
    """Through axes of these sizes, the longest as a step that is repeated: places, how many times, their steps.

    Each place (base, offset, ...) moves by strides of its own.
    """
    along = int(np.argmax(sizes)) if sizes else 0
    turns = sizes[along] if sizes else 1
    steps = tuple(stride[along] if sizes else 0 for stride in strides)
    for index in np.ndindex(*(1 if axis == along else size for axis, size in enumerate(sizes))):
        moved = [
            (base, offset + sum(i * s for i, s in zip(index, stride, strict=True)), *rest)
            for (base, offset, *rest), stride in zip(places, strides, strict=True)
        ]
        yield moved, turns, steps
