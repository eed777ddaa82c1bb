"""convkit, PyTorch and ONNX Runtime in turn on the same layers: `python bench/peers.py`, with the peers installed.

All run in this process on the same number of threads, burst about, so that a slow episode of the machine meets each of
them; a library's time is the median of its best burst. Between bursts all sleep: threads of the library before would
still be waiting for work, busily, on the cores of the next (ONNX Runtime's do so for longest). It has no gradients.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import torch

import convkit
from convkit.cli.bench import BURSTS, PASSES, Setting, burst, prepare, select
from convkit.layers import Layer

ROUNDS = 2 * BURSTS
SETTLE_SECONDS = 0.05


def operands(layer: Layer) -> tuple[np.ndarray, ...]:
    """(x, weight, bias, grad) of a layer."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((layer.n, layer.c_in, *layer.spatial), np.float32)
    weight = rng.standard_normal(layer.weight_shape, np.float32)
    grad = rng.standard_normal((layer.n, layer.c_out, *layer.out_spatial), np.float32)
    return x, weight, rng.standard_normal(layer.c_out, np.float32), grad


def pytorch(layer: Layer, direction: str) -> Callable[[], object]:
    """A call of PyTorch: its convolution, transposed or not, or its gradients of x, weight and bias at once."""
    x, weight, bias, grad = map(torch.from_numpy, operands(layer))
    nd, transposed = len(layer.kernel), layer.kind == "convT"
    stride, padding, dilation = ([size] * nd for size in (layer.stride, layer.padding, layer.dilation))
    sizes = (stride, padding, dilation, transposed, [0] * nd, layer.groups)
    if direction == "forward":

        def call():
            with torch.inference_mode():
                return torch.convolution(x, weight, bias, *sizes)

        return call
    backward, needed = torch.ops.aten.convolution_backward, [True] * 3
    return lambda: backward(grad, x, weight, [layer.c_out], *sizes, needed)


def onnx_runtime(layer: Layer, threads: int) -> Callable[[], object]:
    """A call of ONNX Runtime on a model of one convolution, input and output bound to memory it owns."""
    x, weight, bias, grad = operands(layer)
    nd = len(layer.kernel)
    node = onnx.helper.make_node(
        "ConvTranspose" if layer.kind == "convT" else "Conv",
        ["x", "weight", "bias"],
        ["y"],
        strides=[layer.stride] * nd,
        pads=[layer.padding] * 2 * nd,
        dilations=[layer.dilation] * nd,
        group=layer.groups,
    )
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        layer.name,
        [tensor("x", onnx.TensorProto.FLOAT, x.shape)],
        [tensor("y", onnx.TensorProto.FLOAT, grad.shape)],
        [onnx.numpy_helper.from_array(weight, "weight"), onnx.numpy_helper.from_array(bias, "bias")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y", "cpu")
    return lambda: session.run_with_iobinding(binding)


def compare(layer: Layer, direction: str, setting: Setting) -> dict[str, float]:
    """Seconds by library."""
    calls = {"convkit": prepare(layer, direction, setting), "PyTorch": pytorch(layer, direction)}
    if direction == "forward":
        calls["ONNX Runtime"] = onnx_runtime(layer, setting.threads)
    bursts: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            time.sleep(SETTLE_SECONDS)
            call()
            bursts[name].append(burst(call)[0])
    return {name: min(times) for name, times in bursts.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description="Time convkit and its peers in turn.")
    parser.add_argument("--layers", default="*", metavar="PATTERN")
    parser.add_argument("--direction", nargs="+", choices=("forward", "backward"), default=["forward", "backward"])
    parser.add_argument("--algorithm", default="auto")
    parser.add_argument("--threads", type=int, default=convkit.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    setting = Setting(threads=args.threads, algorithm=args.algorithm)
    for direction in args.direction:
        print(
            f"{direction}, {args.threads} threads: GFLOP/s, and how many times faster convkit is than the faster peer"
        )
        ratios = []
        with convkit.threads(args.threads):
            for layer in select(args.layers):
                times = compare(layer, direction, setting)
                ratios.append(min(seconds for name, seconds in times.items() if name != "convkit") / times["convkit"])
                rates = (f"{name} {PASSES[direction] * layer.flops / s / 1e9:7.1f}" for name, s in times.items())
                print(f"{layer.name:<18}{ratios[-1]:6.2f}   {'   '.join(rates)}", flush=True)
        print(f"{'geometric mean':<18}{math.exp(statistics.fmean(map(math.log, ratios))):6.2f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
