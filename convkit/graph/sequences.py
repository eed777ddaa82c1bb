"""Recurrent operators as steps of the engine: the product of all inputs, and then a turn for each step in time.

Of default functions, without clipping, peepholes and lengths of their own; others are `recurrent`'s, on NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._arrays import is_real
from .._ext import engine
from ..ops._elementwise import RELU, SIGMOID, TANH, Code
from .elements import COPY, ELEMENT_OPS, NONE
from .ir import Node, Value
from .placement import Spot
from .products import as_kernel, as_pixels, as_rows, row_step
from .table import Attrs, Info, take
from .turns import movable

_FUNCTIONS = {"RNN": (("tanh",), ("relu",)), "GRU": (("sigmoid", "tanh"),), "LSTM": (("sigmoid", "tanh", "tanh"),)}
_SCRATCH = 4  # arrays of a state's size beside the gates': three for what is in between, and an LSTM's cells


def with_scratch(nodes: list[Node], infos: dict[Value, Info], outputs: Sequence[Value]) -> list[Node]:
    """The nodes, where those that the engine can run have one more output: memory for what is in between."""
    new = {node: _with_one_more(node, infos) for node in nodes if _is_plain(node, infos)}
    return [new.get(node, node) for node in nodes]


def _with_one_more(node: Node, infos: dict[Value, Info]) -> Node:
    x = infos[node.inputs[0]]
    more = Node(node.op, node.inputs, node.attrs | {"scratch": True}, node.path)
    more.outputs = [*node.outputs, Value(node.outputs[0].graph, node=more)]
    count = scratch(node.attrs, *(None if value is None else infos[value] for value in node.inputs))
    infos[more.outputs[-1]] = Info((count // x.dtype.itemsize,), x.dtype)
    return more


def scratch(attrs: Attrs, x: Info, w: Info, r: Info, *_: Info | None) -> int:
    """Bytes of what is in between."""
    batch = x.shape[0 if attrs.get("layout", 0) else 1]
    return (math.prod(x.shape[:2]) * r.shape[1] + _SCRATCH * batch * r.shape[2]) * x.dtype.itemsize


def _is_plain(node: Node, infos: dict[Value, Info]) -> bool:
    """Whether the engine has the functions, and all that the node takes is there, of the shapes that ONNX says."""
    if node.op not in _FUNCTIONS:
        return False
    taken = [None if value is None else infos[value] for value in take(node.inputs, 8)]
    x, w, r, bias, lengths, h, c, peepholes = taken
    names, usual = [name.lower() for name in node.attrs.get("activations") or ()], _FUNCTIONS[node.op]
    directions, rows = r.shape[0], _TURNS[node.op][0] * r.shape[-1]
    return (
        lengths is None
        and peepholes is None
        and not any(v is not None and v.data is None for v in (w, r, bias))
        and is_real(x.dtype)
        and x.data is None
        and 0 not in (*x.shape, *r.shape)
        and {v.dtype for v in taken if v is not None} == {x.dtype}
        and _have_shapes(taken, directions, rows, _order(node.attrs))
        and (not names or tuple(names) in [each * directions for each in usual])
        and node.attrs.get("clip") is None
        and not node.attrs.get("input_forget", 0)
    )


def _order(attrs: Attrs) -> tuple[int, int]:
    """The axes of time and of the batch."""
    return (1, 0) if attrs.get("layout", 0) else (0, 1)


def _have_shapes(taken: Sequence[Info | None], directions: int, rows: int, order: tuple[int, int]) -> bool:
    x, w, r, bias, _, h, c, _ = taken
    if len(x.shape) != 3 or len(r.shape) != 3 or directions not in (1, 2):
        return False
    batch, size = x.shape[order[1]], r.shape[2]
    state = (directions, batch, size) if order == (0, 1) else (batch, directions, size)
    wanted = (w, (directions, rows, x.shape[2])), (r, (directions, rows, size)), (bias, (directions, 2 * rows))
    return all(info is None or info.shape == shape for info, shape in (*wanted, (h, state), (c, state)))


# ---------------------------------------------------------------- steps of a turn


class _Place(NamedTuple):
    """A matrix (batch, features), and how many bytes it moves on with every turn."""

    spot: Spot
    step: int = 0

    def part(self, first: int, features: int) -> _Place:
        """Some of the features."""
        spot = self.spot._replace(
            offset=self.spot.offset + first * self.spot.item, shape=(self.spot.shape[0], features)
        )
        return self._replace(spot=spot)


class _Turn:
    """Appends steps to the plan's program, which move on with every turn."""

    def __init__(self, plan: Any, r: Value, direction: int) -> None:
        self.plan, self.r, self.direction = plan, r, direction

    def multiply(
        self, h: _Place, rows: slice, y: _Place, activation: Code, bias: np.ndarray | None = None, add: bool = True
    ) -> None:
        """y = activation(h R' + y), or with a bias in place of y, by these rows of the recurrent weight."""
        weight = self.plan.constant(self.r)
        panels = self.plan.panels(weight, ("recurrent", self.direction, rows.start))
        batch, inner = h.spot.shape
        signals = [as_rows(place.spot, *place.spot.strides) for place in (h, y)]
        self.plan.program.conv(
            as_pixels(batch, inner, rows.stop - rows.start), False, signals[0],
            as_kernel(weight[self.direction, rows], False), bias, signals[1], add, activation, engine.AUTO, panels,
        )  # fmt: skip
        self.plan.program.moving((h.step,), (y.step,))

    def combine(self, op: str, y: _Place, a: _Place, b: _Place | None = None, activation: Code = NONE) -> None:
        """y = activation(a op b), of one array a copy."""
        code = COPY if b is None else ELEMENT_OPS[op]
        operands = [place and place.spot[:4] for place in (y, a, b)]
        self.plan.program.elementwise(code, y.spot.item, y.spot.shape, *operands, activation)
        self.plan.program.moving(*((place.step,) for place in (y, a, b) if place is not None))


def _rnn(turn: _Turn, h: _Place, gates: _Place, y: _Place, between: list[_Place], more: _More) -> None:
    turn.multiply(h, slice(0, h.spot.shape[1]), gates, more.function)
    turn.combine("", y, gates)


def _gru(turn: _Turn, h: _Place, gates: _Place, y: _Place, between: list[_Place], more: _More) -> None:
    """n + z (h - n)."""
    size = h.spot.shape[1]
    z, r, n = (gates.part(k * size, size) for k in range(3))
    turn.multiply(h, slice(0, 2 * size), gates.part(0, 2 * size), SIGMOID)
    own = slice(2 * size, 3 * size)
    if more.late:
        turn.multiply(h, own, between[0], NONE, more.bias, add=False)
        turn.combine("Mul", between[1], r, between[0])
        turn.combine("Add", between[0], between[1], n, TANH)
        n = between[0]
    else:
        turn.combine("Mul", between[0], r, h)
        turn.multiply(between[0], own, n, TANH)
    turn.combine("Sub", between[1], h, n)
    turn.combine("Mul", between[2], z, between[1])
    turn.combine("Add", y, n, between[2])


def _lstm(turn: _Turn, h: _Place, gates: _Place, y: _Place, between: list[_Place], more: _More) -> None:
    size = h.spot.shape[1]
    i, o, f, g = (gates.part(k * size, size) for k in range(4))
    cell = between[3]
    turn.multiply(h, slice(0, 3 * size), gates.part(0, 3 * size), SIGMOID)
    turn.multiply(h, slice(3 * size, 4 * size), g, TANH)
    turn.combine("Mul", between[0], i, g)
    turn.combine("Mul", between[1], f, cell)
    turn.combine("Add", cell, between[0], between[1])
    turn.combine("", between[0], cell, activation=TANH)
    turn.combine("Mul", y, o, between[0])


_TURNS: dict[str, tuple[int, Callable[..., None]]] = {"RNN": (1, _rnn), "GRU": (3, _gru), "LSTM": (4, _lstm)}


# ---------------------------------------------------------------- a node


class _More(NamedTuple):
    """What else a turn follows from: an RNN's function, and of a GRU what the candidate's own product is."""

    function: Code
    late: bool
    bias: np.ndarray | None


def lower(plan: Any, node: Any) -> bool:
    """In each direction one product for all of time, the first step, and turns for the others."""
    if not node.attrs.get("scratch"):
        return False
    for d in range(plan.info(node.inputs[2]).shape[0]):
        _lower_direction(plan, node, d)
    return True


def _lower_direction(plan: Any, node: Any, d: int) -> None:
    x, w, r, bias, _, *states = take(node.inputs, 7)
    shape, dtype, _ = plan.info(x)
    axes, (parts, turn_of) = _order(node.attrs), _TURNS[node.op]
    times, batch, size = shape[axes[0]], shape[axes[1]], plan.info(r).shape[2]
    late, width = bool(node.attrs.get("linear_before_reset", 0)) and node.op == "GRU", parts * size
    both = np.zeros((2, width), dtype) if bias is None else plan.constant(bias)[d].reshape(2, width)
    added = both.sum(0, dtype=dtype)
    if late:
        added[2 * size :] = both[0, 2 * size :]
    room = plan.spot(node.outputs[-1])
    _multiply_all(plan, shape, plan.spot(x), (w, d), added, room)

    back = d == 1 or node.attrs.get("direction", "forward") == "reverse"
    start, forth = (times - 1, -1) if back else (0, 1)
    gates, between = _in_between(room, (times, batch, width, size), axes, start, forth)
    y, ends = _output(plan, node, d, axes, start, forth, (batch, size))
    h, *cells = (_state(plan, value, d, axes, (batch, size), dtype) for value in states[: len(ends)])
    names = [name.lower() for name in node.attrs.get("activations") or ()]
    function = RELU if names[d : d + 1] == ["relu"] else TANH
    turn, more = _Turn(plan, r, d), _More(function, late, both[1, 2 * size :] if late else None)
    if cells:
        turn.combine("", between[3], cells[0])
    begun = plan.program.count
    turn_of(turn, h, gates._replace(step=0), y._replace(step=0), between, more)
    if times > 1:
        plan.program.turns((times - 1,), plan.program.count - begun, False, 0)
        turn_of(turn, y, _moved(gates), _moved(y), between, more)
    last = _moved(y._replace(step=y.step * (times - 1)))._replace(step=0)
    for end, value in zip(ends, (last, between[3]), strict=False):
        if end is not None:
            turn.combine("", end, value)


def _in_between(
    room: Spot, sizes: tuple[int, int, int, int], axes: tuple[int, int], start: int, forth: int
) -> tuple[_Place, list[_Place]]:
    """Where the gates of the first step lie, which move on in time, and the arrays that hold what is in between."""
    (times, batch, width, size), item = sizes, room.item
    row = width * item
    time, image = (batch * row, row) if axes == (0, 1) else (row, times * row)
    gates = _Place(Spot(room.base, room.offset + start * time, (image, item), item, (batch, width)), forth * time)
    begins = [room.offset + times * batch * row + k * batch * size * item for k in range(_SCRATCH)]
    return gates, [_Place(Spot(room.base, at, (size * item, item), item, (batch, size))) for at in begins]


def _multiply_all(
    plan: Any, shape: tuple[int, ...], x: Spot, weight: tuple[Value, int], bias: np.ndarray, y: Spot
) -> None:
    """y = x W' + bias, rows along the first two axes: in one step, or in turns along the first."""
    w, d = plan.constant(weight[0]), weight[1]
    row, step = row_step(shape, x.strides), shape[1] * len(bias) * y.item
    turns, rows = (1, shape[0] * shape[1]) if row is not None else shape[:2]
    plan.program.turns((turns,), 1, True, 0)
    plan.program.conv(
        as_pixels(rows, shape[2], len(bias)), False, as_rows(x, x.strides[1] if row is None else row, x.strides[2]),
        as_kernel(w[d], False), bias, as_rows(y, len(bias) * y.item, y.item), False, NONE, engine.AUTO,
        plan.panels(w, ("recurrent", d)),
    )  # fmt: skip
    plan.program.moving((x.strides[0],), (step,))


def _moved(place: _Place) -> _Place:
    """A turn later."""
    return place._replace(spot=place.spot._replace(offset=place.spot.offset + place.step))


def _output(
    plan: Any, node: Any, d: int, axes: tuple[int, int], start: int, forth: int, shape: tuple[int, int]
) -> tuple[_Place, list[_Place | None]]:
    """Where this direction's output of the first step lies, and its last states; None of those that nobody wants."""
    spot, turned = plan.spot(node.outputs[0]), axes == (1, 0)
    steps = spot.strides[1 if turned else 0], spot.strides[2 if turned else 1], spot.strides[0 if turned else 2]
    time, direction, batch = steps
    y = _Place(
        Spot(spot.base, spot.offset + d * direction + start * time, (batch, spot.strides[3]), spot.item, shape),
        forth * time,
    )
    ends = []
    for value in take(node.outputs[1:-1], 2 if node.op == "LSTM" else 1):
        ends.append(None if value is None else _Place(_of_direction(plan.spot(value), d, turned, shape)))
    return y, ends


def _of_direction(spot: Spot, d: int, turned: bool, shape: tuple[int, int]) -> Spot:
    """One of two directions' states, (batch, features)."""
    axis = 1 if turned else 0
    return Spot(spot.base, spot.offset + d * spot.strides[axis], (spot.strides[1 - axis], spot.strides[2]), spot.item,
                shape)  # fmt: skip


def _state(plan: Any, value: Value | None, d: int, axes: tuple[int, int], shape: tuple[int, int], dtype) -> _Place:
    """Where an initial state lies; zeros, where there is none."""
    if value is None:
        return _Place(movable(plan, np.zeros(shape, dtype)))
    return _Place(_of_direction(movable(plan, plan.spot(value)), d, axes == (1, 0), shape))
