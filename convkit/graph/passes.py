"""Passes: a graph made smaller without changing what it computes. Each is a function of a graph, which it changes.

None looks at sizes; what follows from sizes is the plan's. Operators that exporters spell out are put together in
`patterns`, and what is computed with the channels last in `axes`.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from .._options import BOUNDS
from .axes import channels_second, join_transposes
from .branches import merge
from .elements import ARITHMETIC, CODES, NONE, code_of
from .ir import Graph, Node, Value, at
from .maps import affine, by_channel
from .patterns import fuse_by_norm, fuse_gelu, fuse_hard_sigmoid, fuse_maps, fuse_standard, fuse_swish
from .placement import ADDING
from .table import OPS, Info, Undetermined, bytes_of, inferred, results_of, take
from .uses import Uses


def optimise(graph: Graph, max_bytes: int | None = None) -> Graph:
    """All passes, in the order in which they help each other; the graph itself.

    Constants that take more than `max_bytes` in all are left to the plan, which refuses them.

    Examples
    --------
    >>> from convkit import graph, nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, rng=0), nn.BatchNorm2d(8), nn.ReLU())
    >>> g = graph.trace(model, [(1, 3, 8, 8)], "float32")
    >>> [node.op for node in g.nodes]
    ['Conv', 'BatchNormalization', 'Relu']
    >>> [node.op for node in graph.optimise(g).nodes]
    ['Conv']
    """
    if graph.optimised:
        return graph
    drop_identities(graph)
    fold_constants(graph, max_bytes)
    drop_unused(graph)
    for change in (
        fuse_standard, fuse_by_norm, fuse_gelu, join_transposes, channels_second, fold_maps, fuse_bias,
        fuse_hard_sigmoid, fuse_swish, fuse_maps, fuse_sums,
    ):  # fmt: skip
        change(graph, Uses(graph))
        drop_unused(graph)
    graph.forget_unused()
    graph.optimised = True
    return graph


def drop_unused(graph: Graph) -> None:
    """Nodes that no output depends on."""
    needed, kept = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if any(value in needed for value in node.outputs):
            kept.append(node)
            needed.update(value for value in node.inputs if value is not None)
    graph.nodes = kept[::-1]


def replace_all(graph: Graph, new: dict[Value, Value]) -> None:
    """Let everything that takes a value take the one in its place."""
    for node in graph.nodes:
        if any(value in new for value in node.inputs):
            node.inputs = [new.get(value, value) for value in node.inputs]
    graph.outputs = [new.get(value, value) for value in graph.outputs]


def drop_identities(graph: Graph) -> None:
    """Nodes that give what they take; dropout, too, unless somebody reads its mask."""
    users, new = graph.users(), {}
    for node in graph.nodes:
        if node.op == "Identity" or (node.op == "Dropout" and not any(users.get(v) for v in node.outputs[1:])):
            new[node.outputs[0]] = new.get(node.inputs[0], node.inputs[0])
    replace_all(graph, new)


@np.errstate(all="ignore")
def fold_constants(graph: Graph, max_bytes: int | None) -> None:
    """Nodes that take constants alone."""
    total, new = 0, {}
    for node in graph.nodes:
        row, node.inputs = OPS[node.op], [new.get(value, value) for value in node.inputs]
        if not row.fixed or any(value is not None and value.data is None for value in node.inputs):
            continue
        with at(node):
            if max_bytes is not None:
                total += allocated(node, [None if value is None else value.info for value in node.inputs])
                if total > max_bytes:
                    break
            arrays = [None if value is None else value.data for value in node.inputs]
            for value, data in zip(node.outputs, results_of(row.run, node.attrs, arrays), strict=False):
                new[value] = graph.constant(data)
    replace_all(graph, new)


def allocated(node: Node, infos: list[Info | None]) -> int:
    """What running a node allocates; 0 where numbers decide, which makes its outputs no larger than the inputs."""
    row = OPS[node.op]
    with suppress(Undetermined):
        return bytes_of(inferred(row, node.attrs, infos)) + row.scratch(node.attrs, *infos)
    return 0


# ---------------------------------------------------------------- into a convolution's weights


_CONVOLUTIONS = frozenset(("Conv", "ConvTranspose"))
_PRODUCTS = ADDING - _CONVOLUTIONS


def fold_maps(graph: Graph, uses: Uses) -> None:
    """What is linear beside a convolution or after it, into its weights and bias.

    That is what multiplies each channel by a number and adds one, and other maps of the same image that are added.
    """
    for node in graph.nodes:
        if merge(graph, uses, node):
            continue
        for value in node.inputs[: 2 if node.op in ARITHMETIC else 1]:
            conv = uses.maker_alone(value, _CONVOLUTIONS) if node.op in _MAPS and value is not None else None
            weight, bias = (None, None) if conv is None else take(conv.inputs, 3)[1:]
            if conv is None or weight.data is None or (bias is not None and bias.data is None):
                continue
            known = _map_of(node, value, conv)
            if known is not None and _fold(graph, uses, conv, *known):
                uses.absorb(node, conv)
                break


_MAPS = frozenset(("BatchNormalization", "Add", "Sub", "Mul", "Div"))


def _map_of(node: Node, x: Value, conv: Node) -> tuple[np.ndarray, np.ndarray] | None:
    """The factor and the summand of each channel, in float64; None, if the node is no such map of x."""
    numbers = [value.data for value in node.inputs if value is not x]
    if any(number is None for number in numbers) or "activation" in node.attrs:
        return None
    if node.op == "BatchNormalization":
        return affine(node.attrs, *numbers)
    if len(numbers) != 1 or (node.op in ("Sub", "Div") and node.inputs[0] is not x):
        return None
    weight = conv.inputs[1].data
    channels = weight.shape[0] if conv.op == "Conv" else weight.shape[1] * conv.attrs.get("group", 1)
    number = by_channel(numbers[0], channels, weight.ndim)
    if number is None or (node.op == "Div" and not number.all()):
        return None
    if node.op in ("Add", "Sub"):
        return np.ones(channels), number if node.op == "Add" else -number
    return number if node.op == "Mul" else 1 / number, np.zeros(channels)


@np.errstate(all="ignore")
def _fold(graph: Graph, uses: Uses, conv: Node, factor: np.ndarray, shift: np.ndarray) -> bool:
    """Let a convolution give what it gave times the factor, plus the shift, of each channel.

    Not where a weight would be infinite: times a zero that is NaN.
    """
    weight, bias = take(conv.inputs, 3)[1:]
    dtype, groups = weight.data.dtype, conv.attrs.get("group", 1)
    if (factor != 1).any():
        rest = (1,) * (weight.data.ndim - 2)
        if conv.op == "Conv":
            scaled = weight.data * factor.reshape(-1, 1, *rest)
        else:  # (C_in, C_out / groups, *k): the factors of each group's outputs
            by_group = weight.data.reshape(groups, -1, *weight.data.shape[1:])
            scaled = (by_group * factor.reshape(groups, 1, -1, *rest)).reshape(weight.data.shape)
        scaled = scaled.astype(dtype)
        if not np.isfinite(scaled).all():
            return False
        weight = graph.constant(scaled)
    if bias is not None or shift.any():
        moved = shift if bias is None else shift + bias.data * factor
        bias = graph.constant(moved.astype(dtype))
    uses.change(conv, conv.op, [conv.inputs[0], weight, *([] if bias is None else [bias])], conv.attrs)
    return True


def fuse_bias(graph: Graph, uses: Uses) -> None:
    """A constant that is added to every row of a product, as the bias."""
    for node in graph.nodes:
        if node.op != "Add" or len(node.inputs) != 2 or "activation" in node.attrs:
            continue
        for product, added in (node.inputs, node.inputs[::-1]):
            maker = uses.maker_alone(product, _PRODUCTS) if added.data is not None else None
            if maker is None or (len(maker.inputs) == 3 and maker.inputs[2] is not None):
                continue
            bias = _as_bias(maker, added.data)
            if bias is not None:
                uses.change(maker, maker.op, [*maker.inputs[:2], graph.constant(bias)], maker.attrs)
                uses.absorb(node, maker)
                break


def _as_bias(maker: Node, added: np.ndarray) -> np.ndarray | None:
    weight = maker.inputs[1].data
    if weight is None or (maker.op == "Gemm" and maker.attrs.get("alpha", 1.0) != 1):
        return None
    if maker.op == "MatMul":  # added of more axes might have more than the product
        return added if weight.ndim == 2 and added.shape == weight.shape[1:] else None
    channels = weight.shape[0 if maker.attrs.get("transB", 0) else 1]
    return added.reshape(-1) if added.shape in ((channels,), (1, channels)) else None


# ---------------------------------------------------------------- into a node's last pass

_FUSING = ADDING | {"DeformConv"}


def fuse_sums(graph: Graph, uses: Uses) -> None:
    """Activations into what computes their argument, and sums into a convolution that computes one term."""
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if node.op in CODES:
            _fuse_activation(uses, node)
        elif node.op == "Add" and len(node.inputs) == 2:
            _fuse_sum(uses, order, node)


def _fuse_activation(uses: Uses, node: Node) -> None:
    maker = node.inputs[0].node
    if maker is None or not uses.alone(node.inputs[0]) or maker.attrs.get("activation", NONE) != NONE:
        return
    code = code_of(node)
    if code is None:
        return
    sums = maker.op in _FUSING and (code[0] in BOUNDS or not _adds(maker))
    if sums or (maker.op in ARITHMETIC and len(maker.inputs) == 2):
        uses.absorb(node, maker)
        maker.attrs = maker.attrs | {"activation": code}


def _adds(maker: Node) -> bool:
    return maker.op in ADDING and len(maker.inputs) > 3 and maker.inputs[3] is not None


def _fuse_sum(uses: Uses, order: dict[Node | None, int], node: Node) -> None:
    """Of two convolutions the later one adds; the other's result is there by then."""
    a, b = node.inputs
    if a.data is not None or b.data is not None or a is b:
        return
    for product, added in sorted(((a, b), (b, a)), key=lambda pair: -order.get(pair[0].node, -1)):
        maker = uses.maker_alone(product, ADDING)
        if maker is None or order.get(added.node, -1) > order[maker]:
            continue
        inputs = [*maker.inputs, *(None,) * (3 - len(maker.inputs)), added]
        uses.change(maker, maker.op, inputs, maker.attrs | {"sum": node.path})
        uses.absorb(node, maker)
        return
