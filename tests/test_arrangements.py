"""The engine's arrangements: the same bits, whichever the planner finds the cheapest."""

import pytest

from cases import assert_same_bits, every_isa, everything, random_data
from convkit._ext import engine
from problems import AWKWARD, AWKWARD_TRANSPOSED, random_problem, random_transposed

RANDOM = tuple(make(index) for make in (random_problem, random_transposed) for index in range(2000, 2040))


@pytest.fixture
def cheapest():
    """Restores the planner's free choice."""
    yield
    engine.take_arrangements()


@every_isa
@pytest.mark.usefixtures("isa", "cheapest")
@pytest.mark.parametrize("problem", AWKWARD + AWKWARD_TRANSPOSED + RANDOM, ids=lambda problem: problem.name)
def test_they_never_change_bits(problem):
    data = random_data(problem, "float32")
    for layout in ("NCHW", "NHWC"):
        expected = everything(data, layout)
        for name in engine.arrangements():
            engine.take_arrangements(name)
            assert_same_bits(everything(data, layout), expected, f"{problem}, {layout}, {name}")
        engine.take_arrangements()
