"""From a model of ONNX to a graph: names become values, operators their newest form, functions what is in them."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..graph import OPS, Graph, Value
from .files import (
    BFLOAT16,
    FLOAT16,
    HALVES,
    RefusedTypeError,
    Tensors,
    UnsupportedError,
    declared_dtype,
    dtype_of,
    onnx,
    type_name,
)
from .shapes import Shapes
from .types import TYPE_ATTRIBUTES, Types, same
from .versions import Call, newest

Scope = MutableMapping[str, Value | None]

_MOST_NODES = 100_000  # functions that use functions that use functions grow without bound
_DEEPEST = 50
_ROUNDED = "FLOAT16", "BFLOAT16"


class Importer:
    """Makes the graph of one model.

    Parameters
    ----------
    model : ModelProto
    folder : Path or None
        Of the model's further files.
    max_bytes : int
        What its tensors may take.

    Attributes
    ----------
    graph : Graph
    """

    def __init__(self, model: Any, folder: Path | None, max_bytes: int) -> None:
        self._onnx = onnx()
        self._tensors, self._types = Tensors(folder, max_bytes), Types()
        self.graph = Graph()
        self._missing: dict[str, int] = {}  # what there is none of, and how often the model has it
        self._functions = {(_domain(f.domain), f.name, f.overload): f for f in model.functions}
        self._count = 0
        self._sizes, self._ranks = Shapes(self.graph, max_bytes), Shapes(self.graph, max_bytes, unknown=1)
        opsets = {_domain(entry.domain): entry.version for entry in model.opset_import}
        scope = self._initial(model.graph)
        self._nodes(model.graph.node, scope, opsets or {"": 1}, {}, 0)
        self._give(model.graph.output, scope)
        if self._missing:
            named = (name if count == 1 else f"{name} ({count} times)" for name, count in self._missing.items())
            raise UnsupportedError(f"the model needs what convkit does not have: {', '.join(named)}")

    def _miss(self, what: str) -> None:
        self._missing[what] = self._missing.get(what, 0) + 1

    # ---------------------------------------------------------------- inputs, tensors, outputs

    def _initial(self, proto: Any) -> Scope:
        scope: Scope = {}
        self._initializers(proto, scope)
        for entry in proto.input:
            if entry.name in scope:  # its default, which stands
                continue
            if entry.type.WhichOneof("value") != "tensor_type":
                self._miss(f"input {entry.name!r}, which is a {entry.type.WhichOneof('value') or 'value of no type'}")
                scope[entry.name] = Value(self.graph, entry.name)
                continue
            scope[entry.name] = self._input(entry.name, entry.type.tensor_type)
        return scope

    def _input(self, name: str, kind: Any) -> Value:
        """The value of an input of the model, of its declared type and sizes."""
        sizes = None
        if kind.HasField("shape"):
            sizes = tuple(_size(dim) for dim in kind.shape.dim)
        value = self.graph.input(name)
        try:
            self.graph.declared[name] = declared_dtype(kind.elem_type), sizes
            for shapes in (self._sizes, self._ranks) if sizes is not None else ():
                shapes.given(value, self.graph.declared[name][0], sizes)
        except RefusedTypeError as error:
            self._miss(f"input {name!r}, {error}")
            return value
        if kind.elem_type in HALVES:
            value = self.graph.emit("Cast", [value], {"to": np.dtype(np.float32)}, path=name)
        self._types.note(value, kind.elem_type)
        return value

    def _initializers(self, proto: Any, scope: Scope) -> None:
        for tensor in proto.initializer:
            scope[tensor.name] = self._constant(tensor, tensor.name)
        for tensor in proto.sparse_initializer:
            self._miss(f"the sparse tensor {tensor.values.name!r}")
            scope[tensor.values.name] = Value(self.graph, tensor.values.name)

    def _constant(self, tensor: Any, name: str) -> Value:
        try:
            value = self.graph.constant(self._tensors.array(tensor), name)
        except RefusedTypeError as error:
            self._miss(f"tensor {name!r}, {error}")
            return Value(self.graph, name)
        self._types.note(value, tensor.data_type)
        return value

    def _give(self, outputs: Sequence[Any], scope: Scope) -> None:
        """The graph's outputs, in the types that the model declares."""
        for entry in outputs:
            value, kind = _found(scope, entry.name, "an output"), entry.type
            if kind.WhichOneof("value") not in ("tensor_type", None):
                self._miss(f"output {entry.name!r}, which is a {kind.WhichOneof('value')}")
            else:
                value = self._as_declared(value, entry.name, kind.tensor_type)
            self.graph.outputs.append(value)
            self.graph.output_names.append(entry.name)
        if not outputs:
            raise ValueError("the model has no outputs")
        self.graph.several = len(outputs) > 1

    def _as_declared(self, value: Value, name: str, kind: Any) -> Value:
        """An output in the type that the model declares or, where it declares none, that its node gives."""
        found = self._types.of(value)
        number = kind.elem_type or found
        if found is not None and not same(found, number):
            raise ValueError(f"output {name!r} is declared to be {type_name(number)}, and is {type_name(found)}")
        self.graph.promised[name] = tuple(map(_size, kind.shape.dim)) if kind.HasField("shape") else None
        if number in HALVES:
            return self.graph.emit("Cast", [value], {"to": declared_dtype(number)}, path=name)
        return value

    # ---------------------------------------------------------------- nodes

    def _nodes(
        self, nodes: Sequence[Any], scope: Scope, opsets: Mapping[str, int], given: Mapping[str, Any], depth: int
    ) -> None:
        """Nodes of a graph or of a function; `given` are the attributes that the function was called with."""
        if depth > _DEEPEST:
            raise ValueError(f"the model's functions and branches are nested more than {_DEEPEST} deep")
        for node in nodes:
            self._count += 1
            if self._count > _MOST_NODES:
                raise ValueError(f"the model's functions make more than {_MOST_NODES} nodes")
            inputs = [_found(scope, name, f"node {_path(node)!r}") if name else None for name in node.input]
            while inputs and inputs[-1] is None:
                inputs.pop()
            try:
                results = self._node(node, inputs, scope, opsets, given, depth)
            except UnsupportedError as error:
                self._miss(str(error))
                results = [Value(self.graph, name) for name in node.output]
            for name, value in zip(node.output, results, strict=False):
                if name:
                    scope[name] = value

    def _node(
        self, node: Any, inputs: list[Value | None], scope: Scope, opsets: Mapping[str, int],
        given: Mapping[str, Any], depth: int,
    ) -> Sequence[Value | None]:  # fmt: skip
        """The outputs of a node: an inlined function's, a branch's, or those of its operator in the newest form."""
        domain = _domain(node.domain)
        function = self._functions.get((domain, node.op_type, node.overload))
        if function is not None:
            return self._call(function, inputs, self._attributes(node, given), node.output, depth)
        if domain != "" or not self._onnx.defs.has(node.op_type):
            raise UnsupportedError(f"{domain}.{node.op_type}" if domain else node.op_type)
        if "" not in opsets:
            raise ValueError(f"the model has node {node.op_type}, and says of no operator set which version it has")
        version = opsets[""]
        attrs = self._attributes(node, given)
        schema = self._checked(node, inputs, version)
        if node.op_type == "If":
            return self._if(inputs, attrs, scope, opsets, given, depth)
        bound = self._types.check(_who(node), schema, inputs)
        results = self._made(node, inputs, dict(attrs), version, depth)
        self._types.give(schema, attrs, bound, results)
        return results

    def _made(
        self, node: Any, inputs: list[Value | None], attrs: dict[str, Any], version: int, depth: int
    ) -> Sequence[Value | None]:
        """What an operator gives, by its row or by what it is made of."""
        call = Call(self.graph, node.op_type, inputs, attrs, len(node.output), lambda i: self._rank(inputs[i]))
        result = newest(call, version)
        if result is not None:
            return result if isinstance(result, tuple) else [result]
        if call.op not in OPS:
            return self._body(node, inputs, attrs, version, depth)
        return self._emit(call, _path(node))

    def _checked(self, node: Any, inputs: Sequence[Value | None], version: int) -> Any:
        """The operator's definition; inputs and attributes must be what it asks for."""
        newest_known = self._onnx.defs.onnx_opset_version()
        if version > newest_known:
            raise UnsupportedError(f"operator set {version} (onnx {self._onnx.__version__} ends with {newest_known})")
        try:
            schema = self._onnx.defs.get_schema(node.op_type, version)
        except self._onnx.defs.SchemaError:
            raise UnsupportedError(f"{node.op_type} of operator set {version}") from None
        who, optional = _who(node), self._onnx.defs.OpSchema.FormalParameterOption.Optional
        if not schema.min_input <= len(inputs) <= schema.max_input or len(node.output) > schema.max_output:
            raise ValueError(f"{who} has {len(inputs)} inputs and {len(node.output)} outputs, which it may not")
        for i, value in enumerate(inputs):
            formal = schema.inputs[min(i, len(schema.inputs) - 1)]  # the last one may stand for many
            if value is None and formal.option != optional:
                raise ValueError(f"{who} has no input {formal.name}, which it needs")
        for attribute in node.attribute:
            formal = schema.attributes.get(attribute.name)
            if formal is None:
                raise ValueError(f"{who} has an attribute {attribute.name}, which operator set {version} does not know")
            if int(formal.type) != attribute.type:
                raise ValueError(f"{who} has an attribute {attribute.name} of another type than {formal.type.name}")
        missing = [name for name, formal in schema.attributes.items() if formal.required and not _given(node, name)]
        if missing:
            raise ValueError(f"{who} has no attribute {', '.join(missing)}, which it needs")
        return schema

    def _emit(self, call: Call, path: str) -> Sequence[Value]:
        if call.op == "Constant":
            return [self.graph.constant(_constant_of(call.attrs), path)]
        if call.op == "Cast" and call.attrs["to"] in _ROUNDED:  # rounded, and float32 again
            to = declared_dtype(FLOAT16 if call.attrs["to"] == "FLOAT16" else BFLOAT16)
            rounded = self.graph.emit("Cast", call.inputs, {"to": to}, path=path)
            return [self.graph.emit("Cast", [rounded], {"to": np.dtype(np.float32)}, path=path)]
        results = self.graph.emit(call.op, call.inputs, call.attrs, call.outputs, path)
        return results if isinstance(results, tuple) else [results]

    def _attributes(self, node: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes' values; one that refers to the function's has that one, or is left out."""
        attrs = {}
        for attribute in node.attribute:
            name = attribute.name
            if attribute.ref_attr_name:
                if attribute.ref_attr_name in given:
                    attrs[name] = given[attribute.ref_attr_name]
            else:
                attrs[name] = self._attribute(attribute, f"{node.op_type} {_path(node)!r}")
            if name in attrs and TYPE_ATTRIBUTES.get(node.op_type) == name:
                attrs[name] = _element_type(node.op_type, attrs[name])
        return attrs

    def _attribute(self, attribute: Any, where: str) -> Any:
        """An attribute's value as Python and NumPy have it."""
        kinds = self._onnx.AttributeProto
        kind = attribute.type
        if kind in (kinds.FLOAT, kinds.INT):
            return attribute.f if kind == kinds.FLOAT else attribute.i
        if kind == kinds.STRING:
            return attribute.s.decode("utf-8", "replace")
        if kind in (kinds.FLOATS, kinds.INTS):
            return tuple(attribute.floats if kind == kinds.FLOATS else attribute.ints)
        if kind == kinds.STRINGS:
            return tuple(text.decode("utf-8", "replace") for text in attribute.strings)
        if kind == kinds.GRAPH:
            return attribute.g
        if kind != kinds.TENSOR:
            names = kinds.AttributeType
            name = names.Name(kind) if kind in names.values() else f"number {kind}"
            raise UnsupportedError(f"{where} with an attribute of type {name}")
        try:
            return self._tensors.array(attribute.t)
        except RefusedTypeError as error:
            raise UnsupportedError(f"{where} with {error}") from error

    # ---------------------------------------------------------------- what nodes are made of

    def _call(
        self, function: Any, inputs: list[Value | None], attrs: dict[str, Any], outputs: Sequence[str], depth: int,
        opsets: Mapping[str, int] | None = None,
    ) -> list[Value | None]:  # fmt: skip
        """A function's nodes in place of a node that calls it."""
        defaults = {attribute.name: attribute for attribute in function.attribute_proto}
        given = {name: self._attribute(default, function.name) for name, default in defaults.items()} | attrs
        scope: Scope = dict.fromkeys(function.input)
        scope.update(zip(function.input, inputs, strict=False))
        own = {_domain(entry.domain): entry.version for entry in function.opset_import}
        self._nodes(function.node, scope, own or opsets or {}, given, depth + 1)
        who = f"function {function.name!r}"
        return [
            _found(scope, name, who) if asked else None for name, asked in zip(function.output, outputs, strict=False)
        ]

    def _body(
        self, node: Any, inputs: list[Value | None], attrs: dict[str, Any], version: int, depth: int
    ) -> list[Value | None]:
        """An operator that has no row, by what ONNX says that it is made of."""
        schema = self._onnx.defs.get_schema(node.op_type, version)
        if not schema.has_function:  # those that onnx makes for a node's types, in C++, do not outlive a bad file
            raise UnsupportedError(node.op_type)
        function = schema.function_body
        defaults = {
            name: self._attribute(attribute.default_value, node.op_type)
            for name, attribute in schema.attributes.items()
            if attribute.default_value.name
        }
        known, self._missing = self._missing, {}
        try:
            results = self._call(function, inputs, defaults | attrs, node.output, depth, {"": version})
            inside = self._missing
        finally:
            self._missing = known
        if inside:
            raise UnsupportedError(f"{node.op_type} (made of {', '.join(inside)})")
        return results

    def _if(
        self, inputs: list[Value | None], attrs: dict[str, Any], scope: Scope, opsets: Mapping[str, int],
        given: Mapping[str, Any], depth: int,
    ) -> list[Value]:  # fmt: skip
        """The branch that a condition which is known chooses."""
        condition = self._sizes.of(inputs[0])
        if condition is None or condition.data is None:
            raise UnsupportedError("If whose condition is not constant")
        branch = attrs["then_branch" if condition.data.reshape(-1)[:1].any() else "else_branch"]
        inner: Scope = ChainMap({}, scope)
        self._initializers(branch, inner)
        self._nodes(branch.node, inner, opsets, given, depth + 1)
        return [_found(inner, entry.name, "a branch") for entry in branch.output]

    # ---------------------------------------------------------------- ranks

    def _rank(self, value: Value | None) -> int:
        """A value's number of axes."""
        info = self._ranks.of(value)
        if info is None:
            raise UnsupportedError("broadcasting from an axis on, before operator set 7, of a value of unknown rank")
        return len(info.shape)


# ---------------------------------------------------------------- small things


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _given(node: Any, name: str) -> bool:
    return any(attribute.name == name for attribute in node.attribute)


def _who(node: Any) -> str:
    return f"node {node.op_type} {_path(node)!r}"


def _path(node: Any) -> str:
    """What a node is called: its own name, or that of its first output."""
    return node.name or next(iter(node.output), "")


def _found(scope: Mapping[str, Value | None], name: str, who: str) -> Any:
    if name not in scope:
        raise ValueError(f"{who} takes {name!r}, which nothing before it gives")
    return scope[name]


def _element_type(op: str, number: Any) -> Any:
    """A dtype; for a Cast that rounds, the type's name."""
    if isinstance(number, str):  # before operator set 6
        number = onnx().TensorProto.DataType.Value(number)
    if op == "Cast" and number in HALVES:
        return type_name(number)
    try:
        return dtype_of(number)
    except RefusedTypeError as error:
        raise UnsupportedError(f"{op} to {error}") from error


def _constant_of(attrs: dict[str, Any]) -> np.ndarray:
    """What a Constant node is."""
    for name, dtype in {
        "value": None,
        "value_float": "f4",
        "value_floats": "f4",
        "value_int": "i8",
        "value_ints": "i8",
    }.items():
        if name in attrs:
            return np.asarray(attrs[name], dtype)
    raise UnsupportedError(f"Constant of {', '.join(attrs) or 'nothing'}")


def _size(dim: Any) -> int | None:
    """A declared size; None of one that has a name, or a negative number, as some exporters write instead."""
    return dim.dim_value if dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0 else None
