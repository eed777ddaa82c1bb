"""The fully connected layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _options
from .._shapes import at_least, check_features
from ..ops.linear import linear, linear_backward
from . import init as initialisers
from ._apart import follow, fused
from ._symbols import activated
from .module import Module, Way
from .parameter import Parameter


class Linear(Module):
    """y = x W^T + b over the last axis.

    Parameters
    ----------
    in_features, out_features : int
        Length of the last axis of the input and of the output.
    bias, activation, init, rng, dtype
        As in `Conv2d`.

    Attributes
    ----------
    weight : Parameter, ``(out_features, in_features)``
    bias : Parameter, ``(out_features,)``, or None
    in_features, out_features, activation
        As given.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> layer = nn.Linear(3, 2, rng=0)
    >>> layer(np.ones((5, 3), np.float32)).shape, layer.weight.shape
    ((5, 2), (2, 3))
    >>> layer.backward(np.ones((5, 2), np.float32)).shape, layer.bias.grad
    ((5, 3), array([5., 5.], dtype=float32))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        activation: str | tuple | None = None,
        init: str | initialisers.Initialiser = "he",
        rng: initialisers.Rng = None,
        dtype: str = "float32",
    ) -> None:
        self.in_features = at_least(in_features, "in_features")
        self.out_features = at_least(out_features, "out_features")
        _options.activation(activation)
        self.weight = initialisers.parameter(init, (out_features, in_features), rng, dtype)
        self.bias = Parameter(np.zeros(out_features, dtype)) if _options.flag(bias, "bias") else None
        self.activation = activation

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Map ``(*, in_features)`` to ``(*, out_features)``."""
        return self._run_with(x)

    def _run_with(self, x: np.ndarray, activation: str | tuple | None = None) -> tuple[np.ndarray, Way]:
        """`activation`: that of a layer that follows in a `Sequential`."""
        weight, bias = self.weight.data, None if self.bias is None else self.bias.data
        activation = self.activation or activation
        y = linear(x, weight, bias, activation=fused(activation))

        def back(grad: np.ndarray, need_input: bool) -> np.ndarray | None:
            grads = linear_backward(grad, x, weight, need=self.need(need_input))
            self.accumulate(grads)
            return grads.x

        return follow(y, back, activation)

    def symbolic(self, x: Any) -> Any:
        """A product of matrices, and the activation."""
        if x.ndim == 2:
            return activated(x.emit("Gemm", self.weight, self.bias, transB=1), self.activation)
        y = x.emit("MatMul", self.weight.data.T)
        return activated(y if self.bias is None else y + self.bias.data, self.activation)

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """``(*, out_features)``."""
        check_features(x_shape, self.weight.shape)
        return (*x_shape[:-1], self.out_features)

    def describe(self) -> str:
        """Return the sizes, and what is not the default."""
        activation = f", activation={self.activation!r}" if self.activation else ""
        return f"{self.in_features}, {self.out_features}{activation}{', bias=False' if self.bias is None else ''}"
