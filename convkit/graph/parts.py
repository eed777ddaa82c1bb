"""How many images of a batch a plan takes at a time: so few that what lies between layers stays in a cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .ir import Graph, Node, Value
from .seen import BY_ELEMENT, MOVING
from .table import Info

# MobileNetV2 at 224x224 on a Zen 3 of 32 MB level 3, 8 images, 2 threads: 5.6 ms an image two at a time (12 MB), 5.9
# four at a time, 6.2 all at once. What is read again for every part, the weights, may be this share of all else.
PART_BYTES = 16 << 20
WEIGHTS_SHARE = 0.25


def parts_of(graph: Graph, nodes: Sequence[Node], infos: Mapping[Value, Info], arena: int) -> int:
    """Into how many equal parts to cut the batch of a plan of so many bytes; 1 where its images meet anywhere."""
    batches = {info.shape[0] if info.shape else 0 for info in (infos[value] for value in graph.inputs)}
    images = batches.pop() if len(batches) == 1 else 0
    if arena <= PART_BYTES or images < 2:
        return 1
    parts = next(n for n in range(1, images + 1) if images % n == 0 and (arena // n <= PART_BYTES or n == images))
    moved = 2 * sum(_bytes(infos[value]) for node in nodes for value in node.outputs if value in infos)
    held = {value for node in nodes for value in node.inputs if value is not None and infos[value].data is not None}
    if (parts - 1) * sum(_bytes(infos[value]) for value in held) > WEIGHTS_SHARE * moved:
        return 1
    known = all(infos[value].data is None for value in graph.outputs)
    return parts if known and all(_keeps_images(node, infos, images) for node in nodes) else 1


def _bytes(info: Info) -> int:
    return int(np.prod(info.shape, dtype=np.int64)) * info.dtype.itemsize


def _keeps_images(node: Node, infos: Mapping[Value, Info], images: int) -> bool:
    """Whether each image of the outputs follows from the same image of the inputs alone."""
    taken = [None if value is None else infos[value] for value in node.inputs]
    outs = [infos[value] for value in node.outputs if value in infos]
    first, rank = taken[0], len(outs[0].shape)
    moving = [info for info in taken if info is not None and info.data is None]
    if first is None or first.data is not None and node.op not in BY_ELEMENT:
        return False
    if node.op == "Dropout" or node.attrs.get("training_mode", 0):
        return False  # of the numbers of all
    if any(len(info.shape) < 2 or info.shape[0] != images for info in (*moving, *outs)):
        return False
    weights = taken[1] if len(taken) > 1 else None
    fixed = weights is None or weights.data is not None
    if node.op == "Transpose":
        return node.attrs["perm"][0] == 0
    if node.op == "Flatten":
        return node.attrs.get("axis", 1) == 1
    if node.op in ("Gemm", "MatMul"):
        return (
            fixed and not node.attrs.get("transA", 0) and len(first.shape) == rank and not _has_images(taken[2:], rank)
        )
    if node.op == "Pad":
        return fixed and len(taken) < 4 and not weights.data[0] and not weights.data[rank]
    if node.op in BY_ELEMENT or node.op == "Concat":
        axis = node.attrs.get("axis", -1) % rank
        return axis != 0 and all(len(info.shape) == rank for info in moving) and not _has_images(taken, rank)
    if node.op in ("ReduceMean", "ReduceMax"):
        return fixed and weights is not None and all(axis % len(first.shape) for axis in weights.data.ravel())
    return node.op in MOVING and fixed and all(len(info.shape) == rank for info in (*moving, *outs))


def _has_images(infos: Sequence[Info | None], rank: int) -> bool:
    """Whether a constant has entries for one image and others for the next."""
    held = [info for info in infos if info is not None and info.data is not None]
    return any(len(info.shape) >= rank and info.shape[0] != 1 for info in held)
