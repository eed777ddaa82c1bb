"""Rows of operators that move elements, look at shapes or reduce axes: NumPy's functions, of which some are views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .elements import COPY, NONE, lower_pass
from .placement import seen
from .table import Attrs, Info, by_image, needs, op, positive, take

INT64 = np.dtype(np.int64)


def _ints(array: np.ndarray) -> tuple[int, ...]:
    return tuple(map(int, np.atleast_1d(array)))


# ---------------------------------------------------------------- views


@op("Reshape", decided_by=(1,), view=True)
def _reshape(attrs: Attrs, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    shape = list(_ints(shape)) if shape.size else []
    if not attrs.get("allowzero", 0):
        shape = [x.shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return x.reshape(shape)


@op("Flatten", apart=lambda attrs, x: attrs.get("axis", 1) == 1, view=True)
def _flatten(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    axis = attrs.get("axis", 1)
    axis = axis if axis >= 0 else axis + x.ndim
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@op("Transpose", apart=lambda attrs, x: attrs.get("perm", range(len(x.shape))[::-1])[0] == 0, view=True)
def _transpose(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    return x.transpose(attrs.get("perm"))


@op("Squeeze", decided_by=(1,), view=True)
def _squeeze(attrs: Attrs, x: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    return x.squeeze() if axes is None else x.squeeze(_ints(axes))


@op("Unsqueeze", decided_by=(1,), view=True)
def _unsqueeze(attrs: Attrs, x: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return np.expand_dims(x, _ints(axes))


@op("Slice", decided_by=(1, 2, 3, 4), view=True)
def _slice(
    attrs: Attrs, x: np.ndarray, starts: np.ndarray, ends: np.ndarray, axes: np.ndarray | None = None,
    steps: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    axes = range(len(starts)) if axes is None else _ints(axes)
    steps = (1,) * len(starts) if steps is None else _ints(steps)
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(_ints(starts), _ints(ends), axes, steps, strict=True):
        size = x.shape[positive(axis, x.ndim)]
        low, high = (0, size) if step > 0 else (-1, size - 1)
        start, end = (at + size if at < 0 else at for at in (start, end))
        start, end = min(max(start, 0), high), min(max(end, low), high)
        index[axis] = slice(start, end if end >= 0 else None, step)
    return x[tuple(index)]


# ---------------------------------------------------------------- copies


def _concat_infer(attrs: Attrs, *infos: Info) -> list[Info]:
    first, shape = infos[0], list(infos[0].shape)
    axis = positive(attrs["axis"], len(shape))
    for info in infos[1:]:
        if [*info.shape[:axis], *info.shape[axis + 1 :]] != [*shape[:axis], *first.shape[axis + 1 :]]:
            shapes = ", ".join(str(info.shape) for info in infos)
            raise ValueError(f"what is joined must have shapes that differ in axis {axis} alone, got {shapes}")
    shape[axis] = sum(info.shape[axis] for info in infos)
    return [Info(tuple(shape), first.dtype)]


def _lower_concat(plan: Any, node: Any) -> bool:
    """Parts that do not lie in their place are copied there."""
    y, at, places = node.outputs[0], 0, []
    axis = positive(node.attrs["axis"], len(plan.info(y).shape))
    for value in node.inputs:
        places.append(plan.part(y, axis, at, plan.info(value).shape[axis]))
        at += plan.info(value).shape[axis]
    return _copied(plan, node.inputs, places)


def _copied(plan: Any, values: Sequence[Any], places: list) -> bool:
    """Each value into its place, unless it lies there; whether the engine can."""
    pairs = [pair for pair in zip(values, places, strict=True) if not plan.lies_at(*pair)]
    return all(plan.copy(value, place) for value, place in pairs)


@op("Concat", infer=_concat_infer, lower=_lower_concat, apart=by_image, any_order=True)
def _concat(attrs: Attrs, *arrays: np.ndarray) -> np.ndarray:
    return np.concatenate(arrays, axis=attrs["axis"])


def _interleave_infer(attrs: Attrs, *infos: Info) -> list[Info]:
    n, channels, *sizes = infos[0].shape
    return [Info((n, channels * len(infos), *sizes), infos[0].dtype)]


def _lower_interleave(plan: Any, node: Any) -> bool:
    channels, count = plan.info(node.inputs[0]).shape[1], len(node.inputs)
    places = [plan.part(node.outputs[0], 1, at, channels, count) for at in range(count)]
    return _copied(plan, node.inputs, places)


@op("Interleave", infer=_interleave_infer, lower=_lower_interleave)
def _interleave(attrs: Attrs, *arrays: np.ndarray) -> np.ndarray:
    """convkit's own: a channel of each in turn, which plans make of a channel shuffle."""
    return np.stack(arrays, 2).reshape(len(arrays[0]), -1, *arrays[0].shape[2:])


@op("Split", decided_by=(1,), view=True)
def _split(attrs: Attrs, x: np.ndarray, sizes: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    axis, count = positive(attrs.get("axis", 0), x.ndim), attrs.get("num_outputs", 0)
    size = x.shape[axis]
    if sizes is None:
        if not 0 < count <= max(size, 1):
            raise ValueError(f"num_outputs must be from 1 to the axis's size, {size}, got {count}")
        each = -(-size // count)
        sizes = np.diff([min(each * i, size) for i in range(count + 1)])
    if sizes.sum() != size or (sizes < 0).any():
        raise ValueError(f"sizes must be positive and sum up to the axis's, {size}, got {_ints(sizes)}")
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


def _expand_infer(attrs: Attrs, x: Info, shape: Info) -> list[Info]:
    wanted = needs(shape)
    return [Info(np.broadcast_shapes(x.shape, _ints(wanted) if wanted.size else ()), x.dtype)]


# Fewer neighbours that repeat one element NumPy copies faster: 3 of each of 100,000 0.44 ms, the engine 1.4 (Zen 3).
_LEAST_REPEATED = 16


def _repeats_few(whole: int, size: int) -> bool:
    """Whether the last axis, of this size, is a few times the same."""
    return size == 1 < whole < _LEAST_REPEATED


def _lower_expand(plan: Any, node: Any) -> bool:
    y, shape = plan.spot(node.outputs[0]), plan.info(node.inputs[0]).shape
    if y.shape and _repeats_few(y.shape[-1], shape[-1] if shape else 1):
        return False
    return plan.fill(y, plan.info(node.outputs[0]).dtype, plan.spot(node.inputs[0]))


@op("Expand", infer=_expand_infer, lower=_lower_expand)
def _expand(attrs: Attrs, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, _ints(shape) if shape.size else ())).copy()


def _tile_infer(attrs: Attrs, x: Info, repeats: Info) -> list[Info]:
    times = _ints(needs(repeats)) if x.shape else ()
    return [Info(tuple(size * count for size, count in zip(x.shape, times, strict=True)), x.dtype)]


def _lower_tile(plan: Any, node: Any) -> bool:
    """Axes of the repeats before those of what is repeated."""
    y, sizes = plan.info(node.outputs[0]), plan.info(node.inputs[0]).shape
    if 0 in y.shape:
        return True
    if sizes and _repeats_few(y.shape[-1], sizes[-1]):
        return False
    apart = [n for size, whole in zip(sizes, y.shape, strict=True) for n in (whole // size, size)]
    source = seen(plan.spot(node.inputs[0]), lambda x: np.expand_dims(x, tuple(range(0, 2 * x.ndim, 2))))
    return plan.fill(seen(plan.spot(node.outputs[0]), lambda y: y.reshape(apart)), y.dtype, source)


@op("Tile", infer=_tile_infer, lower=_lower_tile)
def _tile(attrs: Attrs, x: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    return np.tile(x, _ints(repeats))


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def _sides(attrs: Attrs, x: Any, pads: np.ndarray, axes: np.ndarray | None) -> list[tuple[int, int]]:
    """What is added before and after, for each axis."""
    nd = len(x.shape)
    chosen, numbers = list(range(nd) if axes is None else _ints(axes)), _ints(pads)
    if len(numbers) != 2 * len(chosen):
        raise ValueError(f"pads must be two for each of {len(chosen)} axes, got {len(numbers)}")
    sides = [(0, 0)] * nd
    for i, axis in enumerate(chosen):
        sides[positive(axis, nd)] = numbers[i], numbers[len(chosen) + i]
    return sides


def _pad_infer(attrs: Attrs, x: Info, pads: Info, value: Info | None = None, axes: Info | None = None) -> list[Info]:
    sides = _sides(attrs, x, needs(pads), needs(axes))
    shape = tuple(max(size + lo + hi, 0) for size, (lo, hi) in zip(x.shape, sides, strict=True))
    return [Info(shape, x.dtype)]


def _inside_images(attrs: Attrs, x: Info, pads: Info, value: Info | None = None, axes: Info | None = None) -> bool:
    """Whether all images stay, and none is added."""
    return pads.data is not None and axes is None and _sides(attrs, x, pads.data, None)[0] == (0, 0)


def _lower_pad(plan: Any, node: Any) -> bool:
    """Of a constant mode: slabs of the constant, and what is left of the array."""
    x, pads, value, axes = take(node.inputs, 4)
    info, number = plan.info(x), np.zeros(1) if value is None else plan.constant(value)
    sides = _sides(node.attrs, info, plan.constant(pads), None if axes is None else plan.constant(axes))
    if number is None or (node.attrs.get("mode", "constant") != "constant" and np.max(sides) > 0):
        return False
    number = np.full((), number.reshape(-1)[0] if number.size else 0, info.dtype)
    y = plan.spot(node.outputs[0])
    source, target = _inside(info.shape, sides), _inside(y.shape, [(-lo, -hi) for lo, hi in sides])
    slabs = [
        (*(slice(None),) * axis, part)
        for axis, inside in enumerate(target)
        for part in (slice(0, inside.start), slice(inside.stop, None))
        if len(range(y.shape[axis])[part])
    ]
    return all(
        plan.fill(seen(y, lambda array, part=part: array[part]), info.dtype, place)
        for part, place in [
            *((slab, number) for slab in slabs),
            (target, seen(plan.spot(x), lambda array: array[source])),
        ]
    )


def _inside(shape: tuple[int, ...], sides: list[tuple[int, int]]) -> tuple[slice, ...]:
    """What is left where sides are taken away, which are those below zero."""
    return tuple(slice(max(-lo, 0), max(size - max(-hi, 0), 0)) for size, (lo, hi) in zip(shape, sides, strict=True))


@op("Pad", infer=_pad_infer, lower=_lower_pad, apart=_inside_images)
def _pad(
    attrs: Attrs, x: np.ndarray, pads: np.ndarray, value: np.ndarray | None = None, axes: np.ndarray | None = None
) -> np.ndarray:
    mode, sides = _PAD_MODES[attrs.get("mode", "constant")], _sides(attrs, x, pads, axes)
    inside, sides = _inside(x.shape, sides), [(max(lo, 0), max(hi, 0)) for lo, hi in sides]
    more = {"constant_values": 0 if value is None or value.size == 0 else value.reshape(()).item()}
    return np.pad(x[inside], sides, mode, **more if mode == "constant" else {})


def _moved(attrs: Attrs, x: Info, outwards: bool) -> list[Info]:
    """The shape where blocks of channels become blocks of pixels, or the other way."""
    (n, c, h, w), r = x.shape, attrs["blocksize"]
    if r < 1 or (c % r**2 if outwards else h % r or w % r):
        raise ValueError(
            f"blocksize must divide {'the channels twice' if outwards else 'both sizes'}, got {r} for {x.shape}"
        )
    return [Info((n, c // r**2, h * r, w * r) if outwards else (n, c * r**2, h // r, w // r), x.dtype)]


def _blocks(attrs: Attrs, x: np.ndarray, outwards: bool) -> np.ndarray:
    """A view in whose order the result's elements stand."""
    (n, c, h, w), r = x.shape, attrs["blocksize"]
    if not outwards:
        return x.reshape(n, c, h // r, r, w // r, r).transpose(0, 3, 5, 1, 2, 4)
    if attrs.get("mode", "DCR") == "DCR":
        return x.reshape(n, r, r, c // r**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // r**2, r, r, h, w).transpose(0, 1, 4, 2, 5, 3)


def _moving(outwards: bool) -> dict[str, Any]:
    """What the rows of both have in common."""

    def lower(plan: Any, node: Any) -> bool:
        (x,), (y,) = node.inputs, node.outputs
        if 0 in plan.info(x).shape:
            return True
        source = seen(plan.spot(x), lambda array: _blocks(node.attrs, array, outwards))
        return plan.fill(seen(plan.spot(y), lambda array: array.reshape(source.shape)), plan.info(y).dtype, source)

    return {"infer": lambda attrs, x: _moved(attrs, x, outwards), "lower": lower, "apart": by_image}


@op("DepthToSpace", **_moving(True))
def _depth_to_space(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    return _blocks(attrs, x, True).reshape(_moved(attrs, Info(x.shape, x.dtype), True)[0].shape)


@op("SpaceToDepth", **_moving(False))
def _space_to_depth(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    return _blocks(attrs, x, False).reshape(_moved(attrs, Info(x.shape, x.dtype), False)[0].shape)


@op(
    "Cast", infer=lambda attrs, x: [Info(x.shape, np.dtype(attrs["to"]))], elementwise=True,
    lower=lambda plan, node: lower_pass(plan, COPY, node.inputs[0], None, node.outputs[0], NONE),
)  # fmt: skip
def _cast(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    return x.astype(attrs["to"])


# ---------------------------------------------------------------- shapes


@op("Shape", infer=lambda attrs, x: [_shape_info(attrs, x.shape)])
def _shape(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    return _shape_info(attrs, x.shape).data


def _shape_info(attrs: Attrs, shape: tuple[int, ...]) -> Info:
    data = np.array(shape[attrs.get("start", 0) : attrs.get("end")], INT64)
    return Info(data.shape, INT64, data)


@op("Size", infer=lambda attrs, x: [Info((), INT64, np.array(math.prod(x.shape), INT64))])
def _size(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    return np.array(x.size, INT64)


def _constant_infer(attrs: Attrs, shape: Info) -> list[Info]:
    wanted = needs(shape)
    sizes = _ints(wanted) if wanted.size else ()
    if any(size < 0 for size in sizes):
        raise ValueError(f"shape must have no negative sizes, got {sizes}")
    return [Info(sizes, attrs["value"].dtype if "value" in attrs else np.dtype(np.float32))]


@op("ConstantOfShape", infer=_constant_infer)
def _constant_of_shape(attrs: Attrs, shape: np.ndarray) -> np.ndarray:
    value = attrs.get("value", np.zeros(1, np.float32))
    return np.full(_ints(shape) if shape.size else (), value.reshape(()))


def _range_infer(attrs: Attrs, *bounds: Info) -> list[Info]:
    start, limit, delta = (needs(bound).item() for bound in bounds)
    return [Info((max(math.ceil((limit - start) / delta), 0),), bounds[0].dtype)]


@op("Range", infer=_range_infer)
def _range(attrs: Attrs, start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> np.ndarray:
    count = _range_infer(attrs, *(Info((), bound.dtype, bound) for bound in (start, limit, delta)))[0].shape[0]
    return (start.item() + np.arange(count) * delta.item()).astype(start.dtype)


@op("Constant", infer=lambda attrs: [Info(attrs["value"].shape, attrs["value"].dtype, attrs["value"])])
def _constant(attrs: Attrs) -> np.ndarray:
    return attrs["value"]
