"""One parameter's update, for all optimizers: they differ in coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Descent:
    """One step of gradient descent, in the most general form that the optimizers need.

    With w the parameter and g its gradient, element by element::

        g = g + l2 * w
        s = s_keep * s + s_take * g^2          if there is a second moment s
        root = s_scale * sqrt(s) + eps
        d = g / root                           if s comes first (RMSprop)
        m = m_keep * m + m_take * d            if there is a first moment m
        d = look * m + ahead * d
        d = d / root                           if s comes last (Adam)
        w = keep * w - rate * d
    """

    rate: float
    keep: float = 1.0
    l2: float = 0.0
    m_keep: float = 0.0
    m_take: float = 1.0
    look: float = 1.0
    ahead: float = 0.0
    s_keep: float = 0.0
    s_take: float = 0.0
    s_scale: float = 1.0
    eps: float = 0.0
    s_first: bool = False

    def apply(self, w: np.ndarray, grad: np.ndarray, m: np.ndarray | None = None, s: np.ndarray | None = None) -> None:
        """Change w and its moments in place."""
        d = grad
        if self.l2:
            d = d + self.l2 * w
        if s is not None:
            s *= self.s_keep
            s += self.s_take * (d * d)
            root = self.s_scale * np.sqrt(s) + self.eps
            d = d / root if self.s_first else d
        if m is not None:
            m *= self.m_keep
            m += self.m_take * d
            d = self.look * m + self.ahead * d if self.ahead else self.look * m
        if s is not None and not self.s_first:
            d = d / root
        if self.keep != 1:
            w *= self.keep
        w -= self.rate * d
