"""Where a plan's values lie: which share memory, in what order their elements stand, and when whose memory is free.

A value may lie inside another: a part of what it is joined into, or the very place of the sum that it is added to.
Views are their source's memory. What is left has a block of its own; blocks whose times do not meet share the arena.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .ir import Graph, Node, Value
from .table import OPS, Info

ARENA = 0  # the base of what no caller sees; then come the inputs and the outputs
_ALIGNED = 64
# Values have their channels last where a depthwise kernel is among the operators that tie them together, and planes of
# fewer elements: lanes of pixels would be left half empty. On the layers of MobileNetV2 (Zen 3) 1x1 kernels take
# 0.85 to 1 of the time then, depthwise ones 0.5 to 0.9; 3x3 ones by Winograd, of ResNet's, up to 1.2.
_SMALL_PLANE, _LEAST_CHANNELS = 64, 16


class Spot(NamedTuple):
    """Where an array lies: the base that each run brings, bytes from its beginning, strides; and what it is."""

    base: int
    offset: int
    strides: tuple[int, ...]
    item: int
    shape: tuple[int, ...]


class _Block:
    """Memory of one piece, and the first and last node that needs it."""

    __slots__ = ("base", "bytes", "first", "last", "offset")

    def __init__(self, size: int, base: int = ARENA) -> None:
        self.bytes, self.base, self.offset = size, base, 0
        self.first, self.last = math.inf, -1.0


class Placement:
    """The spots of all values of a graph's nodes that are run, `nodes`, and the bytes of the arena."""

    def __init__(self, graph: Graph, nodes: Sequence[Node], infos: dict[Value, Info]) -> None:
        self._graph, self.nodes, self._infos = graph, nodes, infos
        self._places: dict[Value, tuple[_Block, int, tuple[int, ...]]] = {}
        self._index = {value: i for i, node in enumerate(nodes) for value in node.outputs}
        self._users: dict[Value, list[int]] = {}
        for i, node in enumerate(nodes):
            for value in node.inputs:
                if value is not None and self._varies(value):
                    self._users.setdefault(value, []).append(i)
        self._last = self._last_uses()
        self._last_channels = self._find_channels_last()
        # What a value lies inside; how many slices of which axis from its beginning; how many from one to the next.
        self._inside: dict[Value, tuple[Value, int, int, int]] = {}
        self._find_inside()
        blocks = self._place_all()
        self.bytes = _assign([block for block in blocks if block.base == ARENA], len(nodes))

    def spot(self, value: Value) -> Spot:
        """Where it lies."""
        block, offset, strides = self._places[value]
        info = self._infos[value]
        return Spot(block.base, block.offset + offset, strides, info.dtype.itemsize, info.shape)

    def block(self, value: Value) -> object:
        """The memory that it shares with others."""
        return self._places[value][0]

    # ---------------------------------------------------------------- who is who

    def _varies(self, value: Value) -> bool:
        return self._infos[value].data is None

    def _is_view(self, node: Node) -> bool:
        return OPS[node.op].view

    def _last_uses(self) -> dict[Value, float]:
        """Index of the last node that needs the value, or a view of it; past the end for outputs."""
        last = {value: float(max(users)) for value, users in self._users.items()}
        last |= dict.fromkeys(self._graph.outputs, math.inf)
        for node in reversed(self.nodes):
            if self._is_view(node):
                seen = max(last.get(value, -1.0) for value in node.outputs)
                last[node.inputs[0]] = max(last.get(node.inputs[0], -1.0), seen)
        return last

    def root(self, value: Value) -> Value:
        """What a view is a view of."""
        while value in self._index and self._is_view(self.nodes[self._index[value]]):
            value = self.nodes[self._index[value]].inputs[0]
        return value

    def _movable(self, value: Value) -> bool:
        """Whether a value may be computed into a place that another chooses."""
        return (
            self._varies(value)
            and value in self._index
            and value not in self._inside
            and value not in self._graph.outputs
            and not self._is_view(self.nodes[self._index[value]])
        )

    def _find_inside(self) -> None:
        """From the end to the beginning, so that what a value lies inside is settled before it."""
        for i, node in reversed(list(enumerate(self.nodes))):
            y = node.outputs[0]
            if node.op in JOINING:
                at, axis = 0, node.attrs.get("axis", 1)
                step = 1 if node.op == "Concat" else len(node.inputs)
                for value in node.inputs:
                    if node.inputs.count(value) == 1 and self._movable(value):
                        self._inside[value] = y, axis, at, step
                    at += self._infos[value].shape[axis] if step == 1 else 1
            elif len(node.inputs) > 3 and node.op in ADDING and node.inputs[3] is not None:
                added = node.inputs[3]
                others = {self.root(value) for value in node.inputs[:3] if value is not None}
                if (
                    self._movable(added)
                    and self.nodes[self._index[added]].op not in JOINING  # whose parts may be needed still
                    and self._last[added] == i
                    and self.root(added) not in others
                    and self._infos[added].shape == self._infos[y].shape
                ):
                    self._inside[added] = y, 0, 0, 1

    # ---------------------------------------------------------------- places

    def _place_all(self) -> list[_Block]:
        """A place for every value: inputs and outputs where the caller has them, the others in blocks of the arena."""
        blocks = []
        for k, value in enumerate(self._graph.inputs):
            self._own(value, 1 + k, contiguous(self._infos[value]), blocks)
        first_output = 1 + len(self._graph.inputs)
        for k, value in enumerate(self._graph.outputs):
            produced = value in self._index and not self._is_view(self.nodes[self._index[value]])
            if produced and value not in self._places:
                self._own(value, first_output + k, contiguous(self._infos[value]), blocks)
        for node in self.nodes:
            for k, value in enumerate(node.outputs):
                if value not in self._places:
                    self._place(value, node, k, blocks)
        for i, node in enumerate(self.nodes):
            for value in [*node.inputs, *node.outputs]:
                if value in self._places:
                    block = self._places[value][0]
                    block.first, block.last = min(block.first, i), max(block.last, i)
        for value in self._graph.outputs:
            if value in self._places:
                self._places[value][0].last = math.inf
        return blocks

    def _own(self, value: Value, base: int, strides: tuple[int, ...], blocks: list[_Block]) -> None:
        """A block for the value alone."""
        info = self._infos[value]
        reach = sum((size - 1) * stride for size, stride in zip(info.shape, strides, strict=True) if size)
        block = _Block(reach + info.dtype.itemsize, base)
        blocks.append(block)
        self._places[value] = block, 0, strides

    def _place(self, value: Value, node: Node, output: int, blocks: list[_Block]) -> None:
        """A place for one output of a node: inside another value, as a view of its input, or in a block of its own."""
        if value in self._inside:
            whole, axis, at, step = self._inside[value]
            if whole not in self._places:
                maker = self.nodes[self._index[whole]]
                self._place(whole, maker, 0, blocks)
            block, offset, strides = self._places[whole]
            if strides:
                offset += at * strides[axis]
                strides = (*strides[:axis], strides[axis] * step, *strides[axis:][1:])
            self._places[value] = block, offset, strides
            return
        if self._is_view(node) and node.inputs[0] in self._places:
            seen = view_of(node, output, self.spot(node.inputs[0]), [self._infos.get(v) for v in node.inputs])
            if seen is not None:
                self._places[value] = self._places[node.inputs[0]][0], seen[0], seen[1]
                return
        self._own(value, ARENA, self._strides(value), blocks)

    def _may_choose(self, value: Value) -> bool:
        """Whether a value's elements may stand in any order: all that touch it take it in any."""
        around = [self.nodes[self._index[value]], *(self.nodes[i] for i in self._users.get(value, ()))]
        return 3 <= len(self._infos[value].shape) <= 5 and all(OPS[node.op].any_order for node in around)

    def _find_channels_last(self) -> set[Value]:
        """The values that operators tie to a depthwise one's, each to the next."""
        free = [value for value in self._index if self._may_choose(value)]
        before = {value: value for value in free}  # towards the one that stands for all that are tied

        def first(value: Value) -> Value:
            while before[value] is not value:
                before[value] = value = before[before[value]]
            return value

        seeds = []
        for node in self.nodes:
            tied = [value for value in (*node.inputs, *node.outputs) if value in before]
            for value in tied[1:]:
                before[first(value)] = first(tied[0])
            if tied and self._is_depthwise(node):
                seeds.append(tied[0])
        chosen = {first(value) for value in seeds}
        return {value for value in free if first(value) in chosen}

    def _strides(self, value: Value) -> tuple[int, ...]:
        """The order in which a value's elements stand."""
        info = self._infos[value]
        plain = contiguous(info)
        if not self._may_choose(value):
            return plain
        n, channels, *sizes = info.shape
        plane, item = math.prod(sizes), info.dtype.itemsize
        if channels >= _LEAST_CHANNELS and (plane < _SMALL_PLANE or value in self._last_channels):
            last = contiguous(Info((n, *sizes, channels), info.dtype))
            return last[0], item, *last[1:-1]
        if plane and plane * item % 4096 == 0 and channels > 1:  # planes would meet in the same lines of the caches
            plane = plane * item + _ALIGNED
            return plane * channels, plane, *plain[2:]
        return plain

    def _is_depthwise(self, node: Node) -> bool:
        return node.op == "Conv" and node.attrs.get("group", 1) == self._infos[node.inputs[0]].shape[1] > 1


# Operators whose inputs lie in their result.
JOINING = frozenset(("Concat", "Interleave"))
# Operators that add their fourth input to the sum.
ADDING = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))


def contiguous(info: Info) -> tuple[int, ...]:
    """The strides of an array of its own."""
    strides, step = [], info.dtype.itemsize
    for size in reversed(info.shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def seen(place: Any, view: Callable[[np.ndarray], np.ndarray]) -> Any:
    """What a function that returns a view makes of a place, or of a constant."""
    if isinstance(place, np.ndarray):
        return view(place)
    dummy = _dummy(place.shape, place.strides)
    y = view(dummy)
    return place._replace(offset=place.offset + _within(dummy, y), strides=y.strides, shape=y.shape)


def _dummy(shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """Elements of no bytes: before NumPy says that a shape needs a copy it makes one."""
    return np.lib.stride_tricks.as_strided(np.empty(1, "V0"), shape, strides, writeable=False)


def _within(dummy: np.ndarray, view: np.ndarray) -> int:
    return view.__array_interface__["data"][0] - dummy.__array_interface__["data"][0] if view.size else 0


def view_of(node: Node, output: int, spot: Spot, infos: Sequence[Info | None]) -> tuple[int, tuple[int, ...]] | None:
    """Offset and strides of a view, as NumPy has it; None where it would be a copy."""
    dummy, row = _dummy(infos[0].shape, spot.strides), OPS[node.op]
    if node.op in ("Reshape", "Flatten"):
        shape = row.infer(node.attrs, *infos)[0].shape
        y = dummy.view()
        try:
            y.shape = shape
        except AttributeError:
            return None
    else:
        others = [None if other is None else other.data for other in infos[1:]]
        y = row.run(node.attrs, dummy, *others)
        y = y[output] if isinstance(y, tuple) else y
    return spot.offset + _within(dummy, y), y.strides


def _assign(blocks: list[_Block], steps: int) -> int:
    """Offsets for blocks, of which those whose times meet do not overlap; the bytes that they take in all.

    The largest first, each at the lowest place that is free for its time.
    """
    alive: list[list[_Block]] = [[] for _ in range(steps)]
    end = 0
    for block in sorted(blocks, key=lambda block: (-block.bytes, block.first)):
        times = range(int(block.first), int(min(block.last + 1, steps))) if block.last >= block.first else ()
        meeting = {other for time in times for other in alive[time]}
        size, at = -(-block.bytes // _ALIGNED) * _ALIGNED, 0
        for other in sorted(meeting, key=lambda other: other.offset):
            if at + size <= other.offset:
                break
            at = max(at, -(-(other.offset + other.bytes) // _ALIGNED) * _ALIGNED)
        block.offset = at
        for time in times:
            alive[time].append(block)
        end = max(end, at + size)
    return end
