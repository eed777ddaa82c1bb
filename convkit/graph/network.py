"""Networks: graphs that are ready to run."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakSet

import numpy as np

from .._arrays import as_array, as_out, empty, in_order, is_real, native
from .._ext import engine
from .._options import of_kind
from .._shapes import per_axis, x_shape
from .._stored import Stored
from .._threads import current
from .._words import counted
from .explain import NetworkReport, measured, report
from .ir import Graph, at
from .parts import in_parts
from .passes import allocated, optimise
from .plan import Plan, Sized, refused
from .table import OPS, Info, Undetermined, results_of
from .tiled import Part, Range, Tiling
from .trace import misfit

_PLANS = 8  # that are kept
_TILE_PLANS = 64  # corners, edges and insides, of several sizes


Made = TypeVar("Made")


class _Slot(Generic[Made]):
    """What is made for one key, or will be."""

    def __init__(self) -> None:
        self.lock, self.ready = threading.Lock(), False
        self.made: Made


class _Latest(Generic[Made]):
    """What was made for the latest keys, up to so many of them."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._slots: OrderedDict[Hashable, _Slot[Made]] = OrderedDict()
        _ALL.add(self)

    def begin_anew(self) -> None:
        """Without the locks of threads that are not there, nor what they were making."""
        self._lock = threading.Lock()
        for key in [key for key, slot in self._slots.items() if not slot.ready]:
            del self._slots[key]

    def __len__(self) -> int:
        return len(self._slots)

    def of(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made for this key; else one thread makes it, on which only those wait that want the same."""
        with self._lock:
            slot = self._slots.get(key)
            if slot is None:
                slot = self._slots[key] = _Slot()
            else:
                self._slots.move_to_end(key)
        if not slot.ready:
            with slot.lock:
                if not slot.ready:
                    try:
                        slot.made = make()
                        slot.ready = True
                    finally:
                        self._tidy(key, slot)
        return slot.made

    def _tidy(self, key: Hashable, slot: _Slot[Made]) -> None:
        """What could not be made takes no room, and what was made that of the oldest."""
        with self._lock:
            if not slot.ready and self._slots.get(key) is slot:
                del self._slots[key]
            while len(self._slots) > self._most:
                self._slots.popitem(last=False)

    def key(self) -> Any:
        """The latest key, None before the first."""
        with self._lock:
            return next(reversed(self._slots), None)


_ALL: WeakSet[_Latest[Any]] = WeakSet()


def _after_fork() -> None:
    for latest in _ALL:
        latest.begin_anew()


os.register_at_fork(after_in_child=_after_fork)


class Network:
    """A graph that is ready to run: fused, its weights laid out once, its memory known in advance.

    Parameters
    ----------
    graph : Graph or None
        Optimised here, in place. None: made at the first call, by `source`.
    source : object, optional
        What the graph was made of: ``source.check()``, called before every run, raises if that has changed since, and
        ``source.trace(shapes, dtype)`` is the graph for other shapes, where it is good for those of its trace alone;
        ``source.dtype`` is what inputs should have.
    max_bytes : int, optional
        A plan whose values take more in all is refused with a MemoryError.

    Notes
    -----
    For each combination of input shapes a plan is made at the first call; the latest eight are kept. Weights are read
    where they lie, or laid out once for all plans. Several threads may call a network at a time: each call in flight
    has memory of its own, and all get the bits that one alone gets.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, rng=0), nn.BatchNorm2d(8), nn.ReLU())
    >>> network = model.prepare((1, 3, 8, 8))
    >>> network, network(np.ones((2, 3, 8, 8), np.float32)).shape
    (Network(input -> output; 1 node), (2, 8, 6, 6))
    """

    def __init__(self, graph: Graph | None, source: Any = None, max_bytes: int | None = None) -> None:
        self._graph = None if graph is None else optimise(graph, max_bytes)
        self._source, self._max_bytes = source, max_bytes
        self._first: _Latest[Graph] = _Latest(1)  # of the first calls, which may be several threads'
        self._graphs: _Latest[Graph] = _Latest(_PLANS)
        self._plans: _Latest[tuple[Plan, list[np.ndarray]] | None] = _Latest(_PLANS)
        self._panels: dict[Hashable, engine.Panels] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """A planned network travels without the model: what the model becomes does not concern the copy."""
        return Network, (self._graph, self._source if self._graph is None else None, self._max_bytes)

    @property
    def graph(self) -> Graph:
        """What the network computes."""
        if self._graph is None:
            raise RuntimeError("the network has no graph before its first call; prepare(input_shape) makes one at once")
        return self._graph

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs, in the order of a call."""
        return ["input"] if self._graph is None else [value.name for value in self._graph.inputs]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs."""
        return self.graph.output_names

    def __repr__(self) -> str:
        if self._graph is None:
            return "Network(not planned yet)"
        nodes = counted(len(self.graph.nodes), "node")
        return f"Network({', '.join(self.inputs)} -> {', '.join(self.outputs)}; {nodes})"

    @np.errstate(all="ignore")  # as the engine: what is not finite says so itself
    def __call__(self, /, *inputs: Any, **named: Any) -> Any:
        """Run the network.

        Parameters
        ----------
        *inputs : ndarray
            One for each of `inputs`, or all by name.

        Returns
        -------
        ndarray
            Or a tuple of them, if the network has several outputs. Fresh arrays.
        """
        if self._source is not None:
            self._source.check()
        if self._graph is None:
            self._begin(inputs, named)
        arrays = self._taken(inputs, named)
        found = self._planned(arrays)
        results = self._interpreted(arrays) if found is None else self._run(*found, arrays)
        return tuple(results) if self.graph.several else results[0]

    def _begin(self, inputs: Sequence[Any], named: dict[str, Any]) -> None:
        """Make the graph, of what the first call brings."""
        arrays = [as_array(array, name) for name, array in self._bound(inputs, named).items()]
        shapes, dtype = [array.shape for array in arrays], arrays[0].dtype
        self._graph = self._first.of(None, lambda: optimise(self._source.trace(shapes, dtype)))

    def _taken(self, inputs: Sequence[Any], named: dict[str, Any]) -> list[np.ndarray]:
        given, declared = self._bound(inputs, named), self.graph.declared
        return [_input(given[value.name], value, declared.get(value.name)) for value in self.graph.inputs]

    def _bound(self, inputs: Sequence[Any], named: dict[str, Any]) -> dict[str, Any]:
        """What was given for each input, in their order."""
        names = self.inputs
        if len(inputs) > len(names):
            raise TypeError(f"the network takes {counted(len(names), 'input')}, {', '.join(names)}; got {len(inputs)}")
        given = dict(zip(names, inputs, strict=False))
        unknown = [name for name in named if name not in names]
        missing = [name for name in names if name not in given and name not in named]
        if unknown or missing or given.keys() & named.keys():
            raise TypeError(f"the network takes {', '.join(names)}; got {', '.join([*given, *named]) or 'nothing'}")
        given |= named
        return {name: given[name] for name in names}

    def explain(self, *inputs: Any, measure: bool = True, **named: Any) -> NetworkReport:
        """Say what the network does for such inputs, node by node, and how long it takes.

        Parameters
        ----------
        *inputs, **named : ndarray or tuple of int
            As in a call, or their shapes, for normal deviates; by default those of the trace, or of the latest call.
        measure : bool, default True
            Whether to run it, and to measure the machine's peak before, between and after: about two seconds.

        Returns
        -------
        NetworkReport

        Raises
        ------
        ValueError
            If shapes follow from numbers, so that there is no plan.

        Examples
        --------
        >>> from convkit import models
        >>> network = models.lenet5(rng=0).prepare((1, 1, 32, 32))
        >>> [node.op for node in network.explain(measure=False).nodes][:2]
        ['Conv+Tanh', 'AveragePool']
        """
        bound = self._bound(inputs if inputs or named else self._latest_shapes(), named)
        rng = np.random.default_rng(0)
        for (name, x), dtype in zip(bound.items(), self._dtypes(), strict=True):
            if isinstance(x, tuple):
                bound[name] = rng.standard_normal(x_shape(x, name)).astype(dtype)
        if self._graph is None:
            self._begin((), bound)
        arrays = self._taken((), bound)
        found = self._planned(arrays)
        if found is None:
            raise ValueError("the network has no plan: shapes follow from numbers that are not known before it runs")
        if not measure:
            return report(found[0])
        return report(found[0], *measured(found[0], arrays, lambda arrays, each: self._run(*found, arrays, each)))

    def known(self, *shapes: tuple[int, ...]) -> Sized:
        """The graph for inputs of these shapes. Nothing is laid out, and no memory taken."""
        arrays = [np.broadcast_to(np.zeros((), d), shape) for d, shape in zip(self._dtypes(), shapes, strict=True)]
        if self._graph is None:
            self._begin(arrays, {})
        graph = self._graph_for(arrays)
        return Sized(graph, [Info(array.shape, array.dtype) for array in arrays], self._max_bytes)

    def _dtypes(self) -> list[np.dtype]:
        """Those of all inputs; before the first call the model's."""
        return [self._source.dtype] if self._graph is None else [*map(self._graph.dtype_of, self._graph.inputs)]

    def _latest_shapes(self) -> list[tuple[int, ...]]:
        latest = self._plans.key()
        if latest is not None:
            return [shape for shape, _ in latest[0]]
        if self._graph is None or any(value.info is None for value in self._graph.inputs):
            raise ValueError("explain needs inputs or their shapes before the first call")
        return [value.info.shape for value in self._graph.inputs]

    @np.errstate(all="ignore")
    def tiled(
        self, x: Any, tile: int | Sequence[int], *, out: Any = None,
        convert: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> Any:  # fmt: skip
        """Run the network over images or volumes that need not fit into memory, tile by tile.

        Parameters
        ----------
        x : array, (N, C, *spatial)
            An ndarray or memmap, or anything that has a shape and a dtype and gives arrays for slices (zarr, h5py).
        tile : int or tuple of int
            Sizes of a tile of the output, the first of several, along each spatial axis. A tile costs its own share and
            what its outputs see beyond it (`convkit.analysis.receptive_field`): larger tiles compute less twice, and
            take more memory.
        out : array or sequence of arrays, optional
            Of the result's shape and dtype, in memory that x is not read from, written to by slices; by default a new
            ndarray. One for each output, if the network has several.
        convert : function, optional
            Called with each part of x that is read, ``(1, C, *spatial)``, and with a pixel before, for the dtype;
            returns as many elements in the network's dtype: ``lambda part: part.astype(np.float32) / 255`` of bytes.

        Returns
        -------
        ndarray
            Or `out`; a tuple of them, if the network has several outputs. It is what the network makes of x as a whole:
            to the bit where the model's convolutions have ``algorithm="implicit_gemm"``, to rounding with others, whose
            sums depend on the place.

        Raises
        ------
        ValueError
            If a node reads more than a bounded window for an output (global pooling, linear layers, normalisation by
            the image's own statistics); the message names all such. If `out` has another shape, or its tiles would
            overwrite x or one another.
        TypeError
            If x, or what `convert` makes of it, or `out` has another dtype, or none.
        OSError
            If a part of x cannot be read, or one of `out` written; the message names it.

        Examples
        --------
        >>> import numpy as np
        >>> from convkit import nn
        >>> network = nn.Conv2d(1, 4, 3, padding=1, algorithm="implicit_gemm", rng=0).prepare()
        >>> x = np.random.default_rng(0).standard_normal((1, 1, 50, 70), np.float32)
        >>> bool((network.tiled(x, 16) == network(x)).all())
        True
        """
        x = Stored(x, "x")
        read: Callable[[tuple[slice, ...]], np.ndarray] = x.__getitem__
        if convert is None:
            tiles = Tiles.of(self, x.shape, x.dtype)
        else:
            of_kind(convert, Callable, "convert", "a function of a part, or None")
            read = partial(_converted, convert, x)
            first = (slice(0, 1), slice(0, x.shape[1]), *[slice(0, 1)] * (x.ndim - 2))
            tiles = Tiles.of(self, x.shape, read(first).dtype, "what convert returns")
        sizes = per_axis(tile, x.ndim - 2, "tile", 1)
        infos = [info._replace(shape=(x.shape[0], *info.shape[1:])) for info in tiles.tiling.outs]
        given = [None] * len(infos) if out is None else list(out) if self.graph.several else [out]
        if len(given) != len(infos):
            raise ValueError(f"out must have {len(infos)} arrays, one for each output, got {len(given)}")
        results = [empty(*info[:2]) if each is None else each for each, info in zip(given, infos, strict=True)]
        taken = [("x", x.array), *(("another output", each) for each in results)]
        outs = [_output(each, info, taken[: k + 1]) for k, (each, info) in enumerate(zip(results, infos, strict=True))]
        for block in tiles.tiling.tiles(sizes):
            part = tiles.tiling.part(block)
            for image in range(x.shape[0]):
                made = tiles.run(part, read(_slices(image, x.shape[1], part.reads)))
                for each, ranges, result in zip(outs, block, made, strict=True):
                    each[_slices(image, each.shape[1], ranges)] = result
                for each in (x, *outs):
                    each.let_go()
        return tuple(results) if self.graph.several else results[0]

    # ---------------------------------------------------------------- plans

    def _planned(self, arrays: list[np.ndarray]) -> tuple[Plan, list[np.ndarray]] | None:
        """The plan for these shapes and its idle memory; None if no plan can be made."""
        shapes = tuple((array.shape, array.dtype.str) for array in arrays)
        now = _circumstances()
        return self._plans.of((shapes, now), lambda: self._made(arrays, now))

    def _made(self, arrays: list[np.ndarray], now: _Circumstances) -> tuple[Plan, list[np.ndarray]] | None:
        graph = self._graph_for(arrays)
        try:
            plan = self._plan(graph, arrays, now)
        except Undetermined:
            return None
        except ValueError as error:
            self._blame_inputs(error, arrays)
            raise
        _check_promises(graph, [info.shape for info in plan.results()])
        return plan, []

    def _blame_inputs(self, error: ValueError, arrays: list[np.ndarray]) -> None:
        """Raise an error that speaks of the inputs, where they have other shapes than those of a model's trace."""
        shapes = [array.shape for array in arrays]
        traced = [value.info and value.info.shape for value in self.graph.inputs]
        if not self.graph.declared and None not in traced and traced != shapes:  # a file declares what it takes
            known = ", ".join(map(str, traced))
            raise misfit(error, shapes, "the network", f", such as {known}, for which it was made") from error

    def _plan(self, graph: Graph, arrays: list[np.ndarray], now: _Circumstances) -> Plan:
        whole = Sized(graph, [Info(array.shape, array.dtype) for array in arrays], self._max_bytes)
        return Plan(*in_parts(whole), now.threads, now.isa, self._panels_of)

    def _graph_for(self, arrays: list[np.ndarray]) -> Graph:
        """The graph; of a model that looks at sizes, the one of these sizes."""
        traced = [value.info for value in self.graph.inputs]
        shapes = [array.shape for array in arrays]
        if not self.graph.fixed or [info and info.shape for info in traced] == shapes:
            return self.graph
        if self._source is None:
            raise ValueError(
                f"inputs must have the shapes that the model was traced for, since its layers look at sizes: "
                f"{[info.shape for info in traced]}; got {shapes}"
            )
        return self._graphs.of(tuple(shapes), lambda: optimise(self._source.trace(shapes, arrays[0].dtype)))

    def _panels_of(self, array: np.ndarray, form: Hashable) -> engine.Panels:
        """Weights as they are laid out: those of the graph once for all plans, those that follow from sizes for one."""
        if not self.graph.holds(array):
            return engine.Panels()
        return self._panels.setdefault((id(array), form), engine.Panels())

    # ---------------------------------------------------------------- runs

    def _run(
        self, plan: Plan, idle: list[np.ndarray], arrays: list[np.ndarray], seconds: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Run a plan in the memory that lies idle, or in new memory."""
        try:
            arena = idle.pop()  # of several threads one gets it
        except IndexError:
            arena = None
        if arena is None or arena.nbytes < plan.placement.bytes:
            arena = None  # given back before more is taken
            arena = plan.arena()
        try:
            return plan.run(arrays, arena, seconds)
        finally:
            idle[:] = [arena]

    def _interpreted(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Node by node, as the table has them: where shapes follow from numbers."""
        values, total = dict(zip(self.graph.inputs, arrays, strict=True)), 0
        for node in self.graph.nodes:
            taken = [None if v is None else values[v] if v.data is None else v.data for v in node.inputs]
            with at(node):
                if self._max_bytes is not None:
                    total += allocated(node, [None if a is None else Info(a.shape, a.dtype, a) for a in taken])
                    if total > self._max_bytes:
                        raise refused(self._max_bytes, node)
                results = results_of(OPS[node.op].run, node.attrs, taken)
            values.update(zip(node.outputs, results, strict=False))
        results = [np.array(values[v] if v.data is None else v.data) for v in self.graph.outputs]
        _check_promises(self.graph, [array.shape for array in results])
        return results


class Tiles:
    """A network that runs block by block, for `Network.tiled` and `convkit.dask.network`.

    A plan is kept for blocks that are alike, and memory for the largest.
    """

    def __init__(self, network: Network, tiling: Tiling) -> None:
        self.network, self.tiling = network, tiling
        self._plans: _Latest[Plan] = _Latest(_TILE_PLANS)
        self._idle: list[np.ndarray] = []

    @classmethod
    def of(cls, network: Network, shape: tuple[int, ...], dtype: np.dtype, name: str = "x") -> Tiles:
        """Those over images of this shape, which are not looked at."""
        if network._source is not None:
            network._source.check()
        dtype = dtype.newbyteorder("=")
        if network._graph is None and is_real(dtype):
            network._begin([np.zeros((1, *shape[1:2], *(min(size, 64) for size in shape[2:])), dtype)], {})
        wanted = network._dtypes()[0]
        if dtype != wanted:
            more = "" if is_real(dtype) else f"; convert=lambda part: part.astype(np.{wanted}) makes it so part by part"
            raise TypeError(f"{name} must have dtype {wanted}, got {dtype}{more}")
        graph = network._graph_for([np.broadcast_to(np.zeros((), dtype), shape)])
        return cls(network, Tiling(graph, (1, *shape[1:]), dtype))

    def __reduce__(self) -> tuple[Any, ...]:
        return Tiles, (self.network, self.tiling)

    @np.errstate(all="ignore")
    def run(self, part: Part, images: np.ndarray) -> list[np.ndarray]:
        """The blocks of the outputs, of what the part reads of some images."""
        images = in_order(native(images))
        now, net = _circumstances(), self.network
        plan = self._plans.of((part.key, len(images), now), lambda: net._plan(part.graph(), [images], now))
        return net._run(plan, self._idle, [images])


def _converted(convert: Callable[[np.ndarray], np.ndarray], x: Stored, where: tuple[slice, ...]) -> np.ndarray:
    part = x[where]
    made = np.asarray(convert(part))
    if made.shape != part.shape:
        raise ValueError(f"convert must keep the shape of a part, {part.shape}, got {made.shape}")
    return made


def _slices(image: int, channels: int, ranges: Sequence[Range]) -> tuple[slice, ...]:
    """That part of an image."""
    return slice(image, image + 1), slice(0, channels), *(slice(*span) for span in ranges)


def _output(out: Any, info: Info, taken: Sequence[tuple[str, Any]]) -> Stored:
    """Where the tiles of an output go, once it is known to be fit for them; `taken` are names and what must stay."""
    stored = Stored(out, "out")
    if stored.shape != info.shape:
        raise ValueError(f"out must have shape {info.shape}, got {stored.shape}")
    if stored.dtype.newbyteorder("=") != info.dtype:
        raise TypeError(f"out must have dtype {info.dtype}, got {stored.dtype}")
    if isinstance(out, np.ndarray):
        arrays = [(name, each) for name, each in taken if isinstance(each, np.ndarray)]
        as_out(out, "out", info.shape, stored.dtype, arrays)
    same = [name for name, each in taken if each is out]
    if same:
        raise ValueError(f"out must not share memory with {same[0]}, got the same {type(out).__name__}")
    return stored


class _Circumstances(NamedTuple):
    """What a plan depends on beside shapes; asked for once, since another thread may change it at any time."""

    threads: int
    isa: str
    limit: int | None


def _circumstances() -> _Circumstances:
    return _Circumstances(current(), engine.isa(), engine.workspace_limit.get())


def _input(array: Any, value: Any, declared: tuple[np.dtype, Any] | None) -> np.ndarray:
    """An input as a contiguous array, of the dtype and sizes that are declared."""
    name = value.name
    if declared is not None:
        dtype, sizes = declared
        array = native(np.asarray(array))
        if array.dtype != dtype:
            raise TypeError(f"{name} must have dtype {dtype}, got {array.dtype}; astype converts it")
        if sizes is not None and not _fits(array.shape, sizes):
            raise ValueError(f"{name} must have shape {_said(sizes)}, got {array.shape}")
    if value.info is not None and value.info.dtype.kind == "f" and value.info.dtype.itemsize in (4, 8):
        array = as_array(array, name)
    else:
        array = np.asarray(array)
    if value.info is not None and array.dtype != value.info.dtype:
        raise TypeError(f"{name} must have dtype {value.info.dtype}, got {array.dtype}; astype converts it")
    return in_order(array)


def _check_promises(graph: Graph, shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise unless the outputs have the sizes that the graph's maker declared."""
    for name, shape in zip(graph.output_names, shapes, strict=True):
        sizes = graph.promised.get(name)
        if sizes is not None and not _fits(shape, sizes):
            raise ValueError(f"output {name} is declared to have shape {_said(sizes)}, and has {shape}")


def _said(sizes: Sequence[int | None]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in sizes)})"


def _fits(shape: tuple[int, ...], sizes: Sequence[int | None]) -> bool:
    return len(shape) == len(sizes) and all(b is None or a == b for a, b in zip(shape, sizes, strict=True))
