"""VGG-16: nothing but 3x3 convolutions, 2x2 pooling and a large classifier."""

from __future__ import annotations

from .. import nn
from ..nn.init import Initialiser, Rng
from ._layers import Layers

_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    init: str | Initialiser = "he",
    rng: Rng = None,
    dtype: str = "float32",
) -> nn.Sequential:
    """Network D of the paper, ``(N, in_channels, H, W)`` to ``(N, num_classes)`` scores; H and W from 32 up.

    138,357,544 parameters for the 1000 classes of ImageNet. State as torchvision's ``vgg16``.

    Parameters
    ----------
    num_classes, in_channels, init, rng, dtype
        Common to all models, see `convkit.models`.

    Returns
    -------
    Sequential
        "features", "avgpool", "flatten", "classifier". One cell of ``model[0]``'s output sees 212 x 212 pixels.

    References
    ----------
    K. Simonyan, A. Zisserman: Very deep convolutional networks for large-scale image recognition, ICLR 2015,
    arXiv:1409.1556.

    Examples
    --------
    >>> from convkit import models
    >>> model = models.vgg16(init="zeros")
    >>> model.output_shape((1, 3, 224, 224)), model[0].output_shape((1, 3, 224, 224))
    ((1, 1000), (1, 512, 7, 7))
    """
    new = Layers(init, rng, dtype, num_classes=num_classes)
    features: list[nn.Module] = []
    channels = in_channels
    for widths in _STAGES:
        for width in widths:
            features += [new.conv(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        features.append(nn.MaxPool2d(2))
    classifier = nn.Sequential(
        new.linear(512 * 7 * 7, 4096), nn.ReLU(), new.dropout(),
        new.linear(4096, 4096), nn.ReLU(), new.dropout(),
        new.linear(4096, num_classes),
    )  # fmt: skip
    return nn.Sequential(
        {
            "features": nn.Sequential(*features),
            "avgpool": nn.AdaptiveAvgPool2d(7),
            "flatten": nn.Flatten(),
            "classifier": classifier,
        }
    )
