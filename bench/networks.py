"""Whole networks, prepared, for inference: `python bench/networks.py --against torch,onnxruntime --only "* 1x*"`.

PyTorch runs the same graph eagerly, operator by operator, as its modules would; ONNX Runtime the file that convkit
exports. All have the same weights, random ones, and batch normalisation random statistics.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pytorch import installed

from convkit import graph, models, nn, onnx_backend
from convkit._extras import need
from convkit.benchmarks.peers import torchvision_deform
from convkit.benchmarks.tasks import Task, main


def deformable_block() -> nn.Module:
    """A block of ResNet-18 at 28x28 whose second convolution is deformable."""
    rng = np.random.default_rng(0)
    branch = nn.Sequential(
        nn.Conv2d(128, 128, 3, padding=1, bias=False, rng=rng), nn.BatchNorm2d(128), nn.ReLU(),
        nn.DeformConv2d(128, 128, 3, padding=1, bias=False, rng=rng), nn.BatchNorm2d(128),
    )  # fmt: skip
    return nn.Sequential(nn.Residual(branch), nn.ReLU())


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    **{name: (lambda name=name: getattr(models, name)(rng=0), (3, 224, 224))
       for name in ("resnet18", "resnet50", "vgg16", "mobilenet_v2")},
    "unet": (lambda: models.unet(rng=0), (1, 256, 256)),
    "dcgan_generator": (lambda: models.dcgan_generator(rng=0), (100, 1, 1)),
    "deformable block": (deformable_block, (128, 28, 28)),
}  # fmt: skip
BATCHES = {"resnet18": (1, 8), "resnet50": (1, 8), "vgg16": (1, 8), "mobilenet_v2": (1, 8)}


def seen(model: nn.Module) -> nn.Module:
    """The model in evaluation, with statistics as if it had seen something."""
    rng = np.random.default_rng(1)
    for layer in model.modules():
        if getattr(layer, "running_mean", None) is not None:
            layer.running_mean.data[...] = rng.normal(0, 0.1, layer.num_features)
            layer.running_var.data[...] = rng.uniform(0.5, 1.5, layer.num_features)
    return model.eval()


# ---------------------------------------------------------------- PyTorch


def eager(model: nn.Module, x: np.ndarray, threads: int) -> Callable[[], Any]:
    """The model's graph by PyTorch's operators, each as its module would call it."""
    torch = installed(threads)
    traced = graph.trace(model, [x.shape], x.dtype)
    tensors = {value: torch.from_numpy(np.array(value.data)) for value in traced.constants()}
    given = torch.from_numpy(x)

    def run() -> Any:
        values = dict(tensors) | {traced.inputs[0]: given}
        for node in traced.nodes:
            arguments = [None if value is None else values[value] for value in node.inputs]
            values[node.outputs[0]] = OPERATORS[node.op](torch, node.attrs, *arguments)
        return values[traced.outputs[0]]

    def call() -> Any:
        with torch.inference_mode():
            return run()

    return call


def _moves(attrs: dict) -> dict[str, Any]:
    return {"stride": attrs["strides"], "padding": attrs["pads"][: len(attrs["strides"])]}


def _conv(torch: Any, attrs: dict, x: Any, weight: Any, bias: Any = None) -> Any:
    return torch.nn.functional.conv2d(x, weight, bias, **_moves(attrs), groups=attrs["group"])


def _conv_transpose(torch: Any, attrs: dict, x: Any, weight: Any, bias: Any = None) -> Any:
    return torch.nn.functional.conv_transpose2d(x, weight, bias, **_moves(attrs), groups=attrs["group"])


def _deform(torch: Any, attrs: dict, x: Any, weight: Any, offset: Any, bias: Any, mask: Any) -> Any:
    return torchvision_deform()(x, offset, weight, bias, **_moves(attrs), mask=mask)


def _norm(torch: Any, attrs: dict, x: Any, weight: Any, bias: Any, mean: Any, var: Any) -> Any:
    return torch.nn.functional.batch_norm(x, mean, var, weight, bias, eps=attrs["epsilon"])


OPERATORS: dict[str, Callable[..., Any]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DeformConv": _deform,
    "BatchNormalization": _norm,
    "Relu": lambda torch, attrs, x: torch.nn.functional.relu(x),
    "Clip": lambda torch, attrs, x, lo, hi: torch.nn.functional.hardtanh(x, float(lo), float(hi)),
    "Tanh": lambda torch, attrs, x: torch.tanh(x),
    "Sigmoid": lambda torch, attrs, x: torch.sigmoid(x),
    "MaxPool": lambda torch, attrs, x: torch.nn.functional.max_pool2d(x, attrs["kernel_shape"], **_moves(attrs)),
    "GlobalAveragePool": lambda torch, attrs, x: torch.nn.functional.adaptive_avg_pool2d(x, 1),
    "AdaptiveAveragePool": lambda torch, attrs, x: torch.nn.functional.adaptive_avg_pool2d(x, attrs["output_size"]),
    "Flatten": lambda torch, attrs, x: x.flatten(1),
    "Gemm": lambda torch, attrs, x, weight, bias: torch.nn.functional.linear(x, weight, bias),
    "Add": lambda torch, attrs, a, b: a + b,
    "Concat": lambda torch, attrs, *parts: torch.cat(parts, attrs["axis"]),
}


# ---------------------------------------------------------------- ONNX Runtime


def runtime(path: Path, threads: int) -> Any:
    """ONNX Runtime's session of a file."""
    onnxruntime = need("onnxruntime", "bench")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3  # errors
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def session(model: nn.Module, x: np.ndarray, threads: int) -> Callable[[], Any]:
    """The exported model, run by ONNX Runtime."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx_backend.export(model, path, x.shape)
        found = runtime(path, threads)
    name = found.get_inputs()[0].name
    return lambda: found.run(None, {name: x})[0]


PEERS = {"torch": eager, "onnxruntime": session}


def tasks(against: Sequence[str], threads: int) -> Iterator[Task]:
    for name, (make, image) in NETWORKS.items():
        model = seen(make())
        network = model.prepare()
        for batch in BATCHES.get(name, (1,)):
            x = np.random.default_rng(0).standard_normal((batch, *image), np.float32)
            peers = {peer: PEERS[peer](model, x, threads) for peer in against}
            label = f"{name} {'x'.join(map(str, x.shape))}"
            yield Task(label, lambda network=network, x=x: network(x), peers, lambda y: {"y": np.asarray(y)})


if __name__ == "__main__":
    sys.exit(main(__doc__, tasks, peers=tuple(PEERS)))
