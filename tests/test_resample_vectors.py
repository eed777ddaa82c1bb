"""PyTorch's answers, kept in tests/vectors/resample.npz: the reference to rounding, and convkit within the bound."""

from pathlib import Path

import numpy as np
import pytest

import convkit
from bounds import assert_within_bound
from cases import LAYOUTS
from resample_problems import GRIDS, RESIZES, Grid

VECTORS = np.load(Path(__file__).parent / "vectors" / "resample.npz", allow_pickle=False)
STORED = {key.split("/")[0] for key in VECTORS.files}
PROBLEMS = [problem for problem in (*RESIZES, *GRIDS) if problem.name in STORED]


def stored(problem) -> tuple[dict, dict]:
    """Operands in float64, and answers."""
    grid = ("grid",) if isinstance(problem, Grid) else ()
    operands = {key: VECTORS[f"{problem.name}/{key}"].astype(np.float64) for key in ("x", *grid, "grad")}
    answers = {"y": VECTORS[f"{problem.name}/y"]} | {key: VECTORS[f"{problem.name}/d{key}"] for key in ("x", *grid)}
    return operands, answers


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_reference(problem):
    operands, answers = stored(problem)
    for key, got in problem.run(convkit.reference, operands).items():
        np.testing.assert_allclose(got, answers[key], 1e-12, 1e-12, err_msg=key)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_float64(problem, isa):
    operands, answers = stored(problem)
    for layout in LAYOUTS:
        for key, got in problem.run(convkit, operands, layout).items():
            np.testing.assert_allclose(got, answers[key], 1e-12, 1e-12, err_msg=f"{key}, {layout}")


@pytest.mark.parametrize("problem", [p for p in PROBLEMS if not isinstance(p, Grid)], ids=lambda p: p.name)
def test_float32_interpolation(problem, isa):
    """Its places do not depend on the dtype; a grid's, which is rounded itself, do."""
    operands, answers = stored(problem)
    operands = {key: array.astype(np.float32) for key, array in operands.items()}
    bounds = problem.bounds(operands)
    for layout in LAYOUTS:
        for key, got in problem.run(convkit, operands, layout).items():
            assert_within_bound(got, answers[key], bounds[key], f"{key}, {layout}")


def test_they_are_all_there():
    assert len(PROBLEMS) == len(STORED) >= 30
    assert len({(type(p), p.mode) for p in PROBLEMS}) == 9
