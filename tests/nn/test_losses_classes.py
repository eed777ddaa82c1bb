"""Losses over classes against hand-worked numbers, their definitions, and central differences."""

import itertools
import math

import numpy as np
import pytest

import convkit
from cases import pairs
from convkit import nn
from convkit.analysis import check_gradients
from convkit.nn.losses import (
    NothingCountsError,
    multiclass_hinge,
    negative_log_likelihood,
    softmax_cross_entropy,
    zero_one,
)
from convkit.ops import _rows

NOTES = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])  # true classes 0, 1, 2
OVER_CLASSES = (softmax_cross_entropy, negative_log_likelihood, multiclass_hinge, zero_one)


def test_hand_worked():
    loss = softmax_cross_entropy(np.array([[math.log(1), math.log(2), math.log(5)]]), np.array([1]))
    assert loss.value == pytest.approx(math.log(4), rel=1e-15)
    np.testing.assert_allclose(loss.grad, [[1 / 8, 2 / 8 - 1, 5 / 8]], rtol=1e-15)


def test_the_softmax_of_the_notes():
    loss = softmax_cross_entropy(np.array([[3.2, 5.1, -1.7]]), np.array([0]))
    assert loss.grad[0, 0] + 1 == pytest.approx(0.13, abs=0.005)
    assert loss.value == pytest.approx(2.04, abs=0.005)


def test_the_support_vector_machine_of_the_notes():
    loss = multiclass_hinge(NOTES, np.array([0, 1, 2]), reduction="none")
    np.testing.assert_allclose(loss.value, [2.9, 0, 12.9], rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(loss.grad, [[-1, 1, 0], [0, 0, 0], [1, 1, -2]])
    assert multiclass_hinge(NOTES, np.array([0, 1, 2])).value == pytest.approx(15.8 / 3, rel=1e-14)
    assert multiclass_hinge(NOTES[:1], np.array([0]), margin=0.1).value == pytest.approx(2.0, rel=1e-14)


def test_zero_one_is_the_error_rate():
    each = zero_one(NOTES, np.array([0, 1, 2]), reduction="none")
    np.testing.assert_array_equal(each.value, [1, 0, 1])
    mean = zero_one(NOTES, np.array([0, 1, 2]))
    assert mean.value == pytest.approx(2 / 3)
    assert mean.grad.shape == NOTES.shape and not mean.grad.any()
    np.testing.assert_array_equal(zero_one(np.zeros((2, 3)), np.array([0, 1]), reduction="none").value, [0, 1])  # ties


def test_log_likelihood_of_a_log_softmax_is_cross_entropy():
    labels = np.array([0, 1, 2])
    log_softmax = NOTES - np.log(np.exp(NOTES).sum(axis=1, keepdims=True))
    loss = negative_log_likelihood(log_softmax, labels)
    assert loss.value == pytest.approx(softmax_cross_entropy(NOTES, labels).value, rel=1e-14)
    np.testing.assert_allclose(loss.grad, -np.eye(3) / 3, rtol=1e-15)


OPTIONS = {
    softmax_cross_entropy: (
        {},
        {"label_smoothing": 0.3},
        {"ignore_index": 1},
        {"label_smoothing": 0.3, "ignore_index": 1, "class_weights": np.linspace(0.5, 2, 4)},
    ),
    negative_log_likelihood: ({}, {"ignore_index": 1, "class_weights": np.linspace(0.5, 2, 4)}),
    multiclass_hinge: ({}, {"margin": 0.3}),
    zero_one: ({},),
}


@pairs("shape, reduction", [(5, 4), (2, 4, 1, 2), (1, 4)], ["mean", "sum", "none"])
@pytest.mark.parametrize("loss", OVER_CLASSES)
def test_gradient(loss, shape, reduction):
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal(shape), rng.integers(0, shape[1], (shape[0], *shape[2:]))
    labels.flat[0] = 0  # whatever is ignored, one sample counts
    for options in OPTIONS[loss]:
        check_gradients(lambda s, options=options: loss(s, labels, reduction=reduction, **options), scores, rtol=1e-5)


def test_what_is_ignored_does_not_count_at_all():
    scores, labels = NOTES.copy(), np.array([0, -1, 2])
    scores[1] = np.nan
    got = softmax_cross_entropy(scores, labels, ignore_index=-1, label_smoothing=0.1)
    kept = softmax_cross_entropy(NOTES[::2], labels[::2], label_smoothing=0.1)
    assert got.value == pytest.approx(kept.value, rel=1e-14)
    np.testing.assert_allclose(got.grad[::2], kept.grad, rtol=1e-14)
    assert not got.grad[1].any()


def test_class_weights_are_shares_of_a_mean():
    weights = np.array([1.0, 2.0, 5.0])
    each = softmax_cross_entropy(NOTES, np.array([0, 1, 2]), reduction="none").value
    got = softmax_cross_entropy(NOTES, np.array([0, 1, 2]), class_weights=weights)
    assert got.value == pytest.approx((each * weights).sum() / 8, rel=1e-14)


@pytest.mark.parametrize("size", [1e4, 1e30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", OVER_CLASSES)
def test_scores_of_any_size_stay_finite(loss, dtype, size):
    scores = np.array([[size, -size, 0], [-size, size, 0]], dtype)
    got = loss(scores, np.array([0, 0]))
    assert np.isfinite(got.value) and np.isfinite(got.grad).all() and got.grad.dtype == dtype


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


INF = np.inf


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("scores", "label", "value", "softmax"),
    [
        ([0, -INF, 0], 0, math.log(2), [0.5, 0, 0.5]),  # a masked class
        ([0, -INF, 0], 1, INF, [0.5, 0, 0.5]),
        ([INF, 0, -INF], 0, 0, [1, 0, 0]),
        ([INF, 0, -INF], 1, INF, [1, 0, 0]),
        ([INF, 0, INF], 0, math.log(2), [0.5, 0, 0.5]),
        ([-INF, -INF, -INF], 1, math.log(3), [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_infinite_scores(scores, label, value, softmax, dtype):
    scores = np.array([scores, [0, 0, 0]], dtype)
    onehot = np.eye(3)[[label]]
    for weight, options in ((1, {}), (0, {"class_weights": 1 - onehot[0]}), (0, {"ignore_index": label})):
        got = softmax_cross_entropy(scores, np.array([label, (label + 1) % 3]), reduction="none", **options)
        np.testing.assert_allclose(got.value, [value if weight else 0, math.log(3)], rtol=1e-6)
        np.testing.assert_allclose(got.grad[:1], weight * (softmax - onehot), rtol=1e-6)
    np.testing.assert_allclose(nn.Softmax()(scores)[0], softmax, rtol=1e-6)
    logs = nn.LogSoftmax()(scores)
    np.testing.assert_allclose(np.exp(logs[0]), softmax, rtol=1e-6)
    assert negative_log_likelihood(logs[:1], np.array([label])).value == pytest.approx(value, rel=1e-6)


def test_smoothing_asks_for_masked_classes_too_unless_they_have_no_weight():
    scores, labels = np.array([[0, -INF, 0]]), np.array([0])
    smooth = softmax_cross_entropy(scores, labels, label_smoothing=0.3)
    assert smooth.value == INF
    np.testing.assert_allclose(smooth.grad, [[-0.3, -0.1, 0.4]], rtol=1e-14)
    weighed = softmax_cross_entropy(scores, labels, label_smoothing=0.3, class_weights=np.array([1.0, 0, 1]))
    assert weighed.value == pytest.approx(0.7 * math.log(2) + 0.2 * math.log(2), rel=1e-14)


@pytest.mark.parametrize(
    ("scores", "values", "slopes"),
    [
        ([INF, 0, -INF], [0, INF, INF], [[0, 0, 0], [1, -1, 0], [1, 1, -2]]),
        ([0, -INF, -INF], [0, INF, INF], [[0, 0, 0], [1, -2, 1], [1, 1, -2]]),
        ([INF, INF, 0], [1, 1, INF], [[-1, 1, 0], [1, -1, 0], [1, 1, -2]]),
    ],
)
def test_the_hinge_of_infinite_scores(scores, values, slopes):
    got = multiclass_hinge(np.array([scores] * 3), np.arange(3), reduction="none")
    np.testing.assert_array_equal(got.value, values)
    np.testing.assert_array_equal(got.grad, slopes)


@pytest.mark.parametrize("loss", [softmax_cross_entropy, multiclass_hinge])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_score_however_large_makes_a_nan(loss, dtype):
    values = [-INF, -np.finfo(dtype).max, -1e30, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max, INF]
    scores = np.array(list(itertools.product(values, repeat=3)), dtype)
    got = loss(scores, np.arange(len(scores)) % 3, reduction="none")
    assert not np.isnan(got.value).any() and np.isfinite(got.grad).all()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(37, 10), (3, 21, 4, 5), (2, 3, 1, 1), (5, 1), (2, 300)])
def test_cross_entropy_is_as_exact_as_its_dtype_and_has_the_same_bits_for_any_threads_and_strides(shape, dtype):
    rng = np.random.default_rng(0)
    scores, labels = 5 * rng.standard_normal(shape).astype(dtype), rng.integers(0, shape[1], (shape[0], *shape[2:]))
    got = softmax_cross_entropy(scores, labels.astype(np.uint8 if shape[1] < 256 else np.int16), reduction="none")
    wide = np.moveaxis(scores, 1, -1).astype(np.longdouble)
    onehot = np.eye(shape[1])[labels]
    sums = np.exp(wide).sum(-1, keepdims=True)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(got.value, ((np.log(sums) - wide) * onehot).sum(-1), rtol=20 * eps, atol=4 * eps)
    np.testing.assert_allclose(np.moveaxis(got.grad, 1, -1), np.exp(wide) / sums - onehot, rtol=20 * eps, atol=eps)
    with convkit.threads(3):
        again = softmax_cross_entropy(scores[::-1], labels[::-1], reduction="none")
    for one, other in zip(got, again, strict=True):
        np.testing.assert_array_equal(one, other[::-1])
    with nn.inference():
        np.testing.assert_array_equal(softmax_cross_entropy(scores, labels, reduction="none").value, got.value)


@pytest.mark.parametrize("options", [{}, {"ignore_index": 0, "label_smoothing": 0.1}], ids=["plain", "all"])
def test_under_inference_no_memory_is_taken_for_the_gradient(options, monkeypatch):
    taken, empty, scores = [], _rows.empty, np.random.default_rng(0).standard_normal((2, 3, 4), np.float32)
    monkeypatch.setattr(_rows, "empty", lambda shape, dtype: taken.append(shape) or empty(shape, dtype))
    with nn.inference():
        loss = softmax_cross_entropy(scores, np.arange(8).reshape(2, 4) % 3, **options)
    assert taken == [(2, 4)] and loss.grad is None
    assert loss.value == softmax_cross_entropy(scores, np.arange(8).reshape(2, 4) % 3, **options).value


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


@pytest.mark.parametrize("loss", OVER_CLASSES)
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
            "reduction must be one of mean, sum, none, got 'max'",
        ),
    ],
)
def test_bad_input(loss, scores, labels, options, error, message):
    if loss is negative_log_likelihood:
        message = message.replace("scores", "log_probabilities")
    with pytest.raises(error, match="^" + message):
        loss(scores, np.array(labels), **options)


@pytest.mark.parametrize(
    ("loss", "options", "error", "message"),
    [
        (softmax_cross_entropy, {"label_smoothing": 1.5}, ValueError, r"label_smoothing must be a number in \[0, 1\]"),
        (
            softmax_cross_entropy,
            {"label_smoothing": True},
            TypeError,
            "label_smoothing must be .* of type bool",
        ),
        (softmax_cross_entropy, {"class_weights": np.ones(2)}, ValueError, r"class_weights must have shape \(3,\)"),
        (softmax_cross_entropy, {"class_weights": [1, 1, 1]}, TypeError, "class_weights must be float32 or float64"),
        (
            negative_log_likelihood,
            {"class_weights": -np.ones(3)},
            ValueError,
            "class_weights must be finite float64 and at least 0",
        ),
        (softmax_cross_entropy, {"ignore_index": 1}, ValueError, "scores must hold at least one sample that counts"),
        (softmax_cross_entropy, {"ignore_index": 7}, ValueError, ""),
        (multiclass_hinge, {"margin": 0}, ValueError, "margin must be a number above 0, got 0"),
        (multiclass_hinge, {"margin": np.inf}, ValueError, "margin must be a number above 0, got inf"),
    ],
)
def test_bad_options(loss, options, error, message):
    labels = np.array([1, 9 if options.get("ignore_index") == 7 else 1])
    message = message or "labels must be classes 0 to 2, or 7 to be ignored, got 9 at \\(1,\\)"
    with pytest.raises(error, match="^" + message):
        loss(np.zeros((2, 3)), labels, **options)
    if loss is multiclass_hinge:
        with pytest.raises(ValueError, match="^margin must be a number above 0 that float32 can hold, got 1e"):
            loss(np.zeros((2, 3), np.float32), labels, margin=1e39)


def test_a_loss_says_what_it_has_divided_by():
    labels, weights = np.array([0, 2, 2]), np.array([0.5, 1, 4])
    for loss in (softmax_cross_entropy, negative_log_likelihood):
        assert loss(NOTES, labels).weight == 3
        assert loss(NOTES, labels, ignore_index=0).weight == 2
        assert loss(NOTES, labels, class_weights=weights).weight == 8.5
        assert loss(NOTES, labels, class_weights=weights, ignore_index=0).weight == 8
        assert [loss(NOTES, labels, reduction=how).weight for how in ("sum", "none")] == [1, 1]
    assert multiclass_hinge(NOTES, labels).weight == zero_one(NOTES, labels).weight == 3
    value, grad = softmax_cross_entropy(NOTES, labels)
    assert isinstance(value, float) and grad.shape == NOTES.shape
    with pytest.raises(NothingCountsError) as nothing:
        softmax_cross_entropy(NOTES, labels, class_weights=np.array([0, 1, 0.0]), label_smoothing=0.3)
    assert nothing.value.total > 0
