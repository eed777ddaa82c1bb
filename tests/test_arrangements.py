"""The engine's arrangements: the same bits, whichever the planner finds the cheapest."""

import itertools

import pytest

import convkit
from cases import LAYOUTS, assert_same_bits, each, everything, random_data
from convkit._ext import engine
from problems import AWKWARD, AWKWARD_TRANSPOSED, random_problem, random_transposed

RANDOM = tuple(make(index) for make in (random_problem, random_transposed) for index in range(2000, 2040))


@pytest.fixture
def cheapest():
    """Restores the planner's free choice."""
    yield
    engine.take_arrangements()


@pytest.mark.thorough
@each(AWKWARD + AWKWARD_TRANSPOSED + RANDOM)
@pytest.mark.usefixtures("any_isa", "cheapest")
def test_they_never_change_bits(problem):
    data = random_data(problem, "float32")
    for isa, layout in itertools.product(convkit.available_isas(), LAYOUTS):
        convkit.set_isa(isa)
        expected = everything(data, layout)
        for name in engine.arrangements():
            engine.take_arrangements(name)
            assert_same_bits(everything(data, layout), expected, f"{problem}, {layout}, {name}, {isa}")
        engine.take_arrangements()
