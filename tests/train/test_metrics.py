"""Accuracy, top-k and confusion, by hand and against scikit-learn."""

import numpy as np
import pytest

from convkit import train

SCORES = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
LABELS = np.array([0, 1, 2])


def test_by_hand():
    assert train.accuracy(SCORES, LABELS) == 1 / 3
    assert [train.top_k(SCORES, LABELS, k) for k in (1, 2, 3, 9)] == [1 / 3, 2 / 3, 1, 1]
    np.testing.assert_array_equal(train.confusion_matrix([0, 1, 1, 2], [2, 1, 0, 2]), [[0, 0, 1], [1, 1, 0], [0, 0, 1]])


@pytest.mark.thorough
def test_as_scikit_learn_has_it():
    import sklearn.metrics

    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((500, 7)), rng.integers(0, 7, 500)
    guesses = scores.argmax(axis=1)
    assert train.accuracy(scores, labels) == sklearn.metrics.accuracy_score(labels, guesses)
    for k in range(1, 7):
        expected = sklearn.metrics.top_k_accuracy_score(labels, scores, k=k)
        assert train.top_k(scores, labels, k) == pytest.approx(expected, rel=1e-14)
    expected = sklearn.metrics.confusion_matrix(labels, guesses)
    np.testing.assert_array_equal(train.confusion_matrix(labels, guesses), expected)


def test_of_equal_scores_the_first_counts_and_nan_never():
    scores = np.zeros((4, 4))
    assert [train.top_k(scores, np.arange(4), k) for k in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1]
    assert train.accuracy(scores, np.zeros(4, int)) == 1
    nan = np.full((2, 3), np.nan)
    assert train.top_k(nan, np.array([0, 1]), 3) == 0
    assert train.accuracy(np.array([[np.nan, 5.0]]), np.array([1])) == 0


def test_pixels_are_samples():
    scores = np.random.default_rng(0).standard_normal((3, 4, 5, 6))
    labels = scores.argmax(axis=1)
    labels[0, 0, :3] = (labels[0, 0, :3] + 1) % 4
    assert train.accuracy(scores, labels) == pytest.approx(87 / 90)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64])
def test_labels_of_few_bits(dtype):
    labels, guesses = np.array([0, 127], dtype), np.array([1, 127], dtype)
    matrix = train.confusion_matrix(labels, guesses)
    assert (matrix.shape, matrix[0, 1], matrix[127, 127], matrix.sum()) == ((128, 128), 1, 1, 2)


def test_classes_that_do_not_occur():
    np.testing.assert_array_equal(train.confusion_matrix([0, 0], [0, 1], 3), [[1, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert train.confusion_matrix(np.zeros(0, int), np.zeros(0, int)).shape == (0, 0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: train.accuracy(SCORES, LABELS[:2]), ValueError, r"labels must have shape \(N, \*\)"),
        (lambda: train.accuracy(SCORES[0], LABELS), ValueError, r"labels must have shape \(N, \*\)"),
        (lambda: train.accuracy(SCORES, LABELS * 1.0), TypeError, "labels must be integers, got float64"),
        (lambda: train.accuracy(SCORES[:0], LABELS[:0]), ValueError, "scores must hold at least one sample"),
        (lambda: train.accuracy(SCORES, LABELS + 1), ValueError, "labels must be classes 0 to 2, got 1 to 3"),
        (lambda: train.top_k(SCORES, LABELS, 0), ValueError, "k must be at least 1, got 0"),
        (lambda: train.top_k(SCORES, LABELS, 1.0), TypeError, "k must be an int, got 1.0"),
        (lambda: train.confusion_matrix([0], [0, 1]), ValueError, r"guesses must have the shape of labels, \(1,\)"),
        (lambda: train.confusion_matrix([0], [3], 3), ValueError, "guesses must be classes 0 to 2, got 3 to 3"),
        (lambda: train.confusion_matrix([-1], [0]), ValueError, "labels must be classes 0 to 0, got -1 to -1"),
        (lambda: train.confusion_matrix([0.5], [0]), TypeError, "labels must be integers, got float64"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
