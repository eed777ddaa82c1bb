"""Named and random problems of interpolate and grid_sample, and the calls that their tests and comparisons make.

Every bug that is ever fixed adds a line here.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

import convkit
from bounds import assert_within_bound
from cases import EVERYWHERE, LAYOUTS, arrange, by_dtype, restore


def _itself(array):
    return array


class _Problem:
    """What both kinds of problem share."""

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of the input, (N, C, *spatial)."""
        return (self.n, self.c, *self.spatial)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """Shape of the output, (N, C, *out)."""
        return (self.n, self.c, *self.out)

    def rng(self) -> np.random.Generator:
        """A generator that depends on nothing but the problem's name."""
        return np.random.default_rng(zlib.crc32(self.name.encode()))

    def but(self, **changes):
        """The same problem with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Resize(_Problem):
    """One interpolation, by size, or by scale with the size that follows."""

    name: str
    n: int
    c: int
    spatial: tuple[int, ...]
    mode: str
    size: tuple[int, ...] | None = None
    scale: float | tuple[float, ...] | None = None
    align_corners: bool = False
    antialias: bool = False

    @property
    def out(self) -> tuple[int, ...]:
        """Spatial size of the output."""
        if self.size is not None:
            return self.size
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,) * len(self.spatial)
        return tuple(int(np.floor(size * scale)) for size, scale in zip(self.spatial, scales, strict=True))

    @property
    def options(self) -> dict:
        """Arguments of the gradient; the forward call has `size` besides."""
        corners, antialias = self.align_corners, self.antialias
        return {"scale_factor": self.scale, "mode": self.mode, "align_corners": corners, "antialias": antialias}

    def operands(self, dtype) -> dict:
        """Normal deviates, in NCHW order."""
        rng = self.rng()
        return {name: rng.standard_normal(s).astype(dtype) for name, s in (("x", self.x_shape), ("grad", self.y_shape))}

    def run(self, module, operands: dict, layout: str = "NCHW", view=_itself, **options) -> dict:
        """Output "y" and gradient "x" by `module`, computed in `layout` of views, returned in NCHW order."""
        x, grad = (view(arrange(operands[name], layout)) for name in ("x", "grad"))
        y = module.interpolate(x, self.size, layout=layout, **self.options, **options)
        dx = module.interpolate_backward(grad, x.shape, layout=layout, **self.options)
        return {"y": restore(y, layout), "x": restore(dx, layout)}

    def bounds(self, operands: dict) -> dict:
        """How far convkit may lie from the reference."""
        bound, x, grad = convkit.reference.resample.bound, operands["x"], operands["grad"]
        y = bound("interpolate", x, self.size, **self.options)
        return {"y": y, "x": bound("interpolate_backward", grad, x.shape, **self.options)}


@dataclass(frozen=True)
class Grid(_Problem):
    """One grid_sample, at places drawn by `spread`: 1 covers the image, more goes beyond it."""

    name: str
    n: int
    c: int
    spatial: tuple[int, ...]
    out: tuple[int, ...]
    mode: str = "bilinear"
    padding_mode: str = "zeros"
    align_corners: bool = False
    spread: float = 1.2

    @property
    def options(self) -> dict:
        """Arguments of every call."""
        return {"mode": self.mode, "padding_mode": self.padding_mode, "align_corners": self.align_corners}

    def operands(self, dtype) -> dict:
        """Normal deviates, and places spread evenly, in NCHW order."""
        rng = self.rng()
        grid = rng.uniform(-self.spread, self.spread, (self.n, *self.out, len(self.spatial))).astype(dtype)
        x, grad = (rng.standard_normal(s).astype(dtype) for s in (self.x_shape, self.y_shape))
        return {"x": x, "grid": grid, "grad": grad}

    def run(self, module, operands: dict, layout: str = "NCHW", view=_itself, **options) -> dict:
        """The same; gradient "grid" besides."""
        x, grad = (view(arrange(operands[name], layout)) for name in ("x", "grad"))
        grid = view(operands["grid"])
        y = module.grid_sample(x, grid, layout=layout, **self.options, **options)
        grads = module.grid_sample_backward(grad, x, grid, layout=layout, **self.options)
        return {"y": restore(y, layout), "x": restore(grads.x, layout), "grid": grads.grid}

    def bounds(self, operands: dict) -> dict:
        """How far convkit may lie from the reference."""
        x, grid, grad = operands["x"], operands["grid"], operands["grad"]
        bound = convkit.reference.resample.bound
        grads = bound("grid_sample_backward", grad, x, grid, **self.options)
        return {"y": bound("grid_sample", x, grid, **self.options), "x": grads.x, "grid": grads.grid}


# fmt: off
RESIZES = (
    #       name                  n   c  spatial       mode             size          scale
    Resize("linear_x2",           2,  5, (17,),        "linear",        None,         2),
    Resize("linear_down",         2,  5, (29,),        "linear",        (11,)),
    Resize("linear_corners",      1,  3, (12,),        "linear",        (31,),        None, True),
    Resize("linear_long",         1,  2, (3001,),      "linear",        (4093,)),
    Resize("linear_long_down",    1,  1, (5003,),      "linear",        (1201,)),
    Resize("linear_from_one",     1,  2, (1,),         "linear",        (37,)),
    Resize("linear_from_two",     1,  2, (2,),         "linear",        (2999,)),
    Resize("linear_to_one",       2,  3, (19,),        "linear",        (1,)),
    Resize("linear_one_corner",   2,  3, (19,),        "linear",        (1,),         None, True),
    Resize("bilinear_x2",         2, 19, (7, 9),       "bilinear",      None,         2),
    Resize("bilinear_wide",       1,  3, (5, 1100),    "bilinear",      (9, 1500)),
    Resize("bilinear_many",       1, 67, (6, 5),       "bilinear",      (9, 11)),
    Resize("bilinear_planes",     1,  2, (70, 75),     "bilinear",      (141, 149)),
    Resize("bilinear_corners",    2,  4, (9, 8),       "bilinear",      (20, 5),      None, True),
    Resize("bilinear_scales",     1,  4, (11, 12),     "bilinear",      None,         (1.7, 0.6)),
    Resize("bilinear_given",      2,  3, (5, 7),       "bilinear",      None,         2.9),
    Resize("bilinear_one_axis",   2,  3, (5, 1),       "bilinear",      (9, 1)),
    Resize("bilinear_half",       1, 70, (9, 30),      "bilinear",      None,         0.5),
    Resize("bilinear_half_few",   2,  3, (16, 60),     "bilinear",      None,         0.5),
    Resize("bilinear_same",       2,  3, (5, 6),       "bilinear",      (5, 6)),
    Resize("bilinear_far_up",     1,  2, (2, 3),       "bilinear",      (97, 61)),
    Resize("bilinear_far_down",   1,  2, (83, 91),     "bilinear",      (3, 2)),
    Resize("bicubic_x2",          2, 18, (6, 7),       "bicubic",       None,         2),
    Resize("bicubic_down",        1,  3, (23, 19),     "bicubic",       (9, 8)),
    Resize("bicubic_corners",     1,  3, (7, 6),       "bicubic",       (15, 11),     None, True),
    Resize("bicubic_planes",      1,  2, (60, 71),     "bicubic",       (133, 142)),
    Resize("bicubic_tiny",        2,  3, (1, 2),       "bicubic",       (5, 7)),
    Resize("bicubic_scales",      1,  2, (13, 9),      "bicubic",       None,         (0.7, 3.3)),
    Resize("trilinear_x2",        2,  5, (3, 4, 5),    "trilinear",     None,         2),
    Resize("trilinear_mixed",     1, 17, (5, 4, 6),    "trilinear",     (3, 9, 7)),
    Resize("trilinear_corners",   1,  3, (4, 5, 3),    "trilinear",     (7, 2, 6),    None, True),
    Resize("trilinear_down",      1,  5, (6, 8, 10),   "trilinear",     (4, 5, 7)),
    Resize("trilinear_planes",    1,  1, (14, 31, 33), "trilinear",     (23, 35, 41)),
    Resize("nearest_1d",          2,  3, (13,),        "nearest",       (31,)),
    Resize("nearest_x2",          2, 20, (7, 6),       "nearest",       None,         2),
    Resize("nearest_down",        1,  3, (23, 22),     "nearest",       (9, 5)),
    Resize("nearest_3d",          1,  4, (3, 4, 5),    "nearest",       (7, 6, 3)),
    Resize("nearest_scale",       1,  4, (9, 10),      "nearest",       None,         (1.3, 0.45)),
    Resize("exact_1d",            2,  3, (13,),        "nearest-exact", (31,)),
    Resize("exact_down",          1,  3, (23, 22),     "nearest-exact", (9, 5)),
    Resize("exact_scale",         1,  4, (9, 10),      "nearest-exact", None,         (2.6, 0.45)),
    Resize("exact_planes",        1,  1, (75, 80),     "nearest-exact", (190, 161)),
    Resize("area_1d",             2,  3, (31,),        "area",          (7,)),
    Resize("area_2d",             2,  5, (11, 12),     "area",          None,         (0.5, 1.7)),
    Resize("area_3d",             1,  3, (5, 4, 6),    "area",          (2, 3, 9)),
    Resize("spread_down",         2,  5, (23, 31),     "bilinear",      (7, 9),       None, False, True),
    Resize("spread_many",         1, 37, (16, 19),     "bilinear",      (5, 16),      None, False, True),
    Resize("spread_planes",       1,  2, (150, 130),   "bilinear",      (41, 37),     None, False, True),
    Resize("spread_wide",         1,  2, (3, 5003),    "bilinear",      (2, 1201),    None, False, True),
    Resize("spread_far_down",     1,  3, (11, 40),     "bilinear",      (1, 2),       None, False, True),
    Resize("spread_whole",        1,  3, (12, 15),     "bilinear",      (4, 5),       None, False, True),
    Resize("spread_up",           1,  4, (5, 7),       "bilinear",      (12, 7),      None, False, True),
    Resize("spread_scale",        1,  3, (21, 20),     "bilinear",      None,         (0.37, 1.4), False, True),
    Resize("spread_corners",      1,  3, (19, 14),     "bilinear",      (1, 6),       None, True, True),
    Resize("spread_cubic",        2,  3, (29, 23),     "bicubic",       (8, 11),      None, False, True),
    Resize("spread_cubic_many",   1, 33, (13, 12),     "bicubic",       None,         0.4, False, True),
    Resize("spread_cubic_thirds", 1,  3, (12, 15),     "bicubic",       (4, 5),       None, False, True),
    Resize("spread_cubic_up",     1,  3, (6, 5),       "bicubic",       (13, 9),      None, False, True),
    Resize("spread_cubic_corner", 1,  3, (17, 16),     "bicubic",       (5, 6),       None, True, True),
)

GRIDS = (
    #     name                  n   c  spatial      out          mode        padding       corners
    Grid("zeros",               2, 19, (7, 9),      (5, 8)),
    Grid("border",              2, 19, (7, 9),      (5, 8),      "bilinear", "border"),
    Grid("reflection",          2, 19, (7, 9),      (5, 8),      "bilinear", "reflection", False, 4.7),
    Grid("zeros_corners",       1, 33, (8, 6),      (9, 3),      "bilinear", "zeros",      True),
    Grid("border_corners",      1,  6, (8, 6),      (9, 3),      "bilinear", "border",     True),
    Grid("reflection_corners",  1,  6, (8, 6),      (9, 3),      "bilinear", "reflection", True,  5.3),
    Grid("few",                 2,  3, (13, 11),    (9, 37),     "bilinear", "border"),
    Grid("one_channel",         1,  1, (13, 11),    (9, 37)),
    Grid("few_far_out",         1,  2, (5, 6),      (4, 4),      "bilinear", "zeros",      False, 9.0),
    Grid("one_pixel",           2,  5, (1, 1),      (3, 4)),
    Grid("one_pixel_mirror",    2,  5, (1, 1),      (3, 4),      "bilinear", "reflection", True),
    Grid("one_row",             1,  7, (1, 9),      (3, 4),      "bilinear", "reflection"),
    Grid("point",               3, 20, (6, 5),      (1, 1)),
    Grid("large_sparse",        1,  9, (150, 160),  (5, 4)),
    Grid("large",               1,  9, (150, 160),  (37, 45)),
    Grid("large_border",        1, 17, (120, 90),   (60, 61),    "bilinear", "border"),
    Grid("many_blocks",         1,  5, (20, 21),    (75, 80)),
    Grid("nearest",             2, 19, (7, 9),      (5, 8),      "nearest"),
    Grid("nearest_border",      1,  3, (7, 9),      (5, 8),      "nearest",  "border",     True),
    Grid("nearest_mirror",      1, 21, (7, 9),      (5, 8),      "nearest",  "reflection", False, 3.0),
    Grid("bicubic",             2, 19, (7, 9),      (5, 8),      "bicubic"),
    Grid("bicubic_border",      1,  4, (7, 9),      (5, 8),      "bicubic",  "border",     True),
    Grid("bicubic_mirror",      1, 18, (7, 9),      (5, 8),      "bicubic",  "reflection", False, 4.0),
    Grid("bicubic_mirror_ends", 1,  3, (7, 2),      (5, 8),      "bicubic",  "reflection", True,  4.0),
    Grid("bicubic_large",       1,  6, (90, 80),    (40, 41),    "bicubic"),
    Grid("volume",              2, 18, (4, 5, 3),   (3, 4, 2)),
    Grid("volume_few",          1,  3, (4, 5, 3),   (3, 4, 9)),
    Grid("volume_border",       1,  5, (4, 5, 3),   (3, 4, 2),   "bilinear", "border",     True),
    Grid("volume_mirror",       1,  5, (4, 5, 3),   (3, 4, 2),   "bilinear", "reflection", False, 3.0),
    Grid("volume_nearest",      2, 18, (4, 5, 3),   (3, 4, 2),   "nearest",  "border"),
    Grid("volume_large",        1,  5, (24, 30, 31), (9, 10, 11)),
)
# fmt: on

EMPTY = (
    Resize("no_images", 0, 3, (4, 5), "bilinear", (6, 7)),
    Resize("no_channels", 2, 0, (4, 5), "bicubic", (6, 7)),
    Resize("nothing", 0, 0, (4,), "nearest", (6,)),
    Grid("grid_no_images", 0, 3, (4, 5), (6, 7)),
    Grid("grid_no_channels", 2, 0, (4, 5), (6, 7), "bicubic"),
    Grid("no_outputs", 2, 3, (4, 5), (0, 7)),
    Grid("no_outputs_many", 1, 20, (4, 5, 6), (3, 0, 2)),
)

RESIZE_MODES = {
    1: ("nearest", "nearest-exact", "linear", "area"),
    2: ("nearest", "nearest-exact", "bilinear", "bicubic", "area"),
    3: ("nearest", "nearest-exact", "trilinear", "area"),
}
PADDINGS = ("zeros", "border", "reflection")


def named(problems, *names: str) -> tuple:
    """The problems of these names, in this order."""
    by_name = {problem.name: problem for problem in problems}
    return tuple(by_name[name] for name in names)


SMALL_RESIZES = named(
    RESIZES, "linear_x2", "bilinear_x2", "bilinear_corners", "bilinear_scales", "bicubic_down", "trilinear_mixed",
    "nearest_down", "exact_scale", "bilinear_one_axis",
)  # fmt: skip
SMALL_GRIDS = named(
    GRIDS, "zeros", "border", "reflection_corners", "few", "one_channel", "nearest", "bicubic", "bicubic_mirror_ends",
    "volume", "volume_mirror", "volume_nearest", "large_sparse",
)  # fmt: skip


def _sizes(rng, nd: int, most: int) -> tuple[int, ...]:
    return tuple(int(size) for size in rng.integers(1, most // nd + 2, nd))


def random_resize(index: int) -> Resize:
    """Random interpolation number `index`, which alone decides everything."""
    rng = np.random.default_rng((31, index))
    nd = int(rng.integers(1, 4))
    mode = RESIZE_MODES[nd][rng.integers(len(RESIZE_MODES[nd]))]
    spatial, n, c = _sizes(rng, nd, 24), int(rng.integers(1, 4)), int(rng.integers(1, 40))
    size, scale = _sizes(rng, nd, 40), None
    if rng.random() < 0.4:
        size, scale = None, tuple(float(max(rng.uniform(0.3, 4), 1 / axis)) for axis in spatial)
    align_corners = bool(rng.integers(2)) and not mode.startswith("nearest") and mode != "area"
    antialias = mode in ("bilinear", "bicubic") and bool(rng.integers(2))
    return Resize(f"random_{index}", n, c, spatial, mode, size, scale, align_corners, antialias)


def random_grid(index: int) -> Grid:
    """Random grid_sample number `index`, which alone decides everything."""
    rng = np.random.default_rng((32, index))
    nd = int(rng.integers(2, 4))
    mode = ("bilinear", "nearest", "bicubic")[rng.integers(2 if nd == 3 else 3)]
    n, c = int(rng.integers(1, 4)), int(rng.integers(1, 40))
    spread = float(rng.choice((0.9, 1.1, 1.6, 5)))
    options = (mode, PADDINGS[rng.integers(3)], bool(rng.integers(2)), spread)
    return Grid(f"random_{index}", n, c, _sizes(rng, nd, 24), _sizes(rng, nd, 24), *options)


@lru_cache(maxsize=2)
def _solved(problem, dtype: str) -> tuple[dict, dict, dict]:
    """Operands, answers and bounds of a problem; kept for the tests that follow in other places."""
    operands = problem.operands(dtype)
    return operands, problem.run(convkit.reference, operands), problem.bounds(operands)


def assert_problem(problem, places=EVERYWHERE, layouts=LAYOUTS) -> None:
    """Fail unless the output and every gradient keep their bounds in all places, pairs of dtype and instruction set."""
    for dtype, isas in by_dtype(places):
        operands, expected, bounds = _solved(problem, dtype)
        for isa, layout in itertools.product(isas, layouts):
            convkit.set_isa(isa)
            for name, got in problem.run(convkit, operands, layout).items():
                where = f"{name} of {problem}, {dtype}, {layout}, on {isa}"
                assert got.dtype == dtype, f"{where}: dtype {got.dtype}"
                assert_within_bound(got, expected[name], bounds[name], where)
