"""Who takes a graph's values, kept up while passes change the graph: a change costs what it touches, not the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from .ir import Graph, Node, Value
from .table import Attrs


class Uses:
    """For every value the nodes that take it, once for each time; None for each time that it is an output."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self._of = graph, graph.users()

    def __getitem__(self, value: Value) -> Sequence[Any]:
        return self._of.get(value, ())

    def alone(self, value: Value) -> bool:
        """Whether it is taken once."""
        return len(self[value]) == 1

    def maker_alone(self, value: Value, ops: frozenset[str]) -> Node | None:
        """The node of one of these operators that makes a value, if the value has one user, and nothing is fused."""
        node = value.node
        if node is None or node.op not in ops or not self.alone(value) or node.outputs[0] is not value:
            return None
        return node if "activation" not in node.attrs and len(node.inputs) <= 3 else None

    def replace(self, old: Value, new: Value) -> None:
        """Let everything that takes the old value take the new one."""
        users = self._of.pop(old, [])
        for node in set(users):
            if node is None:
                self._graph.outputs = [new if value is old else value for value in self._graph.outputs]
            else:
                node.inputs = [new if value is old else value for value in node.inputs]
        self._of.setdefault(new, []).extend(users)

    def change(self, node: Node, op: str, inputs: Sequence[Value | None], attrs: Attrs) -> None:
        """Let a node be another one, whose outputs are the same values."""
        for value in node.inputs:
            if value is not None:
                self._of[value].remove(node)
        node.op, node.inputs, node.attrs = op, list(inputs), attrs
        for value in inputs:
            if value is not None:
                self._of.setdefault(value, []).append(node)

    def absorb(self, node: Node, maker: Node) -> None:
        """Let a node's result be what the maker of its argument gives; the node is an identity that nobody needs."""
        self.replace(node.outputs[0], maker.outputs[0])
        self.change(node, "Identity", [], {})


def one_for_each_chain(
    nodes: list[Node], outputs: Sequence[Value], join: Callable[[Node, Counter[Value]], tuple[list[Node], Node] | None]
) -> list[Node]:
    """The nodes, where those of a chain are one: `join` finds the chain that a node ends, and what it becomes.

    It is told how often each value is taken. The nodes are left as they are, since other plans have them, too.
    """
    uses = Counter(value for node in nodes for value in node.inputs if value is not None)
    uses.update(outputs)
    new: dict[Node, Node] = {}
    gone: set[Node] = set()
    for node in nodes:
        found = join(node, uses)
        if found is not None:
            chain, new[node] = found
            new[node].outputs = node.outputs
            gone.update(chain[:-1])
    return [new.get(node, node) for node in nodes if node not in gone]
