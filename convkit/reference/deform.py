"""Deformable convolution: where each tap reads, then a product of matrices over what was read.

The coordinate is formed in the dtype of the call's offset and rounded once, as it is by definition; everything after is
float64. Outside the image stands one zero, which every corner there is read from and added to.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from .. import _options, _shapes
from .._results import DeformGrads
from . import conv

_NAMES = DeformGrads._fields
_ROUNDINGS = 8  # of a product beside its sum: coordinate to shares, shares to one factor, the mask


# ---------------------------------------------------------------- corners


class _Corner(NamedTuple):
    """One of the 2**nd neighbours of every sample."""

    at: np.ndarray  # (n, G, taps, positions): its place in a channel, row-major; one past the end where it is outside
    share: np.ndarray  # (n, G, taps, positions): its part in the sample
    slopes: np.ndarray  # (n, G, taps, nd, positions): the share's derivative along each axis


class _Call(NamedTuple):
    """Sizes of a call, its samples' coordinates, and their corners."""

    shape: _shapes.ConvShape
    groups: int  # of offsets
    coordinates: np.ndarray  # (n, G, taps, nd, positions)
    corners: tuple[_Corner, ...]


def _coordinates(shape: _shapes.ConvShape, offset: np.ndarray) -> np.ndarray:
    """(n, G, taps, nd, positions), in the dtype of offset, whose shape is (n, channels, *out)."""
    nd, taps = len(shape.out), math.prod(shape.kernel)
    groups = offset.shape[1] // (taps * nd)
    coordinates = offset.reshape(shape.n, groups, taps, nd, *shape.out).copy()
    for tap, index in enumerate(np.ndindex(*shape.kernel)):
        for axis, t in enumerate(index):
            base = np.arange(shape.out[axis]) * shape.stride[axis] - shape.pad_lo[axis] + t * shape.dilation[axis]
            with np.errstate(over="ignore"):
                coordinates[:, :, tap, axis] += base.astype(offset.dtype).reshape(-1, *(1,) * (nd - 1 - axis))
    return coordinates.reshape(*coordinates.shape[:4], math.prod(shape.out))


def _corners(in_: tuple[int, ...], coordinates: np.ndarray, of):
    """Every corner of every sample; `of` says what to take of every share and slope.

    A coordinate that is NaN has shares and slopes of NaN, of the zero outside.
    """
    sizes = np.array(in_, np.int64).reshape(-1, 1)
    inside = (coordinates >= -1) & (coordinates < sizes)
    nothing = np.where(np.isnan(coordinates).any(axis=3), np.nan, 0.0)
    coordinates = np.where(inside, coordinates, 0).astype(np.float64)
    low = np.floor(coordinates)
    fraction = coordinates - low
    for upper in itertools.product((False, True), repeat=len(sizes)):
        chosen = np.array(upper).reshape(-1, 1)
        place = low.astype(np.int64) + chosen
        there = (inside & (place >= 0) & (place < sizes)).all(axis=3)
        at = np.zeros(there.shape, np.int64)
        for axis, size in enumerate(in_):
            at = at * size + place[:, :, :, axis]
        along = np.where(chosen, fraction, 1 - fraction)  # its part along each axis, the product of which is its share
        others = [np.delete(along, axis, axis=3).prod(axis=3) for axis in range(len(sizes))]
        slopes = np.stack([other if up else -other for other, up in zip(others, upper, strict=True)], axis=3)
        yield _Corner(
            np.where(there, at, math.prod(in_)),
            np.where(there, of(along.prod(axis=3)), nothing),
            np.where(there[:, :, :, None], of(slopes), nothing[:, :, :, None]),
        )


def _read(call: _Call, x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(n, G, channels of a group, taps, positions): the elements of x at these places."""
    n, groups, taps, positions = at.shape
    channels = call.shape.groups * call.shape.c_in // groups
    elements = math.prod(call.shape.in_)
    padded = np.zeros((n, groups, channels, elements + 1))
    padded[..., :elements] = x.reshape(n, groups, channels, elements)
    index = at.reshape(n, groups, 1, taps * positions)
    return np.take_along_axis(padded, index, axis=3).reshape(n, groups, channels, taps, positions)


def _samples(call: _Call, x: np.ndarray) -> np.ndarray:
    """(n, G, channels of a group, taps, positions): what every tap reads."""
    return sum(corner.share[:, :, None] * _read(call, x, corner.at) for corner in call.corners)


# ---------------------------------------------------------------- arrays of shape (n, channels, *spatial)


def _by_tap(call: _Call, mask: np.ndarray | None) -> np.ndarray:
    """The mask as a factor of samples: (n, G, 1, taps, positions)."""
    shape = call.shape
    if mask is None:
        return np.ones((1, 1, 1, 1, 1))
    return mask.reshape(shape.n, call.groups, 1, math.prod(shape.kernel), math.prod(shape.out))


def _columns(shape: _shapes.ConvShape, samples: np.ndarray) -> np.ndarray:
    """Samples as the factor of a matrix product: (n, weight groups, c_in * taps, positions)."""
    rows = shape.c_in * math.prod(shape.kernel)
    return samples.reshape(shape.n, shape.groups, rows, math.prod(shape.out))


def _matrices(shape: _shapes.ConvShape, weight: np.ndarray) -> np.ndarray:
    return weight.reshape(shape.groups, shape.c_out, shape.c_in * math.prod(shape.kernel))


def _rows(shape: _shapes.ConvShape, grad: np.ndarray) -> np.ndarray:
    return grad.reshape(shape.n, shape.groups, shape.c_out, math.prod(shape.out))


def _forward(call: _Call, x, mask, weight) -> np.ndarray:
    shape = call.shape
    columns = _columns(shape, _by_tap(call, mask) * _samples(call, x))
    return (_matrices(shape, weight) @ columns).reshape(shape.n, shape.groups * shape.c_out, *shape.out)


def _column_gradient(call: _Call, grad, weight) -> np.ndarray:
    """(n, G, channels of a group, taps, positions): the gradient of the samples times the mask."""
    shape, channels = call.shape, call.shape.groups * call.shape.c_in
    columns = np.swapaxes(_matrices(shape, weight), 1, 2) @ _rows(shape, grad)
    taps, positions = math.prod(shape.kernel), math.prod(shape.out)
    return columns.reshape(shape.n, call.groups, channels // call.groups, taps, positions)


def _grad_x(call: _Call, grad, mask, weight) -> np.ndarray:
    shape, elements = call.shape, math.prod(call.shape.in_)
    gradient = _by_tap(call, mask) * _column_gradient(call, grad, weight)
    n, groups, channels = gradient.shape[:3]
    first = np.arange(n * groups * channels).reshape(n, groups, channels, 1, 1) * (elements + 1)
    dx = np.zeros(n * groups * channels * (elements + 1))
    for corner in call.corners:
        added = corner.share[:, :, None] * gradient
        dx += np.bincount((first + corner.at[:, :, None]).ravel(), added.ravel(), dx.size)
    return dx.reshape(n, groups * channels, elements + 1)[..., :elements].reshape(n, groups * channels, *shape.in_)


def _grad_offset(call: _Call, grad, x, mask, weight) -> np.ndarray:
    gradient = _by_tap(call, mask) * _column_gradient(call, grad, weight)
    doffset = np.zeros(call.coordinates.shape)
    for corner in call.corners:
        doffset += corner.slopes * (gradient * _read(call, x, corner.at)).sum(axis=2)[:, :, :, None]
    return doffset.reshape(call.shape.n, math.prod(doffset.shape[1:4]), *call.shape.out)


def _grad_mask(call: _Call, grad, samples, weight) -> np.ndarray:
    dmask = (_column_gradient(call, grad, weight) * samples).sum(axis=2)
    return dmask.reshape(call.shape.n, math.prod(dmask.shape[1:3]), *call.shape.out)


def _grad_weight(call: _Call, grad, samples, mask) -> np.ndarray:
    shape = call.shape
    columns = _columns(shape, _by_tap(call, mask) * samples)
    dw = (_rows(shape, grad) @ np.swapaxes(columns, 2, 3)).sum(axis=0)
    return dw.reshape(shape.groups * shape.c_out, shape.c_in, *shape.kernel)


# ---------------------------------------------------------------- the definitions


def _canonical(array, nd: int, channel_last: bool) -> np.ndarray | None:
    return None if array is None else conv._canonical(array, nd, channel_last)


def call_of(nd, x_shape, offset, weight_shape, stride, padding, dilation, channel_last, of) -> tuple[_Call, tuple]:
    """The call, and the shape that its mask has."""
    sizes = _shapes.deform(nd, x_shape, np.shape(offset), weight_shape, stride, padding, dilation, channel_last)
    offset = np.asarray(offset)
    offset = offset.astype(np.float32 if offset.dtype.newbyteorder("=") == np.float32 else np.float64)
    offset = offset if offset.ndim == nd + 2 else offset[None]
    coordinates = _coordinates(sizes.conv, np.moveaxis(offset, -1, 1) if channel_last else offset)
    corners = tuple(_corners(sizes.conv.in_, coordinates, of))
    return _Call(sizes.conv, sizes.offset_groups, coordinates, corners), sizes.mask


def _deform(nd, x, offset, weight, bias, stride, padding, dilation, mask, activation, layout, of=np.positive):
    last = _options.channel_last(layout)
    call, mask_shape = call_of(nd, np.shape(x), offset, np.shape(weight), stride, padding, dilation, last, of)
    if mask is not None:
        conv._must_have_shape("mask", mask, mask_shape)
    y = _forward(call, _canonical(x, nd, last), _canonical(mask, nd, last), np.asarray(weight, np.float64))
    if bias is not None:
        conv._must_have_shape("bias", bias, np.shape(weight)[:1])
        y = y + np.asarray(bias, np.float64).reshape(-1, *(1,) * nd)
    return conv._as_called(conv._activate(y, activation, conv._dtype(x)), last, np.ndim(x) == nd + 2)


def _deform_backward(
    nd, grad, x, offset, weight, stride, padding, dilation, mask, activation, y, layout, need, of=np.positive
) -> DeformGrads:
    last, x_shape, weight_shape = _options.channel_last(layout), conv._shape_of(x), conv._shape_of(weight)
    need = dict(zip(_NAMES, _options.need(need, _NAMES), strict=True))
    call, mask_shape = call_of(nd, x_shape, offset, weight_shape, stride, padding, dilation, last, of)
    batched = len(x_shape) == nd + 2
    y_shape = _shapes.image_shape(call.shape.n, weight_shape[0], call.shape.out, last, batched)
    conv._must_have_shape("grad", grad, y_shape)
    if mask is not None:
        conv._must_have_shape("mask", mask, mask_shape)
    dtype, grad, mask = conv._dtype(grad), _canonical(grad, nd, last), _canonical(mask, nd, last)
    if activation is not None:
        conv._must_have_shape("y", y, y_shape)
        grad = conv._before_activation(grad, _canonical(y, nd, last), activation, dtype)
    x = None if isinstance(x, (tuple, list)) else _canonical(x, nd, last)
    weight = None if isinstance(weight, (tuple, list)) else np.asarray(weight, np.float64)
    grads = dict.fromkeys(_NAMES)
    if need["x"]:
        grads["x"] = conv._as_called(_grad_x(call, grad, mask, weight), last, batched)
    if need["offset"]:
        grads["offset"] = conv._as_called(_grad_offset(call, grad, x, mask, weight), last, batched)
    need["mask"] &= mask is not None
    samples = _samples(call, x) if need["mask"] or need["weight"] else None
    if need["mask"]:
        grads["mask"] = conv._as_called(_grad_mask(call, grad, samples, weight), last, batched)
    if need["weight"]:
        grads["weight"] = _grad_weight(call, grad, samples, mask)
    if need["bias"]:
        grads["bias"] = grad.sum(axis=(0, *range(2, nd + 2)))
    return DeformGrads(**grads)


def _deform_of(nd: int):
    def deform_conv(
        x, offset, weight, bias=None, stride=1, padding=0, dilation=1, mask=None, *, activation=None, layout="NCHW"
    ):
        return _deform(nd, x, offset, weight, bias, stride, padding, dilation, mask, activation, layout)

    def terms(magnitudes: dict, ones: dict):
        return _deform(nd, **magnitudes, of=np.abs), _deform(nd, **ones, of=np.ones_like) + _ROUNDINGS

    deform_conv.__name__ = deform_conv.__qualname__ = f"deform_conv{nd}d"
    deform_conv.__doc__ = f"`convkit.deform_conv{nd}d` in float64."
    conv.TERMS[deform_conv.__name__] = terms
    return deform_conv


def _deform_backward_of(nd: int):
    def deform_conv_backward(
        grad, x, offset, weight, stride=1, padding=0, dilation=1, mask=None, *,
        activation=None, y=None, layout="NCHW", need=_NAMES,
    ):  # fmt: skip
        return _deform_backward(
            nd, grad, x, offset, weight, stride, padding, dilation, mask, activation, y, layout, need
        )

    def terms(magnitudes: dict, ones: dict):
        sizes = _deform_backward(nd, **magnitudes, of=np.abs)
        counts = _deform_backward(nd, **ones, of=np.ones_like)._asdict()
        return sizes, DeformGrads(**{n: k if k is None or n == "bias" else k + _ROUNDINGS for n, k in counts.items()})

    deform_conv_backward.__name__ = deform_conv_backward.__qualname__ = f"deform_conv{nd}d_backward"
    deform_conv_backward.__doc__ = f"`convkit.deform_conv{nd}d_backward` in float64."
    conv.TERMS[deform_conv_backward.__name__] = terms
    return deform_conv_backward


deform_conv1d, deform_conv2d, deform_conv3d = map(_deform_of, (1, 2, 3))
deform_conv1d_backward, deform_conv2d_backward, deform_conv3d_backward = map(_deform_backward_of, (1, 2, 3))
