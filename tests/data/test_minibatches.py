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


def test_it_goes_on_from_where_a_state_was_taken():
    x = np.arange(23)
    whole = data.minibatches(x, x, 4, rng=0)
    expected = [epoch(whole), epoch(whole)]
    for taken in range(1, 7):
        rng = np.random.default_rng(0)
        first, second = data.minibatches(x, x, 4, rng=rng), data.minibatches(x, x, 4, rng=rng)
        batches = iter(first)
        begun = [next(batches)[1].tolist() for _ in range(taken)]
        second.load_state_dict(first.state_dict())
        assert begun + epoch(second) == expected[0], taken
        assert epoch(second) == expected[1], taken
        second.load_state_dict(first.state_dict())
        next(batches, None)  # the state was a copy
        assert begun + epoch(second) == expected[0], taken


def test_between_epochs_there_is_nothing_to_go_on_with():
    x = np.arange(10)
    batches = data.minibatches(x, x, 4, rng=0)
    state = batches.state_dict()
    epoch(batches)
    assert batches.state_dict() == state == {"done": 0, "batch_size": 4, "order": None}
    broken_off = iter(batches)
    next(broken_off)
    batches.load_state_dict(state)
    assert sorted(sum(epoch(batches), [])) == list(range(10))


def test_an_epoch_that_was_broken_off_is_not_taken_up_again_by_itself():
    x = np.arange(10)
    batches = data.minibatches(x, x, 4, shuffle=False)
    next(iter(batches))
    assert epoch(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 3}, "batch_size must be 3, as in the epoch to go on with, got 2"),
        ({"order": np.array([0, 1, 2, 3])}, r"state\['order'\] must be an order of the set's 5 samples"),
        ({"order": np.array([0, 1, 2, 3, 3])}, r"state\['order'\] must be an order of the set's 5 samples"),
        ({"order": np.array([0, 1, 2, 3, 5])}, r"state\['order'\] must be an order of the set's 5 samples"),
        ({"order": np.arange(5.0)}, r"state\['order'\] must be an order of the set's 5 samples"),
        ({"done": 4}, r"state\['done'\] must be a number of batches from 0 to 3, got 4"),
        ({"done": -1}, r"state\['done'\] must be a number of batches from 0 to 3, got -1"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(changes, message):
    batches = data.minibatches(np.arange(5), np.arange(5), 2, shuffle=False)
    good = {"done": 1, "batch_size": 2, "order": np.array([4, 3, 2, 1, 0])}
    batches.load_state_dict(good)
    with pytest.raises(ValueError, match=message):
        batches.load_state_dict(good | changes)
    assert epoch(batches) == [[2, 1], [0]]
    with pytest.raises(ValueError, match="state must be what state_dict returned, got {}"):
        batches.load_state_dict({})


def test_bad_input():
    with pytest.raises(ValueError, match="y must hold one label for each of the 3 samples of x, got 2"):
        data.minibatches(np.zeros(3), np.zeros(2), 1)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        data.minibatches(np.zeros(3), np.zeros(3), 0)
    for bad in ([1, 2, 3], (1, 2, 3), iter(range(3))):  # zarr's arrays have no length either
        with pytest.raises(TypeError, match="x must be an array, or have a length and take an array of indices as one"):
            data.minibatches(bad, np.zeros(3), 1)
        with pytest.raises(TypeError, match="y must be an array"):
            data.minibatches(np.zeros(3), bad, 1)
    for size in (2.0, True, None):
        with pytest.raises(TypeError, match="batch_size must be an int, got"):
            data.minibatches(np.zeros(3), np.zeros(3), size)
