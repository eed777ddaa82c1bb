"""From a model to a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._shapes import x_shape
from ..graph import Graph, Network, trace
from .parameter import dtype_of

if TYPE_CHECKING:
    from .module import Module


class Source:
    """A model as it was when it was prepared."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.dtype, self._learned = dtype_of(model), any(True for _ in model.parameters())
        self._kept = [(name, own, own.version) for name, own in (*model.named_parameters(), *model.named_buffers())]

    def check(self) -> None:
        """Raise if a parameter or a running statistic has changed since."""
        for name, own, version in self._kept:
            if own.version != version:
                raise RuntimeError(f"{name} was changed after the model was prepared; prepare it again")

    def trace(self, shapes: list[tuple[int, ...]], dtype: np.dtype) -> Graph:
        """The model's graph for inputs of these shapes."""
        if self._learned and dtype != self.dtype:
            raise TypeError(f"input must have dtype {self.dtype}, got {dtype}; astype converts it")
        return trace(self.model, shapes, dtype)


def prepare(model: Module, input_shape: tuple[int, ...] | None) -> Network:
    """See `Module.prepare`."""
    source = Source(model)
    shapes = [] if input_shape is None else [x_shape(input_shape, "input_shape")]
    return Network(source.trace(shapes, source.dtype) if shapes else None, source)
