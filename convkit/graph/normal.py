"""Rows of operators that normalise: by means and deviations, by sums of exponentials, by norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._limits import difference
from .elements import same
from .picking import positive
from .table import OPS, Info, Op, op

Attrs = dict[str, Any]
_BLOCK_BYTES = 1 << 17  # of a few arrays at a time


# ---------------------------------------------------------------- means and deviations


def _standardised(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is left with mean 0 and variance 1 over these axes; the mean, and 1 over the deviation. In float64."""
    wide = x.astype(np.float64)
    mean = wide.mean(axes, keepdims=True)
    wide -= mean
    inverse = 1 / np.sqrt(np.square(wide).mean(axes, keepdims=True) + epsilon)
    wide *= inverse
    return wide, mean, inverse


def _layer_norm_infer(attrs: Attrs, x: Info, *_: Info | None) -> list[Info]:
    axis = positive(attrs.get("axis", -1), len(x.shape))
    single = Info((*x.shape[:axis], *(1,) * (len(x.shape) - axis)), np.dtype(np.float32))
    return [Info(x.shape, x.dtype), single, single]


@op("LayerNormalization", infer=_layer_norm_infer)
def _layer_norm(attrs: Attrs, x: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None) -> tuple:
    """By samples, as many at a time as stay in the cache."""
    axis = positive(attrs.get("axis", -1), x.ndim)
    rows = x.reshape(math.prod(x.shape[:axis]), -1)
    y, single = np.empty(rows.shape, x.dtype), (*x.shape[:axis], *(1,) * (x.ndim - axis))
    mean, inverse = (np.empty((len(rows), 1), x.dtype) for _ in range(2))
    scale, bias = (None if v is None else np.broadcast_to(v, x.shape[axis:]).reshape(-1) for v in (scale, bias))
    count = max(_BLOCK_BYTES // max(rows.shape[1] * x.itemsize, 1), 1)
    for first in range(0, len(rows), count):
        part = slice(first, first + count)
        rows[part].mean(1, keepdims=True, out=mean[part])
        block = np.subtract(rows[part], mean[part], out=y[part])
        variance = np.einsum("ij,ij->i", block, block)[:, np.newaxis] / rows.shape[1]
        np.divide(1, np.sqrt(variance + attrs.get("epsilon", 1e-5)), out=inverse[part])
        block *= inverse[part]
        block *= scale
        if bias is not None:
            block += bias
    return y.reshape(x.shape), *(v.astype(np.float32).reshape(single) for v in (mean, inverse))


@op("RMSNormalization", infer=same)
def _rms_norm(attrs: Attrs, x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    axes = tuple(range(positive(attrs.get("axis", -1), x.ndim), x.ndim))
    squares = np.square(x.astype(np.float64)).mean(axes, keepdims=True)
    return (x / np.sqrt(squares + attrs.get("epsilon", 1e-5)) * scale).astype(x.dtype)


@op("InstanceNormalization", infer=same)
def _instance_norm(attrs: Attrs, x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    y, _, _ = _standardised(x, tuple(range(2, x.ndim)), attrs.get("epsilon", 1e-5))
    return (y * _by_channel(scale, x.ndim) + _by_channel(bias, x.ndim)).astype(x.dtype)


@op("GroupNormalization", infer=same)
def _group_norm(attrs: Attrs, x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    groups = attrs["num_groups"]
    parts = x.reshape(x.shape[0], groups, -1)
    y = _standardised(parts, (2,), attrs.get("epsilon", 1e-5))[0].reshape(x.shape)
    if attrs.get("by_group"):
        scale, bias = (np.repeat(numbers, x.shape[1] // groups) for numbers in (scale, bias))
    return (y * _by_channel(scale, x.ndim) + _by_channel(bias, x.ndim)).astype(x.dtype)


@op("MeanVarianceNormalization", infer=same)
def _mean_variance(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    axes = tuple(positive(axis, x.ndim) for axis in attrs.get("axes", (0, 2, 3)))
    return _standardised(x, axes, 1e-18)[0].astype(x.dtype)


def _training_infer(attrs: Attrs, x: Info, scale: Info, bias: Info, mean: Info, variance: Info) -> list[Info]:
    return [Info(x.shape, x.dtype), Info(mean.shape, mean.dtype), Info(variance.shape, variance.dtype)]


@op("BatchNormalizationInTraining", infer=_training_infer)
def _batch_norm_in_training(attrs: Attrs, x: np.ndarray, scale, bias, mean, variance) -> tuple[np.ndarray, ...]:
    """By the batch's own statistics; and the running ones, moved towards them."""
    axes, momentum = (0, *range(2, x.ndim)), attrs.get("momentum", 0.9)
    y, own, _ = _standardised(x, axes, attrs.get("epsilon", 1e-5))
    y = (y * _by_channel(scale, x.ndim) + _by_channel(bias, x.ndim)).astype(x.dtype)
    own_variance = np.square(x.astype(np.float64) - own).mean(axes)
    moved = [
        (momentum * old + (1 - momentum) * new).astype(old.dtype)
        for old, new in ((mean, own.reshape(-1)), (variance, own_variance))
    ]
    return y, *moved


def _by_channel(numbers: np.ndarray, nd: int) -> np.ndarray:
    return numbers.reshape(-1, *(1,) * (nd - 2))


# ---------------------------------------------------------------- norms


@op("LpNormalization", infer=same)
def _lp_norm(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    axis, order = attrs.get("axis", -1), attrs.get("p", 2)
    norm = np.linalg.norm(x, order, axis, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm != 0)


@op("LRN", infer=same)
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


def _lowered(attrs: Attrs, x: np.ndarray) -> tuple[np.ndarray, int]:
    axis = attrs.get("axis", -1)
    return difference(x, x.max(axis=axis, keepdims=True, initial=-math.inf)), axis


def _softmax(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    lowered, axis = _lowered(attrs, x)
    y = np.exp(lowered, out=lowered)
    y /= y.sum(axis=axis, keepdims=True)
    return y


def _log_softmax(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    lowered, axis = _lowered(attrs, x)
    return lowered - np.log(np.exp(lowered).sum(axis=axis, keepdims=True))


@op("Hardmax", infer=same)
def _hardmax(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    axis, y = attrs.get("axis", -1), np.zeros_like(x)
    np.put_along_axis(y, np.expand_dims(x.argmax(axis), axis), 1, axis)
    return y


OPS["Softmax"], OPS["LogSoftmax"] = Op(_softmax, same), Op(_log_softmax, same)


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
    losses = picked * weights
    reduction = attrs.get("reduction", "mean")
    if reduction == "none":
        return losses
    return np.asarray(losses.sum() if reduction == "sum" else losses.sum() / weights.sum(), x.dtype)


@op("SoftmaxCrossEntropyLoss", infer=_loss_infer)
def _softmax_cross_entropy(attrs: Attrs, x: np.ndarray, target: np.ndarray, weight=None) -> tuple:
    logarithms = _log_softmax({"axis": 1}, x)
    return _negative_log_likelihood(attrs, logarithms, target, weight), logarithms
