"""Layers of tasks that read boxes of other arrays, whatever the chunks of these; and what is taken for an array."""

from __future__ import annotations

import itertools
import math
import operator
import sys
import warnings
from bisect import bisect_right
from collections.abc import Callable, Sequence

import dask.array as da
import numpy as np
from dask import config
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.task_spec import DataNode, List, Task, TaskRef

from .._arrays import as_array, is_real, same_dtype
from .._stored import Stored
from .._threads import number_of_threads, threads

Span = tuple[int, int]


# ---------------------------------------------------------------- arrays


def lazy(value, name: str, first: da.Array | None = None, first_name: str = "") -> da.Array:
    """`value` as a Dask array of float32 or float64, of the dtype of `first`, whose chunk sizes are known."""
    if not isinstance(value, da.Array):
        if not hasattr(value, "chunks"):
            return da.from_array(as_array(value, name, first, first_name))
        value = da.from_array(Stored(value, name), getattr(value, "shards", None) or value.chunks)
    if not is_real(value.dtype):
        raise TypeError(f"{name} must be float32 or float64, got dtype {value.dtype}")
    if first is not None:
        same_dtype(value, name, first, first_name)
    return known(value.astype(value.dtype.newbyteorder("=")), name)


def known(value: da.Array, name: str) -> da.Array:
    """The same array without its empty chunks, once the sizes of all are known to be known."""
    if any(np.isnan(size) for sizes in value.chunks for size in sizes):
        raise ValueError(f"{name} must have chunks of known sizes, got {value.chunks}; compute_chunk_sizes finds them")
    return value.rechunk(tuple(tuple(filter(None, sizes)) or (0,) for sizes in value.chunks))


def whole(value, name: str, first: da.Array | None = None, first_name: str = "") -> da.Array:
    """`value`, such as a weight, as a Dask array of one chunk, which every task reads."""
    if not isinstance(value, da.Array):
        value = da.from_array(as_array(value, name), chunks=-1)
    return lazy(value, name, first, first_name).rechunk(-1)


def together(array: da.Array, axis: int, name: str) -> da.Array:
    """The array with one chunk along an axis, in chunks of no more bytes than it had."""
    if array.numblocks[axis] == 1:
        return array
    warn(
        f"{name} has its {array.shape[axis]} channels in {array.numblocks[axis]} chunks, and all are summed: it is "
        "rechunked; rechunk it yourself to choose the chunks"
    )
    chunks = {a: -1 if a == axis else "auto" for a in range(array.ndim)}
    return array.rechunk(chunks, block_size_limit=limit_of(array))


def warn(message: str) -> None:
    """A warning at the line that called convkit."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals["__name__"].startswith("convkit."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, da.PerformanceWarning, stacklevel=level)


def limit_of(array: da.Array) -> int:
    """Bytes of its largest chunk."""
    return array.dtype.itemsize * max(1, math.prod(max(sizes) for sizes in array.chunks))


# ---------------------------------------------------------------- layers


def spans(sizes: Sequence[int]) -> list[Span]:
    """(start, stop) of every chunk along an axis."""
    stops = list(itertools.accumulate(sizes))
    return list(zip([0, *stops], stops, strict=False))


def sizes_of(cuts: Sequence[Span]) -> tuple[int, ...]:
    """The inverse of `spans`."""
    return tuple(stop - start for start, stop in cuts)


def _overlapping(chunks: list[Span], wanted: Sequence[Span]) -> list[tuple[int, int, int]]:
    """(chunk, start, stop) in that chunk, one after the other, of the elements in the spans `wanted`."""
    found = []
    for start, stop in wanted:
        i = bisect_right(chunks, start, key=operator.itemgetter(1))
        while i < len(chunks) and chunks[i][0] < stop:
            first, last = chunks[i]
            if max(start, first) < min(stop, last):
                found.append((i, max(start, first) - first, min(stop, last) - first))
            i += 1
    return found or [(0, 0, 0)]


def _checked(array: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The array, if it has the shape that Dask was told: else elements would not be those that they are taken for."""
    if np.shape(array) != shape:
        raise ValueError(f"chunks of {name} must have the shapes that it says, here {shape}, got {np.shape(array)}")
    return array


def _cut(chunk: np.ndarray, shape: tuple[int, ...], where: tuple[slice, ...], name: str) -> np.ndarray:
    """A copy: a view would keep the whole chunk in memory."""
    return _checked(chunk, shape, name)[where].copy()


def _join(parts, about):
    """One array of lists of arrays, nested as deep as these have axes; no copy where there is only one."""
    if parts is None:
        return None
    first = parts
    while isinstance(first, list) and len(first) == 1:
        first = first[0]
    return _checked(np.block(parts) if isinstance(first, list) else first, *about)


def _run(function: Callable, count: int, boxes: list, about: list, fixed: list, options: dict):
    with threads(count):
        return function(*map(_join, boxes, about), *fixed, **options)


class Layer:
    """Tasks for the blocks of one array, each of which reads a box of every source.

    A box is read across the borders of chunks. What is cut from a chunk is a task of its own, so that not the chunk
    goes to another worker, but the part of it that is read there.
    """

    def __init__(self, label: str, *token):
        self.threads = number_of_threads(config.get("convkit.threads", 1), "convkit.threads")
        self.name = f"convkit-{label}-{tokenize(label, self.threads, *token)}"
        self.tasks: dict = {}
        self.sources: dict[str, da.Array] = {}
        self.chunks: dict[str, list[list[Span]]] = {}

    def _box(self, source: da.Array, wanted: Sequence) -> tuple[List, tuple[tuple[int, ...], str]]:
        """References to all that lies in a box: (start, stop), or several of them, along each axis; and its shape."""
        if source.name not in self.chunks:
            self.sources[source.name] = source
            self.chunks[source.name] = [spans(sizes) for sizes in source.chunks]
        chunks = self.chunks[source.name]
        axes = [
            _overlapping(axis, [span] if isinstance(span[0], int) else span)
            for axis, span in zip(chunks, wanted, strict=True)
        ]

        def nested(taken):
            if len(taken) < len(axes):
                return List(*(nested((*taken, part)) for part in axes[len(taken)]))
            index = tuple(part[0] for part in taken)
            sizes = sizes_of([axis[i] for axis, i in zip(chunks, index, strict=True)])
            if all(part[1:] == (0, size) for part, size in zip(taken, sizes, strict=True)):
                return TaskRef((source.name, *index))
            key = (f"{self.name}-cut", source.name, *itertools.chain(*taken))
            where = tuple(slice(start, stop) for _, start, stop in taken)
            self.tasks[key] = Task(key, _cut, TaskRef((source.name, *index)), sizes, where, source.name)
            return TaskRef(key)

        shape = tuple(sum(stop - start for _, start, stop in parts) for parts in axes)
        return nested(()), (shape, source.name)

    def add(self, index: Sequence[int], function: Callable, boxes: Sequence, fixed: Sequence, **options) -> None:
        """The task for one block: function(*arrays of the boxes, *fixed, **options).

        `boxes` are pairs of an array and spans, or None; `fixed` are arrays of one chunk, what `shared` gave, or None.
        """
        read, about = zip(*((None, None) if box is None else self._box(*box) for box in boxes), strict=True)
        refs = List(*(self._whole(array) if isinstance(array, da.Array) else array for array in fixed))
        key = (self.name, *index)
        self.tasks[key] = Task(key, _run, function, self.threads, List(*read), list(about), refs, options)

    def shared(self, value) -> TaskRef:
        """A value for all tasks, which each worker gets once."""
        key = f"{self.name}-shared"
        self.tasks[key] = DataNode(key, value)
        return TaskRef(key)

    def _whole(self, array: da.Array) -> TaskRef:
        """The one chunk of an array."""
        self.sources[array.name] = array
        return TaskRef((array.name, *[0] * array.ndim))

    def array(self, chunks: tuple[tuple[int, ...], ...], dtype) -> da.Array:
        """The array of all blocks."""
        graph = HighLevelGraph.from_collections(self.name, self.tasks, list(self.sources.values()))
        return da.Array(graph, self.name, chunks, np.dtype(dtype).newbyteorder("="))

    def results(self, chunks: Sequence[tuple], dtypes: Sequence, several: bool) -> da.Array | tuple[da.Array, ...]:
        """The array, or as many as the function returns; a task's index is theirs, filled up with zeros."""
        if not several:
            return self.array(chunks[0], dtypes[0])
        whole, width, arrays = self.array(chunks[0], dtypes[0]).dask, max(map(len, chunks)), []
        for number, (sizes, dtype) in enumerate(zip(chunks, dtypes, strict=True)):
            name, tasks = f"{self.name}-{number}", {}
            for index in itertools.product(*(range(len(axis)) for axis in sizes)):
                made = TaskRef((self.name, *index, *[0] * (width - len(index))))
                tasks[name, *index] = Task((name, *index), operator.getitem, made, number)
            graph = HighLevelGraph(whole.layers | {name: tasks}, whole.dependencies | {name: {self.name}})
            arrays.append(da.Array(graph, name, sizes, np.dtype(dtype).newbyteorder("=")))
        return tuple(arrays)


def total(parts: Layer, count: int, shape: tuple[int, ...], dtype) -> da.Array:
    """The sum of `count` blocks of this shape and a leading axis of 1, in float64, by a tree that `count` settles."""
    if not count:
        return da.zeros(shape, dtype)
    stacked = parts.array(((1,) * count, *((size,) for size in shape)), dtype)
    return stacked.sum(axis=0, dtype=np.float64, split_every=8).astype(dtype)
