"""Softmax cross-entropy against hand-worked numbers, its definition, and central differences."""

import math

import numpy as np
import pytest

from convkit.analysis import check_gradients
from convkit.nn.losses import softmax_cross_entropy


def test_hand_worked():
    loss = softmax_cross_entropy(np.array([[math.log(1), math.log(2), math.log(5)]]), np.array([1]))
    assert loss.value == pytest.approx(math.log(4), rel=1e-15)
    np.testing.assert_allclose(loss.grad, [[1 / 8, 2 / 8 - 1, 5 / 8]], rtol=1e-15)


def test_the_softmax_of_the_notes():
    loss = softmax_cross_entropy(np.array([[3.2, 5.1, -1.7]]), np.array([0]))
    assert loss.grad[0, 0] + 1 == pytest.approx(0.13, abs=0.005)
    assert loss.value == pytest.approx(2.04, abs=0.005)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 2, 4), (1, 1)])
def test_gradient(shape, reduction):
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal(shape), rng.integers(0, shape[1], (shape[0], *shape[2:]))
    assert check_gradients(lambda s: softmax_cross_entropy(s, labels, reduction=reduction), scores, rtol=1e-5).ok


def test_reductions_are_of_the_samples_losses():
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    each = softmax_cross_entropy(scores, labels, reduction="none")
    assert each.value.shape == (6,)
    np.testing.assert_allclose(
        each.value, [np.log(np.exp(s).sum()) - s[c] for s, c in zip(scores, labels, strict=True)], rtol=1e-13
    )
    total, mean = (softmax_cross_entropy(scores, labels, reduction=r) for r in ("sum", "mean"))
    assert isinstance(mean.value, float)
    assert total.value == pytest.approx(each.value.sum(), rel=1e-14)
    assert mean.value == pytest.approx(each.value.mean(), rel=1e-14)
    np.testing.assert_array_equal(total.grad, each.grad)
    np.testing.assert_allclose(mean.grad, each.grad / 6, rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_scores(dtype):
    scores = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4]], dtype)
    loss = softmax_cross_entropy(scores, np.array([1, 0, 0]), reduction="none")
    assert loss.grad.dtype == dtype
    np.testing.assert_allclose(loss.value, [2e4, math.log(3), math.log(2)], rtol=1e-6)
    np.testing.assert_allclose(loss.grad, [[1, -1, 0], [-2 / 3, 1 / 3, 1 / 3], [-0.5, 0.5, 0]], rtol=1e-6)


def test_the_scores_are_not_changed():
    scores = np.random.default_rng(0).standard_normal((3, 4))
    before = scores.copy()
    softmax_cross_entropy(scores, np.zeros(3, np.int32))
    np.testing.assert_array_equal(scores, before)


def test_no_samples():
    none = np.zeros((0, 3), np.float32), np.zeros(0, np.int64)
    assert softmax_cross_entropy(*none, reduction="sum").value == 0
    assert softmax_cross_entropy(*none, reduction="none").value.shape == (0,)
    with pytest.raises(ValueError, match="scores must hold at least one sample where reduction is 'mean'"):
        softmax_cross_entropy(*none)


@pytest.mark.parametrize(
    ("scores", "labels", "options", "error", "message"),
    [
        (np.zeros((2, 3), int), [0, 1], {}, TypeError, "scores must be float32 or float64, got int64"),
        (np.zeros((2, 3)), [0.0, 1.0], {}, TypeError, "labels must be integers, got float64"),
        (np.zeros((2, 3)), [True, False], {}, TypeError, "labels must be integers, got bool"),
        (np.zeros(3), [0], {}, ValueError, r"scores must have shape \(N, classes, \*\), got shape \(3,\)"),
        (np.zeros((2, 3)), [0], {}, ValueError, r"labels must have shape \(2,\) .* got \(1,\)"),
        (np.zeros((2, 3)), [0, 3], {}, ValueError, r"labels must be classes 0 to 2, got 3 at \(1,\)"),
        (np.zeros((2, 3)), [-1, 0], {}, ValueError, r"labels must be classes 0 to 2, got -1 at \(0,\)"),
        (
            np.zeros((2, 3)),
            [0, 1],
            {"reduction": "max"},
            ValueError,
            "reduction must be 'mean', 'sum' or 'none', got 'max'",
        ),
    ],
)
def test_bad_input(scores, labels, options, error, message):
    with pytest.raises(error, match=message):
        softmax_cross_entropy(scores, np.array(labels), **options)
