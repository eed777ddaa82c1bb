"""Deformable problems: named and random ones, filled with data, solved by the reference, and the calls tests make."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

import convkit
from bounds import assert_within_bound
from cases import LAYOUTS, Case, arrange, by_dtype, restore, seed_of
from convkit.benchmarks.layers import LAYERS
from problems import Problem, reduced

GRADIENTS = ("x", "offset", "mask", "weight", "bias")
IMAGES = ("x", "offset", "mask", "grad", "y")  # the arrays that a layout says something about
OFFSETS = ("normal", "wide", "whole", "near", "border")


@dataclass(frozen=True)
class Deform(Problem):
    """One deformable convolution; `groups` are the weight's, `offset_groups` the offset's and the mask's.

    `offsets` says how they are drawn: "normal", N(0, 1); "wide", to and past every side of the image; "whole",
    integers, so that every sample is on a kink; "near", a few units in the last place beside those; "border",
    coordinates from -2 to 1 and from size - 2 to size + 1.
    """

    offset_groups: int = 1
    mask: bool = True
    offsets: str = "normal"

    @property
    def forward(self) -> str:
        return f"deform_conv{self.nd}d"

    @property
    def backward(self) -> str:
        return f"deform_conv{self.nd}d_backward"

    @property
    def arguments(self) -> dict:
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation")}

    @property
    def offset_shape(self) -> tuple[int, ...]:
        """(N, nd * G * prod(kernel), *out)."""
        return (self.n, self.nd * self.offset_groups * math.prod(self.kernel), *self.y_shape[2:])

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """(N, G * prod(kernel), *out)."""
        return (self.n, self.offset_groups * math.prod(self.kernel), *self.y_shape[2:])

    @property
    def base(self) -> np.ndarray:
        """Where samples lie without an offset, in the order of the offset's channels: (taps, nd, *out)."""
        axes = zip(self.pads, self._axes(self.stride), self._axes(self.dilation), strict=True)
        lines = []
        for axis, ((low, _), step, gap) in enumerate(axes):
            line = np.arange(self.y_shape[2 + axis]) * step - low + np.arange(self.kernel[axis])[:, None] * gap
            shape = [1] * (2 * self.nd)
            shape[axis], shape[self.nd + axis] = line.shape
            lines.append(np.broadcast_to(line.reshape(shape), (*self.kernel, *self.y_shape[2:])))
        return np.stack(lines, axis=self.nd).reshape(math.prod(self.kernel), self.nd, *self.y_shape[2:])


# fmt: off
AWKWARD = (
    # name                      n  c_in spatial   c_out kernel  stride padding dilation groups
    Deform("d_single_pixel",    1,   1, (1, 1),       1, (1, 1)),
    Deform("d_single_3x3",      2,   5, (1, 1),       7, (3, 3), 1, 1, offsets="border"),
    Deform("d_one_row",         1,   3, (1, 37),      4, (1, 3), 1, (0, 1)),
    Deform("d_one_column",      1,   3, (37, 1),      4, (3, 1), 1, (1, 0), offsets="wide"),
    Deform("d_odd_sizes",       3,   7, (13, 17),    11, (3, 5), 1, (1, 2)),
    Deform("d_primes",          2,  13, (29, 31),    37, (5, 7), (2, 3), (2, 3), offsets="wide"),
    Deform("d_even_kernel",     2,   6, (9, 10),      8, (2, 4), 1, "same", mask=False),
    Deform("d_same_lower_s2",   2,   6, (9, 10),      8, (2, 4), 2, "same_lower", offset_groups=3),
    Deform("d_full",            2,   4, (6, 7),       5, (3, 4), 1, "full", (2, 1), offset_groups=2),
    Deform("d_no_bias",         2,   9, (12, 11),    10, (3, 3), 1, 1, bias=False, offset_groups=3),
    Deform("d_no_bias_v1",      1,   8, (12, 11),    10, (3, 3), 1, 1, bias=False, mask=False),
    Deform("d_stride_over_k",   2,   5, (23, 22),     6, (2, 2), (5, 4), (1, 0)),
    Deform("d_1x1",             2,  20, (9, 9),      24, (1, 1), offset_groups=4),
    Deform("d_1x1_padded_s3",   1,   6, (5, 7),       7, (1, 1), 3, 1, offsets="border"),
    Deform("d_kernel_is_image", 2,   8, (7, 7),      12, (7, 7), offsets="wide"),
    Deform("d_over_image",      1,   3, (3, 4),       5, (7, 7), 1, 3),
    Deform("d_dilated_strided", 1,   6, (21, 20),     7, (3, 2), (2, 3), (4, 3), (4, 3), offset_groups=2),
    Deform("d_asymmetric",      2,   5, (8, 9),       6, (3, 3), 1, ((1, 2), (3, 0)), offsets="border"),
    Deform("d_asymmetric_s2",   2,   5, (8, 9),       6, (3, 3), 2, ((0, 1), (2, 1)), mask=False, offsets="whole"),
    Deform("d_padding_only",    1,   4, (2, 2),       4, (3, 3), 3, 7, offsets="wide"),
    Deform("d_tails_19_13",     2,  19, (9, 11),     13, (3, 3), 1, 1),
    Deform("d_tails_23_29",     1,  23, (10, 7),     29, (3, 3), 1, 1, mask=False),
    Deform("d_tails_65_153",    1,  65, (7, 7),     153, (3, 3), 1, 1, offset_groups=5),
    Deform("d_over_k_block",    2, 130, (6, 9),      17, (3, 3), 1, 1, offset_groups=2),
    Deform("d_many_k_blocks",   1, 700, (4, 5),       9, (3, 3), 1, 1, offset_groups=7),
    Deform("d_many_taps",       1,   3, (20, 19),     4, (11, 12), 1, 5, offsets="wide"),
    Deform("d_one_output",      2,  33, (11, 12),     1, (3, 3), 1, 1, offset_groups=3),
    Deform("d_one_input",       2,   1, (21, 20),    40, (5, 5), 1, 2),
    Deform("d_wide_row",        1,   3, (2, 525),     4, (2, 5), 1, (0, 2)),
    Deform("d_many_pixels",     1,   4, (67, 71),     5, (3, 3), 1, 1, offsets="wide"),
    Deform("d_few_of_many",     5,   3, (71, 67),     4, (3, 3), 30, 1, offsets="wide"),
    Deform("d_few_of_few",      1,   4, (40, 45),     5, (3, 3), 18, 1),  # one is staged, several are not
    Deform("d_few_many_taps",   1,   2, (40, 45),     3, (36, 33), 12, 9, offsets="wide"),  # in float64 two k-blocks
    Deform("d_halved",          1,   3, (60, 60),     4, (3, 3), 1, 14, 14),
    Deform("d_small_images",   17,   5, (3, 3),       6, (3, 3), 1, 1, offsets="near"),
    Deform("d_grouped",         2,  12, (9, 8),      18, (3, 3), 1, 1, 1, 3, offset_groups=2),
    Deform("d_grouped_across",  2,  12, (9, 8),      18, (3, 3), 1, 1, 1, 2, offset_groups=3, offsets="wide"),
    Deform("d_grouped_each",    1,  12, (9, 8),      12, (3, 3), 2, 1, 1, 4, offset_groups=12),
    Deform("d_grouped_wide",    1,  70, (6, 6),      66, (3, 3), 1, 1, 2, 2, offset_groups=5),
    Deform("d_depthwise",       2,  13, (11, 10),    13, (3, 3), 1, 1, 1, 13),
    Deform("d_depthwise_v1",    1,  34, (11, 10),    34, (3, 3), 2, 1, 1, 34, offset_groups=2, mask=False),
    Deform("d_depthwise_x3",    2,   7, (9, 8),      21, (3, 3), 1, 1, 1, 7, offset_groups=7),
    Deform("d_depthwise_halves", 1, 32, (9, 8),      64, (3, 3), 1, 1, 1, 32, offset_groups=2),
    Deform("d_narrow_groups",   2,  51, (7, 10),     34, (3, 2), 1, 1, 1, 17, offsets="wide"),
    Deform("d_1d",              2,   5, (31,),        7, (3,), 1, 1),
    Deform("d_1d_one_sample",   1,   1, (1,),         1, (1,), offsets="border"),
    Deform("d_1d_long",         1,   2, (5011,),      3, (9,), 1, 4, offsets="wide"),
    Deform("d_1d_s4_d3",        3,   6, (101,),       8, (5,), 4, ((3, 6),), 3, offset_groups=2, mask=False),
    Deform("d_1d_depthwise",    2,  20, (97,),       20, (31,), 1, 15, 1, 20),
    Deform("d_1d_whole",        2,   8, (40,),        4, (4,), 2, "same", 1, 4, offset_groups=4, offsets="whole"),
    Deform("d_3d",              1,   4, (5, 6, 7),    6, (3, 3, 3), 1, 1),
    Deform("d_3d_mixed",        2,   6, (7, 9, 8),    5, (2, 3, 4), (2, 1, 3), ((0, 1), (2, 0), (1, 2)), (1, 2, 1),
           offset_groups=3),
    Deform("d_3d_1x1x1",        1,  18, (3, 4, 5),   20, (1, 1, 1), offsets="border", mask=False),
    Deform("d_3d_depthwise",    1,   6, (6, 5, 7),    6, (3, 3, 3), 1, 1, 1, 6, offset_groups=2, offsets="wide"),
    Deform("d_3d_grouped_s2",   1,   6, (7, 7, 7),    9, (3, 3, 3), 2, 1, 1, 3, offset_groups=2, offsets="whole"),
)

EMPTY = (
    Deform("d_no_images",       0,   4, (6, 7),       5, (3, 3), 1, 1),
    Deform("d_no_images_dw",    0,   4, (6, 7),       4, (3, 3), 1, 1, 1, 4, offset_groups=2, mask=False),
    Deform("d_no_inputs",       2,   0, (6, 7),       5, (3, 3), 1, 1),
    Deform("d_no_inputs_bare",  2,   0, (6, 7),       5, (3, 3), 1, 1, bias=False, offset_groups=3),
    Deform("d_no_outputs",      2,   4, (6, 7),       0, (3, 3), 1, 1),
    Deform("d_no_outputs_3d",   1,   4, (3, 4, 5),    0, (2, 2, 2), offset_groups=2),
    Deform("d_no_pixels",       2,   3, (0, 4),       5, (2, 2), 1, 1),
    Deform("d_nothing",         0,   0, (6,),         0, (3,)),
)
# fmt: on


def of_layer(layer) -> Deform:
    """The problem of a published deformable layer."""
    sizes = ("name", "n", "c_in", "spatial", "c_out", "kernel", "stride", "padding", "dilation", "groups")
    return Deform(**{name: getattr(layer, name) for name in sizes}, mask=layer.kind == "dcn2")


NETWORK = tuple(layer for layer in LAYERS if layer.kind in ("dcn", "dcn2"))
NAMED = tuple(of_layer(reduced(layer)) for layer in NETWORK) + AWKWARD


def named(*names: str) -> tuple[Deform, ...]:
    """The problems of these names, in this order."""
    by_name = {problem.name: problem for problem in NAMED + EMPTY}
    return tuple(by_name[name] for name in names)


def random_deform(index: int) -> Deform:
    """Random configuration number `index`, which alone decides everything, so that a failure is replayed by it."""
    rng = np.random.default_rng((4, index))
    nd = int(rng.choice((1, 2, 2, 2, 3)))
    kernel, stride, dilation = (tuple(int(v) for v in rng.integers(1, most, nd)) for most in ((6, 5, 4)[nd - 1], 5, 5))
    spatial, padding = [], []
    for taps, step, gap in zip(kernel, stride, dilation, strict=True):
        span = gap * (taps - 1) + 1
        low, high = (int(p) for p in rng.integers(0, span + 2, 2))
        outputs = int(rng.integers(1, (40, 9, 4)[nd - 1]))
        spatial.append(max(span + (outputs - 1) * step + int(rng.integers(0, step)) - low - high, 1))
        padding.append((low, high))
    groups, offset_groups = (int(rng.choice((1, 1, 2, 3, 4))) for _ in range(2))
    c_in = math.lcm(groups, offset_groups) * int(rng.integers(1, 4 if rng.random() < 0.7 else 20))
    if rng.random() < 0.15:
        groups = c_in
    bias, mask = (bool(rng.random() < 0.7) for _ in range(2))
    return Deform(
        f"random_deform_{index}", int(rng.integers(1, 4)), c_in, tuple(spatial),
        groups * int(rng.integers(1, 3 if groups > 4 else 9)), kernel, stride, tuple(padding), dilation, groups,
        bias=bias, offset_groups=offset_groups, mask=mask, offsets=OFFSETS[rng.integers(len(OFFSETS))],
    )  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Operands of one problem, all in NCHW order and C-contiguous; `y` is for the gradient of a fused activation."""

    problem: Deform
    x: np.ndarray
    offset: np.ndarray
    mask: np.ndarray | None
    weight: np.ndarray
    bias: np.ndarray | None
    grad: np.ndarray
    y: np.ndarray | None = None

    def laid_out(self, layout: str) -> dict:
        """Every operand by name, images in this layout."""
        arrays = {name: getattr(self, name) for name in (*GRADIENTS, "grad", "y")}
        return {n: arrange(a, layout) if n in IMAGES and a is not None else a for n, a in arrays.items()}


def draw_offsets(problem: Deform, dtype, rng: np.random.Generator) -> np.ndarray:
    """Offsets drawn as the problem says."""
    shape = problem.offset_shape
    by_axis = (problem.n, problem.offset_groups, *problem.base.shape)
    size = np.array(problem.spatial).reshape(-1, *[1] * problem.nd)
    if problem.offsets == "normal":
        return rng.standard_normal(shape).astype(dtype)
    if problem.offsets == "border":
        target = rng.uniform(-2, 1, by_axis) + rng.integers(0, 2, by_axis) * size
    else:
        target = rng.uniform(-2.5, size + 1.5, by_axis)
    offset = (target if problem.offsets in ("border", "wide") else np.round(target)) - problem.base
    if problem.offsets == "near":
        offset += rng.integers(-3, 4, by_axis) * np.finfo(dtype).eps
    return offset.reshape(shape).astype(dtype)


def random_data(problem: Deform, dtype) -> Data:
    """Normal deviates, masks from 0 to 1."""
    rng = seed_of(problem)

    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    mask = rng.random(problem.mask_shape).astype(dtype) if problem.mask else None
    bias = draw(problem.c_out) if problem.bias else None
    x, weight, grad = draw(*problem.x_shape), draw(*problem.weight_shape), draw(*problem.y_shape)
    data = Data(problem, x, draw_offsets(problem, dtype, rng), mask, weight, bias, grad)
    if problem.activation is None:
        return data
    return Data(problem, x, data.offset, mask, weight, bias, grad, reference_forward(data).astype(dtype))


def _positional(data: Data, operands: dict, backward: bool) -> tuple:
    first = ("grad", "x", "offset", "weight") if backward else ("x", "offset", "weight", "bias")
    return tuple(operands[name] for name in first)


def reference_forward(data: Data) -> np.ndarray:
    """The float64 forward pass of `data`."""
    problem, operands = data.problem, data.laid_out("NCHW")
    operator = getattr(convkit.reference, problem.forward)
    options = problem.arguments | {"mask": data.mask, "activation": problem.activation}
    return operator(*_positional(data, operands, False), **options)


def solve(data: Data) -> Case:
    """Answers and bounds of `data` by the reference."""
    problem, reference, operands = data.problem, convkit.reference, data.laid_out("NCHW")
    options = problem.arguments | {"mask": data.mask, "activation": problem.activation}
    y_bound = reference.bound(problem.forward, *_positional(data, operands, False), **options)
    call = _positional(data, operands, True)
    grads = getattr(reference, problem.backward)(*call, y=data.y, **options)._asdict()
    bounds = reference.bound(problem.backward, *call, y=data.y, **options)._asdict()
    return Case(data, {"y": reference_forward(data)} | grads, {"y": y_bound} | bounds)


@lru_cache(maxsize=8)
def random_case(problem: Deform, dtype: str) -> Case:
    """The solved case of a problem; kept for the tests that follow in other places."""
    return solve(random_data(problem, dtype))


def forward(data: Data, layout: str = "NCHW", **options) -> np.ndarray:
    """convkit's forward pass of `data`, computed in `layout`, returned in NCHW order."""
    problem, operands = data.problem, data.laid_out(layout)
    options = problem.arguments | {"mask": operands["mask"], "activation": problem.activation} | options
    call = _positional(data, operands, False)
    return restore(getattr(convkit, problem.forward)(*call, layout=layout, **options), layout)


def backward(data: Data, layout: str = "NCHW", **options) -> dict:
    """convkit's gradients of `data` by name, computed in `layout`, returned in NCHW order; without what is None."""
    problem, operands = data.problem, data.laid_out(layout)
    options = problem.arguments | {"mask": operands["mask"], "activation": problem.activation} | options
    call = _positional(data, operands, True)
    grads = getattr(convkit, problem.backward)(*call, y=operands["y"], layout=layout, **options)._asdict()
    return {n: restore(g, layout) if n in IMAGES else g for n, g in grads.items() if g is not None}


def everything(data: Data, layout: str = "NCHW", **options) -> dict:
    """The forward pass as "y" and every gradient."""
    return {"y": forward(data, layout, **options)} | backward(data, layout, **options)


def assert_bounds(problem: Deform, places) -> None:
    """Fail unless the problem keeps its bounds in all places and in both layouts."""
    for dtype, isas in by_dtype(places):
        case = random_case(problem, dtype)
        for isa in isas:
            convkit.set_isa(isa)
            for layout in LAYOUTS:
                assert_case(case, layout)


def assert_case(case: Case, layout: str = "NCHW") -> None:
    """Fail unless the forward pass and every gradient keep their bounds."""
    got = everything(case.data, layout)
    assert got.keys() == {name for name, array in case.expected.items() if array is not None}
    for name, array in got.items():
        what = f"{name} of {case.data.problem}, {case.data.x.dtype}, {layout}, on {convkit.isa()}"
        assert array.dtype == case.data.x.dtype, f"{what}: dtype {array.dtype}"
        assert_within_bound(array, case.expected[name], case.bound[name], what)
