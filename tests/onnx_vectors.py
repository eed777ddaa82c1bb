"""The operator test vectors of the ONNX standard, as the package `onnx` brings them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
NODES = DATA / "node"


@cache
def _models() -> dict[str, bytes]:
    """The model of every case, by name; there are thousands."""
    return {path.name: (path / "model.onnx").read_bytes() for path in sorted(NODES.glob("test_*"))}


def names(operator: str) -> list[str]:
    """Names of all cases whose model is one node of this operator, such as "MaxPool"."""
    found = []
    for name, content in _models().items():
        if operator.encode() not in content:  # searching is much quicker than parsing
            continue
        nodes = onnx.ModelProto.FromString(content).graph.node
        if len(nodes) == 1 and nodes[0].op_type == operator:
            found.append(name)
    return found


def _array(path: Path) -> np.ndarray:
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def load(name: str) -> tuple[dict, list[np.ndarray | None], list[np.ndarray]]:
    """(attributes of the node, its inputs, its outputs) of one case; an input that is left out is None."""
    folder = NODES / name
    (node,) = onnx.load(folder / "model.onnx").graph.node
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    attributes = {key: value.decode() if isinstance(value, bytes) else value for key, value in attributes.items()}
    data = folder / "test_data_set_0"
    files = iter(range(len(node.input)))
    inputs = [_array(data / f"input_{next(files)}.pb") if argument else None for argument in node.input]
    return attributes, inputs, [_array(data / f"output_{i}.pb") for i in range(len(node.output))]


def folders(kind: str) -> list[Path]:
    """Those of all cases of a kind, such as "node" or "pytorch-converted"."""
    return sorted((DATA / kind).glob("test_*"))


def data_sets(folder: Path) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
    """(inputs, outputs) of a case, which are all tensors, for each of its data sets."""

    def arrays(data: Path, what: str) -> list[np.ndarray]:
        return [_array(data / f"{what}_{i}.pb") for i in range(len(list(data.glob(f"{what}_*.pb"))))]

    return [(arrays(data, "input"), arrays(data, "output")) for data in sorted(folder.glob("test_data_set_*"))]
