"""ONNX models in convkit's engine, models of convkit as ONNX files, and onnx's Backend interface. Needs ``[onnx]``.

`load` makes a `Network` of a model, `export` a file of a model of `convkit.nn`. The functions `prepare`, `run_model`,
`run_node` and `supports_device` are the interface that onnx asks of a backend, so that the module itself is one::

    from convkit import onnx_backend
    network = onnx_backend.load("resnet50.onnx")
    probabilities = network(images)
"""

from .backend import Prepared, Reference, is_compatible, load, prepare, run_model, run_node, supports_device
from .exporter import export
from .files import UnsupportedError

__all__ = [
    "Prepared",
    "Reference",
    "UnsupportedError",
    "export",
    "is_compatible",
    "load",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]
