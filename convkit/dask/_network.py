"""A network, or any other function of a batch of images, over an array of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import dask.array as da
import numpy as np
from dask.base import tokenize

from .._arrays import is_real
from ._graph import Layer, lazy, limit_of, spans


def network(net: Callable, x) -> da.Array:
    """
    Apply a function of a batch of images, such as a network, to an array of images.

    Parameters
    ----------
    net : callable
        Takes an array (n, ...) of images and returns an array (n, ...) of results, whatever n is: a model made ready by
        `prepare`, for example, or its `predict`. It is sent to each worker once, and called in several threads at a
        time where the worker has several. It is called once here, with one image of zeros, for the shape and dtype of
        its result.
    x : Dask or zarr array, (N, ...)
        Images, float32 or float64. A task takes those of one chunk, so chunks along the first axis bound its memory;
        images that are themselves in several chunks are rechunked, with a `dask.array.PerformanceWarning`.

    Returns
    -------
    dask.array.Array, (N, ...)
        What `net` returns for each image, in the chunks of the images.

    Raises
    ------
    TypeError
        If `net` cannot be called, x is not an array of float32 or float64, or the result is not an array.
    ValueError
        If `net` does not return one result for one image, or x has no axis for images.

    Examples
    --------
    >>> import convkit.dask, dask.array as da
    >>> model = convkit.nn.Sequential(convkit.nn.Conv2d(3, 8, 3), convkit.nn.ReLU())
    >>> images = da.zeros((20_000, 3, 32, 32), dtype="float32", chunks=(64, -1, -1, -1))
    >>> convkit.dask.network(model.prepare(), images).shape
    (20000, 8, 30, 30)
    """
    if not callable(net):
        raise TypeError(f"net must be a function of a batch of images, got {type(net).__name__}")
    x = lazy(x, "x")
    if x.ndim < 2:
        raise ValueError(f"x must have shape (N, ...), got shape {x.shape}")
    if any(count > 1 for count in x.numblocks[1:]):
        warnings.warn(
            f"x has its images in chunks, {x.chunks[1:]}, and a network takes whole ones: it is rechunked",
            da.PerformanceWarning,
            stacklevel=2,
        )
        x = x.rechunk({0: "auto"} | dict.fromkeys(range(1, x.ndim), -1), block_size_limit=limit_of(x))
    probe = net(np.zeros((1, *x.shape[1:]), x.dtype))
    if not isinstance(probe, np.ndarray) or not is_real(probe.dtype):
        raise TypeError(f"net must return an array of float32 or float64, got {type(probe).__name__}")
    if probe.shape[:1] != (1,):
        raise ValueError(f"net must return one result for one image, got shape {probe.shape}")
    layer = Layer("network", x.name, tokenize(net))
    shared = layer.shared(net)
    for number, span in enumerate(spans(x.chunks[0])):
        images = (x, [span, *((0, size) for size in x.shape[1:])])
        layer.add((number, *[0] * (probe.ndim - 1)), _apply, [images], [shared], shape=probe.shape[1:])
    return layer.array((x.chunks[0], *((size,) for size in probe.shape[1:])), probe.dtype)


def _apply(images: np.ndarray, net: Callable, *, shape: tuple[int, ...]) -> np.ndarray:
    y = net(images)
    if y.shape != (len(images), *shape):
        raise ValueError(f"net must return shape {(len(images), *shape)} for {len(images)} images, got {y.shape}")
    return y
