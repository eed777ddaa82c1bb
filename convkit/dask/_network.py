"""A network, or any other function of a batch of images, over an array of them; a network over images in pieces."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import dask.array as da
import numpy as np
from dask.base import tokenize

from ..graph.network import Network, Tiles
from ..graph.tiled import Range
from ._graph import Layer, lazy, limit_of, sizes_of, spans, together, warn


def network(net: Callable, x) -> da.Array | tuple[da.Array, ...]:
    """
    Apply a function of a batch of images, such as a network, to an array of images, or a network to large ones.

    Parameters
    ----------
    net : callable
        Takes an array (n, ...) of images and returns an array (n, ...) of results, or several, whatever n is: a model
        made ready by `prepare`, for example, or its `predict`. It is sent to each worker once, and called in several
        threads at a time where the worker has several.
    x : Dask or zarr array, (N, ...)
        Images, float32 or float64. Where their height, width or depth is in chunks, what `prepare` returns is run block
        by block: a task reads a block and as much of its neighbours as its outputs see. For any other function, images
        in several chunks are rechunked, with a `dask.array.PerformanceWarning`.

    Returns
    -------
    dask.array.Array, (N, ...), or tuple of them
        What `net` returns for each image: in the chunks of the images or, for a network run block by block, in chunks
        that begin where those of x do, moved by the strides.

    Raises
    ------
    TypeError
        If `net` cannot be called, x is not an array of float32 or float64, or the result is not an array.
    ValueError
        If `net` does not return one result for one image, or x has no axis for images; if images are in chunks and the
        network has operators that read all of one, whose names the message has.

    Notes
    -----
    Blocks are those of `Network.tiled`: results have the bits of whole images where the model's convolutions have
    ``algorithm="implicit_gemm"``, and are equal to rounding where others' sums depend on the place. A function that
    takes whole images is called once here, with one of zeros, for the shapes and dtypes of its results.

    Examples
    --------
    >>> import convkit.dask, dask.array as da
    >>> model = convkit.nn.Sequential(convkit.nn.Conv2d(3, 8, 3), convkit.nn.ReLU())
    >>> images = da.zeros((20_000, 3, 32, 32), dtype="float32", chunks=(64, -1, -1, -1))
    >>> convkit.dask.network(model.prepare(), images).shape
    (20000, 8, 30, 30)
    >>> image = da.zeros((1, 3, 60_000, 60_000), dtype="float32", chunks=(1, 3, 2000, 2000))
    >>> convkit.dask.network(model.prepare(), image).chunks[-1][-2:]
    (2000, 1998)
    """
    if not callable(net):
        raise TypeError(f"net must be a function of a batch of images, got {type(net).__name__}")
    x = lazy(x, "x")
    if x.ndim < 2:
        raise ValueError(f"x must have shape (N, ...), got shape {x.shape}")
    if isinstance(net, Network) and x.size and any(count > 1 for count in x.numblocks[2:]):
        return _by_blocks(net, together(x, 1, "x"))
    if any(count > 1 for count in x.numblocks[1:]):
        warn(f"x has its images in chunks, {x.chunks[1:]}, and {type(net).__name__} takes whole ones: it is rechunked")
        x = x.rechunk({0: "auto"} | dict.fromkeys(range(1, x.ndim), -1), block_size_limit=limit_of(x))
    probe = net(np.zeros((1, *x.shape[1:]), x.dtype))
    several = isinstance(probe, tuple | list)
    probes = [_checked(array) for array in (probe if several else [probe])]
    if not probes:
        raise ValueError("net must return an array, or several, got none")
    shapes = [array.shape[1:] for array in probes]
    layer = Layer("network", x.name, tokenize(net))
    shared, width = layer.shared(net), max(map(len, shapes))
    for number, span in enumerate(spans(x.chunks[0])):
        images = (x, [span, *((0, size) for size in x.shape[1:])])
        layer.add((number, *[0] * width), _of_images, [images], [shared], shapes=shapes if several else shapes[0])
    chunks = [(x.chunks[0], *((size,) for size in shape)) for shape in shapes]
    return layer.results(chunks, [array.dtype for array in probes], several)


def _checked(array) -> np.ndarray:
    """What `net` made of one image."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"net must return an array, got {type(array).__name__}")
    if array.shape[:1] != (1,):
        raise ValueError(f"net must return one result for one image, got shape {array.shape}")
    return array


def _of_images(images: np.ndarray, net: Callable, *, shapes):
    results = net(images)
    several = isinstance(shapes, list)
    for y, shape in zip(results if several else [results], shapes if several else [shapes], strict=True):
        if y.shape != (len(images), *shape):
            raise ValueError(f"net must return shape {(len(images), *shape)} for {len(images)} images, got {y.shape}")
    return results


def _by_blocks(net: Network, x: da.Array) -> da.Array | tuple[da.Array, ...]:
    """A network over images of which a task has a part."""
    try:
        tiles = Tiles.of(net, x.shape, x.dtype)
    except ValueError as error:
        error.add_note(f"x has its images in chunks, {x.chunks[1:]}; of whole images a network may read everything")
        raise
    tiling, several = tiles.tiling, net.graph.several
    cuts = [tiling.cuts(axis, [start for start, _ in spans(sizes)]) for axis, sizes in enumerate(x.chunks[2:])]
    firsts = [axis[0] for axis in cuts]
    reads = [
        [tiling.part([*zip(*firsts[:axis], block, *firsts[axis + 1 :], strict=True)]).reads[axis] for block in blocks]
        for axis, blocks in enumerate(cuts)
    ]
    layer = Layer("network", x.name, tokenize(net))
    shared = layer.shared(tiles)
    for n, span in enumerate(spans(x.chunks[0])):
        for at in itertools.product(*(range(len(axis)) for axis in cuts)):
            block = [*zip(*(axis[i] for axis, i in zip(cuts, at, strict=True)), strict=True)]
            box = [span, (0, x.shape[1]), *(axis[i] for axis, i in zip(reads, at, strict=True))]
            layer.add((n, 0, *at), _of_block, [(x, box)], [shared], block=block, several=several)
    chunks = []
    for number, info in enumerate(tiling.outs):
        spatial = (sizes_of([block[number] for block in axis]) for axis in cuts)
        chunks.append((x.chunks[0], (info.shape[1],), *spatial))
    return layer.results(chunks, [info.dtype for info in tiling.outs], several)


def _of_block(images: np.ndarray, tiles: Tiles, *, block: list[tuple[Range, ...]], several: bool):
    results = tiles.run(tiles.tiling.part(block), images)
    return results if several else results[0]
