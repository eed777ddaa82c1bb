"""Windows: what each output of a layer reads of the layer's own input, along each axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from .. import _pool_shapes, _shapes, nn
from ..nn.module import Module


class Line(NamedTuple):
    """A window that moves along one axis: output i reads start + i * jump to end + i * jump."""

    start: Fraction
    end: Fraction
    jump: Fraction


ITSELF = Line(Fraction(0), Fraction(0), Fraction(1))


def windows_of(layer: Module, in_: tuple[int, ...], out: tuple[int, ...]) -> Sequence[Line] | None:
    """The windows of a layer with these spatial sizes; None of one that is not known."""
    for classes, windows in _RULES:
        if isinstance(layer, classes):
            return windows(layer, in_, out)
    return None


def _window(kernel: int, stride: int, dilation: int, low: int) -> Line:
    """A kernel that moves over the input."""
    return Line(Fraction(-low), Fraction(dilation * (kernel - 1) - low), Fraction(stride))


def _convolved(layer, in_, out) -> list[Line]:
    options = layer.options
    moves = _shapes.window(
        in_, layer.weight.shape[2:], options["stride"], options["padding"], options["dilation"],
        options.get("padding_mode", "zeros"), "kernel_size",
    )  # fmt: skip
    return list(map(_window, moves.kernel, moves.stride, moves.dilation, moves.pad_lo))


def _pooled(layer, in_, out) -> list[Line]:
    options = {"dilation": 1, "ceil_mode": False} | layer.options
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    shape = _pool_shapes.windows(len(in_), (1, 1, *in_), *(options[name] for name in names), channel_last=False)
    return list(map(_window, shape.kernel, shape.stride, shape.dilation, shape.pad_lo))


def _transposed(layer, in_, out) -> list[Line]:
    options, nd = layer.options, len(in_)
    stride, dilation = (_shapes.per_axis(options[name], nd, name, 1) for name in ("stride", "dilation"))
    shape = _shapes.conv_transpose(
        nd, (1, layer.weight.shape[0], *in_), layer.weight.shape, stride, options["padding"], options["output_padding"],
        options["groups"], dilation, None, False,
    )  # fmt: skip
    return [_scattered(*axis) for axis in zip(out, shape.kernel, stride, dilation, shape.pad_lo, strict=True)]


def _unpooled(layer, in_, out) -> list[Line]:
    kernel = _shapes.per_axis(layer.options["kernel_size"], len(in_), "kernel_size", 1)
    stride = layer.options["stride"]
    stride = kernel if stride is None else _shapes.per_axis(stride, len(in_), "stride", 1)
    low, _ = _shapes.paddings(layer.options["padding"], in_, kernel, stride, (1,) * len(in_))
    return [_scattered(*axis) for axis in zip(out, kernel, stride, (1,) * len(in_), low, strict=True)]


def _scattered(count: int, kernel: int, stride: int, dilation: int, low: int) -> Line:
    """A kernel that every input lays into the output: input j reaches outputs j * stride + dilation * t - low."""
    reach = dilation * (kernel - 1)
    return _enclosing(count, Fraction(1, stride), lambda i: (-((reach - i - low) // stride), (i + low) // stride))


def _adaptive(layer, in_, out) -> list[Line]:
    def window(size: int, count: int) -> Callable[[int], tuple[int, int]]:
        return lambda i: (i * size // count, -((-(i + 1) * size) // count) - 1)

    return [_enclosing(count, Fraction(size, count), window(size, count)) for size, count in zip(in_, out, strict=True)]


def _resized(layer, in_, out) -> list[Line]:
    options = layer.options
    scales = options["scale_factor"]
    scales = scales if isinstance(scales, tuple | list) else (scales,) * len(in_)
    return [
        _interpolated(*axis, options["mode"], options["align_corners"]) for axis in zip(in_, out, scales, strict=True)
    ]


def _interpolated(size: int, count: int, scale: float | None, mode: str, align_corners: bool) -> Line:
    """Output i lies at (i + before) * jump - after, and reads the pixels on both sides, or the one before."""
    jump = Fraction(size, count) if scale is None else 1 / Fraction(scale)
    if align_corners:
        jump = Fraction(size - 1, max(count - 1, 1))
    before = Fraction(0 if align_corners or mode == "nearest" else 1, 2)
    after = 0 if mode == "nearest-exact" else before
    beside = {"nearest": None, "nearest-exact": None, "bicubic": 1}.get(mode, 0)

    def window(i: int) -> tuple[int, int]:
        place = (i + before) * jump - after
        if beside is None or place.denominator == 1:
            return floor(place), floor(place)
        return floor(place) - beside, ceil(place) + beside

    return _enclosing(count, jump, window)


def _enclosing(count: int, jump: Fraction, window: Callable[[int], tuple[int, int]]) -> Line:
    """The smallest line of that jump which holds the windows, (first, last), of all outputs; they recur."""
    each = ((i * jump, window(i)) for i in range(min(count, jump.denominator)))
    ends = [(first - shift, last - shift) for shift, (first, last) in each if first <= last]
    return Line(min(first for first, _ in ends), max(last for _, last in ends), jump) if ends else ITSELF


def _by_element(layer, in_, out) -> list[Line]:
    return [ITSELF] * len(in_)


_RULES: tuple[tuple[tuple[type, ...], Callable[..., Sequence[Line] | None]], ...] = (
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.DeformConv1d, nn.DeformConv2d, nn.DeformConv3d), _convolved),
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _transposed),
    ((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _pooled),
    ((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _adaptive),
    ((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), _adaptive),
    ((nn.GlobalAvgPool1d, nn.GlobalAvgPool2d, nn.GlobalAvgPool3d), _adaptive),
    ((nn.GlobalMaxPool1d, nn.GlobalMaxPool2d, nn.GlobalMaxPool3d), _adaptive),
    ((nn.MaxUnpool1d, nn.MaxUnpool2d, nn.MaxUnpool3d), _unpooled),
    ((nn.Upsample,), _resized),
    ((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm), _by_element),
    ((nn.Dropout, nn.Dropout2d), _by_element),
    ((nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus), _by_element),  # SELU is an ELU
    ((nn.Step, nn.Sigmoid, nn.Tanh, nn.Softmax), _by_element),  # LogSoftmax is a Softmax
)
