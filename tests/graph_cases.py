"""Random small models, and how far rounding can take two ways to compute one of them apart; graphs by hand."""

import copy
import math

import numpy as np

from convkit import nn
from convkit.graph import OPS, Graph, Info, Network


def random_model(seed: int, dtype: str = "float32", algorithm: str = "auto") -> tuple[nn.Module, tuple[int, ...]]:
    """A model of a few layers, in evaluation, and the shape of a batch for it."""
    rng = np.random.default_rng(seed)
    channels, size = int(rng.integers(1, 20)), int(rng.integers(6, 21))
    shape = (int(rng.integers(1, 3)), channels, size, int(rng.integers(6, 21)))
    layers = []
    for _ in range(rng.integers(2, 6)):
        layer, channels = _layer(rng, channels, dtype, algorithm)
        layers.append(layer)
    if rng.integers(2):
        layers += [nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(channels, 5, rng=rng, dtype=dtype)]
    model = nn.Sequential(*layers).eval()
    for layer in model.modules():
        if getattr(layer, "running_mean", None) is not None:
            layer.running_mean.data[...] = rng.normal(size=layer.num_features)
            layer.running_var.data[...] = rng.uniform(0.5, 2, layer.num_features)
            layer.weight.data[...] = rng.normal(size=layer.num_features)
            layer.bias.data[...] = rng.normal(size=layer.num_features)
        elif getattr(layer, "bias", None) is not None:
            layer.bias.data[...] = rng.normal(size=layer.bias.shape)
    return model, shape


def _conv(rng, channels, out, dtype, algorithm, kernel=None, stride=1):
    kernel = int(rng.choice([1, 3, 5])) if kernel is None else kernel
    groups = channels if out == channels and rng.integers(3) == 0 else 1
    return nn.Conv2d(
        channels, out, kernel, stride, kernel // 2, groups=groups, bias=bool(rng.integers(2)), rng=rng, dtype=dtype,
        algorithm=algorithm,
    )  # fmt: skip


def _layer(rng, channels, dtype, algorithm):
    """One block and the channels that it gives."""
    kind, out = rng.integers(7), int(rng.integers(1, 24))
    if kind == 0:
        return nn.Sequential(
            _conv(rng, channels, out, dtype, algorithm), nn.BatchNorm2d(out, dtype=dtype), nn.ReLU()
        ), out  # fmt: skip
    if kind == 1:
        return nn.Residual(
            nn.Sequential(_conv(rng, channels, channels, dtype, algorithm), nn.BatchNorm2d(channels, dtype=dtype))
        ), channels  # fmt: skip
    if kind == 2:
        branch = nn.Sequential(_conv(rng, channels, out, dtype, algorithm), nn.LeakyReLU(0.2))
        return nn.Concat(nn.Identity(), branch, _conv(rng, channels, 3, dtype, algorithm, 1)), channels + out + 3
    if kind == 3:
        return nn.MaxPool2d(3, 2, 1) if rng.integers(2) else nn.AvgPool2d(2, 1), channels
    if kind == 4:
        return nn.Sequential(
            nn.ConvTranspose2d(channels, out, 4, 2, 1, rng=rng, dtype=dtype, algorithm=algorithm), nn.Tanh()
        ), out  # fmt: skip
    if kind == 5:
        conv = _conv(rng, channels, channels, dtype, algorithm)
        short = _conv(rng, channels, channels, dtype, algorithm, 1)
        return nn.Sequential(nn.Residual(conv, short), nn.ReLU6()), channels
    return nn.Sequential(_conv(rng, channels, out, dtype, algorithm, stride=2), nn.ELU()), out


def bound(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """How far two ways to compute the model may lie apart, for every output.

    Rounding errors of a sum of K terms are at most g_K = K u / (1 - K u) of the sum of their sizes; no activation or
    pooling here enlarges a difference. So an output that n roundings lead up to is off by at most g_n of what the model
    of sizes gives: that of absolute weights, biases and inputs, its activations left out. A tanh or exp is right to 4
    units of its result, which is 1 at most.
    """
    sizes, roundings = copy.deepcopy(model), 0
    for layer in sizes.modules():
        if getattr(layer, "running_mean", None) is not None:
            factor = np.abs(layer.weight.data) / np.sqrt(layer.running_var.data + layer.eps)
            shift = factor * np.abs(layer.running_mean.data) + np.abs(layer.bias.data)
            layer.weight.data[...], layer.bias.data[...] = factor, shift
            layer.running_mean.data[...], layer.running_var.data[...] = 0, 1 - layer.eps
            roundings += 8
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            for own in layer.parameters():
                own.data[...] = np.abs(own.data)
            roundings += math.prod(layer.weight.shape) // layer.weight.shape[0] + layer.weight.shape[0] + 2
        elif isinstance(layer, nn.AvgPool2d | nn.GlobalAvgPool2d):
            roundings += x.size
        else:
            roundings += 2
    named = {nn.Tanh: 0, nn.ELU: 0, nn.ReLU: 0, nn.ReLU6: 0, nn.LeakyReLU: 0}
    with nn.hooks(forward=lambda layer, inputs, y: inputs[0] + 4 if type(layer) in named else None):
        size = sizes.predict(np.abs(x)).astype(np.float64)
    unit = np.finfo(x.dtype).eps / 2
    return 2 * roundings * unit / (1 - roundings * unit) * size


def made(build, array):
    """A network of one input and output, and what its graph gives node by node before any pass."""
    whole = Graph()
    x = whole.input("x", Info(array.shape, array.dtype))
    whole.outputs, whole.output_names = [build(whole, x)], ["y"]
    values = {x: array}
    for node in whole.nodes:
        taken = [None if v is None else values[v] if v.data is None else v.data for v in node.inputs]
        results = OPS[node.op].run(node.attrs, *taken)
        values[node.outputs[0]] = results[0] if isinstance(results, tuple) else results
    wanted = values[whole.outputs[0]]
    return Network(whole), wanted  # whose passes change the graph


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def emit(whole, op, *inputs, **attrs):
    return whole.emit(op, [whole.constant(v) if isinstance(v, np.ndarray) else v for v in inputs], attrs)
