"""Residual networks of 18 and 50 layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from .. import nn
from ..nn.init import Initialiser, Rng
from ._layers import Layers


class Block(nn.Residual):
    """relu(branch(x) + shortcut(x)), the layers of the branch under their own names, as in torchvision's.

    Parameters
    ----------
    branch : dict of str to Module
        The layers of the branch.
    downsample : Module, optional
        The shortcut, where the branch changes the shape.
    """

    def __init__(self, branch: dict[str, nn.Module], downsample: nn.Module | None = None) -> None:
        super().__init__(nn.Sequential(branch), downsample)
        self.relu = nn.ReLU()

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the layers of the branch, the shortcut, and the last activation."""
        yield from self.branch.named_children()
        if self.shortcut is not None:
            yield "downsample", self.shortcut
        yield "relu", self.relu

    def run(self, x: np.ndarray) -> tuple[np.ndarray, nn.Way]:
        """Add the branch to the shortcut, and cut off below zero."""
        y, through = super().run(x)
        y, cut = self.relu.begin(y)
        return y, lambda grad, need_input: through(cut(grad), need_input)


def basic_block(new: Layers, channels: int, width: int, stride: int) -> Block:
    """Two 3x3 convolutions."""
    branch = {
        "conv1": new.conv(channels, width, 3, stride, padding=1, bias=False),
        "bn1": new.batch_norm(width),
        "relu1": nn.ReLU(),
        "conv2": new.conv(width, width, 3, padding=1, bias=False),
        "bn2": new.batch_norm(width),
    }
    return Block(branch, _shortcut(new, channels, width, stride))


def bottleneck(new: Layers, channels: int, width: int, stride: int) -> Block:
    """A 3x3 convolution between a 1x1 that narrows and one that widens fourfold."""
    branch = {
        "conv1": new.conv(channels, width, 1, bias=False),
        "bn1": new.batch_norm(width),
        "relu1": nn.ReLU(),
        "conv2": new.conv(width, width, 3, stride, padding=1, bias=False),
        "bn2": new.batch_norm(width),
        "relu2": nn.ReLU(),
        "conv3": new.conv(width, 4 * width, 1, bias=False),
        "bn3": new.batch_norm(4 * width),
    }
    return Block(branch, _shortcut(new, channels, 4 * width, stride))


def _shortcut(new: Layers, channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """Nothing where the shape stays, else a 1x1 convolution."""
    if stride == 1 and channels == out_channels:
        return None
    return nn.Sequential(new.conv(channels, out_channels, 1, stride, bias=False), new.batch_norm(out_channels))


def _resnet(
    block: Callable[..., Block], widening: int, depths: tuple[int, ...], num_classes: int, in_channels: int, new: Layers
) -> nn.Sequential:
    """Stem, four stages of so many blocks, and head; all stages but the first halve the image."""
    layers: dict[str, nn.Module] = {
        "conv1": new.conv(in_channels, 64, 7, 2, padding=3, bias=False),
        "bn1": new.batch_norm(64),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, 2, padding=1),
    }
    channels = 64
    for stage, depth in enumerate(depths, start=1):
        blocks = []
        for i in range(depth):
            blocks.append(block(new, channels, 32 << stage, 2 if i == 0 and stage > 1 else 1))
            channels = widening * (32 << stage)
        layers[f"layer{stage}"] = nn.Sequential(*blocks)
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": new.linear(channels, num_classes)}
    return nn.Sequential(layers)


def resnet18(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    init: str | Initialiser = "he",
    rng: Rng = None,
    dtype: str = "float32",
) -> nn.Sequential:
    """Residual network of 18 layers, ``(N, in_channels, H, W)`` to ``(N, num_classes)`` scores; H and W from 1 up.

    11,689,512 parameters for the 1000 classes of ImageNet. State as torchvision's ``resnet18``.

    Parameters
    ----------
    num_classes, in_channels, init, rng, dtype
        Common to all models, see `convkit.models`.

    Returns
    -------
    Sequential
        "conv1", "bn1", "relu", "maxpool", "layer1" to "layer4", "avgpool", "flatten", "fc"; ``model[:-1]`` gives 512
        features an image.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition, CVPR 2016, arXiv:1512.03385.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import models
    >>> model, x = models.resnet18(10, init="zeros"), np.ones((1, 3, 32, 32), np.float32)
    >>> model.predict(x).shape, model[:-1].output_shape(x.shape)
    ((1, 10), (1, 512))
    """
    return _resnet(
        basic_block, 1, (2, 2, 2, 2), num_classes, in_channels, Layers(init, rng, dtype, num_classes=num_classes)
    )


def resnet50(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    init: str | Initialiser = "he",
    rng: Rng = None,
    dtype: str = "float32",
) -> nn.Sequential:
    """Residual network of 50 layers, ``(N, in_channels, H, W)`` to ``(N, num_classes)`` scores; H and W from 1 up.

    25,557,032 parameters for the 1000 classes of ImageNet. State as torchvision's ``resnet50``, and its stride, too, is
    in the 3x3 convolution of a block, where the paper has it in the first 1x1.

    Parameters
    ----------
    num_classes, in_channels, init, rng, dtype
        Common to all models, see `convkit.models`.

    Returns
    -------
    Sequential
        "conv1", "bn1", "relu", "maxpool", "layer1" to "layer4", "avgpool", "flatten", "fc"; ``model[:-1]`` gives 2048
        features an image.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition, CVPR 2016, arXiv:1512.03385.

    Examples
    --------
    >>> from convkit import models
    >>> model = models.resnet50(init="zeros")
    >>> model.output_shape((1, 3, 224, 224)), model[:-1].output_shape((1, 3, 224, 224))
    ((1, 1000), (1, 2048))
    """
    return _resnet(
        bottleneck, 4, (3, 4, 6, 3), num_classes, in_channels, Layers(init, rng, dtype, num_classes=num_classes)
    )
