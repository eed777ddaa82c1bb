"""Pooling over moving windows, forward and gradients, block by block."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import dask.array as da
import numpy as np

import convkit

from .. import _options, _pool_shapes, _shapes
from .._typing import Padding, Size
from ..ops._docs import words
from ..ops._shared import check_shape
from ._axes import Axis, Read
from ._graph import Layer, Span, known, lazy, sizes_of
from ._sides import Blocks, Images, fitted, layer_of


class Call(NamedTuple):
    """One pooling without its arrays; `options` are the NumPy function's, but padding, which is each block's own."""

    images: Images
    axes: list[Axis]
    pad_hi: tuple[int, ...]
    y_shape: tuple[int, ...]
    options: dict


def call_of(nd, x_shape, kernel_size, stride, padding, dilation, ceil_mode, layout, name="x") -> Call:
    """A pooling, every size checked."""
    images = Images.of(nd, len(x_shape), layout)
    ceil_mode = _options.flag(ceil_mode, "ceil_mode")
    s = _pool_shapes.windows(nd, x_shape, kernel_size, stride, padding, dilation, ceil_mode, images.channel_last, name)
    sizes = zip(s.in_, s.out, s.stride, s.dilation, s.kernel, s.pad_lo, strict=True)
    axes = [Axis(size, out, step, gap * (taps - 1) + 1, lo) for size, out, step, gap, taps, lo in sizes]
    moves = {"kernel_size": s.kernel, "stride": s.stride, "dilation": s.dilation}
    options = moves | {"ceil_mode": ceil_mode, "layout": layout}
    return Call(images, axes, s.pad_hi, images.arranged(s.n, s.channels, s.out), options)


def _reads(call: Call, windows: Sequence[Span]) -> tuple[list[Read], tuple[Span, ...]]:
    """What these windows read, and their padding: what ceil_mode reaches over is none."""
    reads = [axis.read(*span) for axis, span in zip(call.axes, windows, strict=True)]
    return reads, tuple((r.before, min(r.after, hi)) for r, hi in zip(reads, call.pad_hi, strict=True))


def _with_another(axis: Axis, window: Span) -> Span:
    """A lone window and one beside it.

    A sum over all there is has an order of its own, and a window that reaches over the edge cannot be alone.
    """
    first, end = window
    if end - first > 1 or axis.small == 1:
        return window
    return (first, end + 1) if end < axis.small else (first - 1, end)


def _moved(indices: np.ndarray, plane: Sequence[int], starts: Sequence[int], other: Sequence[int]) -> np.ndarray:
    """Row-major indices of a plane as those of another whose first element lies at `starts` of it; -1 stays.

    One that lies outside of the other becomes -2.
    """
    left, result, inside, step = indices, np.zeros_like(indices), np.ones(indices.shape, bool), 1
    for size, start, of in zip(plane[::-1], starts[::-1], other[::-1], strict=True):
        left, at = np.divmod(left, size)
        at -= start
        inside &= (at >= 0) & (at < of)
        result += at * step
        step *= of
    return np.where(indices < 0, indices, np.where(inside & (left == 0), result, -2))


def _block_average(x, *, images, offsets, shape, **options):
    return fitted(getattr(convkit, f"avg_pool{images.nd}d")(x, **options), images, offsets, shape)


def _block_max(x, *, images, offsets, shape, starts, plane, return_indices, **options):
    function = getattr(convkit, f"max_pool{images.nd}d")
    if not return_indices:
        return fitted(function(x, **options), images, offsets, shape)
    y, indices = function(x, return_indices=True, **options)
    indices = _moved(indices, images.split(x.shape)[2], [-start for start in starts], plane)
    return fitted(y, images, offsets, shape), fitted(indices, images, offsets, shape)


def _forward(call: Call, layer: Layer, function, x, **options) -> Blocks:
    """Each block of y, a part of what one window more may give."""
    batch, channels, spatial = call.images.cuts(x)
    cuts = [axis.small_cuts(spans) for axis, spans in zip(call.axes, spatial, strict=True)]
    blocks = Blocks(call.images, batch, channels, cuts)

    def sources(batch, channels, spatial):
        windows = [_with_another(axis, span) for axis, span in zip(call.axes, spatial, strict=True)]
        reads, padding = _reads(call, windows)
        own = {
            "padding": padding,
            "shape": call.images.arranged(batch[1] - batch[0], channels[1] - channels[0], sizes_of(spatial)),
            "offsets": [span[0] - window[0] for span, window in zip(spatial, windows, strict=True)],
        }
        own |= {"starts": [r.start for r in reads]} if function is _block_max else {}
        return [(x, call.images.arranged(batch, channels, [r.span for r in reads]))], own

    layer_of(blocks, layer, function, sources, images=call.images, **call.options, **options)
    return blocks


def maximum(nd, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout):
    """max_pool."""
    x = lazy(x, "x")
    return_indices = _options.flag(return_indices, "return_indices")
    call = call_of(nd, x.shape, kernel_size, stride, padding, dilation, ceil_mode, layout)
    layer, plane = Layer(f"max_pool{nd}d", x.name, call, return_indices), tuple(axis.large for axis in call.axes)
    blocks = _forward(call, layer, _block_max, x, plane=plane, return_indices=return_indices)
    return layer.results([blocks.chunks] * 2, (x.dtype, np.int64), return_indices)


def average(nd, x, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout) -> da.Array:
    """avg_pool."""
    x = lazy(x, "x")
    call = call_of(nd, x.shape, kernel_size, stride, padding, dilation, ceil_mode, layout)
    count = _options.flag(count_include_pad, "count_include_pad")
    layer = Layer(f"avg_pool{nd}d", x.name, call, count)
    return layer.array(_forward(call, layer, _block_average, x, count_include_pad=count).chunks, x.dtype)


# ---------------------------------------------------------------- gradients


def _block_average_gradient(grad, *, images, hull, offsets, shape, **options):
    dx = getattr(convkit, f"avg_pool{images.nd}d_backward")(grad, hull, **options)
    return fitted(dx, images, offsets, shape)


def _block_max_gradient(grad, indices, *, images, hull, starts, plane, offsets, shape, layout):
    here = images.split(hull)[2]
    moved = _moved(indices, plane, starts, here)
    if (moved < -1).any():
        where = tuple(int(i) for i in np.argwhere(moved < -1)[0])
        raise ValueError(
            f"indices must lie in their windows, the elements {tuple(starts)} and the {here} from there for these, "
            f"or be -1, got {indices[where]} of a plane {plane}"
        )
    dx = getattr(convkit, f"max_pool{images.nd}d_backward")(grad, moved, hull, layout=layout)
    return fitted(dx, images, offsets, shape)


def _gradient(call: Call, layer: Layer, function, grads, **options) -> da.Array:
    """Each block of dx from the hull of all windows that touch it, of which it is a part."""
    batch, channels, small = call.images.cuts(grads[0])
    cuts = [axis.large_cuts(spans) for axis, spans in zip(call.axes, small, strict=True)]
    blocks = Blocks(call.images, batch, channels, cuts)

    def sources(batch, channels, spatial):
        windows = [_with_another(a, a.touching(*span)) for a, span in zip(call.axes, spatial, strict=True)]
        reads, padding = _reads(call, windows)
        n, c = batch[1] - batch[0], channels[1] - channels[0]
        own = {
            "hull": call.images.arranged(n, c, [r.stop - r.start for r in reads]),
            "shape": call.images.arranged(n, c, sizes_of(spatial)),
            "offsets": [span[0] - r.start for span, r in zip(spatial, reads, strict=True)],
        }
        own |= {"padding": padding} if len(grads) == 1 else {"starts": [r.start for r in reads]}
        wanted = call.images.arranged(batch, channels, windows)
        return [(grad, wanted) for grad in grads], own

    layer_of(blocks, layer, function, sources, images=call.images, **options)
    return layer.array(blocks.chunks, grads[0].dtype)


def average_backward(nd, grad, x_shape, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout):
    """avg_pool_backward."""
    grad, x_shape = lazy(grad, "grad"), _shapes.x_shape(x_shape)
    call = call_of(nd, x_shape, kernel_size, stride, padding, dilation, ceil_mode, layout, "x_shape")
    check_shape(grad, "grad", call.y_shape, "that of the output")
    count = {"count_include_pad": _options.flag(count_include_pad, "count_include_pad")}
    layer = Layer(f"avg_pool{nd}d-grad-x", grad.name, call, count)
    return _gradient(call, layer, _block_average_gradient, [grad], **call.options, **count)


def maximum_backward(nd, grad, indices, x_shape, kernel_size, stride, padding, dilation, ceil_mode, layout):
    """max_pool_backward, which is told the windows."""
    grad, x_shape = lazy(grad, "grad"), _shapes.x_shape(x_shape)
    if not isinstance(indices, da.Array) or indices.dtype != np.int64:
        kind = f"dtype {indices.dtype}" if isinstance(indices, da.Array) else type(indices).__name__
        raise TypeError(f"indices must be a Dask array of int64, got {kind}")
    call = call_of(nd, x_shape, kernel_size, stride, padding, dilation, ceil_mode, layout, "x_shape")
    check_shape(grad, "grad", call.y_shape, "that of the output")
    check_shape(known(indices, "indices"), "indices", grad.shape, "that of grad")
    layer = Layer(f"max_pool{nd}d-grad-x", grad.name, indices.name, call)
    plane = tuple(axis.large for axis in call.axes)
    return _gradient(call, layer, _block_max_gradient, [grad, indices], plane=plane, layout=layout)


# ---------------------------------------------------------------- the public functions

_FORWARD_DOC = """
    `convkit.{name}` of a Dask array, block by block.

    Parameters
    ----------
    x : Dask or zarr array, {x} or {x1}
        Input, float32 or float64, in any chunks, of channels too.
    {sizes}, layout
        As in `convkit.{name}`.

    Returns
    -------
    dask.array.Array, {y} or {y1}
        Its blocks go with the chunks of x.{returns}

    Raises
    ------
    TypeError, ValueError, OverflowError
        As `convkit.{name}`, at the call; ValueError too if chunk sizes are not known.

    Examples
    --------
    >>> import convkit.dask, dask.array as da
    >>> x = da.ones({example_x}, dtype="float32", chunks={example_chunks})
    >>> convkit.dask.{name}(x, 2).chunks[-1]
    (25, 25)
"""

_INDICES_DOC = """
    indices : dask.array.Array of int64, of the same shape
        Only with `return_indices`: places in the plane of the whole image."""

_BACKWARD_DOC = """
    Gradient of `convkit.dask.{name}` with respect to its input.
{more}
    Parameters
    ----------
    grad : Dask or zarr array, {y} or {y1}
        Gradient of the loss with respect to the output, in any chunks.{operands}
    x_shape : tuple of int
        Shape of the input.
    {sizes}, layout
        As in the forward call.

    Returns
    -------
    dask.array.Array, {x} or {x1}
        Its blocks go with the chunks of grad.

    Raises
    ------
    TypeError, ValueError, OverflowError
        As `convkit.{name}_backward`, at the call; ValueError too if chunk sizes are not known.{when}

    Examples
    --------
    >>> import convkit.dask, dask.array as da
    >>> x = da.ones({example_x}, dtype="float32", chunks={example_chunks})
    >>> {example_forward}
    >>> convkit.dask.{name}_backward({example_arguments}).shape
    {example_x}
"""

_MAX_WORDS = {
    "sizes": "kernel_size, stride, padding, dilation, ceil_mode, return_indices",
    "returns": _INDICES_DOC,
    "more": """
    Its windows are arguments, beside those of `convkit.{name}_backward`: how far from an element its gradients lie does
    not follow from indices.
""",
    "operands": """
    indices : dask.array.Array of int64, of the same shape
        From the forward call. Index -1 gives its gradient to nobody.""",
    "when": """ An index that lies
        outside of its window's block is a ValueError when it is computed.""",
    "example_forward": "y, indices = convkit.dask.{name}(x, 2, return_indices=True)",
    "example_arguments": "y, indices, x.shape, 2",
}
_AVG_WORDS = {
    "sizes": "kernel_size, stride, padding, dilation, ceil_mode, count_include_pad",
    "returns": "",
    "more": "",
    "operands": "",
    "when": "",
    "example_forward": "y = convkit.dask.{name}(x, 2)",
    "example_arguments": "y, x.shape, 2",
}


def _document(template: str):
    """Decorator: the docstring that the functions of one to three dimensions share, in the words of one of them."""

    def document(function):
        name = function.__name__.removesuffix("_backward")
        nd = int(name[-2])
        plain = words(nd, "C", "C") | {"name": name}
        plain |= {"example_x": (1, 3, *[100] * nd), "example_chunks": (1, 1, *[50] * nd)}
        own = _MAX_WORDS if name.startswith("max") else _AVG_WORDS
        if template is _BACKWARD_DOC:
            own = own | {"sizes": own["sizes"].removesuffix(", return_indices")}
        filled = plain | {key: text.format(**plain) for key, text in own.items()}
        function.__doc__ = inspect.cleandoc(template.format(**filled))
        return function

    return document


@_document(_FORWARD_DOC)
def max_pool1d(
    x, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, dilation: Size = 1, *,
    ceil_mode: bool = False, return_indices: bool = False, layout: str = "NCHW",
) -> Any:  # fmt: skip
    return maximum(1, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout)


@_document(_FORWARD_DOC)
def max_pool2d(
    x, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, dilation: Size = 1, *,
    ceil_mode: bool = False, return_indices: bool = False, layout: str = "NCHW",
) -> Any:  # fmt: skip
    return maximum(2, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout)


@_document(_FORWARD_DOC)
def max_pool3d(
    x, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, dilation: Size = 1, *,
    ceil_mode: bool = False, return_indices: bool = False, layout: str = "NCHW",
) -> Any:  # fmt: skip
    return maximum(3, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, layout)


@_document(_BACKWARD_DOC)
def max_pool1d_backward(
    grad, indices, x_shape: Sequence[int], kernel_size: Size, stride: Size | None = None, padding: Padding = 0,
    dilation: Size = 1, *, ceil_mode: bool = False, layout: str = "NCHW",
) -> da.Array:  # fmt: skip
    return maximum_backward(1, grad, indices, x_shape, kernel_size, stride, padding, dilation, ceil_mode, layout)


@_document(_BACKWARD_DOC)
def max_pool2d_backward(
    grad, indices, x_shape: Sequence[int], kernel_size: Size, stride: Size | None = None, padding: Padding = 0,
    dilation: Size = 1, *, ceil_mode: bool = False, layout: str = "NCHW",
) -> da.Array:  # fmt: skip
    return maximum_backward(2, grad, indices, x_shape, kernel_size, stride, padding, dilation, ceil_mode, layout)


@_document(_BACKWARD_DOC)
def max_pool3d_backward(
    grad, indices, x_shape: Sequence[int], kernel_size: Size, stride: Size | None = None, padding: Padding = 0,
    dilation: Size = 1, *, ceil_mode: bool = False, layout: str = "NCHW",
) -> da.Array:  # fmt: skip
    return maximum_backward(3, grad, indices, x_shape, kernel_size, stride, padding, dilation, ceil_mode, layout)


@_document(_FORWARD_DOC)
def avg_pool1d(
    x, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, *, dilation: Size = 1,
    ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "NCHW",
) -> da.Array:  # fmt: skip
    return average(1, x, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout)


@_document(_FORWARD_DOC)
def avg_pool2d(
    x, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, *, dilation: Size = 1,
    ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "NCHW",
) -> da.Array:  # fmt: skip
    return average(2, x, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout)


@_document(_FORWARD_DOC)
def avg_pool3d(
    x, kernel_size: Size, stride: Size | None = None, padding: Padding = 0, *, dilation: Size = 1,
    ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "NCHW",
) -> da.Array:  # fmt: skip
    return average(3, x, kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout)


@_document(_BACKWARD_DOC)
def avg_pool1d_backward(
    grad, x_shape: Sequence[int], kernel_size: Size, stride: Size | None = None, padding: Padding = 0, *,
    dilation: Size = 1, ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "NCHW",
) -> da.Array:  # fmt: skip
    sizes = (kernel_size, stride, padding, dilation, ceil_mode, count_include_pad)
    return average_backward(1, grad, x_shape, *sizes, layout)


@_document(_BACKWARD_DOC)
def avg_pool2d_backward(
    grad, x_shape: Sequence[int], kernel_size: Size, stride: Size | None = None, padding: Padding = 0, *,
    dilation: Size = 1, ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "NCHW",
) -> da.Array:  # fmt: skip
    sizes = (kernel_size, stride, padding, dilation, ceil_mode, count_include_pad)
    return average_backward(2, grad, x_shape, *sizes, layout)


@_document(_BACKWARD_DOC)
def avg_pool3d_backward(
    grad, x_shape: Sequence[int], kernel_size: Size, stride: Size | None = None, padding: Padding = 0, *,
    dilation: Size = 1, ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "NCHW",
) -> da.Array:  # fmt: skip
    sizes = (kernel_size, stride, padding, dilation, ceil_mode, count_include_pad)
    return average_backward(3, grad, x_shape, *sizes, layout)
