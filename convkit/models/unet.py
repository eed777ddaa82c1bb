"""U-Net: an image in, a score for every pixel and class out."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn
from .._shapes import at_least
from ..nn.init import Initialiser, Rng
from ._layers import Layers


class UNet(nn.Module):
    """Down in steps of two, up again, and beside each step up what was there on the way down.

    Parameters
    ----------
    down, merge : list of Module
        Convolutions of each size on the way down (the largest first) and on the way up (the smallest first).
    bottom : Module
        Convolutions of the smallest size.
    up : list of Module
        From each size to the next larger one, the smallest first; half of a merge's channels.
    head : Module
        From the last features to the scores.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import models
    >>> model = models.unet(width=4, depth=2, rng=0)
    >>> len(model.down), model(np.ones((1, 1, 16, 24), np.float32)).shape
    (2, (1, 2, 16, 24))
    """

    def __init__(
        self, down: list[nn.Module], bottom: nn.Module, up: list[nn.Module], merge: list[nn.Module], head: nn.Module
    ) -> None:
        self.down, self.bottom, self.up, self.merge, self.head = down, bottom, up, merge, head
        self.pool = [nn.MaxPool2d(2) for _ in down]

    def run(self, x: np.ndarray) -> tuple[np.ndarray, nn.Way]:
        """Score every pixel of ``(N, C, H, W)``."""
        self._check(x.shape)
        return self._whole().begin(x)

    def symbolic(self, x: Any) -> Any:
        """The same of a value. Its sizes, looked at behind its back, are refused here and bind the graph to none."""
        self._check(x.info.shape)
        return self._whole().begin(x)[0]

    def _check(self, shape: tuple[int, ...]) -> None:
        whole = 2 ** len(self.down)
        if any(size % whole for size in shape[2:]):
            raise ValueError(f"x must have a height and a width divisible by {whole}, got shape {shape}")

    def _whole(self) -> nn.Sequential:
        """The parts, joined from the inside out."""
        inner = self.bottom
        for convs, pool, up, merge in zip(self.down[::-1], self.pool[::-1], self.up, self.merge, strict=True):
            skip = nn.Concat(nn.Identity(), nn.Sequential(pool, inner, up))
            inner = nn.Sequential(convs, skip, merge)
        return nn.Sequential(inner, self.head)

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The scores of every pixel."""
        return self._whole().output_shape(x_shape)


def _two(new: Layers, c_in: int, c_out: int) -> nn.Sequential:
    """Two 3x3 convolutions that keep the size."""
    return nn.Sequential(
        new.conv(c_in, c_out, 3, padding=1, activation="relu"), new.conv(c_out, c_out, 3, padding=1, activation="relu")
    )


def unet(
    num_classes: int = 2,
    *,
    in_channels: int = 1,
    width: int = 64,
    depth: int = 4,
    init: str | Initialiser = "he",
    rng: Rng = None,
    dtype: str = "float32",
) -> UNet:
    """U-Net, ``(N, in_channels, H, W)`` to ``(N, num_classes, H, W)`` scores; H and W divisible by ``2**depth``.

    31,030,658 parameters as it stands. The paper's convolutions are without padding and what is skipped is cropped;
    here, as has become usual, every 3x3 is padded by one, so that the output has the input's size.

    Parameters
    ----------
    width : int, default 64
        Channels at the full size; they double at each size below.
    depth : int, default 4
        How often the size is halved.
    num_classes, in_channels, init, rng, dtype
        Common to all models, see `convkit.models`.

    Returns
    -------
    UNet

    Raises
    ------
    ValueError
        If `depth` is negative.

    References
    ----------
    O. Ronneberger, P. Fischer, T. Brox: U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015,
    arXiv:1505.04597.

    Examples
    --------
    >>> from convkit import models
    >>> models.unet(3, width=8, depth=2, rng=0).output_shape((1, 1, 64, 48))
    (1, 3, 64, 48)
    """
    at_least(depth, "depth", 0)
    new = Layers(init, rng, dtype, num_classes=num_classes, in_channels=in_channels, width=width)
    widths = [width * 2**i for i in range(depth + 1)]
    down = [_two(new, c_in, c_out) for c_in, c_out in zip([in_channels, *widths], widths[:-1], strict=False)]
    bottom = _two(new, widths[-2] if depth else in_channels, widths[-1])
    up = [new.conv_transpose(2 * c, c, 2, stride=2) for c in reversed(widths[:-1])]
    merge = [_two(new, 2 * c, c) for c in reversed(widths[:-1])]
    return UNet(down, bottom, up, merge, new.conv(width, num_classes, 1))
