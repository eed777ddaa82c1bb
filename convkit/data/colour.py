"""Colour: grey values, and hue, saturation and lightness. Images are ``(..., 3, H, W)`` with values from 0 to 1."""

from __future__ import annotations

import numpy as np

from .._arrays import as_array

LUMA = (0.299, 0.587, 0.114)  # how bright red, green and blue look: ITU-R BT.601


def _planes(x: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The image array, and its three channels moved to the front."""
    x = as_array(x, name)
    if x.ndim < 3 or x.shape[-3] != 3:
        raise ValueError(f"{name} must have shape (..., 3, H, W), got shape {x.shape}")
    return x, np.moveaxis(x, -3, 0)


def grayscale(x: np.ndarray) -> np.ndarray:
    """Return how bright every pixel looks: ``0.299 R + 0.587 G + 0.114 B``.

    Parameters
    ----------
    x : ndarray of float32 or float64, ``(..., 3, H, W)``
        Red, green and blue.

    Returns
    -------
    ndarray, ``(..., 1, H, W)``
        Of the dtype of `x`.

    Raises
    ------
    TypeError
        If `x` is not of float32 or float64.
    ValueError
        If it does not have three channels.

    References
    ----------
    Recommendation ITU-R BT.601.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> data.grayscale(np.array([0.0, 1.0, 0.0]).reshape(3, 1, 1))  # green looks the brightest
    array([[[0.587]]])
    """
    x, (red, green, blue) = _planes(x, "x")
    r, g, b = np.array(LUMA, x.dtype)
    return np.expand_dims(r * red + g * green + b * blue, -3)


def rgb_to_hsl(x: np.ndarray) -> np.ndarray:
    """Turn red, green and blue into hue, saturation and lightness.

    With M the largest and m the smallest of the three, lightness is ``(M + m) / 2``, saturation
    ``(M - m) / (1 - |M + m - 1|)``, and hue the angle in the colour hexagon: 0 red, 1/3 green, 2/3 blue.

    Parameters
    ----------
    x : ndarray of float32 or float64, ``(..., 3, H, W)``
        Red, green and blue, 0 to 1.

    Returns
    -------
    ndarray, ``(..., 3, H, W)``
        Hue in [0, 1), of a full turn; saturation and lightness, 0 to 1. A grey has hue and saturation 0.

    Raises
    ------
    TypeError
        If `x` is not of float32 or float64.
    ValueError
        If it does not have three channels.

    References
    ----------
    G. Joblove, D. Greenberg: Color spaces for computer graphics, SIGGRAPH 1978.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> data.rgb_to_hsl(np.array([0.0, 0.0, 1.0]).reshape(3, 1, 1)).ravel().round(3)  # blue
    array([0.667, 1.   , 0.5  ])
    """
    x, (red, green, blue) = _planes(x, "x")
    most, least = x.max(axis=-3), x.min(axis=-3)
    spread, both = most - least, most + least
    grey = spread == 0
    chroma = np.where(grey, 1, spread)
    sixths = np.where(
        most == red,
        (green - blue) / chroma % 6,
        np.where(most == green, (blue - red) / chroma + 2, (red - green) / chroma + 4),
    )
    # 1 - |both - 1| in a form whose rounding cannot lift saturation above 1; it is 0 for black and white only.
    room = np.where(both <= 1, both, 2 - most - least)
    saturation = spread / np.where(grey, 1, room)
    hue = sixths / 6
    hue[hue == 1] = 0  # a remainder just below 6 may round to a full turn
    return np.stack([hue, saturation, both / 2], axis=-3)


def hsl_to_rgb(x: np.ndarray) -> np.ndarray:
    """Turn hue, saturation and lightness into red, green and blue, the inverse of `rgb_to_hsl`.

    Parameters
    ----------
    x : ndarray of float32 or float64, ``(..., 3, H, W)``
        Hue in full turns, any number; saturation and lightness, 0 to 1.

    Returns
    -------
    ndarray, ``(..., 3, H, W)``
        Red, green and blue, 0 to 1.

    Raises
    ------
    TypeError
        If `x` is not of float32 or float64.
    ValueError
        If it does not have three channels.

    Notes
    -----
    A channel is ``L - S * min(L, 1 - L) * clip(min(k - 3, 9 - k), -1, 1)``, k being the hue's twelfths plus 0 for red,
    8 for green and 4 for blue, modulo 12.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> data.hsl_to_rgb(np.array([1 / 3, 1.0, 0.5]).reshape(3, 1, 1)).ravel().round(3)  # green
    array([0., 1., 0.])
    """
    x, (hue, saturation, lightness) = _planes(x, "x")
    reach = saturation * np.minimum(lightness, 1 - lightness)
    twelfths = [(hue * 12 + shift) % 12 for shift in (0, 8, 4)]
    return np.stack([lightness - reach * np.clip(np.minimum(k - 3, 9 - k), -1, 1) for k in twelfths], axis=-3)
