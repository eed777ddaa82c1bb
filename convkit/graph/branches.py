"""Convolutions of one image that are added, as one: so re-parameterised networks look as they were trained.

Of RepVGG's blocks, MobileOne's and RepViT's the branches are kernels of several sizes, normalisations, and the image
itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .images import spatial
from .ir import Graph, Node, Value
from .maps import affine
from .uses import Uses

CONV = frozenset(("Conv",))


class _Form(NamedTuple):
    """What two kernels have to share: all but the taps and the padding."""

    group: int
    strides: tuple[int, ...]
    others: tuple


@np.errstate(all="ignore")
def merge(graph: Graph, uses: Uses, node: Node) -> bool:
    """Let a convolution give what it gave plus another linear map of its image, if a node is that sum.

    Not where a weight would be infinite: times a zero that is NaN.
    """
    if node.op != "Add" or len(node.inputs) != 2 or "activation" in node.attrs:
        return False
    for value, other in (node.inputs, node.inputs[::-1]):
        conv = uses.maker_alone(value, CONV)
        if conv is None or value is other or not _known(conv):
            continue
        if other is conv.inputs[0] and not _is_normalised(uses, node):
            continue
        more = _as_kernel(uses, conv, other)
        if more is None:
            continue
        weight, bias = _numbers(conv)
        dtype = conv.inputs[1].data.dtype
        sums = [(a + b).astype(dtype) for a, b in zip((weight, bias), more, strict=True)]
        if not all(np.isfinite(array).all() for array in sums):
            continue
        uses.change(conv, "Conv", [conv.inputs[0], *map(graph.constant, sums)], conv.attrs)
        if other is not conv.inputs[0] and other.node is not None:
            uses.change(other.node, "Identity", [], {})
        uses.absorb(node, conv)
        return True
    return False


def _is_normalised(uses: Uses, node: Node) -> bool:
    """Whether a normalisation takes the sum, and nothing else: to add an image costs less than one."""
    takers = uses[node.outputs[0]]
    return len(takers) == 1 and takers[0] is not None and takers[0].op == "BatchNormalization"


def _known(conv: Node) -> bool:
    """Whether weight and bias are constants, and the padding is said by numbers, of zeros."""
    explicit = conv.attrs.get("auto_pad", "NOTSET") in ("", "NOTSET")
    zeros = conv.attrs.get("padding_mode", "zeros") == "zeros"
    return explicit and zeros and all(value is None or value.data is not None for value in conv.inputs[1:])


def _numbers(conv: Node) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias, in float64."""
    weight, bias = (*conv.inputs[1:], None)[:2]
    kernel = weight.data.astype(np.float64)
    return kernel, np.zeros(len(kernel)) if bias is None else bias.data.astype(np.float64)


def _form(conv: Node) -> _Form:
    nd = conv.inputs[1].data.ndim - 2
    others = conv.attrs.get("algorithm", "auto"), conv.inputs[1].data.dtype
    return _Form(conv.attrs.get("group", 1), spatial(conv.attrs, "strides", nd), others)


def _as_kernel(uses: Uses, conv: Node, other: Value) -> tuple[np.ndarray, np.ndarray] | None:
    """Another map of the convolution's image as a kernel of its shape, and a bias; None if it is none."""
    image, kernel = conv.inputs[0], conv.inputs[1].data
    if other is image:
        return _diagonal(conv, np.ones(len(kernel)), np.zeros(len(kernel)))
    maker = uses.maker_alone(other, CONV)
    if maker is not None and maker.inputs[0] is image:
        return _placed(conv, maker) if _known(maker) and _form(maker) == _form(conv) else None
    maker = other.node
    if maker is None or maker.op != "BatchNormalization" or maker.inputs[0] is not image or not uses.alone(other):
        return None
    statistics = [value.data for value in maker.inputs[1:]]
    return None if any(array is None for array in statistics) else _diagonal(conv, *affine(maker.attrs, *statistics))


def _offsets(conv: Node, kernel: tuple[int, ...], dilations, pads) -> tuple[int, ...] | None:
    """The first tap of the convolution's that a smaller kernel's first stands at; None if they do not meet."""
    nd = len(kernel)
    own, steps = conv.inputs[1].data.shape[2:], spatial(conv.attrs, "dilations", nd)
    around, at = spatial(conv.attrs, "pads", 2 * nd, 0), []
    for i, (few, many, step) in enumerate(zip(kernel, own, steps, strict=True)):
        before, rest = divmod(around[i] - pads[i], step)
        after = around[nd + i] - pads[nd + i] - (many - few - before) * step
        if (few > 1 and dilations[i] != step) or rest or after or not 0 <= before <= many - few:
            return None
        at.append(before)
    return tuple(at)


def _placed(conv: Node, other: Node) -> tuple[np.ndarray, np.ndarray] | None:
    """Another convolution's weights among zeros, where the taps read the same."""
    (weight, bias), shape = _numbers(other), conv.inputs[1].data.shape
    nd, kernel = len(shape) - 2, weight.shape[2:]
    if weight.ndim != len(shape) or weight.shape[:2] != shape[:2]:
        return None
    at = _offsets(conv, kernel, spatial(other.attrs, "dilations", nd), spatial(other.attrs, "pads", 2 * nd, 0))
    if at is None:
        return None
    among = np.zeros(shape)
    among[(..., *(slice(first, first + size) for first, size in zip(at, kernel, strict=True)))] = weight
    return among, bias


def _diagonal(conv: Node, factor: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A factor and a summand of each channel as a kernel: of one tap, that reads the output's own place."""
    form, shape = _form(conv), conv.inputs[1].data.shape
    nd, outputs, each = len(shape) - 2, shape[0], shape[1]
    alike = outputs == each * form.group == len(factor) and all(step == 1 for step in form.strides)
    at = _offsets(conv, (1,) * nd, (1,) * nd, (0,) * (2 * nd)) if alike else None
    if at is None:
        return None
    among = np.zeros(shape)
    among[(np.arange(outputs), np.arange(outputs) % each, *at)] = factor
    return among, shift
