"""From feature maps to vectors."""

from __future__ import annotations

import math

import numpy as np

from .module import Module


class Flatten(Module):
    """``(N, *shape)`` to ``(N, prod(shape))``, in C order, as PyTorch's."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return `x` with all axes but the first made one; a view where possible."""
        self.keep(x.shape)
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Give the gradient the input's shape again."""
        (shape,) = self.kept(grad)
        return grad.reshape(shape) if need_input else None
