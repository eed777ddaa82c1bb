"""Feature pyramids: what a backbone found at each scale, told to the finer ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import nn
from ..nn.init import Initialiser, Rng
from ._layers import Layers

Maps = tuple[np.ndarray, ...]


class FeaturePyramid(nn.Module):
    """Neck of a detector: maps of many sizes and widths in, maps of the same sizes and one width out.

    Each map goes through a 1x1 convolution; from the coarsest to the finest, each is enlarged to the size of the next
    by nearest neighbours and added to it; each sum goes through a 3x3 convolution. A last, coarser map may be made of
    the coarsest by leaving out every other row and column. State as torchvision's ``FeaturePyramidNetwork``.

    Parameters
    ----------
    in_channels : sequence of int
        Of the maps, the finest first: (64, 128, 256, 512) for `resnet18`, (256, 512, 1024, 2048) for `resnet50`.
    out_channels : int, default 256
    coarser : bool, default True
        Whether there is one map more (P6).
    init, rng, dtype
        Common to all models, see `convkit.models`.

    References
    ----------
    T.-Y. Lin, P. Dollar, R. Girshick, K. He, B. Hariharan, S. Belongie: Feature pyramid networks for object detection,
    CVPR 2017, arXiv:1612.03144.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        *,
        coarser: bool = True,
        init: str | Initialiser = "he",
        rng: Rng = None,
        dtype: str = "float32",
    ) -> None:
        new = Layers(init, rng, dtype)
        self.inner_blocks = [nn.Sequential(new.conv(channels, out_channels, 1)) for channels in in_channels]
        self.layer_blocks = [nn.Sequential(new.conv(out_channels, out_channels, 3, padding=1)) for _ in in_channels]
        self.enlarge = [nn.Upsample(1) for _ in in_channels[1:]]  # to a size that is the images' affair
        self.coarser = nn.MaxPool2d(1, 2) if coarser else None

    def forward(self, maps: Sequence[np.ndarray]) -> Maps:
        """Take maps ``(N, C, H, W)``, the finest first, and return as many (or one more) of `out_channels`."""
        if len(maps) != len(self.inner_blocks):
            raise ValueError(f"maps must be {len(self.inner_blocks)} arrays, the finest first, got {len(maps)}")
        inner = [block(image) for block, image in zip(self.inner_blocks, maps, strict=True)]
        for fine, enlarge in reversed(list(enumerate(self.enlarge))):
            enlarge.size = inner[fine].shape[2:]
            inner[fine] += enlarge(inner[fine + 1])
        out = [block(image) for block, image in zip(self.layer_blocks, inner, strict=True)]
        return (*out, self.coarser(out[-1])) if self.coarser else tuple(out)

    def backward(self, grad: Sequence[np.ndarray], *, need_input: bool = True) -> Maps | None:
        """Take a gradient for each map that was returned, and return one for each that was taken, if wanted."""
        grads = list(grad)
        if self.coarser:
            last = self.coarser.backward(grads.pop())
            grads[-1] = grads[-1] + last
        grads = [block.backward(g, need_input=True) for block, g in zip(self.layer_blocks, grads, strict=True)]
        for fine, enlarge in enumerate(self.enlarge):
            grads[fine + 1] += enlarge.backward(grads[fine])
        pairs = zip(self.inner_blocks, grads, strict=True)
        down = tuple(block.backward(g, need_input=need_input) for block, g in pairs)
        return down if need_input else None


class PyramidNetwork(nn.Module):
    """A backbone cut into stages, and a neck that gets the output of each.

    ::

        net = models.resnet18(rng=0)
        model = models.PyramidNetwork([net[:5], net[5], net[6], net[7]], models.FeaturePyramid((64, 128, 256, 512)))
        p2, p3, p4, p5, p6 = model(x)

    Parameters
    ----------
    stages : sequence of Module
        The next one's input is the one's output.
    neck : Module
        Such as `FeaturePyramid`.
    """

    def __init__(self, stages: Sequence[nn.Module], neck: nn.Module) -> None:
        self.stages, self.neck = list(stages), neck

    def forward(self, x: np.ndarray) -> Maps:
        """Return the neck's maps of an image ``(N, C, H, W)``."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return self.neck(maps)

    def backward(self, grad: Sequence[np.ndarray], *, need_input: bool = True) -> np.ndarray | None:
        """Go back through the neck, then, down to the lowest that learns, through the stages."""
        learning = [need_input or any(p.trainable for p in stage.parameters()) for stage in self.stages]
        lowest = learning.index(True) if any(learning) else len(self.stages)
        grads = self.neck.backward(grad, need_input=any(learning))
        down = None
        for i in reversed(range(lowest, len(self.stages))):
            down = grads[i] if down is None else grads[i] + down
            down = self.stages[i].backward(down, need_input=need_input or i > lowest)
        return down
