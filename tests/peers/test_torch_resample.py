"""Resampling beside a live PyTorch, in float64: values, and gradients of the input and of the grid."""

import numpy as np
import pytest

import convkit
from cases import LAYOUTS
from resample_problems import GRIDS, RESIZES, Grid, random_grid, random_resize
from torch_oracle import grid_answers, resize_answers

# Of 8 elements to 41, output 20 reads element 20.5 * 8 / 41 = 4; PyTorch finds 3.9999998, in float32.
ROUNDED = {"random_846"}


def goes_astray(problem) -> bool:
    """Whether PyTorch does: with antialias, to columns of one element, it fills all rows with the first one."""
    return problem.antialias and problem.out[1] == 1 and problem.out[0] > 1


def ignores_the_scale(problem) -> bool:
    """Whether PyTorch does along an axis: where the size stays or, with "nearest", doubles, it copies elements.

    The area of a scale is that of the sizes, in both.
    """
    if problem.mode == "area":
        return False
    copies = (1, 2) if problem.mode == "nearest" else (1,)
    scales = problem.scale if isinstance(problem.scale, tuple) else (problem.scale,) * len(problem.spatial)
    if problem.scale is None:
        return False
    axes = zip(problem.spatial, problem.out, scales, strict=True)
    return any(out == n * size != scale * size for size, out, scale in axes for n in copies)


def assert_answers(problem, operands) -> None:
    expected = (grid_answers if isinstance(problem, Grid) else resize_answers)(problem, **operands)
    for layout in LAYOUTS:
        for name, got in problem.run(convkit, operands, layout).items():
            np.testing.assert_allclose(got, expected[name], 1e-10, 1e-11, err_msg=f"{name} of {problem}")


@pytest.mark.parametrize("problem", RESIZES, ids=lambda p: p.name)
def test_interpolate(problem):
    assert not ignores_the_scale(problem) and not goes_astray(problem)
    assert_answers(problem, problem.operands("float64"))


@pytest.mark.parametrize("block", range(20))
def test_random_interpolate(block):
    problems = [random_resize(index) for index in range(block * 50, block * 50 + 50)]
    problems = [p for p in problems if not ignores_the_scale(p) and not goes_astray(p) and p.name not in ROUNDED]
    assert len(problems) >= 40
    for problem in problems:
        assert_answers(problem, problem.operands("float64"))


@pytest.mark.parametrize("problem", GRIDS, ids=lambda p: p.name)
def test_grid_sample(problem):
    assert_answers(problem, problem.operands("float64"))


@pytest.mark.parametrize("block", range(20))
def test_random_grid_sample(block):
    for index in range(block * 50, block * 50 + 50):
        problem = random_grid(index)
        assert_answers(problem, problem.operands("float64"))


@pytest.mark.parametrize("mode", ("bilinear", "nearest", "bicubic"))
@pytest.mark.parametrize("padding_mode", ("zeros", "border", "reflection"))
@pytest.mark.parametrize("align_corners", (False, True))
def test_kinks(mode, padding_mode, align_corners):
    """Whole and half coordinates from far below to far above: PyTorch's choice of derivative at each."""
    size = 8  # the coordinates are exact
    c = np.arange(-20, 36) / 2
    if align_corners:
        size, c = 9, c[(c >= -16) & (c <= 24)]
    half = (size - align_corners) / 2
    g = (c + (0 if align_corners else 0.5)) / half - 1
    grid = np.stack(np.meshgrid(g, g), -1)[None]
    problem = Grid("kinks", 1, 3, (size, size), grid.shape[1:3], mode, padding_mode, align_corners)
    assert_answers(problem, problem.operands("float64") | {"grid": grid})
