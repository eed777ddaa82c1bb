"""PyTorch's and torchvision's layers under the names of `convkit.nn`, and what PyTorch makes of a case."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from torchvision_here import torchvision


class DeformConv2d(nn.Module):
    """torchvision's operator with a branch of two convolutions."""

    def __init__(self, c_in, c_out, kernel_size, stride=1, padding=0, *, groups=1, bias=True, offset_groups=1,
                 modulated=True, branch=True):  # fmt: skip
        super().__init__()
        plain = nn.Conv2d(c_in, c_out, kernel_size, stride, padding, groups=groups, bias=bias)
        self.weight, self.bias, self.moves = plain.weight, plain.bias, {"stride": stride, "padding": padding}
        samples = offset_groups * plain.weight[0, 0].numel()
        if branch:
            self.conv_offset = nn.Conv2d(c_in, 2 * samples, kernel_size, stride, padding)
        if branch and modulated:
            self.conv_mask = nn.Conv2d(c_in, samples, kernel_size, stride, padding)

    def forward(self, x, offset=None, mask=None):
        if hasattr(self, "conv_mask"):
            mask = torch.sigmoid(self.conv_mask(x))
        offset = self.conv_offset(x) if offset is None else offset
        return torchvision.ops.deform_conv2d(x, offset, self.weight, self.bias, mask=mask, **self.moves)


class DepthwiseSeparableConv2d(nn.Sequential):
    def __init__(self, c_in, c_out, *sizes):
        super().__init__()
        self.depthwise = nn.Conv2d(c_in, c_in, *sizes, groups=c_in)
        self.pointwise = nn.Conv2d(c_in, c_out, 1)


class Residual(nn.Module):
    def __init__(self, branch, shortcut=None):
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut or nn.Sequential()

    def forward(self, x):
        return self.branch(x) + self.shortcut(x)


class Concat(nn.Module):
    def __init__(self, *branches, dim=1):
        super().__init__()
        self.branches, self.dim = nn.ModuleList(branches), dim

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], self.dim)


def _global(name, nd):
    return lambda: getattr(nn, f"Adaptive{name}Pool{nd}d")(1)


NAMESPACE = SimpleNamespace(
    **vars(nn)
    | {cls.__name__: cls for cls in (DeformConv2d, DepthwiseSeparableConv2d, Residual, Concat)}
    | {f"Global{name}Pool{nd}d": _global(name, nd) for name in ("Avg", "Max") for nd in (1, 2, 3)}
)


def answers(case, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Operands of a case, rounded to float32, and what PyTorch makes of them in float64, by name.

    ``x``, ``more.0``..., ``grad`` and ``before.NAME`` (the state) go in; ``y``, ``dx``, ``d.NAME`` (the parameters'
    gradients) and ``after.NAME`` (buffers) come out.
    """
    layer = case.build(NAMESPACE).double().train(case.training)
    for name, array in layer.state_dict().items():
        if array.dtype == torch.int64:
            array.fill_(4)
        else:
            drawn = torch.tensor(rng.standard_normal(array.shape).astype(np.float32))
            array.copy_(drawn.abs() + 0.5 if name.endswith("var") else drawn / 2)
    arrays = {"before." + name: array.numpy().copy() for name, array in layer.state_dict().items()}
    x = arrays["x"] = rng.standard_normal(case.shape).astype(np.float32)
    more = case.more(rng)
    arrays |= {f"more.{i}": array for i, array in enumerate(more)}
    leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    tensors = [torch.tensor(array) for array in more]
    y = layer(leaf, *(tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors))
    grad = arrays["grad"] = rng.standard_normal(y.shape).astype(np.float32)
    y.backward(torch.tensor(grad, dtype=torch.float64))
    arrays |= {"y": y.detach().numpy(), "dx": leaf.grad.numpy()}
    arrays |= {"d." + name: parameter.grad.numpy() for name, parameter in layer.named_parameters()}
    return arrays | {"after." + name: buffer.numpy() for name, buffer in layer.named_buffers()}
