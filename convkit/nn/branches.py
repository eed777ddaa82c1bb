"""Branches side by side on one input: added up, or joined along an axis. `Sequential()` is one that does nothing."""

from __future__ import annotations

import numpy as np

from ..ops import _elementwise
from .module import Module


class Residual(Module):
    """y = branch(x) + shortcut(x): the branch learns what is to be added to its input.

    Parameters
    ----------
    branch : Module
        Keeps the shape, unless the shortcut changes it alike.
    shortcut : Module, optional
        By default x itself.

    Raises
    ------
    ValueError
        In forward, if the two have different shapes.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition, CVPR 2016, arXiv:1512.03385.
    """

    def __init__(self, branch: Module, shortcut: Module | None = None) -> None:
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Run both and add."""
        y, short = self.branch(x), x if self.shortcut is None else self.shortcut(x)
        if y.shape != short.shape:
            raise ValueError(
                f"branch must give the shape of the shortcut, {short.shape}, got {y.shape}; "
                "a shortcut=Conv2d(..., kernel_size=1, stride=...) changes it alike"
            )
        self.keep()
        return _elementwise.binary("add", y, short)

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Go back through both and add."""
        self.kept(grad)
        dx = self.branch.backward(grad, need_input=need_input)
        short = grad if self.shortcut is None else self.shortcut.backward(grad, need_input=need_input)
        return _elementwise.binary("add", dx, short) if need_input else None


class Concat(Module):
    """Every branch on the same input, the outputs one after the other along an axis.

    ``Concat(Sequential(), deeper)`` is a skip connection of a U-Net: x, and beside it what `deeper` makes of it.

    Parameters
    ----------
    *branches : Module
        Named ``"branches.0"``, ``"branches.1"``... in `state_dict`.
    dim : int, default 1
        The axis: the channels of ``(N, C, *spatial)``.

    Raises
    ------
    TypeError
        If a branch is not a Module.
    ValueError
        If there are no branches; in forward, if the outputs differ in shape along another axis.

    References
    ----------
    O. Ronneberger, P. Fischer, T. Brox: U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015,
    arXiv:1505.04597.
    """

    def __init__(self, *branches: Module, dim: int = 1) -> None:
        if not branches:
            raise ValueError("branches must be at least one, got none")
        for i, branch in enumerate(branches):
            if not isinstance(branch, Module):
                raise TypeError(f"branches[{i}] must be a Module, got {type(branch).__name__}")
        self.branches, self.dim = list(branches), dim

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Run the branches and join what they give."""
        parts = [branch(x) for branch in self.branches]
        try:
            y = np.concatenate(parts, axis=self.dim)
        except ValueError as error:
            shapes = ", ".join(str(part.shape) for part in parts)
            raise ValueError(f"branches must give shapes that differ in axis {self.dim} alone, got {shapes}") from error
        self.keep(np.cumsum([part.shape[self.dim] for part in parts])[:-1])
        return y

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Give each branch its part of the gradient and add what comes back."""
        (ends,) = self.kept(grad)
        parts = zip(self.branches, np.split(grad, ends, axis=self.dim), strict=True)
        grads = [branch.backward(part, need_input=need_input) for branch, part in parts]
        return sum(grads[1:], start=grads[0]) if need_input else None
