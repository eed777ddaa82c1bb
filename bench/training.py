"""A step of training (forward, loss, backward, optimizer): `python bench/training.py --against torch`.

PyTorch trains torchvision's network, which is the same one, eagerly.
"""

import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from pytorch import installed

from convkit import models, nn, optim
from convkit._extras import need
from convkit.benchmarks.tasks import Task, main

NETWORKS = {"resnet18": (8, 3, 64, 64), "mobilenet_v2": (8, 3, 64, 64), "lenet5": (32, 1, 32, 32)}
NOT_IN_TORCHVISION = ("lenet5",)


def ours(name: str) -> Callable[[], float]:
    """A function that takes one step; every call the next."""
    shape = NETWORKS[name]
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    labels = np.arange(shape[0]) % 10
    model = getattr(models, name)(rng=0)
    optimizer = optim.SGD(model.parameters(), 1e-4, momentum=0.9)

    def step() -> float:
        loss = nn.losses.softmax_cross_entropy(model(x), labels)
        model.zero_grad()
        model.backward(loss.grad, need_input=False)
        optimizer.step()
        return loss.value

    return step


def theirs(name: str, threads: int) -> Callable[[], float]:
    """The same step by PyTorch: torchvision's network, cross-entropy, its own SGD."""
    torch, shape = installed(threads), NETWORKS[name]
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32))
    labels = torch.arange(shape[0]) % 10
    model = getattr(need("torchvision.models", "bench"), name)()
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)

    def step() -> float:
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def tasks(against: Sequence[str], threads: int) -> Iterator[Task]:
    for name, shape in NETWORKS.items():
        peers = {"torch": theirs(name, threads)} if against and name not in NOT_IN_TORCHVISION else {}
        yield Task(f"{name} {'x'.join(map(str, shape))}", ours(name), peers)


if __name__ == "__main__":
    sys.exit(main(__doc__, tasks))
