"""The generator of DCGAN: numbers in, an image out, by transposed convolution alone."""

from __future__ import annotations

import numpy as np

from .. import nn
from .._numbers import generator
from ..nn.init import Initialiser, Rng
from ._layers import Layers


def _narrow(shape: tuple[int, ...], *, rng: Rng = None, dtype: str = "float32") -> np.ndarray:
    """Draw from N(0, 0.02**2), what the paper's networks start from."""
    return generator(rng).normal(0.0, 0.02, shape).astype(dtype)


def dcgan_generator(
    latent: int = 100,
    *,
    out_channels: int = 3,
    width: int = 64,
    init: str | Initialiser = _narrow,
    rng: Rng = None,
    dtype: str = "float32",
) -> nn.Sequential:
    """Generator of images, ``(N, latent, 1, 1)`` to ``(N, out_channels, 64, 64)`` in -1..1.

    3,576,704 parameters as it stands.

    Parameters
    ----------
    latent : int, default 100
        Numbers that an image is made from, usually standard normal.
    out_channels : int, default 3
    width : int, default 64
        Channels at 32 x 32 pixels; at 4 x 4 they are eight times as many.
    init, rng, dtype
        Common to all models, see `convkit.models`; by default weights are drawn from N(0, 0.02**2), as in the paper.

    Returns
    -------
    Sequential
        4x4 transposed convolutions to 4, 8, 16, 32 and 64 pixels a side.

    References
    ----------
    A. Radford, L. Metz, S. Chintala: Unsupervised representation learning with deep convolutional generative
    adversarial networks, ICLR 2016, arXiv:1511.06434.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import models
    >>> model = models.dcgan_generator(8, width=4, rng=0)
    >>> y = model.predict(np.random.default_rng(0).standard_normal((2, 8, 1, 1), np.float32))
    >>> y.shape, bool(abs(y).max() <= 1)
    ((2, 3, 64, 64), True)
    """
    new = Layers(init, rng, dtype, latent=latent, out_channels=out_channels, width=width)
    layers: list[nn.Module] = []
    channels, stride, padding = latent, 1, 0
    for wider in (8, 4, 2, 1):
        layers += [
            new.conv_transpose(channels, wider * width, 4, stride, padding, bias=False),
            new.batch_norm(wider * width),
            nn.ReLU(),
        ]
        channels, stride, padding = wider * width, 2, 1
    last = new.conv_transpose(channels, out_channels, 4, 2, 1, bias=False, activation="tanh")
    return nn.Sequential(*layers, last)
