"""Rows of operators that pick elements by index, put them somewhere, sort or search."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .arrays import INT64
from .elements import same
from .table import OPS, Attrs, Info, Op, Undetermined, needs, op, positive


def _undetermined(attrs: Attrs, *infos: Info | None) -> list[Info]:
    raise Undetermined


# ---------------------------------------------------------------- gathered


def _gather_infer(attrs: Attrs, x: Info, indices: Info) -> list[Info]:
    axis = positive(attrs.get("axis", 0), len(x.shape))
    return [Info((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)]


@op("Gather", infer=_gather_infer)
def _gather(attrs: Attrs, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return np.take(x, indices, axis=attrs.get("axis", 0))


@op("GatherElements", infer=lambda attrs, x, indices: [Info(indices.shape, x.dtype)])
def _gather_elements(attrs: Attrs, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return x[_places(x, indices, attrs.get("axis", 0))]


def _places(x: np.ndarray, indices: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """Each element's own place, but for this axis, where the index says it."""
    if indices.ndim != x.ndim:
        raise ValueError(f"indices must have the axes of the data, {x.ndim}, got {indices.ndim}")
    grid = np.indices(indices.shape, sparse=True)
    return tuple(indices if i == positive(axis, x.ndim) else grid[i] for i in range(x.ndim))


def _gather_nd_infer(attrs: Attrs, x: Info, indices: Info) -> list[Info]:
    batch = attrs.get("batch_dims", 0)
    return [Info((*indices.shape[:-1], *x.shape[batch + indices.shape[-1] :]), x.dtype)]


@op("GatherND", infer=_gather_nd_infer)
def _gather_nd(attrs: Attrs, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    batch = attrs.get("batch_dims", 0)
    grid = np.indices(indices.shape[:batch], sparse=True)
    own = tuple(part.reshape(*part.shape, *(1,) * (indices.ndim - 1 - batch)) for part in grid)
    return x[(*own, *np.moveaxis(indices, -1, 0))]


# ---------------------------------------------------------------- scattered

_REDUCTIONS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _scattered(x: np.ndarray, places: tuple, updates: np.ndarray, reduction: str) -> np.ndarray:
    y = np.array(x)
    if reduction == "none":
        y[places] = updates
    else:
        _REDUCTIONS[reduction].at(y, places, updates)
    return y


@op("ScatterElements", infer=same)
def _scatter_elements(attrs: Attrs, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    return _scattered(x, _places(x, indices, attrs.get("axis", 0)), updates, attrs.get("reduction", "none"))


@op("ScatterND", infer=same)
def _scatter_nd(attrs: Attrs, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    return _scattered(x, tuple(np.moveaxis(indices, -1, 0)), updates, attrs.get("reduction", "none"))


@op("TensorScatter", infer=same)
def _tensor_scatter(attrs: Attrs, x: np.ndarray, update: np.ndarray, first: np.ndarray | None = None) -> np.ndarray:
    """Of each image of the batch some slices of an axis, from a slice of its own on."""
    axis, y = positive(attrs.get("axis", -2), x.ndim), np.array(x)
    first = np.zeros(len(x), np.int64) if first is None else first
    for image, new, start in zip(y, update, first, strict=True):
        at = start + np.arange(new.shape[axis - 1])
        if attrs.get("mode", "linear") == "circular":
            at %= image.shape[axis - 1]
        image[(*(slice(None),) * (axis - 1), at)] = new
    return y


# ---------------------------------------------------------------- chosen


@op("NonZero", infer=_undetermined)
def _non_zero(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    return np.array(np.nonzero(np.atleast_1d(x)), np.int64)


@op("Compress", infer=lambda attrs, x, condition: _compress_infer(attrs, x, condition))
def _compress(attrs: Attrs, x: np.ndarray, condition: np.ndarray) -> np.ndarray:
    return np.compress(condition, x, attrs.get("axis"))


def _compress_infer(attrs: Attrs, x: Info, condition: Info) -> list[Info]:
    count, axis = int(np.count_nonzero(needs(condition))), attrs.get("axis")
    if axis is None:
        return [Info((count,), x.dtype)]
    axis = positive(axis, len(x.shape))
    return [Info((*x.shape[:axis], count, *x.shape[axis + 1 :]), x.dtype)]


@op("Unique", infer=_undetermined)
def _unique(attrs: Attrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    axis = attrs.get("axis")
    options = {"return_index": True, "return_inverse": True, "return_counts": True, "axis": axis}
    y, first, inverse, counts = np.unique(x, **options)
    inverse = inverse.reshape(-1)
    if attrs.get("sorted", 1) == 0:  # in the order in which they come
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        y = y[order] if axis is None else np.take(y, order, axis)
        first, inverse, counts = first[order], rank[inverse], counts[order]
    return y, *(numbers.astype(np.int64) for numbers in (first, inverse, counts))


def _arg_infer(attrs: Attrs, x: Info) -> list[Info]:
    axis, shape = positive(attrs.get("axis", 0), len(x.shape)), list(x.shape)
    shape[axis : axis + 1] = [1] if attrs.get("keepdims", 1) else []
    return [Info(tuple(shape), INT64)]


def _arg(function: Callable) -> Callable[..., np.ndarray]:
    def run(attrs: Attrs, x: np.ndarray) -> np.ndarray:
        axis = positive(attrs.get("axis", 0), x.ndim)
        if attrs.get("select_last_index", 0):
            index = x.shape[axis] - 1 - function(np.flip(x, axis), axis=axis)
        else:
            index = function(x, axis=axis)
        return np.expand_dims(index, axis) if attrs.get("keepdims", 1) else np.asarray(index)

    return run


OPS["ArgMax"], OPS["ArgMin"] = Op(_arg(np.argmax), _arg_infer), Op(_arg(np.argmin), _arg_infer)


def _top_infer(attrs: Attrs, x: Info, count: Info) -> list[Info]:
    axis, shape = positive(attrs.get("axis", -1), len(x.shape)), list(x.shape)
    shape[axis] = min(int(needs(count).reshape(())), shape[axis])
    return [Info(tuple(shape), x.dtype), Info(tuple(shape), INT64)]


@op("TopK", infer=_top_infer)
def _top_k(attrs: Attrs, x: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of equal elements the one with the lower index comes first."""
    axis, count = attrs.get("axis", -1), int(count.reshape(()))
    if attrs.get("largest", 1):
        order = np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis, kind="stable")
    order = np.take(order, np.arange(min(count, x.shape[axis])), axis)
    return np.take_along_axis(x, order, axis), order.astype(np.int64)


# ---------------------------------------------------------------- made of indices


def _one_hot_infer(attrs: Attrs, indices: Info, depth: Info, values: Info) -> list[Info]:
    shape = list(indices.shape)
    shape.insert(positive(attrs.get("axis", -1), len(shape) + 1), int(needs(depth).reshape(-1)[0]))
    return [Info(tuple(shape), values.dtype)]


@op("OneHot", infer=_one_hot_infer)
def _one_hot(attrs: Attrs, indices: np.ndarray, depth: np.ndarray, values: np.ndarray) -> np.ndarray:
    count, axis = int(depth.reshape(-1)[0]), positive(attrs.get("axis", -1), indices.ndim + 1)
    numbers = np.arange(count).reshape(-1, *(1,) * (indices.ndim - axis))
    index = np.expand_dims(np.where(indices < 0, indices + count, indices), axis)
    return np.where(index == numbers, values[1], values[0])


def _eye_infer(attrs: Attrs, x: Info) -> list[Info]:
    if len(x.shape) != 2:
        raise ValueError(f"x must have 2 axes, got shape {x.shape}")
    return [Info(x.shape, np.dtype(attrs.get("dtype", x.dtype)))]


@op("EyeLike", infer=_eye_infer)
def _eye_like(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    return np.eye(*x.shape, k=attrs.get("k", 0), dtype=attrs.get("dtype", x.dtype))


@op("Trilu", infer=same)
def _trilu(attrs: Attrs, x: np.ndarray, k: np.ndarray | None = None) -> np.ndarray:
    k = 0 if k is None else int(k.reshape(()))
    return np.triu(x, k) if attrs.get("upper", 1) else np.tril(x, k)


def _cumulative(function: Callable, start: int) -> Callable[..., np.ndarray]:
    def run(attrs: Attrs, x: np.ndarray, axis: np.ndarray) -> np.ndarray:
        axis, backwards = positive(int(axis.reshape(())), x.ndim), bool(attrs.get("reverse", 0))
        x = np.flip(x, axis) if backwards else x
        if attrs.get("exclusive", 0):
            whole = (slice(None),) * axis
            first = np.full_like(x[(*whole, slice(0, 1))], start)
            x = np.concatenate([first, x[(*whole, slice(0, -1))]], axis)
        y = function(x, axis=axis, dtype=x.dtype)
        return np.flip(y, axis) if backwards else y

    return run


OPS["CumSum"], OPS["CumProd"] = Op(_cumulative(np.cumsum, 0), same), Op(_cumulative(np.cumprod, 1), same)


@op("ReverseSequence", infer=same)
def _reverse_sequence(attrs: Attrs, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    time, batch = attrs.get("time_axis", 0), attrs.get("batch_axis", 1)
    y = np.array(x)
    source, result = (np.moveaxis(array, (batch, time), (0, 1)) for array in (x, y))
    for i, length in enumerate(lengths):
        result[i, :length] = source[i, :length][::-1]
    return y


# ---------------------------------------------------------------- boxes


@op("NonMaxSuppression", infer=_undetermined)
def _non_max_suppression(attrs: Attrs, boxes, scores, most=None, overlap=None, least=None) -> np.ndarray:
    """Rows (image, class, box) of boxes of which no two of a class overlap too much, the best first."""
    most = 0 if most is None else int(most.reshape(()))
    overlap = 0.0 if overlap is None else float(overlap.reshape(()))
    least = None if least is None else float(least.reshape(()))
    rows: list[tuple[int, int, int]] = []
    for image, corners in enumerate(_corners(boxes.astype(np.float64), attrs.get("center_point_box", 0))):
        for label, score in enumerate(scores[image]):
            order = np.argsort(-score, kind="stable")
            order = order if least is None else order[score[order] > least]
            rows += [(image, label, int(box)) for box in _kept(corners, order, most, overlap)]
    return np.array(rows, np.int64).reshape(-1, 3)


def _corners(boxes: np.ndarray, by_centre: int) -> np.ndarray:
    """(y0, x0, y1, x1) in order."""
    if by_centre:
        x, y, w, h = np.moveaxis(boxes, -1, 0)
        return np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], -1)
    a, b = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([np.minimum(a, b), np.maximum(a, b)], -1)


def _kept(corners: np.ndarray, order: np.ndarray, most: int, overlap: float) -> list[int]:
    kept: list[int] = []
    areas = np.prod(corners[:, 2:] - corners[:, :2], axis=1)
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(best)
        sides = np.minimum(corners[best, 2:], corners[order, 2:]) - np.maximum(corners[best, :2], corners[order, :2])
        shared = np.prod(np.maximum(sides, 0), axis=1)
        union = areas[best] + areas[order] - shared
        order = order[~(shared > overlap * union)]
    return kept


def _roi_infer(attrs: Attrs, x: Info, rois: Info, *_: Info) -> list[Info]:
    sizes = attrs.get("output_height", 1), attrs.get("output_width", 1)
    return [Info((rois.shape[0], x.shape[1], *sizes), x.dtype)]


@op("RoiAlign", infer=_roi_infer)
def _roi_align(attrs: Attrs, x: np.ndarray, rois: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Mean or maximum of samples in each cell of each box."""
    height, width = attrs.get("output_height", 1), attrs.get("output_width", 1)
    y = np.empty((len(rois), x.shape[1], height, width), x.dtype)
    half = attrs.get("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    for i, (roi, image) in enumerate(zip(rois * attrs.get("spatial_scale", 1.0) - 0.5 * half, images, strict=True)):
        rows, columns = (
            _samples(roi[axis], roi[axis + 2], cells, size, attrs.get("sampling_ratio", 0), half)
            for axis, cells, size in ((1, height, x.shape[2]), (0, width, x.shape[3]))
        )
        y[i] = _sampled(x[image], rows, columns, attrs.get("mode", "avg"))
    return y


def _samples(start: float, end: float, cells: int, size: int, ratio: int, half: bool) -> tuple[np.ndarray, ...]:
    """Along one axis: (cells, samples) of the lower index, the upper one, their weights."""
    length = end - start if half else max(end - start, 1.0)
    count = ratio or max(math.ceil(length / cells), 1)
    at = start + (np.arange(cells)[:, np.newaxis] + (np.arange(count) + 0.5) / count) * (length / cells)
    inside = (at >= -1) & (at <= size)
    at = np.clip(at, 0, size - 1)
    low = np.minimum(np.floor(at).astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    return low, high, (1 - (at - low)) * inside, (at - low) * inside


def _sampled(image: np.ndarray, rows: tuple, columns: tuple, mode: str) -> np.ndarray:
    """(C, cells, cells) from the four elements around each sample."""
    parts = []
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at = rows[i][:, np.newaxis, :, np.newaxis], columns[j][np.newaxis, :, np.newaxis, :]
        weights = rows[2 + i][:, np.newaxis, :, np.newaxis] * columns[2 + j][np.newaxis, :, np.newaxis, :]
        parts.append(image[(slice(None), *at)] * weights)
    if mode == "max":  # of the weighted elements, as ONNX has it
        return np.maximum.reduce(parts).max((-2, -1))
    return np.sum(parts, axis=0).mean((-2, -1))
