"""A graph at concrete shapes: everything that follows from shapes and constants is computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from .._arrays import empty
from .._ext import engine
from .elements import COPY, engine_pass
from .ir import Graph, Node, Value, at
from .placement import Placement, Spot, contiguous
from .scores import attending
from .sequences import with_scratch
from .shuffles import shuffled
from .table import OPS, Info, bytes_of, folded, inferred, results_of


def refused(max_bytes: int, node: Node) -> MemoryError:
    """The error of a network whose values take more than they may."""
    return MemoryError(f"the network's values take more than max_bytes = {max_bytes}, at node {node.path!r}")


class Piece(NamedTuple):
    """Steps of the program that run without the interpreter; or a node that is a NumPy function, and which of those."""

    first: int
    end: int
    node: Node | None = None


class Sized:
    """A graph at concrete shapes.

    Parameters
    ----------
    graph : Graph
    given : list of Info
        Of the graph's inputs.
    max_bytes : int, optional
        What arrays may take in all.

    Attributes
    ----------
    graph : Graph
    nodes : list of Node
        Those that are left to be run.
    infos : dict
        What is known of every value.

    Raises
    ------
    Undetermined
        If a shape follows from numbers that are not there yet.
    """

    def __init__(self, graph: Graph, given: list[Info], max_bytes: int | None = None) -> None:
        self.graph = graph
        self.nodes, self.infos = _inferred(graph, given, max_bytes)

    @cached_property
    def placement(self) -> Placement:
        """Where the nodes' values lie, a shuffle of channels being one node, and so are scores and what they weigh."""
        nodes, outputs = self.nodes, self.graph.outputs
        for changed in (shuffled, attending, with_scratch):
            nodes = changed(nodes, self.infos, outputs)
        return Placement(self.graph, nodes, self.infos)


def _inferred(graph: Graph, given: list[Info], max_bytes: int | None) -> tuple[list[Node], dict[Value, Info]]:
    """The nodes that have to run, and what is known of every value, for inputs like these."""
    known, total = dict(zip(graph.inputs, given, strict=True)), 0
    known |= {value: value.info for value in graph.outputs if value.data is not None}
    for node in graph.nodes:
        for value in node.inputs:
            if value is not None and value.data is not None:
                known[value] = Info(value.data.shape, value.data.dtype, value.data)
        infos = [None if value is None else known[value] for value in node.inputs]
        row = OPS[node.op]
        with at(node):
            outputs = inferred(row, node.attrs, infos)
            if len(outputs) < len(node.outputs):
                raise ValueError(f"it has {len(node.outputs)} outputs, and its operator gives {len(outputs)}")
            total += bytes_of(outputs) + row.scratch(node.attrs, *infos)
            if max_bytes is not None and total > max_bytes:
                raise refused(max_bytes, node)
            known.update(zip(node.outputs, folded(row, node.attrs, infos, outputs), strict=False))
    return _needed(graph, known), known


def _needed(graph: Graph, known: dict[Value, Info]) -> list[Node]:
    """Nodes that an output depends on and whose results are not known."""
    wanted, kept = {value for value in graph.outputs if known[value].data is None}, []
    for node in reversed(graph.nodes):
        if any(value in wanted for value in node.outputs):
            kept.append(node)
            wanted |= {v for v in node.inputs if v is not None and known[v].data is None}
    return kept[::-1]


class Plan:
    """What a network runs for inputs of these shapes.

    Parameters
    ----------
    sized : Sized
    parts : int
        How many such inputs a run takes, one behind the other along the first axis.
    threads : int
    isa : str
        One of `available_isas`, whose kernels run.
    panels : function
        ``panels(array, form)``: the laid-out weights that all plans of a network share.
    """

    def __init__(
        self, sized: Sized, parts: int, threads: int, isa: str, panels: Callable[[np.ndarray, Hashable], engine.Panels]
    ) -> None:
        self.graph, self.infos, self.placement = sized.graph, sized.infos, sized.placement
        self.nodes, self.panels, self.parts = self.placement.nodes, panels, parts
        self.program = engine.Program(threads, isa)
        self.pieces: list[Piece] = []
        self._ended = self.functions = 0  # steps that are in pieces; nodes that are NumPy functions
        self.steps: dict[Node, tuple[int, int]] = {}  # the program's steps that compute a node
        for node in self.nodes:
            with at(node):
                self._lower(node)
        self._finish_outputs()

    # ---------------------------------------------------------------- what is known

    def info(self, value: Value) -> Info:
        """What is known of a value."""
        return self.infos[value]

    def constant(self, value: Value) -> np.ndarray | None:
        """What a value is, if that is known."""
        return self.infos[value].data

    # ---------------------------------------------------------------- where things lie

    def spot(self, value: Value) -> Any:
        """Where a value lies; a constant is itself."""
        data = self.infos[value].data
        return self.placement.spot(value) if data is None else data

    def part(self, value: Value, axis: int, at: int, count: int, step: int = 1) -> Spot:
        """Where `count` slices of a value lie, every `step`-th from slice `at` on."""
        spot = self.placement.spot(value)
        shape = (*spot.shape[:axis], count, *spot.shape[axis + 1 :])
        strides = (*spot.strides[:axis], spot.strides[axis] * step, *spot.strides[axis + 1 :])
        return spot._replace(offset=spot.offset + at * spot.strides[axis], strides=strides, shape=shape)

    def lies_at(self, value: Value, spot: Spot) -> bool:
        """Whether that is where the value lies."""
        if self.infos[value].data is not None:
            return False
        own = self.placement.spot(value)
        alike = all(a == b for a, b, n in zip(own.strides, spot.strides, own.shape, strict=True) if n != 1)
        return own[:2] == spot[:2] and own.shape == spot.shape and alike

    def copy(self, value: Value, spot: Spot) -> bool:
        """Append a copy of a value to that place; whether the engine has one."""
        return self.fill(spot, self.infos[value].dtype, self.spot(value))

    def fill(self, spot: Spot, dtype: np.dtype, source: Any) -> bool:
        """The same of another place, or of a constant, which are repeated to the shape of the first."""
        return engine_pass(self, COPY, Info(spot.shape, dtype), [spot, source])

    # ---------------------------------------------------------------- the program

    def _lower(self, node: Node) -> None:
        row, first = OPS[node.op], self.program.count
        if row.view:
            done = self._lower_view(node)
        else:
            done = row.lower is not None and row.lower(self, node)
        if done:
            self.steps[node] = first, self.program.count
        else:
            self._flush()
            self.pieces.append(Piece(self.functions, self.functions + 1, node))
            self.functions += 1

    def _lower_view(self, node: Node) -> bool:
        """Nothing, where it is one; else a copy."""
        x, y = node.inputs[0], node.outputs[0]
        if self.infos[x].data is None and self._shares(x, node):
            return True
        if node.op not in ("Reshape", "Flatten"):
            return False
        info, spot = self.infos[x], self.placement.spot(y)
        return self.copy(x, spot._replace(shape=info.shape, strides=contiguous(info)))

    def _shares(self, x: Value, node: Node) -> bool:
        return all(self.placement.block(x) is self.placement.block(y) for y in node.outputs)

    def _flush(self) -> None:
        """End a piece of the program, if there are steps since the last one."""
        if self.program.count > self._ended:
            self.pieces.append(Piece(self._ended, self.program.count))
            self._ended = self.program.count

    def _finish_outputs(self) -> None:
        self._flush()
        base = 1 + len(self.graph.inputs)
        self.copied = []  # outputs that are inputs, constants, views, or the same value once more
        for k, value in enumerate(self.graph.outputs):
            if self.infos[value].data is not None or self.placement.spot(value).base != base + k:
                self.copied.append(k)

    # ---------------------------------------------------------------- a run

    def results(self) -> list[Info]:
        """What a run returns."""
        return [self.whole(self.infos[value]) for value in self.graph.outputs]

    def whole(self, info: Info) -> Info:
        """Of a value of one part, that of all."""
        return info if self.parts == 1 else info._replace(shape=(self.parts * info.shape[0], *info.shape[1:]))

    def run(self, inputs: list[np.ndarray], arena: np.ndarray, seconds: np.ndarray | None = None) -> list[np.ndarray]:
        """The outputs for these inputs, contiguous arrays of `results`.

        `seconds` gets what each step of the program took, and behind them what each NumPy function did.
        """
        outputs = [empty(info.shape, info.dtype) for info in self.results()]
        if self.parts == 1:
            self._run([arena, *inputs, *outputs], seconds)
            return outputs
        for part in range(self.parts):
            spent = None if seconds is None else np.zeros_like(seconds)
            self._run([arena, *(_part(array, part, self.parts) for array in (*inputs, *outputs))], spent)
            if seconds is not None:
                seconds += spent
        return outputs

    def _run(self, bases: list[np.ndarray], seconds: np.ndarray | None) -> None:
        for piece in self.pieces:
            if piece.node is None:
                self.program.run(piece.first, piece.end, bases, seconds)
                continue
            begun = perf_counter()
            self._run_node(piece.node, bases)
            if seconds is not None:
                seconds[self.program.count + piece.first] = perf_counter() - begun
        for k in self.copied:
            np.copyto(bases[1 + len(self.graph.inputs) + k], self._array(self.graph.outputs[k], bases))

    def arena(self) -> np.ndarray:
        """Memory for one run at a time: of those sizes that come from the cache of freed results, aligned."""
        return empty((max(self.placement.bytes, engine.BLOCK_LEAST),), np.dtype(np.uint8))

    def _array(self, value: Value, bases: list[np.ndarray]) -> np.ndarray:
        info = self.infos[value]
        if info.data is not None:
            return info.data
        spot = self.placement.spot(value)
        offset = 0 if 0 in info.shape else spot.offset  # what is joined may lie past the end of no bytes
        return np.ndarray(info.shape, info.dtype, bases[spot.base], offset, spot.strides)

    def _run_node(self, node: Node, bases: list[np.ndarray]) -> None:
        arrays = [None if value is None else self._array(value, bases) for value in node.inputs]
        with at(node):
            results = results_of(OPS[node.op].run, node.attrs, arrays)
        for value, result in zip(node.outputs, results, strict=False):
            np.copyto(self._array(value, bases), result)


def _part(array: np.ndarray, part: int, parts: int) -> np.ndarray:
    size = len(array) // parts
    return array[part * size : (part + 1) * size]
