"""Transposed convolution layers over `convkit.conv_transpose1d`, `2d`, `3d` and their backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import (
    ConvGrads,
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
    conv_transpose3d,
    conv_transpose3d_backward,
)
from .._shapes import per_axis
from . import init as initialisers
from ._describe import unusual
from .conv import check_groups
from .module import Module, Parameter, Way


class _ConvTranspose(Module):
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
        check_groups(groups, in_channels, out_channels)
        kernel = per_axis(kernel_size, self._nd, "kernel_size", 1)
        shape = (in_channels, out_channels // groups, *kernel)
        self.weight = Parameter(initialisers.get(init)(shape, rng=rng, dtype=dtype))
        self.bias = Parameter(np.zeros(out_channels, dtype)) if bias else None
        self.options = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "groups": groups,
            "dilation": dilation,
            "activation": activation,
            "layout": layout,
            "algorithm": algorithm,
        }

    def run(self, x: np.ndarray, output_size: int | Sequence[int] | None = None) -> tuple[np.ndarray, Way]:
        """Map ``(N, in_channels, *spatial)`` to more pixels; `output_size` settles what the stride leaves open."""
        weight, bias = self.weight.data, None if self.bias is None else self.bias.data
        options = {"output_size": output_size, **self.options}
        y = self._forward(x, weight, bias, **options)
        activated = y if options["activation"] else None

        def back(grad: np.ndarray, need_input: bool) -> np.ndarray | None:
            grads = self._backward(grad, x, weight, y=activated, need=self.need(need_input), **options)
            self.accumulate(grads)
            return grads.x

        return y, back

    def describe(self) -> str:
        """Return channels, kernel, and what is not the default."""
        in_channels, per_group, *kernel = self.weight.shape
        no_bias = ", bias=False" if self.bias is None else ""
        out_channels = per_group * self.options["groups"]
        return (
            f"{in_channels}, {out_channels}, kernel_size={tuple(kernel)}{unusual(self.options, self._forward)}{no_bias}"
        )


_DOC = """{nd}-D transposed convolution with learned weight and bias: the adjoint of `Conv{nd}d`, which enlarges.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size, stride, output_padding, dilation : int or tuple of int
        One number, or one for every spatial axis.
    padding : int, tuple or str
        Every form that `convkit.conv_transpose{nd}d` takes; it crops the output.
    groups : int, default 1
        Divides both channel counts.
    bias : bool, default True
        Whether there is one; it starts from zeros.
    activation, layout, algorithm
        Passed on to `convkit.conv_transpose{nd}d`.
    init : {{"he", "he_uniform", "glorot", "glorot_normal", "zeros"}} or function
        What the weight starts from, see `convkit.nn.init`; fans are counted as by PyTorch.
    rng : numpy.random.Generator, int or None
        Source of the initial numbers; give all layers of a model one Generator.
    dtype : {{"float32", "float64"}}
        Of the parameters, and so of every batch.

    Attributes
    ----------
    weight : Parameter, ``(in_channels, out_channels / groups, *kernel_size)``
    bias : Parameter, ``(out_channels,)``, or None

    Raises
    ------
    ValueError
        If `groups` does not divide the channels, or `kernel_size` has not one number for every spatial axis.

    Notes
    -----
    Output size along an axis:
    ``(in - 1) * stride - pad_lo - pad_hi + dilation * (kernel - 1) + output_padding + 1``.
    """


class ConvTranspose1d(_ConvTranspose):
    __doc__ = _DOC.format(nd=1)
    _nd, _forward, _backward = 1, staticmethod(conv_transpose1d), staticmethod(conv_transpose1d_backward)


class ConvTranspose2d(_ConvTranspose):
    __doc__ = _DOC.format(nd=2)
    _nd, _forward, _backward = 2, staticmethod(conv_transpose2d), staticmethod(conv_transpose2d_backward)


class ConvTranspose3d(_ConvTranspose):
    __doc__ = _DOC.format(nd=3)
    _nd, _forward, _backward = 3, staticmethod(conv_transpose3d), staticmethod(conv_transpose3d_backward)
