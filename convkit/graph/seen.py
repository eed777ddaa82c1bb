"""What every value of a graph sees of its input: a line along each axis, through each operator's own windows.

A rule says what an operator's outputs read of its first input along the spatial axes, one `Window` for each; operators
that work element by element, or move axes, pass on what their inputs see. Through what has no rule nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction

from .._shapes import conv_transpose, paddings
from .._windows import Window
from .images import padding, spatial, transposed_moves
from .ir import Graph, Node, Value
from .table import OPS, Attrs, Info

Lines = tuple[Window | None, ...]  # of every axis of a value, None where it is not known, or everything


# ---------------------------------------------------------------- rules


def _moving(attrs: Attrs, infos: Sequence[Info], out: Info) -> list[Window]:
    """A kernel that moves over the input."""
    in_ = infos[0].shape[2:]
    kernel = tuple(attrs.get("kernel_shape") or infos[1].shape[2:])
    stride, dilation = spatial(attrs, "strides", len(in_)), spatial(attrs, "dilations", len(in_))
    low, _ = paddings(padding(attrs, len(in_)), in_, kernel, stride, dilation)
    return list(map(Window.moving, kernel, stride, dilation, low))


def _transposed(attrs: Attrs, infos: Sequence[Info], out: Info) -> list[Window]:
    """The inputs that reach an output."""
    nd, shapes = len(out.shape) - 2, (infos[0].shape, infos[1].shape)
    adjoint = conv_transpose(nd, *shapes, *transposed_moves(attrs, *infos[:2]), None, False)
    return list(map(Window.scattered, out.shape[2:], adjoint.kernel, adjoint.stride, adjoint.dilation, adjoint.pad_lo))


def _adaptive(attrs: Attrs, infos: Sequence[Info], out: Info) -> list[Window] | None:
    """The share of the input that an output has."""
    if len(infos[0].shape) != len(out.shape):
        return None
    return list(map(Window.adaptive, infos[0].shape[2:], out.shape[2:]))


def _spread(attrs: Attrs, infos: Sequence[Info], out: Info) -> list[Window]:
    """The pixel that an output was a channel of."""
    r = attrs["blocksize"]
    return [Window.enclosing(size, Fraction(1, r), lambda i: (i // r, i // r)) for size in out.shape[2:]]


def _framed(attrs: Attrs, infos: Sequence[Info], out: Info) -> list[Window] | None:
    """The pixel that was moved there."""
    known = len(infos) < 4 and infos[1].data is not None and attrs.get("mode", "constant") == "constant"
    return [Window.moving(1, low=int(low)) for low in infos[1].data[2 : len(out.shape)]] if known else None


def _resized(attrs: Attrs, infos: Sequence[Info], out: Info) -> list[Window] | None:
    """The pixels around where an output lies."""
    where, mode = attrs.get("coordinate_transformation_mode", "half_pixel"), attrs.get("mode", "nearest")
    name = {"linear": "linear", "cubic": "bicubic", "nearest": "nearest-exact"}[mode]
    if mode == "nearest" and (where, attrs.get("nearest_mode")) == ("asymmetric", "floor"):
        name = "nearest"
    elif where not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return None
    nd, scales = len(out.shape) - 2, infos[2].data if len(infos) > 2 and infos[2] is not None else None
    scales = [None] * nd if scales is None or not scales.size else [float(scale) for scale in scales[-nd:]]
    options = name, where == "align_corners", bool(attrs.get("antialias", 0))
    axes = zip(infos[0].shape[2:], out.shape[2:], scales, strict=True)
    return [Window.interpolated(*axis, *options) for axis in axes]


_MOVING: dict[str, Callable[[Attrs, Sequence[Info], Info], list[Window] | None]] = {
    **dict.fromkeys(("Conv", "DeformConv", "MaxPool", "AveragePool", "LpPool"), _moving),
    **dict.fromkeys(
        ("AdaptiveAveragePool", "AdaptiveMaxPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "ReduceMean",
         "ReduceMax"),
        _adaptive,
    ),
    "ConvTranspose": _transposed, "DepthToSpace": _spread, "Pad": _framed, "Resize": _resized,
}  # fmt: skip
_NORMALISING = frozenset((  # which counts as element by element
    "BatchNormalization", "ByNorm", "ChannelNormalization", "GroupNormalization", "Hardmax", "InstanceNormalization",
    "LRN", "LayerNormalization", "LogSoftmax", "RMSNormalization", "Softmax",
))  # fmt: skip


# ---------------------------------------------------------------- through a graph


def seen(graph: Graph, infos: Mapping[Value, Info], spatial_axes: range) -> dict[Value, Lines]:
    """The lines of every value that sees something of the input, whose spatial axes these are."""
    first = graph.inputs[0]
    lines = [Window() if axis in spatial_axes else None for axis in range(len(infos[first].shape))]
    known: dict[Value, Lines] = {first: tuple(lines)}
    for node in graph.nodes:
        y = node.outputs[0]
        found = _through(node, infos, known) if y in infos else None
        if found is not None:
            known[y] = found
    return known


def _through(node: Node, infos: Mapping[Value, Info], known: Mapping[Value, Lines]) -> Lines | None:
    """The lines of a node's first output, from those of its inputs; None where they are not known."""
    x, out = node.inputs[0], infos[node.outputs[0]]
    taken = [None if value is None else infos.get(value) for value in node.inputs]
    if node.op == "Layer":  # of `convkit.analysis`: what a layer says of itself
        return _applied(known[x], node.attrs["windows"]) if x in known else None
    if OPS[node.op].elementwise or node.op in _NORMALISING or node.op == "Concat":
        moving = [value for value in node.inputs if value is not None and infos[value].data is None]
        if not moving or any(value not in known for value in moving):
            return None
        free = node.attrs["axis"] % len(out.shape) if node.op == "Concat" else -1
        return _joined([(infos[value].shape, known[value]) for value in moving], out.shape, free)
    if x not in known:
        return None
    lines = known[x]
    if node.op == "Transpose":
        return tuple(lines[axis] for axis in node.attrs["perm"])
    if node.op == "Slice":
        cut = taken[3].data if len(taken) > 3 and taken[3] is not None else range(len(lines))
        cut = [int(axis) % len(lines) for axis in cut]
        return tuple(None if axis in cut else line for axis, line in enumerate(lines))
    rule = _MOVING.get(node.op)
    windows = None if rule is None else rule(node.attrs, taken, out)
    if windows is None:
        return None
    lines = _applied((lines[0], None, *lines[2:]), dict(enumerate(windows, 2)))
    added = node.inputs[3] if len(node.inputs) > 3 and node.op in ("Conv", "ConvTranspose") else None
    if added is None:
        return lines
    return _joined([(out.shape, lines), (infos[added].shape, known[added])], out.shape) if added in known else None


def _applied(lines: Lines, windows: Mapping[int, Window]) -> Lines:
    """The lines behind windows along some of the axes; the others stay."""
    return tuple(
        line if axis not in windows or line is None else _behind(line, windows[axis]) for axis, line in enumerate(lines)
    )


def _behind(line: Window, window: Window) -> Window:
    start, end = line.start + window.start * line.jump, line.end + window.end * line.jump
    return Window(start, end, line.jump * window.jump)


def _joined(sources: Sequence[tuple[tuple[int, ...], Lines]], shape: tuple[int, ...], free: int = -1) -> Lines:
    """Where branches meet in an array of this shape; `free` is an axis along which they may have any size."""
    each = [((1,) * (len(shape) - len(own)) + own, (None,) * (len(shape) - len(own)) + lines) for own, lines in sources]
    return tuple(
        None if axis == free else _met([(own[axis], lines[axis]) for own, lines in each], size)
        for axis, size in enumerate(shape)
    )


def _met(axis: Iterable[tuple[int, Window | None]], size: int) -> Window | None:
    """Along one axis the smallest line that holds those of all branches; one of a single element does not move."""
    axis = list(axis)
    whole = [line for own, line in axis if own == size]
    if not whole or any(line is None for _, line in axis):
        return None
    return _union([line if own == size else line._replace(jump=Fraction(0)) for own, line in axis], size, whole[0].jump)


def _union(lines: list[Window], count: int, jump: Fraction) -> Window:
    """The smallest line of that jump which holds all of `lines` at outputs 0 to count - 1: at the first and last."""
    drifts = [(line, i * (line.jump - jump)) for line in lines for i in (0, max(count - 1, 0))]
    start = min(line.start + drift for line, drift in drifts)
    return Window(start, max(line.end + drift for line, drift in drifts), jump)
