"""The part of its receptive field that an output really listens to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from .._mode import entered
from .._numbers import generator
from .._options import of_kind, several
from .._shapes import integer
from .._typing import Rng
from .._words import brief
from ..nn.module import Module
from ..nn.parameter import dtype_of
from .trace import checked_shape, spatial_axes

_HEARD = 1 - 0.9545  # of the largest gradient: what a Gaussian has left at two standard deviations, as in the paper


class EffectiveField(NamedTuple):
    """What `effective_receptive_field` returns.

    Attributes
    ----------
    gradient : ndarray of float64, of the input's spatial shape
        Mean size of the derivative of the output with respect to each pixel.
    size : float
        Edge of a square (a cube, in three dimensions) of as many pixels as have a derivative of at least 4.55 % of the
        largest.

    Examples
    --------
    >>> from convkit import analysis, nn
    >>> model = nn.Conv2d(1, 1, 3, padding=1, rng=0)
    >>> model.weight.data[...] = 1
    >>> gradient, size = analysis.effective_receptive_field(model, (1, 1, 5, 5))
    >>> gradient, size
    (array([[0., 0., 0., 0., 0.],
           [0., 1., 1., 1., 0.],
           [0., 1., 1., 1., 0.],
           [0., 1., 1., 1., 0.],
           [0., 0., 0., 0., 0.]]), 3.0)
    """

    gradient: np.ndarray
    size: float


def effective_receptive_field(
    model: Module, input_shape: tuple[int, ...], *, at: Sequence[int] | None = None, rng: Rng = 0
) -> EffectiveField:
    """Measure, by gradients, how much one output depends on every pixel of the input.

    Parameters
    ----------
    model : Module
        Run once in evaluation, forward and backward; it is left as it was, gradients included. ``model[:k]`` measures a
        layer of a `Sequential`.
    input_shape : tuple of int
        Of a batch, ``(N, C, *spatial)``; the mean is taken over its N images of standard normal noise.
    at : tuple of int, optional
        Position of the output; by default the middle.
    rng : numpy.random.Generator, int or None
        Source of the noise.

    Returns
    -------
    EffectiveField
        The absolute derivative of the sum over the channels at that position, averaged over the images and the input's
        channels; and how large the heard part is.

    Raises
    ------
    TypeError
        If `model` is no Module, or `at` not of ints.
    ValueError
        If `at` is not a position in the output.

    References
    ----------
    W. Luo, Y. Li, R. Urtasun, R. Zemel: Understanding the effective receptive field in deep convolutional neural
    networks, NIPS 2016, arXiv:1701.04128.

    Examples
    --------
    >>> from convkit import analysis, nn
    >>> model = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1, rng=i) for i in range(8)))
    >>> field = analysis.effective_receptive_field(model, (1, 4, 32, 32))
    >>> field.size < 17, analysis.receptive_field(model, (1, 4, 32, 32))[-1].size
    (True, (17, 17))
    """
    of_kind(model, Module, "model", "a Module")
    shape = checked_shape(input_shape)
    x = generator(rng).standard_normal(shape).astype(dtype_of(model))
    axes = spatial_axes(model, len(shape))
    with entered(keeping=True, evaluating=True), _frozen(model):
        y, back = model.begin(x)
        sizes = tuple(y.shape[axis] for axis in axes)
        given = (size // 2 for size in sizes) if at is None else several(at, "at", "ints")
        place = tuple(integer(i, "at", "a tuple of ints") for i in given)
        if len(place) != len(sizes) or not all(0 <= i < size for i, size in zip(place, sizes, strict=True)):
            raise ValueError(f"at must be a position in the output, of spatial shape {sizes}, got {brief(at)}")
        grad = np.zeros_like(y)
        grad[(*(slice(None),) * axes.start, *place)] = 1
        dx = back(grad)
    gradient = np.abs(dx).mean(axis=(0, -1 if axes.start == 1 else 1), dtype=np.float64)
    heard = np.count_nonzero(gradient >= _HEARD * gradient.max())
    return EffectiveField(gradient, float(heard ** (1 / max(gradient.ndim, 1))))


@contextmanager
def _frozen(model: Module) -> Iterator[None]:
    """Inside the ``with`` no parameter learns."""
    learning = [parameter for parameter in model.parameters() if parameter.trainable]
    try:
        for parameter in learning:
            parameter.trainable = False
        yield
    finally:
        for parameter in learning:
            parameter.trainable = True
