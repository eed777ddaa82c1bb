"""AlexNet."""

from __future__ import annotations

from .. import nn
from ..nn.init import Initialiser, Rng
from ._layers import Layers


def alexnet(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    init: str | Initialiser = "he",
    rng: Rng = None,
    dtype: str = "float32",
) -> nn.Sequential:
    """Five convolutions and three linear layers, ``(N, in_channels, H, W)`` to ``(N, num_classes)``; H, W from 63 up.

    61,100,840 parameters for the 1000 classes of ImageNet. State as torchvision's ``alexnet``, the one-column network
    of the second paper: no groups, no local response normalisation.

    Parameters
    ----------
    num_classes, in_channels, init, rng, dtype
        Common to all models, see `convkit.models`.

    Returns
    -------
    Sequential
        "features", "avgpool", "flatten", "classifier".

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. E. Hinton: ImageNet classification with deep convolutional neural networks, NIPS
    2012.
    A. Krizhevsky: One weird trick for parallelizing convolutional neural networks, 2014, arXiv:1404.5997.

    Examples
    --------
    >>> from convkit import models
    >>> model = models.alexnet(init="zeros")
    >>> model.output_shape((1, 3, 224, 224)), model[0].output_shape((1, 3, 224, 224))
    ((1, 1000), (1, 256, 6, 6))
    """
    new = Layers(init, rng, dtype, num_classes=num_classes)
    features = nn.Sequential(
        new.conv(in_channels, 64, 11, 4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        new.conv(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        new.conv(192, 384, 3, padding=1), nn.ReLU(),
        new.conv(384, 256, 3, padding=1), nn.ReLU(),
        new.conv(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    classifier = nn.Sequential(
        new.dropout(), new.linear(256 * 6 * 6, 4096), nn.ReLU(),
        new.dropout(), new.linear(4096, 4096), nn.ReLU(),
        new.linear(4096, num_classes),
    )  # fmt: skip
    return nn.Sequential(
        {"features": features, "avgpool": nn.AdaptiveAvgPool2d(6), "flatten": nn.Flatten(), "classifier": classifier}
    )
