"""Training on several processes and machines, to the same bits on any number of them.

A batch is S shards, whoever computes them: `convkit.train.Trainer` with ``shards=S``. What they give is added up by one
binary tree over the shards' numbers, which does not depend on how many ranks there are: a rank takes a run of shards,
adds up the subtrees that lie inside the run, and the ranks then add up the rest, each of them one slice of it.

Ranks are processes that MPI has started, as ``mpiexec -n 4`` does; they talk through mpi4py, of the extra ``[mpi]``::

    comm = convkit.distributed.world()
    trainer = train.Trainer(model, optimizer, rng=0, shards=8, comm=comm)

Without a `comm` one process computes all shards, and needs no MPI.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from . import _extras, _threads
from ._shapes import at_least

__all__ = ["Ranks", "launched", "split", "world"]

Value = TypeVar("Value")
Node = tuple[int, int]  # of the tree: the sum of the shards from the first number to before the second

_RANK = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")  # MPICH and its kin, Slurm, Open MPI


def launched() -> bool:
    """Whether something that starts ranks (mpiexec, srun) has started this process.

    Examples
    --------
    >>> from convkit import distributed
    >>> distributed.launched()
    False
    """
    return any(name in os.environ for name in _RANK)


def world() -> Any:
    """Start MPI and return the communicator of all ranks; every rank calls it, before anything else.

    From here on an exception that nothing catches ends all ranks, once its traceback is printed: the others would wait
    for ever for the one that is gone. Of SystemExit, which `sys.exit` raises, that holds in `Trainer.fit` alone: Python
    tells nobody that a program ends by it. ``mpiexec -n 4 python -m mpi4py train.py`` sees that from outside, and ends
    all. Ranks that may run on the same cores divide them, where nothing else says how many threads there are to be.

    Returns
    -------
    mpi4py.MPI.Intracomm
        ``MPI.COMM_WORLD``.

    Raises
    ------
    ImportError
        If mpi4py, of the extra ``[mpi]``, is not installed.

    Examples
    --------
    ::

        comm = convkit.distributed.world()
        if comm.rank == 0:
            print(comm.size, "ranks of", convkit.get_num_threads(), "threads")
    """
    comm = _extras.need("mpi4py.MPI", "mpi").COMM_WORLD
    if comm.size > 1:
        if not hasattr(sys.excepthook, "ends_all"):
            sys.excepthook = _ending_all(sys.excepthook, comm)
        _divide_cores(comm)
    return comm


def _ending_all(hook: Callable[..., Any], comm: Any) -> Callable[..., None]:
    """A `sys.excepthook` that ends all ranks after what the one before does."""

    def ending(*about: Any) -> None:
        hook(*about)
        _abort(comm)

    vars(ending)["ends_all"] = True
    return ending


def _abort(comm: Any) -> None:
    """End all ranks with status 1."""
    print(f"convkit: rank {comm.rank} of {comm.size} failed, and ends all", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    comm.Abort(1)


def _divide_cores(comm: Any) -> None:
    """Take no more threads than this rank's part of the cores that it may run on."""
    chosen = _threads.source() not in ("affinity", "cgroup")
    machine = comm.Split_type(_extras.need("mpi4py.MPI", "mpi").COMM_TYPE_SHARED)
    mine = None if chosen else sorted(getattr(os, "sched_getaffinity", lambda process: ())(0))
    together = machine.allgather(mine).count(mine)
    machine.Free()
    if not chosen and together > 1:
        _threads.set_num_threads(max(1, _threads.get_num_threads() // together))


def split(samples: int, shards: int) -> list[slice]:
    """Cut samples into shards, in their order.

    Parameters
    ----------
    samples : int
        How many there are.
    shards : int
        How many parts there are to be.

    Returns
    -------
    list of slice
        Their sizes differ by one at most; of fewer samples than shards the last ones are empty.

    Raises
    ------
    TypeError
        If one is no int.
    ValueError
        If `samples` is negative, or `shards` not positive.

    Examples
    --------
    >>> from convkit import distributed
    >>> distributed.split(5, 3)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    samples, shards = at_least(samples, "samples", 0), at_least(shards, "shards")
    size, more = divmod(samples, shards)
    ends = [size * k + min(k, more) for k in range(shards + 1)]
    return [slice(begin, end) for begin, end in zip(ends, ends[1:], strict=False)]


class Ranks:
    """The ranks that share out the shards of every batch, and the tree that adds them up.

    Parameters
    ----------
    shards : int
        Shards of a batch, at least as many as there are ranks. Results depend on it, and not on the ranks.
    comm : mpi4py.MPI.Intracomm or None
        The communicator of the ranks, each of which makes its own `Ranks` of it. None: this process is the only one.

    Attributes
    ----------
    rank, size : int
        Number of this rank, and of ranks.
    mine : range
        The shards that this rank computes.

    Raises
    ------
    TypeError
        If `shards` is no int, or `comm` no communicator.
    ValueError
        If there are fewer shards than ranks.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import distributed
    >>> ranks = distributed.Ranks(5)
    >>> def leaf(shard, out, add):
    ...     out[0][:] = out[0] + 10**shard if add else 10**shard
    >>> total = np.empty(2)
    >>> ranks.sum([total], leaf)
    >>> total
    array([11111., 11111.])
    >>> ranks.fold("abcde", lambda a, b: f"({a}{b})")
    '(((ab)(cd))e)'
    """

    def __init__(self, shards: int, comm: Any = None) -> None:
        if comm is not None and not hasattr(comm, "Dup"):
            raise TypeError(f"comm must be an mpi4py communicator or None, got {type(comm).__name__}")
        self.rank, self.size = (0, 1) if comm is None else (comm.rank, comm.size)
        self.shards = at_least(shards, "shards")
        if shards < self.size:
            raise ValueError(f"shards must be at least the number of ranks, {self.size}, got {shards}")
        self._comm = None if self.size == 1 else comm.Dup()  # no message of ours meets one of the program's
        ends = [self.shards * k // self.size for k in range(self.size + 1)]
        self.mine = range(ends[self.rank], ends[self.rank + 1])
        runs = zip(ends, ends[1:], strict=False)
        self._nodes = [list(_inside((0, self.shards), begin, end)) for begin, end in runs]  # of each rank
        self._memory: dict[Any, np.ndarray] = {}

    # ---------------------------------------------------------------- sums

    def fold(self, values: Sequence[Value | None], add: Callable[[Value, Value], Value]) -> Value | None:
        """Add up one value for each shard, in the tree's order; None is left out."""

        def total(node: Node) -> Value | None:
            if node[1] - node[0] == 1:
                return values[node[0]]
            parts = [part for part in map(total, _halves(node)) if part is not None]
            return add(*parts) if len(parts) == 2 else parts[0] if parts else None

        return total((0, self.shards))

    def sum(self, out: Sequence[np.ndarray], leaf: Callable[[int, Sequence[np.ndarray], bool], None]) -> None:
        """Add up arrays over all shards; every rank calls it, and gets the same bits.

        Parameters
        ----------
        out : list of ndarray
            Of one axis, contiguous; of the same lengths and dtypes on all ranks. They get the sums.
        leaf : function
            Called as ``leaf(shard, out, add)`` for each shard of `mine` in turn: writes the shard's arrays to `out`,
            or, where `add` is true, adds them to what is there.
        """
        own = [out, *(self._scratch(("node", k), out) for k in range(1, len(self._nodes[self.rank])))]
        for node, arrays in zip(self._nodes[self.rank], own, strict=True):
            self._grow(node, arrays, leaf)
        if self._comm is not None:
            self._exchange(own)

    def _grow(self, node: Node, out: Sequence[np.ndarray], leaf: Callable[..., None], depth: int = 0) -> None:
        """Write the sum of a node whose shards are all this rank's; a shard on the right is added where it belongs."""
        if node[1] - node[0] == 1:
            leaf(node[0], out, False)
            return
        left, right = _halves(node)
        self._grow(left, out, leaf, depth)
        if right[1] - right[0] == 1:
            leaf(right[0], out, True)
            return
        other = self._scratch(("depth", depth), out)
        self._grow(right, other, leaf, depth + 1)
        for a, b in zip(out, other, strict=True):
            a += b

    def _exchange(self, own: Sequence[Sequence[np.ndarray]]) -> None:
        """Add up all ranks' nodes: each rank one slice of them, which it then hands to the others."""
        waiting, sums = [], []
        for i, out in enumerate(own[0]):
            ends = [len(out) * k // self.size for k in range(self.size + 1)]
            slices = [slice(begin, end) for begin, end in zip(ends, ends[1:], strict=False)]
            parts: dict[Node, np.ndarray] = {}
            for rank, nodes in enumerate(self._nodes):
                for k, node in enumerate(nodes):
                    if rank == self.rank:
                        parts[node] = own[k][i][slices[rank]]
                        others = (other for other in range(self.size) if other != rank)
                        waiting += [self._comm.Isend(own[k][i][slices[other]], other) for other in others]
                    else:
                        (parts[node],) = self._scratch((node, i), [out[slices[self.rank]]])
                        waiting.append(self._comm.Irecv(parts[node], rank))
            sums.append((out, slices, parts))
        _wait(waiting)
        for out, slices, parts in sums:
            mine = out[slices[self.rank]]
            total = _added((0, self.shards), parts)
            np.copyto(mine, total)
            for rank in range(self.size):
                if rank != self.rank:
                    waiting += [self._comm.Isend(mine, rank), self._comm.Irecv(out[slices[rank]], rank)]
        _wait(waiting)

    def _scratch(self, name: Any, like: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Arrays of those lengths and dtypes, the same ones at every step: fresh memory would be slow."""
        for i, array in enumerate(like):
            kept = self._memory.get((name, i))
            if kept is None or kept.shape != array.shape or kept.dtype != array.dtype:
                self._memory[name, i] = np.empty_like(array)
        return [self._memory[name, i] for i in range(len(like))]

    # ---------------------------------------------------------------- agreeing

    def gather(self, value: Value) -> list[Value]:
        """Return every rank's value, which pickle has to know, on every rank."""
        return [value] if self._comm is None else self._comm.allgather(value)

    def any(self, flag: bool) -> bool:
        """Whether a rank has the flag set: the same answer on all."""
        return any(self.gather(flag))

    def check_same(self, about: Mapping[str, Any]) -> None:
        """Raise unless all ranks say the same of themselves.

        Raises
        ------
        ValueError
            On all ranks; it names the first that differs from rank 0, and in what.
        """
        first, *others = self.gather(dict(about))
        for rank, other in enumerate(others, 1):
            for name, value in first.items():
                if other[name] != value:
                    raise ValueError(f"rank {rank} must have the {name} of rank 0, {value!r}, got {other[name]!r}")

    @contextmanager
    def ending_all(self) -> Iterator[None]:
        """What raises inside ends all ranks, its traceback printed: the others would wait for this one for ever."""
        try:
            yield
        except BaseException:
            if self._comm is None:
                raise
            traceback.print_exc()
            _abort(self._comm)


def _halves(node: Node) -> tuple[Node, Node]:
    """The two that a node is the sum of; the left one has a power of two shards."""
    begin, end = node
    middle = begin + (1 << ((end - begin - 1).bit_length() - 1))
    return (begin, middle), (middle, end)


def _inside(node: Node, begin: int, end: int) -> Iterator[Node]:
    """The largest nodes below one that lie inside a run of shards."""
    if begin <= node[0] and node[1] <= end:
        yield node
    elif begin < node[1] and node[0] < end:
        for half in _halves(node):
            yield from _inside(half, begin, end)


def _added(node: Node, parts: Mapping[Node, np.ndarray]) -> np.ndarray:
    """The sum of a node of which only nodes below are there; these are overwritten."""
    if node in parts:
        return parts[node]
    left, right = (_added(half, parts) for half in _halves(node))
    left += right
    return left


def _wait(requests: list[Any]) -> None:
    """Wait for messages that are on their way."""
    if requests:
        type(requests[0]).Waitall(requests)
    requests.clear()
