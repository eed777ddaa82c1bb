"""PyTorch, and torchvision for deformable layers: eager, out of autograd where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..._extras import need
from ..._timing import Contender
from ..layers import DEFORMABLE
from ..problem import IMAGES, Problem
from . import torchvision_deform

torch = need("torch", "bench")

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the number of axes


def build(problem: Problem) -> Contender:
    """The problem's call by PyTorch; gradients are of x, weight and bias at once where all are wanted."""
    torch.set_num_threads(problem.setting.threads)
    data = {name: _tensor(name, array, problem.setting.layout) for name, array in problem.operands.items()}
    if problem.layer.kind in DEFORMABLE:
        return _deformable(problem, data)
    layer, nd = problem.layer, problem.layer.nd
    stride, padding, dilation = map(list, problem.sizes().values())
    sizes = (stride, padding, dilation, layer.kind == "convT", [0] * nd, layer.groups)
    if problem.direction == "forward":
        return _without_autograd(lambda: torch.convolution(data["x"], data["weight"], data["bias"], *sizes))
    wanted = [name in problem.results for name in ("x", "weight", "bias")]
    backward = torch.ops.aten.convolution_backward
    return Contender(
        "torch",
        lambda: backward(data["grad"], data["x"], data["weight"], [layer.c_out], *sizes, wanted),
        lambda result: _arrays(("x", "weight", "bias"), result),
    )


def _tensor(name: str, array: np.ndarray, layout: str):
    tensor = torch.from_numpy(array)
    if layout == "NHWC" and tensor.ndim in FORMATS and (name in IMAGES or name == "weight"):
        return tensor.contiguous(memory_format=FORMATS[tensor.ndim])
    return tensor


def _without_autograd(forward: Callable[[], Any]) -> Contender:
    def call():
        with torch.inference_mode():
            return forward()

    return Contender("torch", call, lambda y: {"y": y.numpy()})


def _arrays(names: Sequence[str], tensors: Sequence[Any]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True) if tensor is not None}


def _deformable(problem: Problem, data: dict) -> Contender:
    """torchvision's operator, whose gradients are all computed whichever is wanted; the graph is made once and kept."""
    operator = torchvision_deform()
    grad = data.pop("grad", None)
    leaves = {"x": data.pop("x"), **data}

    def forward():
        given = {name: tensor for name, tensor in leaves.items() if name != "x"}
        return operator(leaves["x"], **given, **problem.sizes())

    if problem.direction == "forward":
        return _without_autograd(forward)
    wanted = [leaves[name].requires_grad_() for name in problem.results]
    y = forward()
    return Contender(
        "torch",
        lambda: torch.autograd.grad(y, wanted, grad, retain_graph=True),
        lambda result: _arrays(problem.results, result),
    )
