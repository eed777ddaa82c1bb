"""Batch normalisation: every channel to zero mean and unit variance over the batch, then to a learned scale and shift.

A channel's values are one affine map of the input's, so forward and backward are sums over each channel and then a
multiplication and an addition an element, see `_moments`: the engine's, in two passes each.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _options
from .._arrays import as_array, empty
from .._numbers import number
from .._options import channel_last, flag
from .._shapes import at_least
from ..ops import _channels, _elementwise, _moments
from . import _normal
from ._describe import added, real
from ._symbols import on_images
from .module import ByElement, Way
from .parameter import Buffer, Parameter


class _BatchNorm(ByElement):
    """What the three have in common; `_ndims` are the numbers of axes that the input may have."""

    _ndims: tuple[int, ...]
    decays = False

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        layout: str = "NCHW",
        dtype: str = "float32",
    ) -> None:
        self.num_features, self.eps, self.momentum = at_least(num_features, "num_features"), added(eps), momentum
        if momentum is not None:
            self.momentum = number(momentum, "momentum", "a number from 0 to 1, or None", lambda value: 0 <= value <= 1)
        self.layout, self.channel_last = layout, channel_last(layout)
        affine, tracked = flag(affine, "affine"), flag(track_running_stats, "track_running_stats")
        dtype = real(dtype)
        self.weight = Parameter(np.ones(num_features, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_features, dtype)) if affine else None
        self.running_mean = Buffer(np.zeros(num_features, dtype)) if tracked else None
        self.running_var = Buffer(np.ones(num_features, dtype)) if tracked else None
        self.num_batches_tracked = Buffer(np.zeros((), np.int64)) if tracked else None

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Normalise ``(N, C, *spatial)`` by the batch's own statistics; in evaluation, by the running ones.

        Back, the statistics are functions of the input where they were the batch's, and constants where not.
        """
        return self._run_with(x)

    def _run_with(self, x: np.ndarray, activation: str | tuple | None = None) -> tuple[np.ndarray, Way]:
        """`activation`: that of a layer that follows in a `Sequential`, one that is bounds."""
        x, codes = self._checked(x), _options.activation(activation)
        y = empty(x.shape, x.dtype)
        planes, of_batch = self._planes(x), self.training or self.running_mean is None
        weight, bias = (None, None) if self.weight is None else (self.weight.data, self.bias.data)
        if of_batch:
            standard = self._of_batch(planes, weight, bias, self._planes(y), codes)
        else:
            standard = _moments.given(self.running_mean.data, self.running_var.data, self.eps, x.dtype)
            by = standard.map(*(() if weight is None else (weight, bias)))
            _channels.apply(planes, by, self._planes(y), codes)
        apart = None if of_batch or activation is None else y  # the activation's result, if it goes back by itself

        def back(grad: np.ndarray, need_input: bool) -> np.ndarray | None:
            grad = as_array(grad, "grad", x, "x")
            dx = empty(x.shape, x.dtype) if need_input else None
            out = None if dx is None else self._planes(dx)
            grad = grad if apart is None else _elementwise.activate_backward(grad, apart, codes)
            learned, through = (self.weight, self.bias), codes if apart is None else _options.NO_ACTIVATION
            _normal.go_back(self._planes(grad), planes, standard, *learned, out, through, constant=not of_batch)
            return dx

        return y, back

    def symbolic(self, x: Any) -> Any:
        """Normalisation by the running statistics."""
        if self.running_mean is None:
            raise TypeError(f"{type(self).__name__} can be traced with running statistics, got none")
        if x.ndim not in self._ndims:
            self._check_shape(x.shape)  # asked for no sooner: a graph that looks at sizes is good for these alone
        ones = np.ones(self.num_features, self.running_var.dtype)
        scale, bias = (ones, np.zeros_like(ones)) if self.weight is None else (self.weight, self.bias)
        state = scale, bias, self.running_mean, self.running_var
        return on_images(x, x.ndim - 2, self.layout, lambda x: x.emit("BatchNormalization", *state, epsilon=self.eps))

    def _of_batch(self, planes: np.ndarray, *more: Any) -> _moments.Standard:
        """Normalise by the batch's own statistics; the running ones move towards them."""
        count = planes.shape[0] * planes.shape[2]
        if count == 1:
            raise ValueError(
                f"x must have more than one value per channel in training, got one; {type(self).__name__} can take "
                "a larger batch, or single values after eval()"
            )
        standard = _moments.standard(planes, self.eps, *more)
        if self.running_mean is not None and count:  # no values teach nothing
            self._follow(standard, count / (count - 1))
        return standard

    def _follow(self, standard: _moments.Standard, unbiased: float) -> None:
        """Move the running statistics towards a batch's."""
        mean, var, batches = self.running_mean, self.running_var, self.num_batches_tracked
        for name, buffer in (("running_mean", mean), ("running_var", var), ("num_batches_tracked", batches)):
            if not buffer.data.flags.writeable:
                raise ValueError(f"{name} must be writable in training, got a read-only array; data.copy() is one")
        batches.data[...] = batches.data.item() + 1  # in a tenth of the time of +=
        rate = 1 / float(batches.data) if self.momentum is None else self.momentum
        _moments.follow(mean.data, var.data, standard, unbiased, rate)
        mean.version += 1
        var.version += 1

    def _checked(self, x: np.ndarray) -> np.ndarray:
        x = as_array(x, "x", None if self.weight is None else self.weight.data, "the layer's weight")
        self._check_shape(x.shape)
        return x

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        channels = "(N, *spatial, C)" if self.channel_last else "(N, C, *spatial)"
        if len(shape) not in self._ndims or shape[-1 if self.channel_last else 1] != self.num_features:
            raise ValueError(
                f"x must have shape {channels} with C = {self.num_features} and "
                f"{' or '.join(map(str, self._ndims))} axes, got shape {shape}"
            )

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """That of the input."""
        self._check_shape(tuple(x_shape))
        return super().output_shape(x_shape)

    def _planes(self, array: np.ndarray) -> np.ndarray:
        """``(N, C, L)`` of the array: a view, unless its memory is in another order."""
        if self.channel_last:
            return array.reshape(len(array), math.prod(array.shape[1:-1]), self.num_features).swapaxes(1, 2)
        return array.reshape(len(array), self.num_features, math.prod(array.shape[2:]))

    def describe(self) -> str:
        """Return the channels, and what is not the default."""
        usual = {"eps": 1e-5, "momentum": 0.1, "layout": "NCHW"}
        unusual = [f", {name}={getattr(self, name)!r}" for name, value in usual.items() if getattr(self, name) != value]
        unusual += [", affine=False"] * (self.weight is None)
        unusual += [", track_running_stats=False"] * (self.running_mean is None)
        return f"{self.num_features}{''.join(unusual)}"


_DOC = """Normalise every channel over the batch {where}, then scale and shift it: y = weight * xhat + bias.

    In training xhat = (x - mean) / sqrt(var + eps) with the batch's own mean and (biased) variance, and the running
    ones follow: ``running += momentum * (batch's - running)``, the variance unbiased. In evaluation xhat is formed with
    the running ones.

    Parameters
    ----------
    num_features : int
        Channels C.
    eps : float, default 1e-5
        Added to the variance.
    momentum : float or None, default 0.1
        Weight of the newest batch in the running statistics; None takes the mean of all batches so far.
    affine : bool, default True
        Whether there are a weight and a bias; they start from ones and zeros.
    track_running_stats : bool, default True
        Whether there are running statistics. Without them evaluation uses the batch's own, too.
    layout : {{"NCHW", "NHWC"}}
        Where the channel axis is: second, or last.
    dtype : {{"float32", "float64"}}
        Of the parameters, and so of every batch.

    Attributes
    ----------
    weight, bias : Parameter, ``(C,)``, or None
    running_mean, running_var : Buffer, ``(C,)``, or None
    num_batches_tracked : Buffer, an int64, or None

    Raises
    ------
    TypeError
        If a batch has another dtype than the weight.
    ValueError
        If `num_features` is below 1, eps below 0 or infinite, or momentum outside 0 to 1; if a batch has another shape
        than {shapes}, or, in training, only one value per channel.

    Notes
    -----
    Statistics are right to rounding whatever the mean, the size of the planes or of the numbers: a constant channel
    becomes the bias, and x times 1e30 what x becomes (but for eps). In the running variance, one that the dtype cannot
    hold counts as the dtype's largest number, so that it stays finite, and comes down again. Infinity or NaN in a
    channel makes all of it NaN, its running statistics too, and touches no other.

    An empty batch leaves the running statistics as they are.

    References
    ----------
    S. Ioffe, C. Szegedy: Batch normalization: accelerating deep network training by reducing internal covariate shift,
    ICML 2015, arXiv:1502.03167.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> layer = nn.BatchNorm{nd}d(2, dtype="float64")
    >>> y = layer(np.random.default_rng(0).normal(5, 3, (64, 2, {eights})))
    >>> round(abs(float(y.mean())), 3), round(float(y.std()), 3)
    (0.0, 1.0)
    >>> layer.running_mean.data.round(1)  # a tenth of the way from 0 to 5
    array([0.5, 0.5])
    """


class BatchNorm1d(_BatchNorm):
    __doc__ = _DOC.format(nd=1, eights="8", where="(and the length)", shapes="``(N, C)`` or ``(N, C, L)``")
    _ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    __doc__ = _DOC.format(nd=2, eights="8, 8", where="and the pixels", shapes="``(N, C, H, W)``")
    _ndims = (4,)


class BatchNorm3d(_BatchNorm):
    __doc__ = _DOC.format(nd=3, eights="8, 8, 8", where="and the voxels", shapes="``(N, C, D, H, W)``")
    _ndims = (5,)
