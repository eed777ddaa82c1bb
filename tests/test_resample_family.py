"""What interpolate and grid_sample share: the reference's bound, adjoints, equal bits, views and out."""

import itertools

import numpy as np
import pytest

import convkit
from cases import DTYPES, LAYOUTS, arrange, assert_all, assert_same_bits, blocks, each, each_place, in_turn, restore
from resample_problems import (
    EMPTY,
    GRIDS,
    RESIZES,
    SMALL_GRIDS,
    SMALL_RESIZES,
    Grid,
    Resize,
    assert_problem,
    random_grid,
    random_resize,
)
from views import FORMS, VIEWS, with_canaries

LARGE = (
    Resize("bits_bilinear", 2, 21, (40, 37), "bilinear", (81, 70)),
    Resize("bits_planes", 1, 2, (150, 170), "bilinear", (301, 299)),
    Resize("bits_bicubic", 1, 5, (90, 70), "bicubic", None, 1.7),
    Resize("bits_down", 1, 3, (400, 380), "bilinear", (171, 180)),
    Resize("bits_spread_wide", 1, 37, (6, 1500), "bilinear", (3, 350), None, False, True),
    Resize("bits_spread_planes", 2, 21, (40, 37), "bicubic", (11, 18), None, False, True),
    Resize("bits_spread_line", 1, 1, (2, 40_000), "bilinear", (1, 9_000), None, False, True),
    Resize("bits_spread_few", 1, 1, (1, 500), "bilinear", (1, 2), None, False, True),
    Resize("bits_far_up", 1, 1, (3, 2), "bilinear", (400, 500)),
    Resize("bits_nearest", 3, 7, (60, 61), "nearest", None, 2),
    Resize("bits_line", 1, 1, (30_000,), "linear", None, 2.5),
    Resize("bits_line_down", 1, 1, (90_000,), "linear", (31_111,)),
    Resize("bits_volume", 1, 3, (20, 21, 22), "trilinear", (33, 41, 40)),
    Grid("bits_zeros", 1, 21, (60, 70), (90, 80)),
    Grid("bits_few", 2, 3, (150, 140), (130, 120), "bilinear", "border"),
    Grid("bits_bicubic", 1, 9, (70, 50), (60, 61), "bicubic", "reflection", False, 2.5),
    Grid("bits_nearest", 1, 18, (60, 61), (70, 64), "nearest"),
    Grid("bits_volume", 1, 17, (12, 14, 16), (13, 15, 11)),
    Grid("bits_one_image", 1, 1, (300, 20), (200, 100)),
    Grid("bits_collisions", 1, 6, (3, 3), (120, 90)),
)
SMALL = *SMALL_RESIZES, *SMALL_GRIDS


def of(problem):
    return problem.name


# ---------------------------------------------------------------- the float64 reference


@each_place((*RESIZES, *GRIDS), lambda problem: problem.name != "bicubic_planes")
def test_named_problems_keep_the_bound(problem, places, any_isa):
    assert_problem(problem, places)


@pytest.mark.parametrize("problem", EMPTY, ids=of)
def test_empty_problems(problem, any_isa):
    assert_problem(problem)


@pytest.mark.thorough
@pytest.mark.parametrize("problem", LARGE, ids=of)
def test_large_problems_keep_the_bound(problem, any_isa):
    assert_problem(problem)


@blocks(240, 20)
@pytest.mark.parametrize("problem", (random_resize, random_grid))
def test_random_problems(problem, block, any_isa):
    """Each number decides sizes, mode, dtype, layout, threads and instruction set."""
    isas = convkit.available_isas()

    def check(index):
        place = [(DTYPES[index // 3 % 2], isas[index // 12 % len(isas)])], [LAYOUTS[index // 6 % 2]]
        with convkit.threads(1 + index % 3):
            assert_problem(problem(index), *place)

    assert_all(check, block)


@pytest.mark.parametrize("problem", (*RESIZES, *GRIDS), ids=of)
def test_gradients_of_x_are_adjoints(problem):
    operands = problem.operands("float64")
    got = problem.run(convkit, operands)
    forward, backward = np.vdot(got["y"], operands["grad"]), np.vdot(got["x"], operands["x"])
    assert abs(forward - backward) <= 1e-12 * np.linalg.norm(got["y"]) * np.linalg.norm(operands["grad"])


# ---------------------------------------------------------------- bits


@pytest.mark.thorough
@pytest.mark.parametrize("problem", LARGE, ids=of)
def test_threads(problem, isa):
    operands = problem.operands(*in_turn(problem, DTYPES))
    for layout in LAYOUTS:
        with convkit.threads(1):
            expected = problem.run(convkit, operands, layout)
        for count in (2, 3, 5, 8):
            with convkit.threads(count):
                assert_same_bits(problem.run(convkit, operands, layout), expected, f"{layout}, {count} threads")


@each((*LARGE, *SMALL), lambda problem: problem in SMALL)
def test_layouts_agree(problem, isa):
    operands = problem.operands(*in_turn(problem, DTYPES))
    first, second = (problem.run(convkit, operands, layout) for layout in LAYOUTS)
    for name in ("y", "x"):
        assert first[name].tobytes() == second[name].tobytes(), name


@pytest.mark.parametrize("problem", SMALL, ids=of)
def test_alone_or_in_a_batch(problem, isa):
    problem = problem.but(n=4)
    operands = problem.operands("float32")
    batch = problem.run(convkit, operands)
    for part in (slice(0, 1), slice(1, 4)):
        alone = problem.run(convkit, {name: array[part] for name, array in operands.items()})
        assert_same_bits(alone, {name: array[part] for name, array in batch.items()})


# ---------------------------------------------------------------- views and out


@each(SMALL, lambda problem: problem.name != "large_sparse")
def test_views_give_the_bits_of_copies(problem, isa):
    for dtype, layout in itertools.product(DTYPES, LAYOUTS):
        operands = problem.operands(dtype)
        expected = problem.run(convkit, operands, layout)
        for view in VIEWS:
            got = problem.run(convkit, operands, layout, view)
            assert all(type(array) is np.ndarray for array in got.values())
            assert_same_bits(got, expected, f"{view.__name__}, {dtype}, {layout}")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("problem", SMALL, ids=of)
def test_strided_out(problem, form, isa):
    for dtype, layout in itertools.product(DTYPES, LAYOUTS):
        operands = problem.operands(dtype)
        expected = problem.run(convkit, operands, layout)["y"]
        out, check = with_canaries(arrange(expected, layout).shape, dtype, form)
        got = problem.run(convkit, operands, layout, out=out)["y"]
        assert got is out or layout == "NHWC"  # of which it is the view in the other order
        assert np.array_equal(restore(out, layout), expected)
        check()


@pytest.mark.parametrize("problem", SMALL, ids=of)
def test_operands_are_not_written(problem, isa):
    operands = problem.operands("float32")
    kept = {name: array.copy() for name, array in operands.items()}
    problem.run(convkit, operands)
    assert_same_bits(operands, kept)
