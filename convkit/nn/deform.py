"""Deformable convolution layers over `convkit.deform_conv1d`, `2d`, `3d` and their backwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._options import flag
from .._shapes import conv, integer
from ..ops import deform as op
from . import init as initialisers
from ._apart import follow, fused
from ._symbols import activated
from .conv import Conv1d, Conv2d, Conv3d, Convolution
from .module import Way


class _DeformConv(Convolution):
    _operators = op, "deform_conv"
    _doc = """{nd}-D deformable convolution: every tap reads the input where an offset moves it to.

    The offsets, and the mask that weighs the samples, come from convolutions of the layer's own, which start from
    zeros: at first the taps stand where those of `Conv{nd}d` do, each weighed 1/2 by the mask's sigmoid. Or they are
    given, ``layer(x, offset, mask)``; then backward returns a tuple, the gradients of x, offset and mask.

    At whole offsets, zero among them, bilinear sampling has a kink, and the offset's gradient is the right-hand one:
    `convkit.analysis.check_gradients` takes it for wrong there.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        As in `Conv{nd}d`.
    offset_groups : int, default 1
        Parts of the input's channels that have offsets of their own; divides `in_channels`.
    modulated : bool, default True
        Whether the layer's own branch has a mask, too (the second version of deformable convolution).
    branch : bool, default True
        Whether there is one; without it offsets are always given, as in torchvision.
    activation, layout, init, rng, dtype
        As in `Conv{nd}d`.

    Attributes
    ----------
    weight : Parameter, ``(out_channels, in_channels / groups, *kernel_size)``
    bias : Parameter, ``(out_channels,)``, or None
    conv_offset, conv_mask : Conv{nd}d or None
        The branch: ``{nd} * offset_groups * prod(kernel_size)`` and ``offset_groups * prod(kernel_size)`` channels, in
        the order of `convkit.deform_conv{nd}d`.
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, offset_groups, activation, layout
        As given; sizes with a number for every axis.

    Raises
    ------
    ValueError
        As `Conv{nd}d`, and if `offset_groups` does not divide the channels; in a call, if offsets are neither given nor
        the layer's own.

    References
    ----------
    J. Dai et al.: Deformable convolutional networks, ICCV 2017, arXiv:1703.06211. X. Zhu et al.: Deformable ConvNets
    v2: more deformable, better results, CVPR 2019, arXiv:1811.11168.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> layer = nn.DeformConv{nd}d(3, 8, kernel_size=3, padding=1, rng=0)
    >>> layer(np.ones((1, 3, {eights}), np.float32)).shape, layer.conv_offset.out_channels
    ((1, 8, {eights}), {offsets})
    """

    _passed = ("stride", "padding", "dilation", "layout", "activation")

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
        offset_groups: int = 1,
        modulated: bool = True,
        branch: bool = True,
        activation: str | tuple | None = None,
        layout: str = "NCHW",
        init: str | initialisers.Initialiser = "he",
        rng: initialisers.Rng = None,
        dtype: str = "float32",
    ) -> None:
        self._set_up(
            in_channels, out_channels, kernel_size, bias, init, rng, dtype, stride=stride, padding=padding,
            dilation=dilation, groups=groups, activation=activation, layout=layout,
        )  # fmt: skip
        if integer(offset_groups, "offset_groups") < 1 or in_channels % offset_groups:
            raise ValueError(f"offset_groups must divide the {in_channels} input channels, got {offset_groups}")
        self.offset_groups, branch = offset_groups, flag(branch, "branch")
        like = {name: getattr(self, name) for name in ("stride", "padding", "dilation", "layout")}
        like |= {"init": "zeros", "dtype": dtype}
        samples, kernel = offset_groups * math.prod(self.kernel_size), self.kernel_size
        convolution = (Conv1d, Conv2d, Conv3d)[self._nd - 1]
        self.conv_offset = convolution(in_channels, self._nd * samples, kernel, **like) if branch else None
        gate = flag(modulated, "modulated") and branch
        self.conv_mask = convolution(in_channels, samples, kernel, activation="sigmoid", **like) if gate else None

    def run(
        self, x: np.ndarray, offset: np.ndarray | None = None, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, Way]:
        """Convolve ``(N, in_channels, *spatial)``, sampled where `offset` says, or where the own branch does.

        Where offset and mask are given, backward returns a gradient for each of them beside the input's.
        """
        own = offset is None
        if own and (self.conv_offset is None or mask is not None):
            raise ValueError("offset must be given with a mask, and where the layer has no branch, got None")
        branches = [branch for branch in (self.conv_offset, self.conv_mask) if own and branch is not None]
        found, backs = zip(*(branch.begin(x) for branch in branches), strict=True) if own else ((offset, mask), ())
        offset, mask = (*found, None)[:2]
        weight, bias = self.weight.data, None if self.bias is None else self.bias.data
        options = self._chosen()
        del options["activation"]
        y = self._forward(x, offset, weight, bias, mask=mask, activation=fused(self.activation), **options)

        def back(grad: np.ndarray, need_input: bool) -> np.ndarray | tuple[np.ndarray, ...] | None:
            need = (*self.need(need_input), "offset", "mask")
            grads = self._backward(grad, x, offset, weight, mask=mask, need=need, **options)
            self.accumulate(grads)
            if not own:
                return (grads.x, grads.offset) if mask is None else (grads.x, grads.offset, grads.mask)
            dxs = [grads.x, *(back(d, need_input) for back, d in zip(backs, (grads.offset, grads.mask), strict=False))]
            return sum(dxs[1:], start=dxs[0]) if need_input else None

        return follow(y, back, self.activation)

    def symbolic(self, x: Any, offset: Any = None, mask: Any = None) -> Any:
        """The convolutions that find offset and mask, where they are not given, and the one that takes them."""
        own = offset is None
        if own and (self.conv_offset is None or mask is not None):
            raise ValueError("offset must be given with a mask, and where the layer has no branch, got None")
        if own:
            offset, mask = self.conv_offset(x), None if self.conv_mask is None else self.conv_mask(x)
        if self.layout == "NHWC" or x.ndim != self._nd + 2:
            raise TypeError("x must be a batch of images with the channels second where a deformable layer is traced")
        y = x.emit("DeformConv", self.weight, offset, self.bias, mask, **self._attributes())
        return activated(y, self.activation)

    def _sizes(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        options = (self.stride, self.padding, self.dilation, self.groups, "zeros", self.layout == "NHWC")
        return conv(self._nd, x_shape, self.weight.shape, *options).out


class DeformConv1d(_DeformConv, nd=1): ...


class DeformConv2d(_DeformConv, nd=2): ...


class DeformConv3d(_DeformConv, nd=3): ...
