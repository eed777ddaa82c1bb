"""Losses of single scores and of predicted numbers: hand-worked numbers, central differences, extremes, bad input."""

import math

import numpy as np
import pytest

from cases import pairs
from convkit.analysis import check_gradients
from convkit.nn import losses

BINARY = {
    losses.binary_cross_entropy_with_logits: ({}, {"pos_weight": 3.0}),
    losses.focal: ({}, {"gamma": 0.5, "alpha": None}, {"gamma": 0.0}),
    losses.binary_hinge: ({}, {"margin": 0.3}),
    losses.perceptron: ({},),
}
NUMBERS = {
    losses.l1: ({},),
    losses.l2: ({},),
    losses.huber: ({}, {"delta": 0.4}),
    losses.smooth_l1: ({}, {"beta": 0.4}),
}
ALL = BINARY | NUMBERS
SIGNED = (losses.binary_hinge, losses.perceptron)


def known(loss, x):
    """Something that a loss may be asked to compare x with."""
    rng = np.random.default_rng(1)
    if loss in NUMBERS:
        return rng.standard_normal(x.shape).astype(x.dtype)
    bits = rng.integers(0, 2, x.shape)
    return (2 * bits - 1 if loss in SIGNED else bits).astype(x.dtype)


@pairs("shape, reduction", [(7,), (3, 4), (2, 3, 2, 2)], ["mean", "sum", "none"])
@pytest.mark.parametrize("loss", ALL)
def test_gradient(loss, shape, reduction):
    x = np.random.default_rng(0).standard_normal(shape)
    for options in ALL[loss]:
        check_gradients(
            lambda x, options=options: loss(x, known(loss, x), reduction=reduction, **options), x, rtol=1e-5
        )


@pytest.mark.parametrize(
    ("loss", "x", "t", "options", "values", "slopes"),
    [
        (losses.binary_hinge, [0.25, 3, -2, 1], [1, 1, 1, -1], {}, [0.75, 0, 3, 2], [-1, 0, -1, 1]),
        (losses.binary_hinge, [0.25, 3], [1, 1], {"margin": 4}, [3.75, 1], [-1, -1]),
        (losses.perceptron, [0.25, -2, 3, 0], [1, 1, -1, -1], {}, [0, 2, 3, 0], [0, -1, 1, 1]),
        (losses.binary_cross_entropy_with_logits, [0, 0], [1, 0.5], {}, [math.log(2)] * 2, [-0.5, 0]),
        (losses.binary_cross_entropy_with_logits, [math.log(3)], [0], {}, [math.log(4)], [0.75]),
        (losses.focal, [0], [1], {"alpha": None}, [math.log(2) / 4], [-0.125 - 0.25 * math.log(2)]),
        (losses.focal, [0], [0], {"gamma": 0}, [0.75 * math.log(2)], [0.375]),
        (losses.l1, [1.5, -2, 3], [1, 1, 3], {}, [0.5, 3, 0], [1, -1, 0]),
        (losses.l2, [1.5, -2, 3], [1, 1, 3], {}, [0.25, 9, 0], [1, -6, 0]),
        (losses.huber, [1.5, -2, 3], [1, 1, 3], {"delta": 2}, [0.125, 4, 0], [0.5, -2, 0]),
        (losses.smooth_l1, [1.5, -2, 3], [1, 1, 3], {"beta": 2}, [0.0625, 2, 0], [0.25, -1, 0]),
    ],
)
def test_hand_worked(loss, x, t, options, values, slopes):
    x, t = np.array(x, float), np.array(t, float)
    each, total, mean = (loss(x, t, reduction=reduction, **options) for reduction in ("none", "sum", "mean"))
    np.testing.assert_allclose(each.value, values, rtol=1e-14)
    np.testing.assert_allclose(each.grad, slopes, rtol=1e-14)
    assert total.value == pytest.approx(sum(values), rel=1e-14)
    np.testing.assert_array_equal(total.grad, each.grad)
    assert mean.value == pytest.approx(sum(values) / len(values), rel=1e-14)
    np.testing.assert_allclose(mean.grad, np.array(slopes) / len(slopes), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ALL)
def test_scores_of_1e4_and_more(loss, dtype):
    x = np.array([1e4, -1e4, 1e18, -1e18], dtype)
    before = x.copy()
    for t in (known(loss, x), -known(loss, x) if loss in SIGNED else 1 - known(loss, x)):
        got = loss(x, t, reduction="none")
        assert np.isfinite(got.value).all() and np.isfinite(got.grad).all()
        assert got.value.dtype == got.grad.dtype == dtype
    np.testing.assert_array_equal(x, before)


def test_a_wrong_score_of_1e4_costs_1e4():
    for loss in (losses.binary_cross_entropy_with_logits, losses.focal):
        got = loss(np.array([-1e4]), np.array([1.0]), **({"alpha": None} if loss is losses.focal else {}))
        assert got.value == pytest.approx(1e4) and got.grad == pytest.approx(-1)


@pytest.mark.parametrize("loss", ALL)
def test_a_nan_shows(loss):
    got = loss(np.array([np.nan, 1]), known(loss, np.ones(2)))
    assert math.isnan(got.value)


INF = np.inf
SOFT = losses.binary_cross_entropy_with_logits


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("loss", "x", "t", "options", "values", "slopes"),
    [
        (SOFT, [-INF, INF, -INF, INF], [0, 0, 1, 1], {"pos_weight": 3}, [0, INF, INF, 0], [0, 1, -3, 0]),
        (SOFT, [-INF, INF], [0.25, 0.25], {}, [INF, INF], [-0.25, 0.75]),
        (losses.focal, [-INF, INF, -INF, INF], [0, 0, 1, 1], {}, [0, INF, INF, 0], [0, 0.75, -0.25, 0]),
        (losses.focal, [-INF, INF, -INF, INF], [0, 0, 1, 1], {"gamma": 0}, [0, INF, INF, 0], [0, 0.75, -0.25, 0]),
        (losses.focal, [-INF, INF], [1, 1], {"alpha": 0, "gamma": 0.5}, [0, 0], [0, 0]),
        (losses.binary_hinge, [-INF, INF, -INF, INF], [-1, -1, 1, 1], {}, [0, INF, INF, 0], [0, 1, -1, 0]),
        (losses.perceptron, [-INF, INF, -INF, INF], [-1, -1, 1, 1], {}, [0, INF, INF, 0], [0, 1, -1, 0]),
        (losses.l1, [-INF, INF, 1, INF, -INF], [0, 0, -INF, INF, -INF], {}, [INF, INF, INF, 0, 0], [-1, 1, 1, 0, 0]),
        (losses.l2, [-INF, INF, INF], [0, -INF, INF], {}, [INF, INF, 0], [-INF, INF, 0]),
        (losses.huber, [-INF, INF, INF], [0, -INF, INF], {"delta": 3}, [INF, INF, 0], [-3, 3, 0]),
        (losses.smooth_l1, [-INF, INF, INF], [0, -INF, INF], {"beta": 3}, [INF, INF, 0], [-1, 1, 0]),
    ],
)
def test_infinite_scores_have_the_loss_and_the_slope_of_the_limit(loss, x, t, options, values, slopes, dtype):
    x, t = np.array(x, dtype), np.array(t, dtype)
    got = loss(x, t, reduction="none", **options)
    np.testing.assert_array_equal(got.value, values)
    np.testing.assert_array_equal(got.grad, slopes)
    assert got.value.dtype == got.grad.dtype == dtype
    right = np.isfinite(values)
    assert loss(x[right], t[right], reduction="sum", **options).value == 0


@pytest.mark.parametrize("loss", ALL)
def test_no_number_however_large_or_small_makes_a_nan(loss):
    """Above what the dtype has a loss is infinite, without a warning (which is an error here)."""
    for dtype in (np.float32, np.float64):
        info = np.finfo(dtype)
        x = np.array([info.max, 1e30, 90, info.smallest_subnormal, 0], dtype)
        x = np.concatenate([x, -x])
        t = x[::-1] if loss in NUMBERS else np.ones_like(x)
        for reduction in ("none", "sum", "mean"):
            got = loss(x, t, reduction=reduction)
            assert not np.isnan(got.value).any() and not np.isnan(got.grad).any()


def test_squares_beyond_float32_add_up():
    x, t = np.array([1e30, 2e30], np.float32), np.zeros(2, np.float32)
    assert losses.l2(x, t).value == pytest.approx(2.5e60, rel=1e-6)
    assert losses.huber(x, t, delta=1e31, reduction="sum").value == pytest.approx(2.5e60, rel=1e-6)
    np.testing.assert_array_equal(losses.l2(x, t, reduction="none").value, [INF, INF])
    np.testing.assert_allclose(losses.l2(x, t).grad, x)


@pytest.mark.parametrize("loss", ALL)
def test_no_samples(loss):
    none = np.zeros((0, 3), np.float32)
    assert loss(none, none, reduction="sum").value == 0
    assert loss(none, none, reduction="none").value.shape == (0, 3)
    name = "predictions" if loss in NUMBERS else "scores"
    with pytest.raises(ValueError, match=f"{name} must hold at least one sample where reduction is 'mean'"):
        loss(none, none)


@pytest.mark.parametrize("loss", ALL)
def test_bad_input(loss):
    x, t = np.ones((2, 3)), known(loss, np.ones((2, 3)))
    name, other = ("predictions" if loss in NUMBERS else "scores"), ("labels" if loss in SIGNED else "targets")
    with pytest.raises(TypeError, match=f"^{name} must be float32 or float64, got int64"):
        loss(x.astype(int), t)
    with pytest.raises(TypeError, match=f"^{other} must be .*, got bool"):
        loss(x, t > 0)
    with pytest.raises(ValueError, match=rf"^{other} must have the shape of {name}, \(2, 3\), got \(3,\)"):
        loss(x, t[0])
    with pytest.raises(ValueError, match="^reduction must be one of mean, sum, none, got 'max'"):
        loss(x, t, reduction="max")
    if loss not in SIGNED:
        with pytest.raises(TypeError, match=f"^targets must have the dtype of {name}, float64, got float32"):
            loss(x, t.astype(np.float32))
    if loss in BINARY:
        t[1, 2] = 1.5
        expected = {True: "labels must be -1 or 1", False: r"targets must be (in \[0, 1\]|0 or 1)"}[loss in SIGNED]
        with pytest.raises(ValueError, match=rf"^{expected}, got 1.5 at \(1, 2\)"):
            loss(x, t)


@pytest.mark.parametrize(
    ("loss", "option", "value", "error", "expected"),
    [
        (losses.binary_cross_entropy_with_logits, "pos_weight", 0, ValueError, "above 0"),
        (losses.focal, "alpha", 1.5, ValueError, r"in \[0, 1\]"),
        (losses.focal, "gamma", -1, ValueError, "at least 0"),
        (losses.binary_hinge, "margin", -1, ValueError, "above 0"),
        (losses.huber, "delta", 0, ValueError, "above 0"),
        (losses.huber, "delta", np.nan, ValueError, "above 0"),
        (losses.smooth_l1, "beta", 0, ValueError, "above 0"),
        (losses.smooth_l1, "beta", "1", TypeError, "above 0"),
    ],
)
def test_bad_options(loss, option, value, error, expected):
    with pytest.raises(error, match=f"^{option} must be a number {expected}, got {value!r}"):
        loss(np.ones(2), known(loss, np.ones(2)), **{option: value})


@pytest.mark.parametrize(
    ("loss", "option"),
    [
        (losses.binary_cross_entropy_with_logits, "pos_weight"),
        (losses.binary_hinge, "margin"),
        (losses.huber, "delta"),
        (losses.smooth_l1, "beta"),
    ],
)
def test_a_number_that_the_dtype_cannot_hold(loss, option):
    x = np.array([0, 2], np.float32)
    for value in (1e300, 1e-300):
        with pytest.raises(ValueError, match=f"^{option} must be a number above 0 that float32 can hold, got 1e"):
            loss(x, known(loss, x), **{option: value})
        assert not np.isnan(loss(x.astype(np.float64), known(loss, x.astype(np.float64)), **{option: value}).grad).any()
    assert losses.focal(x, np.ones_like(x), gamma=1e300).value == 0  # of any power there is the limit
