"""What a set measures when it comes in batches: what it would measure as one.

A batch adds a total and what a mean has divided that by, never its mean and its length: where samples have weights, or
some don't count, those say something else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..nn.losses import NothingCountsError


class Figure(NamedTuple):
    """A quotient of two sums over samples; or, where `weight` is None, a sum."""

    total: float
    weight: float | None

    @classmethod
    def of(cls, name: str, measured: Any, samples: int) -> Figure:
        """Make one of what a loss or a metric returned for a batch of so many samples, or raised where none counts."""
        if isinstance(measured, NothingCountsError):
            return cls(measured.total, 0.0)
        value, weight = getattr(measured, "value", measured), getattr(measured, "weight", None)
        if isinstance(value, tuple):
            if len(value) != 2:
                raise ValueError(f"{name} must return a number or (number, weight), got {len(value)} values")
            value, weight = value
        if np.ndim(value):
            raise ValueError(f"{name} must be one number, a mean over the batch, got {np.shape(value)} of them")
        if getattr(measured, "reduction", "mean") == "sum":
            return cls(float(value), None)
        weight = float(samples if weight is None else weight)
        if not 0 <= weight < math.inf:
            raise ValueError(f"{name} must have a finite weight of at least 0, got {weight}")
        return cls(float(value) * weight if weight else 0.0, weight)

    @classmethod
    def saved(cls, total: float, weight: float | None) -> Figure:
        """Make one of what a checkpoint holds."""
        return cls(float(total), None if weight is None else float(weight))

    def __add__(self, other: Figure) -> Figure:
        return Figure(self.total + other.total, None if other.weight is None else (self.weight or 0.0) + other.weight)

    def __call__(self) -> float:
        """The quotient: NaN of nothing."""
        return self.total if self.weight is None else self.total / self.weight if self.weight else math.nan


class Means:
    """The figures of a set, by name; ``"loss"`` is one of them."""

    def __init__(self, figures: Mapping[str, Figure] | None = None) -> None:
        self.figures = dict(figures or {})

    def add(self, figures: Mapping[str, Figure]) -> None:
        """Take in those of a batch."""
        self.figures |= {name: self.figures.get(name, Figure(0.0, 0.0)) + figure for name, figure in figures.items()}

    def __call__(self) -> dict[str, float]:
        """What the set measures.

        Raises
        ------
        NothingCountsError
            If no sample counts in the loss.
        """
        if self.figures["loss"].weight == 0:
            raise NothingCountsError("y must hold at least one label that counts in the loss, got none")
        return {name: figure() for name, figure in self.figures.items()}
