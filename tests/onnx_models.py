"""Models of ONNX with random weights: the light architectures of the package onnx, and what PyTorch exports."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from torchvision_here import torchvision

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
# Of torchvision, with the size of the images that the tests give them.
EXPORTED = {
    "resnet50": 64, "mobilenet_v2": 64, "mobilenet_v3_large": 64, "efficientnet_b0": 64, "shufflenet_v2_x1_0": 64,
    "densenet121": 64, "convnext_tiny": 64, "deeplabv3_resnet50": 64, "unet": 64,
}  # fmt: skip


class UNet(torch.nn.Module):
    """Two steps down and up, with transposed convolutions, resizing and what is carried over."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, 16), (16, 32), (32, 64), (64 + 32, 32), (32 + 16, 16)
        self.blocks = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Conv2d(a, b, 3, padding=1), torch.nn.BatchNorm2d(b), torch.nn.SiLU())
            for a, b in sizes
        )
        self.up = torch.nn.ConvTranspose2d(64, 64, 2, 2)
        self.last = torch.nn.Conv2d(16, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Five maps of scores."""
        first = self.blocks[0](x)
        second = self.blocks[1](torch.nn.functional.max_pool2d(first, 2))
        third = self.blocks[2](torch.nn.functional.avg_pool2d(second, 2))
        y = self.blocks[3](torch.cat([self.up(third), second], 1))
        y = torch.nn.functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        return self.last(self.blocks[4](torch.cat([y, first], 1)))


def model(name: str) -> torch.nn.Module:
    """A network in evaluation, whose statistics are those of noise."""
    torch.manual_seed(0)
    if name == "unet":
        net = UNet()
    elif name.startswith("deeplab"):
        net = torchvision.models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=5)
    else:
        net = getattr(torchvision.models, name)(weights=None)
    with torch.no_grad():
        for _ in range(2):
            net.train()(torch.randn(4, 3, 64, 64))
    return net.eval()


def export(net: torch.nn.Module, size: int, dynamo: bool) -> bytes:
    """The network's file, by the newer exporter or the older one; the batch may have any size."""
    x, file = torch.randn(2, 3, size, size), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            batch = {0: torch.export.Dim("batch", min=1, max=64)}
            torch.onnx.export(net, (x,), file, dynamo=True, dynamic_shapes=(batch,), verbose=False)
        else:
            axes = {"x": {0: "batch"}}
            torch.onnx.export(net, (x,), file, dynamo=False, input_names=["x"], dynamic_axes=axes)
    return file.getvalue()


def light(name: str) -> onnx.ModelProto:
    """A light model with random weights, whose own are all alike; without its softmax, which would saturate."""
    proto, rng = onnx.load(LIGHT / f"light_{name}.onnx"), np.random.default_rng(0)
    graph = proto.graph
    shapes = {tensor.name: tuple(map(int, numpy_helper.to_array(tensor))) for tensor in graph.initializer
              if tensor.data_type == onnx.TensorProto.INT64}  # fmt: skip
    users = {value: (node, place) for node in graph.node for place, value in enumerate(node.input)}
    kept = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        user, place = users[node.output[0]]
        while user.op_type == "Unsqueeze":
            user, place = users[user.output[0]]
        array = _drawn(rng, user.op_type, place, shapes[node.input[0]])
        graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    if kept[-1].op_type == "Softmax":
        graph.output[0].name = graph.node.pop().input[0]
    return proto


def _drawn(rng: np.random.Generator, op: str, place: int, shape: tuple[int, ...]) -> np.ndarray:
    """Weights that keep the size of what they are multiplied with, scales about 1, and small shifts."""
    if op in ("Conv", "Gemm") and place == 1:
        inputs = np.prod(shape[1:]) / 2 if op == "Conv" else max(1, min(shape))
        return rng.standard_normal(shape) / np.sqrt(inputs)
    if op == "Mul" or (op == "BatchNormalization" and place in (1, 4)):
        return rng.uniform(0.5, 1.5, shape)
    return 0.1 * rng.standard_normal(shape)
