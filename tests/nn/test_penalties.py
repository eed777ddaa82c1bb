"""Penalties on weights: by hand, against central differences, and against weight decay."""

import numpy as np
import pytest

from convkit import nn, optim
from convkit.nn.losses import l1_penalty, l2_penalty


def model():
    layer = nn.Linear(2, 1, dtype="float64", rng=0)
    layer.weight.data[:], layer.bias.data[:] = [[3, -4]], [2]
    return nn.Sequential(layer)


@pytest.mark.parametrize(
    ("penalty", "biases", "value", "weight", "bias"),
    [
        (l1_penalty, False, 0.7, [[0.1, -0.1]], None),
        (l1_penalty, True, 0.9, [[0.1, -0.1]], [0.1]),
        (l2_penalty, False, 2.5, [[0.6, -0.8]], None),
        (l2_penalty, True, 2.9, [[0.6, -0.8]], [0.4]),
    ],
)
def test_by_hand(penalty, biases, value, weight, bias):
    network = model()
    got = penalty(network, 0.1, biases=biases)
    assert got.value == pytest.approx(value, rel=1e-14)
    got.backward()
    np.testing.assert_allclose(network[0].weight.grad, weight, rtol=1e-14)
    if biases:
        np.testing.assert_allclose(network[0].bias.grad, bias, rtol=1e-14)
    else:
        assert network[0].bias.grad is None


@pytest.mark.parametrize("penalty", [l1_penalty, l2_penalty])
def test_gradient(penalty):
    network = nn.Sequential(nn.Linear(3, 4, dtype="float64", rng=0), nn.Linear(4, 2, dtype="float64", rng=1))
    pairs = penalty(network, 0.3, biases=True).grads
    assert len(pairs) == 4
    for parameter, grad in pairs:
        for i in np.ndindex(parameter.shape):
            here = parameter.data[i]
            parameter.data[i] = here + 1e-6
            above = penalty(network, 0.3, biases=True).value
            parameter.data[i] = here - 1e-6
            below = penalty(network, 0.3, biases=True).value
            parameter.data[i] = here
            if here:  # a bias of 0 lies in the kink of |w|
                assert grad[i] == pytest.approx((above - below) / 2e-6, rel=1e-5)


def test_it_is_weight_decay():
    penalised, decayed = model(), model()
    for network in (penalised, decayed):
        network.backward(network(np.ones((1, 2))) ** 0)
    l2_penalty(penalised, 0.05, biases=True).backward()
    optim.SGD(penalised.parameters(), 0.1).step()
    optim.SGD(decayed.parameters(), 0.1, weight_decay=0.1).step()
    for one, other in zip(penalised.parameters(), decayed.parameters(), strict=True):
        np.testing.assert_allclose(one.data, other.data, rtol=1e-14)


def test_what_is_frozen_has_no_part():
    network = model()
    network[0].weight.trainable = False
    assert l2_penalty(network, 0.1) == (0.0, [])


@pytest.mark.parametrize(
    ("penalty", "weights", "strength", "value", "weight"),
    [
        (l2_penalty, [[3e200, -4e200]], 1e-100, 2.5e301, [[6e100, -8e100]]),  # the squares alone overflow
        (l2_penalty, [[3e-200, -4e-200]], 1e300, 2.5e-99, [[6e100, -8e100]]),  # or vanish
        (l2_penalty, [[3e200, -4e200]], 1.0, np.inf, [[6e200, -8e200]]),
        (l1_penalty, [[1.5e308, -1.5e308]], 0.1, 3e307, [[0.1, -0.1]]),
        (l1_penalty, [[np.inf, -4]], 0.1, np.inf, [[0.1, -0.1]]),
        (l2_penalty, [[np.inf, -4]], 0.1, np.inf, [[np.inf, -0.8]]),
        (l1_penalty, [[np.nan, -4]], 0.1, np.nan, [[np.nan, -0.1]]),
        (l1_penalty, [[np.inf, np.nan]], 0, 0, [[0, 0]]),
        (l2_penalty, [[np.inf, np.nan]], 0, 0, [[0, 0]]),
    ],
)
def test_limits(penalty, weights, strength, value, weight):
    network = model()
    network[0].weight.data[:] = weights
    got = penalty(network, strength)
    assert got.value == pytest.approx(value, rel=1e-14, abs=0, nan_ok=True)
    np.testing.assert_allclose(got.grads[0][1], weight, rtol=1e-14)


def test_bad_input():
    with pytest.raises(TypeError, match="model must be a Module, got list"):
        l2_penalty(list(model().parameters()), 0.1)
    with pytest.raises(ValueError, match="strength must be a number of at least 0, got -1"):
        l1_penalty(model(), -1)
    with pytest.raises(TypeError, match="strength must be a number of at least 0, got None"):
        l1_penalty(model(), None)
