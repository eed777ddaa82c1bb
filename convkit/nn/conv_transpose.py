"""Transposed convolution layers over `convkit.conv_transpose1d`, `2d`, `3d` and their backwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._shapes import conv_transpose, per_axis
from ..ops import conv_transpose as op
from ..ops._shared import check_algorithm
from . import init as initialisers
from .conv import Convolution
from .module import Way


class _ConvTranspose(Convolution):
    _operators = op, "conv_transpose"
    _doc = """{nd}-D transposed convolution with learned weight and bias: the adjoint of `Conv{nd}d`, which enlarges.

    Parameters
    ----------
    in_channels, out_channels, groups, bias, activation, layout, algorithm, rng, dtype
        As in `Conv{nd}d`.
    kernel_size, stride, output_padding, dilation : int or tuple of int
        One number, or one for every spatial axis.
    padding : int, tuple or str
        Every form that `convkit.conv_transpose{nd}d` takes; it crops the output.
    init : {{"he", "he_uniform", "glorot", "glorot_normal", "zeros"}} or function
        What the weight starts from, see `convkit.nn.init`; fans are counted as by PyTorch.

    Attributes
    ----------
    weight : Parameter, ``(in_channels, out_channels / groups, *kernel_size)``
    bias : Parameter, ``(out_channels,)``, or None
    in_channels, out_channels, kernel_size, stride, padding, output_padding, dilation, groups, activation, layout
        As given, and `algorithm`; sizes with a number for every axis.

    Raises
    ------
    ValueError
        As `Conv{nd}d`.

    Notes
    -----
    Output size along an axis:
    ``(in - 1) * stride - pad_lo - pad_hi + dilation * (kernel - 1) + output_padding + 1``.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> layer = nn.ConvTranspose{nd}d(8, 3, kernel_size=2, stride=2, rng=0)
    >>> layer(np.ones((1, 8, {fours}), np.float32)).shape, layer.weight.shape
    ((1, 3, {eights}), (8, 3, {twos}))
    """

    _passed = ("stride", "padding", "output_padding", "groups", "dilation", "activation", "layout", "algorithm")
    _transposed, _op = True, "ConvTranspose"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        *,
        activation: str | tuple | None = None,
        layout: str = "NCHW",
        algorithm: str = "auto",
        init: str | initialisers.Initialiser = "he",
        rng: initialisers.Rng = None,
        dtype: str = "float32",
    ) -> None:
        self._set_up(
            in_channels, out_channels, kernel_size, bias, init, rng, dtype, stride=stride, padding=padding,
            output_padding=per_axis(output_padding, self._nd, "output_padding", 0), groups=groups, dilation=dilation,
            activation=activation, layout=layout, algorithm=algorithm,
        )  # fmt: skip
        if algorithm != "auto":  # whether it does the layer, not even images' sizes decide
            sizes, pixel = (self._nd, self.stride, 0, 0, groups, 1, None, "NCHW"), (1, in_channels, *(1,) * self._nd)
            check_algorithm(algorithm, op.CONV_TRANSPOSE.plan((pixel, self.weight.shape), sizes))

    def run(self, x: np.ndarray, output_size: int | Sequence[int] | None = None) -> tuple[np.ndarray, Way]:
        """Map ``(N, in_channels, *spatial)`` to more pixels; `output_size` settles what the stride leaves open."""
        return self._run_with(x, output_size=output_size)

    def symbolic(self, x: Any, output_size: int | Sequence[int] | None = None) -> Any:
        """A transposed convolution of images, and its activation."""
        if output_size is not None:
            raise TypeError("output_size must be None while a model is traced: the graph would be of that size alone")
        return super().symbolic(x)

    def _attributes(self) -> dict[str, Any]:
        return super()._attributes() | {"output_padding": self.output_padding}

    def _sizes(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        moves = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
        return conv_transpose(self._nd, x_shape, self.weight.shape, *moves, None, self.layout == "NHWC").in_


class ConvTranspose1d(_ConvTranspose, nd=1): ...


class ConvTranspose2d(_ConvTranspose, nd=2): ...


class ConvTranspose3d(_ConvTranspose, nd=3): ...
