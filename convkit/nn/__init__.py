"""Layers, and what they are made of.

A model is a `Module`, usually a `Sequential`. One step of training::

    scores = model(x)
    loss = nn.losses.softmax_cross_entropy(scores, labels)
    model.zero_grad()
    model.backward(loss.grad)
    optimizer.step()
"""

from . import init, losses
from .activations import ReLU
from .conv import Conv1d, Conv2d, Conv3d
from .flatten import Flatten
from .linear import Linear
from .module import IncompatibleKeys, Module, Parameter
from .sequential import Sequential

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Flatten",
    "IncompatibleKeys",
    "Linear",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "init",
    "losses",
]
