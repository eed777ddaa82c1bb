"""Operators as older operator sets have them, in their newest form.

A change takes a `Call` and alters it; one that makes nodes of its own returns their result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Graph, Value
from .files import UnsupportedError

Result = Value | tuple[Value, ...]


class Call:
    """One use of an operator, while it is being converted.

    Attributes
    ----------
    graph : Graph
    op : str
    inputs : list of Value or None
    attrs : dict
    outputs : int
        How many are asked for.
    ranks : function
        ``ranks(i)``: the number of axes of the i-th input.
    """

    def __init__(
        self, graph: Graph, op: str, inputs: list[Value | None], attrs: dict[str, Any], outputs: int,
        ranks: Callable[[int], int],
    ) -> None:  # fmt: skip
        self.graph, self.op, self.inputs, self.attrs, self.outputs, self.ranks = (
            graph,
            op,
            inputs,
            attrs,
            outputs,
            ranks,
        )

    def put(self, index: int, numbers: Any, dtype: Any = np.int64) -> None:
        """A constant as the input of this index; None leaves it out."""
        self.inputs += [None] * (index + 1 - len(self.inputs))
        self.inputs[index] = None if numbers is None else self.graph.constant(np.array(numbers, dtype))

    def emit(self, op: str, *inputs: Any, **attrs: Any) -> Value:
        """A node before this one."""
        return self.graph.emit(op, inputs, attrs)

    def unsupported(self, what: str) -> UnsupportedError:
        """An error that says what of this operator there is none of."""
        return UnsupportedError(f"{self.op} with {what}")


Change = Callable[[Call], Result | None]
_CHANGES: dict[str, list[tuple[int, Change]]] = {}


def _before(version: int, *ops: str) -> Callable[[Change], Change]:
    """Decorator: what these operators need whose set is older than that."""

    def enter(change: Change) -> Change:
        for op in ops:
            _CHANGES.setdefault(op, []).append((version, change))
        return change

    return enter


def newest(call: Call, version: int) -> Result | None:
    """Bring a call into the newest form; the values that it gives, where that takes other nodes."""
    result = None
    for version_since, change in _CHANGES.get(call.op, ()):
        if version < version_since and result is None:
            result = change(call)
    return result


# ---------------------------------------------------------------- attributes that became inputs


@_before(13, "Squeeze", "Unsqueeze", "ReduceSum")
@_before(18, *(f"Reduce{name}" for name in "Mean Max Min Prod L1 L2 LogSum LogSumExp SumSquare".split()))
def _axes(call: Call) -> None:
    if "axes" in call.attrs:
        call.put(1, call.attrs.pop("axes"))


@_before(11, "Clip")
def _bounds(call: Call) -> None:
    for i, name in enumerate(("min", "max"), 1):
        if name in call.attrs:
            call.put(i, call.attrs.pop(name), np.float32)


@_before(11, "Pad")
def _pads(call: Call) -> None:
    pads = call.attrs.pop("paddings", None)
    call.put(1, call.attrs.pop("pads", pads))
    call.put(2, call.attrs.pop("value", 0.0), np.float32)


@_before(10, "Slice")
def _slices(call: Call) -> None:
    for i, name in enumerate(("starts", "ends", "axes"), 1):
        call.put(i, call.attrs.pop(name, None))


@_before(18, "Split")
def _split(call: Call) -> None:
    sizes = call.attrs.pop("split", None)
    if sizes is not None:
        call.put(1, sizes)
    if len(call.inputs) < 2 or call.inputs[1] is None:
        call.attrs["num_outputs"] = call.outputs


@_before(5, "Reshape")
def _shape(call: Call) -> None:
    if "shape" in call.attrs:
        call.put(1, call.attrs.pop("shape"))


@_before(10, "TopK")
def _count(call: Call) -> None:
    call.put(1, [call.attrs.pop("k")])


@_before(20, "DFT")
def _axis(call: Call) -> None:
    call.put(2, call.attrs.pop("axis", 1))


# ---------------------------------------------------------------- what has changed its name or its meaning


@_before(4, "Concat")
def _concat(call: Call) -> None:
    call.attrs.setdefault("axis", 1)


@_before(6, "Selu")
def _selu(call: Call) -> None:
    call.attrs = {"alpha": 1.6732, "gamma": 1.0507} | call.attrs


@_before(11, "Scatter")
def _scatter(call: Call) -> None:
    call.op = "ScatterElements"


@_before(6, "Tile")
def _tile(call: Call) -> None:
    raise call.unsupported("tiles and an axis, of operator sets before 6")


@_before(13, "Softmax", "LogSoftmax", "Hardmax")
def _flattened(call: Call) -> Value:
    """Over all axes from this one on, as rows of a matrix."""
    x = call.inputs[0]
    rows = call.emit("Flatten", x, axis=call.attrs.get("axis", 1))
    return call.emit("Reshape", call.emit(call.op, rows, axis=-1), call.emit("Shape", x), allowzero=1)


@_before(10, "Dropout")
def _mask(call: Call) -> Result | None:
    """The mask has the type of x."""
    if call.outputs == 1:
        return None
    x = call.inputs[0]
    mask = call.emit("ConstantOfShape", call.emit("Shape", x), value=np.ones(1, bool))
    return call.emit("Identity", x), call.emit("CastLike", mask, x)


@_before(math.inf, "Dropout")
def _dropout(call: Call) -> Result | None:
    """What it drops where it is told to; else nothing, and a mask that says so."""
    training = call.inputs[2] if len(call.inputs) > 2 else None
    if training is not None and (training.data is None or training.data.any()):
        call.op = "DropoutInTraining"
        return None
    x = call.inputs[0]
    if call.outputs == 1:
        return call.emit("Identity", x)
    return call.emit("Identity", x), call.emit("ConstantOfShape", call.emit("Shape", x), value=np.ones(1, bool))


@_before(math.inf, "Gather")
def _gathered(call: Call) -> Value | None:
    """One slice of an axis is a view."""
    index, axis = call.inputs[1].data, call.attrs.get("axis", 0)
    if index is None or index.ndim:
        return None
    start = int(index)
    end = start + 1 if start != -1 else np.iinfo(np.int64).max
    part = call.emit("Slice", call.inputs[0], *(np.array([number], np.int64) for number in (start, end, axis)))
    return call.emit("Squeeze", part, np.array([axis], np.int64))


@_before(math.inf, "Sum")
def _sum(call: Call) -> Value:
    total = call.emit("Identity", call.inputs[0])
    for value in call.inputs[1:]:
        total = call.emit("Add", total, value)
    return total


@_before(math.inf, "BatchNormalization")
def _trained(call: Call) -> None:
    if call.attrs.pop("training_mode", 0):
        call.op = "BatchNormalizationInTraining"


@_before(14, "BatchNormalization")
def _batch_norm(call: Call) -> None:
    if call.attrs.pop("spatial", 1) != 1:
        raise call.unsupported("statistics for every element (spatial=0)")
    if call.outputs > 1:
        raise call.unsupported("outputs of training, before operator set 14")
    call.attrs.pop("is_test", None)


@_before(21, "GroupNormalization")
def _group_norm(call: Call) -> None:
    call.attrs["by_group"] = 1  # scale and bias have an element for each group, no longer for each channel


@_before(7, "Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Less", "Greater", "Equal")
def _aligned(call: Call) -> None:
    """The second operand's axes may begin at one of the first's."""
    axis = call.attrs.pop("axis", None)
    if call.attrs.pop("broadcast", 0) and axis is not None:
        call.inputs[1] = _followed(call, axis)


@_before(7, "PRelu")
def _slopes(call: Call) -> None:
    """One slope for each channel."""
    slope = call.inputs[1]
    if call.ranks(1) == 1 and (slope.data is None or slope.data.size > 1):
        call.inputs[1] = _followed(call, 1)


def _followed(call: Call, axis: int) -> Value:
    """The second operand, whose first axis is that of the first one, with axes of size 1 behind its own."""
    first, own = call.ranks(0), call.ranks(1)
    more = first - (axis if axis >= 0 else axis + first) - own
    if more <= 0:
        return call.inputs[1]
    b = call.inputs[1]
    if b.data is not None:
        return call.graph.constant(b.data.reshape(*b.data.shape, *(1,) * more))
    return call.emit("Unsqueeze", b, np.arange(own, own + more))


@_before(16, "RoiAlign")
def _roi_align(call: Call) -> None:
    call.attrs["coordinate_transformation_mode"] = "output_half_pixel"


@_before(11, "Resize")
def _resize(call: Call) -> None:
    call.inputs = [call.inputs[0], None, call.inputs[1]]
    call.attrs |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


@_before(13, "Resize")
def _for_nearest(call: Call) -> None:
    """TensorFlow's places lie half an element beyond half_pixel's, which rounding makes up for."""
    if call.attrs.get("coordinate_transformation_mode") != "tf_half_pixel_for_nn":
        return
    if call.attrs.get("mode", "nearest") != "nearest" or call.attrs.get("nearest_mode") != "floor":
        raise call.unsupported("tf_half_pixel_for_nn, but for the nearest element below (nearest_mode='floor')")
    call.attrs |= {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}


@_before(math.inf, "Upsample")
def _upsample(call: Call) -> None:
    scales = call.attrs.pop("scales", None)
    if "height_scale" in call.attrs:
        scales = 1.0, 1.0, call.attrs.pop("height_scale"), call.attrs.pop("width_scale")
    if scales is not None:
        call.put(1, scales, np.float32)
    call.op = "Resize"
    call.attrs["mode"] = {"bilinear": "linear"}.get(
        call.attrs.get("mode", "nearest"), call.attrs.get("mode", "nearest")
    )
    _resize(call)
