"""Cutting a set into batches."""

import numpy as np
import pytest

from convkit import data


def epoch(batches):
    return [y.tolist() for _, y in batches]


def test_in_the_given_order():
    x, y = np.arange(10).reshape(5, 2), np.arange(5)
    batches = data.minibatches(x, y, 2, shuffle=False)
    assert epoch(batches) == [[0, 1], [2, 3], [4]]
    for images, labels in batches:
        np.testing.assert_array_equal(images, x[labels])
    assert epoch(data.minibatches(x, y, 2, shuffle=False, drop_last=True)) == [[0, 1], [2, 3]]


def test_every_epoch_has_each_sample_once_in_an_order_of_its_own():
    x = y = np.arange(50)
    batches = data.minibatches(x, y, 8, rng=0)
    first, second = epoch(batches), epoch(batches)
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == list(range(50))
    assert first != second
    again = data.minibatches(x, y, 8, rng=np.random.default_rng(0))
    assert [epoch(again), epoch(again)] == [first, second]


@pytest.mark.parametrize(
    ("n", "size", "drop", "count"),
    [(50_000, 256, False, 196), (50_000, 256, True, 195), (4, 2, True, 2), (0, 3, False, 0)],
)
def test_length(n, size, drop, count):
    batches = data.minibatches(np.zeros(n), np.zeros(n), size, drop_last=drop)
    assert len(batches) == len(list(batches)) == count


def test_bad_input():
    with pytest.raises(ValueError, match="y must hold one label for each of the 3 samples of x, got 2"):
        data.minibatches(np.zeros(3), np.zeros(2), 1)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        data.minibatches(np.zeros(3), np.zeros(3), 0)
