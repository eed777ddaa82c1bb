"""OpenVINO: a compiled model of one layer with constant weights, its input a tensor over the array, in float32."""

from __future__ import annotations

from typing import Any

from ..._extras import need
from ..._timing import Contender
from ..layers import DEFORMABLE
from ..problem import NotOfferedError, Problem

openvino = need("openvino", "bench")
ops = need("openvino.opset8", "bench")  # the first with deformable convolution and its mask


def build(problem: Problem) -> Contender:
    """The problem's forward call by OpenVINO, which has no gradients."""
    if problem.direction != "forward":
        raise NotOfferedError("OpenVINO computes no gradients")
    inputs = {
        name: ops.parameter(array.shape, array.dtype, name)
        for name, array in problem.operands.items()
        if name not in ("weight", "bias")
    }
    bias = problem.operands["bias"].reshape(1, -1, *(1,) * problem.layer.nd)
    model = openvino.Model([ops.add(_convolution(problem, inputs), ops.constant(bias))], list(inputs.values()))
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": problem.setting.threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    for index, name in enumerate(inputs):
        request.set_input_tensor(index, openvino.Tensor(problem.operands[name], shared_memory=True))

    def call():
        request.start_async()
        request.wait()  # infer() would copy the output into a fresh array

    return Contender("openvino", call, lambda _: {"y": request.get_output_tensor(0).data})


def _convolution(problem: Problem, inputs: dict[str, Any]):
    """The node of the layer, without its bias."""
    layer, sizes = problem.layer, problem.sizes()
    strides, pads, dilations = map(list, sizes.values())
    weight = problem.operands["weight"]
    if layer.kind in DEFORMABLE:
        return ops.deformable_convolution(
            inputs["x"],
            inputs["offset"],
            ops.constant(weight),
            strides,
            pads,
            pads,
            dilations,
            mask=inputs.get("mask"),
            group=layer.groups,
            bilinear_interpolation_pad=True,  # outside the image is zero, corner by corner
        )
    if layer.groups > 1:  # the groups are an axis of their own
        weight = weight.reshape(layer.groups, weight.shape[0] // layer.groups, *weight.shape[1:])
    weight = ops.constant(weight)
    if layer.kind == "convT":
        operator = ops.group_convolution_backprop_data if layer.groups > 1 else ops.convolution_backprop_data
        return operator(inputs["x"], weight, strides, None, pads, pads, dilations)
    operator = ops.group_convolution if layer.groups > 1 else ops.convolution
    return operator(inputs["x"], weight, strides, pads, pads, dilations)
