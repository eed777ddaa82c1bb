"""Padding that repeats elements: an image with its padding, and the adjoint, which adds what padding received."""

from __future__ import annotations

import itertools

import dask.array as da
import numpy as np

from ._graph import Layer, Span, sizes_of, spans

_NUMPY = {"reflect": "reflect", "replicate": "edge"}  # what numpy.pad calls them


def _source(mode: str, position, size: int):
    """The element that a position outside of 0..size-1 repeats."""
    if mode == "circular":
        return position % size
    inside = np.clip(position, 0, size - 1)
    return inside if mode == "replicate" else 2 * inside - position


def padded_cuts(cuts: list[Span], lo: int, hi: int) -> list[Span]:
    """The blocks of an axis, the first and last with the padding."""
    sizes = list(sizes_of(cuts))
    sizes[0] += lo
    sizes[-1] += hi
    return spans(sizes)


def _reads(mode: str, start: int, stop: int, size: int) -> tuple[list[Span], Span, Span]:
    """What a block of the padded axis reads, how much is then padded, and what of that is the block.

    Positions count from the image's first element. Only "circular" reads what is far away.
    """
    low, high = max(start, 0), min(stop, size)
    before, after = low - start, stop - high
    if mode == "circular":
        around = [(size - before, size), (low, high), (0, after)]
        return [span for span in around if span[0] < span[1]], (0, 0), (0, stop - start)
    far = (before + 1, size - after - 1) if mode == "reflect" else (1, size - 1)
    first, end = min(low, far[1]) if after else low, max(high, far[0]) if before else high
    return [(first, end)], (before, after), (low - first, low - first + stop - start)


def _pad(image: np.ndarray, mode: str, counts: list[Span], block: list[Span]) -> np.ndarray:
    if any(map(any, counts)):
        image = np.pad(image, counts, _NUMPY[mode])
    return image[tuple(slice(*side) for side in block)]


def pad(x: da.Array, axes: tuple[int, ...], lo, hi, mode: str) -> da.Array:
    """The image with its padding along `axes`; inner chunks are those of x."""
    cuts = [spans(sizes) for sizes in x.chunks]
    reads = [[([span], (0, 0), (0, span[1] - span[0])) for span in axis] for axis in cuts]
    for axis, a, b in zip(axes, lo, hi, strict=True):
        cuts[axis] = padded_cuts(cuts[axis], a, b)
        reads[axis] = [_reads(mode, start - a, stop - a, x.shape[axis]) for start, stop in cuts[axis]]
    layer = Layer("pad", x.name, axes, lo, hi, mode)
    for index in itertools.product(*(range(len(axis)) for axis in cuts)):
        wanted, counts, block = zip(*(axis[i] for axis, i in zip(reads, index, strict=True)), strict=True)
        layer.add(index, _pad, [(x, wanted)], [], mode=mode, counts=counts, block=block)
    return layer.array(tuple(map(sizes_of, cuts)), x.dtype)


def _parts(mode: str, start: int, stop: int, size: int, lo: int, hi: int) -> list[Span | None]:
    """Positions before, inside and after the image whose sums belong to its elements start..stop-1."""
    inside = (start, stop)
    if mode == "replicate":
        return [(-lo, 0) if lo and start == 0 else None, inside, (size, size + hi) if hi and stop == size else None]
    if mode == "circular":
        before, after = (start - size, stop - size), (start + size, stop + size)
    else:
        before, after = (1 - stop, 1 - start), (2 * size - 1 - stop, 2 * size - 1 - start)
    before, after = (max(before[0], -lo), min(before[1], 0)), (max(after[0], size), min(after[1], size + hi))
    return [before if before[0] < before[1] else None, inside, after if after[0] < after[1] else None]


def _fold(inside: np.ndarray, *boxes: np.ndarray, targets, axes, strides) -> np.ndarray:
    """Adds boxes of padding into the elements they repeat, box by box and phase by phase, as the engine does."""
    total = inside.copy()
    for box, places in zip(boxes, targets, strict=True):
        steps = [min(step, box.shape[axis]) for axis, step in zip(axes, strides, strict=True)]
        for phase in itertools.product(*map(range, steps)):
            chosen = [slice(None)] * box.ndim
            index = [np.arange(size) for size in box.shape]
            for axis, (mode, start, stop, first, size), f, step in zip(axes, places, phase, steps, strict=True):
                chosen[axis] = slice(f, None, step)
                index[axis] = (_source(mode, np.arange(start, stop), size) - first)[f::step]
            np.add.at(total, np.ix_(*index), box[tuple(chosen)])
    return total


def fold(padded: da.Array, axes: tuple[int, ...], chunks, lo, hi, mode: str, strides) -> da.Array:
    """The adjoint of `pad`, in these chunks: the gradient of the image from that of the image with its padding."""
    cuts = [spans(sizes) for sizes in chunks]
    parts = {
        axis: [_parts(mode, start, stop, cuts[axis][-1][1], a, b) for start, stop in cuts[axis]]
        for axis, a, b in zip(axes, lo, hi, strict=True)
    }
    layer = Layer("fold", padded.name, axes, chunks, lo, hi, mode, strides)
    for index in itertools.product(*(range(len(axis)) for axis in cuts)):
        boxes, targets = [], []
        choices = list(itertools.product(*(parts[axis][index[axis]] for axis in axes)))
        inside = choices.pop(len(choices) // 2)
        for choice in [inside, *(choice for choice in choices if None not in choice)]:
            wanted = [axis[i] for axis, i in zip(cuts, index, strict=True)]
            places = []
            for axis, (start, stop), a in zip(axes, choice, lo, strict=True):
                wanted[axis] = (start + a, stop + a)
                places.append((mode, start, stop, cuts[axis][index[axis]][0], cuts[axis][-1][1]))
            boxes.append((padded, wanted))
            targets.append(places)
        layer.add(index, _fold, boxes, [], targets=targets[1:], axes=axes, strides=strides)
    return layer.array(chunks, padded.dtype)
