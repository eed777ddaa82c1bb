"""Layers that share what they start from."""

from __future__ import annotations

from functools import partial

from .. import nn
from .._numbers import generator
from .._shapes import at_least
from ..nn.init import Initialiser, Rng


class Layers:
    """Constructors of the layers of one model: one initialiser, one source of numbers, one dtype.

    `sizes` are arguments of the model that layers know by other names, and would refuse by these.
    """

    def __init__(self, init: str | Initialiser, rng: Rng, dtype: str, **sizes: int) -> None:
        for name, size in sizes.items():
            at_least(size, name)
        rng = generator(rng)
        learned = {"init": init, "rng": rng, "dtype": dtype}
        self.conv = partial(nn.Conv2d, **learned)
        self.conv_transpose = partial(nn.ConvTranspose2d, **learned)
        self.linear = partial(nn.Linear, **learned)
        self.batch_norm = partial(nn.BatchNorm2d, dtype=dtype)
        self.dropout = partial(nn.Dropout, rng=rng)
