"""What a model computes, found out by running its layers on values that have shapes and no numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from .._mode import entered
from .ir import Graph, Value
from .table import Info


class Model(Protocol):
    """What a model has that can be traced: a `convkit.nn.Module` is one, of which the graph knows no more."""

    def begin(self, *args: Any) -> tuple[Any, Any]: ...

    def named_modules(self) -> Iterable[tuple[str, Any]]: ...


class Tracer:
    """Stands in for `Module.begin` while a model is traced: notes a layer's path, and asks it what it computes."""

    def __init__(self, model: Model, graph: Graph) -> None:
        self.graph = graph
        self._paths: dict[int, str] = {}
        for path, module in model.named_modules():
            self._paths.setdefault(id(module), path)

    def call(self, module: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The layer's output, in values."""
        before, self.graph.path = self.graph.path, self._paths.get(id(module), self.graph.path)
        try:
            return module.symbolic(*args, **kwargs)
        finally:
            self.graph.path = before


def misfit(error: ValueError, shapes: Sequence[tuple[int, ...]], who: str, known: str = "") -> ValueError:
    """The error of some layer or node as one that speaks of the inputs, which is what a caller has given."""
    several = "s" if len(shapes) > 1 else ""
    got = ", ".join(str(tuple(shape)) for shape in shapes)
    expected = f"input{several} must have {'shapes' if several else 'a shape'} that {who} takes{known}"
    refused = ValueError(f"{expected}, got {got}: {error}")
    for note in getattr(error, "__notes__", ()):
        refused.add_note(note)
    return refused


def trace(model: Model, shapes: Sequence[tuple[int, ...]], dtype: Any) -> Graph:
    """The graph of a model in evaluation, for inputs of these shapes and dtype.

    Parameters
    ----------
    model : convkit.nn.Module
    shapes : sequence of tuple of int
        One for each input.
    dtype : dtype

    Returns
    -------
    Graph
        Not optimised yet: a node for each step that a layer takes.

    Raises
    ------
    TypeError
        If a layer asks what a value is, or calls what has no node.
    ValueError
        If the model does not take inputs of these shapes.

    Examples
    --------
    >>> from convkit import graph, nn
    >>> [node.op for node in graph.trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), [(1, 3, 8, 8)], "float32").nodes]
    ['Conv', 'Relu']
    """
    graph, dtype = Graph(), np.dtype(dtype)
    names = ["input"] if len(shapes) == 1 else [f"input{i}" for i in range(len(shapes))]
    inputs = [graph.input(name, Info(tuple(shape), dtype)) for name, shape in zip(names, shapes, strict=True)]
    with entered(keeping=False, evaluating=True, hooks=(), tracer=Tracer(model, graph)):
        try:
            result = model.begin(*inputs)[0]
        except ValueError as error:
            raise misfit(error, shapes, "the model") from error
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    if not all(isinstance(value, Value) for value in outputs):
        raise TypeError(f"the model must give arrays that follow from its input, got {type(result).__name__}")
    graph.outputs = outputs
    graph.several = isinstance(result, (tuple, list))
    graph.output_names = ["output"] if len(outputs) == 1 else [f"output{i}" for i in range(len(outputs))]
    return graph
