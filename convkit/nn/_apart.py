"""Activations that a layer was given, but whose derivative is no function of the result.

Where there is a way back they follow the operator, which would fuse them, and what they were applied to is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _options
from .._mode import keeping
from ..ops import _elementwise
from .module import Way


def split(activation: Any) -> tuple[Any, _elementwise.Activation | None]:
    """What the operator is to fuse, and what is to follow apart."""
    if activation is None or _options.of_result(activation) or not keeping():
        return activation, None
    return None, _options.activation(activation)


def follow(y: np.ndarray, back: Way, apart: _elementwise.Activation | None) -> tuple[np.ndarray, Way]:
    """The output and the way back, through what follows, if anything does."""
    if apart is None:
        return y, back
    z = _elementwise.activate(y, apart)
    return z, lambda grad, need_input: back(_elementwise.activate_backward(grad, y, apart), need_input)
