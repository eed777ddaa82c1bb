"""Depthwise separable convolution: space first, channels after."""

from __future__ import annotations

from collections.abc import Sequence

from .._numbers import generator
from . import init as initialisers
from .conv import Conv2d
from .sequential import Sequential


class DepthwiseSeparableConv2d(Sequential):
    """Every channel with a kernel of its own, then a 1x1 convolution across the channels.

    ``in * (k*k + out)`` weights where `Conv2d` has ``in * k*k * out``: about one in k*k for many channels.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size, stride, padding, dilation
        Of the depthwise convolution, as in `Conv2d`.
    bias : bool, default True
        Whether both have one.
    padding_mode, layout, init, rng, dtype
        As in `Conv2d`.

    Notes
    -----
    A chain of two layers named ``"depthwise"`` and ``"pointwise"``; PyTorch has the like as a chain of two ``Conv2d``.

    References
    ----------
    A. G. Howard et al.: MobileNets: efficient convolutional neural networks for mobile vision applications, 2017,
    arXiv:1704.04861.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import analysis, nn
    >>> layer = nn.DepthwiseSeparableConv2d(32, 64, 3, padding=1, bias=False, rng=0)
    >>> layer(np.ones((1, 32, 8, 8), np.float32)).shape
    (1, 64, 8, 8)
    >>> analysis.count_parameters(layer), analysis.count_parameters(nn.Conv2d(32, 64, 3, bias=False, rng=0))
    (2336, 18432)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence = 0,
        dilation: int | Sequence[int] = 1,
        bias: bool = True,
        *,
        padding_mode: str = "zeros",
        layout: str = "NCHW",
        init: str | initialisers.Initialiser = "he",
        rng: initialisers.Rng = None,
        dtype: str = "float32",
    ) -> None:
        rng = generator(rng)
        both = {"bias": bias, "layout": layout, "init": init, "rng": rng, "dtype": dtype}
        depthwise = Conv2d(
            in_channels, in_channels, kernel_size, stride, padding, dilation, in_channels,
            padding_mode=padding_mode, **both,
        )  # fmt: skip
        super().__init__({"depthwise": depthwise, "pointwise": Conv2d(in_channels, out_channels, 1, **both)})
