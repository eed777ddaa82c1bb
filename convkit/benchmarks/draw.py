"""Random layers, so that no list of layers is all that is ever looked at.

A kind is drawn (three of eight dense; pointwise, grouped, depthwise, few inputs, few outputs), one layer in five is
transposed, two in three are 2-D. Channels, batch and image sides are log-uniform; kernels are mostly square, images
mostly; small kernels and strides are likelier, as they are in networks. What is too small to measure, too long to wait
for or too large to hold is drawn again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from .layers import FEW_INPUTS, FEW_OUTPUTS, Layer

KINDS = ("dense", "dense", "dense", "pointwise", "grouped", "depthwise", "few inputs", "few outputs")
FAMILIES = tuple(kind + suffix for suffix in ("", " transposed") for kind in dict.fromkeys(KINDS))  # Layer.family's
DIMENSIONS = (1, 2, 2, 2, 2, 3)
LONGEST = {1: 8192, 2: 160, 3: 32}  # of an image, by the number of dimensions
SHORTEST = 4
CHANNELS, DEPTHWISE_CHANNELS, BATCH = (8, 512), (8, 768), (1, 64)
GROUPS, INPUTS_OF_A_GROUP, OUTPUTS_OF_A_GROUP = (2, 32), (1, 28), (1, 16)
TAPS, LONGEST_KERNEL_1D = (1, 2, 3, 3, 3, 4, 5, 5, 6, 7), 31
STRIDES, DILATIONS = (1, 1, 1, 1, 1, 2, 2, 2, 3, 4), (1, 1, 1, 1, 1, 1, 1, 2, 2, 3)
SQUARE_KERNEL, SQUARE_IMAGE, TRANSPOSED, PADDED = 3 / 4, 2 / 3, 1 / 5, 1 / 2  # how often
FLOPS, MOST_ELEMENTS = (4e5, 4e9), 2e7


def random_layers(count: int, seed: int, fits: Callable[[Layer], object] = bool) -> list[Layer]:
    """The first `count` layers of a seed, of those that fit, named by their sizes."""
    layers = filter(fits, _all(np.random.default_rng(seed)))
    return [replace(layer, name=str(layer)) for layer in itertools.islice(layers, count)]


def _all(rng: np.random.Generator) -> Iterator[Layer]:
    while True:
        layer = _draw(rng)
        fits = min(layer.out_spatial) >= 1 and max(layer.elements.values()) <= MOST_ELEMENTS
        if fits and FLOPS[0] <= layer.flops <= FLOPS[1]:
            yield layer


def _draw(rng: np.random.Generator) -> Layer:
    """One layer, without a name."""
    kind, nd = KINDS[rng.integers(len(KINDS))], DIMENSIONS[rng.integers(len(DIMENSIONS))]
    kernel = (1,) * nd if kind == "pointwise" else _kernel(rng, nd)
    one = math.prod(kernel) == 1
    dilation = 1 if one else DILATIONS[rng.integers(len(DILATIONS))]
    halves = tuple(dilation * (taps - 1) // 2 for taps in kernel)
    return Layer(
        name="",
        kind="convT" if rng.random() < TRANSPOSED else "conv",
        n=_log_uniform(rng, *BATCH),
        **_channels(rng, kind),
        spatial=_alike(rng, nd, SQUARE_IMAGE, lambda: _log_uniform(rng, SHORTEST, LONGEST[nd])),
        kernel=kernel,
        stride=STRIDES[rng.integers(len(STRIDES))],
        padding=halves if rng.random() < PADDED else (0,) * nd,
        dilation=dilation,
    )


def _channels(rng: np.random.Generator, kind: str) -> dict[str, int]:
    """Channels and groups of a layer of this kind."""
    if kind == "grouped":
        groups = _log_uniform(rng, *GROUPS)
        inputs, outputs = (
            groups * int(rng.integers(low, high + 1)) for low, high in (INPUTS_OF_A_GROUP, OUTPUTS_OF_A_GROUP)
        )
        return {"c_in": inputs, "c_out": outputs, "groups": groups}
    if kind == "depthwise":
        channels = _log_uniform(rng, *DEPTHWISE_CHANNELS)
        return {"c_in": channels, "c_out": channels, "groups": channels}
    c_in, c_out = _log_uniform(rng, *CHANNELS), _log_uniform(rng, *CHANNELS)
    if kind == "few inputs":
        c_in = int(rng.integers(1, FEW_INPUTS + 1))
    if kind == "few outputs":
        c_out = int(rng.integers(1, FEW_OUTPUTS + 1))
    return {"c_in": c_in, "c_out": c_out, "groups": 1}


def _kernel(rng: np.random.Generator, nd: int) -> tuple[int, ...]:
    if nd == 1:
        return (_log_uniform(rng, 1, LONGEST_KERNEL_1D),)
    return _alike(rng, nd, SQUARE_KERNEL, lambda: TAPS[rng.integers(len(TAPS))])


def _alike(rng: np.random.Generator, nd: int, often: float, size: Callable[[], int]) -> tuple[int, ...]:
    """One size for all axes, `often`, or one for each."""
    return (size(),) * nd if rng.random() < often else tuple(size() for _ in range(nd))


def _log_uniform(rng: np.random.Generator, low: int, high: int) -> int:
    return min(int(math.exp(rng.uniform(math.log(low), math.log(high + 1)))), high)
