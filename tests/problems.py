"""The one list of named shapes that tests and benchmarks share.

`NETWORK` are the published convolutions at full size; `NAMED` is what the tests run: the same
layers with fewer and smaller images, so that a float64 reference stays quick (channels, kernels and strides are never
reduced), and the awkward shapes below. Every bug that is ever fixed adds a line here.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from convkit.benchmarks.layers import LAYERS, OTHERS, Layer

REDUCED_FLOPS = 24e6  # a network layer is reduced until its forward pass costs no more than this


def _named_pad(padding: str, size: int, taps: int, step: int, gap: int) -> tuple[int, int]:
    """(lo, hi) of a padding given by name, on one axis."""
    span = gap * (taps - 1) + 1
    total = max((-(-size // step) - 1) * step + span - size, 0)
    less, more = total // 2, total - total // 2
    pads = {"valid": (0, 0), "full": (span - 1, span - 1), "same": (less, more), "same_upper": (less, more)}
    return (pads | {"same_lower": (more, less)})[padding]


@dataclass(frozen=True)
class Problem:
    """One convolution: sizes as `convkit.conv1d/2d/3d` take them. `c_in` and `c_out` are totals, not per group."""

    name: str
    n: int
    c_in: int
    spatial: tuple[int, ...]
    c_out: int
    kernel: tuple[int, ...]
    stride: int | tuple[int, ...] = 1
    padding: int | str | tuple = 0
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    padding_mode: str = "zeros"
    bias: bool = True
    activation: str | tuple | None = None

    @property
    def nd(self) -> int:
        """Number of spatial dimensions."""
        return len(self.kernel)

    @property
    def forward(self) -> str:
        """Name of the operator in `convkit` and in `convkit.reference`."""
        return f"conv{self.nd}d"

    @property
    def backward(self) -> str:
        """Name of its gradient."""
        return f"conv{self.nd}d_backward"

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of the input, (N, C_in, *spatial)."""
        return (self.n, self.c_in, *self.spatial)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight, (C_out, C_in / groups, *kernel)."""
        return (self.c_out, self.c_in // self.groups, *self.kernel)

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """(lo, hi) of every axis, whatever form `padding` has."""
        if not isinstance(self.padding, str):
            return tuple(pad if isinstance(pad, tuple) else (pad, pad) for pad in self._axes(self.padding))
        axes = zip(self.spatial, self.kernel, self._axes(self.stride), self._axes(self.dilation), strict=True)
        return tuple(_named_pad(self.padding, *axis) for axis in axes)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """Shape of the output, (N, C_out, *out)."""
        steps, gaps = self._axes(self.stride), self._axes(self.dilation)
        axes = zip(self.spatial, self.kernel, steps, gaps, self.pads, strict=True)
        return (self.n, self.c_out, *((n + sum(pad) - gap * (k - 1) - 1) // step + 1 for n, k, step, gap, pad in axes))

    def _axes(self, size) -> tuple[int, ...]:
        return tuple(size) if isinstance(size, (tuple, list)) else (size,) * self.nd

    @property
    def flops(self) -> int:
        """Of the forward pass, taps on padding included."""
        return 2 * math.prod(self.y_shape) * (self.c_in // max(self.groups, 1)) * math.prod(self.kernel)

    @property
    def arguments(self) -> dict:
        """Keyword arguments shared by the operator and its gradient; layout and activation are left to the caller."""
        names = ("stride", "padding", "dilation", "groups", "padding_mode")
        return {name: getattr(self, name) for name in names}

    @property
    def depthwise(self) -> bool:
        """One input channel per group: what the direct kernels are made for."""
        return self.c_in == self.groups > 0

    @property
    def three_by_three(self) -> bool:
        """3x3 taps last, no stride: "auto" may then be Winograd's algorithm, which rounds in its own way."""
        return self.kernel[-2:] == (3, 3) and set(self._axes(self.stride)) == {1}

    def but(self, **changes) -> Problem:
        """The same problem with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class Transposed(Problem):
    """One transposed convolution: sizes as `convkit.conv_transpose1d/2d/3d` take them."""

    output_padding: int | tuple[int, ...] = 0
    output_size: int | tuple[int, ...] | None = None

    @property
    def forward(self) -> str:
        """Name of the operator in `convkit` and in `convkit.reference`."""
        return f"conv_transpose{self.nd}d"

    @property
    def backward(self) -> str:
        """Name of its gradient."""
        return f"conv_transpose{self.nd}d_backward"

    @property
    def flops(self) -> int:
        """Of the forward pass, what is cropped included."""
        return 2 * math.prod(self.x_shape) * (self.c_out // max(self.groups, 1)) * math.prod(self.kernel)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight, (C_in, C_out / groups, *kernel)."""
        return (self.c_in, self.c_out // self.groups, *self.kernel)

    @property
    def reach(self) -> tuple[int, ...]:
        """Spatial size of the output before anything is cropped or added."""
        axes = zip(self.spatial, self.kernel, self._axes(self.stride), self._axes(self.dilation), strict=True)
        return tuple((size - 1) * step + gap * (taps - 1) + 1 for size, taps, step, gap in axes)

    @property
    def whole(self) -> tuple[int, ...]:
        """Spatial size of the output under padding "same": in * stride."""
        return tuple(size * step for size, step in zip(self.spatial, self._axes(self.stride), strict=True))

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """(lo, hi) cropped from every axis, whatever form `padding` has."""
        if not isinstance(self.padding, str):
            return super().pads
        if self.padding == "valid":
            return ((0, 0),) * self.nd
        surplus = (max(size - whole, 0) for size, whole in zip(self.reach, self.whole, strict=True))
        pairs = ((count // 2, count - count // 2) for count in surplus)
        return tuple(pair[::-1] if self.padding == "same_lower" else pair for pair in pairs)

    @property
    def out(self) -> tuple[int, ...]:
        """Spatial size of the output."""
        if self.output_size is not None:
            return self._axes(self.output_size)
        if isinstance(self.padding, str) and self.padding != "valid":
            return self.whole
        axes = zip(self.reach, self.pads, self._axes(self.output_padding), strict=True)
        return tuple(size - sum(pad) + added for size, pad, added in axes)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """Shape of the output, (N, C_out, *out)."""
        return (self.n, self.c_out, *self.out)

    @property
    def arguments(self) -> dict:
        """Keyword arguments shared by the operator and its gradient; layout and activation are left to the caller."""
        names = ("stride", "padding", "output_padding", "groups", "dilation", "output_size")
        return {name: getattr(self, name) for name in names}


def of_layer(layer: Layer) -> Problem:
    """The problem of a layer's convolution."""
    fields = {field.name for field in dataclasses.fields(Problem)}
    kind = {"conv": Problem, "convT": Transposed}[layer.kind]
    return kind(**{name: value for name, value in dataclasses.asdict(layer).items() if name in fields})


def reduced(layer: Layer) -> Layer:
    """The layer with a batch of at most 2 and its image cut by thirds until it is cheap or as small as its kernel."""
    layer = dataclasses.replace(layer, n=min(layer.n, 2))
    while layer.flops > REDUCED_FLOPS:
        smaller = tuple(size - size // 3 for size in layer.spatial)
        spans = (layer.dilation * (taps - 1) + 1 for taps in layer.kernel)
        if layer.n > 1:
            layer = dataclasses.replace(layer, n=1)
        elif all(size >= max(7, (span + 1) // 2) for size, span in zip(smaller, spans, strict=True)):
            layer = dataclasses.replace(layer, spatial=smaller)
        else:
            break
    return layer


NETWORK = tuple(layer for layer in LAYERS if layer.kind == "conv")
NETWORK_TRANSPOSED = tuple(layer for layer in LAYERS + OTHERS if layer.kind == "convT")

# fmt: off
AWKWARD = (
    # name                        n  c_in spatial   c_out kernel  stride padding dilation groups
    Problem("single_pixel",       1,   1, (1, 1),       1, (1, 1)),
    Problem("single_pixel_3x3",   2,   5, (1, 1),       7, (3, 3), 1, 1),
    Problem("one_row",            1,   3, (1, 37),      4, (1, 3), 1, (0, 1)),
    Problem("one_column",         1,   3, (37, 1),      4, (3, 1), 1, (1, 0)),
    Problem("odd_sizes",          3,   7, (13, 17),    11, (3, 5), 1, (1, 2)),
    Problem("primes",             2,  13, (29, 31),    37, (5, 7), (2, 3), (2, 3)),
    Problem("even_kernel",        2,   6, (9, 10),      8, (2, 4), 1, "same"),
    Problem("even_kernel_lower",  2,   6, (9, 10),      8, (2, 4), 2, "same_lower"),
    Problem("same_upper_s3",      1,   5, (17, 20),     6, (4, 3), 3, "same_upper", 2),
    Problem("full",               2,   4, (6, 7),       5, (3, 4), 1, "full", (2, 1)),
    Problem("valid",              2,   4, (6, 7),       5, (3, 4), 1, "valid"),
    Problem("no_bias",            2,   9, (12, 11),    10, (3, 3), 1, 1, bias=False),
    Problem("stride_over_kernel", 2,   5, (23, 22),     6, (2, 2), (5, 4), (1, 0)),
    Problem("stride_over_image",  1,   4, (5, 6),       3, (3, 3), 9, 1),
    Problem("far_stride",         2,   6, (90, 95),     5, (3, 2), (40, 31), (1, 2)),
    Problem("far_stride_pairs",   1,   5, (70, 64),     6, (5, 3), (30, 28), (4, 3), (10, 14)),
    Problem("patches_6x6",        2,  17, (24, 19),    20, (6, 6), 6),
    Problem("patches_30x30",      1,   3, (61, 60),     5, (30, 30), 30),
    Problem("stride_leaves_tail", 1,   4, (10, 10),     5, (3, 3), 4),
    Problem("1x1",                2,  20, (9, 9),      24, (1, 1)),
    Problem("1x1_s2",             2,  20, (9, 10),     24, (1, 1), 2),
    Problem("1x1_s2_wide",        2,   5, (6, 70),      9, (1, 1), 2),
    Problem("1x1_two_k_blocks",   1, 700, (7, 7),      26, (1, 1)),
    Problem("1x1_padded",         1,   6, (5, 5),       7, (1, 1), 1, 2),
    Problem("1x1_padded_s3",      1,   6, (5, 7),       7, (1, 1), 3, 1),
    Problem("kernel_is_image",    2,   8, (7, 7),      12, (7, 7)),
    Problem("kernel_over_image",  1,   3, (3, 4),       5, (7, 7), 1, 3),
    Problem("dilation_past",      1,   4, (5, 6),       6, (3, 3), 1, 8, 8),
    Problem("dilated",            2,   6, (19, 18),     7, (3, 3), 1, (3, 2), (3, 2)),
    Problem("dilated_strided",    1,   6, (21, 20),     7, (3, 2), (2, 3), (4, 3), (4, 3)),
    Problem("asymmetric",         2,   5, (8, 9),       6, (3, 3), 1, ((1, 2), (3, 0))),
    Problem("asymmetric_s2",      2,   5, (8, 9),       6, (3, 3), 2, ((0, 1), (2, 1))),
    Problem("right_padding",      1,   4, (6, 6),       4, (3, 3), 1, ((0, 9), (0, 7))),
    Problem("padding_only",       1,   4, (2, 2),       4, (3, 3), 3, 7),
    Problem("tails_19_13",        2,  19, (9, 11),     13, (3, 3), 1, 1),
    Problem("tails_23_29",        1,  23, (10, 7),     29, (3, 3), 1, 1),
    Problem("tails_29_65",        1,  29, (8, 9),      65, (3, 3), 2, 1),
    Problem("tails_65_153",       1,  65, (7, 7),     153, (3, 3), 1, 1),
    Problem("tails_153_207",      1, 153, (5, 6),     207, (1, 1)),
    Problem("tails_207_33",       1, 207, (6, 5),      33, (2, 2)),
    Problem("over_k_block",       2, 130, (6, 9),      17, (3, 3), 1, 1),
    Problem("many_k_blocks",      1, 700, (4, 5),       9, (3, 3), 1, 1),
    Problem("long_1x1",           1, 1500, (5, 5),     18, (1, 1)),
    Problem("2352_taps",          1,   2, (52, 50),     3, (49, 48), 1, 4),
    Problem("961_taps",           1,   3, (33, 32),     4, (31, 31), 1, 15),
    Problem("long_kernel_row",    1,   3, (4, 2400),    2, (1, 2350)),
    Problem("one_output",         2,  33, (11, 12),     1, (3, 3), 1, 1),
    Problem("two_outputs",        1,  40, (21, 20),     2, (3, 3), 1, 1),
    Problem("one_input",          2,   1, (21, 20),    40, (5, 5), 1, 2),
    Problem("wide_row",           1,   3, (2, 1025),    4, (2, 5), 1, (0, 2)),
    Problem("many_pixel_blocks",  1,   4, (67, 71),     5, (3, 3), 1, 1),
    Problem("small_images",      17,   5, (3, 3),       6, (3, 3), 1, 1),
    Problem("small_images_s2",   33,   3, (4, 4),      18, (2, 2), 2),
    Problem("grouped",            2,  12, (9, 8),      18, (3, 3), 1, 1, 1, 3),
    Problem("grouped_odd",        2,  15, (9, 8),      21, (3, 3), 2, 1, 1, 3),
    Problem("grouped_narrow",     1,  64, (10, 10),    64, (3, 3), 1, 1, 1, 16),
    Problem("grouped_1x1",        2,  24, (6, 7),      36, (1, 1), 1, 0, 1, 4),
    Problem("grouped_wide",       1,  70, (6, 6),      66, (3, 3), 1, 1, 2, 2),
    Problem("depthwise",          2,  13, (11, 10),    13, (3, 3), 1, 1, 1, 13),
    Problem("depthwise_s2",       2,  17, (12, 11),    17, (3, 3), 2, 1, 1, 17),
    Problem("depthwise_5x5_d2",   1,  18, (13, 14),    18, (5, 5), 1, 4, 2, 18),
    Problem("depthwise_x3",       2,   7, (9, 8),      21, (3, 3), 1, 1, 1, 7),
    Problem("depthwise_1x1",      2,  19, (5, 6),      19, (1, 1), 1, 0, 1, 19),
    Problem("depthwise_31",       1,   3, (28, 29),     3, (31, 31), 1, 15, 1, 3),
    Problem("depthwise_2352",     1,   3, (48, 49),     3, (49, 48), 1, 24, 1, 3),
    Problem("depthwise_far",      1,  17, (40, 43),    17, (3, 3), (19, 20), 1, 1, 17),
    Problem("depthwise_wide",     1,   2, (3, 600),     2, (3, 3), 1, 1, 1, 2),
    Problem("depthwise_asym",     1,   9, (7, 8),       9, (4, 3), (3, 2), ((0, 3), (2, 1)), 1, 9),
    Problem("one_channel",        2,   1, (14, 15),     1, (3, 3), 1, 1),
    Problem("1d",                 2,   5, (31,),        7, (3,), 1, 1),
    Problem("1d_one_sample",      1,   1, (1,),         1, (1,)),
    Problem("1d_long",            1,   2, (20011,),     3, (9,), 1, 4),
    Problem("1d_long_kernel",     1,   2, (2500,),      2, (2400,), 3, 17),
    Problem("1d_s4_d3",           3,   6, (101,),       8, (5,), 4, ((3, 6),), 3),
    Problem("1d_depthwise",       2,  20, (97,),       20, (31,), 1, 15, 1, 20),
    Problem("1d_grouped",         2,  12, (40,),        8, (4,), 2, "same", 1, 4),
    Problem("3d",                 1,   4, (5, 6, 7),    6, (3, 3, 3), 1, 1),
    Problem("3d_mixed",           2,   3, (7, 9, 8),    5, (2, 3, 4), (2, 1, 3), ((0, 1), (2, 0), (1, 2)), (1, 2, 1)),
    Problem("3d_1x1x1",           1,  18, (3, 4, 5),   20, (1, 1, 1)),
    Problem("3d_depthwise",       1,   6, (6, 5, 7),    6, (3, 3, 3), 1, 1, 1, 6),
    Problem("3d_grouped_s2",      1,   6, (7, 7, 7),    9, (3, 3, 3), 2, 1, 1, 3),
    Problem("3d_k7",              1,   2, (8, 9, 8),    2, (7, 7, 7), 1, 3),
    Problem("reflect",            2,   5, (8, 9),       6, (3, 3), 1, ((1, 2), (3, 0)), padding_mode="reflect"),
    Problem("reflect_max",        1,   3, (5, 4),       4, (3, 2), 2, ((4, 4), (3, 3)), padding_mode="reflect"),
    Problem("reflect_k9",         1,   6, (16, 15),     5, (9, 9), 1, 4, padding_mode="reflect"),
    Problem("replicate",          2,   5, (8, 9),       6, (3, 3), 2, ((1, 2), (3, 0)), padding_mode="replicate"),
    Problem("replicate_far",      1,   3, (2, 1),       4, (3, 3), 1, 6, 2, padding_mode="replicate"),
    Problem("circular",           2,   5, (8, 9),       6, (3, 3), 1, ((1, 2), (3, 0)), padding_mode="circular"),
    Problem("circular_max",       1,   3, (5, 4),       4, (3, 2), (3, 1), ((5, 5), (4, 4)), padding_mode="circular"),
    Problem("circular_far",       1,   4, (30, 31),     5, (3, 3), (17, 13), (8, 9), padding_mode="circular"),
    Problem("circular_depthwise", 1,  11, (7, 8),      11, (3, 3), 1, 1, 1, 11, padding_mode="circular"),
    Problem("reflect_depthwise",  1,  11, (7, 8),      11, (5, 5), 2, 2, 1, 11, padding_mode="reflect"),
    Problem("replicate_grouped",  2,  10, (7, 6),      15, (3, 3), 1, 2, 2, 5, padding_mode="replicate"),
    Problem("reflect_1d",         2,   4, (19,),        5, (5,), 2, ((2, 7),), padding_mode="reflect"),
    Problem("circular_3d",        1,   3, (4, 5, 6),    4, (3, 3, 3), 1, 1, padding_mode="circular"),
    Problem("reflect_1x1",        1,  10, (6, 6),      12, (1, 1), 2, 3, padding_mode="reflect"),
    # Large enough to be shared out among threads and cut into several blocks, each in a way of its own.
    Problem("blocks_phases",      2,  24, (61, 67),    40, (5, 6), (3, 7), 2),
    Problem("blocks_few_outputs", 1,  48, (96, 100),    5, (3, 3), 1, 1),
    Problem("blocks_asymmetric",  2,  33, (45, 47),    50, (4, 3), (2, 1), ((0, 3), (2, 1)), 2),
    Problem("blocks_grouped_s2",  3,  66, (30, 31),    90, (3, 3), 2, 1, 1, 3),
    Problem("blocks_narrow",      2,  96, (37, 41),    96, (3, 3), 1, 2, 2, 24),
    Problem("blocks_multiplier",  2,  24, (57, 59),    48, (5, 5), 2, 2, 1, 24),
    Problem("blocks_1d",          2,  40, (3001,),     33, (7,), 2, 3),
    Problem("blocks_reflect_s2",  2,  16, (45, 47),    24, (5, 5), 2, 4, padding_mode="reflect"),
    Problem("blocks_circular_3d", 2,   8, (9, 14, 15), 12, (3, 3, 3), 1, 2, padding_mode="circular"),
    Problem("blocks_replicate_dw", 2, 40, (40, 41),    40, (7, 7), 1, 3, 1, 40, padding_mode="replicate"),
    Problem("blocks_much_padding", 4, 40, (14, 14),    34, (5, 5)),
    Problem("blocks_no_taps",   128,   5, (1, 5),       1, (3, 7), (2, 1), ((5, 8), (6, 1)), (4, 1),
            padding_mode="replicate"),
    Problem("blocks_few_groups",  2,   6, (53, 53),    10, (5, 5), 3, 2, 1, 2),
)

EMPTY = (
    Problem("no_images",          0,   4, (6, 7),       5, (3, 3), 1, 1),
    Problem("no_images_1x1",      0,   4, (6, 7),       5, (1, 1)),
    Problem("no_images_reflect",  0,   4, (6, 7),       5, (3, 3), 1, 1, padding_mode="reflect"),
    Problem("no_images_depthwise", 0,  4, (6, 7),       4, (3, 3), 1, 1, 1, 4),
    Problem("no_inputs",          2,   0, (6, 7),       5, (3, 3), 1, 1),
    Problem("no_inputs_no_bias",  2,   0, (6, 7),       5, (3, 3), 1, 1, bias=False),
    Problem("no_inputs_grouped",  2,   0, (6, 7),       6, (3, 3), 2, 1, 1, 2),
    Problem("no_outputs",         2,   4, (6, 7),       0, (3, 3), 1, 1),
    Problem("no_outputs_3d",      1,   4, (3, 4, 5),    0, (2, 2, 2)),
    Problem("nothing",            0,   0, (6,),         0, (3,)),
)

# A channel by itself: output rows that share what they read, as they are, dilated, strided or backwards, or that don't.
PLANES = (
    # name                        n  c_in spatial   c_out kernel  stride padding dilation groups
    Problem("planes_3x3",         2,   5, (15, 19),     5, (3, 3), 1, 1, 1, 5, activation="relu"),
    Problem("planes_3x3_apart",   1,   3, (13, 41),     3, (3, 3), 1, (3, 2), (3, 2), 3),
    Problem("planes_3x3_far",     1,   2, (19, 33),     2, (3, 3), 1, 12, 12, 2),
    Problem("planes_3x3_short",   2,   5, (9, 9),      10, (3, 3), 1, (1, 0), 1, 5, activation=("leaky_relu", 0.1)),
    Problem("planes_3x3_second",  2,   3, (17, 38),     6, (3, 3), 2, (2, 1), 1, 3, bias=False),
    Problem("planes_3x3_thick",   1,   3, (4, 9, 34),   3, (1, 3, 3), 2, (0, 0, 1), 1, 3),
    Problem("planes_3x3_blocks",  1,   1, (260, 75),    1, (3, 3), 1, (2, 0), 1, 1),
    Problem("planes_dilated",     1,   4, (17, 21),     4, (4, 3), 1, (2, 3), (3, 2), 4, activation=("elu", 0.5)),
    Problem("planes_strided",     1,   9, (23, 38),     9, (5, 6), (2, 3), 2, (2, 1), 9),
    Problem("planes_s4_d3",       1,   3, (31, 53),     3, (2, 5), 4, 3, 3, 3),
    Problem("planes_s6_d4",       2,   3, (25, 41),     3, (3, 5), 6, 4, 4, 3, padding_mode="circular"),
    Problem("planes_narrow",      2,  10, (20, 5),     10, (7, 3), 1, (3, 1), 1, 10),
    Problem("planes_31x31",       1,   3, (28, 30),     3, (31, 31), 1, 15, 1, 3),
    Problem("planes_3d",          1,   3, (6, 9, 21),   3, (3, 3, 3), (1, 2, 1), 1, (2, 1, 1), 3),
    Problem("planes_rows",        3,   6, (95,),        6, (9,), 2, 4, 1, 6, activation="sigmoid"),
    Problem("planes_long",        2,   3, (203,),       3, (31,), 1, 15, 1, 3),
    Problem("planes_longer",      1,   2, (150,),       2, (49,), 1, 24, 1, 2, activation="relu"),
    Problem("planes_long_rows",   1,   3, (3, 57),      3, (1, 13), 1, (0, 9), 1, 3),
    Problem("planes_six",         1,   2, (41,),        2, (6,), 1, 2, 1, 2),
    Problem("planes_in_place",    1,   8, (7, 35),      8, (1, 1), 1, 0, 1, 8),
    Problem("planes_reflect",     1,   4, (9, 33),      4, (3, 5), 1, 2, 1, 4, padding_mode="reflect"),
    Problem("planes_doubled",     2,   3, (12, 13),     6, (3, 3), 2, 1, 1, 3),
    Problem("planes_one_output",  1,  70, (15, 17),     1, (3, 5), 1, 1),
)

AWKWARD_TRANSPOSED = (
    # name                           n  c_in spatial    c_out kernel  stride padding dilation groups
    Transposed("t_single_pixel",     1,   1, (1, 1),       1, (1, 1)),
    Transposed("t_one_pixel_3x3",    2,   5, (1, 1),       7, (3, 3), 2, 1),
    Transposed("t_one_row",          1,   3, (1, 37),      4, (1, 3), (1, 2), (0, 1)),
    Transposed("t_stride_1",         2,   6, (9, 8),      11, (3, 5), 1, (1, 2)),
    Transposed("t_primes",           2,  13, (11, 13),    37, (5, 7), (2, 3), (2, 3)),
    Transposed("t_no_bias",          2,   9, (7, 6),      10, (3, 3), 2, 1, bias=False),
    Transposed("t_1x1",              2,  20, (9, 9),      24, (1, 1)),
    Transposed("t_1x1_s2",           2,  20, (6, 5),      24, (1, 1), 2, 0, output_padding=1),
    Transposed("t_1x1_cropped",      1,   6, (7, 8),       7, (1, 1), 3, (4, 2), output_padding=(2, 1)),
    Transposed("t_kernel_is_stride", 2,  17, (7, 6),      13, (3, 2), (3, 2)),
    Transposed("t_under_stride",     2,   5, (5, 4),       6, (2, 3), (5, 4), (1, 0)),
    Transposed("t_under_stride_out", 2,   5, (5, 4),       6, (2, 3), (5, 4), (1, 0), output_padding=(4, 3)),
    Transposed("t_far_stride",       1,   4, (3, 2),       3, (3, 3), 19, 1),
    Transposed("t_far_pairs",        2,   5, (3, 4),       6, (5, 3), (15, 14), (4, 3), (5, 7), output_padding=7),
    Transposed("t_far_grouped",      1,  32, (2, 3),      64, (3, 3), 23, 2, 5, 16),
    Transposed("t_patches",          1,  70, (3, 2),      18, (9, 7), (9, 7)),
    Transposed("t_out_over_crop",    2,   4, (5, 6),       6, (3, 3), 4, 1, output_padding=3),
    Transposed("t_out_is_crop",      2,   4, (5, 6),       6, (4, 4), 2, ((0, 1), (3, 1)), output_padding=1),
    Transposed("t_out_over_stride",  2,   4, (5, 6),       6, (3, 2), (2, 1), 1, (5, 4), output_padding=(4, 3)),
    Transposed("t_past_the_reach",   1,   3, (2, 3),       4, (2, 2), 4, ((5, 1), (0, 0)), output_padding=3),
    Transposed("t_bias_alone",       1,   3, (1, 1),       4, (2, 1), 6, ((2, 0), (1, 0)), output_padding=5),
    Transposed("t_cropped_to_one",   2,   4, (4, 3),       5, (3, 3), 2, ((5, 3), (0, 6))),
    Transposed("t_cropped_outside",  1,   4, (6, 6),       5, (3, 3), 1, ((5, 0), (0, 5))),
    Transposed("t_asymmetric",       2,   5, (8, 7),       6, (4, 3), 2, ((0, 3), (2, 1))),
    Transposed("t_dilated",          2,   6, (7, 8),       7, (3, 3), 1, (3, 2), (3, 2)),
    Transposed("t_dilated_strided",  1,   6, (6, 5),       7, (3, 2), (2, 3), (4, 3), (4, 3)),
    Transposed("t_dilation_past",    1,   4, (3, 4),       6, (3, 3), 2, 3, 9),
    Transposed("t_same",             2,   6, (5, 6),       8, (4, 5), 2, "same"),
    Transposed("t_same_lower",       2,   6, (5, 6),       8, (4, 5), (3, 2), "same_lower"),
    Transposed("t_same_deficit",     2,   6, (5, 6),       8, (2, 1), (3, 4), "same_lower"),
    Transposed("t_same_dilated",     1,   5, (5, 6),       6, (4, 3), 3, "same_upper", 2),
    Transposed("t_output_size",      1,   3, (5, 6),       4, (3, 3), (3, 2), 1, output_size=(15, 11)),
    Transposed("t_tails_19_13",      2,  19, (6, 7),      13, (3, 3), 2, 1),
    Transposed("t_tails_23_29",      1,  23, (7, 5),      29, (4, 4), 2, 1),
    Transposed("t_tails_65_153",     1,  65, (5, 5),     153, (3, 3), 2, 1, output_padding=1),
    Transposed("t_tails_207_33",     1, 207, (6, 5),      33, (2, 2), 2),
    Transposed("t_over_k_block",     2, 130, (5, 6),      17, (3, 3), 1, 1),
    Transposed("t_many_k_blocks",    1, 700, (4, 5),       9, (4, 4), 2, 1),
    Transposed("t_long_1x1",         1, 1500, (3, 4),     18, (1, 1), 2),
    Transposed("t_2352_taps",        1,   2, (9, 8),       3, (49, 48), 3, 4),
    Transposed("t_long_kernel_row",  1,   3, (4, 60),      2, (1, 2350), 2, (0, 31)),
    Transposed("t_one_output",       2,  33, (7, 6),       1, (3, 3), 2, 1),
    Transposed("t_two_outputs",      1,  40, (11, 12),     2, (4, 4), 2, 1),
    Transposed("t_one_input",        2,   1, (11, 10),    40, (5, 5), 2, 2, output_padding=1),
    Transposed("t_wide_row",         1,   3, (2, 515),     4, (2, 5), 2, (0, 2)),
    Transposed("t_small_images",    17,   5, (3, 3),       6, (3, 3), 2, 1),
    Transposed("t_grouped",          2,  12, (6, 5),      18, (3, 3), 2, 1, 1, 3),
    Transposed("t_grouped_odd",      2,  15, (6, 5),      21, (4, 3), (2, 3), 1, 1, 3),
    Transposed("t_grouped_narrow",   1,  64, (6, 6),      64, (3, 3), 2, 1, 1, 16),
    Transposed("t_grouped_wide",     1,  70, (5, 5),      66, (3, 3), 2, 1, 2, 2),
    Transposed("t_depthwise",        2,  13, (7, 6),      13, (3, 3), 2, 1, 1, 13, output_padding=1),
    Transposed("t_depthwise_s1",     2,  19, (9, 8),      19, (5, 5), 1, 4, 2, 19),
    Transposed("t_depthwise_x3",     2,   7, (6, 5),      21, (4, 4), 2, 1, 1, 7),
    Transposed("t_depthwise_x9",     1,   5, (6, 5),      45, (3, 3), 2, 1, 1, 5),
    Transposed("t_gathered",         2,  21, (6, 5),       7, (4, 4), 2, 1, 1, 7),
    Transposed("t_bilinear",         1,  21, (12, 13),    21, (4, 4), 2, 1, 1, 21),
    Transposed("t_1d",               2,   5, (31,),        7, (4,), 2, 1),
    Transposed("t_1d_one_sample",    1,   1, (1,),         1, (1,)),
    Transposed("t_1d_long",          1,   2, (5003,),      3, (9,), 4, 4),
    Transposed("t_1d_s4_d3",         3,   6, (25,),        8, (5,), 4, ((3, 6),), 3, output_padding=3),
    Transposed("t_1d_depthwise",     2,  20, (33,),       20, (31,), 3, 14, 1, 20),
    Transposed("t_3d",               1,   4, (3, 4, 5),    6, (3, 3, 3), 2, 1, output_padding=1),
    Transposed("t_3d_mixed",        2, 3, (4, 5, 3), 5, (2, 3, 4), (2, 1, 3), ((0, 1), (2, 0), (1, 2)), (1, 2, 1)),
    Transposed("t_3d_depthwise",     1,   6, (3, 4, 5),    6, (3, 3, 3), 2, 1, 1, 6),
    Transposed("t_blocks_phases",    2,  40, (21, 19),    24, (5, 6), (3, 7), 2, output_padding=(2, 6)),
    Transposed("t_blocks_two_out",   1,  48, (48, 50),     2, (4, 4), 2, 1),
    Transposed("t_blocks_narrow",    2,  96, (19, 21),    96, (3, 3), 2, 2, 2, 24),
    Transposed("t_blocks_1d",        2,  33, (1501,),     40, (7,), 2, ((0, 5),)),
)

EMPTY_TRANSPOSED = (
    Transposed("t_no_images",        0,   4, (6, 7),       5, (3, 3), 2, 1),
    Transposed("t_no_inputs",        2,   0, (6, 7),       5, (3, 3), 2, 1),
    Transposed("t_no_inputs_bare",   2,   0, (6, 7),       5, (3, 3), 2, 1, bias=False),
    Transposed("t_no_inputs_groups", 2,   0, (6, 7),       6, (3, 3), 1, 1, 1, 2),
    Transposed("t_no_inputs_1x1",    1,   0, (6, 7),      16, (1, 1)),
    Transposed("t_no_outputs",       2,   4, (6, 7),       0, (3, 3), 2, 1),
    Transposed("t_no_outputs_3d",    1,   4, (3, 4, 5),    0, (2, 2, 2), 2),
    Transposed("t_nothing",          0,   0, (6,),         0, (3,)),
)
# fmt: on

NAMED = tuple(of_layer(reduced(layer)) for layer in NETWORK) + AWKWARD
NAMED_TRANSPOSED = tuple(of_layer(reduced(layer)) for layer in NETWORK_TRANSPOSED) + AWKWARD_TRANSPOSED


def named(*names: str) -> tuple[Problem, ...]:
    """The problems of these names, in this order."""
    by_name = {problem.name: problem for problem in NAMED + EMPTY + NAMED_TRANSPOSED + EMPTY_TRANSPOSED}
    return tuple(by_name[name] for name in names)


SMALL_TRANSPOSED = named(
    "t_kernel_is_stride", "t_under_stride_out", "t_asymmetric", "t_out_over_stride", "t_grouped_odd", "t_depthwise_x3",
    "t_1d_s4_d3", "t_3d_mixed", "t_same_deficit", "t_past_the_reach",
)  # fmt: skip
MODES = ("zeros", "reflect", "replicate", "circular")
RANDOM_BUDGET = 60_000  # multiply-adds of a random problem's forward pass, so that thousands take a minute


def _random_sizes(rng: np.random.Generator) -> tuple[dict, int]:
    """Geometry of a random problem, and the multiply-adds of one channel pair of one image."""
    nd = int(rng.choice((1, 2, 2, 2, 3)))
    kernel = tuple(int(k) for k in rng.integers(1, 8, nd))
    stride = tuple(int(s) for s in rng.integers(1, 5, nd))
    dilation = tuple(int(d) for d in rng.integers(1, 5, nd))
    mode = MODES[rng.integers(4)]
    spatial, padding = [], []
    for taps, step, gap in zip(kernel, stride, dilation, strict=True):
        span = gap * (taps - 1) + 1
        low, high = (int(p) for p in rng.integers(0, span + 2, 2))
        # Outputs along this axis; a third of the axes have a few, so that most problems stay small.
        outputs = int(rng.integers(1, 4 if nd == 3 or rng.random() < 0.3 else 12))
        size = max(span + (outputs - 1) * step + int(rng.integers(0, step)) - low - high, 1)
        limit = {"reflect": size - 1, "circular": size}.get(mode, low + high)
        if low > limit or high > limit:  # the mode cannot pad that much: give the image the size instead
            size = max(size, span)
            low, high = min(low, size - 1), min(high, size - 1)
        spatial.append(size)
        padding.append((low, high))
    outs = (
        (size + sum(pad) - gap * (taps - 1) - 1) // step + 1
        for size, pad, gap, taps, step in zip(spatial, padding, dilation, kernel, stride, strict=True)
    )
    sizes = {"spatial": tuple(spatial), "kernel": kernel, "stride": stride, "dilation": dilation}
    return sizes | {"padding": tuple(padding), "padding_mode": mode}, math.prod(outs) * math.prod(kernel)


def _random_channels(rng: np.random.Generator, cost: int) -> dict:
    """Batch, channels, groups and bias of a random problem with so many multiply-adds a channel pair."""
    groups = int(rng.choice((1, 1, 1, 2, 3, 4, 5)))
    most = max(1, math.isqrt(max(RANDOM_BUDGET // (cost * groups), 1)))  # channels per group that the budget allows
    c_in, c_out = (int(c) for c in rng.integers(1, min(most, 40) + 1, 2))
    n = int(rng.integers(1, 1 + min(4, max(1, RANDOM_BUDGET // (cost * groups * c_in * c_out)))))
    if rng.random() < 0.15:  # depthwise, with a multiplier of 1 or 2
        groups, c_in, c_out = c_in * groups, 1, int(rng.integers(1, 3))
    bias = bool(rng.random() < 0.8)
    return {"n": n, "c_in": c_in * groups, "c_out": c_out * groups, "groups": groups, "bias": bias}


def random_problem(index: int) -> Problem:
    """Random configuration number `index`, which alone decides everything, so that a failure is replayed by its name.

    Stride 1-4, dilation 1-4, kernel 1-7, asymmetric padding, the four modes, groups, one to three dimensions.
    """
    rng = np.random.default_rng((2, index))
    sizes, cost = _random_sizes(rng)
    return Problem(f"random_{index}", **_random_channels(rng, cost), **sizes)


def random_transposed(index: int) -> Transposed:
    """Random transposed configuration number `index`.

    Stride 1-4, dilation 1-4, kernel 1-7, asymmetric crops of up to the whole reach, every output_padding, given as that
    or through output_size, and "same", groups, one to three dimensions.
    """
    rng = np.random.default_rng((3, index))
    nd = int(rng.choice((1, 2, 2, 2, 3)))
    kernel, stride, dilation = (tuple(int(v) for v in rng.integers(1, most, nd)) for most in (8, 5, 5))
    spatial = tuple(int(rng.integers(1, 4 if nd == 3 or rng.random() < 0.3 else 10)) for _ in range(nd))
    cost = math.prod(spatial) * math.prod(kernel)
    sizes = {"spatial": spatial, "kernel": kernel, "stride": stride, "dilation": dilation}
    problem = Transposed(f"random_transposed_{index}", **_random_channels(rng, cost), **sizes)
    if rng.random() < 0.15:
        return problem.but(padding=str(rng.choice(("same", "same_lower"))))
    added = tuple(int(rng.integers(0, max(pair))) for pair in zip(stride, dilation, strict=True))
    pads = []
    for reach, count in zip(problem.reach, added, strict=True):
        low = int(rng.integers(0, reach + count if rng.random() < 0.2 else min(reach + count, 6)))
        pads.append((low, int(rng.integers(0, min(reach + count - low, 7)))))
    problem = problem.but(padding=tuple(pads), output_padding=added)
    return problem if rng.random() < 0.7 else problem.but(output_padding=0, output_size=problem.out)
