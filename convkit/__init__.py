"""convkit: convolutions and their gradients for NumPy arrays, on all cores of a CPU.

Operators take and return float32 and float64 ndarrays; names and argument order are PyTorch's. `convkit.reference`
holds the float64 definition of each. The submodules `nn`, `optim`, `data` and `analysis` are loaded when first used.
"""

from __future__ import annotations

import importlib

from . import reference
from ._results import ConvGrads
from ._threads import get_num_threads, set_num_threads, threads
from .machine import Peak, available_isas, isa, machine_peak, set_isa, show_config
from .ops.columns import col2im, im2col
from .ops.conv import conv1d, conv1d_backward, conv2d, conv2d_backward, conv3d, conv3d_backward
from .ops.linear import linear, linear_backward

__version__ = "0.1.0"

__all__ = [
    "ConvGrads",
    "Peak",
    "available_isas",
    "col2im",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv3d",
    "conv3d_backward",
    "get_num_threads",
    "im2col",
    "isa",
    "linear",
    "linear_backward",
    "machine_peak",
    "reference",
    "set_isa",
    "set_num_threads",
    "show_config",
    "threads",
]

_LATER = ("analysis", "data", "nn", "optim")


def __getattr__(name: str):
    if name in _LATER:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
