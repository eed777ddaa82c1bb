"""Changes to images that leave their label true, every image changed in a way of its own.

All take ``(N, C, H, W)`` and a Generator, and so may be the `transform` of a `convkit.train.Trainer`: alone, with
options (`functools.partial`), or several in a row (`Compose`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .._numbers import generator, number
from .._shapes import at_least, integer, per_axis
from .._typing import Rng
from .._words import brief
from ..ops.grid import grid_sample


class Compose:
    """Several transforms one after the other, all of them drawing from one Generator.

    Parameters
    ----------
    *transforms : function
        Each is called as ``f(x, rng=rng)``.

    Examples
    --------
    >>> from functools import partial
    >>> from convkit import data
    >>> x, _ = data.digits()
    >>> change = data.Compose(data.shift, partial(data.rotate, degrees=10))
    >>> change(x[:64], rng=0).shape
    (64, 1, 8, 8)
    """

    def __init__(self, *transforms: Callable[..., np.ndarray]) -> None:
        self.transforms = transforms

    def __call__(self, x: np.ndarray, *, rng: Rng = None) -> np.ndarray:
        """Return `x` after all of them."""
        rng = generator(rng)
        for transform in self.transforms:
            x = transform(x, rng=rng)
        return x


def crop(x: np.ndarray, size: int | tuple[int, int], *, padding: int = 0, rng: Rng = None) -> np.ndarray:
    """Cut a window out of every image.

    Parameters
    ----------
    x : ndarray, ``(N, C, H, W)``
        Images.
    size : int or (int, int)
        Height and width of the window.
    padding : int, default 0
        Rows and columns of zeros that are first put around the images.
    rng : numpy.random.Generator, int or None
        Source of the places, or its seed; all places are equally likely.

    Returns
    -------
    ndarray, ``(N, C, *size)``
        New images, of the dtype of `x`.

    Raises
    ------
    TypeError
        If `size` or `padding` is not of ints.
    ValueError
        If `x` is not 4-dimensional, `padding` negative, or the window larger than the padded image.

    Examples
    --------
    >>> from convkit import data
    >>> x, _ = data.digits()
    >>> data.crop(x[:64], 6, rng=0).shape, data.crop(x[:64], 8, padding=1, rng=0).shape
    ((64, 1, 6, 6), (64, 1, 8, 8))
    """
    height, width = (available + 2 * at_least(padding, "padding", 0) for available in _spatial(x))
    size = per_axis(size, 2, "size", 1)
    if size[0] > height or size[1] > width:
        raise ValueError(f"size must be at most {height}x{width}, the padded image's, got {size[0]}x{size[1]}")
    rng, n = generator(rng), len(x)
    top, left = (
        rng.integers(0, available - wanted + 1, n) for available, wanted in ((height, size[0]), (width, size[1]))
    )
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(padded, size, axis=(2, 3))  # (N, C, places, places, *size)
    return windows[np.arange(n), :, top, left]


def shift(x: np.ndarray, pixels: int = 1, *, rng: Rng = None) -> np.ndarray:
    """Move every image by a whole number of pixels, down or up and left or right; what comes in is zero.

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
    TypeError
        If `pixels` is not an int.
    ValueError
        If `x` is not 4-dimensional, or `pixels` negative.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> data.shift(np.array([[[[1, 2], [3, 4]]]]), rng=0)[0, 0]
    array([[3, 4],
           [0, 0]])
    """
    return crop(x, _spatial(x), padding=at_least(pixels, "pixels", 0), rng=rng)


def flip(x: np.ndarray, axis: int = -1, *, probability: float = 0.5, rng: Rng = None) -> np.ndarray:
    """Mirror some of the images.

    Parameters
    ----------
    x : ndarray, ``(N, C, H, W)``
        Images.
    axis : {-1, -2}
        -1 swaps left and right, -2 top and bottom.
    probability : float, default 0.5
        Of being mirrored, for every image by itself; 1 mirrors all.
    rng : numpy.random.Generator, int or None
        Source of the choice, or its seed.

    Returns
    -------
    ndarray
        New images, of the shape and dtype of `x`.

    Raises
    ------
    TypeError
        If `axis` is no int, or `probability` no number.
    ValueError
        If `x` is not 4-dimensional, or `axis` or `probability` is no such number.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> x = np.array([[[[1, 2, 3]]]])
    >>> data.flip(x, probability=1), data.flip(x, probability=0)
    (array([[[[3, 2, 1]]]]), array([[[[1, 2, 3]]]]))
    """
    _spatial(x)
    if integer(axis, "axis") not in (-1, -2):
        raise ValueError(f"axis must be -1 (left and right) or -2 (top and bottom), got {brief(axis)}")
    probability = number(probability, "probability", "a number from 0 to 1", lambda value: 0 <= value <= 1)
    chosen = generator(rng).random(len(x)) < probability
    y = x.copy()
    y[chosen] = np.flip(x[chosen], axis)
    return y


def rotate(
    x: np.ndarray, degrees: float | tuple[float, float], *, mode: str = "bilinear", rng: Rng = None
) -> np.ndarray:
    """Turn every image about its centre, counter-clockwise; what comes in at the corners is zero.

    Parameters
    ----------
    x : ndarray of float32 or float64, ``(N, C, H, W)``
        Images.
    degrees : float or (float, float)
        The farthest turn: angles are drawn evenly from -degrees to degrees; or from which angle to which, and so
        ``(30, 30)`` turns all by 30 degrees.
    mode : {"bilinear", "nearest", "bicubic"}
        How `convkit.grid_sample` finds values between pixels.
    rng : numpy.random.Generator, int or None
        Source of the angles, or its seed.

    Returns
    -------
    ndarray
        New images, of the shape and dtype of `x`.

    Raises
    ------
    TypeError
        If `x` is not of float32 or float64, or `degrees` no number, nor two.
    ValueError
        If `x` is not 4-dimensional, `degrees` is not finite or not in rising order, or `mode` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> data.rotate(x, (90, 90)).round(3)[0, 0]
    array([[2., 4.],
           [1., 3.]])
    """
    _spatial(x)
    return _moved(x, _angles(degrees, len(x), generator(rng)), mode)


def affine(
    x: np.ndarray,
    *,
    degrees: float | tuple[float, float] = 0.0,
    pixels: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    mode: str = "bilinear",
    rng: Rng = None,
) -> np.ndarray:
    """Stretch, slant, turn and move every image, in this order, by fractions of a pixel, too; what comes in is zero.

    Parameters
    ----------
    x : ndarray of float32 or float64, ``(N, C, H, W)``
        Images.
    degrees : float or (float, float), default 0
        How far to turn, as of `rotate`.
    pixels : float, default 0
        The farthest move: both directions are drawn evenly from -pixels to pixels.
    scale : float, default 0
        The most that height and width grow or shrink, each by itself: by factors up to 1 + scale, whose logarithms are
        drawn evenly.
    shear : float, default 0
        The strongest slant: drawn evenly from -shear to shear, it moves what is a row farther from the centre by so
        many pixels to the side.
    mode : {"bilinear", "nearest", "bicubic"}
        How `convkit.grid_sample` finds values between pixels.
    rng : numpy.random.Generator, int or None
        Source of all four, or its seed.

    Returns
    -------
    ndarray
        New images, of the shape and dtype of `x`.

    Raises
    ------
    TypeError
        If `x` is not of float32 or float64, or `degrees`, `pixels`, `scale` or `shear` is no number.
    ValueError
        If `x` is not 4-dimensional, a number is negative or not finite, or `degrees` or `mode` is none that `rotate`
        takes.

    Examples
    --------
    >>> from convkit import data
    >>> x, _ = data.digits()
    >>> data.affine(x[:64], degrees=10, pixels=1, scale=0.1, shear=0.1, rng=0).shape
    (64, 1, 8, 8)
    """
    _spatial(x)
    most = {"pixels": pixels, "scale": scale, "shear": shear}
    for name, value in most.items():
        most[name] = number(value, name, "a finite number of at least 0", lambda value: 0 <= value < math.inf)
    rng, each = generator(rng), (len(x), 1, 1)
    angles = _angles(degrees, len(x), rng)
    move = rng.uniform(-most["pixels"], most["pixels"], (2, *each))
    factors = np.exp(rng.uniform(-1, 1, (2, *each)) * math.log1p(most["scale"]))
    return _moved(x, angles, mode, move, factors, rng.uniform(-most["shear"], most["shear"], each))


def _angles(degrees: float | tuple[float, float], n: int, rng: np.random.Generator) -> np.ndarray:
    """So many angles in radians, ``(n, 1, 1)``."""
    expected = "a finite number of at least 0, or two in rising order"
    if isinstance(degrees, tuple | list):
        ends = [number(end, "degrees", expected) for end in degrees]
    else:
        ends = [-(hi := number(degrees, "degrees", expected)), hi]
    if len(ends) != 2 or ends[0] > ends[1]:
        raise ValueError(f"degrees must be {expected}, got {brief(degrees)}")
    return np.radians(rng.uniform(*ends, n)).reshape(-1, 1, 1)


def _moved(
    x: np.ndarray, angles: np.ndarray, mode: str, move: Any = (0, 0), factors: Any = (1, 1), shear: Any = 0
) -> np.ndarray:
    """Images sampled where each pixel of the result comes from: moved, turned, slanted and stretched back."""
    height, width = x.shape[2:]
    cos, sin = np.cos(angles), np.sin(angles)
    # From the centre, right and down.
    right = np.arange(width) - (width - 1) / 2 - move[0]
    down = (np.arange(height) - (height - 1) / 2)[:, np.newaxis] - move[1]
    right, down = cos * right - sin * down, sin * right + cos * down
    places = [(right - shear * down) / factors[0] * (2 / width), down / factors[1] * (2 / height)]
    return grid_sample(x, np.stack(places, axis=-1).astype(np.asarray(x).dtype), mode)


def _spatial(x: np.ndarray) -> tuple[int, int]:
    """Height and width of images."""
    if np.ndim(x) != 4:
        raise ValueError(f"x must have shape (N, C, H, W), got shape {np.shape(x)}")
    return x.shape[2:]
