"""Blocks of one side of an operator, each a task that reads boxes of the other side; images of either layout."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import dask.array as da
import numpy as np

from .. import _options, _shapes
from ._graph import Layer, Span, sizes_of, spans


class Images(NamedTuple):
    """Where the axes of an image lie."""

    nd: int
    batched: bool
    channel_last: bool

    @classmethod
    def of(cls, nd: int, ndim: int, layout: str) -> Images:
        """Those of arrays of this layout; the number of axes is checked elsewhere."""
        return cls(nd, ndim == nd + 2, _options.channel_last(layout))

    def arranged(self, batch, channels, spatial: Sequence) -> tuple:
        """One entry for each axis."""
        return _shapes.image_shape(batch, channels, spatial, self.channel_last, self.batched)

    def split(self, entries: Sequence) -> tuple:
        """(batch, channels, spatial) of one entry for each axis; an image alone is a batch of None."""
        image = entries[-self.nd - 1 :]
        channels, spatial = (image[-1], image[:-1]) if self.channel_last else (image[0], image[1:])
        return entries[0] if self.batched else None, channels, tuple(spatial)

    @property
    def channel_axis(self) -> int:
        """Which axis the channels are."""
        return self.batched + (self.nd if self.channel_last else 0)

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        """Which axes the others but the batch are."""
        first = self.batched + (not self.channel_last)
        return tuple(range(first, first + self.nd))

    def cuts(self, array: da.Array) -> tuple[list[Span], list[Span], list[list[Span]]]:
        """Spans of the chunks: of batch, channels and the spatial axes."""
        batch, channels, spatial = self.split([spans(sizes) for sizes in array.chunks])
        return batch or [(0, 1)], channels, list(spatial)


class Blocks(NamedTuple):
    """The blocks of an array: spans along the batch, the channels and the spatial axes."""

    images: Images
    batch: list[Span]
    channels: list[Span]
    spatial: Sequence[list[Span]]

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """As Dask has them."""
        return self.images.arranged(sizes_of(self.batch), sizes_of(self.channels), [sizes_of(c) for c in self.spatial])

    def each(self) -> Iterator:
        """(index, span of the batch, of the channels, of the spatial axes) of every block."""
        counts = (range(len(self.batch)), range(len(self.channels)), *(range(len(axis)) for axis in self.spatial))
        for n, c, *at in itertools.product(*counts):
            here = [axis[i] for axis, i in zip(self.spatial, at, strict=True)]
            yield self.images.arranged(n, c, at), self.batch[n], self.channels[c], here


def fitted(image: np.ndarray, images: Images, offsets: Sequence[int], shape: tuple[int, ...]) -> np.ndarray:
    """The part of an image that begins at these places, of this shape: zeros where the image ends before."""
    *_, sizes = images.split(shape)
    part = image[
        images.arranged(slice(None), slice(None), [slice(o, o + s) for o, s in zip(offsets, sizes, strict=True)])
    ]
    if part.shape == shape:
        return part
    result = np.zeros(shape, image.dtype)
    result[tuple(map(slice, part.shape))] = part
    return result


def layer_of(blocks: Blocks, layer: Layer, function: Callable, sources, fixed=(), **options) -> Layer:
    """A task for each block; sources(block) gives (boxes, options of that block's own)."""
    for index, batch, channels, spatial in blocks.each():
        boxes, own = sources(batch, channels, spatial)
        layer.add(index, function, boxes, fixed, **own, **options)
    return layer
