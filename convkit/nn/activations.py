"""Activations as layers, on arrays of any shape. `convkit.nn.Conv2d(activation=...)` fuses one into the convolution.

Those of single numbers are the engine's: threaded, one pass forward and one back; so is Softmax forward. Step, PReLU,
LogSoftmax and Softmax's way back are NumPy's. NaN passes through all of them, and at plus and minus infinity output and
derivative are what they tend to: no product of nothing and infinity. Where a piece of one is constant, it lets nothing
through, not even an infinite gradient.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from .. import _options
from .._arrays import as_array, same_dtype
from .._limits import log_softmax, share
from .._numbers import number
from .._shapes import at_least, integer
from .._words import brief
from ..ops import _elementwise, _rows
from ._describe import real
from .module import ByElement, Way
from .parameter import Parameter


class _Named(ByElement):
    """An activation that is one of ONNX's operators."""

    _op: str

    def _attributes(self) -> dict[str, Any]:
        return {}

    def symbolic(self, x: Any) -> Any:
        """The same of a value."""
        return x.emit(self._op, **self._attributes())


class FromResult(_Named):
    """An activation whose derivative is formed from its result."""

    fused: ClassVar[str | tuple]  # what operators call it
    _activation: ClassVar[tuple[int, float, float]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._activation = _options.activation(cls.fused)

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Return the activation of each element; back, multiply by the derivative."""
        activation = self._activation
        y = _elementwise.activate(x, activation)
        return y, lambda grad, _: _elementwise.activate_backward(grad, y, activation)


class _FromArgument(_Named):
    """An activation whose derivative is formed from its argument; its parameters may be changed between calls."""

    @abstractmethod
    def _parameters(self) -> tuple[int, float, float]:
        """The engine's code and numbers."""

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Return the activation of each element; back, multiply by the derivative."""
        activation = self._parameters()
        y = _elementwise.activate(x, activation)
        return y, lambda grad, _: _elementwise.activate_backward(grad, x, activation)


class Step(ByElement):
    """The perceptron's step: y = 1 where x >= 0, else 0. Its gradient is zero everywhere: it cannot learn by descent.

    References
    ----------
    F. Rosenblatt: The perceptron: a probabilistic model for information storage and organization in the brain,
    Psychological Review 65, 1958.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.Step()(np.array([-0.5, 0.0, 0.5]))
    array([0., 1., 1.])
    """

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Return 1 or 0 for each element; zeros on the way back."""
        y = np.asarray(np.heaviside(as_array(x, "x"), 1))  # of an array without axes NumPy makes a number
        return y, lambda grad, _: np.zeros_like(grad)

    def symbolic(self, x: Any) -> Any:
        """The same of a value."""
        return (x >= np.asarray(0, x.dtype)).astype(x.dtype)


class ReLU(FromResult):
    """y = max(x, 0). At zero the derivative is zero.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> relu = nn.ReLU()
    >>> relu(np.array([-1.0, 0.0, 2.0])), relu.backward(np.ones(3))
    (array([0., 0., 2.]), array([0., 0., 1.]))
    """

    fused, _op = "relu", "Relu"


class ReLU6(FromResult):
    """y = min(max(x, 0), 6). At zero and at six the derivative is zero.

    References
    ----------
    A. Krizhevsky: Convolutional deep belief networks on CIFAR-10, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.ReLU6()(np.array([-1.0, 2.0, 8.0]))
    array([0., 2., 6.])
    """

    fused = "clip", 0.0, 6.0

    def symbolic(self, x: Any) -> Any:
        """The same of a value."""
        return x.emit("Clip", np.asarray(0, x.dtype), np.asarray(6, x.dtype))


class Hardsigmoid(FromResult):
    """y = min(max(x + 3, 0), 6) / 6, a sigmoid of straight lines. At its bends the derivative is zero.

    References
    ----------
    M. Courbariaux, Y. Bengio, J.-P. David: BinaryConnect: training deep neural networks with binary weights during
    propagations, NeurIPS 2015, arXiv:1511.00363.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.Hardsigmoid()(np.array([0.0, 6.0]))
    array([0.5, 1. ])
    """

    fused, _op = "hard_sigmoid", "HardSigmoid"

    def _attributes(self) -> dict[str, Any]:
        return {"alpha": 1 / 6, "beta": 0.5}


class LeakyReLU(_FromArgument):
    """y = x where x > 0, else negative_slope * x.

    Parameters
    ----------
    negative_slope : float, default 0.01

    References
    ----------
    A. L. Maas, A. Y. Hannun, A. Y. Ng: Rectifier nonlinearities improve neural network acoustic models, ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.LeakyReLU(0.1)(np.array([-2.0, 3.0]))
    array([-0.2,  3. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = number(negative_slope, "negative_slope")

    _op = "LeakyRelu"

    def _parameters(self) -> tuple[int, float, float]:
        return _elementwise.leaky_relu(self.negative_slope)

    def _attributes(self) -> dict[str, Any]:
        return {"alpha": float(self.negative_slope)}

    def describe(self) -> str:
        """Return the slope."""
        return f"negative_slope={self.negative_slope}"


class PReLU(ByElement):
    """y = x where x > 0, else weight * x: a LeakyReLU whose slope is learned, one for all or for each channel.

    Parameters
    ----------
    num_parameters : int, default 1
        1, or the channels C of ``(N, C, *)``.
    init : float, default 0.25
        What the slopes start from.
    dtype : {"float32", "float64"}
        Of the parameter, and so of every batch.

    Attributes
    ----------
    weight : Parameter, ``(num_parameters,)``

    Raises
    ------
    ValueError
        In a call, if there are slopes for another number of channels.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun: Delving deep into rectifiers: surpassing human-level performance on ImageNet
    classification, ICCV 2015, arXiv:1502.01852.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.PReLU(init=0.5, dtype="float64")(np.array([-2.0, 3.0]))
    array([-1.,  3.])
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: str = "float32") -> None:
        self.num_parameters = at_least(num_parameters, "num_parameters")
        self.weight = Parameter(np.full(num_parameters, number(init, "init"), real(dtype)))

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Return max(x, 0) + weight * min(x, 0); back, multiply by 1 or by the slope."""
        x = as_array(x, "x")
        same_dtype(x, "x", self.weight.data, "the layer's weight")
        if self.num_parameters > 1 and x.shape[1:2] != self.weight.shape:
            raise ValueError(f"x must have {self.num_parameters} channels, one for each slope, got shape {x.shape}")
        slope, below = self._slope(x.ndim), np.minimum(x, 0)
        others = tuple(axis for axis in range(x.ndim) if axis != 1 or self.num_parameters == 1)

        def back(grad: np.ndarray, need_input: bool) -> np.ndarray:
            self.weight.accumulate(share(grad, below).sum(axis=others).reshape(self.weight.shape))
            above = (x > 0).astype(x.dtype)
            return grad * (above + slope * (1 - above))

        return np.asarray(np.maximum(x, 0) + share(slope, below)), back  # of an array without axes NumPy makes a number

    def _slope(self, ndim: int) -> np.ndarray:
        """The slopes, to be multiplied by an array of so many axes."""
        return self.weight.data.reshape((-1, *[1] * (ndim - 2))[:ndim])

    def symbolic(self, x: Any) -> Any:
        """The same of a value."""
        return x.emit("PRelu", self._slope(x.ndim))

    def describe(self) -> str:
        """Return the number of slopes."""
        return f"num_parameters={self.num_parameters}"


class ELU(_FromArgument):
    """y = x where x > 0, else alpha * (exp(x) - 1).

    Parameters
    ----------
    alpha : float, default 1

    References
    ----------
    D.-A. Clevert, T. Unterthiner, S. Hochreiter: Fast and accurate deep network learning by exponential linear units,
    ICLR 2016, arXiv:1511.07289.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.ELU()(np.array([-10.0, -1.0, 2.0])).round(3)
    array([-1.   , -0.632,  2.   ])
    """

    scale, _op = 1.0, "Elu"

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number(alpha, "alpha")

    def _parameters(self) -> tuple[int, float, float]:
        return _elementwise.elu(self.alpha, self.scale)

    def _attributes(self) -> dict[str, Any]:
        return {"alpha": float(self.alpha)}

    def describe(self) -> str:
        """Return alpha."""
        return f"alpha={self.alpha}"


class SELU(ELU):
    """y = scale * ELU(x), with the two numbers that keep mean 0 and variance 1 from layer to layer.

    References
    ----------
    G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter: Self-normalizing neural networks, NeurIPS 2017,
    arXiv:1706.02515.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> y = nn.SELU()(np.random.default_rng(0).standard_normal(10_000))
    >>> bool(abs(y.mean()) < 0.02 and abs(y.var() - 1) < 0.02)
    True
    """

    scale, _op = 1.0507009873554804934193349852946, "Selu"

    def __init__(self) -> None:
        super().__init__(alpha=1.6732632423543772848170429916717)

    def _attributes(self) -> dict[str, Any]:
        return {"alpha": self.alpha, "gamma": self.scale}

    def describe(self) -> str:
        """Return nothing: both numbers are given."""
        return ""


class Sigmoid(FromResult):
    """y = 1 / (1 + exp(-x)); no x overflows.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.Sigmoid()(np.array([-1000.0, 0.0, 2.0])).round(3)
    array([0.   , 0.5  , 0.881])
    """

    fused, _op = "sigmoid", "Sigmoid"


class Tanh(FromResult):
    """y = tanh(x).

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> tanh = nn.Tanh()
    >>> tanh(np.array([0.0, 1.0])).round(3), tanh.backward(np.ones(2)).round(3)
    (array([0.   , 0.762]), array([1.  , 0.42]))
    """

    fused, _op = "tanh", "Tanh"


class SiLU(_FromArgument):
    """y = x * sigmoid(x), also called swish.

    References
    ----------
    S. Elfwing, E. Uchibe, K. Doya: Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning, Neural Networks 107, 2018, arXiv:1702.03118.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.SiLU()(np.array([-1.0, 0.0, 10.0])).round(3)
    array([-0.269,  0.   , 10.   ])
    """

    _op = "Swish"

    def _parameters(self) -> tuple[int, float, float]:
        return _elementwise.SILU


class Hardswish(_FromArgument):
    """y = x * min(max(x + 3, 0), 6) / 6, a SiLU of straight lines.

    References
    ----------
    A. Howard et al.: Searching for MobileNetV3, ICCV 2019, arXiv:1905.02244.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.Hardswish()(np.array([1.5, 4.0]))
    array([1.125, 4.   ])
    """

    _op = "HardSwish"

    def _parameters(self) -> tuple[int, float, float]:
        return _elementwise.HARD_SWISH


class GELU(_FromArgument):
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

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> x = np.array([-1.0, 1.0])
    >>> nn.GELU()(x).round(4), nn.GELU("tanh")(x).round(4)
    (array([-0.1587,  0.8413]), array([-0.1588,  0.8412]))
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate must be 'none' or 'tanh', got {brief(approximate)}")
        self.approximate = approximate

    def _parameters(self) -> tuple[int, float, float]:
        return _elementwise.GELU_TANH if self.approximate == "tanh" else _elementwise.GELU

    _op = "Gelu"

    def _attributes(self) -> dict[str, Any]:
        return {"approximate": self.approximate}

    def describe(self) -> str:
        """Return the form."""
        return f"approximate={self.approximate!r}"


class Softplus(_FromArgument):
    """y = log(1 + exp(beta * x)) / beta, a smooth ReLU; x itself where beta * x > threshold.

    Parameters
    ----------
    beta : float, default 1
        Above 0: the larger, the nearer to ReLU.
    threshold : float, default 20

    Raises
    ------
    ValueError
        If beta is not above 0 and finite, or threshold is NaN.

    References
    ----------
    C. Dugas, Y. Bengio, F. Belisle, C. Nadeau, R. Garcia: Incorporating second-order functional knowledge for better
    option pricing, NeurIPS 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> x = np.array([-1.0, 0.0, 1.0])
    >>> nn.Softplus()(x).round(3), nn.Softplus(beta=10)(x).round(3)
    (array([0.313, 0.693, 1.313]), array([0.   , 0.069, 1.   ]))
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = number(beta, "beta", "a finite number above 0", lambda value: 0 < value < math.inf)
        self.threshold = number(threshold, "threshold", "a number", lambda value: not math.isnan(value))

    def _parameters(self) -> tuple[int, float, float]:
        return _elementwise.softplus(self.beta, self.threshold)

    def symbolic(self, x: Any) -> Any:
        """The same of a value; the threshold is left out where the two sides of it are equal to the last bit or so."""
        scaled = x if self.beta == 1 else x * np.asarray(self.beta, x.dtype)
        y = scaled.emit("Softplus")
        y = y if self.beta == 1 else y / np.asarray(self.beta, x.dtype)
        near = np.exp(-self.threshold) < np.finfo(x.dtype).eps * max(self.threshold, 1)
        return y if near else np.where(scaled > np.asarray(self.threshold, x.dtype), x, y)

    def describe(self) -> str:
        """Return both numbers."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(ByElement):
    """y = exp(x) / sum(exp(x)) along an axis: scores to probabilities. The largest score is taken off first.

    Equal infinities are equal scores: several at plus infinity share the probability, as all do that are at minus
    infinity together; one at minus infinity among others has none.

    Parameters
    ----------
    dim : int, default 1
        The axis: the classes of ``(N, classes, *)``.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.Softmax()(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """

    def __init__(self, dim: int = 1) -> None:
        self.dim = integer(dim, "dim")

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Return the probabilities; back, y * (grad - sum(grad * y))."""
        dim = self.dim
        y = _rows.softmax(x, dim)
        return y, lambda grad, _: y * (grad - (grad * y).sum(axis=dim, keepdims=True))

    _op = "Softmax"

    def symbolic(self, x: Any) -> Any:
        """The same of a value."""
        return x.emit(self._op, axis=self.dim)

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

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.LogSoftmax()(np.array([[0.0, 0.0], [5.0, 0.0]])).round(3)
    array([[-0.693, -0.693],
           [-0.007, -5.007]])
    """

    _op = "LogSoftmax"

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Return the logarithms of the probabilities; back, grad - exp(y) * sum(grad)."""
        dim, x = self.dim, _rows.with_axis(x, self.dim)
        if x.size == 0:
            return x.copy(), lambda grad, _: grad
        y = log_softmax(x, dim)
        return y, lambda grad, _: grad - np.exp(y) * grad.sum(axis=dim, keepdims=True)
