"""Rows of operators that multiply each channel by a number and add one, as normalisation with known statistics does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._arrays import is_real
from .elements import ELEMENT_OPS, broadcast, engine_pass
from .table import Attrs, by_image, each_channel, op


def affine(attrs: Attrs, scale, bias, mean, var) -> tuple[np.ndarray, np.ndarray]:
    """Batch normalisation by these statistics as x * factor + shift, in float64."""
    factor = scale.astype(np.float64) / np.sqrt(var.astype(np.float64) + attrs.get("epsilon", 1e-5))
    return factor, bias.astype(np.float64) - mean.astype(np.float64) * factor


def by_channel(array: np.ndarray, channels: int, ndim: int) -> np.ndarray | None:
    """An array that is repeated over all but the channels of an image, as (channels,), in float64; None of others."""
    shape = (1,) * (ndim - array.ndim) + array.shape
    if len(shape) != ndim or any(size != 1 for size in (shape[0], *shape[2:])) or shape[1] not in (1, channels):
        return None
    return np.broadcast_to(array.reshape(-1), (channels,)).astype(np.float64)


def _lower(plan: Any, node: Any, factor: np.ndarray, shift: np.ndarray) -> bool:
    """One pass where neighbouring values, or channels, lie side by side; else two."""
    x, y = plan.info(node.inputs[0]), plan.info(node.outputs[0])
    if x.shape == y.shape and len(x.shape) >= 2 and 0 not in x.shape:
        n, c, *sizes = x.shape
        numbers = [by_channel(array, c, len(x.shape)) for array in (factor, shift)]
        spots = [_planes(plan.spot(value), x.shape) for value in (node.inputs[0], node.outputs[0])]
        item = x.dtype.itemsize
        if all(number is not None for number in numbers) and None not in spots:
            lanes = c >= 16 and all(spot[2][1] == item for spot in spots)
            if lanes or all(spot[2][2] == item for spot in spots):
                maps = tuple(v.astype(x.dtype) for v in (np.ones(c), np.zeros(c), *numbers))
                plan.program.channels(item, (n, c, math.prod(sizes)), *spots, lanes, maps)
                return True
    spot = plan.spot(node.inputs[0])
    for operator, number in (("Mul", factor), ("Add", shift)):
        if not engine_pass(plan, ELEMENT_OPS[operator], y, [plan.spot(node.outputs[0]), spot, number.astype(y.dtype)]):
            return False
        spot = plan.spot(node.outputs[0])
    return True


def _planes(spot: Any, shape: tuple[int, ...]) -> tuple | None:
    """The place of an image as (n, c, l), where its spatial axes are one."""
    if isinstance(spot, np.ndarray):
        return None
    base, offset, strides, item, _ = spot
    tail, sizes = strides[2:], shape[2:]
    step = expected = tail[-1] if tail else item
    for size, stride in list(zip(sizes, tail, strict=True))[::-1]:
        if size != 1 and stride != expected:
            return None
        expected = stride * size if size != 1 else expected
    return base, offset, (strides[0], strides[1], step), item


def _lower_batch_norm(plan: Any, node: Any) -> bool:
    x, *numbers = node.inputs
    info, numbers = plan.info(x), [plan.constant(value) for value in numbers]
    if not is_real(info.dtype) or any(number is None for number in numbers) or len(info.shape) < 2:
        return False
    return _lower(plan, node, *(v.reshape(-1, *(1,) * (len(info.shape) - 2)) for v in affine(node.attrs, *numbers)))


@op("BatchNormalization", infer=each_channel, lower=_lower_batch_norm, apart=by_image, any_order=True)
def _batch_norm(attrs: Attrs, x, scale, bias, mean, var) -> np.ndarray:
    factor, shift = (v.reshape(-1, *(1,) * (x.ndim - 2)) for v in affine(attrs, scale, bias, mean, var))
    return (x * factor + shift).astype(x.dtype)


def _lower_affine(plan: Any, node: Any) -> bool:
    numbers = [plan.constant(value) for value in node.inputs[1:]]
    return is_real(plan.info(node.inputs[0]).dtype) and _lower(plan, node, *numbers)


@op("Affine", infer=broadcast, lower=_lower_affine, elementwise=True, any_order=True)
def _affine(attrs: Attrs, x, factor, shift) -> np.ndarray:
    """convkit's own: a product and a sum with constants, which passes make one."""
    return x * factor + shift
