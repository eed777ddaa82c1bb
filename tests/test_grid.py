"""grid_sample and its gradients, by hand, at every kink, more than `test_resample_family.py` has."""

import numpy as np
import pytest

import convkit
from bounds import assert_slopes
from cases import DTYPES, LAYOUTS, arrange, restore
from resample_problems import GRIDS, PADDINGS, SMALL_GRIDS, Grid, named, random_grid

MODES = ("bilinear", "nearest", "bicubic")
CORNERS = (False, True)


def of(problem):
    return problem.name


def test_the_random_problems_cover_what_they_promise():
    problems = [random_grid(index) for index in range(240)]
    for mode in MODES:
        for padding in PADDINGS:
            for corners in CORNERS:
                chosen = [p for p in problems if (p.mode, p.padding_mode, p.align_corners) == (mode, padding, corners)]
                assert len(chosen) >= 4, (mode, padding, corners)
    assert sum(len(p.spatial) == 3 for p in problems) >= 60


# ---------------------------------------------------------------- by hand

ROW = [10, 20, 40]  # as (1, 1, 1, 3): elements at coordinates 0, 1, 2


def at_elements(coordinates, size, align_corners=False):
    """The grid's values of coordinates in elements along an axis of `size`."""
    c = np.asarray(coordinates, np.float64)
    return 2 * c / (size - 1) - 1 if align_corners else (2 * c + 1) / size - 1


def sampled(coordinates, row=ROW, **options):
    """A row of one channel, sampled at coordinates along it."""
    x = np.array(row, np.float64).reshape(1, 1, 1, -1)
    g = at_elements(coordinates, len(row), options.get("align_corners", False))
    grid = np.stack([g, np.zeros_like(g)], -1)[None, None]
    return convkit.grid_sample(x, grid, **options)[0, 0, 0]


def slopes(coordinates, row=ROW, **options):
    """Derivatives of `sampled` with respect to the coordinate in elements."""
    x = np.array(row, np.float64).reshape(1, 1, 1, -1)
    corners = options.get("align_corners", False)
    g = at_elements(coordinates, len(row), corners)
    grid = np.stack([g, np.zeros_like(g)], -1)[None, None]
    grad = np.ones((1, 1, 1, len(g)))
    half = (len(row) - corners) / 2
    return convkit.grid_sample_backward(grad, x, grid, need="grid", **options).grid[0, 0, :, 0] / half


def test_bilinear_by_hand(isa):
    c = [-1.5, -1, -0.5, 0, 0.25, 1, 1.5, 2, 2.5, 3, 7]
    np.testing.assert_allclose(sampled(c), [0, 0, 5, 10, 12.5, 20, 30, 40, 20, 0, 0], atol=1e-13)
    expected = [10, 10, 10, 10, 12.5, 20, 30, 40, 40, 40, 40]
    np.testing.assert_allclose(sampled(c, padding_mode="border"), expected, atol=1e-13)
    # Mirrored at -1/2 and 5/2: 10 20 40 | 40 20 10 | 10 20 40.
    c = [-1.5, -1, -0.75, -0.5, 0, 2.25, 2.5, 3, 3.5, 4, 5, 6, 7]
    expected = [15, 10, 10, 10, 10, 40, 40, 40, 30, 20, 10, 10, 20]
    np.testing.assert_allclose(sampled(c, padding_mode="reflection"), expected, atol=1e-13)
    # With align_corners at 0 and 2: 10 20 40 20 10 20.
    c = [-2, -1.5, -1, -0.5, 0, 2, 2.5, 3, 4, 4.5, 5]
    expected = [40, 30, 20, 15, 10, 40, 30, 20, 10, 15, 20]
    np.testing.assert_allclose(sampled(c, padding_mode="reflection", align_corners=True), expected, atol=1e-13)


def test_nearest_halves_go_to_even(isa):
    c = [-0.51, -0.5, 0, 0.5, 0.51, 1, 1.5, 2, 2.49, 2.5, 2.51]
    row = [10, 20, 40, 80]  # of four, so that no coordinate is rounded
    assert sampled(c, row, mode="nearest").tolist() == [0, 10, 10, 10, 20, 20, 40, 40, 40, 40, 80]
    assert not slopes(c, row, mode="nearest").any()


def test_bicubic_by_hand(isa):
    """At t = 1/2 the weights are (-3, 19, 19, -3) / 32; what lies outside is zero, the edge, or mirrored."""
    row = [32, 64, 96, 160]
    assert sampled([0.5, 1, 1.5], row, mode="bicubic").tolist() == [19 + 38 - 9, 64, -3 + 38 + 57 - 15]
    expected = [-3 + 19 + 38 - 9, -3 + 38 + 57 - 15, -6 + 57 + 95 - 15]
    assert sampled([0.5, 1.5, 2.5], row, mode="bicubic", padding_mode="border").tolist() == expected
    expected = [-6 + 19 + 38 - 9, -3 + 38 + 57 - 15, -6 + 57 + 95 - 9]
    got = sampled([0.5, 1.5, 2.5], row, mode="bicubic", padding_mode="reflection", align_corners=True)
    np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_axes_are_x_y_z(isa):
    """The last coordinate is the outermost axis."""
    x = np.arange(24.0).reshape(1, 1, 2, 3, 4)
    places = [(x_, y_, z_) for z_ in range(2) for y_ in range(3) for x_ in range(4)]
    grid = np.stack([at_elements(c, n, True) for c, n in zip(np.transpose(places), (4, 3, 2), strict=True)], -1)
    y = convkit.grid_sample(x, grid.reshape(1, 2, 3, 4, 3), align_corners=True)
    np.testing.assert_allclose(y, x, atol=1e-13)


def test_without_a_batch_axis(isa):
    for problem in named(GRIDS, "zeros", "volume"):
        operands = problem.operands("float32")
        batch = problem.run(convkit, operands)
        x, grid, grad = (operands[name][0] for name in ("x", "grid", "grad"))
        for layout in LAYOUTS:
            to = (lambda a: np.moveaxis(a, 0, -1)) if layout == "NHWC" else (lambda a: a)
            back = (lambda a: np.moveaxis(a, -1, 0)) if layout == "NHWC" else (lambda a: a)
            y = convkit.grid_sample(to(x), grid, layout=layout, **problem.options)
            grads = convkit.grid_sample_backward(to(grad), to(x), grid, layout=layout, **problem.options)
            assert back(y).tobytes() == batch["y"][0].tobytes()
            assert back(grads.x).tobytes() == batch["x"][0].tobytes()
            assert grads.grid.tobytes() == batch["grid"][0].tobytes()


# ---------------------------------------------------------------- kinks and what is no number


def test_derivatives_at_the_kinks(isa):
    """At whole coordinates the piece to the right; x[0] at -1, nothing at the size."""
    c = [-1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5, 3]
    row = [10, 20, 40, 80]
    expected = [10, 10, 10, 10, 20, 20, 40, 40, -80, 0, 0]
    np.testing.assert_allclose(slopes([*c, 4, 4.5], row), expected)
    expected = [0, 0, 0, 10, 20, 20, 40, 40, 0, 0]
    np.testing.assert_allclose(slopes([*c, 4], row, padding_mode="border"), expected)
    # Mirrored, 4.5, 5 and 6 are 2.5, 2 and 1: the piece to the right of those, turned round.
    expected = [0, 0, 0, 10, 20, 20, 40, 40, 0, 0, 0, -40, -40, -20]
    got = slopes([*c, 3.25, 3.5, 4.5, 5, 6], row, padding_mode="reflection")
    np.testing.assert_allclose(got, expected)
    got = slopes([-2, -1, -0.5, 0, 0.5, 3, 3.5, 4, 5], [*row, 160], padding_mode="reflection", align_corners=True)
    np.testing.assert_allclose(got, [-40, -20, -10, 0, 10, 80, 80, 0, -80])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("corners", CORNERS)
def test_no_number_and_far_away(mode, padding, corners, isa):
    """NaN counts as far to the left; nothing outside the image is read, however far a coordinate points."""
    far = [np.nan, -np.inf, np.inf, -1e30, 1e30, 3e38, -(2.0**62), 2.0**62, -(2.0**31), 2.0**31 + 0.5]
    problem = Grid("far", 1, 5, (3, 4), (len(far), len(far)), mode, padding, corners)
    for dtype in DTYPES:
        rng = problem.rng()
        x, grad = rng.standard_normal(problem.x_shape).astype(dtype), np.ones(problem.y_shape, dtype)
        grid = np.stack(np.meshgrid(far, far), -1)[None].astype(dtype)
        with np.errstate(all="ignore"):
            expected = problem.run(convkit.reference, {"x": x, "grid": grid, "grad": grad})
            bounds = problem.bounds({"x": x, "grid": grid, "grad": grad})
        for layout in LAYOUTS:
            got = problem.run(convkit, {"x": x, "grid": grid, "grad": grad}, layout)
            for name, array in got.items():
                assert np.isfinite(array).all(), name
                assert (np.abs(array - expected[name]) <= bounds[name]).all(), name
    if padding == "zeros":
        assert not got["y"].any()
        assert not got["x"].any()


def test_what_is_outside_is_not_multiplied(isa):
    """An infinite element reaches the samples that read it, and no other."""
    x = np.zeros((1, 6, 4, 5), np.float32)
    x[:, :, 1, 2] = np.inf
    for layout in LAYOUTS:
        g = np.stack(np.meshgrid(at_elements(np.arange(-3, 8), 5), at_elements(np.arange(-3, 7), 4)), -1)
        grid = (g + 0.3 * 2 / 5)[None].astype(np.float32)
        y = restore(convkit.grid_sample(arrange(x, layout), grid, layout=layout), layout)
        reads = np.zeros((10, 11), bool)
        reads[np.ix_((3, 4), (4, 5))] = True
        assert np.array_equal(~np.isfinite(y), np.broadcast_to(reads, y.shape))


# ---------------------------------------------------------------- identities


def away_from_kinks(problem, grid):
    """The grid with every coordinate at least 1e-3 elements from a whole or half one, where all kinks are."""
    spatial = np.array(problem.spatial[::-1])
    half = (spatial - problem.align_corners) / 2
    c = (grid + 1) * half - (0 if problem.align_corners else 0.5)
    twice = 2 * c
    near = np.abs(twice - np.rint(twice)) < 4e-3
    return np.where(near, (c + 0.01 + (0 if problem.align_corners else 0.5)) / np.maximum(half, 0.5) - 1, grid)


@pytest.mark.parametrize("problem", [p for p in SMALL_GRIDS if p.spatial[0] < 100], ids=of)
def test_central_differences(problem):
    problem = problem.but(c=min(problem.c, 4))
    operands = problem.operands("float64")
    operands["grid"] = away_from_kinks(problem, operands["grid"])
    x, grid, grad = (operands[name] for name in ("x", "grid", "grad"))
    gradients, rng = problem.run(convkit, operands), problem.rng()
    for name in ("x", "grid"):
        assert_slopes(
            gradients[name], lambda: np.vdot(convkit.grid_sample(x, grid, **problem.options), grad), operands[name],
            rng, 40, name,
        )  # fmt: skip


def test_a_regular_grid_is_an_interpolation(isa):
    """On sizes that are powers of two, where no coordinate is rounded."""
    x = np.random.default_rng(0).standard_normal((2, 5, 8, 4))
    centres = [(2 * np.arange(n) + 1) / n - 1 for n in (16, 8)]
    grid = np.broadcast_to(np.stack(np.meshgrid(centres[1], centres[0]), -1), (2, 16, 8, 2))
    for mode in ("bilinear", "bicubic"):
        expected = convkit.interpolate(x, (16, 8), mode=mode)
        np.testing.assert_allclose(convkit.grid_sample(x, grid, mode, "border"), expected, rtol=0, atol=1e-13)


def test_a_shift_by_whole_pixels_shifts_to_the_bit(isa):
    """On sizes that are powers of two; away from the border."""
    x = np.random.default_rng(1).standard_normal((1, 9, 16, 32)).astype(np.float32)
    rng = np.random.default_rng(2)
    c = rng.integers(8 * 4, 8 * 10, (1, 7, 6, 2)) / 8
    for mode in MODES:
        before = convkit.grid_sample(x, at_elements(c, np.array([32, 16])).astype(np.float32), mode)
        grid = at_elements(c + (4, 2), np.array([32, 16])).astype(np.float32)
        after = convkit.grid_sample(np.roll(x, (2, 4), (2, 3)), grid, mode)
        assert before.tobytes() == after.tobytes()


def test_need_gives_the_same_bits(isa):
    for problem in SMALL_GRIDS:
        operands = problem.operands("float32")
        x, grid, grad = operands["x"], operands["grid"], operands["grad"]
        both = convkit.grid_sample_backward(grad, x, grid, **problem.options)
        only_x = convkit.grid_sample_backward(grad, x.shape, grid, need="x", **problem.options)
        only_grid = convkit.grid_sample_backward(grad, x, grid, need=("grid",), **problem.options)
        assert only_x.grid is only_grid.x is None
        assert only_x.x.tobytes() == both.x.tobytes()
        assert only_grid.grid.tobytes() == both.grid.tobytes()


def test_an_image_of_any_size_that_is_not_there(isa):
    """A constant of 2**55 pixels in four bytes: read in place, and nothing outside it."""
    x = np.broadcast_to(np.float32(3), (1, 20, 2**28, 2**27))
    grid = np.random.default_rng(0).uniform(-1.5, 1.5, (1, 16, 18, 2)).astype(np.float32)
    expected = np.where((np.abs(grid) < 1).all(axis=-1), 3, 0)
    for mode in MODES:
        y = convkit.grid_sample(x, grid, mode)
        np.testing.assert_allclose(y, np.broadcast_to(expected, y.shape), rtol=1e-6)
    grads = convkit.grid_sample_backward(np.ones((1, 20, 16, 18), np.float32), x, grid, need="grid")
    assert np.isfinite(grads.grid).all()
