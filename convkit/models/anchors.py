"""Anchors: the boxes that a detector starts from, a few round the middle of every cell of every feature map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .. import _shapes
from .._arrays import as_array
from .._numbers import number
from .._options import several
from .._words import brief
from ..nn._describe import real

_RATIOS = (0.5, 1.0, 2.0)


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float] = _RATIOS, *, dtype: str = "float32") -> np.ndarray:
    """Anchors of one cell, round (0, 0).

    Parameters
    ----------
    sizes : sequence of float
        Roots of the areas, in pixels.
    ratios : sequence of float, default (0.5, 1, 2)
        Height over width.
    dtype : {"float32", "float64"}

    Returns
    -------
    ndarray, ``(len(ratios) * len(sizes), 4)``
        (x1, y1, x2, y2), the first ratio's sizes first: half of size / sqrt(ratio) and of size * sqrt(ratio) to each
        side, rounded to whole pixels (halves to even), all as torchvision has it.

    Raises
    ------
    TypeError
        If `sizes` or `ratios` are no numbers, or `dtype` is another.
    ValueError
        If there are no sizes or ratios, or one is not positive.

    Examples
    --------
    >>> from convkit import models
    >>> models.cell_anchors([32], ratios=(0.5, 1))
    array([[-23., -11.,  23.,  11.],
           [-16., -16.,  16.,  16.]], dtype=float32)
    """
    sizes, root = _positive(sizes, "sizes", dtype), np.sqrt(_positive(ratios, "ratios", dtype))[:, np.newaxis]
    half = np.stack([(1 / root * sizes).ravel(), (root * sizes).ravel()], axis=1) / 2
    return np.round(np.concatenate([-half, half], axis=1))


def _positive(values: Sequence[float], name: str, dtype: str) -> np.ndarray:
    """An argument as an array of numbers above 0, one at least."""
    given, expected = several(values, name, "positive numbers"), "one or several positive numbers"
    if not given:
        raise ValueError(f"{name} must be {expected}, got {brief(values)}")
    return np.array([number(value, name, expected, lambda value: 0 < value < math.inf) for value in given], real(dtype))


def grid_anchors(
    image_size: tuple[int, int], map_sizes: Sequence[tuple[int, int]], cells: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Anchors of feature maps: for each cell, the map's anchors moved there.

    Parameters
    ----------
    image_size : (height, width)
    map_sizes : sequence of (height, width)
        Of each feature map.
    cells : sequence of ndarray
        For each map what `cell_anchors` gives.

    Returns
    -------
    list of ndarray, ``(height * width * A, 4)``
        For each map, row by row, the A anchors of a cell together. The cell (i, j) lies at (j * (image's width //
        map's width), i * (image's height // map's height)), its corner, as torchvision has it.

    Raises
    ------
    TypeError
        If a size is not of ints, or a cell no array of float32 or float64.
    ValueError
        If there are not as many `cells` as `map_sizes`, or one has not the shape ``(A, 4)``.

    Examples
    --------
    >>> from convkit import models
    >>> (boxes,) = models.grid_anchors((64, 64), [(2, 2)], [models.cell_anchors([32], ratios=(1,))])
    >>> boxes
    array([[-16., -16.,  16.,  16.],
           [ 16., -16.,  48.,  16.],
           [-16.,  16.,  16.,  48.],
           [ 16.,  16.,  48.,  48.]], dtype=float32)
    """
    image_size = _shapes.per_axis(image_size, 2, "image_size", 1)
    map_sizes = [_shapes.per_axis(size, 2, "map_sizes", 1) for size in several(map_sizes, "map_sizes", "sizes")]
    cells = [as_array(cell, "cells") for cell in several(cells, "cells", "arrays")]
    if len(cells) != len(map_sizes):
        raise ValueError(f"cells must be one for each of the {len(map_sizes)} map_sizes, got {len(cells)}")
    maps = []
    for (height, width), cell in zip(map_sizes, cells, strict=True):
        if cell.shape[1:] != (4,):
            raise ValueError(f"cells must have shape (A, 4), got shape {cell.shape}")
        y = np.arange(height, dtype=cell.dtype) * (image_size[0] // height)
        x = np.arange(width, dtype=cell.dtype) * (image_size[1] // width)
        corners = np.stack(np.broadcast_arrays(x, y[:, np.newaxis], x, y[:, np.newaxis]), axis=-1)
        maps.append((corners[:, :, np.newaxis] + cell).reshape(-1, 4))
    return maps


def _map_sizes(image_size: tuple[int, int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Sizes of a pyramid's maps; every step to the next is rounded up, as convolutions of stride 2 have it."""
    height, width = _shapes.per_axis(image_size, 2, "image_size", 1)
    return [(-(-height // stride), -(-width // stride)) for stride in strides]


def pyramid_anchors(image_size: tuple[int, int], *, dtype: str = "float32") -> list[np.ndarray]:
    """Fifteen anchors of a feature pyramid: at five levels one size in three ratios.

    Parameters
    ----------
    image_size : (height, width)
    dtype : {"float32", "float64"}

    Returns
    -------
    list of ndarray, ``(cells * 3, 4)``
        For the levels P2 to P6, of strides 4, 8, 16, 32, 64 and sizes 32, 64, 128, 256, 512: boxes (x1, y1, x2, y2) in
        pixels, which may reach out of the image.

    References
    ----------
    T.-Y. Lin, P. Dollar, R. Girshick, K. He, B. Hariharan, S. Belongie: Feature pyramid networks for object detection,
    CVPR 2017, arXiv:1612.03144, section 4.1.

    Examples
    --------
    >>> from convkit import models
    >>> [boxes.shape for boxes in models.pyramid_anchors((256, 256))]
    [(12288, 4), (3072, 4), (768, 4), (192, 4), (48, 4)]
    """
    cells = [cell_anchors([size], dtype=dtype) for size in (32, 64, 128, 256, 512)]
    return grid_anchors(image_size, _map_sizes(image_size, (4, 8, 16, 32, 64)), cells)


def retinanet_anchors(image_size: tuple[int, int], *, dtype: str = "float32") -> list[np.ndarray]:
    """Nine anchors a cell: three sizes, a third of an octave apart, in three ratios.

    Parameters
    ----------
    image_size : (height, width)
    dtype : {"float32", "float64"}

    Returns
    -------
    list of ndarray, ``(cells * 9, 4)``
        For the levels P3 to P7, of strides 8, 16, 32, 64, 128 and sizes 32, 64, 128, 256, 512 times 1, 2**(1/3) and
        2**(2/3), in whole pixels: boxes (x1, y1, x2, y2) in pixels, which may reach out of the image.

    References
    ----------
    T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollar: Focal loss for dense object detection, ICCV 2017,
    arXiv:1708.02002, section 4.

    Examples
    --------
    >>> from convkit import models
    >>> [boxes.shape for boxes in models.retinanet_anchors((256, 256))]
    [(9216, 4), (2304, 4), (576, 4), (144, 4), (36, 4)]
    """
    octaves = [[int(size * 2 ** (third / 3)) for third in range(3)] for size in (32, 64, 128, 256, 512)]
    cells = [cell_anchors(sizes, dtype=dtype) for sizes in octaves]
    return grid_anchors(image_size, _map_sizes(image_size, (8, 16, 32, 64, 128)), cells)
