"""How many images of a batch a plan takes at a time: so few that what lies between layers stays in a cache."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from .ir import Node, Value
from .plan import Sized
from .table import OPS, Info, by_image, bytes_of

# MobileNetV2 at 224x224 on a Zen 3 of 32 MB level 3, 8 images, 2 threads: 5.6 ms an image two at a time (12 MB), 5.9
# four at a time, 6.2 all at once. What is read again for every part, the weights, may be this share of all else.
PART_BYTES = 16 << 20
WEIGHTS_SHARE = 0.25


def in_parts(whole: Sized) -> tuple[Sized, int]:
    """One of the equal parts of a batch, and how many they are; the whole if images may meet, or little is gained."""
    graph, infos = whole.graph, whole.infos
    parts = _count(whole)
    if parts == 1:
        return whole, 1
    with suppress(ValueError):  # other sizes do not fit
        given = [infos[value] for value in graph.inputs]
        part = Sized(graph, [info._replace(shape=(info.shape[0] // parts, *info.shape[1:])) for info in given])
        values = (*graph.outputs, *(value for node in whole.nodes for value in node.outputs))
        if part.nodes == whole.nodes and all(_is_part(part.infos[v], infos[v], parts) for v in values):
            return part, parts
    return whole, 1


def _count(whole: Sized) -> int:
    """How many parts of a batch would fit, if each image goes its own way."""
    nodes, infos = whole.nodes, whole.infos
    batches = {info.shape[0] if info.shape else 0 for info in map(infos.__getitem__, whole.graph.inputs)}
    images = batches.pop() if len(batches) == 1 else 0
    moved = 2 * bytes_of(infos[value] for node in nodes for value in node.outputs)
    if images < 2 or moved <= 2 * PART_BYTES or not all(_keeps_images(node, infos, images) for node in nodes):
        return 1
    fewest = min(images, -(-whole.placement.bytes // PART_BYTES))
    parts = next((n for n in range(fewest, min(2 * fewest, images) + 1) if n and images % n == 0), 1)
    held = {value for node in nodes for value in node.inputs if value is not None and value.data is not None}
    weights = sum(value.data.nbytes for value in held)
    return 1 if (parts - 1) * weights > WEIGHTS_SHARE * moved else parts


def _is_part(part: Info, whole: Info, parts: int) -> bool:
    """Whether the one, so many times along the first axis, is the other; neither being known."""
    moving = part.data is None and whole.data is None and len(part.shape) > 0 and part.dtype == whole.dtype
    return moving and (parts * part.shape[0], *part.shape[1:]) == whole.shape


def _keeps_images(node: Node, infos: Mapping[Value, Info], images: int) -> bool:
    """Whether each image of the output follows from that image of the inputs alone, as far as shapes do not tell."""
    row = OPS[node.op]
    apart = by_image if row.elementwise else row.apart
    taken = [(value, infos[value]) for value in node.inputs if value is not None]
    moving = [info for _, info in taken if info.data is None]
    follows = any(value.data is None and info.data is not None for value, info in taken)  # from the batch's size
    if apart is None or follows or not moving or len(node.outputs) > 1:
        return False
    if any(len(info.shape) < 2 or info.shape[0] != images for info in (infos[node.outputs[0]], *moving)):
        return False
    return apart(node.attrs, *(None if value is None else infos[value] for value in node.inputs))
