"""Parameters, gradients for each step, and the steps: what tests of optimizers share."""

import numpy as np

from convkit import nn


def parameters(dtype="float32", shapes=((4, 3), (5,), (), (0, 2)), seed=0):
    rng = np.random.default_rng(seed)
    return [nn.Parameter(np.asarray(rng.standard_normal(shape), dtype)) for shape in shapes]


def give(parameters, step):
    """Gradients that depend on the step alone."""
    rng = np.random.default_rng(100 + step)
    for parameter in parameters:
        parameter.grad = np.asarray(rng.standard_normal(parameter.shape), parameter.dtype)


def run(optimizer, steps):
    for step in steps:
        give(optimizer.parameters, step)
        optimizer.step()


def bits(parameters):
    return [parameter.data.tobytes() for parameter in parameters]
