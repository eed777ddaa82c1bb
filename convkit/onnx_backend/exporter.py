"""From a model to an ONNX file: its graph, node by node; what ONNX has no operator for is in `twins`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._extras import need
from .._files import as_path, replacing
from .._shapes import integer
from .._version import __version__
from .._words import brief
from ..graph import Graph, Info, Network, Node, Value, trace
from ..graph.plan import Sized
from ..graph.table import Undetermined
from ..nn.module import Module
from ..nn.parameter import dtype_of
from .twins import write

OPSETS = range(21, 28)  # GroupNormalization is per channel since 21; 27 is the newest that ONNX Runtime 1.32 takes
_LARGEST_FILE = 2**31 - 2**20  # what protobuf can write, less room for the nodes
_LEAST_EXTERNAL = 1024  # bytes; smaller arrays, such as shapes, stay in the model, where checkers look at them
_ALIGNED = 4096
BATCH = "N"


def export(
    model: Module | Network | Graph, path: str | os.PathLike, input_shape: Sequence[Any], *, dynamic_batch: bool = True,
    opset: int | None = None, external_data: bool | None = None,
) -> None:  # fmt: skip
    """Write a model as an ONNX file.

    Parameters
    ----------
    model : Module, Network or Graph
        A module as it is in evaluation, layer by layer: batch normalisation stays, and tensors have the names of
        `state_dict`. A network as it was fused.
    path : path
        Of the file, which is replaced once all of it is written.
    input_shape : tuple of int, or a sequence of them
        Of a batch; of every input, where the model has several.
    dynamic_batch : bool, default True
        Whether the first axis of inputs and outputs is ``N``, of any size. Spatial sizes are those of `input_shape`.
    opset : int, optional
        The operator set, 21 to 27; by default the newest that the installed onnx knows.
    external_data : bool, optional
        Whether tensors lie in a file of their own beside the model's, ``<path>.data``, as they must where they take
        2 GiB or more; by default only then.

    Raises
    ------
    TypeError
        If a layer computes what has no node in a graph.
    ValueError
        If a layer takes the size of the batch for a number, so that the batch cannot be dynamic; if shapes follow
        from numbers; if the model would be no valid one.

    Examples
    --------
    >>> import tempfile, onnx
    >>> from convkit import models, onnx_backend
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     onnx_backend.export(models.lenet5(rng=0), folder + "/lenet5.onnx", (1, 1, 32, 32))
    ...     graph = onnx.load(folder + "/lenet5.onnx").graph
    >>> [node.op_type for node in graph.node][:3], graph.initializer[0].name
    (['Conv', 'Tanh', 'AveragePool'], '0.weight')
    """
    onnx = need("onnx", "onnx")
    newest = min(OPSETS[-1], onnx.defs.onnx_opset_version())
    opset = newest if opset is None else integer(opset, "opset")
    if not OPSETS[0] <= opset <= newest:
        raise ValueError(f"opset must be {OPSETS[0]} to {newest}, got {opset}")
    if not isinstance(model, (Module, Network, Graph)):
        raise TypeError(f"model must be a Module, Network or Graph, got {type(model).__name__}")
    path, shapes = as_path(path), _shapes(input_shape)
    views = [_View(model, shapes), *([_View(model, shapes, 1)] if dynamic_batch else [])]
    writer = Writer(onnx, opset, views, _names(model))
    writer.check()
    large = sum(array.nbytes for array in writer.arrays.values()) >= _LARGEST_FILE
    if large and external_data is False:
        raise ValueError("external_data must not be False where tensors take 2 GiB or more: no ONNX file can hold them")
    _save(writer, path, large or bool(external_data))


def _shapes(input_shape: Any) -> list[tuple[int, ...]]:
    """A shape, or several, as several."""
    alone = _listed(input_shape) and all(isinstance(size, (int, np.integer)) for size in input_shape)
    given = [input_shape] if alone else input_shape
    if not _listed(given) or not all(map(_listed, given)):
        raise TypeError(f"input_shape must be a shape, or a sequence of shapes, got {brief(input_shape)}")
    shapes = [tuple(integer(size, "input_shape", "of ints") for size in shape) for shape in given]
    if any(not shape or min(shape) < 1 for shape in shapes):
        raise ValueError(f"input_shape must have a batch axis, and sizes of at least 1, got {brief(input_shape)}")
    return shapes


def _listed(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


@contextmanager
def _taken(shapes: list[tuple[int, ...]], more: int) -> Iterator[None]:
    """What is said of an array inside, or of a batch of so many more, may be far from the argument: that is named."""
    try:
        yield
    except ValueError as error:
        takes, another = (" with any N, unless dynamic_batch is False", f"with N + {more}, ") if more else ("", "")
        expected = f"input_shape must be that of a batch, (N, C, *spatial), which the model takes{takes}"
        inside = error.__cause__ or error  # `trace` has put it into words about the input already
        error.args = (f"{expected}, got {', '.join(map(str, shapes))}: {another}{inside}",)
        raise


class _View:
    """A model's graph for inputs of these shapes, in batches of so many more, and what is known of its values."""

    def __init__(self, model: Module | Network | Graph, shapes: list[tuple[int, ...]], more: int = 0) -> None:
        sizes = [(n + more, *rest) for n, *rest in shapes]
        with _taken(shapes, more):
            if isinstance(model, Module):
                self.graph = trace(model, sizes, dtype_of(model))
            else:
                self.graph = model if isinstance(model, Graph) else model.graph
                self._check_sizes(sizes)
        if len(shapes) != len(self.graph.inputs):
            names = ", ".join(value.name for value in self.graph.inputs)
            raise ValueError(f"input_shape must have a shape for each of {names}, got {len(shapes)}")
        infos = [Info(*own) for own in zip(sizes, map(self.graph.dtype_of, self.graph.inputs), strict=True)]
        try:
            with _taken(shapes, more):
                self.infos = Sized(self.graph, infos).infos
        except Undetermined:
            raise ValueError("the model's shapes follow from numbers, which are not known before it runs") from None

    def _check_sizes(self, shapes: list[tuple[int, ...]]) -> None:
        traced = [None if value.info is None else value.info.shape for value in self.graph.inputs]
        if self.graph.fixed and traced != shapes:
            raise ValueError(
                f"the network's layers look at sizes, so that it is good for {traced} alone, got {shapes}; the model "
                "that it was prepared from can be exported, or the network itself with dynamic_batch=False"
            )


def _names(model: Module | Network | Graph) -> dict[tuple[int, int], tuple[str, np.ndarray]]:
    """The names of a module's arrays, by where they lie, so that a view of one is recognised."""
    state = model.state_dict() if isinstance(model, Module) else {}
    return {_place(array): (name, array) for name, array in reversed(state.items()) if array.size}


def _place(array: np.ndarray) -> tuple[int, int]:
    return array.__array_interface__["data"][0], array.nbytes


class Writer:
    """A model's nodes and arrays, in ONNX's words.

    Attributes
    ----------
    onnx : module
    opset : int
    arrays : dict
        By name, those that the nodes take.
    """

    def __init__(self, onnx: Any, opset: int, views: list[_View], owners: dict) -> None:
        self.onnx, self.opset, self._views, self._owners = onnx, opset, views, owners
        self.arrays: dict[str, np.ndarray] = {}
        self._nodes: list[Any] = []
        self._path = ""  # of the layer whose nodes are written
        graph = views[0].graph
        self._called: dict[Value, str] = {value: value.name for value in graph.inputs}
        self._constants: dict[Any, str] = {}
        self._taken = {*self._called.values(), *graph.output_names}
        ends = list(zip(graph.outputs, graph.output_names, strict=True))
        wanted = dict(ends[::-1])
        for nodes in zip(*(view.graph.nodes for view in views), strict=True):
            self._add(nodes, wanted)
        for value, name in ends:
            if self.name(value) != name:
                self._node("Identity", [self.name(value)], [name], {})

    # ---------------------------------------------------------------- what `twins` asks for

    def info(self, value: Value) -> Info:
        """What is known of a value, for the shapes that were given."""
        return self._views[0].infos[value]

    def name(self, value: Any) -> str:
        """What a value, an array or a name is called in the model; None is called nothing."""
        if value is None or isinstance(value, str):
            return value or ""
        if isinstance(value, np.ndarray):
            return self._array(value, "")
        if value not in self._called:
            self._called[value] = self._array(value.data, value.name)
        return self._called[value]

    def emit(self, op: str, inputs: Sequence[Any], outputs: int = 1, **attrs: Any) -> Any:
        """The name of a new node's output; a list of them, if there are several."""
        names = [self.name(value) for value in inputs]
        while names and not names[-1]:
            names.pop()
        results = [self._unique(f"{self._path}/{op}") for _ in range(outputs)]
        self._node(op, names, results, attrs)
        return results[0] if outputs == 1 else results

    # ---------------------------------------------------------------- nodes

    def _add(self, nodes: Sequence[Node], wanted: dict[Value, str]) -> None:
        """Write a node, of which there is one for each view; outputs of the graph have the names that are wanted."""
        node, first = nodes[0], len(self._nodes)
        self._path = node.path
        inputs, attrs = self._for_any_batch(nodes)
        for value, name in zip(node.outputs, write(self, node.op, inputs, attrs, node.outputs), strict=False):
            for written in self._nodes[first:]:
                if value in wanted and name in written.output:
                    written.output[list(written.output).index(name)] = name = wanted[value]
            self._called[value] = name

    def _for_any_batch(self, nodes: Sequence[Node]) -> tuple[list[Any], dict[str, Any]]:
        """Inputs and attributes, where no constant follows from the size of the batch, except as Reshape can say it."""
        node, inputs, attrs = nodes[0], list(nodes[0].inputs), dict(nodes[0].attrs)
        if any((other.op, other.attrs) != (node.op, node.attrs) for other in nodes):
            self._refuse(node)
        for i in range(len(inputs)):
            arrays = [None if other.inputs[i] is None else other.inputs[i].data for other in nodes]
            if arrays[0] is None or all(array is arrays[0] or np.array_equal(array, arrays[0]) for array in arrays):
                continue
            sizes, other = arrays
            changed = np.flatnonzero(sizes != other) if node.op == "Reshape" and sizes.shape == other.shape else []
            batch = [view.infos[each.inputs[0]].shape[0] for view, each in zip(self._views, nodes, strict=True)]
            if len(changed) == 1 and -1 not in sizes:
                inputs[i] = np.where(sizes == other, sizes, -1)
            elif list(changed) == [0] and [sizes[0], other[0]] == batch and 0 not in sizes:
                inputs[i] = np.where(sizes == other, sizes, 0)  # the input's own size, without allowzero
                del attrs["allowzero"]
            else:
                self._refuse(node)
        return inputs, attrs

    def _refuse(self, node: Node) -> None:
        raise ValueError(
            f"dynamic_batch must be False for this model: {node.op} of layer {node.path!r} takes the size of the batch "
            "for a number"
        )

    def _node(self, op: str, inputs: Sequence[str], outputs: Sequence[str], attrs: dict[str, Any]) -> None:
        helper = self.onnx.helper
        attrs = {k: helper.np_dtype_to_tensor_dtype(v) if isinstance(v, np.dtype) else v for k, v in attrs.items()}
        self._nodes.append(helper.make_node(op, inputs, outputs, outputs[0], **attrs))

    def _unique(self, name: str) -> str:
        count, unique = 1, name
        while unique in self._taken:
            count += 1
            unique = f"{name}_{count}"
        self._taken.add(unique)
        return unique

    def _array(self, array: np.ndarray, name: str) -> str:
        """The name of a tensor; a view of a parameter has the parameter's, behind a node if it is its transpose."""
        owner, own = self._owners.get(_place(array), (name, array))
        turned = array.ndim == 2 and array.T.shape == own.shape and array.T.strides == own.strides != array.strides
        if not turned:
            owner, own = owner if array.flags.c_contiguous else name, array
        key = *_place(own), own.shape, own.strides
        if key not in self._constants:
            self._constants[key] = self._unique(owner or f"{self._path}/constant")
            self.arrays[self._constants[key]] = own
        return self.emit("Transpose", [self._constants[key]], perm=(1, 0)) if turned else self._constants[key]

    # ---------------------------------------------------------------- the model

    def model(self, tensors: Sequence[Any], more_inputs: Sequence[Any] = ()) -> Any:
        """The ModelProto with these tensors."""
        helper, graph = self.onnx.helper, self._views[0].graph
        inputs = self._ends([value.name for value in graph.inputs], "inputs")
        outputs = self._ends(graph.output_names, "outputs")
        made = helper.make_graph(self._nodes, "convkit", [*inputs, *more_inputs], [*outputs], tensors)
        used = [helper.make_opsetid("", self.opset)]
        version = helper.find_min_ir_version_for([helper.make_opsetid("", min(self.opset, 26))])  # 27 has none yet
        return helper.make_model(
            made, opset_imports=used, ir_version=version, producer_name="convkit", producer_version=__version__
        )

    def _ends(self, names: Sequence[str], which: str) -> Iterator[Any]:
        """Inputs or outputs; along the axes that the batch changes their sizes are BATCH, or unknown."""
        batches = tuple(view.infos[view.graph.inputs[0]].shape[0] for view in self._views)
        for name, *values in zip(names, *(getattr(view.graph, which) for view in self._views), strict=True):
            infos = [view.infos[value] for view, value in zip(self._views, values, strict=True)]
            shape = zip(*(info.shape for info in infos), strict=True)
            dims = [sizes[0] if len({*sizes}) == 1 else BATCH if sizes == batches else None for sizes in shape]
            yield self._declared(name, infos[0].dtype, dims)

    def _declared(self, name: str, dtype: np.dtype, dims: Sequence[Any]) -> Any:
        helper = self.onnx.helper
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), dims)

    def check(self) -> None:
        """Have onnx check operators, attributes and shapes; large tensors stand aside as inputs, which is quick."""
        small = {name: array for name, array in self.arrays.items() if array.nbytes < _LEAST_EXTERNAL}
        aside = [self._declared(k, array.dtype, array.shape) for k, array in self.arrays.items() if k not in small]
        tensors = [self.onnx.numpy_helper.from_array(array, name) for name, array in small.items()]
        try:
            self.onnx.checker.check_model(self.model(tensors, aside), full_check=True)
        except (self.onnx.checker.ValidationError, self.onnx.shape_inference.InferenceError) as error:
            raise ValueError(f"the model is no valid one in ONNX: {error}") from error


def _save(writer: Writer, path: Path, external: bool) -> None:
    """Write the file, and beside it that of the tensors if they are external."""
    helper, beside = writer.onnx.numpy_helper, path.with_name(path.name + ".data")
    tensors = []
    if not external:
        tensors = [helper.from_array(array, name) for name, array in writer.arrays.items()]
    else:
        with replacing(beside) as file:
            tensors = [_external(writer, file, beside.name, name, array) for name, array in writer.arrays.items()]
    with replacing(path) as file:
        file.write(writer.model(tensors).SerializeToString())


def _external(writer: Writer, file: Any, location: str, name: str, array: np.ndarray) -> Any:
    """A tensor whose elements are appended to a file, aligned as memory maps need it."""
    if array.nbytes < _LEAST_EXTERNAL:
        return writer.onnx.numpy_helper.from_array(array, name)
    tensor = writer.onnx.TensorProto(name=name, dims=array.shape, data_location=writer.onnx.TensorProto.EXTERNAL)
    tensor.data_type = writer.onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    file.write(bytes(-file.tell() % _ALIGNED))
    for key, value in (("location", location), ("offset", file.tell()), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    file.write(np.ascontiguousarray(array).data)
    return tensor
