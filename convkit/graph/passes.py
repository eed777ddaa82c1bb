"""Passes: a graph made smaller without changing what it computes. Each is a function of a graph, which it changes.

None looks at sizes; what follows from sizes is the plan's.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np

from ..ops._elementwise import clip as clip_code
from .elements import BOUNDS, CODES, FUSED, NONE, Code
from .ir import Graph, Node, Value
from .maps import affine, by_channel
from .placement import ADDING
from .table import OPS, Info, Op, Undetermined


def optimise(graph: Graph, max_bytes: int | None = None) -> Graph:
    """All passes, in the order in which they help each other; the graph itself.

    Constants that take more than `max_bytes` in all are left to the plan, which refuses them.
    """
    if graph.optimised:
        return graph
    drop_identities(graph)
    fold_constants(graph, max_bytes)
    drop_unused(graph)
    for change in (join_transposes, fold_maps, fuse_bias, fuse_hard_sigmoid, fuse_swish, fuse_maps, fuse_sums):
        change(graph)
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


def replace(graph: Graph, old: Value, new: Value) -> None:
    """Let everything that takes the old value take the new one."""
    replace_all(graph, {old: new})


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
def fold_constants(graph: Graph, max_bytes: int | None = None) -> None:
    """Nodes that take constants alone."""
    total, new = 0, {}
    for node in graph.nodes:
        row, node.inputs = OPS[node.op], [new.get(value, value) for value in node.inputs]
        if not row.fixed or any(value is not None and value.data is None for value in node.inputs):
            continue
        if max_bytes is not None:
            total += bytes_of(row, node.attrs, [None if value is None else value.info for value in node.inputs])
            if total > max_bytes:
                break
        results = row.run(node.attrs, *(None if value is None else value.data for value in node.inputs))
        for value, data in zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=False):
            new[value] = graph.constant(np.asarray(data))
    replace_all(graph, new)


def bytes_of(row: Op, attrs: dict[str, Any], infos: list[Info | None]) -> int:
    """What the outputs of a node take; 0 where numbers decide, which makes them no larger than the inputs."""
    with suppress(Undetermined):
        return sum(math.prod(info.shape) * info.dtype.itemsize for info in row.infer(attrs, *infos))
    return 0


def join_transposes(graph: Graph) -> None:
    """A transposition of a transposition is one, or none."""
    for node in graph.nodes:
        first = node.inputs[0].node if node.op == "Transpose" else None
        if first is None or first.op != "Transpose" or "perm" not in first.attrs or "perm" not in node.attrs:
            continue
        perm = tuple(first.attrs["perm"][axis] for axis in node.attrs["perm"])
        if perm == tuple(range(len(perm))):
            replace(graph, node.outputs[0], first.inputs[0])
        else:
            node.inputs, node.attrs = [first.inputs[0]], {"perm": perm}


# ---------------------------------------------------------------- into a convolution's weights


def _alone(users: dict[Value, list[Any]], value: Value, ops: frozenset[str]) -> Node | None:
    """The node of one of these operators that makes a value, if the value has one user, and nothing is fused yet."""
    node = value.node
    if node is None or node.op not in ops or len(users.get(value, ())) != 1 or node.outputs[0] is not value:
        return None
    return node if "activation" not in node.attrs and len(node.inputs) <= 3 else None


_CONVOLUTIONS = frozenset(("Conv", "ConvTranspose"))
_PRODUCTS = ADDING - _CONVOLUTIONS
_ARITHMETIC = frozenset(("Add", "Sub", "Mul", "Div", "Max", "Min"))


def fold_maps(graph: Graph) -> None:
    """What multiplies each channel of a convolution by a number and adds one, into its weights and bias."""
    users = graph.users()
    for node in list(graph.nodes):
        for value in node.inputs[: 2 if node.op in _ARITHMETIC else 1]:
            conv = _alone(users, value, _CONVOLUTIONS) if node.op in _MAPS and value is not None else None
            weight, bias = (None, None) if conv is None else (*conv.inputs[1:], None)[:2]
            if conv is None or weight.data is None or (bias is not None and bias.data is None):
                continue
            known = _map_of(node, value, conv)
            if known is not None:
                _fold(graph, conv, *known)
                replace(graph, node.outputs[0], conv.outputs[0])
                graph.nodes.remove(node)
                users = graph.users()
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
    one, none = np.ones(channels), np.zeros(channels)
    return {"Add": (one, number), "Sub": (one, -number), "Mul": (number, none), "Div": (1 / number, none)}[node.op]


def _fold(graph: Graph, conv: Node, factor: np.ndarray, shift: np.ndarray) -> None:
    """Let a convolution give what it gave times the factor, plus the shift, of each channel."""
    weight, bias = (*conv.inputs[1:], None)[:2]
    dtype, groups = weight.data.dtype, conv.attrs.get("group", 1)
    if (factor != 1).any():
        rest = (1,) * (weight.data.ndim - 2)
        if conv.op == "Conv":
            scaled = weight.data * factor.reshape(-1, 1, *rest)
        else:  # (C_in, C_out / groups, *k): the factors of each group's outputs
            by_group = weight.data.reshape(groups, -1, *weight.data.shape[1:])
            scaled = (by_group * factor.reshape(groups, 1, -1, *rest)).reshape(weight.data.shape)
        weight = graph.constant(scaled.astype(dtype))
    if bias is not None or shift.any():
        moved = shift if bias is None else shift + bias.data * factor
        bias = graph.constant(moved.astype(dtype))
    conv.inputs = [conv.inputs[0], weight, *([] if bias is None else [bias])]


def fuse_bias(graph: Graph) -> None:
    """A constant that is added to every row of a product, as the bias."""
    users = graph.users()
    for node in graph.nodes:
        if node.op != "Add" or len(node.inputs) != 2 or "activation" in node.attrs:
            continue
        for product, added in (node.inputs, node.inputs[::-1]):
            maker = _alone(users, product, _PRODUCTS) if added.data is not None else None
            if maker is None or (len(maker.inputs) == 3 and maker.inputs[2] is not None):
                continue
            bias = _as_bias(maker, added.data)
            if bias is not None:
                maker.inputs = [*maker.inputs[:2], graph.constant(bias)]
                replace(graph, node.outputs[0], maker.outputs[0])
                users = graph.users()
                break


def _as_bias(maker: Node, added: np.ndarray) -> np.ndarray | None:
    weight = maker.inputs[1].data
    if weight is None or (maker.op == "Gemm" and maker.attrs.get("alpha", 1.0) != 1):
        return None
    if maker.op == "MatMul":
        channels, wanted = weight.shape[-1], (weight.shape[-1],)
        return (
            added if weight.ndim == 2 and added.shape == wanted else None
        )  # more axes might be more than the product's
    channels = weight.shape[0 if maker.attrs.get("transB", 0) else 1]
    return added.reshape(-1) if added.shape in ((channels,), (1, channels)) else None


# ---------------------------------------------------------------- into a node's last pass


def _number(node: Node | None, ops: str) -> tuple[Value, float] | None:
    """What a node of one of these operators takes, and the one number that it takes beside it; None of other nodes."""
    if node is None or node.op not in ops.split() or len(node.inputs) != 2 or "activation" in node.attrs:
        return None
    for x, number in (node.inputs, node.inputs[::-1])[: 1 if node.op in ("Div", "Sub") else 2]:
        if number.data is not None and x.data is None and number.data.size == 1 and number.data.dtype.kind == "f":
            return x, float(number.data.reshape(()))
    return None


def _is_sixth(node: Node) -> Value | None:
    """What a node divides by six."""
    x, number = _number(node, "Div Mul") or (None, 0.0)
    return x if math.isclose(number, 6 if node.op == "Div" else 1 / 6, rel_tol=1e-6) else None


def fuse_hard_sigmoid(graph: Graph) -> None:
    """clip(x + 3, 0, 6) / 6 as one, and x times that, in the order of exporters that have no such operators."""
    users = graph.users()
    for node in graph.nodes:
        product = _is_sixth(node)
        if product is None or product.node is None or len(users[product]) != 1:
            continue
        x = _shifted_and_clipped(users, product)
        if x is not None:
            node.op, node.inputs, node.attrs = "HardSigmoid", [x], {"alpha": 1 / 6, "beta": 0.5}
        elif product.node.op == "Mul" and len(product.node.inputs) == 2:
            for x, gate in (product.node.inputs, product.node.inputs[::-1]):
                if len(users[gate]) == 1 and _shifted_and_clipped(users, gate) is x:
                    node.op, node.inputs, node.attrs = "HardSwish", [x], {}
                    break


def _shifted_and_clipped(users: dict[Value, list[Any]], value: Value) -> Value | None:
    """x, of a value that is clip(x + 3, 0, 6)."""
    clip = value.node
    if clip is None or clip.op != "Clip" or _code(clip) != clip_code(0.0, 6.0):
        return None
    x, number = _number(clip.inputs[0].node, "Add") or (None, 0.0)
    return x if number == 3 and len(users[clip.inputs[0]]) == 1 else None


def fuse_maps(graph: Graph) -> None:
    """A product and then a sum with constant numbers as one pass."""
    users = graph.users()
    for node in graph.nodes:
        product, _ = _number(node, "Add") or (None, 0.0)
        if product is not None and len(users[product]) == 1 and _number(product.node, "Mul"):
            x, factor = sorted(product.node.inputs, key=lambda value: value.data is not None)
            shift = next(value for value in node.inputs if value.data is not None)
            node.op, node.inputs, node.attrs = "Affine", [x, factor, shift], {}


def fuse_swish(graph: Graph) -> None:
    """x * sigmoid(x) as one, and x * hard_sigmoid(x)."""
    users = graph.users()
    names = {"Sigmoid": "Swish", "HardSigmoid": "HardSwish"}
    for node in graph.nodes:
        if node.op != "Mul" or len(node.inputs) != 2:
            continue
        for x, gate in (node.inputs, node.inputs[::-1]):
            maker = gate.node
            if maker is None or maker.op not in names or maker.inputs[0] is not x or len(users[gate]) != 1:
                continue
            if maker.op == "HardSigmoid" and CODES["HardSigmoid"](maker.attrs, ()) is None:
                continue
            node.op, node.inputs, node.attrs = names[maker.op], [x], {}
            break


_FUSING = ADDING | {"DeformConv"}


def fuse_sums(graph: Graph) -> None:
    """Activations into what computes their argument, and sums into a convolution that computes one term."""
    users = graph.users()
    for node in list(graph.nodes):
        count = len(graph.nodes)
        if node.op in CODES:
            _fuse_activation(graph, users, node)
        elif node.op == "Add" and len(node.inputs) == 2:
            _fuse_sum(graph, users, node)
        if len(graph.nodes) != count:
            users = graph.users()


def _code(node: Node) -> Code | None:
    """What the engine calls an activation, if all is known that it takes beside its argument."""
    if any(value is not None and value.data is None for value in node.inputs[1:]):
        return None
    return CODES[node.op](node.attrs, tuple(None if value is None else value.info for value in node.inputs[1:]))


def _fuse_activation(graph: Graph, users: dict[Value, list[Any]], node: Node) -> None:
    maker = node.inputs[0].node
    if maker is None or len(users[node.inputs[0]]) != 1 or maker.attrs.get("activation", NONE) != NONE:
        return
    code = _code(node)
    if code is None:
        return
    sums = maker.op in _FUSING and code[0] in (BOUNDS if _adds(maker) else FUSED)
    if sums or (maker.op in _ARITHMETIC and len(maker.inputs) == 2):
        _absorb(graph, node, maker)
        maker.attrs = maker.attrs | {"activation": code}


def _adds(maker: Node) -> bool:
    return maker.op in ADDING and len(maker.inputs) > 3 and maker.inputs[3] is not None


def _fuse_sum(graph: Graph, users: dict[Value, list[Any]], node: Node) -> None:
    """Of two convolutions the later one adds; the other's result is there by then."""
    a, b = node.inputs
    if a.data is not None or b.data is not None or a is b:
        return
    order = {made: i for i, made in enumerate(graph.nodes)}
    for product, added in sorted(((a, b), (b, a)), key=lambda pair: -order.get(pair[0].node, -1)):
        maker = _alone(users, product, ADDING)
        if maker is None or order.get(added.node, -1) > order[maker]:
            continue
        maker.inputs = [*maker.inputs, *(None,) * (3 - len(maker.inputs)), added]
        maker.attrs = maker.attrs | {"sum": node.path}
        _absorb(graph, node, maker)
        return


def _absorb(graph: Graph, node: Node, maker: Node) -> None:
    """The node's result is its maker's from now on; the node goes."""
    replace(graph, node.outputs[0], maker.outputs[0])
    graph.nodes.remove(node)
