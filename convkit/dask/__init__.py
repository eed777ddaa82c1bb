"""Operators on Dask arrays, block by block: for what does not fit the memory of one process, or of one machine.

The functions are those of `convkit`, on arrays that are computed later, by whatever runs Dask: threads, processes or a
cluster. Besides Dask arrays they take zarr's, in the chunks that these are stored in. Nothing is loaded when a function
is called, and no task holds more than its block, what the block reads beyond its border, and the weights.

Chunks are taken as they come, also where a kernel reaches over several of them: a task reads what it needs from each.
Only an image whose channels are in several chunks is rechunked, by those operators that sum over channels, with a
`dask.array.PerformanceWarning`. Each block of the result begins where a chunk of x does, moved by the stride.

Results equal those of `convkit` to the bit with ``algorithm="implicit_gemm"``, the default here, for any chunks and any
number of workers; so do gradients of x. Gradients of weight and bias are sums over blocks, formed in float64 by a tree
that the chunks settle: the same bits in every run, and within the bound of `convkit.reference`.

A task computes on one thread, since Dask runs as many as there are cores; ``dask.config.set({"convkit.threads": 4})``
gives the tasks of the arrays made under it four.

===========  ===============================================================================================
convolution  `conv1d`, `conv2d`, `conv3d`, `conv_transpose1d`, `conv_transpose2d`, `conv_transpose3d`
pooling      `max_pool1d`, `max_pool2d`, `max_pool3d`, `avg_pool1d`, `avg_pool2d`, `avg_pool3d`
resizing     `interpolate`
networks     `network`: one over large images, or any function of a batch of images
storage      `to_zarr`: a result that is there whole or not at all
===========  ===============================================================================================

Each operator has its gradient, ``op_backward``.
"""

from . import _needed as _needed
from ._conv import (
    conv1d,
    conv1d_backward,
    conv2d,
    conv2d_backward,
    conv3d,
    conv3d_backward,
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
    conv_transpose3d,
    conv_transpose3d_backward,
)
from ._network import network
from ._pool import (
    avg_pool1d,
    avg_pool1d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    avg_pool3d,
    avg_pool3d_backward,
    max_pool1d,
    max_pool1d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool3d,
    max_pool3d_backward,
)
from ._resize import interpolate, interpolate_backward
from ._store import to_zarr

__all__ = [
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "avg_pool3d",
    "avg_pool3d_backward",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv3d",
    "conv3d_backward",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "conv_transpose3d",
    "conv_transpose3d_backward",
    "interpolate",
    "interpolate_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool3d",
    "max_pool3d_backward",
    "network",
    "to_zarr",
]

_OTHERWISE = {
    "adaptive": "its windows follow from the size of the plane, so that map_blocks is to apply it to whole ones",
    "max_unpool": "an index may lie anywhere in the plane, so that map_blocks is to apply it to whole ones",
    "grid_sample": "a place may lie anywhere in the image, so that map_blocks is to apply it to whole ones",
    "deform": "an offset may lead anywhere in the image, so that map_blocks is to apply it to whole ones",
}


def __getattr__(name: str):
    why = next((text for start, text in _OTHERWISE.items() if name.startswith(start)), "")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}" + (f": {why}" if why else ""))
