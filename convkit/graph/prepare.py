"""From a model to a network."""

from __future__ import annotations

import numpy as np

from ..nn.module import Module
from .ir import Graph
from .network import Network
from .trace import trace


def prepare(model: Module, input_shape: tuple[int, ...] | None) -> Network:
    """See `Module.prepare`."""
    dtype = next((parameter.dtype for parameter in model.parameters()), np.dtype(np.float32))
    kept = [(name, parameter, parameter.version) for name, parameter in model.named_parameters()]

    def check() -> None:
        for name, parameter, version in kept:
            if parameter.version != version:
                raise RuntimeError(f"{name} was changed after the model was prepared; prepare it again")

    def traced(shapes: list[tuple[int, ...]], dtype: np.dtype = dtype) -> Graph:
        return trace(model, shapes, dtype)

    return Network(None if input_shape is None else traced([tuple(input_shape)]), check, traced)
