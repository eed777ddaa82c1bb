"""Changes to images that leave their label true."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def shift(x: np.ndarray, pixels: int = 1, *, rng: np.random.Generator | int | None = None) -> np.ndarray:
    """Move every image by a whole number of pixels of its own, down or up and left or right; what comes in is zero.

    Parameters
    ----------
    x : ndarray, ``(N, C, H, W)``
        Images.
    pixels : int, default 1
        The farthest shift: both directions are drawn evenly from -pixels to pixels.
    rng : numpy.random.Generator, int or None
        Source of the shifts, or its seed.

    Returns
    -------
    ndarray
        New images, of the shape and dtype of `x`.

    Raises
    ------
    ValueError
        If `x` is not 4-dimensional, or `pixels` negative.
    """
    if x.ndim != 4:
        raise ValueError(f"x must have shape (N, C, H, W), got shape {x.shape}")
    if pixels < 0:
        raise ValueError(f"pixels must be at least 0, got {pixels!r}")
    n, _, height, width = x.shape
    down, right = np.random.default_rng(rng).integers(0, 2 * pixels + 1, size=(2, n))
    padded = np.pad(x, ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels)))
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))  # (N, C, 2p+1, 2p+1, H, W)
    return windows[np.arange(n), :, down, right]
