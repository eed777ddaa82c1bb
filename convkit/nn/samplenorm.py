"""Normalisation within each sample, alike in training and evaluation: over groups of channels, or the last axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import as_array, empty, same_dtype
from .._options import flag
from .._shapes import at_least, plain
from ..ops import _channels, _elementwise, _moments
from . import _normal
from ._describe import added, real
from .module import ByElement, Way
from .parameter import Parameter


def _taken(x: np.ndarray, weight: Parameter | None) -> np.ndarray:
    x = as_array(x, "x")
    if weight is not None:
        same_dtype(x, "x", weight.data, "the layer's weight")
    return x


class GroupNorm(ByElement):
    """Normalise groups of channels of each image, then scale and shift every channel: y = weight * xhat + bias.

    xhat = (x - mean) / sqrt(var + eps), with mean and (biased) variance of the group's channels in that image.

    Parameters
    ----------
    num_groups : int
        1 takes all channels together, `num_channels` each by itself (instance normalisation).
    num_channels : int
        Channels C of ``(N, C, *spatial)``.
    eps : float, default 1e-5
        Added to the variance.
    affine : bool, default True
        Whether there are a weight and a bias; they start from ones and zeros.
    dtype : {"float32", "float64"}
        Of the parameters, and so of every batch.

    Attributes
    ----------
    weight, bias : Parameter, ``(C,)``, or None

    Raises
    ------
    ValueError
        If `num_groups` does not divide `num_channels`, eps is below 0 or infinite, or a batch has another number of
        channels.

    Notes
    -----
    Statistics are right to rounding whatever the mean and the size of the numbers: a constant group becomes the bias.
    Infinity or NaN in a group makes all of it NaN, and touches no other.

    References
    ----------
    Y. Wu, K. He: Group normalization, ECCV 2018, arXiv:1803.08494.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> y = nn.GroupNorm(2, 6, dtype="float64")(np.random.default_rng(0).random((1, 6, 4, 4)))
    >>> y.reshape(2, -1).std(axis=1).round(3)  # three channels a group
    array([1., 1.])
    """

    decays = False

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *, dtype: str = "float32"
    ) -> None:
        self.num_groups, self.num_channels = at_least(num_groups, "num_groups"), at_least(num_channels, "num_channels")
        if num_channels % num_groups:
            raise ValueError(f"num_groups must divide the {num_channels} channels, got {num_groups}")
        self.eps, dtype, affine = added(eps), real(dtype), flag(affine, "affine")
        self.weight = Parameter(np.ones(num_channels, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_channels, dtype)) if affine else None

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Normalise ``(N, C, *spatial)``."""
        x = _taken(x, self.weight)
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ValueError(f"x must have shape (N, C, *spatial) with C = {self.num_channels}, got shape {x.shape}")
        y, planes = empty(x.shape, x.dtype), self._planes(x)
        together = self.num_channels // self.num_groups
        standard = _moments.standard(_channels.apart(x, len(x) * self.num_groups), self.eps).repeated(together)
        weight, bias = self._affine(len(x))
        _channels.apply(planes, standard.map(weight, bias), self._planes(y))

        def back(grad: np.ndarray, need_input: bool) -> np.ndarray | None:
            grad = as_array(grad, "grad")
            same_dtype(grad, "grad", x, "x")
            grads, to_xhat = self._planes(grad), standard.map()
            sums = _channels.gradient_sums(grads, planes, to_xhat)
            if self.weight is not None:
                _normal.accumulate(sums, self.weight, self.bias)
            if not need_input:
                return None
            dx = empty(x.shape, x.dtype)
            _normal.input_gradient(grads, planes, to_xhat, standard.steep, weight, sums, self._planes(dx), together)
            return dx

        return y, back

    def symbolic(self, x: Any) -> Any:
        """Normalisation of groups of channels."""
        ones = np.ones(self.num_channels, x.dtype)
        scale, bias = (ones, np.zeros_like(ones)) if self.weight is None else (self.weight, self.bias)
        return x.emit("GroupNormalization", scale, bias, num_groups=self.num_groups, epsilon=self.eps)

    def _planes(self, array: np.ndarray) -> np.ndarray:
        """``(1, N * C, L)``: every channel of every image by itself."""
        return _channels.apart(array, len(array) * self.num_channels)

    def _affine(self, images: int) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias of every channel of every image."""
        if self.weight is None:
            return np.ones(images * self.num_channels), np.zeros(images * self.num_channels)
        return np.tile(self.weight.data, images), np.tile(self.bias.data, images)

    def describe(self) -> str:
        """Return groups and channels, and what is not the default."""
        eps = "" if self.eps == 1e-5 else f", eps={self.eps}"
        return f"{self.num_groups}, {self.num_channels}{eps}{', affine=False' if self.weight is None else ''}"


_INSTANCE_DOC = """Normalise every channel of each {what} ``(N, C, {sizes})`` by itself.

    It is `GroupNorm` with groups of one channel; training and evaluation are alike, without running statistics.

    Parameters
    ----------
    num_features : int
        Channels C.
    eps : float, default 1e-5
        Added to the variance.
    affine : bool, default False
        Whether there are a weight and a bias; they start from ones and zeros.
    dtype : {{"float32", "float64"}}
        Of the parameters, and so of every batch.

    Attributes
    ----------
    weight, bias : Parameter, ``(C,)``, or None

    References
    ----------
    D. Ulyanov, A. Vedaldi, V. Lempitsky: Instance normalization: the missing ingredient for fast stylization, 2016,
    arXiv:1607.08022.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> y = nn.InstanceNorm{nd}d(3, dtype="float64")(np.random.default_rng(0).normal(5, 2, (2, 3, {fours})))
    >>> y.reshape(6, -1).std(axis=1).round(3)
    array([1., 1., 1., 1., 1., 1.])
    """


class _InstanceNorm(GroupNorm):
    _nd: int

    def __init__(self, num_features: int, eps: float = 1e-5, *, affine: bool = False, dtype: str = "float32") -> None:
        channels = at_least(num_features, "num_features")
        super().__init__(channels, channels, eps, affine, dtype=dtype)

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Normalise ``(N, C, *spatial)``."""
        if np.ndim(x) != self._nd + 2:
            raise ValueError(f"x must have {self._nd + 2} axes, (N, C, *spatial), got shape {np.shape(x)}")
        return super().run(x)

    def describe(self) -> str:
        """Return the channels, and what is not the default."""
        eps = "" if self.eps == 1e-5 else f", eps={self.eps}"
        return f"{self.num_channels}{eps}{'' if self.weight is None else ', affine=True'}"


class InstanceNorm1d(_InstanceNorm):
    __doc__ = _INSTANCE_DOC.format(nd=1, what="signal", sizes="L", fours="4")
    _nd = 1


class InstanceNorm2d(_InstanceNorm):
    __doc__ = _INSTANCE_DOC.format(nd=2, what="image", sizes="H, W", fours="4, 4")
    _nd = 2


class InstanceNorm3d(_InstanceNorm):
    __doc__ = _INSTANCE_DOC.format(nd=3, what="volume", sizes="D, H, W", fours="4, 4, 4")
    _nd = 3


class LayerNorm(ByElement):
    """Normalise over the last axes, each sample by itself, then scale and shift: y = weight * xhat + bias.

    xhat = (x - mean) / sqrt(var + eps), with mean and (biased) variance over the last axes.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        Sizes of the last axes.
    eps : float, default 1e-5
        Added to the variance.
    elementwise_affine : bool, default True
        Whether there is a weight; it starts from ones.
    bias : bool, default True
        Whether there is a bias beside the weight; it starts from zeros.
    dtype : {"float32", "float64"}
        Of the parameters, and so of every batch.

    Attributes
    ----------
    weight, bias : Parameter, `normalized_shape`, or None

    Raises
    ------
    ValueError
        If `normalized_shape` is no sizes, or eps below 0 or infinite; if the last axes of a batch have other sizes.

    Notes
    -----
    Statistics are right to rounding whatever the mean and the size of the numbers: a constant sample becomes the bias.
    Infinity or NaN in a sample makes all of it NaN, and touches no other.

    References
    ----------
    J. L. Ba, J. R. Kiros, G. E. Hinton: Layer normalization, 2016, arXiv:1607.06450.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.LayerNorm(3, dtype="float64")(np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])).round(3)
    array([[-1.225,  0.   ,  1.225],
           [-1.225,  0.   ,  1.225]])
    """

    decays = False

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        sizes = plain(normalized_shape, "normalized_shape")
        sizes = sizes if isinstance(sizes, tuple) else (sizes,)
        self.normalized_shape = tuple(at_least(size, "normalized_shape") for size in sizes)
        if not sizes:
            raise ValueError("normalized_shape must be at least one size, got none")
        affine, bias = flag(elementwise_affine, "elementwise_affine"), flag(bias, "bias")
        self.eps, dtype = added(eps), real(dtype)
        self.weight = Parameter(np.ones(self.normalized_shape, dtype)) if affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape, dtype)) if affine and bias else None

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Normalise ``(*, *normalized_shape)``."""
        x = _taken(x, self.weight)
        if x.shape[max(x.ndim - len(self.normalized_shape), 0) :] != self.normalized_shape:
            raise ValueError(f"x must have {self.normalized_shape} for its last axes, got shape {x.shape}")
        xhat, rows = empty(x.shape, x.dtype), self._rows(x)
        standard = _moments.standard(rows, self.eps)
        _channels.apply(rows, standard.map(), self._rows(xhat))
        steep, y, weight = standard.steep, xhat, None if self.weight is None else self.weight.data
        if weight is not None:
            y, bias = empty(x.shape, x.dtype), None if self.bias is None else self.bias.data.reshape(-1)
            _channels.apply(self._columns(xhat), _moments.plain(weight.reshape(-1), bias), self._columns(y))

        def back(grad: np.ndarray, need_input: bool) -> np.ndarray | None:
            grad = as_array(grad, "grad")
            same_dtype(grad, "grad", xhat, "x")
            if weight is not None:
                ones = np.ones(weight.size, xhat.dtype)
                sums = _channels.gradient_sums(self._columns(grad), self._columns(xhat), _moments.plain(ones))
                _normal.accumulate(sums, self.weight, self.bias)
                grad = _elementwise.binary("multiply", grad, weight)
            if not need_input:
                return None
            dx, planes, grads = empty(grad.shape, grad.dtype), self._rows(xhat), self._rows(grad)
            as_it_is = _moments.plain(np.ones(planes.shape[1], grad.dtype))
            sums = _channels.gradient_sums(grads, planes, as_it_is)
            _normal.input_gradient(grads, planes, as_it_is, steep, None, sums, self._rows(dx))
            return dx

        return y, back

    def symbolic(self, x: Any) -> Any:
        """Normalisation of the last axes."""
        scale = np.ones(self.normalized_shape, x.dtype) if self.weight is None else self.weight
        return x.emit("LayerNormalization", scale, self.bias, axis=-len(self.normalized_shape), epsilon=self.eps)

    def _rows(self, array: np.ndarray) -> np.ndarray:
        """``(1, samples, values)``: every sample is a channel."""
        return _channels.apart(array, math.prod(array.shape[: array.ndim - len(self.normalized_shape)]))

    def _columns(self, array: np.ndarray) -> np.ndarray:
        """``(samples, values, 1)``: every element of a sample is a channel."""
        samples = array.shape[: array.ndim - len(self.normalized_shape)]
        return array.reshape(math.prod(samples), math.prod(self.normalized_shape), 1)

    def describe(self) -> str:
        """Return the shape, and what is not the default."""
        eps = "" if self.eps == 1e-5 else f", eps={self.eps}"
        absent = "elementwise_affine" if self.weight is None else "bias" if self.bias is None else ""
        return f"{self.normalized_shape}{eps}{f', {absent}=False' if absent else ''}"
