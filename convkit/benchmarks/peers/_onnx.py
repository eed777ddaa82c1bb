"""A layer as an ONNX model, for the libraries that read one."""

from __future__ import annotations

from ..._extras import need
from ..layers import DEFORMABLE
from ..problem import Problem

onnx = need("onnx", "bench")

OPERATORS = {"conv": "Conv", "convT": "ConvTranspose", "dcn": "DeformConv", "dcn2": "DeformConv"}
OPSET, IR_VERSION = 19, 9


def model(problem: Problem) -> bytes:
    """A model of one layer: x, offset and mask come in, weight and bias are constants."""
    layer, data = problem.layer, problem.operands
    names = ["x", "weight", "bias"]
    if layer.kind in DEFORMABLE:
        names = ["x", "weight", "offset", "bias", *(("mask",) if "mask" in data else ())]
    sizes = problem.sizes()
    helper = onnx.helper
    node = helper.make_node(
        OPERATORS[layer.kind],
        names,
        ["y"],
        kernel_shape=layer.kernel,
        strides=sizes["stride"],
        pads=sizes["padding"] * 2,
        dilations=sizes["dilation"],
        group=layer.groups,
    )
    kind = helper.np_dtype_to_tensor_dtype(data["x"].dtype)
    given = [name for name in names if name not in ("weight", "bias")]
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info(name, kind, data[name].shape) for name in given],
        [helper.make_tensor_value_info("y", kind, layer.y_shape)],
        [onnx.numpy_helper.from_array(data[name], name) for name in ("weight", "bias")],
    )
    versions = {"opset_imports": [helper.make_opsetid("", OPSET)], "ir_version": IR_VERSION}
    return helper.make_model(graph, **versions).SerializeToString()
