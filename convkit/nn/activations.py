"""Activations as layers, on arrays of any shape. `convkit.nn.Conv2d(activation=...)` fuses one into the convolution.

Where the two sides of zero differ they are told apart by arithmetic: `numpy.where` has a branch for every element,
which random signs make ten times as slow. NaN passes through all of them, and at plus and minus infinity output and
derivative are what they tend to: no product of nothing and infinity.
"""

from __future__ import annotations

import math

import numpy as np

from ._erf import erf
from ._limits import difference, share
from .module import Module


def _positive(x: np.ndarray) -> np.ndarray:
    """1 where x > 0, else 0, in x's dtype."""
    return (x > 0).astype(x.dtype)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), or, where that might overflow, exp(x) / (1 + exp(x))."""
    small = np.exp(-np.abs(x))
    return np.maximum(small, x >= 0) / (1 + small)


class Step(Module):
    """The perceptron's step: y = 1 where x >= 0, else 0. Its gradient is zero everywhere: it cannot learn by descent.

    References
    ----------
    F. Rosenblatt: The perceptron: a probabilistic model for information storage and organization in the brain,
    Psychological Review 65, 1958.
    """

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return 1 or 0 for each element."""
        self.keep()
        return np.heaviside(x, 1)

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Return zeros."""
        self.kept(grad)
        return np.zeros_like(grad) if need_input else None


class ReLU(Module):
    """y = max(x, 0). At zero the derivative is zero."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return max(x, 0)."""
        # Of zeros, not of 0: NumPy's maximum is four times as fast on two arrays as on an array and a number.
        y = np.maximum(x, np.zeros(x.shape[1:], x.dtype))
        self.keep(y)
        return y

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Let the gradient through where the output was positive."""
        (y,) = self.kept(grad)
        return grad * (y > 0) if need_input else None


class ReLU6(Module):
    """y = min(max(x, 0), 6). At zero and at six the derivative is zero.

    References
    ----------
    A. Krizhevsky: Convolutional deep belief networks on CIFAR-10, 2010.
    """

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return min(max(x, 0), 6)."""
        y = np.clip(x, 0, 6)
        self.keep(y)
        return y

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Let the gradient through where nothing was cut off."""
        (y,) = self.kept(grad)
        return grad * ((y > 0) & (y < 6)) if need_input else None


class LeakyReLU(Module):
    """y = x where x > 0, else negative_slope * x.

    Parameters
    ----------
    negative_slope : float, default 0.01

    References
    ----------
    A. L. Maas, A. Y. Hannun, A. Y. Ng: Rectifier nonlinearities improve neural network acoustic models, ICML 2013.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return max(x, 0) + negative_slope * min(x, 0)."""
        self.keep(x)
        return np.maximum(x, 0) + share(self.negative_slope, np.minimum(x, 0))

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Multiply by 1 or by the slope."""
        (x,) = self.kept(grad)
        if not need_input:
            return None
        above = _positive(x)
        return grad * (above + self.negative_slope * (1 - above))

    def describe(self) -> str:
        """Return the slope."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """y = x where x > 0, else alpha * (exp(x) - 1).

    Parameters
    ----------
    alpha : float, default 1

    References
    ----------
    D.-A. Clevert, T. Unterthiner, S. Hochreiter: Fast and accurate deep network learning by exponential linear units,
    ICLR 2016, arXiv:1511.07289.
    """

    scale = 1.0

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return scale * (max(x, 0) + alpha * (exp(min(x, 0)) - 1))."""
        self.keep(x)
        return self.scale * (np.maximum(x, 0) + self.alpha * np.expm1(np.minimum(x, 0)))

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Multiply by 1 or by alpha * exp(x), and by the scale."""
        (x,) = self.kept(grad)
        if not need_input:
            return None
        above = _positive(x)
        return grad * (self.scale * (above + self.alpha * np.exp(np.minimum(x, 0)) * (1 - above)))

    def describe(self) -> str:
        """Return alpha."""
        return f"alpha={self.alpha}"


class SELU(ELU):
    """y = scale * ELU(x), with the two numbers that keep mean 0 and variance 1 from layer to layer.

    References
    ----------
    G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter: Self-normalizing neural networks, NeurIPS 2017,
    arXiv:1706.02515.
    """

    scale = 1.0507009873554804934193349852946

    def __init__(self) -> None:
        super().__init__(alpha=1.6732632423543772848170429916717)

    def describe(self) -> str:
        """Return nothing: both numbers are given."""
        return ""


class Sigmoid(Module):
    """y = 1 / (1 + exp(-x)); no x overflows."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the sigmoid of each element."""
        y = _sigmoid(x)
        self.keep(y)
        return y

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Multiply by y * (1 - y)."""
        (y,) = self.kept(grad)
        return grad * (y * (1 - y)) if need_input else None


class Tanh(Module):
    """y = tanh(x)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the hyperbolic tangent of each element."""
        y = np.tanh(x)
        self.keep(y)
        return y

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Multiply by 1 - y**2."""
        (y,) = self.kept(grad)
        return grad * (1 - y * y) if need_input else None


class SiLU(Module):
    """y = x * sigmoid(x), also called swish.

    References
    ----------
    S. Elfwing, E. Uchibe, K. Doya: Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning, Neural Networks 107, 2018, arXiv:1702.03118.
    """

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return x * sigmoid(x)."""
        gate = _sigmoid(x)
        self.keep(x, gate)
        return share(gate, x)

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Multiply by s * (1 + x * (1 - s)), s = sigmoid(x)."""
        x, gate = self.kept(grad)
        return grad * share(gate, 1 + share(1 - gate, x)) if need_input else None


class GELU(Module):
    """y = x * Phi(x), Phi the distribution function of the normal distribution.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        "none" is Phi(x) = (1 + erf(x / sqrt(2))) / 2 itself;
        "tanh" takes (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2 for it.

    Raises
    ------
    ValueError
        If `approximate` is something else.

    References
    ----------
    D. Hendrycks, K. Gimpel: Gaussian error linear units, 2016, arXiv:1606.08415.
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return x * Phi(x)."""
        if self.approximate == "tanh":
            with np.errstate(over="ignore"):  # tanh of infinity is 1
                phi = (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))) / 2
        else:
            phi = (1 + erf(x * math.sqrt(0.5))) / 2
        self.keep(x, phi)
        return share(phi, x)

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Multiply by Phi(x) + x * Phi'(x)."""
        x, phi = self.kept(grad)
        if not need_input:
            return None
        with np.errstate(over="ignore"):
            square = x * x
            if self.approximate == "tanh":
                density = share(2 * phi * (1 - phi), math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * square))
            else:
                density = np.exp(-square / 2) / math.sqrt(2 * math.pi)
        return grad * (phi + share(density, x))

    def describe(self) -> str:
        """Return the form."""
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """y = log(1 + exp(beta * x)) / beta, a smooth ReLU; x itself where beta * x > threshold.

    Parameters
    ----------
    beta : float, default 1
        Above 0: the larger, the nearer to ReLU.
    threshold : float, default 20

    Raises
    ------
    ValueError
        If beta is not above 0.

    References
    ----------
    C. Dugas, Y. Bengio, F. Belisle, C. Nadeau, R. Garcia: Incorporating second-order functional knowledge for better
    option pricing, NeurIPS 2000.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        if not beta > 0:
            raise ValueError(f"beta must be above 0, got {beta!r}")
        self.beta, self.threshold = beta, threshold

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the logarithm, with the larger term taken out of it."""
        with np.errstate(over="ignore"):
            scaled = self.beta * x
        self.keep(scaled)
        y = (np.maximum(scaled, 0) + np.log1p(np.exp(-np.abs(scaled)))) / self.beta
        return np.where(scaled > self.threshold, x, y)

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Multiply by sigmoid(beta * x)."""
        (scaled,) = self.kept(grad)
        return grad * np.maximum(_sigmoid(scaled), scaled > self.threshold) if need_input else None

    def describe(self) -> str:
        """Return both numbers."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(Module):
    """y = exp(x) / sum(exp(x)) along an axis: scores to probabilities. The largest score is taken off first.

    Equal infinities are equal scores: several at plus infinity share the probability, as all do that are at minus
    infinity together; one at minus infinity among others has none.

    Parameters
    ----------
    dim : int, default 1
        The axis: the classes of ``(N, classes, *)``.
    """

    def __init__(self, dim: int = 1) -> None:
        self.dim = dim

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the probabilities."""
        y = np.exp(difference(x, x.max(axis=self.dim, keepdims=True)))
        y /= y.sum(axis=self.dim, keepdims=True)
        self.keep(y)
        return y

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Return y * (grad - sum(grad * y))."""
        (y,) = self.kept(grad)
        return y * (grad - (grad * y).sum(axis=self.dim, keepdims=True)) if need_input else None

    def describe(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """y = x - log(sum(exp(x))) along an axis: scores to log-probabilities. The largest score is taken off first.

    Infinite scores are those of `Softmax`; no probability has the logarithm minus infinity.

    Parameters
    ----------
    dim : int, default 1
        The axis: the classes of ``(N, classes, *)``.
    """

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the logarithms of the probabilities."""
        lowered = difference(x, x.max(axis=self.dim, keepdims=True))
        y = lowered - np.log(np.exp(lowered).sum(axis=self.dim, keepdims=True))
        self.keep(y)
        return y

    def backward(self, grad: np.ndarray, *, need_input: bool = True) -> np.ndarray | None:
        """Return grad - exp(y) * sum(grad)."""
        (y,) = self.kept(grad)
        return grad - np.exp(y) * grad.sum(axis=self.dim, keepdims=True) if need_input else None
