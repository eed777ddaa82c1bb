"""Initialisers: their spread, and one seed giving one set of numbers."""

import math

import numpy as np
import pytest

from convkit import nn
from convkit.nn import init

SHAPE = (64, 32, 3, 3)  # 18,432 numbers: the sample's deviation is within 2 % of the true one


def test_fans_are_counted_as_by_pytorch():
    assert init.fans(SHAPE) == (32 * 9, 64 * 9)
    assert init.fans((10, 7)) == (7, 10)


@pytest.mark.parametrize(
    ("function", "deviation"),
    [
        (init.he, math.sqrt(2 / (32 * 9))),
        (init.he_uniform, math.sqrt(2 / (32 * 9))),
        (init.glorot, math.sqrt(2 / (96 * 9))),
        (init.glorot_normal, math.sqrt(2 / (96 * 9))),
    ],
)
def test_spread(function, deviation):
    values = function(SHAPE, rng=0)
    assert values.dtype == np.float32 and values.shape == SHAPE
    assert values.std() == pytest.approx(deviation, rel=0.02)
    assert abs(values.mean()) < 0.03 * deviation


@pytest.mark.parametrize(("function", "fan"), [(init.glorot, 96 * 9), (init.he_uniform, 32 * 9)])
def test_the_uniform_ones_have_bounds_and_the_others_tails(function, fan):
    assert np.abs(function(SHAPE, rng=0)).max() <= math.sqrt(6 / fan)
    assert np.abs(nn.Conv2d(32, 64, 3, init="glorot_normal", rng=0).weight.data).max() > 3 * math.sqrt(2 / (96 * 9))


def test_zeros():
    assert not init.zeros(SHAPE, rng=0).any()


def test_one_seed_one_set_of_numbers_in_both_dtypes():
    narrow, wide = (nn.Conv2d(3, 5, 3, rng=7, dtype=dtype).weight.data for dtype in ("float32", "float64"))
    np.testing.assert_array_equal(narrow, wide.astype(np.float32))
    assert np.any(nn.Conv2d(3, 5, 3, rng=8).weight.data != narrow)


def test_a_generator_goes_on_from_layer_to_layer():
    rng = np.random.default_rng(0)
    assert np.any(nn.Linear(3, 4, rng=rng).weight.data != nn.Linear(3, 4, rng=rng).weight.data)


def test_an_initialiser_of_ones_own():
    layer = nn.Linear(3, 4, init=lambda shape, *, rng, dtype: np.full(shape, 2, dtype))
    np.testing.assert_array_equal(layer.weight.data, np.full((4, 3), 2, np.float32))
    assert not layer.bias.data.any()


def test_no_inputs_is_no_division_by_zero():
    assert init.he((4, 0, 3, 3)).shape == (4, 0, 3, 3)
