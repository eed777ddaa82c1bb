"""Resizing as a layer, over `convkit.interpolate`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import interpolate, interpolate_backward
from ._describe import unusual
from .module import Module, Way


class Upsample(Module):
    """Resize signals, images or volumes by interpolation; nothing is learned.

    Parameters
    ----------
    size : int or tuple of int, optional
        Spatial size of the output. Either `size` or `scale_factor` is given.
    scale_factor : float or tuple of float, optional
        Ratio of the sizes, used as given.
    mode : {"nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear"}
        The linear modes and "bicubic" are for one, two, two and three spatial axes.
    align_corners : bool, default False
        Whether the first and last pixel keep their places, rather than the edges of the outermost pixels.
    layout : {"NCHW", "NHWC"}

    Raises
    ------
    ValueError
        If both or neither of `size` and `scale_factor` are given; in forward, if an option does not fit.

    References
    ----------
    R. G. Keys: Cubic convolution interpolation for digital image processing, IEEE Transactions on Acoustics, Speech,
    and Signal Processing 29, 1981.
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
        *,
        layout: str = "NCHW",
    ) -> None:
        if (size is None) == (scale_factor is None):
            raise ValueError(f"either size or scale_factor must be given, got size={size}, scale_factor={scale_factor}")
        self.size = size
        self.options = {
            "scale_factor": scale_factor,
            "mode": mode,
            "align_corners": align_corners,
            "layout": layout,
        }

    def run(self, x: np.ndarray, size: int | Sequence[int] | None = None) -> tuple[np.ndarray, Way]:
        """Resize ``(N, C, *spatial)``; to this `size`, if one is given."""
        shape, options = x.shape, self.options if size is None else {**self.options, "scale_factor": None}
        y = interpolate(x, self.size if size is None else size, **options)
        return y, lambda grad, _: interpolate_backward(grad, shape, **options)

    def describe(self) -> str:
        """Return the size or the ratio, and what is not the default."""
        return unusual({"size": self.size, **self.options}, interpolate)[2:]
