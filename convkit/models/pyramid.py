"""Feature pyramids: what a backbone found at each scale, told to the finer ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import nn
from .._options import flag, of_kind, several
from ..nn.init import Initialiser, Rng
from ..nn.sequential import lowest
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

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import models
    >>> neck = models.FeaturePyramid((8, 16), out_channels=4, rng=0)
    >>> [y.shape for y in neck([np.ones((1, 8, 16, 16), np.float32), np.ones((1, 16, 8, 8), np.float32)])]
    [(1, 4, 16, 16), (1, 4, 8, 8), (1, 4, 4, 4)]
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
        new, self.out_channels = Layers(init, rng, dtype, out_channels=out_channels), out_channels
        in_channels = several(in_channels, "in_channels", "ints")
        self.inner_blocks = [nn.Sequential(new.conv(channels, out_channels, 1)) for channels in in_channels]
        self.layer_blocks = [nn.Sequential(new.conv(out_channels, out_channels, 3, padding=1)) for _ in in_channels]
        self.enlarge = nn.Upsample(1)  # to sizes that are the images' affair
        self.coarser = nn.MaxPool2d(1, 2) if flag(coarser, "coarser") else None

    def run(self, maps: Sequence[np.ndarray]) -> tuple[Maps, nn.Way]:
        """Take maps ``(N, C, H, W)``, the finest first, and return as many (or one more) of `out_channels`.

        Back, take a gradient for each map that was returned, and return one for each that was taken.
        """
        if len(maps) != len(self.inner_blocks):
            raise ValueError(f"maps must be {len(self.inner_blocks)} arrays, the finest first, got {len(maps)}")
        inner, narrowed = _each(self.inner_blocks, maps)
        enlarged = []
        for i in reversed(range(len(inner) - 1)):
            coarse, back = self.enlarge.begin(inner[i + 1], inner[i].shape[2:])
            inner[i] = inner[i] + coarse
            enlarged.append(back)
        out, smoothed = _each(self.layer_blocks, inner)
        if self.coarser:
            last, skipped = self.coarser.begin(out[-1])
            out.append(last)

        def back(grad: Sequence[np.ndarray], need_input: bool) -> Maps:
            grads = list(grad)
            if self.coarser:
                last = skipped(grads.pop())
                grads[-1] = grads[-1] + last
            grads = [smooth(g) for smooth, g in zip(smoothed, grads, strict=True)]
            for i, enlarge in enumerate(reversed(enlarged)):
                grads[i + 1] = grads[i + 1] + enlarge(grads[i])
            return tuple(narrow(g, need_input) for narrow, g in zip(narrowed, grads, strict=True))

        return tuple(out), back

    def output_shape(self, x_shape: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
        """The shapes of the maps, of one width."""
        shapes = [(shape[0], self.out_channels, *shape[2:]) for shape in x_shape]
        return (*shapes, self.coarser.output_shape(shapes[-1])) if self.coarser else tuple(shapes)


def _each(layers: Sequence[nn.Module], maps: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[nn.Way]]:
    """Run a layer on each map; the outputs and the ways back."""
    calls = [layer.begin(image) for layer, image in zip(layers, maps, strict=True)]
    return [y for y, _ in calls], [back for _, back in calls]


class PyramidNetwork(nn.Module):
    """A backbone cut into stages, and a neck that gets the output of each.

    Parameters
    ----------
    stages : sequence of Module
        The next one's input is the one's output.
    neck : Module
        Such as `FeaturePyramid`.

    Examples
    --------
    >>> from convkit import models
    >>> net, neck = models.resnet18(init="zeros"), models.FeaturePyramid((64, 128, 256, 512), init="zeros")
    >>> model = models.PyramidNetwork([net[:5], net[5], net[6], net[7]], neck)
    >>> model.output_shape((1, 3, 224, 224))[0], len(model.output_shape((1, 3, 224, 224)))
    ((1, 256, 56, 56), 5)
    """

    def __init__(self, stages: Sequence[nn.Module], neck: nn.Module) -> None:
        self.stages, self.neck = list(several(stages, "stages", "Modules")), neck
        for stage in self.stages:
            of_kind(stage, nn.Module, "stages", "Modules")
        of_kind(neck, nn.Module, "neck", "a Module")

    def run(self, x: np.ndarray) -> tuple[Maps, nn.Way]:
        """Return the neck's maps of an image ``(N, C, H, W)``."""
        maps, backs = [], []
        for stage in self.stages:
            x, back = stage.begin(x)
            maps.append(x)
            backs.append(back)
        y, through = self.neck.begin(maps)

        def back_through(grad: Sequence[np.ndarray], need_input: bool) -> np.ndarray | None:
            end = lowest(self.stages, need_input)
            grads, down = through(grad, need_input or end < len(backs)), None
            for i in reversed(range(end, len(backs))):
                down = backs[i](grads[i] if down is None else grads[i] + down, need_input or i > end)
            return down

        return y, back_through

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Those of the neck's maps."""
        shapes = []
        for stage in self.stages:
            x_shape = stage.output_shape(x_shape)
            shapes.append(x_shape)
        return self.neck.output_shape(shapes)
