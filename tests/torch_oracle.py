"""What PyTorch answers in float64: forward by its own padding and convolution, gradients by its autograd."""

import numpy as np
import torch
from torch.nn import functional

from problems import Transposed

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
ACTIVATIONS = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "clip": functional.hardtanh,
}


def as_tensor(array) -> torch.Tensor:
    """A float64 leaf that autograd follows."""
    return torch.tensor(np.asarray(array, np.float64), requires_grad=True)


def activated(y: torch.Tensor, activation) -> torch.Tensor:
    """An activation as convkit names it."""
    if activation is None:
        return y
    name, *parameters = [activation] if isinstance(activation, str) else activation
    return ACTIVATIONS[name](y, *parameters)


def convolution(x, weight, bias, *, stride, pads, dilation, groups, padding_mode, activation) -> torch.Tensor:
    """The forward pass of tensors; `pads` has a pair per axis."""
    last_axis_first = [number for pair in reversed(pads) for number in pair]
    operator = (functional.conv1d, functional.conv2d, functional.conv3d)[len(pads) - 1]
    padded = functional.pad(x, last_axis_first, MODES[padding_mode])
    return activated(operator(padded, weight, bias, stride=stride, dilation=dilation, groups=groups), activation)


def transposed(x, weight, bias, *, stride, pads, out, dilation, groups, activation) -> torch.Tensor:
    """The forward pass of a transposed convolution, cropped by `pads` or lengthened to `out` after it."""
    operator = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[len(pads) - 1]
    y = operator(x, weight, None, stride=stride, groups=groups, dilation=dilation)
    for axis, ((low, _), size) in enumerate(zip(pads, out, strict=True), start=2):
        missing = max(low + size - y.shape[axis], 0)
        y = torch.cat([y, y.new_zeros(*y.shape[:axis], missing, *y.shape[axis + 1 :])], axis).narrow(axis, low, size)
    return activated(y if bias is None else y + bias.reshape(-1, *[1] * len(pads)), activation)


def gradients(leaves) -> dict:
    """The gradients of x, weight and bias; None of what is None."""
    names = ("x", "weight", "bias")
    return {name: None if leaf is None else leaf.grad.numpy() for name, leaf in zip(names, leaves, strict=True)}


def conv_answers(problem, x, weight, bias, grad) -> dict:
    """ "y", "x", "weight" and "bias" (None without one) of a problem of tests/problems.py.

    The padding of a transposed one PyTorch would not take as it is.
    """
    leaves = [None if a is None else as_tensor(a) for a in (x, weight, bias)]
    operator, own = (transposed, "out") if isinstance(problem, Transposed) else (convolution, "padding_mode")
    sizes = {name: getattr(problem, name) for name in ("stride", "pads", "dilation", "groups", "activation", own)}
    y = operator(*leaves, **sizes)
    y.backward(torch.tensor(np.asarray(grad, np.float64)))
    return {"y": y.detach().numpy()} | gradients(leaves)


def linear_answers(x, weight, bias, grad) -> dict:
    """The same of a linear map."""
    leaves = [as_tensor(a) for a in (x, weight, bias)]
    y = functional.linear(*leaves)
    y.backward(torch.tensor(np.asarray(grad, np.float64)))
    return {"y": y.detach().numpy()} | gradients(leaves)


def resize_answers(problem, x, grad) -> dict:
    """ "y" and "x" of a problem of tests/resample_problems.py."""
    leaf = as_tensor(x)
    scale = problem.scale if problem.scale is None or isinstance(problem.scale, tuple) else float(problem.scale)
    corners = None if problem.mode.startswith(("nearest", "area")) else problem.align_corners
    options = {"recompute_scale_factor": False, "antialias": problem.antialias}
    y = functional.interpolate(leaf, problem.size, scale, problem.mode, corners, **options)
    y.backward(torch.tensor(np.asarray(grad, np.float64)))
    return {"y": y.detach().numpy(), "x": leaf.grad.numpy()}


def grid_answers(problem, x, grid, grad) -> dict:
    """ "y", "x" and "grid" of another."""
    leaf, places = as_tensor(x), as_tensor(grid)
    y = functional.grid_sample(leaf, places, **problem.options)
    y.backward(torch.tensor(np.asarray(grad, np.float64)))
    return {"y": y.detach().numpy(), "x": leaf.grad.numpy(), "grid": places.grad.numpy()}


def columns(x, kernel, **sizes) -> np.ndarray:
    """unfold, in its own order of arguments."""
    return functional.unfold(torch.tensor(np.asarray(x, np.float64)), kernel, **sizes).numpy()


def image(cols, output_size, kernel, **sizes) -> np.ndarray:
    """fold, the adjoint of unfold."""
    return functional.fold(torch.tensor(np.asarray(cols, np.float64)), output_size, kernel, **sizes).numpy()
