"""A step of each optimizer on ResNet-18's 11.7 million parameters: `python bench/optim.py --against torch`.

PyTorch's own three forms are timed beside it: its default, foreach and fused.
"""

import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from pytorch import installed

from convkit import nn, optim
from convkit.benchmarks.tasks import Task, main

OPTIONS = {"SGD": {"lr": 1e-3, "momentum": 0.9}, "Adam": {"lr": 1e-3}, "AdamW": {"lr": 1e-3}, "RMSprop": {"lr": 1e-3}}
FORMS = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}
UNFUSED = ("RMSprop",)


def resnet18() -> Iterator[tuple[int, ...]]:
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


def ours(name: str, arrays: Sequence[np.ndarray]) -> Callable[[], object]:
    parameters = [nn.Parameter(array.copy()) for array in arrays]
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.grad = array.copy()
    return getattr(optim, name)(parameters, **OPTIONS[name]).step


def theirs(name: str, form: str, arrays: Sequence[np.ndarray], threads: int) -> Callable[[], object]:
    torch = installed(threads)
    parameters = [torch.nn.Parameter(torch.tensor(array)) for array in arrays]
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.grad = torch.tensor(array)
    return getattr(torch.optim, name)(parameters, **OPTIONS[name], **FORMS[form]).step


def tasks(against: Sequence[str], threads: int) -> Iterator[Task]:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape, np.float32) for shape in resnet18()]
    for name in OPTIONS:
        forms = [form for form in FORMS if against and (form, name) not in [("fused", each) for each in UNFUSED]]
        yield Task(name, ours(name, arrays), {form: theirs(name, form, arrays, threads) for form in forms})


if __name__ == "__main__":
    sys.exit(main(__doc__, tasks))
