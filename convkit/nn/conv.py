"""Convolution layers over `convkit.conv1d`, `conv2d`, `conv3d` and their backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import ConvGrads, conv1d, conv1d_backward, conv2d, conv2d_backward, conv3d, conv3d_backward
from .._shapes import per_axis
from . import init as initialisers
from ._describe import unusual
from .module import Module, Parameter, Way


def check_groups(groups: int, in_channels: int, out_channels: int) -> None:
    """Raise ValueError unless `groups` divides both channel counts."""
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ValueError(
            f"groups must divide the {in_channels} input and the {out_channels} output channels, got {groups}"
        )


class _Conv(Module):
    """What the three have in common; `_forward` and `_backward` are the operator and its gradient."""

    _nd: int
    _forward: Callable[..., np.ndarray]
    _backward: Callable[..., ConvGrads]

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
        check_groups(groups, in_channels, out_channels)
        kernel = per_axis(kernel_size, self._nd, "kernel_size", 1)
        shape = (out_channels, in_channels // groups, *kernel)
        self.weight = Parameter(initialisers.get(init)(shape, rng=rng, dtype=dtype))
        self.bias = Parameter(np.zeros(out_channels, dtype)) if bias else None
        self.options = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "padding_mode": padding_mode,
            "activation": activation,
            "layout": layout,
            "algorithm": algorithm,
        }

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Convolve a batch ``(N, in_channels, *spatial)`` (channels last with ``layout="NHWC"``)."""
        weight, bias, options = self.weight.data, None if self.bias is None else self.bias.data, self.options
        y = self._forward(x, weight, bias, **options)
        activated = y if options["activation"] else None

        def back(grad: np.ndarray, need_input: bool) -> np.ndarray | None:
            grads = self._backward(grad, x, weight, y=activated, need=self.need(need_input), **options)
            self.accumulate(grads)
            return grads.x

        return y, back

    def describe(self) -> str:
        """Return channels, kernel, and what is not the default."""
        out_channels, per_group, *kernel = self.weight.shape
        no_bias = ", bias=False" if self.bias is None else ""
        in_channels = per_group * self.options["groups"]
        return (
            f"{in_channels}, {out_channels}, kernel_size={tuple(kernel)}{unusual(self.options, self._forward)}{no_bias}"
        )


_DOC = """{nd}-D convolution with learned weight and bias.

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
        Passed on to `convkit.conv{nd}d`.
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

    Raises
    ------
    ValueError
        If `groups` does not divide the channels, or `kernel_size` has not one number for every spatial axis.

    Notes
    -----
    Output size along an axis: ``floor((in + pad_lo + pad_hi - dilation * (kernel - 1) - 1) / stride) + 1``.
    The initial weights differ from PyTorch's, which draws from a narrower uniform distribution.
    """


class Conv1d(_Conv):
    __doc__ = _DOC.format(nd=1)
    _nd, _forward, _backward = 1, staticmethod(conv1d), staticmethod(conv1d_backward)


class Conv2d(_Conv):
    __doc__ = _DOC.format(nd=2)
    _nd, _forward, _backward = 2, staticmethod(conv2d), staticmethod(conv2d_backward)


class Conv3d(_Conv):
    __doc__ = _DOC.format(nd=3)
    _nd, _forward, _backward = 3, staticmethod(conv3d), staticmethod(conv3d_backward)
