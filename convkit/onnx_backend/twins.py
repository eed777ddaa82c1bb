"""How a node of a graph is said in ONNX where that differs: convkit's own operators, fused nodes, what readers lack."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._pool_shapes import adaptive_out
from .._shapes import paddings
from ..graph.elements import NONE, operator_of
from ..graph.images import padding, pads_for, spatial
from ..graph.placement import ADDING
from ..graph.table import positive

Attrs = dict[str, Any]
_FUSED = ("activation", "sum", "algorithm")  # attributes of convkit's own
_PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def write(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs, outputs: Sequence[Any]) -> list[str]:
    """Emit the nodes that stand for one; the names of its outputs.

    Parameters
    ----------
    writer : Writer
    op, attrs
        Of the node; the attributes may be changed.
    inputs : sequence of Value, ndarray or None
    outputs : sequence of Value
    """
    activation, _, _ = (attrs.pop(name, None) for name in _FUSED)
    bias, added = None, None
    if op in ADDING:
        inputs, added = inputs[:3], inputs[3] if len(inputs) > 3 else None
    if op == "MatMul":
        inputs, bias = inputs[:2], inputs[2] if len(inputs) > 2 else None
    if len(outputs) > 1:
        return writer.emit(op, inputs, len(outputs), **attrs)
    y = _RULES.get(op, _plain)(writer, op, inputs, attrs)
    for term in (bias, added):
        y = y if term is None else writer.emit("Add", [y, term])
    return [_activated(writer, y, activation or NONE, writer.info(outputs[0]).dtype)]


def _activated(writer: Any, y: str, code: tuple[int, float, float], dtype: np.dtype) -> str:
    if code == NONE:
        return y
    op, attrs = operator_of(code)
    bounds = [np.asarray(bound, dtype) for bound in code[1:]] if op == "Clip" else []
    return _RULES.get(op, _plain)(writer, op, [y, *bounds], attrs)


def _plain(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs) -> str:
    return writer.emit(op, inputs, **attrs)


# ---------------------------------------------------------------- windows


def _windows(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs) -> str:
    """Padding by a name as numbers, since readers differ in what the names mean; other modes as a node of their own."""
    sizes = writer.info(inputs[0]).shape[2:]
    nd, mode = len(sizes), attrs.pop("padding_mode", "zeros")
    kernel = attrs["kernel_shape"] if "kernel_shape" in attrs else writer.info(inputs[1]).shape[2:]
    moves = kernel, spatial(attrs, "strides", nd), spatial(attrs, "dilations", nd)
    lo, hi = paddings(padding(attrs, nd), sizes, *moves)
    attrs.pop("auto_pad", None)
    x = inputs[0]
    if mode != "zeros" and any((*lo, *hi)):
        x = writer.emit("Pad", [x, np.array((0, 0, *lo, 0, 0, *hi), np.int64)], mode=_PAD_MODES[mode])
        lo = hi = (0,) * nd
    attrs["pads"] = (*lo, *hi)
    return writer.emit(op, [x, *inputs[1:]], **attrs)


def _transposed(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs) -> str:
    """Named padding gives size * stride: what is too much is cropped, what is missing added at the end."""
    named = attrs.pop("auto_pad", None)
    if named in ("SAME_UPPER", "SAME_LOWER") and "output_shape" not in attrs:
        sizes, kernel = writer.info(inputs[0]).shape[2:], writer.info(inputs[1]).shape[2:]
        strides, dilations = spatial(attrs, "strides", len(sizes)), spatial(attrs, "dilations", len(sizes))
        added = spatial(attrs, "output_padding", len(sizes), 0)
        whole = [n * s for n, s in zip(sizes, strides, strict=True)]
        pads, attrs["output_padding"] = pads_for(sizes, kernel, strides, dilations, added, whole, named)
        attrs["pads"] = [side for sides in zip(*pads, strict=True) for side in sides]
    elif named is not None:
        attrs["auto_pad"] = named
    return writer.emit(op, inputs, **attrs)


def _deformable(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs) -> str:
    """Groups are numbers in ONNX; convkit reads them off the shapes."""
    x, weight, offset = (writer.info(value).shape for value in inputs[:3])
    attrs["group"] = x[1] // weight[1]
    attrs["offset_group"] = offset[1] // (len(weight[2:]) * math.prod(weight[2:]))
    return _windows(writer, op, inputs, attrs)


# ---------------------------------------------------------------- adaptive pooling


def _adaptive(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs) -> str:
    """Pooling by equal windows where the sizes divide; else axis by axis."""
    info = writer.info(inputs[0])
    in_, out = info.shape[2:], adaptive_out(info.shape[2:], attrs.get("output_size", 1))
    if not any(size % wanted for size, wanted in zip(in_, out, strict=True)):
        kernel = [size // wanted for size, wanted in zip(in_, out, strict=True)]
        name = {"AdaptiveAveragePool": "AveragePool", "AdaptiveMaxPool": "MaxPool"}[op]
        return writer.emit(name, inputs, kernel_shape=kernel, strides=kernel)
    along = {"AdaptiveAveragePool": _averaged, "AdaptiveMaxPool": _largest}[op]
    y = inputs[0]
    for axis, (size, wanted) in enumerate(zip(in_, out, strict=True), 2):
        spans = [(i * size // wanted, -(-(i + 1) * size // wanted)) for i in range(wanted)]
        y = y if size == wanted else along(writer, y, axis, len(info.shape), size, spans, info.dtype)
    return y


def _averaged(writer: Any, x: Any, axis: int, axes: int, size: int, spans: list, dtype: np.dtype) -> str:
    """The product with a matrix of shares, the axis last."""
    shares = np.zeros((size, len(spans)), dtype)
    for i, (lo, hi) in enumerate(spans):
        shares[lo:hi, i] = 1 / (hi - lo)
    order = [*range(axis), *range(axis + 1, axes), axis]
    x = x if axis == axes - 1 else writer.emit("Transpose", [x], perm=order)
    y = writer.emit("MatMul", [x, shares])
    return y if axis == axes - 1 else writer.emit("Transpose", [y], perm=[order.index(i) for i in range(axes)])


def _largest(writer: Any, x: Any, axis: int, axes: int, size: int, spans: list, dtype: np.dtype) -> str:
    """The largest of the elements of each span; shorter ones have their last element twice."""
    longest = max(hi - lo for lo, hi in spans)
    places = np.array([[min(lo + i, hi - 1) for i in range(longest)] for lo, hi in spans], np.int64)
    y = writer.emit("Gather", [x, places], axis=axis)
    return writer.emit("ReduceMax", [y, np.array([axis + 1], np.int64)], keepdims=0)


# ---------------------------------------------------------------- elements


def _swish(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs) -> str:
    """An operator since opset 24, which runtimes have not yet."""
    x, alpha = inputs[0], attrs.get("alpha", 1.0)
    scaled = x if alpha == 1 else writer.emit("Mul", [x, np.asarray(alpha, writer.info(x).dtype)])
    return writer.emit("Mul", [x, writer.emit("Sigmoid", [scaled])])


def _chain(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs) -> str:
    """Of any number, one after the other; of one, itself."""
    y = inputs[0]
    for other in inputs[1:]:
        y = writer.emit(op, [y, other], **attrs)
    return writer.name(y)


def _affine(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs) -> str:
    return writer.emit("Add", [writer.emit("Mul", inputs[:2]), inputs[2]])


def _channel_norm(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs) -> str:
    """Layer normalisation of the last axis, where the channels are meanwhile."""
    axes = len(writer.info(inputs[0]).shape)
    last = writer.emit("Transpose", [inputs[0]], perm=(0, *range(2, axes), 1))
    y = writer.emit("LayerNormalization", [last, *inputs[1:]], axis=-1, **attrs)
    return writer.emit("Transpose", [y], perm=(0, axes - 1, *range(1, axes - 1)))


def _by_norm(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs) -> str:
    """Spelt out, so that passes know it again."""
    x, info, axis = inputs[0], writer.info(inputs[0]), np.array([attrs["axis"]], np.int64)
    if "epsilon" in attrs:
        mean = writer.emit("ReduceMean", [writer.emit("Mul", [x, x]), axis], keepdims=1)
        norm = writer.emit("Sqrt", [writer.emit("Add", [mean, np.asarray(attrs["epsilon"], info.dtype)])])
    else:
        norm = writer.emit(
            "Max", [writer.emit("ReduceL2", [x, axis], keepdims=1), np.asarray(attrs["least"], info.dtype)]
        )
    y = writer.emit("Div", [x, norm])
    if len(inputs) < 2:
        return y
    after = len(info.shape) - 1 - positive(attrs["axis"], len(info.shape))
    return writer.emit("Mul", [y, writer.info(inputs[1]).data.reshape(-1, *(1,) * after)])


def _itself(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs) -> str:
    return writer.name(inputs[0])


def _constant(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs) -> str:
    return writer.name(attrs["value"])


def _resize(writer: Any, op: str, inputs: Sequence[Any], attrs: Attrs) -> str:
    """ONNX's scales are float32: the nearest ones that give the same sizes."""
    x, roi, scales, sizes = [*inputs, *(None,) * (4 - len(inputs))]
    if sizes is not None:
        return writer.emit(op, [x, roi, None, sizes], **attrs)
    known = scales if isinstance(scales, np.ndarray) else writer.info(scales).data
    shape = writer.info(x).shape
    axes = attrs.get("axes") or range(len(shape))
    nearest = [_nearest(float(scale), shape[axis]) for scale, axis in zip(known, axes, strict=True)]
    return writer.emit(op, [x, roi, np.array(nearest, np.float32)], **attrs)


def _nearest(scale: float, size: int) -> np.float32:
    """Large enough for onnx's inference, which multiplies in float64, and not too large for runtimes, in float32."""
    nearest, wanted = np.float32(scale), math.floor(scale * size)
    while math.floor(float(nearest) * size) < wanted:
        nearest = np.nextafter(nearest, np.float32(np.inf))
    while math.floor(nearest * np.float32(size)) > wanted:
        nearest = np.nextafter(nearest, np.float32(0))
    return nearest


_RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("Conv", "AveragePool", "MaxPool"), _windows),
    **dict.fromkeys(("AdaptiveAveragePool", "AdaptiveMaxPool"), _adaptive),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _chain),
    **dict.fromkeys(("Identity", "Dropout"), _itself),
    "ConvTranspose": _transposed, "Affine": _affine, "ChannelNormalization": _channel_norm, "ByNorm": _by_norm,
    "DeformConv": _deformable, "Swish": _swish, "Constant": _constant, "Resize": _resize,
}  # fmt: skip
