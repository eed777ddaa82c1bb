"""Resizing as a layer, over `convkit.interpolate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _options
from .._resample_shapes import plain_scale, resized
from .._shapes import image_shape, plain
from ..ops.resize import interpolate, interpolate_backward
from ._describe import unusual
from ._symbols import on_images, resize_attributes
from .module import Module, Way


class Upsample(Module):
    """Resize signals, images or volumes by interpolation; nothing is learned.

    Parameters
    ----------
    size : int or tuple of int, optional
        Spatial size of the output. Either `size` or `scale_factor` is given.
    scale_factor : float or tuple of float, optional
        Ratio of the sizes, used as given.
    mode : {"nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area"}
        The linear modes and "bicubic" are for one, two, two and three spatial axes.
    align_corners : bool, default False
        Whether the first and last pixel keep their places, rather than the edges of the outermost pixels.
    antialias : bool, default False
        Whether, where an axis shrinks, all pixels count, rather than the nearest ones: for "bilinear" and "bicubic".
    layout : {"NCHW", "NHWC"}

    Raises
    ------
    ValueError
        If both or neither of `size` and `scale_factor` are given; in forward, if an option does not fit.

    References
    ----------
    R. G. Keys: Cubic convolution interpolation for digital image processing, IEEE Transactions on Acoustics, Speech,
    and Signal Processing 29, 1981.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    >>> x = np.array([[[[0.0, 1.0]]]])
    >>> nn.Upsample(scale_factor=2)(x)[0, 0]
    array([[0., 0., 1., 1.],
           [0., 0., 1., 1.]])
    >>> nn.Upsample((1, 3), mode="bilinear", align_corners=True)(x)[0, 0]
    array([[0. , 0.5, 1. ]])
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
        *,
        antialias: bool = False,
        layout: str = "NCHW",
    ) -> None:
        if (size is None) == (scale_factor is None):
            raise ValueError(f"either size or scale_factor must be given, got size={size}, scale_factor={scale_factor}")
        plain_scale(1.0 if scale_factor is None else scale_factor)
        plain(1 if size is None else size, "size")
        _options.channel_last(layout)
        _options.interpolation(mode)
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners = _options.flag(align_corners, "align_corners")
        self.antialias, self.layout = _options.flag(antialias, "antialias"), layout
        _options.interpolation_flags(mode, self.align_corners, self.antialias)

    def run(self, x: np.ndarray, size: int | Sequence[int] | None = None) -> tuple[np.ndarray, Way]:
        """Resize ``(N, C, *spatial)``; to this `size`, if one is given."""
        shape, size = x.shape, self.size if size is None else size
        options = {name: getattr(self, name) for name in ("mode", "align_corners", "antialias", "layout")}
        options["scale_factor"] = self.scale_factor if size is None else None
        return interpolate(x, size, **options), lambda grad, _: interpolate_backward(grad, shape, **options)

    def symbolic(self, x: Any, size: int | Sequence[int] | None = None) -> Any:
        """Resizing to that size, or by the layer's ratio."""
        size, nd = self.size if size is None else size, x.ndim - 2
        # ONNX's corners are those of n * scale, unrounded.
        if size is None and (self.mode == "area" or self.align_corners):
            size = resized(tuple(x.shape), None, self.scale_factor, self.layout == "NHWC").out
        if self.mode == "area":
            return on_images(x, nd, self.layout, lambda x: x.emit("AdaptiveAveragePool", output_size=size))
        ratios, sizes = np.zeros(0, np.float32), None
        if size is None:
            ratios = np.array(
                [1, 1, *([self.scale_factor] * nd if np.isscalar(self.scale_factor) else self.scale_factor)]
            )
        else:
            sizes = np.array(size if isinstance(size, tuple | list) else [size] * nd, np.int64)
        attrs = resize_attributes(self.mode, self.align_corners, self.antialias)
        attrs |= {"axes": tuple(range(2, nd + 2))} if sizes is not None else {}
        return on_images(x, nd, self.layout, lambda x: x.emit("Resize", None, ratios, sizes, **attrs))

    def output_shape(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """``(N, C, *spatial)``."""
        last = self.layout == "NHWC"
        shape = resized(x_shape, self.size, self.scale_factor, last)
        return image_shape(shape.n, shape.channels, shape.out, last, batched=True)

    def describe(self) -> str:
        """Return the size or the ratio, and what is not the default."""
        names = ("size", "scale_factor", "mode", "align_corners", "antialias", "layout")
        return unusual({name: getattr(self, name) for name in names}, interpolate)[2:]
