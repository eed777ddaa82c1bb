"""interpolate and its gradient, block by block: the engine is told of which image a block is a part."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import dask.array as da
import numpy as np

from .. import _options, _resample_shapes, _shapes
from .._arrays import as_array, empty
from .._ext import engine
from .._threads import current
from .._typing import Size
from ..ops._shared import check_shape
from ..ops.resize import coordinates, size_of
from ._axes import cuts_at
from ._graph import Layer, Span, lazy, sizes_of
from ._sides import Blocks, Images, fitted, layer_of

_AROUND = ((0, 0), (0, 1), (1, 2))  # elements before and after floor(coordinate) that a sampling reads


class Axis(NamedTuple):
    """Output i reads around (i + before) * times / over - after, formed as the engine forms it."""

    in_: int
    out: int
    sampling: int
    antialias: bool
    times: float
    over: float
    before: float
    after: float

    def _first(self, output: int) -> int:
        return self._edge(output, 0)

    def _last(self, output: int) -> int:
        return self._edge(output, 1)

    def _edge(self, output: int, side: int) -> int:
        times, over, whole = float(self.times), float(self.over), 0
        if not self.antialias and 2.0**53 >= over >= times >= 1 and over % times == 0:
            whole, output = divmod(output, int(over / times))
            times, over = 1.0, over / times
        at = whole + math.floor((output + self.before) * times / over - self.after)
        beyond = _AROUND[self.sampling][side]
        if self.antialias:
            beyond = math.ceil(self.sampling * max(self.times / self.over, 1.0))
        offset = beyond if side else -beyond
        return min(max(min(at, self.in_ - 1) + offset, 0), self.in_ - 1)

    def read(self, first: int, end: int) -> Span:
        """The elements that the outputs first..end-1 read."""
        return self._first(first), self._last(end - 1) + 1

    def touching(self, start: int, stop: int) -> Span:
        """The outputs that read the elements start..stop-1, or one beside them."""
        outputs = range(self.out)
        first = bisect_left(outputs, start, key=self._last)
        end = bisect_left(outputs, stop, key=self._first)
        first = min(first, self.out - 1)
        return first, max(end, first + 1)

    def out_cuts(self, cuts: list[Span]) -> list[Span]:
        """Blocks of outputs that go with these of the input."""
        outputs = range(self.out)
        return cuts_at([bisect_left(outputs, start, key=self._first) for start, _ in cuts], self.out)

    def in_cuts(self, cuts: list[Span]) -> list[Span]:
        """Blocks of the input that go with these of the output."""
        return cuts_at([self._first(start) for start, _ in cuts], self.in_)


class Call(NamedTuple):
    """One interpolation without its arrays."""

    images: Images
    axes: list[Axis]
    y_shape: tuple[int, ...]
    coordinates: tuple


def _call_of(x_shape, size, scale_factor, mode, align_corners, antialias, layout) -> Call:
    align_corners, antialias = _options.flag(align_corners, "align_corners"), _options.flag(antialias, "antialias")
    mode = _options.interpolation(mode)
    if mode == "area":
        raise ValueError("mode must be one that can be done in parts of images, got 'area': map_blocks is to apply it")
    shape = _resample_shapes.resized(x_shape, size, scale_factor, _options.channel_last(layout))
    nd = len(shape.in_)
    _options.interpolation_for(nd, mode, align_corners, antialias)
    images = Images.of(nd, nd + 2, layout)
    sampling, _, times, over, before, after = where = coordinates(shape, mode, align_corners, antialias)
    sizes = zip(shape.in_, shape.out, times, over, strict=True)
    axes = [Axis(in_, out, sampling, antialias, t, o, before, after) for in_, out, t, o in sizes]
    return Call(images, axes, images.arranged(shape.n, shape.channels, shape.out), where)


def _part(source: np.ndarray, *, images, coordinates, whole, first, x_shape, y_shape, backward) -> np.ndarray:
    """y of a part of x, or the gradient of a part of x from a part of y."""
    source = as_array(source, "x")
    n, channels, in_ = images.split(x_shape)
    geometry = engine.ResizeGeometry(n, channels, in_, images.split(y_shape)[2], *coordinates, whole, first)
    result = empty(x_shape if backward else y_shape, source.dtype)
    x, y = (result, source) if backward else (source, result)
    engine.resize(geometry, x, y, backward, images.channel_last, current())
    return result


def _gradient(grad, *, images, offsets, shape, **options) -> np.ndarray:
    return fitted(_part(grad, images=images, backward=True, **options), images, offsets, shape)


def _of_block(call: Call, batch: Span, channels: Span, inputs: list[Span], outputs: list[Span]) -> dict:
    n, c = batch[1] - batch[0], channels[1] - channels[0]
    return {
        "first": (tuple(start for start, _ in inputs), tuple(start for start, _ in outputs)),
        "x_shape": call.images.arranged(n, c, sizes_of(inputs)),
        "y_shape": call.images.arranged(n, c, sizes_of(outputs)),
    }


def _whole(call: Call) -> dict:
    whole = tuple(axis.in_ for axis in call.axes), tuple(axis.out for axis in call.axes)
    return {"images": call.images, "coordinates": call.coordinates, "whole": whole}


def interpolate(
    x, size: Size | None = None, scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
    align_corners: bool = False, *, antialias: bool = False, layout: str = "NCHW",
) -> da.Array:  # fmt: skip
    """
    `convkit.interpolate` of a Dask array, block by block.

    Parameters
    ----------
    x : Dask or zarr array, (N, C, *spatial)
        Input, float32 or float64, in any chunks, of channels too.
    size, scale_factor, mode, align_corners, antialias, layout
        As in `convkit.interpolate`; "area" has no parts.

    Returns
    -------
    dask.array.Array, (N, C, *out)
        Its blocks go with the chunks of x: each is larger or smaller by the ratio of the sizes.

    Raises
    ------
    TypeError, ValueError, OverflowError
        As `convkit.interpolate`, at the call; ValueError too if chunk sizes are not known.

    Notes
    -----
    A task is told of which image its block is a part, so that places and weights have the bits that they have there.

    Examples
    --------
    >>> import convkit.dask, dask.array as da
    >>> x = da.ones((1, 3, 100, 100), dtype="float32", chunks=(1, 1, 50, 50))
    >>> convkit.dask.interpolate(x, (150, 150), mode="bilinear").chunks[-1]
    (76, 74)
    """
    x = lazy(x, "x")
    call = _call_of(x.shape, size, scale_factor, mode, align_corners, antialias, layout)
    batch, channels, spatial = call.images.cuts(x)
    cuts = [axis.out_cuts(spans) for axis, spans in zip(call.axes, spatial, strict=True)]
    blocks = Blocks(call.images, batch, channels, cuts)

    def sources(batch, channels, outputs):
        inputs = [axis.read(*span) for axis, span in zip(call.axes, outputs, strict=True)]
        return [(x, call.images.arranged(batch, channels, inputs))], _of_block(call, batch, channels, inputs, outputs)

    layer = layer_of(blocks, Layer("interpolate", x.name, call), _part, sources, backward=False, **_whole(call))
    return layer.array(blocks.chunks, x.dtype)


def interpolate_backward(
    grad, x_shape: Sequence[int], scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
    align_corners: bool = False, *, antialias: bool = False, layout: str = "NCHW",
) -> da.Array:  # fmt: skip
    """
    Gradient of `convkit.dask.interpolate` with respect to its input: its adjoint.

    Parameters
    ----------
    grad : Dask or zarr array, (N, C, *out)
        Gradient of the loss with respect to the output, in any chunks.
    x_shape, scale_factor, mode, align_corners, antialias, layout
        As in `convkit.interpolate_backward`.

    Returns
    -------
    dask.array.Array, x_shape
        Its blocks go with the chunks of grad.

    Raises
    ------
    TypeError, ValueError, OverflowError
        As `convkit.interpolate_backward`, at the call; ValueError too if chunk sizes are not known.

    Examples
    --------
    >>> import convkit.dask, dask.array as da
    >>> grad = da.ones((1, 3, 200, 200), dtype="float32", chunks=(1, 1, 100, 100))
    >>> convkit.dask.interpolate_backward(grad, (1, 3, 100, 100)).chunks[-1]
    (50, 50)
    """
    grad, x_shape = lazy(grad, "grad"), _shapes.x_shape(x_shape)
    size = size_of(grad.shape, x_shape, scale_factor, layout)
    call = _call_of(x_shape, size, scale_factor, mode, align_corners, antialias, layout)
    check_shape(grad, "grad", call.y_shape, "that of the output")
    batch, channels, spatial = call.images.cuts(grad)
    cuts = [axis.in_cuts(spans) for axis, spans in zip(call.axes, spatial, strict=True)]
    blocks = Blocks(call.images, batch, channels, cuts)

    def sources(batch, channels, spatial):
        outputs = [axis.touching(*span) for axis, span in zip(call.axes, spatial, strict=True)]
        reads = [axis.read(*span) for axis, span in zip(call.axes, outputs, strict=True)]
        inputs = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(reads, spatial, strict=True)]
        own = _of_block(call, batch, channels, inputs, outputs)
        own["shape"] = call.images.arranged(batch[1] - batch[0], channels[1] - channels[0], sizes_of(spatial))
        own["offsets"] = [here[0] - hull[0] for here, hull in zip(spatial, inputs, strict=True)]
        return [(grad, call.images.arranged(batch, channels, outputs))], own

    layer = layer_of(blocks, Layer("interpolate-grad-x", grad.name, call), _gradient, sources, **_whole(call))
    return layer.array(blocks.chunks, grad.dtype)
