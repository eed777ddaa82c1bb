"""Layers that compute nothing: what they are given, in another shape, order or frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _options
from .._shapes import at_least, image_shape, plain, split_image
from ._describe import alike
from ._symbols import on_images
from .module import ByElement, Module, Way


class Identity(ByElement):
    """y = x: what stands where nothing is to be done, such as the skipping branch of a `Concat`.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> x = np.arange(3.0)
    >>> nn.Identity()(x) is x
    True
    """

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Return x; back, the gradient."""
        return x, lambda grad, _: grad


class Flatten(Module):
    """``(N, *shape)`` to ``(N, prod(shape))``, in C order, as PyTorch's.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.Flatten()(np.ones((2, 3, 4))).shape
    (2, 12)
    """

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Return `x` with all axes but the first made one; a view where possible."""
        shape = x.shape
        return x.reshape(self.output_shape(shape)), lambda grad, _: grad.reshape(shape)

    def symbolic(self, x: Any) -> Any:
        """The same of a value."""
        return x.emit("Flatten", axis=1)

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """``(N, prod(shape))``."""
        return x_shape[0], math.prod(x_shape[1:])


class PixelShuffle(Module):
    """``(N, C * r**2, H, W)`` to ``(N, C, r * H, r * W)``: channels become pixels, r x r of them where one was.

    Parameters
    ----------
    upscale_factor : int
        r.
    layout : {"NCHW", "NHWC"}

    Raises
    ------
    ValueError
        In a call, if r**2 does not divide the channels.

    References
    ----------
    W. Shi et al.: Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
    network, CVPR 2016, arXiv:1609.05158.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.PixelShuffle(2)(np.arange(4.0).reshape(1, 4, 1, 1))[0, 0]
    array([[0., 1.],
           [2., 3.]])
    """

    def __init__(self, upscale_factor: int, *, layout: str = "NCHW") -> None:
        self.upscale_factor, self.layout = at_least(upscale_factor, "upscale_factor"), layout
        _options.channel_last(layout)

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Put r x r channels into each pixel; back, take them out again."""
        shape, out, r = x.shape, self.output_shape(x.shape), self.upscale_factor
        if self.layout == "NHWC":
            parts = (*shape[:3], out[3], r, r)
        else:
            parts = (*out[:2], r, r, *shape[2:])
        y = x.reshape(parts).transpose(0, 1, 4, 2, 5, 3)  # the same for both layouts
        moved = y.shape
        return y.reshape(out), lambda grad, _: grad.reshape(moved).transpose(0, 1, 3, 5, 2, 4).reshape(shape)

    def symbolic(self, x: Any) -> Any:
        """The same of a value."""
        attrs = {"blocksize": self.upscale_factor, "mode": "CRD"}
        return on_images(x, 2, self.layout, lambda x: x.emit("DepthToSpace", **attrs))

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """``(N, C, r * H, r * W)``."""
        r, last = self.upscale_factor, self.layout == "NHWC"
        n, channels, sizes = split_image(x_shape, 2, "x", last)
        if len(x_shape) != 4 or channels % r**2:
            raise ValueError(f"x must be a batch of images with a multiple of {r**2} channels, got shape {x_shape}")
        return image_shape(n, channels // r**2, [r * size for size in sizes], last, batched=True)

    def describe(self) -> str:
        """Return the factor."""
        return f"upscale_factor={self.upscale_factor}{'' if self.layout == 'NCHW' else f', layout={self.layout!r}'}"


class ZeroPad2d(Module):
    """A frame of zeros around every image; for convolutions their own `padding` costs less.

    Parameters
    ----------
    padding : int or (left, right, top, bottom)
        Rows and columns on each side, in PyTorch's order.
    layout : {"NCHW", "NHWC"}

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> nn.ZeroPad2d((0, 1, 2, 0))(np.ones((1, 1, 1, 2)))[0, 0]
    array([[0., 0., 0.],
           [0., 0., 0.],
           [1., 1., 0.]])
    """

    def __init__(self, padding: int | Sequence[int], *, layout: str = "NCHW") -> None:
        padding = plain(padding, "padding")
        self.padding, self.layout = (padding,) * 4 if isinstance(padding, int) else padding, layout
        if len(self.padding) != 4 or any(isinstance(side, tuple) or side < 0 for side in self.padding):
            raise ValueError(f"padding must be an int or (left, right, top, bottom), at least 0, got {padding}")
        _options.channel_last(layout)

    def _sides(self) -> tuple[tuple[int, int], ...]:
        """What is added before and after along each axis."""
        left, right, top, bottom = self.padding
        sides, none = ((top, bottom), (left, right)), (0, 0)
        return (none, *sides, none) if self.layout == "NHWC" else (none, none, *sides)

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Add the frame; back, take it off."""
        shape, sides = self.output_shape(x.shape), self._sides()
        inside = tuple(slice(lo, size - hi) for size, (lo, hi) in zip(shape, sides, strict=True))
        return np.pad(x, sides), lambda grad, _: grad[inside]

    def symbolic(self, x: Any) -> Any:
        """The same of a value."""
        return x.emit("Pad", np.array(self._sides(), np.int64).T.reshape(-1))

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """``(N, C, top + H + bottom, left + W + right)``."""
        if len(x_shape) != 4:
            raise ValueError(f"x must be a batch of images with 4 axes, got shape {x_shape}")
        return tuple(size + lo + hi for size, (lo, hi) in zip(x_shape, self._sides(), strict=True))

    def describe(self) -> str:
        """Return the frame."""
        return f"padding={alike(self.padding)}{'' if self.layout == 'NCHW' else f', layout={self.layout!r}'}"
