"""Normalisation of groups of channels and of single ones by the engine, beside sums in float64."""

import numpy as np
import pytest

import convkit
from convkit import nn
from convkit.graph import Graph, Info, Network

SHAPES = [(2, 6, 5, 7), (1, 4, 16), (3, 12, 4, 4, 4), (1, 2, 256, 300), (1, 40, 66000), (2, 3, 70001), (1, 1, 300, 400)]


def noise(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def network(op, x, numbers, **attrs):
    whole = Graph()
    value = whole.input("x", Info(x.shape, x.dtype))
    whole.outputs = [whole.emit(op, [value, *map(whole.constant, numbers)], attrs)]
    whole.output_names = ["y"]
    return Network(whole)


def standard(x, groups, scale, bias, epsilon):
    rows = x.astype(np.float64).reshape(len(x), groups, -1)
    rows = (rows - rows.mean(2, keepdims=True)) / np.sqrt(rows.var(2, keepdims=True) + epsilon)
    channels = (-1, *(1,) * (x.ndim - 2))
    return rows.reshape(x.shape) * scale.reshape(channels) + bias.reshape(channels)


def how(made, x):
    return [node.how for node in made.explain(x, measure=False).nodes]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("divisor", (1, 2, None))
def test_groups_of_channels(shape, divisor):
    channels = shape[1]
    groups = channels if divisor is None or channels % divisor else channels // divisor
    x, scale, bias = 2 * noise(shape) + 5, noise(channels, 1), noise(channels, 2)
    made = network("GroupNormalization", x, (scale, bias), num_groups=groups, epsilon=1e-3)
    wanted = standard(x, groups, scale, bias, 1e-3)
    y = made(x)
    assert how(made, x) == ["engine"]
    # x, mean and slope are rounded, and what is left: of numbers of up to about 13, times a scale.
    assert (np.abs(y - wanted) <= 16 * np.finfo(np.float32).eps * (4 * np.abs(scale).max() + 1)).all()
    with convkit.threads(3):
        np.testing.assert_array_equal(made(x), y)
    if groups == channels:
        alone = network("InstanceNormalization", x, (scale, bias), epsilon=1e-3)
        np.testing.assert_array_equal(alone(x), y)
        assert how(alone, x) == ["engine"]


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_has_the_bits_that_it_has_in_a_batch(shape):
    x = noise((40, *shape[1:])) if len(shape) < 4 and shape[2] < 100 else noise((3, *shape[1:]))
    numbers = noise(shape[1], 1), noise(shape[1], 2)
    made = network("GroupNormalization", x, numbers, num_groups=1)
    np.testing.assert_array_equal(made(x)[1:2], made(x[1:2]))


def test_numbers_for_each_group():
    x, scale, bias = noise((2, 6, 5, 5)), noise(3, 1), noise(3, 2)
    made = network("GroupNormalization", x, (scale, bias), num_groups=3, by_group=True)
    wanted = standard(x, 3, np.repeat(scale, 2), np.repeat(bias, 2), 1e-5)
    np.testing.assert_allclose(made(x), wanted, rtol=1e-4, atol=1e-5)
    assert how(made, x) == ["engine"]


@pytest.mark.parametrize("numbers, groups", ((2, 3), (6, 3), (1, 3), (6, 4), (3, 0)))
def test_numbers_and_groups_that_do_not_fit_are_not_the_engines(numbers, groups):
    x, array = noise((2, 6, 5, 5)), noise(numbers, 1)
    made = network("GroupNormalization", x, (array, array), num_groups=groups, by_group=True)
    with pytest.raises((ValueError, ZeroDivisionError)):
        made(x)


@pytest.mark.parametrize("size", (3e38, 1e-30, 1.0))
def test_numbers_of_any_size_and_constant_channels(size):
    x = np.clip(noise((2, 4, 9, 9)), -1, 1) * np.float32(size)
    x[0, 1], x[1, 2, 0, 0] = size / 3, -x[1, 2, 0, 0]
    one, zero = np.ones(4, np.float32), np.zeros(4, np.float32)
    made = network("InstanceNormalization", x, (one, zero), epsilon=1e-5)
    np.testing.assert_allclose(made(x), standard(x, 4, one, zero, 1e-5), rtol=1e-5, atol=1e-5)
    assert how(made, x) == ["engine"]


def test_what_is_not_finite_stays_in_its_group():
    x = noise((1, 6, 8, 8))
    x[0, 2, 3, 3], x[0, 5, 0, 0] = np.nan, np.inf
    one, zero = np.ones(6, np.float32), np.zeros(6, np.float32)
    y = network("GroupNormalization", x, (one, zero), num_groups=3)(x)
    assert np.isfinite(y[0, :2]).all() and np.isnan(y[0, 2:4]).all() and not np.isfinite(y[0, 4:]).any()


@pytest.mark.parametrize("shape, dtype", (((2, 6, 3, 3), "float32"), ((2, 6, 8, 8), "float64")))
def test_tiny_planes_and_doubles_are_numpys(shape, dtype):
    x = noise(shape).astype(dtype)
    one, zero = np.ones(6, dtype), np.zeros(6, dtype)
    made = network("GroupNormalization", x, (one, zero), num_groups=2)
    assert how(made, x) == ["NumPy"]
    np.testing.assert_allclose(made(x), standard(x, 2, one, zero, 1e-5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", (nn.GroupNorm(3, 6), nn.InstanceNorm2d(6, affine=True)))
def test_layers_run_as_they_do_by_themselves(layer):
    x = noise((2, 6, 9, 11)) + 1
    np.testing.assert_allclose(layer.prepare(x.shape)(x), layer.predict(x), rtol=1e-5, atol=1e-6)
