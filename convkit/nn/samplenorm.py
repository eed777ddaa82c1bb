"""Normalisation within each sample, alike in training and evaluation: over groups of channels, or the last axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .._arrays import as_array, empty, same_dtype
from . import _moments
from .module import Module, Parameter


def _standardise(rows: np.ndarray, eps: float) -> tuple[np.ndarray, _moments.Standard]:
    """Each row minus its mean and divided by sqrt(var + eps); and the map that did it."""
    xhat = empty(rows.shape, rows.dtype)
    standard, _ = _moments.standard(rows[np.newaxis], eps, xhat[np.newaxis])
    _moments.finish(xhat[np.newaxis], standard)
    return xhat, standard


def _standardise_backward(grad: np.ndarray, xhat: np.ndarray, standard: _moments.Standard) -> np.ndarray:
    """The gradient of the rows that became xhat."""
    dx, grads, planes = empty(grad.shape, grad.dtype), grad[np.newaxis], xhat[np.newaxis]
    length = max(grad.shape[1], 1)
    means = _moments.sums(grads) / length, _moments.sums(grads, planes) / length
    _moments.input_gradient(grads, planes, standard, means, 1.0, dx[np.newaxis])
    return dx


def _accumulate(grads: np.ndarray, xhat: np.ndarray, weight: Parameter, bias: Parameter | None) -> None:
    """Add to the gradients of weight and bias what ``(N, C, L)`` of the output's gradient and xhat give."""
    weight.accumulate(_moments.sums(grads, xhat).astype(grads.dtype).reshape(weight.shape))
    if bias is not None:
        bias.accumulate(_moments.sums(grads).astype(grads.dtype).reshape(bias.shape))


def _taken(x: np.ndarray, weight: Parameter | None) -> np.ndarray:
    x = as_array(x, "x")
    if weight is not None:
        same_dtype(x, "x", weight.data, "the layer's weight")
    return x


class GroupNorm(Module):
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
        If `num_groups` does not divide `num_channels`, or a batch has another number of channels.

    Notes
    -----
    Statistics are right to rounding whatever the mean and the size of the numbers: a constant group becomes the bias.
    Infinity or NaN in a group makes all of it NaN, and touches no other.

    References
    ----------
    Y. Wu, K. He: Group normalization, ECCV 2018, arXiv:1803.08494.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *, dtype: str = "float32"
    ) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"num_groups must divide the {num_channels} channels, got {num_groups}")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = Parameter(np.ones(num_channels, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_channels, dtype)) if affine else None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Normalise ``(N, C, *spatial)``."""
        x = _taken(x, self.weight)
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ValueError(f"x must have shape (N, C, *spatial) with C = {self.num_channels}, got shape {x.shape}")
        xhat, standard = _standardise(self._rows(x), self.eps)
        xhat = xhat.reshape(x.shape)
        self.keep(xhat, standard)
        if self.weight is None:
            return xhat
        return xhat * self._across(self.weight, x.ndim) + self._across(self.bias, x.ndim)

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Add to the weight's and bias's gradients and return the input's, if wanted."""
        xhat, standard = self.kept(grad)
        grad = as_array(grad, "grad")
        same_dtype(grad, "grad", xhat, "x")
        if self.weight is not None:
            shape = (len(grad), self.num_channels, math.prod(grad.shape[2:]))
            _accumulate(grad.reshape(shape), xhat.reshape(shape), self.weight, self.bias)
            grad = grad * self._across(self.weight, grad.ndim)
        if not need_input:
            return None
        return _standardise_backward(self._rows(grad), self._rows(xhat), standard).reshape(grad.shape)

    def _rows(self, x: np.ndarray) -> np.ndarray:
        """``(N * groups, the rest)``."""
        return x.reshape(len(x) * self.num_groups, math.prod(x.shape[1:]) // self.num_groups)

    def _across(self, parameter: Parameter, ndim: int) -> np.ndarray:
        """One number for each channel, against ``(N, C, *spatial)``."""
        return parameter.data.reshape(-1, *[1] * (ndim - 2))

    def describe(self) -> str:
        """Return groups and channels, and what is not the default."""
        eps = "" if self.eps == 1e-5 else f", eps={self.eps}"
        return f"{self.num_groups}, {self.num_channels}{eps}{', affine=False' if self.weight is None else ''}"


class LayerNorm(Module):
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
        If the last axes of a batch have other sizes.

    Notes
    -----
    Statistics are right to rounding whatever the mean and the size of the numbers: a constant sample becomes the bias.
    Infinity or NaN in a sample makes all of it NaN, and touches no other.

    References
    ----------
    J. L. Ba, J. R. Kiros, G. E. Hinton: Layer normalization, 2016, arXiv:1607.06450.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.weight = Parameter(np.ones(self.normalized_shape, dtype)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape, dtype)) if elementwise_affine and bias else None

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Normalise ``(*, *normalized_shape)``."""
        x = _taken(x, self.weight)
        if x.shape[max(x.ndim - len(self.normalized_shape), 0) :] != self.normalized_shape:
            raise ValueError(f"x must have {self.normalized_shape} for its last axes, got shape {x.shape}")
        xhat, standard = _standardise(self._rows(x), self.eps)
        xhat = xhat.reshape(x.shape)
        self.keep(xhat, standard)
        y = xhat if self.weight is None else xhat * self.weight.data
        return y if self.bias is None else y + self.bias.data

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Add to the weight's and bias's gradients and return the input's, if wanted."""
        xhat, standard = self.kept(grad)
        grad = as_array(grad, "grad")
        same_dtype(grad, "grad", xhat, "x")
        if self.weight is not None:
            # Every element of a sample is a channel.
            planes = (self._rows(array).T[np.newaxis] for array in (grad, xhat))
            _accumulate(*planes, self.weight, self.bias)
            grad = grad * self.weight.data
        if not need_input:
            return None
        return _standardise_backward(self._rows(grad), self._rows(xhat), standard).reshape(grad.shape)

    def _rows(self, x: np.ndarray) -> np.ndarray:
        """``(samples, prod(normalized_shape))``."""
        samples = x.shape[: x.ndim - len(self.normalized_shape)]
        return x.reshape(math.prod(samples), math.prod(self.normalized_shape))

    def describe(self) -> str:
        """Return the shape, and what is not the default."""
        eps = "" if self.eps == 1e-5 else f", eps={self.eps}"
        absent = "elementwise_affine" if self.weight is None else "bias" if self.bias is None else ""
        return f"{self.normalized_shape}{eps}{f', {absent}=False' if absent else ''}"
