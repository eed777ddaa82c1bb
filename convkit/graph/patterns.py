"""Passes that put operators together which exporters spell out: gates, normalisation, products and sums."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..ops._elementwise import clip
from .elements import CODES, code_of
from .ir import Graph, Node, Value
from .table import Attrs
from .uses import Uses


def _number(node: Node | None, ops: str) -> tuple[Value, float] | None:
    """What a node of one of these operators takes, and the one number that it takes beside it; None of other nodes."""
    if node is None or node.op not in ops.split() or len(node.inputs) != 2 or "activation" in node.attrs:
        return None
    for x, number in (node.inputs, node.inputs[::-1])[: 1 if node.op in ("Div", "Sub", "Pow") else 2]:
        if number.data is None or x.data is not None or number.data.size != 1 or number.data.dtype.kind != "f":
            continue
        if number.data.ndim <= max(1, _axes_of(x) or 0):  # else the result may have more axes than x
            return x, float(number.data.reshape(()))
    return None


def _is(node: Node | None, op: str) -> bool:
    return node is not None and node.op == op


def _near(number: float, wanted: float) -> bool:
    return math.isclose(number, wanted, rel_tol=1e-6)


# ---------------------------------------------------------------- gates


def _is_sixth(node: Node) -> Value | None:
    """What a node divides by six."""
    x, number = _number(node, "Div Mul") or (None, 0.0)
    return x if _near(number, 6 if node.op == "Div" else 1 / 6) else None


def fuse_hard_sigmoid(graph: Graph, uses: Uses) -> None:
    """clip(x + 3, 0, 6) / 6 as one, and x times that, in the order of exporters that have no such operators."""
    for node in graph.nodes:
        product = _is_sixth(node)
        if product is None or product.node is None or not uses.alone(product):
            continue
        x = _shifted_and_clipped(uses, product)
        if x is not None:
            uses.change(node, "HardSigmoid", [x], {"alpha": 1 / 6, "beta": 0.5})
        elif product.node.op == "Mul" and len(product.node.inputs) == 2:
            for x, gate in (product.node.inputs, product.node.inputs[::-1]):
                if uses.alone(gate) and _shifted_and_clipped(uses, gate) is x:
                    uses.change(node, "HardSwish", [x], {})
                    break


def _shifted_and_clipped(uses: Uses, value: Value) -> Value | None:
    """x, of a value that is clip(x + 3, 0, 6)."""
    bounds = value.node
    if bounds is None or bounds.op != "Clip" or code_of(bounds) != clip(0.0, 6.0):
        return None
    x, number = _number(bounds.inputs[0].node, "Add") or (None, 0.0)
    return x if number == 3 and uses.alone(bounds.inputs[0]) else None


def fuse_swish(graph: Graph, uses: Uses) -> None:
    """x * sigmoid(x) as one, and x * hard_sigmoid(x)."""
    names = {"Sigmoid": "Swish", "HardSigmoid": "HardSwish"}
    for node in graph.nodes:
        if node.op != "Mul" or len(node.inputs) != 2:
            continue
        for x, gate in (node.inputs, node.inputs[::-1]):
            maker = gate.node
            if maker is None or maker.op not in names or maker.inputs[0] is not x or not uses.alone(gate):
                continue
            if maker.op == "HardSigmoid" and CODES["HardSigmoid"](maker.attrs, ()) is None:
                continue
            uses.change(node, names[maker.op], [x], {})
            break


def fuse_gelu(graph: Graph, uses: Uses) -> None:
    """x * (1 + erf(x / sqrt(2))) / 2 as one, in whichever order; and so with tanh(sqrt(2 / pi) (x + 0.044715 x^3))."""
    for node in graph.nodes:
        factors = _factors(uses, node, 2)
        rest = [value for value, _ in factors if value is not None]
        if len(rest) != 2 or not _near(math.prod(number for _, number in factors), 0.5):
            continue
        for x, gate in (rest, rest[::-1]):
            if not uses.alone(gate):
                continue
            if _one_and_erf(uses, gate) is x:
                uses.change(node, "Gelu", [x], {})
                break
            if _one_and_tanh(uses, gate, x):
                uses.change(node, "Gelu", [x], {"approximate": "tanh"})
                break


def _factors(uses: Uses, node: Node | None, depth: int) -> list[tuple[Value | None, float]]:
    """Of a product, and of products in it, this deep: values, each with the number 1, and numbers without a value."""
    x, number = _number(node, "Mul Div") or (None, 0.0)
    if x is not None:
        factors, parts = [(None, 1 / number if node.op == "Div" and number else number)], [x]
    else:
        factors, parts = [], node.inputs if _is(node, "Mul") and len(node.inputs) == 2 else []
    for value in parts:
        inner = _factors(uses, value.node, depth - 1) if depth and uses.alone(value) else []
        factors += inner or [(value, 1.0)]
    return factors


def _one_and_erf(uses: Uses, value: Value) -> Value | None:
    """x, of a value that is 1 + erf(x / sqrt(2))."""
    inner, number = _number(value.node, "Add") or (None, 0.0)
    erf = None if inner is None or number != 1 or not uses.alone(inner) else inner.node
    if erf is None or erf.op != "Erf" or not uses.alone(erf.inputs[0]):
        return None
    x, number = _number(erf.inputs[0].node, "Div Mul") or (None, 0.0)
    return x if _near(number, math.sqrt(2 if erf.inputs[0].node.op == "Div" else 0.5)) else None


def _one_and_tanh(uses: Uses, value: Value, x: Value) -> bool:
    """Whether a value is 1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))."""
    inner, number = _number(value.node, "Add") or (None, 0.0)
    if inner is None or number != 1 or not _is(inner.node, "Tanh"):
        return False
    polynomial, number = _number(inner.node.inputs[0].node, "Mul") or (None, 0.0)
    if polynomial is None or not _near(number, math.sqrt(2 / math.pi)) or not _is(polynomial.node, "Add"):
        return False
    terms = polynomial.node.inputs
    return len(terms) == 2 and any(a is x and _is_cubic(uses, b, x) for a, b in (terms, terms[::-1]))


def _is_cubic(uses: Uses, value: Value, x: Value) -> bool:
    """Whether a value is 0.044715 x^3."""
    cube, number = _number(value.node, "Mul") or (None, 0.0)
    power, exponent = _number(None if cube is None else cube.node, "Pow") or (None, 0.0)
    if power is x and exponent == 3:
        return _near(number, 0.044715)
    factors = _factors(uses, value.node, 2)
    values = [of for of, _ in factors if of is not None]
    return _near(math.prod(each for _, each in factors), 0.044715) and len(values) == 3 and all(v is x for v in values)


# ---------------------------------------------------------------- normalisation, and maps


def fuse_standard(graph: Graph, uses: Uses) -> None:
    """(x - mean) / sqrt(variance + epsilon) * scale, and a bias, as one: of the last axis, or the channels."""
    for node in graph.nodes:
        quotient, scale = _scaled(node)
        found = None if quotient is None or not uses.alone(quotient) else _standardised(quotient.node)
        if found is None:
            continue
        (x, axis, epsilon), attrs = found, {}
        if axis == -1 and scale.data.ndim == 1:
            op, attrs = "LayerNormalization", {"axis": -1}
        elif axis == 1 and _is_channels(scale.data) and _axes_of(x) == 4:
            op, scale = "ChannelNormalization", graph.constant(scale.data.reshape(-1))
        else:
            continue
        uses.change(node, op, [x, scale], attrs | {"epsilon": epsilon})
        _take_bias(graph, uses, node)


def _scaled(node: Node) -> tuple[Value | None, Value | None]:
    """A value and the constant that it is multiplied by."""
    if node.op == "Mul" and len(node.inputs) == 2:
        for x, scale in (node.inputs, node.inputs[::-1]):
            if scale.data is not None and x.data is None:
                return x, scale
    return None, None


def _is_channels(array: np.ndarray) -> bool:
    """Whether an array has one number for each channel of a picture."""
    return array.ndim in (3, 4) and array.shape[-3:] == (array.size, 1, 1) and array.size > 1


def _axes_of(value: Value | None, depth: int = 8) -> int | None:
    """How many axes a value has, where the nodes before it tell."""
    if value is None or value.info is not None:
        return None if value is None else len(value.info.shape)
    node = value.node
    if node is None or not depth:
        return None
    if node.op in ("Conv", "ConvTranspose"):
        return _axes_of(node.inputs[1])
    several = {_axes_of(v, depth - 1) for v in node.inputs if v.data is None} if node.op in ("Add", "Relu") else {None}
    return several.pop() if len(several) == 1 else None


def _standardised(node: Node | None) -> tuple[Value, int, float] | None:
    """x, the axis and epsilon, of a quotient that is x over this axis with mean 0 and deviation 1."""
    if node is None or node.op != "Div" or len(node.inputs) != 2:
        return None
    above, deviation = (value.node for value in node.inputs)
    variance, epsilon = _number(deviation.inputs[0].node, "Add") or (None, 0.0) if _is(deviation, "Sqrt") else (None, 0)
    square, axis = _mean(variance)
    x, own_axis = _centred(above)
    if x is None or square is None or axis != own_axis or axis is None:
        return None
    factors = _squared(square)
    alike = len(factors) == 2 and all(_centred(value.node) == (x, axis) for value in factors)
    return (x, axis, epsilon) if alike else None


def _squared(value: Value) -> Sequence[Value]:
    """What a square is the product of; nothing of other values."""
    power, exponent = _number(value.node, "Pow") or (None, 0.0)
    if exponent == 2:
        return power, power
    return value.node.inputs if _is(value.node, "Mul") and len(value.node.inputs) == 2 else ()


def _mean(value: Value | None) -> tuple[Value | None, int | None]:
    """What a value is the mean of, over this one axis."""
    node = None if value is None else value.node
    if not _is(node, "ReduceMean") or not node.attrs.get("keepdims", 1) or len(node.inputs) < 2:
        return None, None
    axes = None if node.inputs[1] is None else node.inputs[1].data
    return (node.inputs[0], int(axes.reshape(()))) if axes is not None and axes.size == 1 else (None, None)


def _centred(node: Node | None) -> tuple[Value | None, int | None]:
    """x, and the axis, of x less its mean."""
    if not _is(node, "Sub") or len(node.inputs) != 2:
        return None, None
    of, axis = _mean(node.inputs[1])
    return (of, axis) if of is node.inputs[0] else (None, None)


def _take_bias(graph: Graph, uses: Uses, node: Node) -> None:
    """Let a normalisation add what is added to it."""
    y, scale = node.outputs[0], node.inputs[1]
    user = uses[y][0] if uses.alone(y) else None
    if user is None or not _is(user, "Add") or len(user.inputs) != 2:
        return
    bias = next((value.data for value in user.inputs if value.data is not None), None)
    if bias is None or bias.size != scale.data.size or bias.dtype != scale.data.dtype:
        return
    if bias.ndim == 1 if node.op == "LayerNormalization" else _is_channels(bias):
        uses.change(node, node.op, [*node.inputs, graph.constant(bias.reshape(-1))], node.attrs)
        uses.absorb(user, node)


def fuse_by_norm(graph: Graph, uses: Uses) -> None:
    """x over the root of the mean of its squares along an axis, or over its norm, as one; and a scale."""
    for node in graph.nodes:
        found = _over_root(node) or _over_norm(node)
        if found is None:
            continue
        x, attrs = found
        y, axis = node.outputs[0], attrs["axis"]
        user = uses[y][0] if uses.alone(y) else None
        _, scale = _scaled(user) if user is not None else (None, None)
        uses.change(node, "ByNorm", [x], attrs)
        if scale is not None and scale.data.dtype.kind == "f" and scale.data.size > 1:
            if scale.data.ndim == 1 if axis == -1 else axis == 1 and _is_channels(scale.data) and _axes_of(x) == 4:
                uses.change(node, "ByNorm", [x, graph.constant(scale.data.reshape(-1))], attrs)
                uses.absorb(user, node)


def _over_root(node: Node) -> tuple[Value, Attrs] | None:
    """x and attributes of what is x / sqrt(mean of squares + epsilon), or a product with 1 over that."""
    if node.op not in ("Div", "Mul") or len(node.inputs) != 2:
        return None
    for x, other in (node.inputs, node.inputs[::-1])[: 1 if node.op == "Div" else 2]:
        root = other if node.op == "Div" else _inverse_of(other.node)
        if root is None or not _is(root.node, "Sqrt"):
            continue
        mean, epsilon = _number(root.node.inputs[0].node, "Add") or (None, 0.0)
        square, axis = _mean(mean)
        if square is not None and axis is not None and epsilon > 0 and list(_squared(square)) == [x, x]:
            return x, {"axis": axis, "epsilon": epsilon}
    return None


def _inverse_of(node: Node | None) -> Value | None:
    """What a node divides 1 by."""
    if _is(node, "Reciprocal"):
        return node.inputs[0]
    one = node.inputs[0].data if _is(node, "Div") and len(node.inputs) == 2 else None
    return node.inputs[1] if one is not None and one.size == 1 and one.ndim <= 1 and one.item() == 1 else None


def _over_norm(node: Node) -> tuple[Value, Attrs] | None:
    """x and attributes of what is x over its norm, or over the least that counts for one."""
    if node.op != "Div" or len(node.inputs) != 2:
        return None
    x, norm = node.inputs
    if _is(norm.node, "Expand"):
        shape = norm.node.inputs[1].node
        if not _is(shape, "Shape") or shape.inputs[0] is not x or shape.attrs:
            return None
        norm = norm.node.inputs[0]
    length, least = _bounded_below(norm.node)
    if not _is(length.node if length is not None else None, "ReduceL2") or length.node.inputs[0] is not x:
        return None
    _, *axes = length.node.inputs
    data = axes[0].data if axes and axes[0] is not None else None
    if data is None or data.size != 1 or not length.node.attrs.get("keepdims", 1):
        return None
    return x, {"axis": int(data.reshape(())), "least": least}


def _bounded_below(node: Node | None) -> tuple[Value | None, float]:
    """What a node takes, and the least number that it makes of it."""
    if _is(node, "Clip") and len(node.inputs) >= 2 and (len(node.inputs) == 2 or node.inputs[2] is None):
        least = None if node.inputs[1] is None else node.inputs[1].data
        return (None, 0.0) if least is None or least.size != 1 else (node.inputs[0], float(least.reshape(())))
    return _number(node, "Max") or (None, 0.0)


def fuse_maps(graph: Graph, uses: Uses) -> None:
    """A product and then a sum with constant numbers as one pass."""
    for node in graph.nodes:
        product, _ = _number(node, "Add") or (None, 0.0)
        if product is not None and uses.alone(product) and _number(product.node, "Mul"):
            x, factor = sorted(product.node.inputs, key=lambda value: value.data is not None)
            shift = next(value for value in node.inputs if value.data is not None)
            uses.change(node, "Affine", [x, factor, shift], {})
