"""A step of training (forward, loss, backward, optimizer): `python bench/training.py --against torch`.

PyTorch trains the same network from the same weights, eagerly.
"""

import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from pytorch import installed
from torch_twins import twin

from convkit import models, nn, optim
from convkit.benchmarks.tasks import Task, main
from convkit.cli._recipes import NETWORKS as RECIPES

RATE = 1e-4
NETWORKS = {
    "resnet18": (lambda: models.resnet18(10, rng=0), (8, 3, 64, 64)),
    "mobilenet_v2": (lambda: models.mobilenet_v2(10, rng=0), (8, 3, 64, 64)),
    "digits": (lambda: RECIPES["cnn"]((1, 8, 8), 10, np.random.default_rng(0)), (32, 1, 8, 8)),
}


def batch(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Images and their classes."""
    return np.random.default_rng(0).standard_normal(shape, np.float32), np.arange(shape[0]) % 10


def ours(model: nn.Module, shape: tuple[int, ...]) -> Callable[[], float]:
    """A function that takes one step; every call the next."""
    x, labels = batch(shape)
    optimizer = optim.SGD(model.parameters(), RATE, momentum=0.9)

    def step() -> float:
        loss = nn.losses.softmax_cross_entropy(model(x), labels)
        optimizer.zero_grad()
        model.backward(loss.grad, need_input=False)
        optimizer.step()
        return loss.value

    return step


def theirs(model: nn.Module, shape: tuple[int, ...], threads: int) -> Callable[[], float]:
    """The same step by PyTorch."""
    torch, (x, labels) = installed(threads), map(np.array, batch(shape))
    x, labels, other = torch.from_numpy(x), torch.from_numpy(labels), twin(model)
    optimizer = torch.optim.SGD(other.parameters(), RATE, momentum=0.9)

    def step() -> float:
        loss = torch.nn.functional.cross_entropy(other(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def tasks(against: Sequence[str], threads: int) -> Iterator[Task]:
    for name, (make, shape) in NETWORKS.items():
        peers = {"torch": theirs(make(), shape, threads)} if against else {}
        yield Task(f"{name} {'x'.join(map(str, shape))}", ours(make(), shape), peers)


if __name__ == "__main__":
    sys.exit(main(__doc__, tasks))
