"""Rows of operators that normalise: by means and deviations, by sums of exponentials, by norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._arrays import empty, is_real
from .._ext import engine
from .._limits import log_softmax, share
from .._range import norms, scaled
from ..ops import _channels, _moments
from ..ops._channels import Map
from ..ops._rows import softmax
from .elements import same
from .table import OPS, Attrs, Info, Op, by_image, each_channel, op, positive, real, repeats
from .turns import in_turns, joined

_MOST_STEPS = 256  # of one node: each is planned and kept


def _lower_rows(
    plan: Any, node: Any, op: int, axis: int, axes: int, numbers: tuple = (None, None), epsilon: float = 1e-5,
    response: tuple = (),
) -> bool:  # fmt: skip
    """One step of the engine over the rows along so many axes from this one on; the numbers are a scale and a bias.

    Where the rows are no axis of one step, a step for each of as few of the first axes as it takes.
    """
    x, y = node.inputs[0], node.outputs[0]
    info = plan.info(x)
    if not is_real(info.dtype) or 0 in info.shape or plan.constant(x) is not None or len(node.outputs) > 1:
        return False
    if op == engine.STANDARD and info.dtype.itemsize != 4:  # squares in float64 hold those of float32 of any size
        return False
    places = plan.spot(x), plan.spot(y)
    for apart in range(axis + 1):
        sizes = info.shape[apart:axis], info.shape[axis : axis + axes], info.shape[axis + axes :]
        spots = [_as_rows(place._replace(strides=place.strides[apart:]), sizes) for place in places]
        if None not in spots:
            break
    else:
        return False
    shape = tuple(map(math.prod, sizes))
    if shape[2] == 1:  # rows that are each other's neighbours are so along the last axis
        shape, spots = (1, shape[1], shape[0]), [(*spot[:2], (0, spot[2][1], spot[2][0]), spot[3]) for spot in spots]
    scale, bias = (_repeated(plan, value, sizes[1], info.dtype) for value in numbers)
    if any(array is None and value is not None for array, value in zip((scale, bias), numbers, strict=True)):
        return False
    epsilon = epsilon if response else node.attrs.get("epsilon", epsilon)
    outer = joined(info.shape[:apart], [place.strides[:apart] for place in places])
    if math.prod(size for size, _ in outer[:-1]) > _MOST_STEPS:
        return False
    for moved, turns, steps in in_turns(outer, spots):
        plan.program.rows(op, info.dtype.itemsize, shape, *moved, scale, bias, epsilon, response)
        plan.program.repeat(turns, steps)
    return True


def _repeated(plan: Any, value: Any, sizes: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
    """A constant with an element for each of a row."""
    data = None if value is None else plan.constant(value)
    if data is None or data.dtype != dtype:
        return None
    return np.ascontiguousarray(np.broadcast_to(data, sizes)).reshape(-1)


def _as_rows(spot: Any, sizes: tuple[tuple[int, ...], ...]) -> tuple | None:
    """A place as (n, c, l), if each is axes of one step, and either what is in a row or the rows are adjacent."""
    base, offset, strides, item, _ = spot
    steps, at = [], 0
    for part in sizes:
        step = reach = None
        for size, stride in list(zip(part, strides[at:], strict=False))[::-1]:
            if size != 1 and reach not in (None, stride):
                return None
            if size != 1:
                step, reach = stride if step is None else step, stride * size
        steps.append(item if step is None else step)
        at += len(part)
    alone = math.prod(sizes[1]) == 1
    rows = steps[0] if math.prod(sizes[2]) == 1 else steps[2]
    return (base, offset, tuple(steps), item) if alone or item in (steps[1], rows) else None


# ---------------------------------------------------------------- means and deviations


def _mapped(planes: np.ndarray, by: Map) -> np.ndarray:
    y = empty(planes.shape, planes.dtype)
    _channels.apply(planes, by, y)
    return y


def _by_groups(attrs: Attrs, x: np.ndarray, groups: int, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Groups of channels of each image by themselves; then every channel's scale and bias."""
    images, channels = x.shape[:2]
    if x.size == 0:
        return np.zeros_like(x)
    rows = _channels.apart(x, images * groups)
    standard = _moments.standard(rows, attrs.get("epsilon", 1e-5)).repeated(channels // groups)
    by = standard.map(np.tile(scale, images), np.tile(bias, images))
    return _mapped(x.reshape(1, images * channels, math.prod(x.shape[2:])), by).reshape(x.shape)


def _layer_norm_infer(attrs: Attrs, x: Info, *numbers: Info | None) -> list[Info]:
    real(x)
    axis = positive(attrs.get("axis", -1), len(x.shape))
    for info in numbers:
        repeats(info, x.shape[axis:], x.shape)
    single = Info((*x.shape[:axis], *(1,) * (len(x.shape) - axis)), np.dtype(np.float32))
    return [Info(x.shape, x.dtype), single, single]


def _lower_layer_norm(plan: Any, node: Any) -> bool:
    axes = len(plan.info(node.inputs[0]).shape)
    axis = positive(node.attrs.get("axis", -1), axes)
    return _lower_rows(plan, node, engine.STANDARD, axis, axes - axis, (*node.inputs[1:], None)[:2])


@op("LayerNormalization", infer=_layer_norm_infer, lower=_lower_layer_norm, apart=by_image)
def _layer_norm(attrs: Attrs, x: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None) -> tuple:
    """Every sample by itself; then every element's scale and bias."""
    axis = positive(attrs.get("axis", -1), x.ndim)
    samples, values, single = math.prod(x.shape[:axis]), x.shape[axis:], (*x.shape[:axis], *(1,) * (x.ndim - axis))
    rows = _channels.apart(x, samples)
    standard = _moments.standard(rows, attrs.get("epsilon", 1e-5))
    weights = (None if v is None else np.broadcast_to(v, values).reshape(-1) for v in (scale, bias))
    y = _mapped(_mapped(rows, standard.map()).reshape(samples, math.prod(values), 1), _moments.plain(*weights))
    return y.reshape(x.shape), *(v.astype(np.float32).reshape(single) for v in (standard.mean, standard.steep))


@op(
    "ChannelNormalization", infer=each_channel, apart=by_image, any_order=True,
    lower=lambda plan, node: _lower_rows(plan, node, engine.STANDARD, 1, 1, (*node.inputs[1:], None)[:2]),
)  # fmt: skip
def _channel_norm(attrs: Attrs, x: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """convkit's own: of the channels of each pixel, which passes make of layer normalisation with channels last."""
    y = _layer_norm({"epsilon": attrs.get("epsilon", 1e-5)}, np.moveaxis(x, 1, -1), scale, bias)[0]
    return np.moveaxis(y, -1, 1)


@op("RMSNormalization", infer=same)
def _rms_norm(attrs: Attrs, x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    axes = tuple(range(positive(attrs.get("axis", -1), x.ndim), x.ndim))
    count = math.prod(x.shape[axis] for axis in axes)
    root = norms(x, axes, scaled_by=1 / math.sqrt(max(count, 1)))
    return (x / np.hypot(root, math.sqrt(attrs.get("epsilon", 1e-5))) * scale).astype(x.dtype)


@op("InstanceNormalization", infer=each_channel, apart=by_image)
def _instance_norm(attrs: Attrs, x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return _by_groups(attrs, x, x.shape[1], scale, bias)


def _group_infer(attrs: Attrs, x: Info, *numbers: Info) -> list[Info]:
    return each_channel(attrs, x) if attrs.get("by_group") else each_channel(attrs, x, *numbers)


@op("GroupNormalization", infer=_group_infer, apart=by_image)
def _group_norm(attrs: Attrs, x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    groups = attrs["num_groups"]
    if attrs.get("by_group"):
        scale, bias = (np.repeat(numbers, x.shape[1] // groups) for numbers in (scale, bias))
    return _by_groups(attrs, x, groups, scale, bias)


@op("MeanVarianceNormalization", infer=each_channel)
def _mean_variance(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    gone = tuple(positive(axis, x.ndim) for axis in attrs.get("axes", (0, 2, 3)))
    order = *(axis for axis in range(x.ndim) if axis not in gone), *gone
    rows = x.transpose(order)
    kept = x.ndim - len(gone)
    y = _channels.apart(rows, math.prod(rows.shape[:kept]))
    return _mapped(y, _moments.standard(y, 1e-18).map()).reshape(rows.shape).transpose(np.argsort(order))


def _training_infer(attrs: Attrs, x: Info, scale: Info, bias: Info, mean: Info, variance: Info) -> list[Info]:
    return [*each_channel(attrs, x), Info(mean.shape, mean.dtype), Info(variance.shape, variance.dtype)]


@op("BatchNormalizationInTraining", infer=_training_infer)
def _batch_norm_in_training(attrs: Attrs, x: np.ndarray, scale, bias, mean, variance) -> tuple[np.ndarray, ...]:
    """By the batch's own statistics; and the running ones, moved towards them."""
    momentum, planes = attrs.get("momentum", 0.9), x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    standard = _moments.standard(planes, attrs.get("epsilon", 1e-5))
    moved = [
        (momentum * old + (1 - momentum) * new).astype(old.dtype)
        for old, new in ((mean, standard.mean), (variance, standard.var))
    ]
    return _mapped(planes, standard.map(scale, bias)).reshape(x.shape), *moved


# ---------------------------------------------------------------- norms


@op("LpNormalization", infer=same)
def _lp_norm(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    axis, order = attrs.get("axis", -1), attrs.get("p", 2)
    lowered, _ = scaled(x, axis)
    norm = np.linalg.norm(lowered, order, axis, keepdims=True)
    return np.divide(lowered, norm, out=np.zeros_like(lowered), where=norm != 0).astype(x.dtype)


def _lower_lrn(plan: Any, node: Any) -> bool:
    """Where the power is of quarters, as all have it."""
    size, quarters = node.attrs["size"], 4 * node.attrs.get("beta", 0.75)
    if quarters not in (1, 2, 3, 4) or size < 1:
        return False
    before, factor = (size - 1) // 2, node.attrs.get("alpha", 1e-4) / size
    response = factor, before, size - before - 1, int(quarters)
    return _lower_rows(plan, node, engine.RESPONSE, 1, 1, (None, None), node.attrs.get("bias", 1.0), response)


@op("LRN", infer=same, lower=_lower_lrn, apart=by_image)
def _lrn(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    """Sums of squares over neighbouring channels, in float64."""
    size, channels = attrs["size"], x.shape[1]
    before, own = (size - 1) // 2, np.square(x, dtype=np.float64)
    squares = np.zeros_like(own)
    for by in range(max(-before, -channels), min(size - before, channels)):  # channel c takes channel c + by
        squares[:, max(-by, 0) : channels - max(by, 0)] += own[:, max(by, 0) : channels - max(-by, 0)]
    divisor = attrs.get("bias", 1.0) + attrs.get("alpha", 1e-4) / size * squares
    return (x / divisor ** attrs.get("beta", 0.75)).astype(x.dtype)


# ---------------------------------------------------------------- sums of exponentials


@op("Hardmax", infer=same, apart=by_image)
def _hardmax(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    axis, y = attrs.get("axis", -1), np.zeros_like(x)
    if x.size == 0:
        return y
    np.put_along_axis(y, np.expand_dims(x.argmax(axis), axis), 1, axis)
    return y


def _lower_softmax(plan: Any, node: Any) -> bool:
    axis = positive(node.attrs.get("axis", -1), len(plan.info(node.inputs[0]).shape))
    return _lower_rows(plan, node, engine.SOFTMAX, axis, 1)


OPS["Softmax"] = Op(lambda attrs, x: softmax(x, attrs.get("axis", -1)), same, _lower_softmax, apart=by_image)
OPS["LogSoftmax"] = Op(lambda attrs, x: log_softmax(x, attrs.get("axis", -1)), same, apart=by_image)


# ---------------------------------------------------------------- losses


def _loss_infer(attrs: Attrs, x: Info, target: Info, *_: Info | None) -> list[Info]:
    shape = target.shape if attrs.get("reduction", "mean") == "none" else ()
    return [Info(shape, x.dtype), Info(x.shape, x.dtype)]


@op("NegativeLogLikelihoodLoss", infer=lambda *args: _loss_infer(*args)[:1])
def _negative_log_likelihood(attrs: Attrs, x: np.ndarray, target: np.ndarray, weight=None) -> np.ndarray:
    """Minus the element of each target's class, times the class's weight."""
    ignored = target == attrs["ignore_index"] if "ignore_index" in attrs else np.zeros(target.shape, bool)
    classes = np.where(ignored, 0, target)
    picked = -np.take_along_axis(x, np.expand_dims(classes, 1), 1).squeeze(1)
    weights = np.where(ignored, 0, 1 if weight is None else weight[classes]).astype(x.dtype)
    losses = share(weights, picked)
    reduction = attrs.get("reduction", "mean")
    if reduction == "none":
        return losses
    return np.asarray(losses.sum() if reduction == "sum" else losses.sum() / weights.sum(), x.dtype)


@op("SoftmaxCrossEntropyLoss", infer=_loss_infer)
def _softmax_cross_entropy(attrs: Attrs, x: np.ndarray, target: np.ndarray, weight=None) -> tuple:
    logarithms = log_softmax(x, 1)
    return _negative_log_likelihood(attrs, logarithms, target, weight), logarithms
