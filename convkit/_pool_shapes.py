"""Sizes of pooling: windows with ceil_mode, adaptive windows, unpooling; each formula in one place.

Nothing here touches an array. What pooling shares with convolution is in `_shapes`.
"""

from __future__ import annotations

from typing import NamedTuple

from . import _shapes
from ._words import brief


class PoolShape(NamedTuple):
    """One pooling without its arrays; every field but the first two is one int per spatial axis."""

    n: int
    channels: int
    in_: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pad_lo: tuple[int, ...]
    pad_hi: tuple[int, ...]


def _axis_out(size: int, kernel: int, stride: int, dilation: int, lo: int, hi: int, ceil_mode: bool) -> int:
    """Windows along one axis; with ceil_mode one that starts before the image's end may reach over the padding's."""
    if not ceil_mode:
        return _shapes.output_size(size, kernel, stride, dilation, lo, hi)
    out = _shapes.output_size(size, kernel, stride, dilation, lo, hi + stride - 1)
    return out - 1 if (out - 1) * stride >= lo + size else out


def windows(nd, shape, kernel_size, stride, padding, dilation, ceil_mode, channel_last, name="x") -> PoolShape:
    """All sizes of a pooling over moving windows, checked; stride None is the kernel's size."""
    n, channels, in_ = _shapes.split_image(shape, nd, name, channel_last)
    kernel = _shapes.per_axis(kernel_size, nd, "kernel_size", 1)
    if isinstance(padding, str) and padding == "full":
        raise ValueError("padding must be smaller than the window on each side, got 'full'")
    moves = _shapes.window(
        in_, kernel, kernel if stride is None else stride, padding, dilation, "zeros", "kernel_size", over=ceil_mode
    )
    for lo, hi, k, d in zip(moves.pad_lo, moves.pad_hi, kernel, moves.dilation, strict=True):
        if max(lo, hi) > d * (k - 1):
            raise ValueError(
                f"padding must be less than dilation*(kernel_size-1)+1 = {d * (k - 1) + 1} on each side, "
                f"got {max(lo, hi)}"
            )
    axes = zip(in_, kernel, moves.stride, moves.dilation, moves.pad_lo, moves.pad_hi, strict=True)
    out = tuple(_axis_out(*axis, ceil_mode) for axis in axes)
    _shapes.output_elements((n, channels, *out), "x, kernel_size and padding")
    return PoolShape(n, channels, in_, out, kernel, moves.stride, moves.dilation, moves.pad_lo, moves.pad_hi)


def plain_output_size(value):
    """`output_size` of an adaptive pooling as a cache key: None stays."""
    if value is None:
        return None
    if isinstance(value, (tuple, list)):
        return tuple(None if item is None else _shapes.integer(item, "output_size") for item in value)
    return _shapes.integer(value, "output_size", "an int, None, or a tuple of them")


def adaptive_out(in_, output_size) -> tuple[int, ...]:
    """Output sizes of an adaptive pooling; None keeps the input's."""
    nd = len(in_)
    sizes = output_size if isinstance(output_size, tuple) else (output_size,) * nd
    if len(sizes) != nd:
        expected = f"one int or {nd} ints, one per spatial dimension"
        raise ValueError(f"output_size must be {expected}, got {brief(output_size)}")
    out = tuple(size if wanted is None else wanted for size, wanted in zip(in_, sizes, strict=True))
    if any(size < 0 for size in out):
        raise ValueError(f"output_size must be at least 0, got {brief(output_size)}")
    return out


def check_not_empty(in_, name: str, shape) -> None:
    """Adaptive windows need something to cover."""
    if 0 in in_:
        raise ValueError(f"{name} must have spatial sizes of at least 1, got shape {tuple(shape)}")


def unpooled(nd, shape, kernel_size, stride, padding, output_size, channel_last) -> tuple[int, ...]:
    """Spatial size of max_unpool's output: (in - 1)*stride - lo - hi + kernel, or what output_size says instead."""
    _, _, in_ = _shapes.split_image(shape, nd, "x", channel_last)
    kernel = _shapes.per_axis(kernel_size, nd, "kernel_size", 1)
    stride = kernel if stride is None else _shapes.per_axis(stride, nd, "stride", 1)
    if isinstance(padding, str) and padding != "valid":
        raise ValueError(f"padding must be an int, ints, (lo, hi) pairs or 'valid', got {brief(padding)}")
    lo, hi = _shapes.paddings(padding, in_, kernel, stride, (1,) * nd)
    axes = zip(in_, kernel, stride, lo, hi, strict=True)
    default = tuple((size - 1) * s - a - b + k for size, k, s, a, b in axes)
    if output_size is None:
        if any(size < 0 for size in default):
            raise ValueError(f"padding must leave an output of at least 0, got {padding}, for an output of {default}")
        return default
    wanted = _shapes.plain(output_size, "output_size")
    if isinstance(wanted, tuple) and len(wanted) == len(shape) != nd:  # PyTorch's users pass the whole shape
        wanted = _shapes.split_image(wanted, nd, "output_size", channel_last)[2]
    wanted = _shapes.per_axis(wanted, nd, "output_size", 0)
    if any(not d - s < size < d + s for size, d, s in zip(wanted, default, stride, strict=True)):
        raise ValueError(
            f"output_size must be less than stride = {stride} away from {default} along each axis, got {wanted}"
        )
    return wanted
