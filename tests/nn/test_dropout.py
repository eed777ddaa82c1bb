"""Dropout: how much, of what, by whose choice, and the same in both directions."""

import numpy as np
import pytest

from convkit import nn
from convkit.analysis import check_gradients


def test_so_many_are_dropped_and_the_others_enlarged():
    y = nn.Dropout(0.25, rng=0)(np.ones((100, 1000), np.float32))
    assert set(np.unique(y)) == {0, np.float32(4 / 3)}
    assert abs((y == 0).mean() - 0.25) < 0.005  # 3.6 standard deviations
    assert y.dtype == np.float32


def test_integers_are_refused():
    for layer in (nn.Dropout(0.3, rng=0), nn.Dropout(0.3, rng=0).eval(), nn.Dropout(0)):
        with pytest.raises(TypeError, match="^x must be float32 or float64, got dtype int64"):
            layer(np.full(6, 10))


def test_one_seed_one_choice_and_another_at_the_next_call():
    x = np.ones((8, 8), np.float32)
    one, other = nn.Dropout(rng=5), nn.Dropout(rng=5)
    first = one(x)
    np.testing.assert_array_equal(other(x), first)
    assert np.any(one(x) != first)
    np.testing.assert_array_equal(nn.Dropout(rng=5)(x.astype(np.float64)), first)  # in float64 the same choice


def test_layers_may_share_a_generator():
    rng = np.random.default_rng(0)
    one, other = nn.Dropout(rng=rng), nn.Dropout(rng=rng)
    assert one.rng is other.rng
    assert np.any(one(np.ones(50)) != other(np.ones(50)))


@pytest.mark.parametrize(("layout", "axes"), [("NCHW", (2, 3)), ("NHWC", (1, 2))])
def test_whole_channels(layout, axes):
    shape = (6, 16, 3, 4) if layout == "NCHW" else (6, 3, 4, 16)
    y = nn.Dropout2d(0.5, rng=0, layout=layout)(np.ones(shape, np.float32))
    dropped = (y == 0).sum(axis=axes)
    assert set(np.unique(dropped)) == {0, 12}
    assert 0.3 < (dropped == 12).mean() < 0.7


class Repeated(nn.Module):
    """A dropout that chooses alike at every call."""

    def __init__(self, layer):
        self.layer = layer

    def run(self, x):
        self.layer.rng = np.random.default_rng(0)
        return self.layer.begin(x)


@pytest.mark.parametrize("layer", [nn.Dropout(0.3), nn.Dropout2d(0.6)])
def test_the_gradient_takes_the_same_way(layer):
    assert check_gradients(Repeated(layer), np.random.default_rng(1).standard_normal((3, 4, 2, 3))).ok


@pytest.mark.parametrize(("p", "expected"), [(0, 1), (1, 0)])
def test_none_and_all(p, expected):
    layer, x = nn.Dropout(p), np.full((3, 3), np.inf if p == 0 else 1.0)
    np.testing.assert_array_equal(layer(x), expected * x)
    np.testing.assert_array_equal(layer.backward(np.ones((3, 3))), np.full((3, 3), expected))


def test_what_is_dropped_is_dropped_in_evaluation_not():
    layer, x = nn.Dropout(rng=0).eval(), np.ones((3, 3))
    assert layer(x) is x
    assert layer.backward(x) is x


def test_refusals():
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="p must be a probability from 0 to 1, got"):
            nn.Dropout(p)
    with pytest.raises(ValueError, match=r"x must be a batch of images with 4 axes, got shape \(3, 4\)"):
        nn.Dropout2d()(np.ones((3, 4)))
