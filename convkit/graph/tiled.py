"""A network over an image or volume that does not fit into memory: tile by tile, each with what its outputs see.

From the last node to the first, each says which part of its inputs it needs for a part of its output: a range along
every spatial axis. What lies beyond the image is the node's own padding; what lies within is read from the neighbours,
so that a tile's outputs are those of the whole, to the bit where an output's sum does not depend on its place.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import product
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from .._shapes import paddings
from .images import padding, spatial
from .ir import Graph, Node, Value
from .plan import Sized
from .table import OPS, Attrs, Info

Range = tuple[int, int]  # first, and one past the last
Block = tuple[Range, ...]  # of every output a range
Number = int | Fraction
_UNTOUCHED = ("zeros", "reflect", "replicate")
_OF_CHANNELS = ("BatchNormalization", "ChannelNormalization")  # their constants have one number for each


class _Step(NamedTuple):
    """What a node needs along its spatial axes, and with which attributes it gives its part from that alone."""

    ranges: tuple[Range, ...]
    attrs: Attrs
    crop: tuple[Range, ...] | None = None  # of what it gives, where that is more than its part


def _moving(node: Node, infos: Sequence[Info], out: Sequence[Range], sizes: Sequence[int]) -> _Step:
    """A kernel that moves over the input: convolution, pooling."""
    nd, attrs = len(out), node.attrs
    kernel = infos[1].shape[2:] if node.op == "Conv" else tuple(attrs["kernel_shape"])
    stride, dilation = spatial(attrs, "strides", nd), spatial(attrs, "dilations", nd)
    in_ = infos[0].shape[2:]
    pads = paddings(padding(attrs, nd), in_, kernel, stride, dilation)
    ranges, lows, highs, crop, rounds_up, more = [], [], [], [], 0, False
    reflects = attrs.get("padding_mode") == "reflect"
    axes = zip(out, sizes, in_, kernel, stride, dilation, *pads, strict=True)
    for span, whole, size, k, s, d, low, high in axes:
        first, end = _with_another(span, whole) if node.op == "AveragePool" else span
        reach, last = d * (k - 1) + 1, end == whole  # at the end the node's own padding, and rounding up, hold
        lo, hi = first * s - low, (end - 1) * s - low + reach
        high = high if last else max(hi - size, 0)
        start = max(min(lo, size - 1, size - high - 1 if reflects and high else size), 0)
        start -= min((lo - start) % s, start) if lo > 0 else 0  # whole steps before the first window
        stop = size if last or high else min(max(hi, 1, 1 - lo if reflects and lo < 0 else 1), size)
        while stop - start + max(-lo, 0) + high < reach and start >= s:
            start -= s
        before = (start - lo) % s if lo > 0 else -lo  # padding, if only to begin at a window
        skipped, up = (lo + before - start) // s, last and bool(attrs.get("ceil_mode", 0))
        ranges.append((start, stop))
        lows.append(before)
        highs.append(high)
        skipped += span[0] - first
        crop.append((skipped, skipped + span[1] - span[0]))
        rounds_up |= up
        more |= up or (stop - start + before + high - reach) // s + 1 != span[1] - span[0]
    changed = {"pads": (*lows, *highs), "auto_pad": "NOTSET"}
    if "ceil_mode" in attrs:
        changed["ceil_mode"] = int(rounds_up)
    return _Step(tuple(ranges), attrs | changed, tuple(crop) if more else None)


def _with_another(span: Range, whole: int) -> Range:
    """A lone window and one beside it, if there is one: a sum over all of an image has an order of its own."""
    first, end = span
    if end - first > 1 or whole == 1:
        return span
    return (first, end + 1) if end < whole else (first - 1, end)


def _transposed(node: Node, infos: Sequence[Info], out: Sequence[Range], sizes: Sequence[int]) -> _Step:
    """A transposed convolution: what its inputs reach, cropped to the part."""
    nd, attrs = len(out), node.attrs
    kernel, stride, dilation = infos[1].shape[2:], spatial(attrs, "strides", nd), spatial(attrs, "dilations", nd)
    if attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or attrs.get("output_shape") is not None:
        raise _Refused("its padding follows from the whole image's size")
    low = (attrs.get("pads") or (0,) * nd)[:nd]
    ranges, lows, highs, more = [], [], [], []
    for (first, end), size, k, s, d, p in zip(out, infos[0].shape[2:], kernel, stride, dilation, low, strict=True):
        lo = max(min(-(-(first + p - d * (k - 1)) // s), (first + p) // s, size - 1), 0)
        hi = min(max((end - 1 + p) // s + 1, lo + 1), size)
        start = first + p - lo * s
        left = (hi - lo - 1) * s + d * (k - 1) + 1 - start - (end - first)
        ranges.append((lo, hi))
        lows.append(start)
        highs.append(max(left, 0))
        more.append(max(-left, 0))
    return _Step(tuple(ranges), attrs | {"pads": (*lows, *highs), "output_padding": tuple(more)})


def _pointwise(node: Node, infos: Sequence[Info], out: Sequence[Range], sizes: Sequence[int]) -> _Step:
    """Element by element."""
    for info in infos if node.op not in _OF_CHANNELS else ():
        if info is not None and info.data is not None and info.data.size > 1:
            if any(size != 1 for size in info.shape[-len(out) :]):
                raise _Refused(f"it takes a constant of shape {info.shape}, which differs from place to place")
    return _Step(tuple(out), node.attrs)


def _joined(node: Node, infos: Sequence[Info], out: Sequence[Range], sizes: Sequence[int]) -> _Step:
    if node.attrs["axis"] % len(infos[0].shape) != 1:
        raise _Refused("it joins along a spatial axis")
    return _Step(tuple(out), node.attrs)


def _over_channels(node: Node, infos: Sequence[Info], out: Sequence[Range], sizes: Sequence[int]) -> _Step:
    if node.attrs.get("axis", -1) % len(infos[0].shape) != 1:
        raise _Refused("it reads a whole spatial axis")
    return _Step(tuple(out), node.attrs)


def _spread(node: Node, infos: Sequence[Info], out: Sequence[Range], sizes: Sequence[int]) -> _Step:
    """Channels to pixels."""
    r = node.attrs["blocksize"]
    ranges = tuple((first // r, -(-end // r)) for first, end in out)
    return _cropped(ranges, out, r, node.attrs)


def _resized(node: Node, infos: Sequence[Info], out: Sequence[Range], sizes: Sequence[int]) -> _Step:
    """Enlarging by a whole number, whose coordinates go on alike from tile to tile."""
    in_, attrs = infos[0].shape[2:], node.attrs
    ratios = {size / n for size, n in zip(sizes, in_, strict=True)}
    where = attrs.get("coordinate_transformation_mode", "half_pixel")
    ratio = round(next(iter(ratios)))
    usual = where == "half_pixel" or (where == "asymmetric" and attrs.get("mode", "nearest") == "nearest")
    if ratios != {float(ratio)} or not usual or attrs.get("antialias", 0):
        raise _Refused("it does not enlarge all axes by one whole number")
    halo = {"nearest": 0, "linear": 1, "cubic": 2}[attrs.get("mode", "nearest")]
    ranges = tuple(
        (max(first // ratio - halo, 0), min(-(-end // ratio) + halo, size))
        for (first, end), size in zip(out, in_, strict=True)
    )
    return _cropped(ranges, out, ratio, attrs | {"ratio": ratio})


def _cropped(ranges: tuple[Range, ...], out: Sequence[Range], ratio: int, attrs: Attrs) -> _Step:
    crop = tuple((first - lo * ratio, end - lo * ratio) for (first, end), (lo, _) in zip(out, ranges, strict=True))
    return _Step(ranges, attrs, crop)


class _Refused(Exception):
    """Why an operator cannot be cut."""


_RULES: dict[str, Callable[..., _Step]] = {
    "Conv": _moving, "MaxPool": _moving, "AveragePool": _moving, "ConvTranspose": _transposed, "Concat": _joined,
    "DepthToSpace": _spread, "Resize": _resized,
    **dict.fromkeys(("Softmax", "LogSoftmax", "ByNorm"), _over_channels),
    **dict.fromkeys((*_OF_CHANNELS, *(name for name, row in OPS.items() if row.elementwise)), _pointwise),
}  # fmt: skip


def check(graph: Graph) -> None:
    """Raise, naming every node, if some can't be cut into tiles."""
    users = graph.users()
    wrong = [
        f"{node.op} ({node.path or 'no layer'})"
        for node in graph.nodes
        if node.op not in _RULES
        or node.attrs.get("padding_mode", "zeros") not in _UNTOUCHED
        or any(value in users for value in node.outputs[1:])  # places in the whole image
    ]
    if wrong:
        raise ValueError(f"the network must read a bounded window for each output; it has {', '.join(wrong)}")
    if len(graph.inputs) != 1:
        raise ValueError(f"the network must have one input to run by tiles, got {len(graph.inputs)}")


class Part(NamedTuple):
    """A block of every output."""

    reads: tuple[Range, ...]  # of the input
    key: Hashable  # what its graph depends on
    graph: Callable[[], Graph]


class Tiling:
    """How a graph is run by blocks of its outputs for an input of one shape."""

    def __init__(self, graph: Graph, shape: tuple[int, ...], dtype: np.dtype) -> None:
        check(graph)
        self.graph, self.infos = graph, Sized(graph, [Info(shape, dtype)]).infos
        self.outs = [self.infos[value] for value in graph.outputs]
        self.nd = len(shape) - 2
        jumps = _jumps(graph, self.infos, self.nd)
        self.jumps = [jumps[value] for value in graph.outputs]

    def __reduce__(self) -> tuple[Any, ...]:
        info = self.infos[self.graph.inputs[0]]
        return Tiling, (self.graph, info.shape, info.dtype)

    def cuts(self, axis: int, places: Iterable[Number]) -> list[Block]:
        """Blocks along an axis that begin at these places of the input, moved by the strides.

        A block has a range of every output, of one element at least: places that would make emptier ones are left out.
        """
        sizes, starts = tuple(out.shape[2 + axis] for out in self.outs), [(0,) * len(self.outs)]
        if 0 in sizes:
            return []
        for place in places:
            here = tuple(ceil(place / jump[axis]) for jump in self.jumps)
            if all(a < b < size for a, b, size in zip(starts[-1], here, sizes, strict=True)):
                starts.append(here)
        return [tuple(zip(*ends, strict=True)) for ends in zip(starts, [*starts[1:], sizes], strict=True)]

    def tiles(self, tile: Sequence[int]) -> Iterator[list[tuple[Range, ...]]]:
        """Blocks, with tiles of this size of the first output."""
        axes = [
            self.cuts(axis, (first * self.jumps[0][axis] for first in range(0, self.outs[0].shape[2 + axis], step)))
            for axis, step in enumerate(tile)
        ]
        return ([*zip(*block, strict=True)] for block in product(*axes))

    def part(self, outs: Sequence[tuple[Range, ...]]) -> Part:
        """What a block of every output needs, and how it is run. Along an axis it reads what it needs there alone."""
        needed: dict[Value, tuple[Range, ...]] = {}
        for value, out in zip(self.graph.outputs, outs, strict=True):
            needed[value] = _hull(needed.get(value), out)
        steps: dict[Node, _Step] = {}
        for node in reversed(self.graph.nodes):
            y = node.outputs[0]
            infos = [None if value is None else self.infos[value] for value in node.inputs]
            try:
                steps[node] = _RULES[node.op](node, infos, needed[y], self.infos[y].shape[2:])
            except _Refused as error:
                raise ValueError(f"{node.op} ({node.path or 'no layer'}) cannot be cut into tiles: {error}") from None
            for i, value in enumerate(node.inputs):
                if value is not None and value.data is None:
                    ranges = self._ranges(node, i, steps[node], needed[y])
                    needed[value] = _hull(needed.get(value), ranges)
        reads = needed[self.graph.inputs[0]]
        given = [_within(out, needed[value]) for value, out in zip(self.graph.outputs, outs, strict=True)]
        lengths = tuple(end - first for first, end in reads)
        key = lengths, *given, *(self._key(node, steps[node], needed) for node in self.graph.nodes)
        return Part(reads, key, lambda: self._graph(outs, steps, needed))

    def _key(self, node: Node, step: _Step, needed: dict[Value, tuple[Range, ...]]) -> tuple:
        """What a part's node depends on: its padding, and where what it needs lies in what there is."""
        inside = []
        for i, value in enumerate(node.inputs):
            if value is not None and value.data is None:
                ranges = self._ranges(node, i, step, needed[node.outputs[0]])
                inside += _within(ranges, needed[value])
        attrs = step.attrs
        return tuple(inside), attrs.get("pads"), attrs.get("output_padding"), attrs.get("ceil_mode"), step.crop

    def _ranges(self, node: Node, i: int, step: _Step, out: tuple[Range, ...]) -> tuple[Range, ...]:
        """What the node needs of its i-th input; all of what is repeated along an axis."""
        info = self.infos[node.inputs[i]]
        ranges = out if node.op in ("Conv", "ConvTranspose") and i == 3 else step.ranges
        sizes = info.shape[-self.nd :] if len(info.shape) >= self.nd else info.shape
        if _RULES[node.op] is not _pointwise:
            return ranges
        whole = self.infos[node.outputs[0]].shape[2:]
        return tuple(
            (0, size) if size == 1 != full else span
            for size, full, span in zip(sizes, whole[-len(sizes) :], ranges[-len(sizes) :], strict=True)
        )

    def _graph(
        self, outs: Sequence[tuple[Range, ...]], steps: dict[Node, _Step], needed: dict[Value, tuple[Range, ...]]
    ) -> Graph:
        """The graph of a part; its constants are the whole one's."""
        part = Graph()
        made: dict[Value, Value] = {self.graph.inputs[0]: part.input(self.graph.inputs[0].name)}
        for node in self.graph.nodes:
            step, inputs = steps[node], []
            for i, value in enumerate(node.inputs):
                if value is None or value.data is not None:
                    inputs.append(value if value is None else part.constant(value.data))
                    continue
                ranges = self._ranges(node, i, step, needed[node.outputs[0]])
                inputs.append(_slice(made[value], ranges, needed[value]))
            attrs = step.attrs
            if node.op == "Resize":
                whole = [(hi - lo) * attrs["ratio"] for lo, hi in step.ranges]
                inputs = [*inputs[:1], None, None, part.constant(np.array(whole, np.int64))]
                attrs = {key: value for key, value in attrs.items() if key != "ratio"}
                attrs["axes"] = tuple(range(2, self.nd + 2))
            y = part.emit(node.op, inputs, attrs, 1, node.path)
            made[node.outputs[0]] = y if step.crop is None else _slice(y, step.crop, [(0, 0)] * self.nd)
        part.outputs = [_slice(made[v], out, needed[v]) for v, out in zip(self.graph.outputs, outs, strict=True)]
        part.output_names = list(self.graph.output_names)
        return part


def _hull(known: tuple[Range, ...] | None, more: tuple[Range, ...]) -> tuple[Range, ...]:
    if known is None:
        return more
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(known, more, strict=True))


def _within(ranges: Sequence[Range], of: Sequence[Range]) -> tuple[Range, ...]:
    """Ranges, counted from where others begin."""
    return tuple((lo - base, hi - base) for (lo, hi), (base, _) in zip(ranges, of, strict=True))


def _slice(value: Value, ranges: Sequence[Range], of: Sequence[Range]) -> Value:
    """That part of what is itself a part: a view."""
    if tuple(ranges) == tuple(of):
        return value
    starts, ends = np.array(_within(ranges, of), np.int64).T
    return value.emit("Slice", starts, ends, np.arange(2, 2 + len(starts), dtype=np.int64))


def _jumps(graph: Graph, infos: dict[Value, Info], nd: int) -> dict[Value, tuple[Number, ...]]:
    """How far apart elements of every value lie in the input, along each axis."""
    jumps: dict[Value, tuple[Number, ...]] = {graph.inputs[0]: (1,) * nd}
    for node in graph.nodes:
        seen = zip(*(jumps[value] for value in node.inputs if value in jumps), strict=True)
        stride = spatial(node.attrs, "strides", nd)
        if node.op == "Resize":
            sizes = (infos[value].shape[2:] for value in (node.inputs[0], node.outputs[0]))
            stride = tuple(map(Fraction, *sizes))
        elif node.op == "ConvTranspose":
            stride = tuple(Fraction(1, s) for s in stride)
        elif node.op == "DepthToSpace":
            stride = (Fraction(1, node.attrs["blocksize"]),) * nd
        jumps[node.outputs[0]] = tuple(max(jump) * s for jump, s in zip(seen, stride, strict=True))
    return jumps
