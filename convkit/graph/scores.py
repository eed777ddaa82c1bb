"""Scores and what they weigh as one operator: a product, sums and products with it, its rows' softmax, and a product.

None of the scores' arrays is ever whole: threads take some rows of one matrix at a time, which stay in their caches.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .._arrays import is_real
from .._ext import engine
from .elements import ELEMENT_OPS, NONE
from .ir import Node, Value
from .placement import Spot, seen
from .products import as_image, as_kernel, as_pixels
from .table import OPS, Attrs, Info, op
from .turns import in_turns, joined, movable
from .uses import one_for_each_chain

# Rows that are taken together: those whose scores make so many bytes, so that two arrays of them, and the factors, lie
# in level 2. For several threads to have turns a matrix is cut into more parts, of no fewer rows than these.
_BYTES, _LEAST_ROWS, _FEW_TURNS = 1 << 17, 32, 4
_LEAST_LIMIT = 1 << 20  # of workspace, for calls to fit beside the scores


class _Change(NamedTuple):
    """What is done to the scores: an operator, the place of the other operand, and the shape that it is done in."""

    op: str
    before: bool  # whether the other operand is the first
    shape: tuple[int, ...]


def attending(nodes: list[Node], infos: dict[Value, Info], outputs: Sequence[Value]) -> list[Node]:
    """The nodes, where those between two products of matrices, softmax among them, are one with them."""

    def join(node: Node, uses: Counter[Value]) -> tuple[list[Node], Node] | None:
        chain = _chain(node, infos, uses)
        attend = _attending(chain, infos) if chain else None
        return None if attend is None else (chain, attend)

    return one_for_each_chain(nodes, outputs, join)


def _attending(chain: list[Node], infos: dict[Value, Info]) -> Node | None:
    """The node that a chain is; None where the engine has none of these shapes and dtypes, or in this workspace."""
    product, node, others, changes = chain[0], chain[-1], [], []
    value, scores = product.outputs[0], infos[product.outputs[0]].shape
    if len(product.inputs) > 2:
        others, changes = [product.inputs[3]], [_Change("Add", False, scores)]
    for change in chain[1:-1]:
        if change.op in _CHANGES:
            before = change.inputs[1] is value
            others.append(change.inputs[0 if before else 1])
            changes.append(_Change(change.op, before, infos[change.outputs[0]].shape))
        value = change.outputs[0]
    attrs = {"scores": scores, "changes": changes, "weights": infos[node.inputs[0]].shape}
    taken = [*product.inputs[:2], node.inputs[1], *others]
    row = scores[-1] * infos[product.inputs[0]].dtype.itemsize
    if not _is_cut(_shapes(attrs)) or not _fits(row) or len({infos[value].dtype for value in taken}) > 1:
        return None
    return Node("Attend", taken, attrs, node.path)


def _shapes(attrs: Attrs) -> list[tuple[int, ...]]:
    """Those that the scores have, from the first product to the second."""
    return [attrs["scores"], *(change.shape for change in attrs["changes"]), attrs["weights"]]


def _is_cut(shapes: list[tuple[int, ...]]) -> bool:
    """Whether there are scores, and the axes of the longest shape are those of all others, cut."""
    ends = [set(itertools.accumulate(shape[:-2], operator.mul)) - {1} for shape in shapes]
    return 0 not in shapes[0] and all(each <= ends[shapes.index(max(shapes, key=len))] for each in ends)


def _fits(row: int) -> bool:
    """Whether two rows of so many bytes, and calls, fit into the caller's limit."""
    limit = engine.workspace_limit.get()
    return limit < 0 or limit >= max(4 * row, _LEAST_LIMIT)


def _chain(node: Node, infos: dict[Value, Info], uses: Counter[Value]) -> list[Node]:
    """From the first product to this one, the second; nothing where that is not what a node ends."""
    if not _is_product(node, infos):
        return []
    chain, value = [node], node.inputs[0]
    while uses[value] == 1 and _is_same(value.node, infos):
        chain.insert(0, value.node)
        value = value.node.inputs[0]
    softmax = value.node
    if softmax is None or softmax.op != "Softmax" or uses[value] != 1:
        return []
    shape, chain = infos[value].shape, [softmax, *chain]
    if softmax.attrs.get("axis", -1) not in (-1, len(shape) - 1):
        return []
    value = softmax.inputs[0]
    while uses[value] == 1 and value.node is not None:
        before = value.node
        chain.insert(0, before)
        if _is_product(before, infos, summed=True):
            return chain
        taken = _taken(before, infos)
        if taken is None or infos[taken].shape[-2:] != shape[-2:]:
            return []
        value = taken
    return []


def _is_product(node: Node, infos: dict[Value, Info], summed: bool = False) -> bool:
    """Whether it multiplies the matrices of batches, all of which vary, and no more; `summed`, or adds an array."""
    plain = node.op == "MatMul" and "activation" not in node.attrs
    plain = plain and (len(node.inputs) == 2 or (summed and len(node.inputs) == 4 and node.inputs[2] is None))
    a, b = (infos[value] for value in node.inputs[:2]) if plain else (None, None)
    return plain and a.data is None and b.data is None and len(a.shape) > 2 and len(b.shape) > 2 and is_real(a.dtype)


def _taken(node: Node, infos: dict[Value, Info]) -> Value | None:
    """The scores that a node changes element by element; None of nodes that do not."""
    shape = infos[node.outputs[0]].shape
    if node.op == "Reshape" or _is_same(node, infos):
        return node.inputs[0]
    if node.op not in _CHANGES or len(node.inputs) != 2 or "activation" in node.attrs:
        return None
    whole = [value for value in node.inputs if infos[value].data is None and infos[value].shape == shape]
    made = [value for value in whole if value.node is not None and (value.node.op in (*_CHANGES, "Reshape", "MatMul"))]
    return made[0] if made else None


_CHANGES = frozenset(("Add", "Sub", "Mul", "Div"))


def _is_same(node: Node | None, infos: dict[Value, Info]) -> bool:
    """Whether it is a conversion to the dtype that there is already."""
    return node is not None and node.op == "Cast" and infos[node.inputs[0]].dtype == infos[node.outputs[0]].dtype


def _infer(attrs: Attrs, a: Info, b: Info, v: Info, *others: Info) -> list[Info]:
    return OPS["MatMul"].infer({}, Info(attrs["weights"], a.dtype), v)


def _flops(attrs: Attrs, infos: Sequence[Info], outputs: Sequence[Info]) -> int:
    a, _, v = infos[:3]
    return 2 * math.prod(attrs["scores"]) * (a.shape[-1] + v.shape[-1])


def _lower(plan: Any, node: Any) -> bool:
    """Turns of some rows each: a product, passes over it, its softmax, and a product into the result."""
    y, changes, shapes = plan.info(node.outputs[0]), node.attrs["changes"], _shapes(node.attrs)
    if 0 in y.shape:
        return True
    *batch, rows, columns = max(shapes, key=len)
    factors = [plan.spot(value) for value in (*node.inputs[:3], node.outputs[0])]
    leads = [shapes[k][:-2] for k in (0, 0, -1, -1)]
    places = [_over(spot, (*lead, *spot.shape[-2:]), batch) for spot, lead in zip(factors, leads, strict=True)]
    others = zip(node.inputs[3:], changes, strict=True)
    places += [_over(movable(plan, plan.spot(value)), change.shape, batch) for value, change in others]
    each = _rows_of_a_turn(rows, columns * y.dtype.itemsize, math.prod(batch), plan.program.threads)
    for first, height, count in ((0, each, rows // each), (rows // each * each, rows % each, 1)):
        if height:
            blocks = [_blocks(spot, first, height, count, k not in (1, 2)) for k, spot in enumerate(places)]
            _lower_turns(plan, changes, y.dtype, blocks, (*batch, count))
    return True


def _rows_of_a_turn(rows: int, row: int, matrices: int, threads: int) -> int:
    """As many as `_BYTES` hold, in equal parts; fewer for several threads to have turns."""
    parts = -(-rows * row // _BYTES)
    if threads > 1:
        parts = max(parts, min(-(-_FEW_TURNS * threads // matrices), rows // _LEAST_ROWS))
    return max(1, -(-rows // max(parts, 1)))


def _over(spot: Spot, whole: tuple[int, ...], batch: list[int]) -> Spot:
    """A place repeated to this shape, whose axes before the last two are cut into a batch's."""

    def view(array: np.ndarray) -> np.ndarray:
        cut = np.broadcast_to(array, whole).view()
        cut.shape = (*batch, *whole[-2:])
        return cut

    return seen(spot, view)


def _blocks(spot: Spot, first: int, height: int, count: int, moves: bool) -> Spot:
    """So many blocks of rows of this height, from the first row on, as one axis more; or the same for each block."""
    *batch, rows, columns = spot.strides
    if not moves:
        return spot._replace(strides=(*batch, 0, rows, columns), shape=(*spot.shape[:-2], count, *spot.shape[-2:]))
    shape = *spot.shape[:-2], count, height, spot.shape[-1]
    return spot._replace(offset=spot.offset + first * rows, strides=(*batch, height * rows, rows, columns), shape=shape)


def _lower_turns(plan: Any, changes: Sequence[_Change], dtype: np.dtype, places: list, batch: tuple[int, ...]) -> None:
    """The steps of a turn, and turns over the batch, whose last axis is blocks of rows."""
    program, item = plan.program, dtype.itemsize
    a, b, v, y = places[:4]
    (height, depth), columns, width = a.shape[-2:], b.shape[-1], v.shape[-1]
    room = -(-height * columns * item // 64) * 64
    scores = [Spot(engine.ROOM, k * room, (columns * item, item), item, (height, columns)) for k in range(2)]
    axes = joined(batch, [spot.strides[: len(batch)] for spot in places])
    for moved, turns, steps in in_turns(axes, [spot._replace(strides=spot.strides[len(batch) :]) for spot in places]):
        a, b, v, y, *others = (Spot(*spot) for spot in moved)
        program.turns(turns, 3 + len(changes), math.prod(turns) > 1, 2 * room)
        _multiply(program, (height, depth, columns), a, b, scores[0])
        program.moving(steps[0], None, steps[1])
        for change, other, step in zip(changes, others, steps[4:], strict=True):
            operands = [other[:4], scores[0][:4]] if change.before else [scores[0][:4], other[:4]]
            program.elementwise(ELEMENT_OPS[change.op], item, (height, columns), scores[1][:4], *operands, NONE)
            program.moving(None, *((step, None) if change.before else (None, step)))
            scores.reverse()
        rows = [(spot.base, spot.offset, (0, item, columns * item), item) for spot in scores]
        program.rows(engine.SOFTMAX, item, (1, columns, height), *rows, None, None, 0.0, 1.0, 0.0, ())
        _multiply(program, (height, columns, width), scores[1], v, y)
        program.moving(None, steps[3], steps[2])


def _multiply(program: Any, sizes: tuple[int, int, int], a: Spot, b: Spot, y: Spot) -> None:
    """The product of two matrices, the second of which varies, as a step."""
    program.conv(
        as_pixels(*sizes), False, as_image(a), as_kernel(b, True), None, as_image(y), False, NONE, engine.AUTO, None
    )


@op("Attend", infer=_infer, lower=_lower, flops=_flops)
def _attend(attrs: Attrs, a: np.ndarray, b: np.ndarray, v: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """convkit's own: the product of a and b, changed by the others, its softmax, and the product of that and v."""
    scores = OPS["MatMul"].run({}, a, b)
    for change, other in zip(attrs["changes"], others, strict=True):
        scores = scores.reshape(change.shape)
        operands = (other, scores) if change.before else (scores, other)
        scores = OPS[change.op].run({}, *operands)
    return OPS["MatMul"].run({}, OPS["Softmax"].run({}, scores.reshape(attrs["weights"])), v)
