"""Convolutions of one image that are added, as one: what re-parameterised networks have while they are trained.

The branches of RepVGG's blocks, MobileOne's and RepViT's are kernels of several sizes, normalisations, and the image
itself. A convolution that takes them in rounds as one whose weights are that large, as when their authors merge them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._arrays import is_real
from .images import spatial
from .ir import Graph, Node, Value
from .maps import affine
from .table import take
from .uses import Uses

_CONV = frozenset(("Conv",))


class _Known(NamedTuple):
    """A convolution by constants: of (C_out, C_in / group, *kernel) and (C_out,), in float64."""

    weight: np.ndarray
    bias: np.ndarray
    dtype: np.dtype
    algorithm: str
    group: int
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    def like(self, other: _Known) -> bool:
        """Whether they differ in taps and padding at most."""
        return self[2:6] == other[2:6] and self.weight.shape[:2] == other.weight.shape[:2]


@np.errstate(all="ignore")
def merge(graph: Graph, uses: Uses, node: Node) -> bool:
    """Let a convolution give what it gave plus another linear map of its image, if a node is that sum.

    Not where a number would be infinite: a weight times a zero would be NaN.
    """
    if node.op != "Add" or len(node.inputs) != 2:
        return False
    for value, other in (node.inputs, node.inputs[::-1]):
        conv = uses.maker_alone(value, _CONV)
        if conv is None or not _is_beside(uses, conv.inputs[0], node, other):
            continue
        known = _known(conv)
        more = None if known is None else _as_kernel(uses, conv.inputs[0], known, other)
        if known is None or more is None:
            continue
        sums = [(a + b).astype(known.dtype) for a, b in zip(known[:2], more, strict=True)]
        if all(np.isfinite(array).all() for array in sums):
            uses.change(conv, "Conv", [conv.inputs[0], *map(graph.constant, sums)], conv.attrs)
            uses.absorb(node, conv)
            return True
    return False


def _is_beside(uses: Uses, image: Value, node: Node, other: Value) -> bool:
    """Whether a term of a sum is computed from the image, for the sum alone.

    The image itself only if a normalisation alone takes the sum: else it costs next to nothing to add it.
    """
    if other is image:
        takers = uses[node.outputs[0]]
        return len(takers) == 1 and takers[0] is not None and takers[0].op == "BatchNormalization"
    maker = other.node
    return maker is not None and maker.inputs[:1] == [image] and uses.alone(other)


def _known(conv: Node) -> _Known | None:
    """What a convolution computes; None if that is not known, or is what the plan will refuse."""
    weight, bias = (value if value is None else value.data for value in take(conv.inputs, 3)[1:])
    unknown = weight is None or (bias is None and conv.inputs[2:] not in ([], [None]))
    named = (
        conv.attrs.get("auto_pad", "NOTSET") not in ("", "NOTSET") or conv.attrs.get("padding_mode", "zeros") != "zeros"
    )
    if unknown or named or weight.ndim < 3 or not is_real(weight.dtype):
        return None
    nd, group, outputs = weight.ndim - 2, conv.attrs.get("group", 1), len(weight)
    strides, dilations = (spatial(conv.attrs, name, nd) for name in ("strides", "dilations"))
    pads = spatial(conv.attrs, "pads", 2 * nd, 0)
    sound = len(strides) == len(dilations) == nd and len(pads) == 2 * nd and min(*strides, *dilations, group) > 0
    if not sound or not (bias is None or _one_each(bias, outputs, weight.dtype)):
        return None
    summand = np.zeros(outputs) if bias is None else bias.astype(np.float64)
    algorithm = conv.attrs.get("algorithm", "auto")
    return _Known(weight.astype(np.float64), summand, weight.dtype, algorithm, group, strides, dilations, pads)


def _one_each(numbers: np.ndarray, channels: int, dtype: np.dtype) -> bool:
    return numbers.shape == (channels,) and numbers.dtype == dtype


def _as_kernel(uses: Uses, image: Value, conv: _Known, other: Value) -> tuple[np.ndarray, np.ndarray] | None:
    """Another map of a convolution's image as a kernel of its shape, and a bias; None if it is none."""
    channels, maker = len(conv.weight), other.node
    if other is image or maker is None:
        return _diagonal(conv, np.ones(channels), np.zeros(channels))
    if maker.op == "BatchNormalization":
        numbers = [None if value is None else value.data for value in maker.inputs[1:]]
        if len(numbers) != 4 or not all(v is not None and _one_each(v, channels, conv.dtype) for v in numbers):
            return None
        return _diagonal(conv, *affine(maker.attrs, *numbers))
    beside = None if uses.maker_alone(other, _CONV) is None else _known(maker)
    at = _offsets(conv, beside) if beside is not None and beside.like(conv) else None
    return None if beside is None or at is None else (_among_zeros(conv, beside.weight, at), beside.bias)


def _offsets(conv: _Known, small: _Known) -> tuple[int, ...] | None:
    """Which taps the first ones of a smaller kernel meet; None if its taps do not read what as many others do."""
    nd, at = len(conv.strides), []
    for i, (few, many, step) in enumerate(
        zip(small.weight.shape[2:], conv.weight.shape[2:], conv.dilations, strict=True)
    ):
        before, rest = divmod(conv.pads[i] - small.pads[i], step)
        after = conv.pads[nd + i] - small.pads[nd + i] - (many - few - before) * step
        if (few > 1 and small.dilations[i] != step) or rest or after or not 0 <= before <= many - few:
            return None
        at.append(before)
    return tuple(at)


def _among_zeros(conv: _Known, weight: np.ndarray, at: tuple[int, ...]) -> np.ndarray:
    """A smaller kernel's weights as one of the convolution's taps."""
    among = np.zeros(conv.weight.shape)
    among[(..., *(slice(first, first + size) for first, size in zip(at, weight.shape[2:], strict=True)))] = weight
    return among


def _diagonal(conv: _Known, factor: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A factor and a summand of each channel: a kernel of one tap, without a stride."""
    outputs, each = conv.weight.shape[:2]
    nd = len(conv.strides)
    if outputs != each * conv.group or any(step != 1 for step in conv.strides):
        return None
    weight = np.zeros((outputs, each, *(1,) * nd))
    weight[np.arange(outputs), np.arange(outputs) % each] = factor.reshape(-1, *(1,) * nd)
    at = _offsets(conv, conv._replace(weight=weight, pads=(0,) * (2 * nd)))
    return None if at is None else (_among_zeros(conv, weight, at), shift)
