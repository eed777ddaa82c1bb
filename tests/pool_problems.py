"""Named poolings, and random ones; every bug that is ever fixed adds a line here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pool:
    """One pooling: sizes as `convkit.max_pool1d/2d/3d` take them; with `output_size` it is adaptive."""

    name: str
    n: int
    channels: int
    spatial: tuple[int, ...]
    kernel: int | tuple[int, ...] | None = None
    stride: int | tuple[int, ...] | None = None
    padding: int | str | tuple = 0
    dilation: int | tuple[int, ...] = 1
    ceil_mode: bool = False
    output_size: int | tuple | None = None

    @property
    def nd(self) -> int:
        """Number of spatial dimensions."""
        return len(self.spatial)

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of the input, (N, C, *spatial)."""
        return (self.n, self.channels, *self.spatial)

    @property
    def adaptive(self) -> bool:
        """Whether it is an adaptive pooling."""
        return self.kernel is None

    def operator(self, kind: str) -> str:
        """Name of the operator: kind is "max" or "avg"."""
        return f"{'adaptive_' if self.adaptive else ''}{kind}_pool{self.nd}d"

    @property
    def arguments(self) -> dict:
        """Keyword arguments of the forward operators but layout, return_indices and count_include_pad."""
        if self.adaptive:
            return {"output_size": self.output_size}
        names = {"kernel_size": "kernel"} | {n: n for n in ("stride", "padding", "dilation", "ceil_mode")}
        return {name: getattr(self, field) for name, field in names.items()}


# fmt: off
POOLS = (
    #    name                   n  c   spatial       kernel  stride padding dilation ceil
    Pool("pool_resnet_stem",    2, 19, (17, 18),     3, 2, 1),
    Pool("pool_2x2",            2, 16, (12, 14),     2),
    Pool("pool_2x2_odd",        1, 65, (13, 9),      2, 2, 0, 1, True),
    Pool("pool_3x3_s1",         2, 33, (7, 7),       3, 1, 1),
    Pool("pool_wide",           1, 3,  (5, 150),     (3, 5), (2, 1), (1, 2)),
    Pool("pool_wide_s3",        1, 2,  (6, 151),     (2, 4), 3, ((0, 1), (3, 0))),
    Pool("pool_s5",             1, 2,  (7, 203),     3, 5, 1),
    Pool("pool_dilated",        2, 5,  (21, 40),     (3, 2), (2, 3), (2, 1), (2, 3)),
    Pool("pool_dilation_over",  1, 4,  (9, 30),      2, 4, (1, 0), 6),
    Pool("pool_ceil_drops",     1, 4,  (5, 6),       3, 3, 1, 1, True),
    Pool("pool_ceil_wider",     2, 4,  (3, 5),       (6, 7), 4, (0, 1), 1, True),
    Pool("pool_ceil_hangs",     2, 4,  (10, 21),     3, 4, (0, 1), 1, True),
    Pool("pool_asymmetric",     2, 7,  (8, 19),      3, 2, ((0, 2), (2, 1)), 1, True),
    Pool("pool_same",           1, 6,  (9, 23),      (4, 3), 2, "same"),
    Pool("pool_same_lower",     1, 6,  (9, 23),      (4, 3), 2, "same_lower"),
    Pool("pool_stride_over",    1, 9,  (11, 29),     2, 4),
    Pool("pool_gaps",           1, 3,  (9, 60),      (3, 2), 5, ((1, 4), (0, 3)), (2, 3), True),
    Pool("pool_small",          3, 17, (4, 4),       2),
    Pool("pool_small_padded",   2, 19, (9, 3),       (4, 2), (5, 2), ((0, 3), (1, 1)), (2, 1)),
    Pool("pool_whole",          2, 35, (7, 7),       7),
    Pool("pool_nothing_inside", 1, 3,  (1, 2),       2, 1, (1, 2), (2, 4)),
    Pool("pool_large_kernel",   1, 3,  (40, 41),     31, 2, 15),
    Pool("pool_single",         1, 1,  (1, 1),       1),
    Pool("pool_1d",             2, 5,  (64,),        3, 2, 1),
    Pool("pool_1d_long",        1, 1,  (2001,),      5, 3, 2, 2),
    Pool("pool_1d_long_kernel", 1, 2,  (6000,),      3000, 1500, 700),
    Pool("pool_3d",             1, 4,  (6, 7, 18),   2, 2, 0, 1, True),
    Pool("pool_3d_mixed",       2, 18, (5, 6, 7),    (3, 2, 3), (1, 2, 2), (1, 0, 1), (1, 2, 1)),
    Pool("global_7x7",          2, 70, (7, 7),       output_size=1),
    Pool("global_tail",         1, 3,  (9, 17),      output_size=1),
    Pool("global_long_row",     1, 2,  (3, 700),     output_size=1),
    Pool("adaptive_down",       2, 21, (13, 10),     output_size=(5, 3)),
    Pool("adaptive_up",         1, 4,  (3, 4),       output_size=(7, 9)),
    Pool("adaptive_keep",       1, 17, (6, 11),      output_size=(None, 4)),
    Pool("adaptive_1d",         2, 6,  (37,),        output_size=8),
    Pool("adaptive_3d",         1, 5,  (4, 6, 5),    output_size=(2, 4, 3)),
)
# fmt: on


def random_pool(index: int) -> Pool:
    """Random pooling number `index`: kernels 1-5, strides 1-5, dilations 1-3, any padding, ceil_mode, adaptive."""
    rng = np.random.default_rng((5, index))
    nd = int(rng.choice((1, 2, 2, 3)))
    n, channels = int(rng.integers(1, 3)), int(rng.choice((1, 2, 5, 17, 34)))
    if rng.random() < 0.25:
        spatial = tuple(int(size) for size in rng.integers(1, 9 if nd == 3 else 20, nd))
        return Pool(f"random_{index}", n, channels, spatial, output_size=tuple(int(o) for o in rng.integers(1, 9, nd)))
    kernel, stride, dilation = (tuple(int(v) for v in rng.integers(1, top, nd)) for top in (6, 6, 4))
    spatial, padding = [], []
    for taps, step, gap in zip(kernel, stride, dilation, strict=True):
        span = gap * (taps - 1) + 1
        low, high = (int(p) for p in rng.integers(0, span, 2))
        outputs = int(rng.integers(1, 5 if nd == 3 or rng.random() < 0.5 else 24 if nd == 1 else 14))
        spatial.append(max(span + (outputs - 1) * step + int(rng.integers(0, step)) - low - high, 1))
        padding.append((low, high))
    ceil_mode = bool(rng.random() < 0.5)
    return Pool(f"random_{index}", n, channels, tuple(spatial), kernel, stride, tuple(padding), dilation, ceil_mode)
