"""Dropout: noise in training that keeps units from relying on one another."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _options
from .._arrays import as_array
from .._numbers import generator, number
from . import init
from .module import ByElement, Way


class _Dropout(ByElement):
    def __init__(self, p: float = 0.5, *, rng: init.Rng = None) -> None:
        self.p = number(p, "p", "a probability from 0 to 1", lambda value: 0 <= value <= 1)
        self.rng = generator(rng)

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Way]:
        """Drop from an array of any shape in training, and from its gradient alike; in evaluation let it be."""
        x = as_array(x, "x")
        if not self.training or self.p == 0:
            return x, lambda grad, _: grad
        kept = self.rng.random(self._mask_shape(x.shape), dtype=np.float32) >= self.p
        mask = kept * x.dtype.type(1 / (1 - self.p) if self.p < 1 else 0)
        return x * mask, lambda grad, _: grad * mask

    def symbolic(self, x: Any) -> Any:
        """Nothing: that is what dropout does in evaluation."""
        return x

    def describe(self) -> str:
        """Return the probability."""
        return f"p={self.p}"


_DOC = """In training, zero {what} with probability p and enlarge the others by 1 / (1 - p).

    In evaluation it does nothing.

    Parameters
    ----------
    p : float, default 0.5
        Probability of being dropped.
    rng : numpy.random.Generator, int or None
        Source of the choice, or its seed. Layers may share one Generator, with each other and with the initialisers.
{more}
    Attributes
    ----------
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        If p is outside 0 to 1.

    References
    ----------
    {source}

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn
    {example}
    """


class Dropout(_Dropout):
    __doc__ = _DOC.format(
        what="each element",
        more="",
        source="""N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov: Dropout: a simple way to
    prevent neural networks from overfitting, JMLR 15, 2014.""",
        example=""">>> layer = nn.Dropout(0.5, rng=0)
    >>> layer(np.ones(8)), layer.eval()(np.ones(2))
    (array([2., 2., 2., 0., 0., 0., 0., 0.]), array([1., 1.]))""",
    )


class Dropout2d(_Dropout):
    __doc__ = _DOC.format(
        what="each channel of each image",
        more="""    layout : {"NCHW", "NHWC"}
        Where the channel axis is: second, or last.
""",
        source="""J. Tompson, R. Goroshin, A. Jain, Y. LeCun, C. Bregler: Efficient object localization using
    convolutional networks, CVPR 2015, arXiv:1411.4280.""",
        example=""">>> nn.Dropout2d(0.5, rng=0)(np.ones((1, 4, 1, 3)))[0, :, 0]
    array([[2., 2., 2.],
           [2., 2., 2.],
           [2., 2., 2.],
           [0., 0., 0.]])""",
    )

    def __init__(self, p: float = 0.5, *, rng: init.Rng = None, layout: str = "NCHW") -> None:
        super().__init__(p, rng=rng)
        self.layout, self.channel_last = layout, _options.channel_last(layout)

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 4:
            raise ValueError(f"x must be a batch of images with 4 axes, got shape {shape}")
        n, channels = shape[0], shape[-1 if self.channel_last else 1]
        return (n, 1, 1, channels) if self.channel_last else (n, channels, 1, 1)
