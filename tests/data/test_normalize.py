"""Normalisation: hand-worked numbers, there and back, and nothing learned but from what was fitted."""

import math

import numpy as np
import pytest

from convkit import data
from convkit.data import normalize

ALL = (data.ZScore, data.MinMax, data.Log, data.Exp, data.Arctan)


def test_z_score_by_hand():
    x = np.array([[1.0, 10.0], [3.0, 10.0], [5.0, 40.0]])
    score = data.ZScore().fit(x)
    np.testing.assert_allclose(score.offset, [3, 20], rtol=1e-15)
    np.testing.assert_allclose(score.scale, [math.sqrt(8 / 3), math.sqrt(200)], rtol=1e-15)
    np.testing.assert_allclose(score(x)[:, 1], np.array([-10, -10, 20]) / math.sqrt(200), rtol=1e-15)
    every = data.ZScore(axis=None).fit(x)
    np.testing.assert_allclose([every.offset[0], every.scale[0]], [x.mean(), x.std()], rtol=1e-15)


@pytest.mark.parametrize("axis", [1, -1, None])
def test_z_score_gives_each_channel_mean_zero_and_deviation_one(axis, monkeypatch):
    """In blocks of a few samples; the values lie far from zero, where a sum of squares would cancel."""
    monkeypatch.setattr(normalize, "BLOCK", 7)
    x = (1e4 + np.random.default_rng(0).standard_normal((50, 3, 4, 5)) * np.arange(1, 6)).astype(np.float32)
    score = data.ZScore(axis).fit(x)
    others = tuple(i for i in range(4) if axis is None or i != axis % 4)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(score.offset, wide.mean(axis=others).ravel(), rtol=1e-12)
    np.testing.assert_allclose(score.scale, wide.std(axis=others).ravel(), rtol=1e-12)
    y = score(x)
    assert y.dtype == np.float32 and y.shape == x.shape
    np.testing.assert_allclose(y.astype(np.float64).mean(axis=others), 0, atol=1e-3)
    np.testing.assert_allclose(y.astype(np.float64).std(axis=others), 1, rtol=1e-3)


def test_min_max_by_hand():
    x = np.array([[0.0, -4.0], [2.0, 4.0], [1.0, 0.0]])
    bounds = data.MinMax().fit(x)
    np.testing.assert_array_equal(bounds(x), [[0, 0], [1, 1], [0.5, 0.5]])
    np.testing.assert_array_equal(bounds(np.array([[4.0, 8.0]])), [[2, 1.5]])  # beyond what was fitted
    np.testing.assert_array_equal(data.MinMax(axis=None).fit(x)(x), (x + 4) / 8)


def test_given_bounds_need_no_fit_and_change_by_none():
    grey = data.MinMax(0, 255)
    np.testing.assert_array_equal(grey(np.array([0.0, 51.0, 255.0], np.float32)), np.array([0, 0.2, 1], np.float32))
    np.testing.assert_array_equal(grey.fit(np.ones((2, 3)))(np.array([255.0])), [1])


def test_pointwise_by_hand():
    np.testing.assert_allclose(data.Log()(np.array([1.0, 10.0, 1000.0])), [0, 1, 3], rtol=1e-15)
    np.testing.assert_allclose(data.Log(2)(np.array([0.5, 8.0])), [-1, 3], rtol=1e-15)
    np.testing.assert_allclose(data.Exp()(np.array([0.0, 1.0])), [1, math.e], rtol=1e-15)
    np.testing.assert_allclose(data.Arctan()(np.array([0.0, 1.0, -1.0, 1e300])), [0, 0.5, -0.5, 1], rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ALL)
def test_there_and_back(kind, dtype):
    x = (0.1 + np.random.default_rng(0).random((20, 3, 4, 4)) * 3).astype(dtype)
    normalise = kind().fit(x)
    y = normalise(x)
    back = normalise.inverse(y)
    assert y.dtype == back.dtype == dtype and not np.array_equal(y, x)
    np.testing.assert_allclose(back, x, rtol=1e-5 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("value", [7.0, 0.1, 1 / 3, 1e30, -1e200])  # the mean of a hundred 0.1 is not quite 0.1
def test_a_channel_that_never_changes_becomes_zero(value):
    x = np.full((700, 2, 3), value)
    for kind in (data.ZScore, data.MinMax):
        np.testing.assert_array_equal(kind().fit(x)(x), 0)


@pytest.mark.parametrize(
    ("dtype", "offset", "unit"),
    [
        ("float32", 1000, 2.0**-10),
        ("float32", 0, 2.0**100),
        ("float64", 1e9, 2.0**-20),
        ("float64", 0, 2.0**664),
        ("float64", 0, 2.0**-664),
    ],
)
@pytest.mark.parametrize("kind", [data.ZScore, data.MinMax])
def test_the_same_wherever_the_values_lie(kind, dtype, offset, unit):
    """x is ``offset + unit * whole number``, exactly, and comes out as the whole numbers do."""
    whole = np.random.default_rng(0).integers(-8, 9, (600, 2)).astype(float)
    x = (offset + unit * whole).astype(dtype)
    fitted, tolerance = kind().fit(x), 1e-6 if dtype == "float32" else 1e-12
    y = fitted(x)
    # Near 1e9 the mean, a float64, is right to 2**-24, a sixteenth of these units.
    bound = 0.02 if (offset, kind) == (1e9, data.ZScore) else tolerance
    np.testing.assert_allclose(y, kind().fit(whole)(whole), rtol=tolerance, atol=bound)
    np.testing.assert_allclose(fitted.inverse(y), x, rtol=tolerance, atol=unit * bound)


@pytest.mark.parametrize("kind", [data.ZScore, data.MinMax])
def test_what_was_fitted_stands_whatever_is_normalised_after(kind):
    rng = np.random.default_rng(0)
    x, held_out = rng.random((30, 2)), rng.random((30, 2)) * 9
    one, other = kind().fit(x), kind().fit(x)
    other(held_out)
    np.testing.assert_array_equal(one(x), other(x))
    assert not np.array_equal(one(held_out), kind().fit(np.concatenate([x, held_out]))(held_out))


@pytest.mark.parametrize("kind", [data.ZScore, data.MinMax])
def test_what_is_refused(kind):
    with pytest.raises(RuntimeError, match=f"{kind.__name__}: call fit on the training samples first"):
        kind()(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="axis must be that of the channels or None, got 0"):
        kind(axis=0)
    with pytest.raises(ValueError, match="x must hold at least one sample to fit, got none"):
        kind().fit(np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"x must hold at least one value in each channel .* got shape \(2, 3, 0\)"):
        kind().fit(np.zeros((2, 3, 0)))
    with pytest.raises(TypeError, match="x must be float32 or float64, got dtype uint8"):
        kind().fit(np.zeros((2, 3), np.uint8))
    fitted = kind().fit(np.random.default_rng(0).random((4, 3)))
    for shape in ((2, 4), (3,)):
        with pytest.raises(ValueError, match=r"x must have 3 channels on axis 1, .* got shape"):
            fitted(np.zeros(shape))
    with pytest.raises(ValueError, match="y must have 3 channels on axis 1"):
        fitted.inverse(np.zeros((2, 4)))


@pytest.mark.parametrize("bounds", [(0, None), (None, 1), (1, 1), (2, 1), (0, math.inf), (math.nan, 1)])
def test_bounds_that_are_none(bounds):
    with pytest.raises(
        (TypeError, ValueError), match="lo and hi must be two finite numbers, lo < hi, or both None, got"
    ):
        data.MinMax(*bounds)


def test_where_there_is_no_logarithm_or_tangent():
    for base in (0, 1, -2, math.inf, math.nan):
        with pytest.raises(ValueError, match="base must be a finite number above 0 and not 1, got"):
            data.Log(base)
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="x must be above 0 everywhere to have a logarithm, got"):
            data.Log()(np.array([1.0, bad]))
        with pytest.raises(ValueError, match="y must be above 0 everywhere to have a logarithm, got"):
            data.Exp().inverse(np.array([1.0, bad]))
    with pytest.raises(ValueError, match="y must lie between -1 and 1 everywhere, got -0.5 to 2.0"):
        data.Arctan().inverse(np.array([-0.5, 2.0]))
    with pytest.raises(TypeError, match="x must be a float32 or float64 array, got list"):
        data.Log()([1.0])
