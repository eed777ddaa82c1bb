"""One optimizer step on ResNet-18's 11.7 million parameters: `make bench ARGS=bench/bench_optim.py`.

Where PyTorch is installed, its own beside it, on the same number of threads: its default, and its foreach and fused
forms.
"""

import importlib.util

import numpy as np
import pytest

import convkit
from convkit import nn, optim

OPTIONS = {"SGD": {"lr": 1e-3, "momentum": 0.9}, "Adam": {"lr": 1e-3}, "AdamW": {"lr": 1e-3}, "RMSprop": {"lr": 1e-3}}
FORMS = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}
RUNS = [("convkit", name) for name in OPTIONS]
if importlib.util.find_spec("torch"):
    RUNS += [(form, name) for name in OPTIONS for form in FORMS if (form, name) != ("fused", "RMSprop")]


def resnet18():
    """Shapes of all parameters, in order."""
    yield from ((64, 3, 7, 7), (64,), (64,))
    c_in = 64
    for width in (64, 128, 256, 512):
        for block in range(2):
            yield from ((width, c_in, 3, 3), (width,), (width,), (width, width, 3, 3), (width,), (width,))
            if block == 0 and c_in != width:
                yield from ((width, c_in, 1, 1), (width,), (width,))
            c_in = width
    yield from ((1000, 512), (1000,))


def ours(name, arrays):
    parameters = [nn.Parameter(array.copy()) for array in arrays]
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.grad = array.copy()
    return getattr(optim, name)(parameters, **OPTIONS[name]).step


def theirs(name, form, arrays):
    import torch

    torch.set_num_threads(convkit.get_num_threads())
    parameters = [torch.nn.Parameter(torch.tensor(array)) for array in arrays]
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.grad = torch.tensor(array)
    return getattr(torch.optim, name)(parameters, **OPTIONS[name], **FORMS[form]).step


@pytest.mark.parametrize(("library", "name"), RUNS)
def test_step(benchmark, library, name):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in resnet18()]
    benchmark.group = name
    benchmark(ours(name, arrays) if library == "convkit" else theirs(name, library, arrays))
