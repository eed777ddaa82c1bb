"""How many images of a batch a plan takes at a time: so few that what lies between layers stays in a cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .ir import Graph, Node, Value
from .placement import Placement
from .plan import inferred
from .seen import BY_ELEMENT, MOVING
from .table import Info

# MobileNetV2 at 224x224 on a Zen 3 of 32 MB level 3, 8 images, 2 threads: 5.6 ms an image two at a time (12 MB), 5.9
# four at a time, 6.2 all at once. What is read again for every part, the weights, may be this share of all else.
PART_BYTES = 16 << 20
WEIGHTS_SHARE = 0.25
_KERNELS = frozenset(("Conv", "ConvTranspose", "DeformConv"))


def parts_of(graph: Graph, given: list[Info], max_bytes: int | None) -> int:
    """Into how many equal parts to cut a batch of such inputs; 1 where its images may meet, or little is gained."""
    batches = {info.shape[0] if info.shape else 0 for info in given}
    images = batches.pop() if len(batches) == 1 else 0
    if images < 2:
        return 1
    nodes, infos = inferred(graph, given, max_bytes)
    moved = 2 * sum(_bytes(infos[value]) for node in nodes for value in node.outputs)
    arena = Placement(graph, nodes, infos).bytes if moved > 2 * PART_BYTES else 0
    fewest = min(images, -(-arena // PART_BYTES))
    parts = next((n for n in range(fewest, min(2 * fewest, images) + 1) if n and images % n == 0), 1)
    held = {value for node in nodes for value in node.inputs if value is not None and value.data is not None}
    if parts == 1 or (parts - 1) * sum(value.data.nbytes for value in held) > WEIGHTS_SHARE * moved:
        return 1
    if not all(_keeps_images(node, infos, images) for node in nodes):
        return 1
    try:
        left, known = inferred(graph, [part_of(info, parts) for info in given], max_bytes)
    except ValueError:  # other sizes do not fit
        return 1
    values = (*graph.outputs, *(value for node in nodes for value in node.outputs))
    return parts if left == nodes and all(_is_part(known[v], infos[v], parts) for v in values) else 1


def part_of(info: Info, parts: int) -> Info:
    """Of an input of all images, that of a part."""
    return info._replace(shape=(info.shape[0] // parts, *info.shape[1:]))


def _is_part(part: Info, whole: Info, parts: int) -> bool:
    """Whether the one, so many times along the first axis, is the other; neither being known."""
    moving = part.data is None and whole.data is None and len(part.shape) > 0 and part.dtype == whole.dtype
    return moving and (parts * part.shape[0], *part.shape[1:]) == whole.shape


def _bytes(info: Info) -> int:
    return int(np.prod(info.shape, dtype=np.int64)) * info.dtype.itemsize


def _keeps_images(node: Node, infos: Mapping[Value, Info], images: int) -> bool:
    """Whether each image of the output follows from that image of the inputs alone, as far as shapes do not tell."""
    inputs = [value for value in node.inputs if value is not None]
    moving = [infos[value] for value in inputs if infos[value].data is None]
    weights = node.inputs[1].data if len(node.inputs) > 1 and node.inputs[1] is not None else None
    follows = any(value.data is None and infos[value].data is not None for value in inputs)  # from the batch's size
    if follows or not moving or len(node.outputs) > 1 or node.op == "Dropout" or node.attrs.get("training_mode", 0):
        return False
    out = infos[node.outputs[0]]
    if any(len(info.shape) < 2 or info.shape[0] != images for info in (out, *moving)):
        return False
    rank = len(out.shape)
    if node.op == "Transpose":
        return node.attrs.get("perm", range(rank)[::-1])[0] == 0
    if node.op == "Flatten":
        return node.attrs.get("axis", 1) == 1
    if any(len(info.shape) != rank for info in moving) and node.op not in ("ReduceMean", "ReduceMax"):
        return False
    if node.op in ("Gemm", "MatMul"):
        rows = weights is not None and weights.ndim == 2 and not node.attrs.get("transA", 0)
        return rows and not _has_images(node.inputs[2:], rank)
    if node.op == "Pad":
        return weights is not None and len(node.inputs) < 4 and not weights[0] and not weights[rank]
    if node.op in ("ReduceMean", "ReduceMax"):
        return weights is not None and all(axis % len(moving[0].shape) for axis in weights.ravel())
    if node.op in BY_ELEMENT or node.op == "Concat":
        return node.attrs.get("axis", -1) % rank != 0 and not _has_images(inputs, rank)
    if node.op in _KERNELS:
        return weights is not None and not _has_images(node.inputs[2:], rank)
    return node.op in MOVING and node.attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize"


def _has_images(values: Sequence[Value | None], rank: int) -> bool:
    """Whether a constant has entries for one image and others for the next."""
    held = [value.data for value in values if value is not None and value.data is not None]
    return any(array.ndim >= rank and array.shape[0] != 1 for array in held)
