"""What operators return when it is more than one array."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ConvGrads(NamedTuple):
    """Gradients of a convolution or a linear map; None for those not asked for."""

    x: np.ndarray | None
    weight: np.ndarray | None
    bias: np.ndarray | None
