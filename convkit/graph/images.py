"""Rows of operators on images: convolution, pooling, resampling, normalisation, on the engine's calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from .. import _options, _shapes
from .._arrays import is_real
from .._ext import engine
from .._pool_shapes import PoolShape, adaptive_out, windows
from .._threads import current
from ..ops import adaptive_pool, conv, conv_transpose, deform, grid, pool
from .elements import NONE, activated
from .resizing import resized
from .table import OPS, Attrs, Info, Op, by_image, needs, op, take


def spatial(attrs: Attrs, name: str, nd: int, default: int = 1) -> tuple[int, ...]:
    """An attribute with one number for each spatial axis."""
    return tuple(attrs.get(name) or (default,) * nd)


def padding(attrs: Attrs, nd: int) -> Any:
    """`pads` and `auto_pad` as convkit's argument."""
    named = {"SAME_UPPER": "same_upper", "SAME_LOWER": "same_lower", "VALID": "valid"}.get(attrs.get("auto_pad", ""))
    pads = attrs.get("pads") or (0,) * (2 * nd)
    return named or tuple(zip(pads[:nd], pads[nd:], strict=True))


# ---------------------------------------------------------------- convolution


def _moves(attrs: Attrs, nd: int) -> tuple:
    """Stride, padding, dilation and groups."""
    sizes = spatial(attrs, "strides", nd), padding(attrs, nd), spatial(attrs, "dilations", nd)
    return (*sizes, attrs.get("group", 1))


def _conv_plan(attrs: Attrs, x: Info, w: Info) -> conv.Plan:
    nd = len(w.shape) - 2
    sizes = nd, *_moves(attrs, nd), attrs.get("padding_mode", "zeros"), "NCHW"
    return conv.CONV.plan((x.shape, w.shape), sizes)


def transposed_moves(attrs: Attrs, x: Info, w: Info) -> tuple:
    """Stride, padding, output padding, groups and dilation."""
    nd = len(w.shape) - 2
    stride, pad, dilation, groups = _moves(attrs, nd)
    added, size = spatial(attrs, "output_padding", nd, 0), attrs.get("output_shape")
    if size is None and isinstance(pad, str) and pad != "valid" and any(added):
        size = [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
    if size is not None:
        pad, added = pads_for(x.shape[2:], w.shape[2:], stride, dilation, added, size, attrs.get("auto_pad", "NOTSET"))
    return stride, pad, added, groups, dilation


def _transposed_plan(attrs: Attrs, x: Info, w: Info) -> conv.Plan:
    sizes = len(w.shape) - 2, *transposed_moves(attrs, x, w), None, "NCHW"
    return conv_transpose.CONV_TRANSPOSE.plan((x.shape, w.shape), sizes)


def pads_for(in_, kernel, stride, dilation, added, size, auto_pad: str) -> tuple:
    """ONNX's rule for a transposed convolution whose output size is given: what is too much is cropped."""
    pads, more = [], []
    for n, k, s, d, a, out in zip(in_, kernel, stride, dilation, added, size[-len(in_) :], strict=True):
        total = _shapes.transposed_reach(n, k, s, d) + a - out
        small, large = max(total, 0) // 2, max(total, 0) - max(total, 0) // 2
        pads.append((large, small) if auto_pad != "SAME_UPPER" else (small, large))
        more.append(a + max(-total, 0))
    return tuple(pads), tuple(more)


def _conv_infer(plan_of: Callable) -> Callable[..., list[Info]]:
    def infer(attrs: Attrs, x: Info, w: Info, b: Info | None = None, add: Info | None = None) -> list[Info]:
        one_dtype(x, w, b, add)
        if len(x.shape) != len(w.shape):
            raise ValueError(f"x must have {len(w.shape)} axes, (N, C, *spatial), got shape {x.shape}")
        y_shape = plan_of(attrs, x, w).y_shape
        _for_outputs(b, y_shape[1])
        return [summed(Info(y_shape, x.dtype), add)]

    return infer


def _for_outputs(bias: Info | None, channels: int) -> None:
    """Raise unless there is a number for each output channel: kernels read so many."""
    if bias is not None and bias.shape != (channels,):
        raise ValueError(f"bias must have shape ({channels},), got {bias.shape}")


def one_dtype(x: Info, *others: Info | None) -> None:
    """Raise unless all operands share one dtype: kernels read them as it says."""
    for info in others:
        if info is not None and info.dtype != x.dtype:
            raise TypeError(f"operands must share one dtype, got {x.dtype} and {info.dtype}")


def summed(product: Info, add: Info | None) -> Info:
    """A product to which another value is added, which may repeat it."""
    return product if add is None else Info(np.broadcast_shapes(product.shape, add.shape), product.dtype)


_CONVOLUTIONS = conv.conv1d, conv.conv2d, conv.conv3d
_TRANSPOSED = conv_transpose.conv_transpose1d, conv_transpose.conv_transpose2d, conv_transpose.conv_transpose3d


def _conv(attrs: Attrs, x, w, b=None, add=None) -> np.ndarray:
    nd, options = w.ndim - 2, {name: attrs[name] for name in ("padding_mode", "algorithm") if name in attrs}
    y = _CONVOLUTIONS[nd - 1](x, w, b, *_moves(attrs, nd), **options)
    return activated(attrs, y if add is None else y + add)


def _conv_transpose(attrs: Attrs, x, w, b=None, add=None) -> np.ndarray:
    moves = transposed_moves(attrs, Info(x.shape, x.dtype), Info(w.shape, w.dtype))
    y = _TRANSPOSED[w.ndim - 3](x, w, b, *moves, algorithm=attrs.get("algorithm", "auto"))
    return activated(attrs, y if add is None else y + add)


def _lower_conv(transposed: bool) -> Callable[..., bool]:
    """How `Conv`, or `ConvTranspose`, becomes a step of a program; False where it has to be a NumPy function."""
    plan_of = _transposed_plan if transposed else _conv_plan

    def lower(plan: Any, node: Any) -> bool:
        x, w, b, add = take(node.inputs, 4)
        bias = None if b is None else plan.constant(b)
        if not is_real(plan.info(x).dtype) or (b is not None and bias is None):
            return False
        infos = plan.info(x), plan.info(w)
        sizes = plan_of(node.attrs, *infos)
        # The phases of a stride, whose taps lie together, begin where the padding says.
        form = transposed, *(transposed_moves(node.attrs, *infos) if transposed else (node.attrs.get("group", 1),))
        images = plan.spot(x), plan.spot(node.outputs[0])
        if plan.info(node.outputs[0]).shape != sizes.y_shape:  # what is added repeats it
            return False
        lower_product(plan, node, sizes.geometry, images, w, plan.spot(w), form, bias, add)
        return True

    return lower


def lower_product(plan, node, geometry, images: tuple, w, kernel, form: Hashable, bias, add) -> None:
    """A convolution as a step: of these images, by this kernel, which is a form of the value w.

    The first of `form` says whether it is transposed.
    """
    place_sum(plan, node, add)
    weight = plan.constant(w)
    panels = None if weight is None else plan.panels(weight, form)
    activation, code = node.attrs.get("activation", NONE), _options.algorithm(node.attrs.get("algorithm", "auto"))
    plan.program.conv(geometry, form[0], images[0], kernel, bias, images[1], add is not None, activation, code, panels)


def place_sum(plan: Any, node: Any, add: Any) -> None:
    """What is added lies where the result will, or is copied there."""
    y = plan.spot(node.outputs[0])
    if add is not None and not plan.lies_at(add, y):
        plan.copy(add, y)


def _conv_flops(transposed: bool) -> Callable[..., int]:
    def flops(attrs: Attrs, infos: Sequence[Info], outputs: Sequence[Info]) -> int:
        positions = infos[0] if transposed else outputs[0]
        return 2 * math.prod(infos[1].shape[1:]) * math.prod(positions.shape)

    return flops


def by_weight(attrs: Attrs, x: Info, weight: Info, *others: Info | None) -> bool:
    """Whether images stay apart, by the same weight for all."""
    return weight.data is not None and by_image(attrs, x, *others)


_BY_WEIGHT = {"apart": by_weight, "any_order": True}
OPS["Conv"] = Op(_conv, _conv_infer(_conv_plan), _lower_conv(False), flops=_conv_flops(False), **_BY_WEIGHT)
OPS["ConvTranspose"] = Op(
    _conv_transpose, _conv_infer(_transposed_plan), _lower_conv(True), flops=_conv_flops(True), **_BY_WEIGHT
)


def _deform_sizes(attrs: Attrs, w: Info) -> tuple:
    nd = len(w.shape) - 2
    return nd, spatial(attrs, "strides", nd), padding(attrs, nd), spatial(attrs, "dilations", nd)


def _deform_plan(attrs: Attrs, x: Info, w: Info, offset: Info) -> deform.Plan:
    return deform.planned((x.shape, offset.shape, w.shape), (*_deform_sizes(attrs, w), "NCHW"))


def _deform_infer(
    attrs: Attrs, x: Info, w: Info, offset: Info, b: Info | None = None, mask: Info | None = None
) -> list[Info]:
    one_dtype(x, w, offset, b, mask)
    if len(x.shape) != len(w.shape):
        raise ValueError(f"x must have {len(w.shape)} axes, (N, C, *spatial), got shape {x.shape}")
    sizes = _deform_plan(attrs, x, w, offset)
    _for_outputs(b, w.shape[0])
    if mask is not None and mask.shape != sizes.mask_shape:
        raise ValueError(f"mask must have shape {sizes.mask_shape}, got {mask.shape}")
    return [Info(sizes.y_shape, x.dtype)]


def _lower_deform(plan: Any, node: Any) -> bool:
    x, w, offset, b, mask = take(node.inputs, 5)
    bias = None if b is None else plan.constant(b)
    if not is_real(plan.info(x).dtype) or (b is not None and bias is None):
        return False
    sizes = _deform_plan(node.attrs, *(plan.info(value) for value in (x, w, offset)))
    spots = [None if value is None else plan.spot(value) for value in (x, offset, mask)]
    weight, y = plan.spot(w), plan.spot(node.outputs[0])
    activation = node.attrs.get("activation", NONE)
    plan.program.deform(sizes.geometry, sizes.offset_groups, *spots, weight, bias, y, activation)
    return True


@op("DeformConv", infer=_deform_infer, lower=_lower_deform, apart=by_weight, flops=_conv_flops(False))
def _deform(attrs: Attrs, x, w, offset, b=None, mask=None) -> np.ndarray:
    nd, *sizes = _deform_sizes(attrs, Info(w.shape, w.dtype))
    y = deform.forward(nd, x, offset, w, b, *sizes, mask, None, "NCHW", None)
    return activated(attrs, y)


# ---------------------------------------------------------------- pooling


def _pool_sizes(attrs: Attrs, x: Any) -> tuple:
    nd = len(x.shape) - 2
    kernel = tuple(attrs["kernel_shape"])
    if nd != len(kernel):
        raise ValueError(f"x must have {len(kernel) + 2} axes, (N, C, *spatial), got shape {x.shape}")
    return nd, kernel, spatial(attrs, "strides", nd), padding(attrs, nd), spatial(attrs, "dilations", nd)


def pool_shape(attrs: Attrs, x: Any) -> PoolShape:
    """Of an array, or of what is known of one."""
    nd, *sizes = _pool_sizes(attrs, x)
    return windows(nd, x.shape, *sizes, bool(attrs.get("ceil_mode", 0)), False)


def pool_infer(attrs: Attrs, x: Info) -> list[Info]:
    """Of the values, and of their indices."""
    shape = pool_shape(attrs, x)
    whole = shape.n, shape.channels, *shape.out
    return [Info(whole, x.dtype), Info(whole, np.dtype(np.int64))]


def _lower_pool(code: int) -> Callable[..., bool]:
    def lower(plan: Any, node: Any) -> bool:
        x = plan.info(node.inputs[0])
        if not is_real(x.dtype) or len(node.outputs) > 1:
            return False
        shape = pool_shape(node.attrs, x)
        count = code == engine.POOL_AVERAGE and bool(node.attrs.get("count_include_pad", 0))
        geometry = engine.PoolGeometry(*shape, count_pad=count)
        spots = plan.spot(node.inputs[0]), plan.spot(node.outputs[0])
        plan.program.pool(geometry, code, x.dtype.itemsize, *spots, None)
        return True

    return lower


_BY_IMAGE = {"apart": by_image, "any_order": True}


@op("MaxPool", infer=pool_infer, lower=_lower_pool(engine.POOL_MAX), **_BY_IMAGE)
def _max_pool(attrs: Attrs, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    nd, kernel, stride, pad, dilation = _pool_sizes(attrs, x)
    function = (pool.max_pool1d, pool.max_pool2d, pool.max_pool3d)[nd - 1]
    options = {"ceil_mode": bool(attrs.get("ceil_mode", 0)), "return_indices": True}
    real = x if is_real(x.dtype) else x.astype(np.float32)
    y, indices = function(real, kernel, stride, pad, dilation, **options)
    planes = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], *(1,) * nd) * math.prod(x.shape[2:])
    if attrs.get("storage_order", 0) == 1:
        indices = _column_major(indices, x.shape[2:])
    return y.astype(x.dtype, copy=False), indices + planes


def _column_major(indices: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    places = np.unravel_index(indices, sizes)
    return np.ravel_multi_index(places, sizes, order="F")


@op("AveragePool", infer=lambda attrs, x: pool_infer(attrs, x)[:1], lower=_lower_pool(engine.POOL_AVERAGE), **_BY_IMAGE)
def _average_pool(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    nd, kernel, stride, pad, dilation = _pool_sizes(attrs, x)
    function = (pool.avg_pool1d, pool.avg_pool2d, pool.avg_pool3d)[nd - 1]
    options = {
        "ceil_mode": bool(attrs.get("ceil_mode", 0)),
        "count_include_pad": bool(attrs.get("count_include_pad", 0)),
    }
    return function(x, kernel, stride, pad, dilation=dilation, **options)


def _adaptive_infer(attrs: Attrs, x: Info) -> list[Info]:
    if not 3 <= len(x.shape) <= 5:
        raise ValueError(f"x must have 1, 2 or 3 spatial axes, got shape {x.shape}")
    return [Info((*x.shape[:2], *adaptive_out(x.shape[2:], attrs.get("output_size", 1))), x.dtype)]


def _lower_adaptive(code: int) -> Callable[..., bool]:
    def lower(plan: Any, node: Any) -> bool:
        x, y = plan.info(node.inputs[0]), plan.info(node.outputs[0])
        if not is_real(x.dtype) or not 3 <= len(x.shape) <= 5 or 0 in x.shape:
            return False
        geometry = engine.PoolGeometry(*x.shape[:2], x.shape[2:], y.shape[2:])
        plan.program.pool(geometry, code, x.dtype.itemsize, plan.spot(node.inputs[0]), plan.spot(node.outputs[0]), None)
        return True

    return lower


def _adaptive(functions: Sequence[Callable]) -> Callable[..., np.ndarray]:
    return lambda attrs, x: functions[x.ndim - 3](x, attrs.get("output_size", 1))


_AVERAGES = adaptive_pool.adaptive_avg_pool1d, adaptive_pool.adaptive_avg_pool2d, adaptive_pool.adaptive_avg_pool3d
_LARGEST = adaptive_pool.adaptive_max_pool1d, adaptive_pool.adaptive_max_pool2d, adaptive_pool.adaptive_max_pool3d
# The adaptive ones are convkit's own: ONNX has those to one element alone.
for _name in ("GlobalAveragePool", "AdaptiveAveragePool"):
    OPS[_name] = Op(_adaptive(_AVERAGES), _adaptive_infer, _lower_adaptive(engine.POOL_AVERAGE), **_BY_IMAGE)
for _name in ("GlobalMaxPool", "AdaptiveMaxPool"):
    OPS[_name] = Op(_adaptive(_LARGEST), _adaptive_infer, _lower_adaptive(engine.POOL_MAX), **_BY_IMAGE)


# ---------------------------------------------------------------- resampling

_CUBIC = (-0.75, -0.5)  # the engine's A, and with antialias


def _resize_sizes(attrs: Attrs, x: Info, scales: Info | None, sizes: Info | None) -> tuple[tuple, tuple]:
    """The output's shape, and the scale of every axis as the coordinates take it."""
    shape, axes = list(x.shape), attrs.get("axes") or range(len(x.shape))
    used = [1.0] * len(shape)
    wanted = needs(sizes)
    if wanted is not None and wanted.size:
        ratios = [float(size) / shape[axis] for size, axis in zip(wanted, axes, strict=True)]
        policy = attrs.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            ratio = min(ratios) if policy == "not_larger" else max(ratios)
            wanted = [math.floor(shape[axis] * ratio + 0.5) for axis in axes]
            ratios = [ratio] * len(ratios)
        for size, ratio, axis in zip(wanted, ratios, axes, strict=True):
            used[axis], shape[axis] = ratio, int(size)
    elif scales is None:
        raise ValueError("scales or sizes must be given, got neither")
    else:
        for scale, axis in zip(needs(scales), axes, strict=True):
            # Sizes are of the scales' own dtype. Of coordinates, float32's 3.1 is 3.1, not 3.0999999: else places that
            # should be whole numbers would be just below them.
            used[axis], shape[axis] = float(str(scale)), math.floor(shape[axis] * scale)
    return tuple(shape), tuple(used)


def _resize_infer(attrs: Attrs, x: Info, roi=None, scales=None, sizes=None) -> list[Info]:
    return [Info(_resize_sizes(attrs, x, scales, sizes)[0], x.dtype)]


def _resize_geometry(attrs: Attrs, x: Info, shape: tuple, scales: tuple, sized: bool) -> engine.ResizeGeometry | None:
    """What the engine calls this resizing; None if it has none."""
    mode, where = attrs.get("mode", "nearest"), attrs.get("coordinate_transformation_mode", "half_pixel")
    antialias, outside = bool(attrs.get("antialias", 0)), not attrs.get("exclude_outside", 0)
    if x.shape[:2] != shape[:2] or not 3 <= len(shape) <= 5 or 0 in x.shape or 0 in shape:
        return None
    if mode == "cubic" and (len(shape) != 4 or attrs.get("cubic_coeff_a", _CUBIC[0]) != _CUBIC[antialias]):
        return None
    if (mode == "cubic" or antialias) and outside == antialias:  # only with antialias the engine leaves it out
        return None
    if antialias and (mode == "nearest" or where not in ("half_pixel", "pytorch_half_pixel")):
        return None
    in_, out, stretched = x.shape[2:], shape[2:], attrs.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    times = tuple(map(float, in_ if sized and stretched else (1,) * len(in_)))
    over = tuple(map(float, out if sized and stretched else scales[2:]))
    if where == "align_corners":
        if any(size == 1 for size in out):
            return None
        ends = out if sized else [size * scale for size, scale in zip(in_, scales[2:], strict=True)]
        times, over, before = tuple(size - 1.0 for size in in_), tuple(end - 1.0 for end in ends), 0.0
    elif where == "asymmetric":
        before = 0.0
    elif where == "half_pixel" or (where == "pytorch_half_pixel" and 1 not in out):
        before = 0.5
    else:
        return None
    after = 0.0 if antialias else before
    if mode == "nearest":  # the engine takes the element at the floor
        rounding = attrs.get("nearest_mode", "round_prefer_floor")
        if rounding == "ceil":
            return None
        # Coordinates are multiples of 1 / over: a nudge that is far smaller decides what lies halfway.
        after -= {"floor": 0.0, "round_prefer_ceil": 0.5, "round_prefer_floor": 0.5 - 1e-9}[rounding]
    sampling = {"nearest": engine.NEAREST, "linear": engine.LINEAR, "cubic": engine.CUBIC}[mode]
    return engine.ResizeGeometry(*shape[:2], in_, out, sampling, antialias, times, over, before, after)


def _lower_resize(plan: Any, node: Any) -> bool:
    x, _, scales, sizes = take(node.inputs, 4)
    info, y = plan.info(x), node.outputs[0]
    known = [None if value is None else plan.info(value) for value in (scales, sizes)]
    shape, used = _resize_sizes(node.attrs, info, *known)
    geometry = _resize_geometry(node.attrs, info, shape, used, known[1] is not None and known[1].data.size > 0)
    if geometry is None or not is_real(info.dtype):
        return False
    plan.program.resize(geometry, info.dtype.itemsize, plan.spot(x), plan.spot(y))
    return True


def _of_images(attrs: Attrs, *infos: Info | None) -> bool:
    """What is cut out of all images may begin in the middle of them."""
    return attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize" and by_image(attrs, *infos)


@op("Resize", infer=_resize_infer, lower=_lower_resize, apart=_of_images)
def _resize(attrs: Attrs, x, roi=None, scales=None, sizes=None) -> np.ndarray:
    info = Info(x.shape, x.dtype)
    known = [None if array is None else Info(array.shape, array.dtype, array) for array in (scales, sizes)]
    shape, used = _resize_sizes(attrs, info, *known)
    geometry = _resize_geometry(attrs, info, shape, used, sizes is not None and sizes.size > 0)
    if geometry is None or not is_real(x.dtype):
        return resized(attrs, x, shape, used, roi)
    y = np.empty(shape, x.dtype)
    engine.resize(geometry, x, y, False, False, current())
    return y


_GRID_MODES = {"linear": "bilinear", "cubic": "bicubic"}  # others are called alike


def _grid_options(attrs: Attrs) -> tuple[str, str, bool]:
    mode = attrs.get("mode", "linear")
    return _GRID_MODES.get(mode, mode), attrs.get("padding_mode", "zeros"), bool(attrs.get("align_corners", 0))


def _grid_infer(attrs: Attrs, x: Info, places: Info) -> list[Info]:
    return [Info((*x.shape[:2], *places.shape[1:-1]), x.dtype)]


def _lower_grid(plan: Any, node: Any) -> bool:
    x, places = node.inputs
    info = plan.info(x)
    if not is_real(info.dtype) or plan.info(places).dtype != info.dtype or not 4 <= len(info.shape) <= 5:
        return False
    sizes = grid.planned(info.shape, plan.info(places).shape, *_grid_options(node.attrs), "NCHW")
    spots = plan.spot(x), plan.spot(places), plan.spot(node.outputs[0])
    if any(isinstance(spot, np.ndarray) for spot in spots):
        return False
    plan.program.grid(sizes.geometry, info.dtype.itemsize, *spots)
    return True


@op("GridSample", infer=_grid_infer, lower=_lower_grid)
def _grid_sample(attrs: Attrs, x: np.ndarray, places: np.ndarray) -> np.ndarray:
    return grid.grid_sample(x, places, *_grid_options(attrs))
