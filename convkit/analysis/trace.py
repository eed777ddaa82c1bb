"""What a model does to one batch, layer by layer: its graph, and which of its nodes are whose.

A layer is asked what it computes, as it is for a network. One that cannot say, since its Python calls more than there
are nodes for, is run on zeros: it counts for one node, which knows of itself what the layer's methods say, and the
layers inside are asked in turn. Zeros that stand for a value are known again as long as nothing is done to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from .. import _shapes
from .._mode import entered
from .._words import with_type
from ..graph.ir import Graph, Node, Value
from ..graph.network import Network
from ..graph.seen import Lines, seen
from ..graph.table import OPS, Info
from ..graph.trace import Tracer
from ..nn.module import Module
from ..nn.parameter import Parameter, dtype_of
from ..nn.sequential import Sequential


class Call(NamedTuple):
    """One call of a layer; of a network, one node."""

    name: str  # path in the model, "" if the layer is the model
    kind: str
    y: Value  # the first output
    y_shape: tuple[int, ...]
    flops: int
    holds: dict[int, int]  # sizes of its own parameters, by what tells those apart that are shared


class _Watch(Tracer):
    """Notes the calls of layers: modules with parameters of their own or without modules inside."""

    def __init__(self, model: Module, graph: Graph, axes: range) -> None:
        super().__init__(model, graph)
        self._axes = axes
        self.calls: list[Call] = []
        self._counted: set[Node] = set()
        self._zeros: dict[int, tuple[np.ndarray, Value]] = {}
        self._error: Exception | None = None

    def call(self, module: Module, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Trace a call of a module; one that cannot be traced is run on zeros instead. The call of a layer is noted."""
        first, calls = len(self.graph.nodes), len(self.calls)
        values = [self._value(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
        try:
            results = super().call(module, values, kwargs)
            if isinstance(results, Value) and results.info is None:
                raise TypeError("the shape of the output follows from numbers")
        except Exception as error:
            if error is self._error:
                raise
            del self.graph.nodes[first:], self.calls[calls:]
            results = self._run(module, values, kwargs)
        several = isinstance(results, tuple | list)
        outputs = list(results) if several else [results]
        if id(module) in self._paths and _is_layer(module) and isinstance(values[0], Value):
            outputs[0] = self._noted(module, values[0], outputs[0], self.graph.nodes[first:])
        if any(isinstance(arg, np.ndarray) for arg in args):
            outputs = [self._array(value) for value in outputs]
        return tuple(outputs) if several else outputs[0]

    def _run(self, module: Module, values: list[Any], kwargs: dict[str, Any]) -> Any:
        """The values of a module that is run on zeros."""
        try:
            results = module.run(*(self._array(v) if isinstance(v, Value) else v for v in values), **kwargs)[0]
        except Exception as error:
            self._error = error  # what the layer itself says, to be asked no more
            raise
        return tuple(map(self._value, results)) if isinstance(results, tuple | list) else self._value(results)

    def _noted(self, layer: Module, x: Value, y: Value, nodes: list[Node]) -> Value:
        """The output of a call, which is noted: where the layer says what it reads, of a node that says so."""
        x_shape, y_shape = tuple(x.info.shape), tuple(y.info.shape)
        nd = getattr(layer, "_nd", len(x_shape) - 2)
        if len(x_shape) != nd + 2:
            self._error = ValueError(f"x must have a batch axis and {nd} spatial ones, got shape {x_shape}")
            raise self._error
        own = [node for node in nodes if node not in self._counted]
        self._counted.update(own)
        flops = layer.flops(x_shape, y_shape)
        if flops is None:
            flops = sum(flops_of(node, attrgetter("info")) for node in own)
        windows = None
        if len(x_shape) == len(y_shape) == len(self.graph.inputs[0].info.shape):
            windows = layer.windows(*(tuple(shape[axis] for axis in self._axes) for shape in (x_shape, y_shape)))
        if windows is not None:
            node = Node("Layer", [x], {"windows": dict(zip(self._axes, windows, strict=True))})
            self.graph.nodes.append(node)
            y = self._new(y.info, node)
        holds = {id(value): value.size for value in vars(layer).values() if isinstance(value, Parameter)}
        self.calls.append(Call(self._paths[id(layer)], type(layer).__name__, y, y_shape, flops, holds))
        return y

    def _value(self, array: np.ndarray) -> Value:
        """The one that the array stands for, or one of which nothing is known."""
        if id(array) not in self._zeros:
            self._zeros[id(array)] = array, self._new(Info(array.shape, array.dtype), Node("Layer", [], {}))
        return self._zeros[id(array)][1]

    def _new(self, info: Info, node: Node) -> Value:
        value = Value(self.graph, node=node)
        value.info = info
        node.outputs.append(value)
        return value

    def _array(self, value: Value) -> np.ndarray:
        array = np.zeros(value.info.shape, value.info.dtype)
        self._zeros[id(array)] = array, value
        return array


def flops_of(node: Node, info: Callable[[Value], Info]) -> int:
    """What the table says of one node."""
    taken = [None if value is None else info(value) for value in node.inputs]
    return OPS[node.op].flops(node.attrs, taken, list(map(info, node.outputs))) if node.op in OPS else 0


class Trace(NamedTuple):
    """The calls of a model's layers in their order, and what each value of the graph sees of the input."""

    calls: list[Call]
    lines: dict[Value, Lines]
    axes: range  # which of an image's are spatial
    itemsize: int  # bytes of a number


def trace(model: Module | Network, input_shape: tuple[int, ...]) -> Trace:
    """Trace `model` in evaluation for a batch of `input_shape`. The model is left as it was."""
    shape = checked_shape(input_shape)
    if isinstance(model, Network):
        return _of_network(model, shape)
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    graph, axes = Graph(), spatial_axes(model, len(shape))
    watch, x = _Watch(model, graph, axes), graph.input("input", Info(shape, dtype_of(model)))
    with of_batch(shape):
        with entered(keeping=False, evaluating=True, hooks=(), tracer=watch):
            model.begin(x)
        values = [x, *(v for node in graph.nodes for v in (*node.inputs, *node.outputs) if v is not None)]
        return Trace(
            watch.calls, seen(graph, {v: v.info for v in values if v.info is not None}, axes), axes, x.dtype.itemsize
        )


def _of_network(network: Network, shape: tuple[int, ...]) -> Trace:
    """The same of a network, node by node; constants that nodes take are their parameters."""
    with of_batch(shape):
        known = network.known(shape)
        graph, infos, axes, calls = known.graph, known.infos, range(2, len(shape)), []
        for node in known.nodes:
            constants = [v for v in node.inputs if v is not None and v.data is not None and v.data.dtype.kind == "f"]
            holds = {id(value): value.data.size for value in constants}
            y, flops = node.outputs[0], flops_of(node, infos.__getitem__)
            calls.append(Call(node.path, node.op, y, infos[y].shape, flops, holds))
        return Trace(calls, seen(graph, infos, axes), axes, infos[graph.inputs[0]].dtype.itemsize)


def spatial_axes(model: Module, ndim: int) -> range:
    """Those of the model's images; where channels are is said by any layer that has a layout."""
    last = next((layer.layout == "NHWC" for layer in model.modules() if hasattr(layer, "layout")), False)
    return range(1, ndim - 1) if last else range(2, ndim)


@contextmanager
def of_batch(input_shape: tuple[int, ...]) -> Iterator[None]:
    """What the model says of an array inside may be far from the argument that it comes from: a note names that."""
    try:
        yield
    except (TypeError, ValueError) as error:
        error.add_note(f"input_shape must be that of a batch, (N, C, *spatial), which the model takes: {input_shape}")
        raise


def checked_shape(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The argument `input_shape`, as ints."""
    if not isinstance(input_shape, tuple | list):
        raise TypeError(f"input_shape must be a tuple of ints, got {with_type(input_shape)}")
    return _shapes.array_shape(input_shape, "input_shape")


def _is_layer(module: Module) -> bool:
    if isinstance(module, Sequential):
        return False
    inside = next(module.named_children(), None)
    return inside is None or any(isinstance(value, Parameter) for value in vars(module).values())
