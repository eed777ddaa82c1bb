"""convkit: convolutions and their gradients for NumPy arrays, on all cores of a CPU.

Operators take and return float32 and float64 ndarrays; their names and the order of their arguments are PyTorch's, and
``op_backward`` is the gradient of ``op``. Those of 2-D are there for 1-D and 3-D, too:

===========  ===========================================================================================================
convolution  `conv2d`, `conv_transpose2d`, `deform_conv2d`
inference    `prepare_conv2d`, `prepare_conv_transpose2d`: weights are laid out once
pooling      `max_pool2d`, `avg_pool2d`, `adaptive_max_pool2d`, `adaptive_avg_pool2d`, `max_unpool2d`
others       `interpolate`, `grid_sample`, `im2col`, `col2im`, `linear`, of any number of axes
machine      `set_num_threads`, `get_num_threads`, `threads`, `flush_denormals`, `isa`, `set_isa`, `available_isas`,
             `set_cache_limit`, `get_cache_limit`, `clear_cache`, `workspace_limit`, `machine_peak`,
             `show_config`, `verify`, `explain`, which says what a convolution would do and why
===========  ===========================================================================================================

`convkit.reference` holds the float64 definition of each. The submodules `nn`, `models`, `optim`, `data`, `train`,
`distributed`, `analysis`, `graph`, `onnx_backend` and `dask` are loaded when first used.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from . import reference
from ._explain import Explanation, explain
from ._memory import clear_cache, get_cache_limit, set_cache_limit, workspace_limit
from ._results import ConvGrads, DeformGrads, GridGrads
from ._threads import flush_denormals, get_num_threads, set_num_threads, threads
from ._verify import Verification, verify
from ._version import __version__ as __version__
from .machine import Peak, available_isas, isa, machine_peak, set_isa, show_config
from .ops.adaptive_pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool1d_backward,
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool3d,
    adaptive_avg_pool3d_backward,
    adaptive_max_pool1d,
    adaptive_max_pool1d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
    adaptive_max_pool3d,
    adaptive_max_pool3d_backward,
)
from .ops.columns import col2im, im2col
from .ops.conv import conv1d, conv1d_backward, conv2d, conv2d_backward, conv3d, conv3d_backward
from .ops.conv_transpose import (
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
    conv_transpose3d,
    conv_transpose3d_backward,
)
from .ops.deform import (
    deform_conv1d,
    deform_conv1d_backward,
    deform_conv2d,
    deform_conv2d_backward,
    deform_conv3d,
    deform_conv3d_backward,
)
from .ops.grid import grid_sample, grid_sample_backward
from .ops.linear import linear, linear_backward
from .ops.pool import (
    avg_pool1d,
    avg_pool1d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    avg_pool3d,
    avg_pool3d_backward,
    max_pool1d,
    max_pool1d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool3d,
    max_pool3d_backward,
)
from .ops.prepared import (
    prepare_conv1d,
    prepare_conv2d,
    prepare_conv3d,
    prepare_conv_transpose1d,
    prepare_conv_transpose2d,
    prepare_conv_transpose3d,
)
from .ops.resize import interpolate, interpolate_backward
from .ops.unpool import (
    max_unpool1d,
    max_unpool1d_backward,
    max_unpool2d,
    max_unpool2d_backward,
    max_unpool3d,
    max_unpool3d_backward,
)

__all__ = [
    "ConvGrads",
    "DeformGrads",
    "Explanation",
    "GridGrads",
    "Peak",
    "Verification",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool3d",
    "adaptive_avg_pool3d_backward",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_backward",
    "available_isas",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "avg_pool3d",
    "avg_pool3d_backward",
    "clear_cache",
    "col2im",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv3d",
    "conv3d_backward",
    "conv_transpose1d",
    "conv_transpose1d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "conv_transpose3d",
    "conv_transpose3d_backward",
    "deform_conv1d",
    "deform_conv1d_backward",
    "deform_conv2d",
    "deform_conv2d_backward",
    "deform_conv3d",
    "deform_conv3d_backward",
    "explain",
    "flush_denormals",
    "get_cache_limit",
    "get_num_threads",
    "grid_sample",
    "grid_sample_backward",
    "im2col",
    "interpolate",
    "interpolate_backward",
    "isa",
    "linear",
    "linear_backward",
    "machine_peak",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool3d",
    "max_pool3d_backward",
    "max_unpool1d",
    "max_unpool1d_backward",
    "max_unpool2d",
    "max_unpool2d_backward",
    "max_unpool3d",
    "max_unpool3d_backward",
    "prepare_conv1d",
    "prepare_conv2d",
    "prepare_conv3d",
    "prepare_conv_transpose1d",
    "prepare_conv_transpose2d",
    "prepare_conv_transpose3d",
    "reference",
    "set_cache_limit",
    "set_isa",
    "set_num_threads",
    "show_config",
    "threads",
    "verify",
    "workspace_limit",
]

_LATER = ("analysis", "dask", "data", "distributed", "graph", "models", "nn", "onnx_backend", "optim", "train")


if TYPE_CHECKING:  # for editors and type checkers; a program loads them when it uses them
    from . import analysis as analysis
    from . import dask as dask
    from . import data as data
    from . import distributed as distributed
    from . import graph as graph
    from . import models as models
    from . import nn as nn
    from . import onnx_backend as onnx_backend
    from . import optim as optim
    from . import train as train


def __getattr__(name: str) -> ModuleType:
    if name in _LATER:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_LATER, *(name for name in globals() if name.startswith("__"))])
