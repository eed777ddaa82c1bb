"""Optimizers: they change parameters by the gradients that `Module.backward` has added up."""

from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Optimizer"]
