"""Activations that a layer was given: the operator fuses them, the way back takes them apart.

Their derivative is a pass of its own, before the gradients of x and of the weight, each of which would form it again.
One whose derivative is no function of the result follows the operator where there is a way back, and what it was
applied to is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _options
from .._mode import keeping
from ..ops import _elementwise
from .module import Way


def fused(activation: Any) -> Any:
    """What the operator is to fuse."""
    return activation if activation is None or _options.of_result(activation) or not keeping() else None


def follow(y: np.ndarray, back: Way, activation: Any) -> tuple[np.ndarray, Way]:
    """The output and the way back, through the activation; `y` is what the operator gave."""
    if activation is None:
        return y, back
    codes = _options.activation(activation)
    z = y if fused(activation) is not None else _elementwise.activate(y, codes)
    kept = z if _options.of_result(activation) else y
    return z, lambda grad, need_input: back(_elementwise.activate_backward(grad, kept, codes), need_input)
