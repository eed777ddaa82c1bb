"""Passes about the order of axes: transpositions that meet, and what is computed with the channels last."""

from __future__ import annotations

import numpy as np

from .elements import ARITHMETIC
from .ir import Graph, Node, Value
from .table import OPS
from .uses import Uses


def join_transposes(graph: Graph, uses: Uses) -> None:
    """A transposition of a transposition is one, or none."""
    for node in graph.nodes:
        first = node.inputs[0].node if node.op == "Transpose" else None
        if first is None or first.op != "Transpose" or "perm" not in first.attrs or "perm" not in node.attrs:
            continue
        perm = tuple(first.attrs["perm"][axis] for axis in node.attrs["perm"])
        if perm == tuple(range(len(perm))):
            uses.replace(node.outputs[0], first.inputs[0])
        else:
            uses.change(node, "Transpose", first.inputs, {"perm": perm})


# ---------------------------------------------------------------- channels last, and second again


def channels_second(graph: Graph, uses: Uses) -> None:
    """What lies between transpositions that put the channels last, and those that put them back, without either.

    Linear layers are 1x1 convolutions there, and layers that normalise the last axis normalise the channels.
    """
    refused: set[Node | None] = set()
    for node in graph.nodes:
        axes = _moved_last(node)
        region = _between(uses, node, axes, refused) if axes else []
        for inner in region:
            _turn(graph, uses, inner, axes)
        for inner in region:
            for user in [user for user in uses[inner.outputs[0]] if _moves_back(user, axes)]:
                uses.replace(user.outputs[0], inner.outputs[0])


def _moved_last(node: Node | None) -> int:
    """Of images with so many axes a node puts the channels last; 0 for other nodes."""
    perm = node.attrs.get("perm", ()) if node is not None and node.op == "Transpose" else ()
    return len(perm) if 3 <= len(perm) <= 5 and tuple(perm) == (0, *range(2, len(perm)), 1) else 0


def _moves_back(node: Node | None, axes: int) -> bool:
    perm = node.attrs.get("perm", ()) if node is not None and node.op == "Transpose" else ()
    return tuple(perm) == (0, axes - 1, *range(1, axes - 1))


def _between(uses: Uses, start: Node, axes: int, refused: set[Node | None]) -> list[Node]:
    """All nodes that are joined with what takes the start's result, up to transpositions; none if one can't be turned.

    Whoever meets one of those that were refused before has found the same nodes again.
    """
    region: dict[Node | None, None] = {}
    found = [user for user in uses[start.outputs[0]] if not _moves_back(user, axes)]
    while found:
        node = found.pop()
        if node in region:
            continue
        region[node] = None
        if node in refused or node is None or not _can_turn(node, axes) or any(map(uses.__getitem__, node.outputs[1:])):
            refused.update(region)
            return []
        found += [user for user in uses[node.outputs[0]] if not _moves_back(user, axes)]
        varying = (value for value in node.inputs if value is not None and value.data is None)
        found += [value.node for value in varying if _moved_last(value.node) != axes]
    return list(region)


def _can_turn(node: Node, axes: int) -> bool:
    """Whether a node on arrays whose channels are last has a form for those whose channels are second."""
    others = node.inputs[1:]
    if node.op == "LayerNormalization":
        return node.attrs.get("axis", -1) in (-1, axes - 1) and all(
            v.data is not None and v.data.ndim == 1 for v in others
        )
    if node.op == "ByNorm":
        return node.attrs["axis"] in (-1, axes - 1)
    if node.op == "MatMul":
        return len(others) == 1 and others[0].data is not None and others[0].data.ndim == 2
    if node.op in ARITHMETIC:
        return len(others) == 1 and all(v.data is None or v.data.ndim <= axes for v in node.inputs)
    numbers = [v is None or (v.data is not None and v.data.size == 1 and v.data.ndim <= axes) for v in others]
    return OPS[node.op].elementwise and all(numbers)


def _turn(graph: Graph, uses: Uses, node: Node, axes: int) -> None:
    """Let a node take and give arrays whose channels are second."""
    op, attrs, others = node.op, node.attrs, node.inputs[1:]
    if op == "LayerNormalization":
        op, attrs = "ChannelNormalization", {"epsilon": attrs.get("epsilon", 1e-5)}
    elif op == "ByNorm":
        attrs = attrs | {"axis": 1}
    elif op == "MatMul":
        op, attrs = "Conv", {}
        others = [graph.constant(others[0].data.T.reshape(*others[0].data.shape[::-1], *(1,) * (axes - 2)))]
    inputs = [_turned(graph, value, axes) if op in ARITHMETIC else value for value in (node.inputs[0], *others)]
    sources = [v.node.inputs[0] if v is not None and _moved_last(v.node) == axes else v for v in inputs]
    uses.change(node, op, sources, attrs)
    for value in node.outputs:
        if value.info is not None:
            n, *sizes, channels = value.info.shape
            value.info = value.info._replace(shape=(n, channels, *sizes))


def _turned(graph: Graph, value: Value, axes: int) -> Value:
    """A constant, which arrays with their channels last are combined with, for those that have them second."""
    if value.data is None or value.data.size == 1:
        return value
    whole = value.data.reshape((1,) * (axes - value.data.ndim) + value.data.shape)
    return graph.constant(np.moveaxis(whole, -1, 1))
