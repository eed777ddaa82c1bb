"""What operators return when it is more than one array."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ConvGrads(NamedTuple):
    """Gradients of a convolution or a linear map; None for those not asked for.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x, weight = np.ones((1, 3, 8, 8)), np.ones((4, 3, 3, 3))
    >>> dx, dw, db = convkit.conv2d_backward(np.ones((1, 4, 6, 6)), x, weight, need=("x", "weight"))
    >>> dx.shape, dw.shape, db
    ((1, 3, 8, 8), (4, 3, 3, 3), None)
    """

    x: np.ndarray | None
    weight: np.ndarray | None
    bias: np.ndarray | None


class DeformGrads(NamedTuple):
    """Gradients of a deformable convolution; None for those not asked for, and for a mask that is not there.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x, offset, weight = np.ones((1, 3, 8, 8)), np.zeros((1, 18, 6, 6)), np.ones((4, 3, 3, 3))
    >>> grads = convkit.deform_conv2d_backward(np.ones((1, 4, 6, 6)), x, offset, weight)
    >>> grads.offset.shape, grads.mask
    ((1, 18, 6, 6), None)
    """

    x: np.ndarray | None
    offset: np.ndarray | None
    mask: np.ndarray | None
    weight: np.ndarray | None
    bias: np.ndarray | None


class GridGrads(NamedTuple):
    """Gradients of grid_sample; None for those not asked for.

    Examples
    --------
    >>> import convkit, numpy as np
    >>> x, grid = np.ones((1, 3, 4, 4)), np.zeros((1, 5, 5, 2))
    >>> grads = convkit.grid_sample_backward(np.ones((1, 3, 5, 5)), x, grid, need="grid")
    >>> grads.x, grads.grid.shape
    (None, (1, 5, 5, 2))
    """

    x: np.ndarray | None
    grid: np.ndarray | None
