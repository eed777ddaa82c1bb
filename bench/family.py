"""Deformable and transposed layers against their peers, in turn in one run: `python bench/family.py`, peers installed.

Deformable convolution against torchvision's operator, forward also against ONNX Runtime's, transposed convolution
against PyTorch. Prints a row per layer and direction, then how many times faster convkit is than was promised; the
status is 1 where it is not. A time is the median over rounds, in each of which every contender runs once in a burst.
"""

import argparse
import ctypes
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

import convkit
from convkit.cli.bench import CALLS, Setting, burst, prepare
from convkit.layers import LAYERS, UPSAMPLING, Layer
from peers import operands, pytorch

ROUNDS = 9
SETTLE_SECONDS = 0.05
DEFORMABLE = tuple(layer for layer in LAYERS if layer.kind in ("dcn", "dcn2"))
TRANSPOSED = tuple(layer for layer in LAYERS + UPSAMPLING if layer.kind == "convT")


@dataclass(frozen=True)
class Promise:
    """How many times a peer's speed: of each layer, and in the geometric mean of the layers."""

    each: float
    mean: float


PROMISES = {
    ("deformable", "forward", "torchvision"): Promise(8, 10),
    ("deformable", "forward", "ONNX Runtime"): Promise(1, 1),
    ("deformable", "backward", "torchvision"): Promise(20, 30),
    ("transposed", "forward", "PyTorch"): Promise(1, 1),
    ("transposed", "backward", "PyTorch"): Promise(1, 1),
}


def torchvision_operator():
    """torchvision's deform_conv2d; its library may ask for one of CUDA's, for which the environment has stand-ins."""
    for library in sorted(Path(sys.prefix).glob("cuda-names/*.so*")):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    for library in sorted(Path(find_spec("torchvision").origin).parent.glob("_C*.so")):
        torch.ops.load_library(str(library))
    from torchvision.ops import deform_conv2d

    return deform_conv2d


def deformable_operands(layer: Layer) -> dict[str, np.ndarray | None]:
    """Offsets from N(0, 1), masks from U(0, 1) where the layer has one."""
    x, weight, bias, grad = operands(layer)
    rng, taps = np.random.default_rng(1), math.prod(layer.kernel)
    offset = rng.standard_normal((layer.n, 2 * taps, *layer.out_spatial), np.float32)
    mask = rng.random((layer.n, taps, *layer.out_spatial), np.float32) if layer.kind == "dcn2" else None
    return {"x": x, "offset": offset, "weight": weight, "bias": bias, "mask": mask, "grad": grad}


def deformable_convkit(layer: Layer, direction: str) -> Callable[[], object]:
    """A call of convkit: forward, or all five gradients."""
    data = deformable_operands(layer)
    grad, bias = data.pop("grad"), data.pop("bias")
    sizes = {name: getattr(layer, name) for name in ("stride", "padding", "dilation")}
    if direction == "forward":
        y = np.empty_like(grad)
        return lambda: convkit.deform_conv2d(**data, bias=bias, out=y, **sizes)
    results = (data["x"], data["offset"], data["mask"], data["weight"], bias)
    out = tuple(None if array is None else np.empty_like(array) for array in results)
    return lambda: convkit.deform_conv2d_backward(grad, **data, out=out, **sizes)


def deformable_torchvision(layer: Layer, direction: str, operator) -> Callable[[], object]:
    """A call of torchvision: forward, or all gradients of one graph that is kept."""
    data = {
        name: None if array is None else torch.from_numpy(array) for name, array in deformable_operands(layer).items()
    }
    grad = data.pop("grad")
    sizes = {name: getattr(layer, name) for name in ("stride", "padding", "dilation")}
    call = {"input": data.pop("x"), **data, **sizes}
    if direction == "forward":
        return lambda: operator(**call)
    leaves = [tensor.requires_grad_() for tensor in call.values() if isinstance(tensor, torch.Tensor)]
    y = operator(**call)
    return lambda: torch.autograd.grad(y, leaves, grad, retain_graph=True)


def deformable_onnx(layer: Layer, threads: int) -> Callable[[], object]:
    """A call of ONNX Runtime on a model of one DeformConv, inputs and output bound to memory it owns."""
    data = deformable_operands(layer)
    grad = data.pop("grad")
    names = [name if data[name] is not None else "" for name in ("x", "weight", "offset", "bias", "mask")]
    node = onnx.helper.make_node(
        "DeformConv",
        names,
        ["y"],
        strides=[layer.stride] * 2,
        pads=[layer.padding] * 4,
        dilations=[layer.dilation] * 2,
        group=layer.groups,
    )
    tensor, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    given = [name for name in names if name]
    graph = onnx.helper.make_graph(
        [node], layer.name, [tensor(name, kind, data[name].shape) for name in given], [tensor("y", kind, grad.shape)]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name in given:
        binding.bind_cpu_input(name, data[name])
    binding.bind_output("y", "cpu")
    return lambda: session.run_with_iobinding(binding)


def seconds_of(contenders: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds by contender, in turn; torchvision, a hundred times slower, is called once where others run a burst."""
    bursts: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        call()
    for _ in range(ROUNDS):
        for name, call in contenders.items():
            time.sleep(SETTLE_SECONDS)  # threads of the one before wait for work, busily
            call()
            bursts[name].append(burst(call, 1 if name == "torchvision" else CALLS)[0])
    return {name: statistics.median(times) for name, times in bursts.items()}


def rows(kind: str, direction: str, threads: int):
    """(layer, seconds by contender) of a kind of layers."""
    operator = torchvision_operator() if kind == "deformable" else None
    for layer in DEFORMABLE if kind == "deformable" else TRANSPOSED:
        if kind == "transposed":
            calls = {
                "convkit": prepare(layer, direction, Setting(threads=threads)),
                "PyTorch": pytorch(layer, direction),
            }
        else:
            calls = {"convkit": deformable_convkit(layer, direction)}
            if direction == "forward":
                calls["ONNX Runtime"] = deformable_onnx(layer, threads)
            calls["torchvision"] = deformable_torchvision(layer, direction, operator)
        yield layer, seconds_of(calls)


def compare(kind: str, direction: str, threads: int) -> int:
    """Prints the rows of one kind and direction, and how they stand to the promises; returns how many fell short."""
    print(f"{kind} {direction}, {threads} threads, milliseconds, and how many times convkit's")
    ratios: dict[str, list[float]] = {}
    for layer, seconds in rows(kind, direction, threads):
        ours = seconds.pop("convkit")
        for name, theirs in seconds.items():
            ratios.setdefault(name, []).append(theirs / ours)
        others = (f"{name} {theirs * 1e3:7.2f} ({theirs / ours:5.2f})" for name, theirs in seconds.items())
        print(f"  {layer.name:<14}convkit {ours * 1e3:6.2f}   {'   '.join(others)}", flush=True)
    short = 0
    for name, found in ratios.items():
        promise, mean = PROMISES[kind, direction, name], math.exp(statistics.fmean(map(math.log, found)))
        kept = min(found) >= promise.each and mean >= promise.mean
        short += not kept
        wanted = f"wanted {promise.each:g} and {promise.mean:g}{'' if kept else '   SHORT'}"
        print(f"  {name}: least {min(found):.2f}, mean {mean:.2f}; {wanted}", flush=True)
    return short


def main() -> int:
    parser = argparse.ArgumentParser(description="Time deformable and transposed layers and their peers in turn.")
    parser.add_argument("--kind", nargs="+", choices=("deformable", "transposed"), default=["deformable", "transposed"])
    parser.add_argument("--direction", nargs="+", choices=("forward", "backward"), default=["forward", "backward"])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with convkit.threads(args.threads):
        short = sum(compare(kind, direction, args.threads) for kind in args.kind for direction in args.direction)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
