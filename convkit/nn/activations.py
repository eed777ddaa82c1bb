"""Activations as layers, on arrays of any shape. `convkit.nn.Conv2d(activation=...)` fuses one into the convolution."""

from __future__ import annotations

import numpy as np

from .module import Module


class ReLU(Module):
    """y = max(x, 0), element by element; NaN passes through. At zero the derivative is zero."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return max(x, 0) of an array of any shape."""
        y = np.maximum(x, 0)
        self.keep(y)
        return y

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Let the gradient through where the output was positive."""
        (y,) = self.kept(grad)
        return grad * (y > 0) if need_input else None
