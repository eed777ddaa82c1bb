"""Convolution layers over `convkit.conv1d`, `conv2d`, `conv3d` and their backwards."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _options
from .._shapes import (
    PADDING_NAMES,
    TRANSPOSED_PADDING_NAMES,
    at_least,
    conv,
    image_shape,
    integer,
    paddings,
    per_axis,
    plain_padding,
)
from ..ops import conv as op
from ..ops._shared import check_algorithm
from . import init as initialisers
from ._apart import follow, fused
from ._axes import ForAxes
from ._describe import unusual
from ._symbols import activated, on_images, pads
from .module import Way
from .parameter import Parameter


class Convolution(ForAxes):
    """What all convolutions have in common.

    Where the weight's first axis is the input's, the convolution is transposed.
    """

    _transposed = False
    _op = "Conv"

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: int | str | tuple
    dilation: tuple[int, ...]
    groups: int
    activation: str | tuple | None
    layout: str
    weight: Parameter
    bias: Parameter | None

    def _set_up(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        bias: bool,
        init: str | initialisers.Initialiser,
        rng: initialisers.Rng,
        dtype: str,
        **options: Any,
    ) -> None:
        """Check everything that can be wrong without an image, and make the parameters."""
        nd, groups = self._nd, options["groups"]
        self.in_channels, self.out_channels = (
            at_least(in_channels, "in_channels"),
            at_least(out_channels, "out_channels"),
        )
        if integer(groups, "groups") < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups must divide the {in_channels} input and the {out_channels} output channels, got {groups}"
            )
        self.kernel_size = per_axis(kernel_size, nd, "kernel_size", 1)
        for name in ("stride", "dilation"):
            options[name] = per_axis(options[name], nd, name, 1)
        options["padding"] = plain_padding(options["padding"])
        names = TRANSPOSED_PADDING_NAMES if self._transposed else PADDING_NAMES
        paddings(options["padding"], (1,) * nd, self.kernel_size, options["stride"], options["dilation"], names)
        _options.activation(options["activation"])
        _options.channel_last(options["layout"])
        vars(self).update(options)
        first, second = (in_channels, out_channels) if self._transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        self.weight = initialisers.parameter(init, shape, rng, dtype)
        self.bias = Parameter(np.zeros(out_channels, dtype)) if _options.flag(bias, "bias") else None

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Convolve a batch ``(N, in_channels, *spatial)`` (channels last with ``layout="NHWC"``)."""
        return self._run_with(x)

    def _run_with(self, x: np.ndarray, activation: str | tuple | None = None, **more: Any) -> tuple[np.ndarray, Way]:
        """`activation`: that of a layer that follows in a `Sequential`; `more`: options."""
        weight, bias = self.weight.data, None if self.bias is None else self.bias.data
        options = self._chosen() | more
        activation = options.pop("activation") or activation
        y = self._forward(x, weight, bias, activation=fused(activation), **options)

        def back(grad: np.ndarray, need_input: bool) -> np.ndarray | None:
            grads = self._backward(grad, x, weight, need=self.need(need_input), **options)
            self.accumulate(grads)
            return grads.x

        return follow(y, back, activation)

    def symbolic(self, x: Any) -> Any:
        """A convolution of images, and its activation."""
        y = on_images(
            x, self._nd, self.layout, lambda x: x.emit(self._op, self.weight, self.bias, **self._attributes())
        )
        return activated(y, self.activation)

    def _attributes(self) -> dict[str, Any]:
        """ONNX's."""
        sizes = {"strides": self.stride, "dilations": self.dilation, "group": self.groups}
        sizes |= {} if getattr(self, "algorithm", "auto") == "auto" else {"algorithm": self.algorithm}
        return sizes | pads(self.padding, self.kernel_size, self.dilation)

    @abstractmethod
    def _sizes(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The spatial sizes of the output."""

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """``(N, out_channels, *spatial)``."""
        sizes, last = self._sizes(x_shape), self.layout == "NHWC"
        return image_shape(x_shape[0], self.out_channels, sizes, last, len(x_shape) == self._nd + 2)

    def describe(self) -> str:
        """Return channels, kernel, and what is not the default."""
        shown = unusual(self._chosen(), self._forward)
        no_bias = ", bias=False" if self.bias is None else ""
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}{shown}{no_bias}"


class _Conv(Convolution):
    _operators = op, "conv"
    _doc = """{nd}-D convolution with learned weight and bias.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size, stride, dilation : int or tuple of int
        One number, or one for every spatial axis.
    padding : int, tuple or str
        Every form that `convkit.conv{nd}d` takes.
    groups : int, default 1
        Divides both channel counts.
    bias : bool, default True
        Whether there is one; it starts from zeros.
    padding_mode, activation, layout, algorithm
        Every activation learns. Passed on to `convkit.conv{nd}d`.
    init : {{"he", "he_uniform", "glorot", "glorot_normal", "zeros"}} or function
        What the weight starts from, see `convkit.nn.init`.
    rng : numpy.random.Generator, int or None
        Source of the initial numbers. Give all layers of a model one Generator: the same int would start all of them
        alike.
    dtype : {{"float32", "float64"}}
        Of the parameters, and so of every batch.

    Attributes
    ----------
    weight : Parameter, ``(out_channels, in_channels / groups, *kernel_size)``
    bias : Parameter, ``(out_channels,)``, or None
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, activation, layout
        As given, and `algorithm`; `kernel_size`, `stride` and `dilation` with a number for every axis.

    Raises
    ------
    ValueError
        If `groups` does not divide the channels, a size or an option is none that the operator takes, or `init` gives
        another shape.

    Notes
    -----
    Output size along an axis: ``floor((in + pad_lo + pad_hi - dilation * (kernel - 1) - 1) / stride) + 1``.
    The initial weights differ from PyTorch's, which draws from a narrower uniform distribution.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> layer = nn.Conv{nd}d(3, 8, kernel_size=3, padding=1, rng=0)
    >>> layer(np.ones((1, 3, {eights}), np.float32)).shape
    (1, 8, {eights})
    >>> layer.backward(np.ones((1, 8, {eights}), np.float32)).shape, layer.weight.grad.shape
    ((1, 3, {eights}), (8, 3, {threes}))
    """

    _passed = ("stride", "padding", "dilation", "groups", "padding_mode", "activation", "layout", "algorithm")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        padding_mode: str = "zeros",
        activation: str | tuple | None = None,
        layout: str = "NCHW",
        algorithm: str = "auto",
        init: str | initialisers.Initialiser = "he",
        rng: initialisers.Rng = None,
        dtype: str = "float32",
    ) -> None:
        _options.padding_mode(padding_mode)
        self._set_up(
            in_channels, out_channels, kernel_size, bias, init, rng, dtype, stride=stride, padding=padding,
            dilation=dilation, groups=groups, padding_mode=padding_mode, activation=activation, layout=layout,
            algorithm=algorithm,
        )  # fmt: skip
        if algorithm != "auto":  # whether it does the layer, not even images' sizes decide
            sizes = (self._nd, self.stride, 0, 1, groups, "zeros", "NCHW")
            check_algorithm(algorithm, op.CONV.plan(((1, in_channels, *self.kernel_size), self.weight.shape), sizes))

    def _sizes(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        options = (self.stride, self.padding, self.dilation, self.groups, self.padding_mode, self.layout == "NHWC")
        return conv(self._nd, x_shape, self.weight.shape, *options).out

    def _attributes(self) -> dict[str, Any]:
        usual = self.padding_mode == "zeros"
        return super()._attributes() | ({} if usual else {"padding_mode": self.padding_mode})


class Conv1d(_Conv, nd=1): ...


class Conv2d(_Conv, nd=2): ...


class Conv3d(_Conv, nd=3): ...
