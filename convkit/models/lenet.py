"""LeNet-5."""

from __future__ import annotations

from .. import nn
from ..nn.init import Initialiser, Rng
from ._layers import Layers


def lenet5(
    num_classes: int = 10,
    *,
    in_channels: int = 1,
    init: str | Initialiser = "glorot",
    rng: Rng = None,
    dtype: str = "float32",
) -> nn.Sequential:
    """LeNet-5, ``(N, in_channels, 32, 32)`` to ``(N, num_classes)`` scores.

    61,706 parameters for ten classes of grey images. The layers are the paper's, with what has become usual since:
    every map of the second convolution reads all maps of the first, pooling has no weights, the last layer is linear.

    Parameters
    ----------
    num_classes, in_channels, init, rng, dtype
        Common to all models, see `convkit.models`; Glorot's initialiser suits tanh.

    Returns
    -------
    Sequential
        ``model[:-1]`` gives 84 features an image.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition, Proceedings of
    the IEEE 86, 1998.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import models
    >>> model = models.lenet5(rng=0)
    >>> x = np.ones((1, 1, 32, 32), np.float32)
    >>> model(x).shape, model[:-1](x).shape
    ((1, 10), (1, 84))
    """
    new = Layers(init, rng, dtype, num_classes=num_classes)
    return nn.Sequential(
        new.conv(in_channels, 6, 5, activation="tanh"),
        nn.AvgPool2d(2),
        new.conv(6, 16, 5, activation="tanh"),
        nn.AvgPool2d(2),
        nn.Flatten(),
        new.linear(16 * 5 * 5, 120, activation="tanh"),
        new.linear(120, 84, activation="tanh"),
        new.linear(84, num_classes),
    )
