"""What a plan's nodes become once sizes are known: a channel shuffle is one operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .ir import Node, Value
from .table import Info
from .uses import one_for_each_chain


def shuffled(nodes: list[Node], infos: dict[Value, Info], outputs: Sequence[Value]) -> list[Node]:
    """The nodes, where arrays that are joined and then shuffled are interleaved: each may be computed in its place."""

    def join(node: Node, uses: Counter[Value]) -> tuple[list[Node], Node] | None:
        chain = _chain(node, uses)
        if not chain or not _is_shuffle(chain, infos):
            return None
        return chain, Node("Interleave", chain[0].inputs, {}, node.path)

    return one_for_each_chain(nodes, outputs, join)


def _chain(node: Node, uses: Counter[Value]) -> list[Node]:
    """A node and those that it alone takes, if their operators are those of a shuffle."""
    chain = []
    for op in ("Reshape", "Transpose", "Reshape", "Concat"):
        if node is None or node.op != op or (chain and uses[node.outputs[0]] != 1):
            return []
        chain.append(node)
        node = node.inputs[0].node
    return chain[::-1]


def _is_shuffle(chain: list[Node], infos: dict[Value, Info]) -> bool:
    """Whether groups of channels, one for each array that is joined, change places with the channels in them."""
    given, split, turned, whole = (infos[node.outputs[0]].shape for node in chain)
    parts, axes = len(chain[0].inputs), len(split)
    n, channels, *sizes = given
    return (
        axes >= 3
        and chain[0].attrs["axis"] in (1, 1 - len(given))
        and len({infos[value].shape for value in chain[0].inputs}) == 1
        and split == (n, parts, channels // parts, *sizes)
        and tuple(chain[2].attrs.get("perm", ())) == (0, 2, 1, *range(3, axes))
        and whole == given
    )
