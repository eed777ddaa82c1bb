"""Convolution and transposed convolution, forward and gradients, block by block.

Both move windows over their large side (`_axes`): convolution reads it and writes the small side, transposed
convolution the other way, and each is the other's gradient of x. Padding modes are a layer before, or after.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import NamedTuple

import dask.array as da
import numpy as np

import convkit

from .. import _options, _shapes
from .._results import ConvGrads
from .._typing import Activation, Padding, Size
from ..ops._docs import words
from ..ops._shared import Family, Plan, array_or_shape, check_algorithm, check_shape, taken_y
from ..ops.conv import CONV
from ..ops.conv_transpose import CONV_TRANSPOSE
from ._axes import Axis, cuts_at
from ._graph import Layer, Span, lazy, sizes_of, together, total, whole
from ._padding import fold, pad, padded_cuts
from ._sides import Blocks, Images, layer_of


class Call(NamedTuple):
    """One convolution of either family without its arrays."""

    label: str
    family: Family
    nd: int
    images: Images
    plan: Plan
    channels: tuple[int, int]  # of x and of the result
    axes: list[Axis]
    mode: str
    pads: tuple[tuple[int, ...], tuple[int, ...]]  # what is to be padded by `mode`
    options: dict  # of the NumPy function, but padding, which is each block's own

    @property
    def large_is_x(self) -> bool:
        """Whether windows move over x, not over the result."""
        return self.family is CONV

    @property
    def large(self) -> Span:
        """All channels of the large side."""
        return 0, self.channels[not self.large_is_x]

    @property
    def small(self) -> Span:
        """All channels of the small side."""
        return 0, self.channels[self.large_is_x]

    def operator(self, suffix: str = ""):
        """The NumPy function."""
        return getattr(convkit, f"{self.label}{self.nd}d{suffix}")


def conv_call(nd, x_shape, weight_shape, stride, padding, dilation, groups, padding_mode, layout) -> Call:
    """A convolution, every size checked."""
    plan = CONV.plan((x_shape, weight_shape), (nd, stride, padding, dilation, groups, padding_mode, layout))
    images = Images.of(nd, len(x_shape), layout)
    sizes = (stride, padding, dilation, groups, padding_mode)
    shape = _shapes.conv(nd, x_shape, weight_shape, *sizes, images.channel_last)
    channels = shape.groups * shape.c_in, shape.groups * shape.c_out
    return _call("conv", CONV, images, plan, channels, shape, padding_mode)


def conv_transpose_call(
    nd, x_shape, weight_shape, stride, padding, output_padding, groups, dilation, output_size, layout
) -> Call:
    """A transposed convolution, every size checked: that of the convolution whose adjoint it is."""
    sizes = (stride, padding, output_padding, groups, dilation, output_size)
    plan = CONV_TRANSPOSE.plan((x_shape, weight_shape), (nd, *sizes, layout))
    images = Images.of(nd, len(x_shape), layout)
    shape = _shapes.conv_transpose(nd, x_shape, weight_shape, *sizes, images.channel_last)
    channels = shape.groups * shape.c_out, shape.groups * shape.c_in
    return _call("conv_transpose", CONV_TRANSPOSE, images, plan, channels, shape, "zeros")


def _call(label, family, images: Images, plan: Plan, channels, shape: _shapes.ConvShape, mode: str) -> Call:
    pads = shape.pad_lo, shape.pad_hi
    if mode == "zeros" or not any(map(any, pads)):
        mode, pads = "zeros", ((0,) * images.nd,) * 2
    moves = zip(shape.in_, shape.out, shape.stride, shape.dilation, shape.kernel, shape.pad_lo, *pads, strict=True)
    axes = [
        Axis(size + a + b, out, step, gap * (taps - 1) + 1, lo - a) for size, out, step, gap, taps, lo, a, b in moves
    ]
    options = {"stride": shape.stride, "dilation": shape.dilation, "groups": shape.groups}
    options["layout"] = "NHWC" if images.channel_last else "NCHW"
    return Call(label, family, images.nd, images, plan, channels, axes, mode, pads, options)


# ---------------------------------------------------------------- from one side to the other


def _blocks(call: Call, layer: Layer, function, blocks: Blocks, sources, fixed, of_x: bool, **options) -> None:
    """Each block of one side from what belongs to it on the other; the gradient of x goes the other way round.

    A block of the small side is made of what its windows cover, one of the large side of the windows that touch it.
    """
    to_small = call.large_is_x != of_x

    def read(batch, _, spatial):
        if to_small:
            reads = [axis.read(*span) for axis, span in zip(call.axes, spatial, strict=True)]
            wanted, own = [r.span for r in reads], {"padding": tuple((r.before, r.after) for r in reads)}
        else:
            wanted = [axis.touching(*span) for axis, span in zip(call.axes, spatial, strict=True)]
            placed = [a.placed(*window, *span) for a, window, span in zip(call.axes, wanted, spatial, strict=True)]
            own = {"padding": tuple((before, after) for before, after, _ in placed)}
            own |= {} if of_x else {"output_padding": tuple(short for *_, short in placed)}
        if of_x:
            own["x_shape"] = call.images.arranged(batch[1] - batch[0], call.channels[0], sizes_of(spatial))
        box = call.images.arranged(batch, call.large if to_small else call.small, wanted)
        return [None if source is None else (source, box) for source in sources], own

    layer_of(blocks, layer, function, read, fixed, **call.options, **options)


def _other_side(call: Call, cuts, to_small: bool):
    return [
        axis.small_cuts(spans) if to_small else axis.large_cuts(spans)
        for axis, spans in zip(call.axes, cuts, strict=True)
    ]


# ---------------------------------------------------------------- forward


def forward(call_of, nd: int, sizes: tuple, x, weight, bias, activation, algorithm) -> da.Array:
    """The forward pass; `sizes` are what `call_of` takes after the shapes."""
    x = lazy(x, "x")
    weight = whole(weight, "weight", x, "x")
    call = call_of(nd, x.shape, weight.shape, *sizes)
    if bias is not None:
        bias = whole(bias, "bias", x, "x")
        check_shape(bias, "bias", call.plan.bias_shape, "one per output channel")
    _options.activation(activation)
    check_algorithm(algorithm, call.plan)
    x = together(x, call.images.channel_axis, "x")
    batch, _, spatial = call.images.cuts(x)
    blocks = Blocks(call.images, batch, [(0, call.channels[1])], _other_side(call, spatial, call.large_is_x))
    token = (x.name, weight.name, bias if bias is None else bias.name, activation, algorithm, call[2:4], call[6:])
    layer = Layer(f"{call.label}{nd}d", *token)
    options = {"activation": activation, "algorithm": algorithm}
    _blocks(call, layer, call.operator(), blocks, [_with_padding(call, x)], [weight, bias], of_x=False, **options)
    return layer.array(blocks.chunks, x.dtype)


def _with_padding(call: Call, x: da.Array) -> da.Array:
    return x if call.mode == "zeros" else pad(x, call.images.spatial_axes, *call.pads, call.mode)


# ---------------------------------------------------------------- gradients


def _block_grad_x(grad, y, weight, *, operator, x_shape, **options):
    if not grad.size:  # windows of padding alone
        return np.zeros(x_shape, grad.dtype)
    return operator(grad, x_shape, weight, y=y, need="x", **options).x


def _block_grad_weight(small, y_small, large, y_large, *, operator, large_is_x, weight_shape, **options):
    grad, y, x = (small, y_small, large) if large_is_x else (large, y_large, small)
    if not grad.size or not x.size:
        return np.zeros((1, *weight_shape), grad.dtype)
    return operator(grad, x, weight_shape, y=y, need="weight", **options).weight[None]


def _block_grad_bias(grad, y, *, operator, x_shape, weight_shape, **options):
    """As of a kernel of one tap: the gradient of the bias does not depend on it."""
    return operator(grad, x_shape, weight_shape, y=y, need="bias", **options).bias[None]


def _grad_x(call: Call, grad, y, weight, x, token, options) -> da.Array:
    """The gradient of x, block by block, in the chunks of x; what lies on repeated padding is added to x."""
    batch, _, spatial = call.images.cuts(grad if x is None else x)
    if x is None:
        cuts = zip(_other_side(call, spatial, not call.large_is_x), *call.pads, strict=True)
        spatial = [cuts_at([start - lo for start, _ in axis], axis[-1][1] - lo - hi) for axis, lo, hi in cuts]
    blocks = Blocks(call.images, batch, [(0, call.channels[0])], spatial)
    padded = blocks._replace(spatial=[padded_cuts(*axis) for axis in zip(spatial, *call.pads, strict=True)])
    layer = Layer(f"{call.label}{call.nd}d-grad-x", *token, blocks)
    options = options | {"operator": call.operator("_backward")}
    _blocks(call, layer, _block_grad_x, padded, [grad, y], [weight], of_x=True, **options)
    dx = layer.array(padded.chunks, grad.dtype)
    if call.mode == "zeros":
        return dx
    return fold(dx, call.images.spatial_axes, blocks.chunks, *call.pads, call.mode, call.options["stride"])


def _grad_weight(call: Call, grad, y, x, weight_shape, token, options) -> da.Array:
    """The gradient of the weight: a sum for each block, and the total of these."""
    x = _with_padding(call, x)
    small, large, ys = (grad, x, (y, None)) if call.large_is_x else (x, grad, (None, y))
    batch, _, spatial = call.images.cuts(small)
    layer = Layer(f"{call.label}{call.nd}d-grad-weight", *token, x.name)
    count = 0
    for count, (_, images, _, block) in enumerate(Blocks(call.images, batch, [(0, 1)], spatial).each(), 1):
        reads = [axis.read(*span) for axis, span in zip(call.axes, block, strict=True)]
        here = call.images.arranged(images, call.small, block)
        there = call.images.arranged(images, call.large, [r.span for r in reads])
        sources = [(small, here), (ys[0], here), (large, there), (ys[1], there)]
        boxes = [None if source[0] is None else source for source in sources]
        layer.add(
            (count - 1, *[0] * len(weight_shape)), _block_grad_weight, boxes, [], operator=call.operator("_backward"),
            large_is_x=call.large_is_x, weight_shape=weight_shape, padding=tuple((r.before, r.after) for r in reads),
            **call.options, **options,
        )  # fmt: skip
    return total(layer, count, weight_shape, grad.dtype)


def _grad_bias(call: Call, grad, y, token, options) -> da.Array:
    """The gradient of the bias: a sum for each block, and the total of these."""
    batch, _, spatial = call.images.cuts(grad)
    channels = call.channels[1]
    operator = getattr(convkit, f"conv{call.nd}d_backward")
    layer = Layer(f"{call.label}{call.nd}d-grad-bias", *token)
    count = 0
    for count, (_, images, _, block) in enumerate(Blocks(call.images, batch, [(0, 1)], spatial).each(), 1):
        wanted = call.images.arranged(images, (0, channels), block)
        boxes = [(grad, wanted), None if y is None else (y, wanted)]
        x_shape = call.images.arranged(images[1] - images[0], 1, sizes_of(block))
        layer.add(
            (count - 1, 0), _block_grad_bias, boxes, [], operator=operator, x_shape=x_shape,
            weight_shape=(channels, 1, *[1] * call.nd), layout=call.options["layout"],
            activation=options["activation"],
        )  # fmt: skip
    return total(layer, count, (channels,), grad.dtype)


def backward(call_of, nd: int, sizes: tuple, grad, x, weight, activation, y, need, algorithm) -> ConvGrads:
    """The gradients of `forward`, those that are needed."""
    need_x, need_weight, need_bias = _options.need(need, ConvGrads._fields)
    grad = lazy(grad, "grad")
    x, x_shape = array_or_shape(x, "x", "weight" if need_weight else None, grad, lazy)
    weight, weight_shape = array_or_shape(weight, "weight", "x" if need_x else None, grad, whole)
    call = call_of(nd, x_shape, weight_shape, *sizes)
    check_shape(grad, "grad", call.plan.y_shape, "that of the output")
    _options.activation_backward(activation)
    y = taken_y(y, activation, grad, lazy)
    if need_x or need_weight:
        check_algorithm(algorithm, call.plan)
    axis = call.images.channel_axis
    grad, y, x = (a if a is None else together(a, axis, name) for a, name in ((grad, "grad"), (y, "y"), (x, "x")))
    names = [a if a is None else a.name for a in (grad, y, x, weight)]
    token = (*names, x_shape, weight_shape, activation, algorithm, call[2:4], call[6:])
    options = {"activation": activation, "algorithm": algorithm}
    return ConvGrads(
        _grad_x(call, grad, y, weight, x, token, options) if need_x else None,
        _grad_weight(call, grad, y, x, weight_shape, token, options) if need_weight else None,
        _grad_bias(call, grad, y, token, options) if need_bias else None,
    )


# ---------------------------------------------------------------- the public functions

_BLOCKS_DOC = """
    algorithm : {{"implicit_gemm", "auto", "im2col", "direct", "winograd"}}
        As in `convkit.{name}`. The bits of "implicit_gemm", the default, do not depend on chunks; "auto" may take
        "winograd" where that is quicker, whose tiles begin at each block's first element.
"""

_ERRORS_DOC = """
    Raises
    ------
    TypeError, ValueError, OverflowError
        As `convkit.{name}`, at the call; ValueError too if chunk sizes are not known. What cannot be read or
        allocated is an OSError or MemoryError when it is computed.
"""

_FORWARD_DOC = """
    `convkit.{name}` of a Dask array, block by block.

    Parameters
    ----------
    x : Dask or zarr array, {x} or {x1}
        Input, float32 or float64, in any chunks. Channels in several chunks are brought together.
    weight : ndarray or Dask array, {weight}
        Kernels. Every task has all of them. Depthwise convolution is ``groups=C_in``.
    bias : ndarray or Dask array, (C_out,), optional
        Added to every output of its channel.
    {sizes}, activation, layout
        As in `convkit.{name}`.
{blocks}

    Returns
    -------
    dask.array.Array, {y} or {y1}
        Its blocks go with the chunks of x, along the batch and the spatial axes; all channels are in one.

{errors}

    Notes
    -----
    A task reads what its block's windows cover: the block and as much of its neighbours as the kernel reaches over. It
    pads where the image ends. Other padding than zeros is a step before, which makes new chunks at the rim alone.

    Examples
    --------
    >>> import numpy as np, convkit.dask, dask.array as da
    >>> x = da.ones({example_x}, dtype="float32", chunks={example_chunks})
    >>> y = convkit.dask.{name}(x, np.ones({example_weight}, np.float32), stride=2)
    >>> y.shape, y.chunks[-1]
    ({example_y}, {example_y_chunks})
"""

_BACKWARD_DOC = """
    Gradients of `convkit.dask.{name}` with respect to its input, weight and bias.

    Parameters
    ----------
    grad : Dask or zarr array, {y} or {y1}
        Gradient of the loss with respect to the output; its chunks need not be those of the output.
    x : Dask or zarr array, or tuple of int
        The input, or its shape where `need` does not include "weight".
    weight : ndarray, Dask array or tuple of int
        The weight, or its shape where `need` does not include "x".
    {sizes}, activation, layout
        As in the forward call.
    y : Dask or zarr array, optional
        The output of the forward call: required with `activation`, not looked at without.
    need : str or sequence of str, default: ("x", "weight", "bias")
        The gradients to compute. The others come back as None.
{blocks}

    Returns
    -------
    ConvGrads
        Named tuple (x, weight, bias) of Dask arrays. That of x has the chunks of x or, where x is a shape, chunks that
        go with those of grad. Those of weight and bias, one chunk each, are sums over blocks, added in float64 by a
        tree that the chunks settle.

{errors}

    Examples
    --------
    >>> import numpy as np, convkit.dask, dask.array as da
    >>> x = da.ones({example_x}, dtype="float32", chunks={example_chunks})
    >>> weight = np.ones({example_weight}, np.float32)
    >>> grad = convkit.dask.{name}(x, weight, stride=2)
    >>> grads = convkit.dask.{name}_backward(grad, x, weight, stride=2)
    >>> grads.x.chunks == x.chunks, grads.weight.compute().shape
    (True, {example_weight})
"""


def _document(template: str):
    """Decorator: the docstring that the functions of one family share, in the words of one of them."""

    def document(function):
        name = function.__name__.removesuffix("_backward")
        nd, transposed = int(name[-2]), name.startswith("conv_transpose")
        own = words(nd) | {"name": name}
        own["weight"] = own["w_transposed" if transposed else "w"]
        own |= {
            "sizes": "stride, padding, "
            + ("output_padding, groups, dilation, output_size" if transposed else "dilation, groups, padding_mode"),
            "example_x": (1, 3, *[100] * nd),
            "example_chunks": (1, 3, *[50] * nd),
            "example_weight": (3, 8, *[3] * nd) if transposed else (8, 3, *[3] * nd),
            "example_y": (1, 8, *[201 if transposed else 49] * nd),
            "example_y_chunks": (100, 101) if transposed else (25, 24),
        }
        own |= {
            part: text.strip("\n").format(**own) for part, text in (("blocks", _BLOCKS_DOC), ("errors", _ERRORS_DOC))
        }
        function.__doc__ = inspect.cleandoc(template.format(**own))
        return function

    return document


@_document(_FORWARD_DOC)
def conv1d(
    x, weight, bias=None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1, groups: int = 1, *,
    padding_mode: str = "zeros", activation: Activation = None, layout: str = "NCHW",
    algorithm: str = "implicit_gemm",
) -> da.Array:  # fmt: skip
    sizes = (stride, padding, dilation, groups, padding_mode, layout)
    return forward(conv_call, 1, sizes, x, weight, bias, activation, algorithm)


@_document(_FORWARD_DOC)
def conv2d(
    x, weight, bias=None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1, groups: int = 1, *,
    padding_mode: str = "zeros", activation: Activation = None, layout: str = "NCHW",
    algorithm: str = "implicit_gemm",
) -> da.Array:  # fmt: skip
    sizes = (stride, padding, dilation, groups, padding_mode, layout)
    return forward(conv_call, 2, sizes, x, weight, bias, activation, algorithm)


@_document(_FORWARD_DOC)
def conv3d(
    x, weight, bias=None, stride: Size = 1, padding: Padding = 0, dilation: Size = 1, groups: int = 1, *,
    padding_mode: str = "zeros", activation: Activation = None, layout: str = "NCHW",
    algorithm: str = "implicit_gemm",
) -> da.Array:  # fmt: skip
    sizes = (stride, padding, dilation, groups, padding_mode, layout)
    return forward(conv_call, 3, sizes, x, weight, bias, activation, algorithm)


@_document(_BACKWARD_DOC)
def conv1d_backward(
    grad, x, weight, stride: Size = 1, padding: Padding = 0, dilation: Size = 1, groups: int = 1, *,
    padding_mode: str = "zeros", activation: Activation = None, y=None, layout: str = "NCHW",
    need: str | Sequence[str] = ConvGrads._fields, algorithm: str = "implicit_gemm",
) -> ConvGrads:  # fmt: skip
    sizes = (stride, padding, dilation, groups, padding_mode, layout)
    return backward(conv_call, 1, sizes, grad, x, weight, activation, y, need, algorithm)


@_document(_BACKWARD_DOC)
def conv2d_backward(
    grad, x, weight, stride: Size = 1, padding: Padding = 0, dilation: Size = 1, groups: int = 1, *,
    padding_mode: str = "zeros", activation: Activation = None, y=None, layout: str = "NCHW",
    need: str | Sequence[str] = ConvGrads._fields, algorithm: str = "implicit_gemm",
) -> ConvGrads:  # fmt: skip
    sizes = (stride, padding, dilation, groups, padding_mode, layout)
    return backward(conv_call, 2, sizes, grad, x, weight, activation, y, need, algorithm)


@_document(_BACKWARD_DOC)
def conv3d_backward(
    grad, x, weight, stride: Size = 1, padding: Padding = 0, dilation: Size = 1, groups: int = 1, *,
    padding_mode: str = "zeros", activation: Activation = None, y=None, layout: str = "NCHW",
    need: str | Sequence[str] = ConvGrads._fields, algorithm: str = "implicit_gemm",
) -> ConvGrads:  # fmt: skip
    sizes = (stride, padding, dilation, groups, padding_mode, layout)
    return backward(conv_call, 3, sizes, grad, x, weight, activation, y, need, algorithm)


@_document(_FORWARD_DOC)
def conv_transpose1d(
    x, weight, bias=None, stride: Size = 1, padding: Padding = 0, output_padding: Size = 0, groups: int = 1,
    dilation: Size = 1, *, output_size: Size | None = None, activation: Activation = None, layout: str = "NCHW",
    algorithm: str = "implicit_gemm",
) -> da.Array:  # fmt: skip
    sizes = (stride, padding, output_padding, groups, dilation, output_size, layout)
    return forward(conv_transpose_call, 1, sizes, x, weight, bias, activation, algorithm)


@_document(_FORWARD_DOC)
def conv_transpose2d(
    x, weight, bias=None, stride: Size = 1, padding: Padding = 0, output_padding: Size = 0, groups: int = 1,
    dilation: Size = 1, *, output_size: Size | None = None, activation: Activation = None, layout: str = "NCHW",
    algorithm: str = "implicit_gemm",
) -> da.Array:  # fmt: skip
    sizes = (stride, padding, output_padding, groups, dilation, output_size, layout)
    return forward(conv_transpose_call, 2, sizes, x, weight, bias, activation, algorithm)


@_document(_FORWARD_DOC)
def conv_transpose3d(
    x, weight, bias=None, stride: Size = 1, padding: Padding = 0, output_padding: Size = 0, groups: int = 1,
    dilation: Size = 1, *, output_size: Size | None = None, activation: Activation = None, layout: str = "NCHW",
    algorithm: str = "implicit_gemm",
) -> da.Array:  # fmt: skip
    sizes = (stride, padding, output_padding, groups, dilation, output_size, layout)
    return forward(conv_transpose_call, 3, sizes, x, weight, bias, activation, algorithm)


@_document(_BACKWARD_DOC)
def conv_transpose1d_backward(
    grad, x, weight, stride: Size = 1, padding: Padding = 0, output_padding: Size = 0, groups: int = 1,
    dilation: Size = 1, *, output_size: Size | None = None, activation: Activation = None, y=None,
    layout: str = "NCHW", need: str | Sequence[str] = ConvGrads._fields, algorithm: str = "implicit_gemm",
) -> ConvGrads:  # fmt: skip
    sizes = (stride, padding, output_padding, groups, dilation, output_size, layout)
    return backward(conv_transpose_call, 1, sizes, grad, x, weight, activation, y, need, algorithm)


@_document(_BACKWARD_DOC)
def conv_transpose2d_backward(
    grad, x, weight, stride: Size = 1, padding: Padding = 0, output_padding: Size = 0, groups: int = 1,
    dilation: Size = 1, *, output_size: Size | None = None, activation: Activation = None, y=None,
    layout: str = "NCHW", need: str | Sequence[str] = ConvGrads._fields, algorithm: str = "implicit_gemm",
) -> ConvGrads:  # fmt: skip
    sizes = (stride, padding, output_padding, groups, dilation, output_size, layout)
    return backward(conv_transpose_call, 2, sizes, grad, x, weight, activation, y, need, algorithm)


@_document(_BACKWARD_DOC)
def conv_transpose3d_backward(
    grad, x, weight, stride: Size = 1, padding: Padding = 0, output_padding: Size = 0, groups: int = 1,
    dilation: Size = 1, *, output_size: Size | None = None, activation: Activation = None, y=None,
    layout: str = "NCHW", need: str | Sequence[str] = ConvGrads._fields, algorithm: str = "implicit_gemm",
) -> ConvGrads:  # fmt: skip
    sizes = (stride, padding, output_padding, groups, dilation, output_size, layout)
    return backward(conv_transpose_call, 3, sizes, grad, x, weight, activation, y, need, algorithm)
