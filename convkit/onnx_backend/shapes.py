"""What follows from declared sizes while a model is read, and no network runs yet.

onnx's own inference is not asked: it divides by what a file says, and then ends the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from ..graph import OPS, Graph, Info, Value
from ..graph.ir import Node
from ..graph.table import bytes_of, folded, inferred

_FOLDED_BYTES = 1 << 20  # of the arrays that are computed


class Shapes:
    """The shapes of a graph's values, as the table finds them, and what small arrays are that follow from them.

    Parameters
    ----------
    graph : Graph
        It may grow.
    max_bytes : int
        What a node's outputs may take.
    unknown : int, optional
        What stands for sizes that are not declared, where ranks are asked for; else nothing follows from such inputs.
    """

    def __init__(self, graph: Graph, max_bytes: int, unknown: int | None = None) -> None:
        self._graph, self._max_bytes, self._unknown = graph, max_bytes, unknown
        self._infos: dict[Value, Info] = {}
        self._seen = 0  # nodes

    def given(self, value: Value, dtype: np.dtype, sizes: Sequence[int | None]) -> None:
        """Take what an input is declared to be."""
        known = tuple(self._unknown if size is None else size for size in sizes)
        if None not in known:
            self._infos[value] = Info(known, dtype)

    def of(self, value: Value | None) -> Info | None:
        """What is known of a value, None if nothing."""
        for node in self._graph.nodes[self._seen :]:
            infos = [None if v is None else self._infos.get(v, v.info) for v in node.inputs]
            if all(info is not None or v is None for info, v in zip(infos, node.inputs, strict=True)):
                with suppress(Exception):  # it will be said when the network is planned
                    self._infos.update(zip(node.outputs, self._outputs(node, infos), strict=False))
        self._seen = len(self._graph.nodes)
        return None if value is None else self._infos.get(value, value.info)

    def _outputs(self, node: Node, infos: list[Info | None]) -> list[Info]:
        row = OPS[node.op]
        outputs = inferred(row, node.attrs, infos)
        size = bytes_of(outputs)
        if size > self._max_bytes:
            return []
        return folded(row, node.attrs, infos, outputs) if size <= _FOLDED_BYTES else outputs
