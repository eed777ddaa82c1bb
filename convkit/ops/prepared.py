"""Convolutions whose weights are copied and laid out once, for inference: documentation, checks, the callable."""

from __future__ import annotations

import copy

import numpy as np

from .. import _options
from .._arrays import as_array, as_out, empty, fits_out
from .._ext import engine
from .._threads import current
from .._typing import Activation, Array, Padding, Size
from ._docs import documented
from ._shared import Plan, check_algorithm, check_shape
from .conv import CONV
from .conv_transpose import CONV_TRANSPOSE


class Prepared:
    """A convolution with its weights: what the ``prepare_`` functions return. May be called from several threads."""

    def __init__(self, transposed: bool, sizes: tuple, weight, bias, activation, algorithm: str):
        weight = as_array(weight, "weight")
        if bias is not None:
            bias = as_array(bias, "bias", weight, "weight").copy()
        self._transposed, self._sizes, self._algorithm = transposed, copy.deepcopy(sizes), algorithm  # of lists, too
        self._weight, self._bias = np.array(weight, order="C"), bias
        self._activation = activation
        self._codes = _options.activation(activation)
        _options.algorithm(algorithm)
        self._panels = engine.Panels()
        self._latest: tuple = (None, None, None)  # the shape of an image, what follows from it, the algorithm's code

    def __call__(self, x, *, add=None, out=None) -> np.ndarray:
        """The convolution of `x`: see the function that made this."""
        x = as_array(x, "x", self._weight, "weight")
        shape, plan, code = self._latest
        if x.shape != shape:
            plan, code = self._planned(x.shape)
        apart = add is not None and add is not out
        if add is not None:
            add = as_array(add, "add", x, "x")
            check_shape(add, "add", plan.y_shape, "that of the result")
        if out is None:
            y = out = empty(plan.y_shape, x.dtype)
        elif fits_out(out, plan.y_shape, x, add if apart else None):
            y = out
        else:
            y = as_out(out, "out", plan.y_shape, x.dtype, (("x", x), ("add", add if apart else None)))
        if apart:
            np.copyto(y, add)
        if not plan.batched:
            x, y = x[None], y[None]
        engine.prepared_forward(
            self._panels, plan.geometry, x, self._weight, self._bias, y, add is not None, *self._codes,
            plan.channel_last, code, self._transposed, current(),
        )  # fmt: skip
        return out

    def _planned(self, shape: tuple[int, ...]) -> tuple[Plan, int]:
        family = CONV_TRANSPOSE if self._transposed else CONV
        plan = family.plan((shape, self._weight.shape), self._sizes)
        if self._bias is not None:
            check_shape(self._bias, "bias", plan.bias_shape, "one per output channel")
        code = check_algorithm(self._algorithm, plan)
        self._latest = shape, plan, code
        return plan, code

    def __repr__(self):
        kind = f"conv{'_transpose' * self._transposed}{self._weight.ndim - 2}d"
        return f"<prepared {kind}, weight {self._weight.shape}, {self._weight.dtype}>"

    def __reduce__(self):
        return Prepared, (self._transposed, self._sizes, self._weight, self._bias, self._activation, self._algorithm)


_DOC = """
    A {{nd}}-D {kind}convolution whose weights are copied and laid out once, for many images.

    Parameters
    ----------
    weight : ndarray, {{{w}}}
        Of any strides; copied, as is `bias`: what becomes of them later makes no difference.
    bias : ndarray, (C_out,), optional
        Added to every output channel.
    {sizes}
        As in `{forward}{{nd}}d`.

    Returns
    -------
    callable
        ``f(x, *, add=None, out=None)``: the result of `{forward}{{nd}}d`, to the bit. `add`, of the result's shape, is
        summed before the activation, ((sum + bias) + add), or first of all where a transposed convolution adds up the
        columns of "im2col"; it may be `out` itself, but not share its memory otherwise. Several threads may call it
        at a time. It can be pickled and copied.

    Raises
    ------
    TypeError
        If an array, `activation` or `algorithm` has the wrong type, or weight and bias have two dtypes.
    ValueError
        If `activation` or `algorithm` is not one of those that there are. All else is checked at each call, which
        knows the shape of x.

    Notes
    -----
    Weights are laid out at the first image, in the form that is fastest for its size; another size may need another
    form. A form takes as much memory as the weights; where a few pixels are computed from many channels, weights are
    read as they are, and there is none. Transformed for "winograd" it is four times that; where a few tiles are
    computed from many channels, it is not, and each call transforms them.

    Examples
    --------
    >>> import numpy as np
    >>> import convkit
    >>> f = convkit.prepare_{forward}{{nd}}d(np.ones((8, 8, {{threes}}), np.float32), activation="relu")
    >>> f(np.ones((1, 8, {{sixteens}}), np.float32)).shape
    {{{example}}}
"""
_CONV_DOC = _DOC.format(
    kind="",
    w="w",
    sizes="stride, padding, dilation, groups, padding_mode, activation, layout, algorithm",
    forward="conv",
    example="valid",
)
_TRANSPOSED_DOC = _DOC.format(
    kind="transposed ",
    w="w_transposed",
    sizes="stride, padding, output_padding, groups, dilation, output_size, activation, layout, algorithm",
    forward="conv_transpose",
    example="full",
)


@documented(_CONV_DOC)
def prepare_conv1d(
    weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1,
    groups: int = 1, *, padding_mode: str = "zeros", activation: Activation = None, layout: str = "NCHW",
    algorithm: str = "auto",
) -> Prepared:  # fmt: skip
    sizes = (1, stride, padding, dilation, groups, padding_mode, layout)
    return Prepared(False, sizes, weight, bias, activation, algorithm)


@documented(_CONV_DOC)
def prepare_conv2d(
    weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1,
    groups: int = 1, *, padding_mode: str = "zeros", activation: Activation = None, layout: str = "NCHW",
    algorithm: str = "auto",
) -> Prepared:  # fmt: skip
    sizes = (2, stride, padding, dilation, groups, padding_mode, layout)
    return Prepared(False, sizes, weight, bias, activation, algorithm)


@documented(_CONV_DOC)
def prepare_conv3d(
    weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1,
    groups: int = 1, *, padding_mode: str = "zeros", activation: Activation = None, layout: str = "NCHW",
    algorithm: str = "auto",
) -> Prepared:  # fmt: skip
    sizes = (3, stride, padding, dilation, groups, padding_mode, layout)
    return Prepared(False, sizes, weight, bias, activation, algorithm)


@documented(_TRANSPOSED_DOC)
def prepare_conv_transpose1d(
    weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0, output_padding: Size = 0,
    groups: int = 1, dilation: Size = 1, *, output_size: Size | None = None, activation: Activation = None,
    layout: str = "NCHW", algorithm: str = "auto",
) -> Prepared:  # fmt: skip
    sizes = (1, stride, padding, output_padding, groups, dilation, output_size, layout)
    return Prepared(True, sizes, weight, bias, activation, algorithm)


@documented(_TRANSPOSED_DOC)
def prepare_conv_transpose2d(
    weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0, output_padding: Size = 0,
    groups: int = 1, dilation: Size = 1, *, output_size: Size | None = None, activation: Activation = None,
    layout: str = "NCHW", algorithm: str = "auto",
) -> Prepared:  # fmt: skip
    sizes = (2, stride, padding, output_padding, groups, dilation, output_size, layout)
    return Prepared(True, sizes, weight, bias, activation, algorithm)


@documented(_TRANSPOSED_DOC)
def prepare_conv_transpose3d(
    weight: Array, bias: Array | None = None, stride: Size = 1, padding: Padding = 0, output_padding: Size = 0,
    groups: int = 1, dilation: Size = 1, *, output_size: Size | None = None, activation: Activation = None,
    layout: str = "NCHW", algorithm: str = "auto",
) -> Prepared:  # fmt: skip
    sizes = (3, stride, padding, output_padding, groups, dilation, output_size, layout)
    return Prepared(True, sizes, weight, bias, activation, algorithm)
