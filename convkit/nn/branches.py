"""Branches side by side on one input: added up, or joined along an axis; and one layer on several inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._shapes import integer
from ..ops import _elementwise
from .module import Module, Way


def _sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The engine's sum; of arrays that have an arithmetic of their own, such as those of a trace, theirs."""
    return _elementwise.binary("add", a, b) if type(a) is type(b) is np.ndarray else a + b


def _module(value: Module, name: str) -> Module:
    if not isinstance(value, Module):
        raise TypeError(f"{name} must be a Module, got {type(value).__name__}")
    return value


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

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> block = nn.Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, init="zeros"), nn.ReLU()))
    >>> x = np.ones((1, 4, 8, 8), np.float32)
    >>> bool((block(x) == x).all())  # a branch of zeros adds nothing
    True
    """

    def __init__(self, branch: Module, shortcut: Module | None = None) -> None:
        self.branch, self.shortcut = _module(branch, "branch"), None
        if shortcut is not None:
            self.shortcut = _module(shortcut, "shortcut")

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Run both and add; back through both, and add."""
        y, through = self.branch.begin(x)
        short, across = (x, lambda grad, _: grad) if self.shortcut is None else self.shortcut.begin(x)
        self._check_shapes(y.shape, short.shape)

        def back(grad: np.ndarray, need_input: bool) -> np.ndarray | None:
            dx, dx_short = through(grad, need_input), across(grad, need_input)
            return _sum(dx, dx_short) if need_input else None

        return _sum(y, short), back

    @staticmethod
    def _check_shapes(y: tuple[int, ...], short: tuple[int, ...]) -> None:
        if y != short:
            raise ValueError(
                f"branch must give the shape of the shortcut, {short}, got {y}; "
                "a shortcut=Conv2d(..., kernel_size=1, stride=...) changes it alike"
            )

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """That of the branch."""
        y = self.branch.output_shape(x_shape)
        self._check_shapes(y, tuple(x_shape) if self.shortcut is None else self.shortcut.output_shape(x_shape))
        return y


class Concat(Module):
    """Every branch on the same input, the outputs one after the other along an axis.

    ``Concat(Identity(), deeper)`` is a skip connection of a U-Net: x, and beside it what `deeper` makes of it.

    Parameters
    ----------
    *branches : Module
        Named ``"branches.0"``, ``"branches.1"``... in `state_dict`.
    dim : int, default 1
        The axis: the channels of ``(N, C, *spatial)``.

    Raises
    ------
    TypeError
        If a branch is not a Module, or `dim` no int.
    ValueError
        If there are no branches; in forward, if the outputs differ in shape along another axis.

    References
    ----------
    O. Ronneberger, P. Fischer, T. Brox: U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015,
    arXiv:1505.04597.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> skip = nn.Concat(nn.Identity(), nn.Conv2d(3, 5, 3, padding=1, rng=0))
    >>> skip(np.ones((1, 3, 8, 8), np.float32)).shape
    (1, 8, 8, 8)
    """

    def __init__(self, *branches: Module, dim: int = 1) -> None:
        if not branches:
            raise ValueError("branches must be at least one, got none")
        self.branches = [_module(each, f"branches[{i}]") for i, each in enumerate(branches)]
        self.dim = integer(dim, "dim")

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Run the branches and join what they give; back, each gets its part and what comes back is added."""
        parts, backs = zip(*(branch.begin(x) for branch in self.branches), strict=True)
        y = self._joined(parts)
        ends = np.cumsum([part.shape[self.dim] for part in parts])[:-1]

        def back(grad: np.ndarray, need_input: bool) -> np.ndarray | None:
            grads = np.split(grad, ends, axis=self.dim)
            dxs = [back(part, need_input) for back, part in zip(backs, grads, strict=True)]
            return sum(dxs[1:], start=dxs[0]) if need_input else None

        return y, back

    def symbolic(self, x: Any) -> Any:
        """The same of a value; only the way back needs to know how long the parts are."""
        return self._joined([branch.begin(x)[0] for branch in self.branches])

    def _joined(self, parts: Sequence[Any]) -> Any:
        try:
            return np.concatenate(parts, axis=self.dim)
        except ValueError as error:
            raise self._unlike([part.shape for part in parts]) from error

    def _unlike(self, shapes: Sequence[tuple[int, ...]]) -> ValueError:
        got = ", ".join(map(str, shapes))
        return ValueError(f"branches must give shapes that differ in axis {self.dim} alone, got {got}")

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """That of the first branch, but as long as all of them along the axis."""
        shapes = [branch.output_shape(x_shape) for branch in self.branches]
        if not all(-len(shape) <= self.dim < len(shape) for shape in shapes):
            raise self._unlike(shapes)
        length = sum(shape[self.dim] for shape in shapes)
        joined = {(*shape[: self.dim], length, *shape[self.dim :][1:]) for shape in shapes}
        if len(joined) > 1:
            raise self._unlike(shapes)
        return joined.pop()


class Each(Module):
    """One layer on each of several inputs, such as a head that the maps of a pyramid share: it learns from all of them.

    ``Each(head)(maps)`` is a tuple of outputs; `backward` takes a gradient for each and returns one for each.

    Parameters
    ----------
    layer : Module

    References
    ----------
    T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollar: Focal loss for dense object detection, ICCV 2017,
    arXiv:1708.02002.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> head = nn.Each(nn.Conv2d(2, 1, 1, rng=0))
    >>> [y.shape for y in head([np.ones((1, 2, n, n), np.float32) for n in (4, 2)])]
    [(1, 1, 4, 4), (1, 1, 2, 2)]
    """

    def __init__(self, layer: Module) -> None:
        self.layer = _module(layer, "layer")

    def run(self, xs: Sequence[np.ndarray]) -> tuple[tuple[np.ndarray, ...], Way]:
        """Run the layer on each."""
        ys, backs = [], []
        for x in xs:
            y, back = self.layer.begin(x)
            ys.append(y)
            backs.append(back)

        def back_through(grads: Sequence[np.ndarray], need_input: bool) -> tuple[np.ndarray | None, ...]:
            return tuple(back(grad, need_input) for back, grad in zip(backs, grads, strict=True))

        return tuple(ys), back_through

    def output_shape(self, x_shape: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
        """That of the layer, for each shape."""
        return tuple(map(self.layer.output_shape, x_shape))
