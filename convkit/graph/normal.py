"""Rows of operators that normalise: by means and deviations, by sums of exponentials, by norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._arrays import empty
from .._ext import engine
from .._limits import log_softmax, share
from .._range import norms, scaled
from ..ops import _channels, _moments
from ..ops._channels import Map
from ..ops._rows import softmax
from .elements import same
from .placement import contiguous
from .rows import lower_rows
from .table import OPS, Attrs, Info, Op, by_image, each_channel, op, positive, real, repeats

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
    numbers, epsilon = (*node.inputs[1:], None)[:2], node.attrs.get("epsilon", 1e-5)
    return lower_rows(plan, node, engine.STANDARD, axis, axes - axis, numbers, epsilon=epsilon)


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


def _lower_channel_norm(plan: Any, node: Any) -> bool:
    numbers, epsilon = (*node.inputs[1:], None)[:2], node.attrs.get("epsilon", 1e-5)
    return lower_rows(plan, node, engine.STANDARD, 1, 1, numbers, epsilon=epsilon)


@op("ChannelNormalization", infer=each_channel, lower=_lower_channel_norm, apart=by_image, any_order=True)
def _channel_norm(attrs: Attrs, x: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """convkit's own: of the channels of each pixel, which passes make of layer normalisation with channels last."""
    y = _layer_norm({"epsilon": attrs.get("epsilon", 1e-5)}, np.moveaxis(x, 1, -1), scale, bias)[0]
    return np.moveaxis(y, -1, 1)


def _lower_groups(plan: Any, node: Any, groups: int, by_group: bool = False) -> bool:
    """One step of the engine, of float32 in C order, where planes are long enough to be summed along."""
    x, y = (plan.info(value) for value in (node.inputs[0], node.outputs[0]))
    numbers, epsilon = [plan.constant(value) for value in node.inputs[1:]], node.attrs.get("epsilon", 1e-5)
    spots = [plan.spot(value) for value in (node.inputs[0], node.outputs[0])]
    if x.dtype != np.float32 or 0 in x.shape or epsilon < _LEAST_EPSILON:
        return False
    each = x.shape[1] // max(groups, 1) if by_group else 1
    if groups < 1 or x.shape[1] % groups or any(v is None or v.shape != (x.shape[1] // each,) for v in numbers):
        return False
    if any(isinstance(spot, np.ndarray) or spot.strides != contiguous(y) for spot in spots):
        return False
    images, channels, *sizes = x.shape
    planes, length = images * channels, math.prod(sizes)
    if length < _channels.LANES:
        return False
    form = _channels.form_of(np.broadcast_to(np.float32(0), (1, planes, length)))
    weight, bias = (np.repeat(np.tile(np.repeat(v, each), images), form.pieces).astype(x.dtype) for v in numbers)
    length, item = length // form.pieces, x.dtype.itemsize
    places = [(spot.base, spot.offset, (0, length * item, item), item) for spot in spots]
    shape, pieces = (1, planes * form.pieces, length), channels // groups * form.pieces
    plan.program.normal(item, shape, *places, pieces, form.cuts, weight, bias, epsilon)
    return True


_LEAST_EPSILON = 1e-30  # with less, a variance of float32's least numbers would count


@op(
    "InstanceNormalization", infer=each_channel, apart=by_image,
    lower=lambda plan, node: _lower_groups(plan, node, plan.info(node.inputs[0]).shape[1]),
)  # fmt: skip
def _instance_norm(attrs: Attrs, x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return _by_groups(attrs, x, x.shape[1], scale, bias)


def _group_infer(attrs: Attrs, x: Info, *numbers: Info) -> list[Info]:
    return each_channel(attrs, x) if attrs.get("by_group") else each_channel(attrs, x, *numbers)


@op(
    "GroupNormalization", infer=_group_infer, apart=by_image,
    lower=lambda plan, node: _lower_groups(plan, node, node.attrs["num_groups"], bool(node.attrs.get("by_group"))),
)  # fmt: skip
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


def _lower_rms_norm(plan: Any, node: Any) -> bool:
    shape = plan.info(node.inputs[0]).shape
    axis, epsilon = positive(node.attrs.get("axis", -1), len(shape)), node.attrs.get("epsilon", 1e-5)
    numbers, count = (node.inputs[1], None), math.prod(shape[axis:])
    return epsilon >= _LEAST_EPSILON and lower_rows(
        plan, node, engine.BY_NORM, axis, len(shape) - axis, numbers, epsilon=epsilon, factor=1 / max(count, 1)
    )


@op("RMSNormalization", infer=same, lower=_lower_rms_norm, apart=by_image)
def _rms_norm(attrs: Attrs, x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    axes = tuple(range(positive(attrs.get("axis", -1), x.ndim), x.ndim))
    return (x / _root(x, axes, True, attrs.get("epsilon", 1e-5)) * scale).astype(x.dtype)


def _root(x: np.ndarray, axes: int | tuple[int, ...], mean: bool, epsilon: float) -> np.ndarray:
    """sqrt(epsilon + the sum, or mean, of squares), the axes kept."""
    count = math.prod(x.shape[axis] for axis in np.atleast_1d(axes)) if mean else 1
    return np.hypot(norms(x, axes, scaled_by=1 / math.sqrt(max(count, 1))), math.sqrt(epsilon))


def _lower_by_norm(plan: Any, node: Any) -> bool:
    x, attrs = plan.info(node.inputs[0]), node.attrs
    axis = positive(attrs["axis"], len(x.shape))
    if x.shape != plan.info(node.outputs[0]).shape:
        return False
    epsilon, least = attrs.get("epsilon", 0.0), attrs.get("least", 0.0)
    factor = 1 / max(x.shape[axis], 1) if "epsilon" in attrs else 1.0
    if max(least**2, epsilon) < _LEAST_EPSILON:  # 1 over the norm might be infinite
        return False
    numbers = *(*node.inputs[1:], None)[:1], None
    return lower_rows(plan, node, engine.BY_NORM, axis, 1, numbers, epsilon=epsilon, factor=factor, least=least)


def _by_norm_infer(attrs: Attrs, x: Info, scale: Info | None = None) -> list[Info]:
    """The scale may be longer than the axis, of one element."""
    axis, shape = positive(attrs["axis"], len(x.shape)), list(x.shape)
    if scale is not None:
        shape[axis : axis + 1] = np.broadcast_shapes(x.shape[axis : axis + 1], scale.shape)
    return [Info(tuple(shape), x.dtype)]


@op("ByNorm", infer=_by_norm_infer, lower=_lower_by_norm, apart=by_image, any_order=True)
def _by_norm(attrs: Attrs, x: np.ndarray, scale: np.ndarray | None = None) -> np.ndarray:
    """convkit's own: x over its norm along one axis, or over `least`, if that is more; or, where there is an `epsilon`,
    over the root of that and of the mean of squares. Then times a scale, which has an element for each along the axis.

    Passes make it of what exporters spell out.
    """
    mean, axis = "epsilon" in attrs, attrs["axis"]
    norm = _root(x, axis, True, attrs["epsilon"]) if mean else np.maximum(_root(x, axis, False, 0.0), attrs["least"])
    y = x / norm
    if scale is not None:
        y = y * scale.reshape(-1, *(1,) * (x.ndim - 1 - positive(attrs["axis"], x.ndim)))
    return y.astype(x.dtype)


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
    neighbours, bias = (before, size - before - 1, int(quarters)), node.attrs.get("bias", 1.0)
    return lower_rows(plan, node, engine.RESPONSE, 1, 1, epsilon=bias, factor=factor, neighbours=neighbours)


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
    return lower_rows(plan, node, engine.SOFTMAX, axis, 1)


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
