"""MobileNetV2: depthwise convolutions between thin residual connections."""

from __future__ import annotations

from collections.abc import Iterator

from .. import nn
from ..nn.init import Initialiser, Rng
from ._layers import Layers

# Rows of the paper's table 2: how far a block widens inside, its channels, how many blocks, the first one's stride.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class InvertedResidual(nn.Residual):
    """1x1 convolution that widens, 3x3 depthwise, 1x1 that narrows, and x added; under torchvision's names."""

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the three, with their normalisations."""
        yield "conv", self.branch


def _conv(new: Layers, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, normalisation, activation."""
    conv = new.conv(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, new.batch_norm(c_out), nn.ReLU6())


def inverted_residual(new: Layers, c_in: int, c_out: int, stride: int, widening: int) -> nn.Module:
    """The three convolutions; x is added where the shape stays."""
    width = c_in * widening
    layers: list[nn.Module] = [_conv(new, c_in, width, 1)] if widening > 1 else []
    layers += [
        _conv(new, width, width, 3, stride, groups=width),
        new.conv(width, c_out, 1, bias=False),
        new.batch_norm(c_out),
    ]
    conv = nn.Sequential(*layers)
    return InvertedResidual(conv) if stride == 1 and c_in == c_out else nn.Sequential({"conv": conv})


def mobilenet_v2(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    init: str | Initialiser = "he",
    rng: Rng = None,
    dtype: str = "float32",
) -> nn.Sequential:
    """MobileNetV2 of width 1, ``(N, in_channels, H, W)`` to ``(N, num_classes)`` scores; H and W from 1 up.

    3,504,872 parameters for the 1000 classes of ImageNet. State as torchvision's ``mobilenet_v2``.

    Parameters
    ----------
    num_classes, in_channels, init, rng, dtype
        Common to all models, see `convkit.models`.

    Returns
    -------
    Sequential
        "features", "avgpool", "flatten", "classifier"; ``model[:-1]`` gives 1280 features an image.

    References
    ----------
    M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen: MobileNetV2: inverted residuals and linear bottlenecks,
    CVPR 2018, arXiv:1801.04381.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import models
    >>> model = models.mobilenet_v2(10, init="zeros")
    >>> model.predict(np.ones((1, 3, 32, 32), np.float32)).shape
    (1, 10)
    """
    new = Layers(init, rng, dtype, num_classes=num_classes)
    features: list[nn.Module] = [_conv(new, in_channels, 32, 3, 2)]
    channels = 32
    for widening, width, count, stride in _STAGES:
        for i in range(count):
            features.append(inverted_residual(new, channels, width, stride if i == 0 else 1, widening))
            channels = width
    features.append(_conv(new, channels, 1280, 1))
    return nn.Sequential(
        {
            "features": nn.Sequential(*features),
            "avgpool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "classifier": nn.Sequential(new.dropout(0.2), new.linear(1280, num_classes)),
        }
    )
