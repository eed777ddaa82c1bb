"""A step of training, for pytest-benchmark: forward, loss, backward and optimizer, all that a user waits for."""

import numpy as np
import pytest

from convkit import models, nn, optim

# What is trained on, and the batch.
NETWORKS = {"resnet18": (8, 3, 64, 64), "mobilenet_v2": (8, 3, 64, 64), "lenet5": (32, 1, 32, 32)}


def training_step(name):
    """A function that takes one step; every call the next."""
    shape = NETWORKS[name]
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    labels = np.arange(shape[0]) % 10
    model = getattr(models, name)(rng=0)
    optimizer = optim.SGD(model.parameters(), 1e-4, momentum=0.9)

    def step():
        loss = nn.losses.softmax_cross_entropy(model(x), labels)
        model.zero_grad()
        model.backward(loss.grad)
        optimizer.step()
        return loss.value

    return step


@pytest.mark.parametrize("name", NETWORKS)
def test_step(name, benchmark):
    benchmark(training_step(name))
