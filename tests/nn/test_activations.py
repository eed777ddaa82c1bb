"""Activations far from zero, at zero, and at NaN."""

import math

import numpy as np
import pytest

from convkit import nn

ALL = {
    "step": nn.Step(),
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "leaky_relu": nn.LeakyReLU(),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU("tanh"),
    "softplus": nn.Softplus(),
    "hardsigmoid": nn.Hardsigmoid(),
    "hardswish": nn.Hardswish(),
}
RECTIFIERS = {
    "relu": 0,
    "leaky_relu": -10,
    "elu": -1,
    "silu": 0,
    "gelu": 0,
    "gelu_tanh": 0,
    "softplus": 0,
    "hardswish": 0,
}


@pytest.mark.parametrize("layer", [*ALL.values(), nn.PReLU(dtype="float64")], ids=lambda layer: type(layer).__name__)
def test_a_number_is_an_array_without_axes_and_integers_are_refused(layer):
    y = layer(np.array(2.0))
    assert isinstance(y, np.ndarray) and y.shape == () == np.shape(layer.backward(np.ones(())))
    with pytest.raises(TypeError, match="^x must be "):
        layer(np.arange(3))


def test_the_perceptrons_step():
    step = nn.Step()
    np.testing.assert_array_equal(step(np.array([-2.0, -0.0, 0.0, 1e-300, np.nan])), [0, 1, 1, 1, np.nan])
    np.testing.assert_array_equal(step.backward(np.full(5, 3.0)), np.zeros(5))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RECTIFIERS)
def test_far_from_zero(name, dtype):
    layer = ALL[name]
    np.testing.assert_allclose(layer(np.array([1000.0, -1000.0], dtype)), [1000, RECTIFIERS[name]], rtol=1e-6)
    below = 0.01 if name == "leaky_relu" else 0
    np.testing.assert_allclose(layer.backward(np.ones(2, dtype)), [1, below], rtol=1e-6)


def test_relu6_is_cut_off_on_both_sides():
    layer = nn.ReLU6()
    np.testing.assert_array_equal(layer(np.array([-1.0, 0.0, 2.5, 6.0, 7.0])), [0, 0, 2.5, 6, 6])
    np.testing.assert_array_equal(layer.backward(np.ones(5)), [0, 0, 1, 0, 0])


def test_prelu_learns_a_slope_for_each_channel():
    layer, x = nn.PReLU(2, 0.5, dtype="float64"), np.array([[[-2.0, 4], [-6, -np.inf]]])
    np.testing.assert_array_equal(layer(x), [[[-1, 4], [-3, -np.inf]]])
    np.testing.assert_array_equal(layer.backward(np.array([[[3.0, 5], [7, 0]]])), [[[1.5, 5], [3.5, 0]]])
    np.testing.assert_array_equal(layer.weight.grad, [-6, -42])
    with pytest.raises(ValueError, match=r"x must have 2 channels, one for each slope, got shape \(1, 3\)"):
        layer(np.zeros((1, 3)))
    with pytest.raises(TypeError, match="x must have the dtype of the layer's weight, float64, got float32"):
        layer(np.zeros((1, 2), np.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_sigmoid_far_from_zero(dtype):
    y = nn.Sigmoid()(np.array([1e4, -1e4, 50, -50], dtype))
    np.testing.assert_allclose(y, [1, 0, 1, math.exp(-50)], rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_nan_passes_through_and_touches_nothing_else(name):
    y = ALL[name](np.array([1.0, np.nan, -1.0]))
    np.testing.assert_array_equal(np.isnan(y), [False, True, False])


LIMITS = {  # at minus and plus infinity: y, and the derivative
    "step": (0, 1, 0, 0),
    "relu": (0, np.inf, 0, 1),
    "relu6": (0, 6, 0, 0),
    "leaky_relu": (-np.inf, np.inf, 0.01, 1),
    "leaky_relu_0": (0, np.inf, 0, 1),
    "elu": (-1, np.inf, 0, 1),
    "selu": (-1.0507009873554805 * 1.6732632423543772, np.inf, 0, 1.0507009873554805),
    "sigmoid": (0, 1, 0, 0),
    "tanh": (-1, 1, 0, 0),
    "silu": (0, np.inf, 0, 1),
    "gelu": (0, np.inf, 0, 1),
    "gelu_tanh": (0, np.inf, 0, 1),
    "softplus": (0, np.inf, 0, 1),
    "hardsigmoid": (0, 1, 0, 0),
    "hardswish": (0, np.inf, 0, 1),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LIMITS)
def test_infinities_and_what_is_next_to_them(name, dtype):
    layer = nn.LeakyReLU(0.0) if name == "leaky_relu_0" else ALL[name]
    below, above, slope_below, slope_above = LIMITS[name]
    large = np.array([1e10, 1e20, np.finfo(dtype).max / 8], dtype)  # whose squares or cubes overflow
    y = layer(np.concatenate([[-np.inf], -large, large, [np.inf]]).astype(dtype))
    np.testing.assert_allclose(y[[0, -1]], [below, above], rtol=1e-6)
    np.testing.assert_allclose(y[4:-1], np.minimum(above, slope_above * large) if slope_above else above, rtol=1e-6)
    slopes = layer.backward(np.ones(8, dtype))
    np.testing.assert_allclose(slopes, [slope_below] * 4 + [slope_above] * 4, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_of_large_scores(dtype):
    x = np.array([[1e4, 1e4, -1e4]], dtype)
    np.testing.assert_allclose(nn.Softmax()(x), [[0.5, 0.5, 0]])
    np.testing.assert_allclose(nn.LogSoftmax()(x), [[-math.log(2), -math.log(2), -2e4]], rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_has_the_bits_of_a_network_for_any_axis_and_view(dim, dtype):
    layer, x = nn.Softmax(dim), np.random.default_rng(0).standard_normal((5, 19, 3)).astype(dtype)
    y = layer(x)
    np.testing.assert_array_equal(layer.prepare()(x), y)
    np.testing.assert_array_equal(layer(np.asfortranarray(x)), y)
    np.testing.assert_allclose(y.sum(axis=dim), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", [nn.Softmax, nn.LogSoftmax])
def test_softmax_of_nothing_of_a_number_and_of_what_it_does_not_take(kind):
    for shape in ((0, 3), (3, 0)):
        layer = kind()
        assert layer(np.empty(shape)).shape == layer.backward(np.empty(shape)).shape == shape
    for dim in (0, -1):
        assert kind(dim)(np.array(3.0)) == (kind is nn.Softmax)
        assert np.shape(kind(dim)(np.array(3.0))) == ()
    with pytest.raises(np.exceptions.AxisError, match="axis 2 is out of bounds for array of dimension 2"):
        kind(2)(np.zeros((3, 4)))
    for x in (np.ones((2, 3), int), np.ones((2, 3), np.float16), np.ma.ones((2, 3)), [[1.0, 2.0]]):
        with pytest.raises(TypeError, match="x must be "):
            kind()(x)


def test_the_softmax_of_the_notes():
    assert nn.Softmax()(np.array([[3.2, 5.1, -1.7]]))[0, 0] == pytest.approx(0.13, abs=0.005)


def test_selu_keeps_mean_and_variance():
    y = nn.SELU()(np.random.default_rng(0).standard_normal(1_000_000))
    assert abs(y.mean()) < 0.005 and abs(y.std() - 1) < 0.005


def test_refusals():
    with pytest.raises(ValueError, match="approximate must be 'none' or 'tanh', got 'fast'"):
        nn.GELU("fast")
    with pytest.raises(ValueError, match="beta must be a finite number above 0, got 0"):
        nn.Softplus(0)
