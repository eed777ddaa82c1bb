"""Nodes of networks at the ends of what numbers can be, infinite, huge or constant; and as the layers they are of."""

import math

import numpy as np
import pytest

from convkit import nn
from convkit.graph import OPS

INF = math.inf
ENDS = np.array([-INF, -1e30, 0, 1e30, INF])


@np.errstate(all="ignore")  # as a network
def run(op, *arrays, **attrs):
    return OPS[op].run(attrs, *arrays)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("op", "attrs", "least", "most"),
    [
        ("Gelu", {}, 0, INF),
        ("Gelu", {"approximate": "tanh"}, 0, INF),
        ("Swish", {"alpha": 1.5}, 0, INF),
        ("Swish", {"alpha": 0.0}, -INF, INF),
        ("HardSwish", {}, 0, INF),
        ("Mish", {}, 0, INF),
        ("Softsign", {}, -1, 1),
    ],
)
def test_activations_have_their_limits(op, attrs, least, most, dtype):
    y = run(op, ENDS.astype(dtype), **attrs)
    assert y.dtype == dtype and y[0] == least and y[-1] == most and np.isfinite(y[1:-1]).all() and y[2] == 0


@pytest.mark.parametrize(("dtype", "sizes"), [("float32", (1e30, 1e-30)), ("float64", (1e200, 1e-200))])
def test_squares_neither_overflow_nor_vanish(dtype, sizes):
    for size in sizes:
        x = np.full((2, 4), size, dtype)
        np.testing.assert_allclose(run("ReduceL2", x, np.array([1])) / size, 2, rtol=1e-6)
        np.testing.assert_allclose(run("LpNormalization", x), 0.5, rtol=1e-6)
        np.testing.assert_allclose(run("LpNormalization", x, p=1), 0.25, rtol=1e-6)
        rms = run("RMSNormalization", x, np.ones(4, dtype), epsilon=0.0)
        np.testing.assert_allclose(rms, 1, rtol=1e-6)
    assert run("ReduceL2", np.zeros((2, 0), dtype), np.array([1])).tolist() == [[0], [0]]
    assert not run("LpNormalization", np.zeros((2, 4), dtype)).any()


NORMS = {
    "instance": ("InstanceNormalization", {}, (4,), (2, 3)),
    "group": ("GroupNormalization", {"num_groups": 2}, (4,), None),
    "layer": ("LayerNormalization", {"axis": 1}, (4, 6, 5), (1, 2, 3)),
    "rows": ("LayerNormalization", {"axis": -1}, (5,), (3,)),
    "mean_variance": ("MeanVarianceNormalization", {}, None, (0, 2, 3)),
}


def normed(kind, x):
    """What a node makes of x, with weight 1 and bias 0."""
    op, attrs, shape, _ = NORMS[kind]
    return first(run(op, x, *([] if shape is None else [np.ones(shape, x.dtype), np.zeros(shape, x.dtype)]), **attrs))


def first(y):
    return y[0] if isinstance(y, tuple) else y


def expected(kind, x, epsilon=1e-5):
    """The same by the definition, in float64."""
    x, axes = x.astype(np.float64), NORMS[kind][3]
    rows, axes = (x, axes) if axes is not None else (x.reshape(2, 2, -1), (2,))
    epsilon = epsilon if kind != "mean_variance" else 0
    y = (rows - rows.mean(axes, keepdims=True)) / np.sqrt(rows.var(axes, keepdims=True) + epsilon)
    return y.reshape(x.shape)


@pytest.mark.parametrize("kind", NORMS)
def test_norms_are_right_whatever_the_mean_and_the_size(kind):
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 5))
    for mean, deviation in ((0, 1), (1000, 1e-3), (1e6, 1.0), (0, 1e8)):
        shifted = (mean + deviation * x).astype(np.float32)
        np.testing.assert_allclose(normed(kind, shifted), expected(kind, shifted), rtol=2e-5, atol=2e-5)
    for dtype, size in (("float32", 1e30), ("float64", 1e200)):
        y = normed(kind, (x * size).astype(dtype))
        np.testing.assert_allclose(y, expected(kind, x, 0), rtol=1e-5, atol=1e-6)
    for constant in (127.3, 1e6, 1e30):
        assert not normed(kind, np.full((2, 4, 6, 5), constant, np.float32)).any()


def test_statistics_in_training_are_right_too():
    x = np.full((3, 2, 32, 32), 127.3, np.float32)
    one, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
    y, mean, variance = run("BatchNormalizationInTraining", x, one, zero + 0.5, zero, one)
    assert (y == 0.5).all()
    np.testing.assert_allclose([*mean, *variance], [12.73, 12.73, 0.9, 0.9], rtol=1e-6)


@pytest.mark.parametrize("shape", ((3, 5, 7), (7,)))
def test_a_network_normalises_samples_as_a_layer_does(shape):
    """In one pass less, so that a bit may differ."""
    layer, x = nn.LayerNorm(shape), 40 + np.random.default_rng(1).standard_normal((2, 3, 5, 7), np.float32)
    network = layer.prepare()
    for batch in (x, x[:0], np.where(np.arange(7) == 3, np.float32(np.inf), x)):
        np.testing.assert_allclose(network(batch), layer.predict(batch), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layer", [nn.GroupNorm(1, 3), nn.InstanceNorm2d(3)], ids=repr)
def test_a_network_has_the_bits_of_a_layer_that_normalises(layer):
    x = 40 + np.random.default_rng(1).standard_normal((2, 3, 5, 7), np.float32)
    network = layer.prepare()
    for batch in (x, x[:0], np.where(np.arange(7) == 3, np.float32(np.inf), x)):
        np.testing.assert_array_equal(network(batch), layer.predict(batch))


def test_layer_normalisation_gives_its_statistics():
    x = np.array([[1, 3], [1e6, 1e6 + 2]], np.float32)
    _, mean, inverse = run("LayerNormalization", x, np.ones(2, np.float32), epsilon=0.0)
    assert mean.tolist() == [[2], [1e6 + 1]] and inverse.tolist() == [[1], [1]]


def test_what_is_ignored_costs_nothing_even_if_impossible():
    x, both = np.array([[-INF, 0], [0, -INF]], np.float32), np.array([0, 1])
    assert run("NegativeLogLikelihoodLoss", x, np.array([-1, 0]), ignore_index=-1) == 0
    none = run("NegativeLogLikelihoodLoss", x, both, np.zeros(2, np.float32), reduction="none")
    assert none.tolist() == [0, 0]


def test_attention_to_what_is_infinitely_like():
    q = np.array([[[[1e30, 0], [0, 1]]]], np.float32)
    y, *_ = run("Attention", q, q, q)
    np.testing.assert_array_equal(y[0, 0, 0], q[0, 0, 0])
    y, *_ = run("Attention", q, q, q, np.array([[False, False], [False, True]]))
    np.testing.assert_array_equal(y, [[[[0, 0], [0, 1]]]])
