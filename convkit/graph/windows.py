"""Rows of operators on windows of images that the engine has no calls for, and on the sizes of images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .images import pool_infer, pool_shape, spatial
from .table import OPS, Attrs, Info, by_image, needs, op, positive

# ---------------------------------------------------------------- pooling by a norm


def _lp_padded(attrs: Attrs, x: Info) -> int:
    shape = pool_shape(attrs, x)
    whole = [size + lo + max(hi, 0) for size, lo, hi in zip(shape.in_, shape.pad_lo, shape.pad_hi, strict=True)]
    return shape.n * shape.channels * math.prod(whole) * x.dtype.itemsize


@op("LpPool", infer=lambda attrs, x: pool_infer(attrs, x)[:1], apart=by_image, scratch=_lp_padded)
def _lp_pool(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    shape, order = pool_shape(attrs, x), attrs.get("p", 2)
    nd = len(shape.out)
    reach = [(n - 1) * s + (k - 1) * d + 1 for n, k, s, d in zip(*shape[3:7], strict=True)]
    over = [max(r - lo - size, 0) for r, lo, size in zip(reach, shape.pad_lo, shape.in_, strict=True)]
    powers = np.pad(np.abs(x) ** order, [(0, 0), (0, 0), *zip(shape.pad_lo, over, strict=True)])
    spans = [(k - 1) * d + 1 for k, d in zip(shape.kernel, shape.dilation, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(powers, spans, tuple(range(2, 2 + nd)))
    steps = (*(slice(None, (n - 1) * s + 1, s) for n, s in zip(shape.out, shape.stride, strict=True)),)
    taps = (*(slice(None, None, d) for d in shape.dilation),)
    return (seen[(..., *steps, *taps)].sum(tuple(range(-nd, 0))) ** (1 / order)).astype(x.dtype)


@op("GlobalLpPool", infer=lambda attrs, x: [Info((*x.shape[:2], *(1,) * (len(x.shape) - 2)), x.dtype)], apart=by_image)
def _global_lp_pool(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    order = attrs.get("p", 2)
    return ((np.abs(x) ** order).sum(tuple(range(2, x.ndim)), keepdims=True) ** (1 / order)).astype(x.dtype)


# ---------------------------------------------------------------- the way back


def _unpooled(attrs: Attrs, x: Any) -> tuple[int, ...]:
    nd = len(x.shape) - 2
    pads = attrs.get("pads") or (0,) * (2 * nd)
    sizes = zip(x.shape[2:], attrs["kernel_shape"], spatial(attrs, "strides", nd), pads[:nd], pads[nd:], strict=True)
    return (*x.shape[:2], *((size - 1) * s - lo - hi + k for size, k, s, lo, hi in sizes))


def _unpool_infer(attrs: Attrs, x: Info, indices: Info, shape: Info | None = None) -> list[Info]:
    wanted = needs(shape)
    return [Info(_unpooled(attrs, x) if wanted is None else tuple(map(int, wanted)), x.dtype)]


@op("MaxUnpool", infer=_unpool_infer)
def _max_unpool(attrs: Attrs, x: np.ndarray, indices: np.ndarray, shape: np.ndarray | None = None) -> np.ndarray:
    """The indices count in the image that was pooled, whose sizes are those without `shape`; what is more is 0."""
    own = _unpooled(attrs, x)
    y = np.zeros(own if shape is None else tuple(map(int, shape)), x.dtype)
    y[np.unravel_index(indices.reshape(-1), own)] = x.reshape(-1)
    return y


def _col2im_infer(attrs: Attrs, x: Info, sizes: Info, block: Info) -> list[Info]:
    taps = math.prod(map(int, needs(block)))
    if len(x.shape) != 3 or taps <= 0 or x.shape[1] % taps:
        raise ValueError(f"x must have shape (N, C * {taps}, L), got {x.shape}")
    return [Info((x.shape[0], x.shape[1] // taps, *map(int, needs(sizes))), x.dtype)]


def _col2im_padded(attrs: Attrs, x: Info, sizes: Info, block: Info) -> int:
    n, channels, *sizes = _col2im_infer(attrs, x, sizes, block)[0].shape
    pads = attrs.get("pads") or (0,) * (2 * len(sizes))
    whole = [size + lo + hi for size, lo, hi in zip(sizes, pads[: len(sizes)], pads[len(sizes) :], strict=True)]
    return n * channels * math.prod(whole) * x.dtype.itemsize


@op("Col2Im", infer=_col2im_infer, scratch=_col2im_padded)
def _col2im(attrs: Attrs, x: np.ndarray, sizes: np.ndarray, block: np.ndarray) -> np.ndarray:
    nd, kernel, sizes = len(sizes), tuple(map(int, block)), tuple(map(int, sizes))
    stride, dilation = spatial(attrs, "strides", nd), spatial(attrs, "dilations", nd)
    pads = attrs.get("pads") or (0,) * (2 * nd)
    whole = [size + lo + hi for size, lo, hi in zip(sizes, pads[:nd], pads[nd:], strict=True)]
    counts = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(whole, kernel, stride, dilation, strict=True)]
    channels = x.shape[1] // math.prod(kernel)
    columns = x.reshape(x.shape[0], channels, *kernel, *counts)
    y = np.zeros((x.shape[0], channels, *whole), x.dtype)
    for tap in np.ndindex(kernel):
        at = (
            slice(t * d, t * d + (n - 1) * s + 1, s) for t, n, s, d in zip(tap, counts, stride, dilation, strict=True)
        )
        y[(..., *at)] += columns[(slice(None), slice(None), *tap)]
    return y[(..., *(slice(lo, lo + size) for lo, size in zip(pads[:nd], sizes, strict=True)))]


# ---------------------------------------------------------------- sizes


def _center_infer(attrs: Attrs, x: Info, sizes: Info) -> list[Info]:
    shape = list(x.shape)
    for axis, size in zip(attrs.get("axes", range(len(shape))), needs(sizes), strict=True):
        shape[positive(axis, len(shape))] = int(size)
    return [Info(tuple(shape), x.dtype)]


@op("CenterCropPad", infer=_center_infer)
def _center_crop_pad(attrs: Attrs, x: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """What is too much is cut off on both sides, what is too little is 0 on both sides."""
    shape = _center_infer(attrs, Info(x.shape, x.dtype), Info(sizes.shape, sizes.dtype, sizes))[0].shape
    y, source, place = np.zeros(shape, x.dtype), [], []
    for had, wanted in zip(x.shape, shape, strict=True):
        kept, lo = min(had, wanted), abs(had - wanted) // 2
        source.append(slice(lo, lo + kept) if had > wanted else slice(kept))
        place.append(slice(lo, lo + kept) if had < wanted else slice(kept))
    y[tuple(place)] = x[tuple(source)]
    return y


# ---------------------------------------------------------------- places


def _affine_infer(attrs: Attrs, theta: Info, size: Info) -> list[Info]:
    sizes = tuple(map(int, needs(size)))
    return [Info((sizes[0], *sizes[2:], len(sizes) - 2), theta.dtype)]


@op("AffineGrid", infer=_affine_infer)
def _affine_grid(attrs: Attrs, theta: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Where an affine map of [-1, 1] puts each element; the last axis is the first of a place."""
    sizes = tuple(map(int, size[2:]))
    ends = [1.0 if attrs.get("align_corners", 0) else 1 - 1 / n for n in sizes]
    axes = [np.linspace(-end, end, n) if n > 1 else np.zeros(1) for n, end in zip(sizes, ends, strict=True)]
    places = np.stack([*np.meshgrid(*axes, indexing="ij")[::-1], np.ones(sizes)], -1)
    return np.einsum("...j,nij->n...i", places, theta.astype(np.float64)).astype(theta.dtype)


# ---------------------------------------------------------------- signals, piece by piece


def _causal_infer(attrs: Attrs, x: Info, w: Info, *_: Info | None) -> list[Info]:
    return [Info(x.shape, x.dtype), Info((*x.shape[:2], w.shape[2] - 1), x.dtype)]


@op("CausalConvWithState", infer=_causal_infer)
def _causal_conv(attrs: Attrs, x: np.ndarray, w: np.ndarray, b=None, past=None) -> tuple[np.ndarray, np.ndarray]:
    """Depthwise over what came before and this; and what the next call calls the past."""
    before = w.shape[2] - 1
    past = np.zeros((*x.shape[:2], before), x.dtype) if past is None else past
    whole = np.concatenate([past, x], 2)
    y = OPS["Conv"].run({"group": x.shape[1]}, whole, w, b)
    y = OPS["Swish"].run({}, y) if attrs.get("activation", "none") in ("silu", "swish") else y
    return y, whole[:, :, whole.shape[2] - before :]
