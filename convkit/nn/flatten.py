"""From feature maps to vectors."""

from __future__ import annotations

import math

import numpy as np

from .module import Module, Way


class Flatten(Module):
    """``(N, *shape)`` to ``(N, prod(shape))``, in C order, as PyTorch's."""

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Return `x` with all axes but the first made one; a view where possible."""
        shape = x.shape
        return x.reshape(shape[0], math.prod(shape[1:])), lambda grad, _: grad.reshape(shape)

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """``(N, prod(shape))``."""
        return x_shape[0], math.prod(x_shape[1:])
