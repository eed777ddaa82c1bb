"""What a network is made of: values, and the nodes that compute them, in the vocabulary of ONNX's newest operator set.

A graph holds no sizes: those of its inputs are known when it is planned. While a model is traced its values have shapes
all the same, those of the trace, so that layers may look at them.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .._words import counted
from .table import OPS, Attrs, Info, Undetermined, inferred


class Sizes(tuple):
    """A shape of a trace. Who takes a number out of it makes a graph for this shape alone, which `used` notes."""

    used: Callable[[], None]

    def __new__(cls, sizes: Sequence[int], used: Callable[[], None]) -> Sizes:
        self = super().__new__(cls, sizes)
        self.used = used
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sizes):  # two shapes of one trace are alike at other sizes, too
            self.used()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


def _noted(name: str) -> Callable:
    def method(self: Sizes, *args: Any) -> Any:
        self.used()
        return getattr(super(Sizes, self), name)(*args)

    return method


for _name in ("__getitem__", "__iter__", "__add__", "__mul__", "__rmul__", "__contains__", "count", "index"):
    setattr(Sizes, _name, _noted(_name))


class Value:
    """An array that a network is given, holds or computes: the output of one node, a constant, or an input.

    Layers are run on values to find out what they compute: arithmetic, NumPy's functions and indexing make nodes. What
    a value is cannot be asked, since it has none yet.

    Attributes
    ----------
    name : str
        Of inputs, and of constants that are parameters.
    data : ndarray or None
        What a constant is.
    node : Node or None
        What computes it.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import graph
    >>> g = graph.Graph()
    >>> x = g.input("x", graph.Info((2, 3), np.dtype("float32")))
    >>> y = np.maximum(x[:, :2] * 2, 0)
    >>> y.shape, [node.op for node in g.nodes]
    ((2, 2), ['Slice', 'Mul', 'Max'])
    """

    __slots__ = ("data", "graph", "info", "name", "node")

    def __init__(self, graph: Graph, name: str = "", data: np.ndarray | None = None, node: Node | None = None) -> None:
        self.graph, self.name, self.data, self.node = graph, name, data, node
        self.info: Info | None = None if data is None else Info(data.shape, data.dtype, data)

    def __repr__(self) -> str:
        what = "constant" if self.data is not None else self.node.op if self.node else "input"
        return f"Value({self.name!r}, {what}{'' if self.info is None else f', {self.info.shape}'})"

    # ---------------------------------------------------------------- what a layer may look at

    def _known(self) -> Info:
        if self.info is None:
            raise TypeError("a value has no shape before its graph is planned")
        return self.info

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape in this trace."""
        return Sizes(self._known().shape, self.graph.note_fixed)

    @property
    def ndim(self) -> int:
        """Its number of axes."""
        return len(self._known().shape)

    @property
    def dtype(self) -> np.dtype:
        """Its element type."""
        return self._known().dtype

    @property
    def size(self) -> int:
        """Its number of elements in this trace."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            "the layer asks what a value is, but while a model is traced there is none: what it computes may depend on "
            "shapes, not on numbers. Module.symbolic is where a layer can say otherwise what it computes"
        )

    __bool__ = __int__ = __float__ = __index__ = __array__ = __iter__ = __contains__ = item = tolist = all = any = (
        _refuse
    )
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        if other is not None and not isinstance(other, Value):
            raise TypeError("a value cannot be compared by ==, numpy.equal makes a node of it")
        return self is other

    def __ne__(self, other: object) -> bool:
        return not self == other

    # ---------------------------------------------------------------- what makes nodes

    def emit(self, op: str, *inputs: Any, outputs: int = 1, **attrs: Any) -> Any:
        """The outputs of a new node that takes this value first: one value, or a tuple of them."""
        return self.graph.traced(op, (self, *inputs), attrs, outputs)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        op = UFUNCS.get(ufunc.__name__)
        if op is None or method != "__call__" or options:
            raise _without_node(f"numpy.{ufunc.__name__}")
        if ufunc.nin == 1 and self.info is not None:  # of integers NumPy has real exponentials, ONNX none
            inputs = (self.astype(ufunc.resolve_dtypes((self.dtype, None))[1]),)
        return self.graph.traced(op, inputs * 2 if ufunc is np.square else inputs, {})

    def __array_function__(self, function: Callable, types: Any, args: Any, kwargs: Any) -> Any:
        name = function.__name__
        known = FUNCTIONS.get(name)
        if known is None:
            raise _without_node(f"numpy.{name}")
        try:
            inspect.signature(known).bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"numpy.{name} of a value: {error}; write Module.symbolic for it") from None
        return known(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a value that is traced has no {name!r} as arrays have; write Module.symbolic for it")

    @property
    def T(self) -> Value:
        """As of an array."""
        return self.transpose()

    def flatten(self) -> Value:
        """As of an array."""
        return self.reshape(-1)

    ravel = flatten

    def copy(self, order: str = "C") -> Value:
        """As of an array: nothing writes into a value."""
        return self

    def clip(self, min: Any = None, max: Any = None) -> Value:
        """As of an array."""
        return _clipped(self, min, max)

    def squeeze(self, axis: Any = None) -> Value:
        """As of an array."""
        axes = [i for i, size in enumerate(self.shape) if size == 1] if axis is None else axis
        return self.emit("Squeeze", np.atleast_1d(np.array(axes, np.int64)))

    def reshape(self, *shape: Any) -> Value:
        """As of an array."""
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return self.emit("Reshape", np.array(shape, np.int64), allowzero=1)

    def transpose(self, *axes: Any) -> Value:
        """As of an array."""
        axes = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        return self.emit("Transpose", perm=tuple(axes) or tuple(range(self.ndim))[::-1])

    def astype(self, dtype: Any) -> Value:
        """As of an array."""
        dtype = np.dtype(dtype)
        return self if self.info is not None and self.info.dtype == dtype else self.emit("Cast", to=dtype)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Value:
        """As of an array."""
        return _reduced("ReduceSum", self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Value:
        """As of an array."""
        return _reduced("ReduceMean", self, axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Value:
        """As of an array."""
        return _reduced("ReduceMax", self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Value:
        """As of an array."""
        return _reduced("ReduceMin", self, axis, keepdims)

    def __getitem__(self, index: Any) -> Value:
        index = index if isinstance(index, tuple) else (index,)
        known = int, np.integer, slice, type(None), type(Ellipsis)
        if any(not isinstance(i, known) or isinstance(i, bool) for i in index):
            raise TypeError(f"a value may be indexed by ints and slices, got {index!r}")
        return _indexed(self, index)


def _without_node(what: str) -> TypeError:
    return TypeError(f"{what} of a value has no node in a graph; write Module.symbolic for it")


def _refused(name: str) -> Callable:
    def method(self: Value, *_: Any) -> Value:
        raise _without_node(name)

    return method


for _name in ("floordiv", "mod", "divmod", "and", "or", "xor", "lshift", "rshift"):
    for _side in ("", "r"):
        setattr(Value, f"__{_side}{_name}__", _refused(f"__{_name}__"))
for _name in ("__pos__", "__invert__"):
    setattr(Value, _name, _refused(_name))


def _binary(op: str) -> tuple[Callable, Callable]:
    def forward(self: Value, other: Any) -> Value:
        return self.graph.traced(op, (self, other), {})

    def reflected(self: Value, other: Any) -> Value:
        return self.graph.traced(op, (other, self), {})

    return forward, reflected


for _name, _op in {
    "add": "Add", "sub": "Sub", "mul": "Mul", "truediv": "Div", "pow": "Pow", "matmul": "MatMul", "lt": "Less",
    "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual",
}.items():  # fmt: skip
    _forward, _reflected = _binary(_op)
    setattr(Value, f"__{_name}__", _forward)
    if _name not in ("lt", "le", "gt", "ge"):  # whose reflections are each other
        setattr(Value, f"__r{_name}__", _reflected)
Value.__neg__ = lambda self: self.emit("Neg")
Value.__abs__ = lambda self: self.emit("Abs")

UFUNCS = {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "power": "Pow", "matmul": "MatMul",
    "maximum": "Max", "minimum": "Min", "negative": "Neg", "absolute": "Abs", "exp": "Exp", "log": "Log",
    "sqrt": "Sqrt", "tanh": "Tanh", "sin": "Sin", "cos": "Cos", "floor": "Floor", "ceil": "Ceil", "sign": "Sign",
    "less": "Less", "less_equal": "LessOrEqual", "greater": "Greater", "greater_equal": "GreaterOrEqual",
    "equal": "Equal", "reciprocal": "Reciprocal", "square": "Mul",
}  # fmt: skip


def _concatenated(arrays: Sequence[Any], axis: int | None = 0) -> Value:
    if axis is None:
        arrays, axis = [np.ravel(array) for array in arrays], 0
    return _owner(*arrays).traced("Concat", arrays, {"axis": axis})


def _clipped(a: Value, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Value:
    """The bounds by their older names, or their newer ones; ONNX has numbers alone, of the array's dtype."""
    lo, hi = a_min if min is None else min, a_max if max is None else max
    given = [bound for bound in (lo, hi) if bound is not None]
    if any(np.ndim(bound) or isinstance(bound, Value) for bound in given):
        a = a if lo is None else np.maximum(a, lo)
        return a if hi is None else np.minimum(a, hi)
    a = a.astype(np.result_type(a.dtype, *given))
    return a.emit("Clip", *(None if bound is None else np.asarray(bound, a.dtype) for bound in (lo, hi)))


def _reduced(op: str, x: Value, axis: Any = None, keepdims: bool = False) -> Value:
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    normalize_axis_tuple(axes, x.ndim)  # which raises; `patterns` knows the last axis as -1
    if op in ("ReduceSum", "ReduceMean"):  # as NumPy adds up integers
        x = x.astype((np.sum if op == "ReduceSum" else np.mean)(np.zeros(1, x.dtype)).dtype)
    return x.emit(op, np.array(axes, np.int64), keepdims=int(keepdims), noop_with_empty_axes=1)


def _permuted(function: Callable) -> Callable:
    """A function that changes the order of axes, asked about an array whose sizes are their numbers."""
    return lambda x, *axes, **named: x.transpose(function(np.empty(range(x.ndim)), *axes, **named).shape)


FUNCTIONS: dict[str, Callable] = {
    "concatenate": _concatenated,
    "stack": lambda arrays, axis=0: _concatenated([np.expand_dims(array, axis) for array in arrays], axis),
    "swapaxes": _permuted(np.swapaxes),
    "moveaxis": _permuted(np.moveaxis),
    "clip": _clipped,
    "reshape": lambda x, shape: x.reshape(shape),
    "transpose": lambda x, axes=None: x.transpose(*axes or ()),
    "where": lambda condition, a, b: _owner(condition, a, b).traced("Where", (condition, a, b), {}),
    "shape": lambda x: x.shape,
    "ndim": lambda x: x.ndim,
    "ravel": lambda x: x.flatten(),
    "copy": lambda x, order="K": x,
    "squeeze": lambda x, axis=None: x.squeeze(axis),
    "expand_dims": lambda x, axis: x.emit("Unsqueeze", np.atleast_1d(np.array(axis, np.int64))),
    **{
        name: lambda x, axis=None, keepdims=False, op=op: _reduced(op, x, axis, keepdims)
        for name, op in {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}.items()
    },
}
FUNCTIONS |= {"amax": FUNCTIONS["max"], "amin": FUNCTIONS["min"]}


def _owner(*values: Any) -> Graph:
    return next(value.graph for value in values if isinstance(value, Value))


def _indexed(x: Value, index: tuple) -> Value:
    """Slices, whole numbers, new axes and an ellipsis, as of an array."""
    taken = sum(i is not None and i is not Ellipsis for i in index)
    sizes = None if x.info is None else x.info.shape
    if sizes is not None and (taken > len(sizes) or index.count(Ellipsis) > 1):
        raise IndexError(f"a value of {len(sizes)} axes may have as many indices and one ellipsis, got {index!r}")
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = (*index[:at], *(slice(None),) * (x.ndim - taken), *index[at + 1 :])
    starts, ends, axes, steps, gone, new, axis, out = [], [], [], [], [], [], 0, 0
    for i in index:
        if i is None:
            new.append(out)
            out += 1
            continue
        if isinstance(i, slice):
            step = 1 if i.step is None else operator.index(i.step)
            far = np.iinfo(np.int64).max
            start = (0 if step > 0 else far) if i.start is None else operator.index(i.start)
            end = (far if step > 0 else -far) if i.stop is None else operator.index(i.stop)
            if step < 0 and start < -1 and start < -x.shape[axis]:  # ONNX begins at the first element, NumPy nowhere
                start = end = 0
            out += 1
        else:
            start, step = operator.index(i), 1
            if sizes is not None and not -sizes[axis] <= start < sizes[axis]:
                raise IndexError(f"index {start} is out of range for axis {axis} of {sizes[axis]}")
            end = start + 1 if start != -1 else np.iinfo(np.int64).max
            gone.append(axis)
        if i != slice(None):
            starts.append(start), ends.append(end), axes.append(axis), steps.append(step)
        axis += 1
    if axes:
        x = x.emit("Slice", *(np.array(numbers, np.int64) for numbers in (starts, ends, axes, steps)))
    if gone:
        x = x.emit("Squeeze", np.array(gone, np.int64))
    return x.emit("Unsqueeze", np.array(new, np.int64)) if new else x


# Arithmetic, and where its operands begin.
PROMOTING = dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "MatMul", "Concat"), 0) | {"Where": 1}


class Node:
    """One operation: the name of an operator, what it takes and gives, its attributes; `path` says which layer it is.

    Inputs that are left out are None.

    Examples
    --------
    >>> from convkit import graph, nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, rng=0))
    >>> (node,) = graph.trace(model, [(1, 3, 9, 9)], "float32").nodes
    >>> node.op, node.attrs["strides"], node.path
    ('Conv', (2, 2), '0')
    """

    __slots__ = ("attrs", "inputs", "op", "outputs", "path")

    def __init__(self, op: str, inputs: Sequence[Value | None], attrs: Attrs, path: str = "") -> None:
        self.op, self.inputs, self.attrs, self.path = op, list(inputs), attrs, path
        self.outputs: list[Value] = []

    def __repr__(self) -> str:
        return f"Node({self.op!r}, {self.attrs}, path={self.path!r})"


@contextmanager
def at(node: Node) -> Iterator[None]:
    """Let errors say which node it was."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        error.add_note(f"in node {node.op} {node.path!r}")
        raise
    except (KeyError, IndexError, ArithmeticError) as error:  # of numbers that a file says
        lacking = isinstance(error, KeyError)
        refused = ValueError(f"an attribute has the value {error}, which there is not" if lacking else str(error))
        refused.add_note(f"in node {node.op} {node.path!r}")
        raise refused from error


class Graph:
    """Nodes in an order in which they can be run, the inputs that they need, and the outputs.

    Attributes
    ----------
    inputs, outputs : list of Value
    output_names : list of str
    several : bool
        Whether a run gives a tuple, even of one output.
    nodes : list of Node
    fixed : bool
        Whether a traced layer has looked at a size, so that the graph is good for the shapes of the trace alone.
    optimised : bool
        Whether it has been through all passes.
    declared : dict
        By name, the dtype and the sizes that an input must have; of a size that may differ, None.
    promised : dict
        By name, the sizes that an output must have.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import graph
    >>> g = graph.Graph()
    >>> moved = g.emit("Add", [g.input("x"), np.float32(1)], {})
    >>> g.outputs, g.output_names = [g.emit("Relu", [moved], {})], ["y"]
    >>> graph.Network(g)(np.array([-3.0, 2.0], np.float32))
    array([0., 3.], dtype=float32)
    """

    def __init__(self) -> None:
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.output_names: list[str] = []
        self.several = False
        self.nodes: list[Node] = []
        self.fixed = False
        self.optimised = False
        self.declared: dict[str, tuple[np.dtype, tuple[int | None, ...] | None]] = {}
        self.promised: dict[str, tuple[int | None, ...] | None] = {}
        self.path = ""  # of the layer that is being traced
        self._constants: dict[int, Value] = {}

    def note_fixed(self) -> None:
        """Note that a layer has taken a number out of a shape."""
        self.fixed = True

    def input(self, name: str, info: Info | None = None) -> Value:
        """A new input; with what is known of it where the graph is a trace."""
        value = Value(self, name)
        value.info = info
        self.inputs.append(value)
        return value

    def constant(self, data: Any, name: str = "") -> Value:
        """The value that is this array; the same array, or parameter, is the same value."""
        data = getattr(data, "data", data) if not isinstance(data, np.ndarray) else data
        data = data if isinstance(data, np.ndarray) else np.asarray(data)
        value = self._constants.get(id(data))
        if value is None:
            value = self._constants[id(data)] = Value(self, name, data)
        return value

    def holds(self, data: np.ndarray) -> bool:
        """Whether the array is one of the graph's constants."""
        value = self._constants.get(id(data))
        return value is not None and value.data is data

    def dtype_of(self, value: Value) -> np.dtype:
        """What an input must have, or should: as declared, as traced, or float32."""
        if value.name in self.declared:
            return self.declared[value.name][0]
        return np.dtype(np.float32) if value.info is None else value.info.dtype

    def forget_unused(self) -> None:
        """Let go of constants that no node takes any more."""
        self._constants = {id(value.data): value for value in self.constants()}

    def emit(self, op: str, inputs: Sequence[Any], attrs: Attrs, outputs: int = 1, path: str = "") -> Any:
        """Append a node and return its outputs: one value, or a tuple of them.

        Inputs are values, arrays, parameters or None. Where the shapes of all of them are known, those of the outputs
        are found out at once.
        """
        values = [value for value in inputs if isinstance(value, Value)]
        taken = [value if value is None or isinstance(value, Value) else self.constant(value) for value in inputs]
        node = Node(op, taken, attrs, path or self.path)
        node.outputs = [Value(self, node=node) for _ in range(outputs)]
        self.nodes.append(node)
        if values and all(value.info is not None for value in values):
            infos = [None if value is None else value.info for value in node.inputs]
            with suppress(Undetermined), at(node):
                for value, info in zip(node.outputs, inferred(OPS[op], attrs, infos), strict=False):
                    value.info = info
        return node.outputs[0] if outputs == 1 else tuple(node.outputs)

    def traced(self, op: str, inputs: Sequence[Any], attrs: Attrs, outputs: int = 1) -> Any:
        """As `emit`, of operands in NumPy's ways: numbers have the dtype of the values, and dtypes may differ."""
        values = [value for value in inputs if isinstance(value, Value)]
        taken = [self._taken(value, values[op == "Where" :]) for value in inputs]
        return self.emit(op, self._promoted(op, taken), attrs, outputs)

    def _taken(self, value: Any, values: list[Value]) -> Value | None:
        if value is None or isinstance(value, Value):
            return value
        if isinstance(value, (int, float)) and values and all(other.info is not None for other in values):
            value = np.asarray(value, np.result_type(*(other.info.dtype for other in values), value))
        return self.constant(value)

    def _promoted(self, op: str, values: list[Value | None]) -> list[Value | None]:
        """Operands of arithmetic in the dtype that NumPy would compute in, where a trace knows theirs."""
        first = PROMOTING.get(op)
        if first is None or any(value is None or value.info is None for value in values):
            return values
        dtypes = [value.info.dtype for value in values[first:]]
        dtype = np.result_type(*dtypes)
        if op == "Div" and dtype.kind != "f":
            dtype = np.dtype(np.float64)
        return values[:first] + [value.astype(dtype) for value in values[first:]]

    def users(self) -> dict[Value, list[Node]]:
        """For every value the nodes that take it; None for each time that it is an output of the graph."""
        users: dict[Value, list[Any]] = {}
        for node in self.nodes:
            for value in node.inputs:
                if value is not None:
                    users.setdefault(value, []).append(node)
        for value in self.outputs:
            users.setdefault(value, []).append(None)
        return users

    def constants(self) -> Iterator[Value]:
        """Those that nodes take."""
        seen = set()
        for node in self.nodes:
            for value in node.inputs:
                if value is not None and value.data is not None and value not in seen:
                    seen.add(value)
                    yield value

    def __reduce__(self) -> tuple[Any, ...]:
        """Flat, since values and nodes hold each other, as deep as the network is."""
        nodes = [(node.op, node.inputs, node.attrs, node.path, node.outputs) for node in self.nodes]
        values: dict[Value, int] = {}
        for value in (v for many in (self.inputs, *(n[1] for n in nodes), *(n[4] for n in nodes)) for v in many):
            if value is not None:
                values.setdefault(value, len(values))
        for value in self.outputs:
            values.setdefault(value, len(values))

        def numbers(some: Sequence[Value | None]) -> list[int | None]:
            return [None if value is None else values[value] for value in some]

        flat = [(op, numbers(taken), attrs, path, numbers(given)) for op, taken, attrs, path, given in nodes]
        names = "output_names", "several", "fixed", "optimised", "declared", "promised"
        rest = {name: getattr(self, name) for name in names}
        known = [(value.name, value.data, value.info) for value in values]
        return _graph, (known, flat, numbers(self.inputs), numbers(self.outputs), rest)

    def __repr__(self) -> str:
        parts = {"input": self.inputs, "node": self.nodes, "output": self.outputs}
        return f"Graph({', '.join(counted(len(part), name) for name, part in parts.items())})"


def _graph(known: list, nodes: list, inputs: list, outputs: list, rest: dict[str, Any]) -> Graph:
    """What `Graph.__reduce__` took apart."""
    graph = Graph()
    values = [Value(graph, name, data) for name, data, _ in known]
    for value, (_, data, info) in zip(values, known, strict=True):
        value.info = info
        if data is not None:
            graph._constants[id(data)] = value
    for op, taken, attrs, path, given in nodes:
        node = Node(op, [None if i is None else values[i] for i in taken], attrs, path)
        node.outputs = [values[i] for i in given]
        for value in node.outputs:
            value.node = node
        graph.nodes.append(node)
    graph.inputs, graph.outputs = [values[i] for i in inputs], [values[i] for i in outputs]
    vars(graph).update(rest)
    return graph
