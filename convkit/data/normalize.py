"""Normalisation: what it takes from the data is learned once, by `fit` on the training part, and then stands.

Fitting on everything would let the held-out samples speak in training. All of these are called with an array, give a
new one of the same dtype, and have an `inverse`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._arrays import as_array, empty
from .._numbers import number
from .._shapes import integer

BLOCK = 256  # samples looked at in one go: float64 copies stay small, and images of a folder need not fit in memory


class Normalizer(ABC):
    """Base of the normalisations; the point by point ones have nothing to learn, and their `fit` does nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> class Root(data.Normalizer):
    ...     def __call__(self, x):
    ...         return np.sqrt(x)
    ...     def inverse(self, y):
    ...         return y**2
    >>> Root().fit(np.ones(3))(np.array([4.0, 9.0]))
    array([2., 3.])
    """

    def fit(self, x: Any) -> Normalizer:
        """Learn from the training samples `x` and return self."""
        return self

    @abstractmethod
    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the normalised `x`."""

    @abstractmethod
    def inverse(self, y: np.ndarray) -> np.ndarray:
        """Return what was normalised to `y`."""


class _Affine(Normalizer):
    """y = (x - offset) / scale, in numbers of one's own for each index of `axis`."""

    def __init__(self, axis: int | None) -> None:
        if axis is not None and integer(axis, "axis", "an int or None") == 0:
            raise ValueError("axis must be that of the channels or None, got 0, the samples' own")
        self.axis = axis
        self.offset: np.ndarray | None = None
        self.scale: np.ndarray | None = None

    def _blocks(self, x: Any) -> Iterator[np.ndarray]:
        """The samples in float64, a block at a time, as ``(elements, channels)``."""
        if len(x) == 0:
            raise ValueError("x must hold at least one sample to fit, got none")
        for begin in range(0, len(x), BLOCK):
            block = as_array(x[begin : begin + BLOCK], "x").astype(np.float64)
            if not block.size:
                raise ValueError(f"x must hold at least one value in each channel to fit, got shape {block.shape}")
            if self.axis is not None and not -block.ndim <= self.axis < block.ndim:
                raise ValueError(f"axis must be one of the {block.ndim} axes of x, got {self.axis}")
            if self.axis is None:
                yield block.reshape(-1, 1)
            else:
                yield np.moveaxis(block, self.axis, -1).reshape(-1, block.shape[self.axis])

    def _set(self, offset: np.ndarray, scale: np.ndarray) -> None:
        """Take on what was learned; where there is no spread at all the scale is 1, as scikit-learn has it."""
        self.offset, self.scale = offset, np.where(scale == 0, 1.0, scale)

    def _shaped(self, array: Any, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`array`, and offset and scale, shaped so that they broadcast."""
        if self.offset is None:
            raise RuntimeError(f"{type(self).__name__}: call fit on the training samples first")
        array = as_array(array, name)
        shape = [1] * array.ndim
        if self.axis is not None:
            if array.ndim <= max(self.axis, -self.axis - 1) or array.shape[self.axis] != len(self.offset):
                raise ValueError(
                    f"{name} must have {len(self.offset)} channels on axis {self.axis}, as what was fitted, "
                    f"got shape {array.shape}"
                )
            shape[self.axis] = -1
        return array, self.offset.reshape(shape), self.scale.reshape(shape)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return ``(x - offset) / scale``."""
        x, offset, scale = self._shaped(x, "x")
        centred = x - offset  # in float64: a mean rounded to float32 may be off by more than the deviation
        return np.divide(centred, scale, out=empty(x.shape, x.dtype), casting="same_kind")

    def inverse(self, y: np.ndarray) -> np.ndarray:
        """Return ``y * scale + offset``."""
        y, offset, scale = self._shaped(y, "y")
        return np.add(y * scale, offset, out=empty(y.shape, y.dtype), casting="same_kind")


class ZScore(_Affine):
    """Zero mean and unit standard deviation: ``(x - mean) / std``, std being that of the population.

    Parameters
    ----------
    axis : int or None, default 1
        Every index of this axis (the channels of ``(N, C, *spatial)``, the columns of ``(N, features)``) has a mean and
        a std of its own; None: one for all. A channel that never changes becomes 0.

    Attributes
    ----------
    offset, scale : ndarray of float64, ``(channels,)``, or ``(1,)``
        mean and std.

    Raises
    ------
    RuntimeError
        If called before `fit`.
    TypeError
        If `axis` is no int.
    ValueError
        If `axis` is 0 or none of the samples' axes, there is nothing to fit, or the channels are not those that were
        fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> normal = data.ZScore().fit(np.array([[1.0], [3.0]]))
    >>> normal(np.array([[5.0]])), normal.inverse(np.array([[3.0]]))
    (array([[3.]]), array([[5.]]))
    """

    def __init__(self, axis: int | None = 1) -> None:
        super().__init__(axis)

    def fit(self, x: Any) -> ZScore:
        """Learn mean and std from the training samples `x`, an array or what gives arrays when cut; return self.

        Blocks are merged as by T. Chan, G. Golub, R. LeVeque: Updating formulae and a pairwise algorithm for computing
        sample variances, 1982; with norms instead of their squares, which could overflow. Means are of distances from
        the first value: of a channel that never changes they are 0, exactly.
        """
        count, mean, norm, first = 0, 0.0, 0.0, None  # norm: of the distances from the mean
        for block in self._blocks(x):
            first = block[0] if first is None else first
            block = block - first
            n, own = len(block), block.mean(axis=0)
            apart = np.abs(own - mean) * math.sqrt(count * n / (count + n))
            norm = np.hypot(np.hypot(norm, _norm(block - own)), apart)
            mean = mean + (own - mean) * (n / (count + n))
            count += n
        self._set(first + mean, norm / math.sqrt(count))
        return self


class MinMax(_Affine):
    """From the smallest to the largest value onto 0 to 1: ``(x - lo) / (hi - lo)``.

    Parameters
    ----------
    lo, hi : float or None
        Given bounds, both or neither (0 and 255, say); then there is nothing to fit. Else they are the smallest and
        the largest value of the training samples; other samples may go beyond 0 and 1.
    axis : int or None, default 1
        Every index of this axis has fitted bounds of its own; None: one pair for all. A channel that never changes
        becomes 0.

    Attributes
    ----------
    offset, scale : ndarray of float64, ``(channels,)``, or ``(1,)``
        lo and hi - lo.

    Raises
    ------
    RuntimeError
        If called before `fit` where no bounds are given.
    TypeError
        If a bound is no number where the other is given, or `axis` no int.
    ValueError
        If the bounds are not two finite numbers with lo < hi, `axis` is 0 or none of the samples' axes, there is
        nothing to fit, or the channels are not those that were fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> normal = data.MinMax().fit(np.array([[1.0], [3.0]]))
    >>> normal(np.array([[2.0], [5.0]])).ravel(), data.MinMax(0, 255)(np.array([51.0]))
    (array([0.5, 2. ]), array([0.2]))
    """

    def __init__(self, lo: float | None = None, hi: float | None = None, *, axis: int | None = 1) -> None:
        self.given = not (lo is None and hi is None)
        super().__init__(None if self.given else axis)
        if self.given:
            expected = "two finite numbers, lo < hi, or both None"
            lo, hi = (number(end, "lo and hi", expected) for end in (lo, hi))
            if not lo < hi:
                raise ValueError(f"lo and hi must be {expected}, got {lo:g} and {hi:g}")
            self._set(np.array([lo]), np.array([hi - lo]))

    def fit(self, x: Any) -> MinMax:
        """Learn the bounds from the training samples `x` unless they were given; return self."""
        if not self.given:
            ends = [(block.min(axis=0), block.max(axis=0)) for block in self._blocks(x)]
            lo, hi = np.min([lo for lo, _ in ends], axis=0), np.max([hi for _, hi in ends], axis=0)
            self._set(lo, hi - lo)
        return self


class Log(Normalizer):
    """The logarithm, ``log(x) / log(base)``, which draws what spans decades together.

    Parameters
    ----------
    base : float, default 10
        Above 0, not 1.

    Raises
    ------
    TypeError
        If `base` is no number.
    ValueError
        If `base` is not such a number, or a value of `x` is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> normal = data.Log()
    >>> normal(np.array([1.0, 1e6])).round(3), normal.inverse(np.array([3.0])).round(3)
    (array([0., 6.]), array([1000.]))
    """

    def __init__(self, base: float = 10.0) -> None:
        expected = "a finite number above 0 and not 1"
        self.base = number(base, "base", expected, lambda value: 0 < value < math.inf and value != 1)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the logarithm of `x`, all of which has to be above 0."""
        return _log(x, "x") / math.log(self.base)

    def inverse(self, y: np.ndarray) -> np.ndarray:
        """Return ``base ** y``."""
        return np.exp(as_array(y, "y") * math.log(self.base))


class Exp(Normalizer):
    """The exponential, ``exp(x)``, which makes everything positive. `Log` with base e is its inverse.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> normal = data.Exp()
    >>> normal(np.array([0.0, 1.0])).round(3), normal.inverse(np.array([1.0]))
    (array([1.   , 2.718]), array([0.]))
    """

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return ``exp(x)``."""
        return np.exp(as_array(x, "x"))

    def inverse(self, y: np.ndarray) -> np.ndarray:
        """Return ``log(y)``; all of `y` has to be above 0."""
        return _log(y, "y")


class Arctan(Normalizer):
    """The arc tangent, ``2 / pi * arctan(x)``, which brings every number into -1 to 1, and keeps its sign.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> data.Arctan()(np.array([-1e9, 0.0, 1.0])).round(3)
    array([-1. ,  0. ,  0.5])
    """

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return ``2 / pi * arctan(x)``."""
        return np.arctan(as_array(x, "x")) * (2 / math.pi)

    def inverse(self, y: np.ndarray) -> np.ndarray:
        """Return ``tan(pi / 2 * y)``; all of `y` has to lie between -1 and 1."""
        y = as_array(y, "y")
        if y.size and not np.abs(y).max() <= 1:
            raise ValueError(f"y must lie between -1 and 1 everywhere, got {y.min()} to {y.max()}")
        return np.tan(y * (math.pi / 2))


def _norm(block: np.ndarray) -> np.ndarray:
    """Euclidean norm of each column, whose squares may be beyond the range of float64."""
    _, exponent = np.frexp(np.abs(block).max(axis=0))
    return np.ldexp(np.sqrt((np.ldexp(block, -exponent) ** 2).sum(axis=0)), exponent)


def _log(array: np.ndarray, name: str) -> np.ndarray:
    """The natural logarithm of an array that has one."""
    array = as_array(array, name)
    if array.size and not array.min() > 0:
        raise ValueError(f"{name} must be above 0 everywhere to have a logarithm, got {array.min()}")
    return np.log(array)
