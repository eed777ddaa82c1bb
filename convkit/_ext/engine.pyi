"""What `convkit.ops` and its like call; `tests/test_typing.py` compares it with the compiled module."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar, final

import numpy as np

# Where an array of a program lies, (base, offset, strides), bytes of an element last; or the array itself.
_Spot = tuple[int, int, tuple[int, ...], int] | np.ndarray
_Sizes = tuple[int, ...]
_T = TypeVar("_T")
_Activation = tuple[int, float, float]

MAX_AXES: int
BLOCK_LEAST: int
flush_denormals: ContextVar[bool]
workspace_limit: ContextVar[int]

# ---------------------------------------------------------------- codes, by enum of src_c/convkit.h

# ck_padding_mode
ZEROS: int
REFLECT: int
REPLICATE: int
CIRCULAR: int

# ck_activation
IDENTITY: int
RELU: int
LEAKY_RELU: int
SIGMOID: int
TANH: int
CLIP: int
SILU: int
GELU: int
HARD_SWISH: int
HARD_SIGMOID: int
ELU: int
GELU_TANH: int
SOFTPLUS: int
ELU_OF_X: int

# ck_algorithm
AUTO: int
IMPLICIT_GEMM: int
IM2COL: int
DIRECT: int
WINOGRAD: int

# ck_conv_op
FORWARD: int
GRAD_X: int
GRAD_WEIGHT: int
TRANSPOSED: int
TRANSPOSED_GRAD_X: int
TRANSPOSED_GRAD_WEIGHT: int

# ck_pool_op
POOL_MAX: int
POOL_AVERAGE: int
POOL_AVERAGE_GRAD: int
POOL_SCATTER_ADD: int
POOL_SCATTER: int
POOL_GATHER: int
POOL_CHECK: int

# ck_sampling
NEAREST: int
LINEAR: int
CUBIC: int

# ck_border
BORDER_ZEROS: int
BORDER_EDGE: int
BORDER_REFLECTION: int

# ck_element_op
ACTIVATE: int
ACTIVATE_BACK: int
PLUS: int
MINUS: int
TIMES: int
OVER: int
LARGER: int
SMALLER: int

# ck_row_op
SOFTMAX: int
STANDARD: int
RESPONSE: int
ROOM: int
FIXED: int
TURN_AXES: int
BY_NORM: int
TOTAL: int
ROOT: int

# ck_known
SCALE: int
SHIFT: int
REST: int
INV_STD: int
VARIANCE: int
EXTREME: int
KNOWN: int

# ---------------------------------------------------------------- sizes

def take_in_by(otherwise: Callable[[Any, str, np.ndarray | None, str], np.ndarray]) -> None: ...
def as_array(value: Any, name: str, first: np.ndarray | None = None, first_name: str = "") -> np.ndarray: ...
def fits_out(
    out: Any, shape: _Sizes, first: np.ndarray, second: np.ndarray | None = None, third: np.ndarray | None = None
) -> bool: ...
def remembered(
    plan: Callable[..., _T], made_plain: Callable[[tuple[Any, ...]], tuple[Any, ...]]
) -> Callable[[tuple[Any, ...], tuple[Any, ...]], _T]: ...

@final
class Geometry:
    def __init__(
        self, n: int, groups: int, c_in: int, c_out: int, in_: _Sizes, kernel: _Sizes, stride: _Sizes,
        dilation: _Sizes, pad_lo: _Sizes, pad_hi: _Sizes, out: _Sizes, padding_mode: int,
    ) -> None: ...  # fmt: skip

@final
class PoolGeometry:
    def __init__(
        self, n: int, channels: int, in_: _Sizes, out: _Sizes, kernel: _Sizes | None = None,
        stride: _Sizes | None = None, dilation: _Sizes | None = None, pad_lo: _Sizes | None = None,
        pad_hi: _Sizes | None = None, count_pad: bool = False,
    ) -> None: ...  # fmt: skip

@final
class ResizeGeometry:
    def __init__(
        self, n: int, channels: int, in_: _Sizes, out: _Sizes, sampling: int, antialias: bool,
        times: tuple[float, ...], over: tuple[float, ...], before: float, after: float,
        whole: tuple[_Sizes, _Sizes] | None = None, first: tuple[_Sizes, _Sizes] | None = None,
    ) -> None: ...  # fmt: skip

@final
class GridGeometry:
    def __init__(
        self, n: int, channels: int, in_: _Sizes, out: _Sizes, sampling: int, border: int, align_corners: bool
    ) -> None: ...

# ---------------------------------------------------------------- convolution

def conv_forward(
    geometry: Geometry, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray, activation: int,
    a: float, b: float, channel_last: bool, algorithm: int, transposed: bool, threads: int,
) -> None: ...  # fmt: skip
def linear_forward(
    geometry: Geometry, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray, activation: int,
    a: float, b: float, threads: int,
) -> bool: ...  # fmt: skip
def conv_grad_x(
    geometry: Geometry, grad: np.ndarray, weight: np.ndarray, dx: np.ndarray, activation: int, a: float, b: float,
    act_y: np.ndarray | None, channel_last: bool, algorithm: int, transposed: bool, threads: int,
) -> None: ...  # fmt: skip
def conv_grad_weight(
    geometry: Geometry, grad: np.ndarray, x: np.ndarray | None, dw: np.ndarray | None, db: np.ndarray | None,
    activation: int, a: float, b: float, act_y: np.ndarray | None, channel_last: bool, algorithm: int,
    transposed: bool, threads: int,
) -> None: ...  # fmt: skip
def conv_explain(
    geometry: Geometry, op: int, x: np.ndarray, weight: np.ndarray, y: np.ndarray, channel_last: bool, algorithm: int,
    threads: int,
) -> dict[str, Any]: ...  # fmt: skip
def conv_supports(geometry: Geometry, algorithm: int) -> bool: ...
def im2col(geometry: Geometry, x: np.ndarray, cols: np.ndarray, channel_last: bool, threads: int) -> None: ...
def col2im(geometry: Geometry, cols: np.ndarray, x: np.ndarray, channel_last: bool, threads: int) -> None: ...
def arrangements() -> list[str]: ...
def take_arrangements(*names: str, reads: str | None = None) -> None: ...
def costs() -> dict[str, tuple[float, ...]]: ...
def set_costs(values: dict[str, tuple[float, ...]]) -> None: ...

@final
class Panels: ...

def prepared_forward(
    panels: Panels, geometry: Geometry, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray,
    add: bool, activation: int, a: float, b: float, channel_last: bool, algorithm: int, transposed: bool, threads: int,
) -> bool: ...  # fmt: skip
def deform_forward(
    geometry: Geometry, offset_groups: int, x: np.ndarray, offset: np.ndarray, mask: np.ndarray | None,
    weight: np.ndarray, bias: np.ndarray | None, y: np.ndarray, activation: int, a: float, b: float,
    channel_last: bool, threads: int,
) -> None: ...  # fmt: skip
def deform_backward(
    geometry: Geometry, offset_groups: int, grad: np.ndarray, x: np.ndarray | None, offset: np.ndarray | None,
    mask: np.ndarray | None, weight: np.ndarray | None, act_y: np.ndarray | None, dx: np.ndarray | None,
    d_offset: np.ndarray | None, d_mask: np.ndarray | None, d_weight: np.ndarray | None, d_bias: np.ndarray | None,
    activation: int, a: float, b: float, channel_last: bool, threads: int,
) -> None: ...  # fmt: skip

# ---------------------------------------------------------------- pooling and resampling

def pool(
    geometry: PoolGeometry, op: int, x: np.ndarray | None, y: np.ndarray | None, indices: np.ndarray | None,
    channel_last: bool, threads: int,
) -> bool: ...  # fmt: skip
def resize(
    geometry: ResizeGeometry, x: np.ndarray, y: np.ndarray, backward: bool, channel_last: bool, threads: int
) -> None: ...
def grid_forward(
    geometry: GridGeometry, x: np.ndarray, grid: np.ndarray, y: np.ndarray, channel_last: bool, threads: int
) -> None: ...
def grid_grad_x(
    geometry: GridGeometry, grad: np.ndarray, grid: np.ndarray, dx: np.ndarray, channel_last: bool, threads: int
) -> None: ...
def grid_grad_grid(
    geometry: GridGeometry, grad: np.ndarray, x: np.ndarray, grid: np.ndarray, dgrid: np.ndarray, channel_last: bool,
    threads: int,
) -> None: ...  # fmt: skip

# ---------------------------------------------------------------- layers

def elementwise(
    op: int, y: np.ndarray, a: np.ndarray, b: np.ndarray | None, activation: int, act_a: float, act_b: float,
    threads: int,
) -> None: ...  # fmt: skip
def channels(
    x: np.ndarray, g: np.ndarray | None, y: np.ndarray | None, sums: np.ndarray | None, lanes: bool,
    cuts: int, numbers: tuple[np.ndarray, ...], activation: int, act_a: float, act_b: float, threads: int,
) -> None: ...  # fmt: skip
def softmax(x: np.ndarray, y: np.ndarray, threads: int) -> None: ...
def cross_entropy(
    x: np.ndarray, labels: np.ndarray, losses: np.ndarray, y: np.ndarray | None, threads: int
) -> None: ...
def normal_forward(
    x: np.ndarray, y: np.ndarray | None, lanes: bool, pieces: int, cuts: int, known: np.ndarray, epsilon: float,
    weight: np.ndarray | None, bias: np.ndarray | None, activation: int, act_a: float, act_b: float, threads: int,
) -> bool: ...  # fmt: skip
def normal_backward(
    x: np.ndarray, g: np.ndarray, y: np.ndarray | None, lanes: bool, pieces: int, cuts: int, known: np.ndarray,
    weight: np.ndarray | None, bias: np.ndarray | None, total: np.ndarray | None, product: np.ndarray | None,
    constant: bool, activation: int, act_a: float, act_b: float, threads: int,
) -> None: ...  # fmt: skip
def follow(means: np.ndarray, variances: np.ndarray, known: np.ndarray, times: float, rate: float) -> None: ...
def descend(steps: list[tuple[Any, ...]], threads: int) -> None: ...

# ---------------------------------------------------------------- programs

@final
class Program:
    count: int
    workspace: int
    threads: int
    isa: str

    def __init__(self, threads: int, isa: str) -> None: ...
    def turns(self, sizes: tuple[int, ...], steps: int, apart: bool, room: int) -> None: ...
    def fixed(self, array: np.ndarray) -> _Spot: ...
    def moving(self, *steps: tuple[int, ...] | None) -> None: ...
    def conv(
        self, geometry: Geometry, transposed: bool, x: _Spot, weight: _Spot, bias: np.ndarray | None, y: _Spot,
        add: bool, activation: _Activation, algorithm: int, panels: Panels | None,
    ) -> None: ...  # fmt: skip
    def deform(
        self, geometry: Geometry, offset_groups: int, x: _Spot, offset: _Spot, mask: _Spot | None, weight: _Spot,
        bias: np.ndarray | None, y: _Spot, activation: _Activation,
    ) -> None: ...  # fmt: skip
    def pool(self, geometry: PoolGeometry, op: int, item: int, x: _Spot, y: _Spot, indices: _Spot | None) -> None: ...
    def resize(self, geometry: ResizeGeometry, item: int, x: _Spot, y: _Spot) -> None: ...
    def grid(self, geometry: GridGeometry, item: int, x: _Spot, grid: _Spot, y: _Spot) -> None: ...
    def elementwise(
        self, op: int, item: int, shape: _Sizes, y: _Spot, a: _Spot, b: _Spot | None, activation: _Activation
    ) -> None: ...
    def channels(
        self, item: int, shape: _Sizes, x: _Spot, y: _Spot, lanes: bool, numbers: tuple[np.ndarray, ...]
    ) -> None: ...
    def rows(
        self, op: int, item: int, shape: _Sizes, x: _Spot, y: _Spot, scale: np.ndarray | None, bias: np.ndarray | None,
        epsilon: float, factor: float, least: float, neighbours: tuple[int, ...],
    ) -> None: ...  # fmt: skip
    def normal(
        self, item: int, shape: _Sizes, x: _Spot, y: _Spot, pieces: int, cuts: int, weight: np.ndarray,
        bias: np.ndarray, epsilon: float,
    ) -> None: ...  # fmt: skip
    def run(self, first: int, end: int, bases: list[np.ndarray], seconds: np.ndarray | None) -> None: ...
    def explain(self, index: int) -> dict[str, Any] | None: ...

# ---------------------------------------------------------------- the machine

def isa() -> str: ...
def built_isas() -> tuple[str, ...]: ...
def available_isas() -> tuple[str, ...]: ...
def set_isa(name: str) -> None: ...
def isa_from_cpu(leaf1_ecx: int, leaf7_ebx: int, xcr0: int) -> str: ...
def compiler() -> str: ...
def current_threading() -> str: ...
def built_threadings() -> tuple[str, ...]: ...
def set_threading(name: str) -> None: ...
def after_fork() -> bool: ...
def note_main_thread() -> None: ...
def measure_fma(dtype: str, threads: int, seconds: float) -> float: ...
def fma_per_cycle() -> int: ...
def measure_triad(bytes_per_array: int, threads: int, seconds: float) -> float: ...
def empty(shape: _Sizes, dtype: np.dtype) -> np.ndarray: ...
def set_cache_limit(bytes: int) -> None: ...
def clear_cache() -> None: ...
def cached_bytes() -> int: ...
