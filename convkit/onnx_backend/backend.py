"""Loading, running, and the interface of onnx's backends."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._memory import number_of_bytes
from .._words import brief, counted
from ..graph import Network
from .files import UnsupportedError, onnx, read
from .importer import Importer


def load(
    model: Any, *, max_bytes: int | str | None = None, fallback: bool = False, folder: str | os.PathLike | None = None
) -> Network | Reference:
    """A model of ONNX as a network.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
        Tensors that lie in files of their own must lie in the model's folder.
    max_bytes : int or str, optional
        What the model's tensors may take, and what all values of a run may take, such as ``"64MB"``; by default half of
        the machine's memory.
    fallback : bool, optional
        Whether a model that convkit cannot run whole is run by onnx's reference evaluator, slowly; a warning says so.
    folder : path, optional
        Where tensors of a model that is no path may lie.

    Returns
    -------
    Network
        Called with the inputs in order, or by name; inputs and outputs have the dtypes that the model declares, and
        sizes that it does not fix may differ from call to call. With several outputs a call gives a tuple. Or a
        `Reference`, if `fallback` was needed.

    Raises
    ------
    UnsupportedError
        If the model needs operators or element types that convkit does not have: all of them are named.
    ValueError
        If it is no model, or not one that can be run.
    MemoryError
        If it needs more than `max_bytes`.

    Examples
    --------
    >>> import numpy as np
    >>> from onnx import parser
    >>> from convkit import onnx_backend
    >>> model = parser.parse_model('''<ir_version: 10, opset_import: ["" : 22]>
    ... halves (float[n, 2] x) => (float[n, 2] y) {
    ...   two = Constant<value_float = 2.0> ()
    ...   y = Div(x, two)
    ... }''')
    >>> network = onnx_backend.load(model)
    >>> network.inputs, network.outputs
    (['x'], ['y'])
    >>> network(np.array([[4, 6]], np.float32))
    array([[2., 3.]], dtype=float32)
    """
    max_bytes = _half_of_memory() if max_bytes is None else number_of_bytes(max_bytes, "max_bytes")
    proto, beside = read(model)
    if beside is None and folder is not None:
        beside = Path(folder).resolve()
    try:
        graph = Importer(proto, beside, max_bytes).graph
    except UnsupportedError as error:
        if not fallback:
            raise
        warnings.warn(f"onnx's reference evaluator runs the whole model: {error}", UserWarning, stacklevel=2)
        return Reference(proto, str(error))
    return Network(graph, max_bytes=max_bytes)


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


class Reference:
    """A model that onnx's reference evaluator runs, called like a `Network`.

    Attributes
    ----------
    inputs, outputs : list of str
    reason : str
        What convkit does not have.

    Examples
    --------
    >>> import numpy as np
    >>> from onnx import parser
    >>> from convkit import onnx_backend
    >>> text = '<ir_version: 10, opset_import: ["" : 22]> m (float[2] x) => (float[2] y) {y = Neg(x)}'
    >>> reference = onnx_backend.Reference(parser.parse_model(text), "asked for")
    >>> reference.outputs, reference(np.ones(2, np.float32))
    (['y'], array([-1., -1.], dtype=float32))
    """

    def __init__(self, model: Any, reason: str) -> None:
        onnx()
        from onnx.reference import ReferenceEvaluator

        self._model, self._evaluator = model, ReferenceEvaluator(model)
        initial = {tensor.name for tensor in model.graph.initializer}
        self.inputs = [entry.name for entry in model.graph.input if entry.name not in initial]
        self.outputs = [entry.name for entry in model.graph.output]
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return _reference, (self._model.SerializeToString(), self.reason)

    def __repr__(self) -> str:
        return f"Reference({', '.join(self.inputs)} -> {', '.join(self.outputs)}; {self.reason})"

    def __call__(self, /, *inputs: Any, **named: Any) -> Any:
        """Run the model; as `Network.__call__`."""
        if len(inputs) > len(self.inputs):
            takes = f"{counted(len(self.inputs), 'input')}, {', '.join(self.inputs)}"
            raise TypeError(f"the model takes {takes}; got {len(inputs)}")
        results = self._evaluator.run(None, dict(zip(self.inputs, inputs, strict=False)) | named)
        return tuple(results) if len(results) > 1 else results[0]


def _reference(model: bytes, reason: str) -> Reference:
    return Reference(onnx().load_model_from_string(model), reason)


# ---------------------------------------------------------------- the interface of onnx's backends


class Prepared:
    """What `prepare` gives: a model that is ready to run.

    Attributes
    ----------
    network : Network or Reference

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn, onnx_backend
    >>> prepared = onnx_backend.Prepared(nn.ReLU().prepare())
    >>> prepared.run(np.array([-1.0, 2.0], np.float32))
    (array([0., 2.], dtype=float32),)
    """

    def __init__(self, network: Network | Reference) -> None:
        self.network = network

    def run(self, inputs: Any, **_: Any) -> tuple[Any, ...]:
        """The outputs, a tuple, for a sequence of inputs, one array, or a dict of arrays by name."""
        if isinstance(inputs, Mapping):
            results = self.network(**inputs)
        else:
            results = self.network(*(inputs if isinstance(inputs, (list, tuple)) else [inputs]))
        return results if isinstance(results, tuple) else (results,)


def prepare(model: Any, device: str = "CPU", **options: Any) -> Prepared:
    """A model that is ready to run; further options are those of `load`.

    Examples
    --------
    >>> import numpy as np
    >>> from onnx import parser
    >>> from convkit import onnx_backend
    >>> text = '<ir_version: 10, opset_import: ["" : 22]> m (float[2] x) => (float[2] y) {y = Neg(x)}'
    >>> model = parser.parse_model(text)
    >>> onnx_backend.prepare(model).run([np.ones(2, np.float32)])
    (array([-1., -1.], dtype=float32),)
    """
    if not supports_device(device):
        raise ValueError(f"device must be 'CPU', got {brief(device)}")
    return Prepared(load(model, **options))


def run_model(model: Any, inputs: Any, device: str = "CPU", **options: Any) -> tuple[Any, ...]:
    """The outputs of a model for these inputs; further options are those of `load`.

    Examples
    --------
    >>> import numpy as np
    >>> from onnx import parser
    >>> from convkit import onnx_backend
    >>> text = '<ir_version: 10, opset_import: ["" : 22]> m (float[2] x) => (float[2] y) {y = Neg(x)}'
    >>> model = parser.parse_model(text)
    >>> onnx_backend.run_model(model, {"x": np.ones(2, np.float32)})
    (array([-1., -1.], dtype=float32),)
    """
    return prepare(model, device, **options).run(inputs)


def run_node(
    node: Any, inputs: Any, device: str = "CPU", outputs_info: Sequence[Any] | None = None, **options: Any
) -> tuple[Any, ...]:
    """The outputs of one node, a NodeProto, for these inputs; further options are `opset_version` and those of `load`.

    Examples
    --------
    >>> import numpy as np
    >>> from onnx import helper
    >>> from convkit import onnx_backend
    >>> onnx_backend.run_node(helper.make_node("Add", ["a", "b"], ["c"]), [np.arange(2), np.arange(2)])
    (array([0, 2]),)
    """
    helper = onnx().helper
    version = options.pop("opset_version", onnx().defs.onnx_opset_version())
    names = list(dict.fromkeys(name for name in node.input if name))
    given = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(names, inputs, strict=True))
    arrays = {name: np.asarray(given[name]) for name in names}
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in arrays.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    model = helper.make_model(
        helper.make_graph([node], "node", infos, outputs), opset_imports=[helper.make_opsetid("", version)]
    )
    results = run_model(model, arrays, device, **options)
    if outputs_info is None:
        return results
    return tuple(np.asarray(y, dtype) for y, (dtype, _) in zip(results, outputs_info, strict=False))


def supports_device(device: str) -> bool:
    """Whether models run on this device: on the CPU.

    Examples
    --------
    >>> from convkit import onnx_backend
    >>> onnx_backend.supports_device("CPU"), onnx_backend.supports_device("CUDA")
    (True, False)
    """
    return isinstance(device, str) and device.partition(":")[0] == "CPU"


def is_compatible(model: Any, device: str = "CPU", **options: Any) -> bool:
    """Whether convkit runs the whole model itself.

    Examples
    --------
    >>> from onnx import parser
    >>> from convkit import onnx_backend
    >>> text = '<ir_version: 10, opset_import: ["" : 22]> m (float[2] x) => (float[2] y) {y = Neg(x)}'
    >>> model = parser.parse_model(text)
    >>> onnx_backend.is_compatible(model)
    True
    """
    try:
        load(model, **options)
    except UnsupportedError:
        return False
    return supports_device(device)
