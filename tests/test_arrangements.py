"""The engine's arrangements: the same bits, whichever the planner finds the cheapest."""

import itertools

import numpy as np
import pytest

import convkit
from cases import LAYOUTS, assert_same_bits, each, everything, random_data
from convkit._ext import engine
from problems import AWKWARD, AWKWARD_TRANSPOSED, PLANES, named, random_problem, random_transposed

RANDOM = tuple(make(index) for make in (random_problem, random_transposed) for index in range(2000, 2040))


@pytest.fixture
def cheapest():
    """Restores the planner's free choice."""
    yield
    engine.take_arrangements()


@each(PLANES)
@pytest.mark.usefixtures("any_isa", "cheapest")
def test_planes_have_the_bits_of_panels(problem):
    for isa, dtype, layout in itertools.product(convkit.available_isas(), ("float32", "float64"), LAYOUTS):
        convkit.set_isa(isa)
        data = random_data(problem, dtype)
        expected = {}
        for name in ("by_pixel", "by_channel"):
            engine.take_arrangements(name)
            expected = expected or everything(data, layout)
            assert_same_bits(everything(data, layout), expected, f"{problem}, {dtype}, {layout}, {name}, {isa}")


@each(named("1x1", "1x1_s2", "1x1_s2_wide", "1x1_two_k_blocks"))
@pytest.mark.usefixtures("any_isa", "cheapest")
def test_pointwise_sums_are_added_to_and_stored_alike(problem):
    """From strips, in place or a window; of a k-block or two; straight from registers, or by way of scratch."""
    for isa, dtype in itertools.product(convkit.available_isas(), ("float32", "float64")):
        convkit.set_isa(isa)
        data = random_data(problem, dtype)
        f = convkit.prepare_conv2d(data.weight, data.bias, **problem.arguments, activation="relu")
        more = np.random.default_rng(1).standard_normal(problem.y_shape).astype(dtype)
        expected = np.maximum(convkit.conv2d(data.x, data.weight, data.bias, **problem.arguments) + more, 0)
        for name in ("by_pixel", "by_channel"):
            engine.take_arrangements(name)
            assert np.array_equal(f(data.x, add=more), expected), f"{problem}, {dtype}, {name}, {isa}"
        engine.take_arrangements()


@pytest.mark.parametrize("activation", [None, "relu", ("leaky_relu", 0.1), "tanh"])
@pytest.mark.usefixtures("cheapest")
def test_planes_are_stored_in_any_strides(activation):
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(shape, np.float32) for shape in ((2, 3, 11, 19), (3, 1, 3, 3), (3,)))
    engine.take_arrangements("by_channel")
    expected = convkit.conv2d(x, weight, bias, padding=1, groups=3, activation=activation)
    for axes in itertools.permutations(range(4)):
        out = np.empty([expected.shape[i] for i in axes], np.float32).transpose(np.argsort(axes))
        convkit.conv2d(x, weight, bias, padding=1, groups=3, activation=activation, out=out)
        np.testing.assert_array_equal(out, expected)


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
