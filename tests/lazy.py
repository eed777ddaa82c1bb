"""Dask arrays for tests: in random chunks, and such as fail, or end their worker, when they are computed."""

import os
import signal
from pathlib import Path

import dask.array as da
import numpy as np

import convkit.dask


def in_chunks(rng, array, whole=()) -> da.Array:
    """The array in random chunks, down to single elements; axes of `whole` stay in one."""
    chunks = []
    for axis, size in enumerate(array.shape):
        sizes, left = [], size
        while left > 0:
            sizes.append(left if axis in whole else int(min(left, rng.integers(1, size + 1))))
            left -= sizes[-1]
        chunks.append(tuple(sizes) or (0,))
    return da.from_array(array, chunks=tuple(chunks))


def _refuse(block_info=None):
    raise AssertionError(f"computed: {block_info[None]['chunk-location']}")


def not_computed(shape, chunks, dtype=np.float32) -> da.Array:
    """An array whose chunks cannot be computed."""
    return da.map_blocks(_refuse, dtype=dtype, chunks=da.core.normalize_chunks(chunks, shape), meta=np.empty(0, dtype))


def operator(name: str):
    """The function of this name on Dask arrays."""
    return getattr(convkit.dask, name)


def kills_once(chunk, flag, block_info=None):
    """The chunk, after its worker has died on the way to it the first time."""
    if block_info[0]["chunk-location"] == (2, 0, 1, 0) and not os.path.exists(flag):
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return chunk
