"""What operators return when it is more than one array."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ConvGrads(NamedTuple):
    """Gradients of a convolution or a linear map; None for those not asked for."""

    x: np.ndarray | None
    weight: np.ndarray | None
    bias: np.ndarray | None


class DeformGrads(NamedTuple):
    """Gradients of a deformable convolution; None for those not asked for, and for a mask that is not there."""

    x: np.ndarray | None
    offset: np.ndarray | None
    mask: np.ndarray | None
    weight: np.ndarray | None
    bias: np.ndarray | None


class GridGrads(NamedTuple):
    """Gradients of grid_sample; None for those not asked for."""

    x: np.ndarray | None
    grid: np.ndarray | None
