"""The digits and how they are split."""

import numpy as np
import pytest

from convkit import data


@pytest.mark.thorough
def test_they_are_scikit_learns():
    from sklearn.datasets import load_digits

    x, y = data.digits()
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((1797, 1, 8, 8), np.float32, (1797,), np.int64)
    assert x.min() == 0 and x.max() == 1
    np.testing.assert_array_equal(x.reshape(1797, 64) * 16, load_digits().data)
    np.testing.assert_array_equal(y, load_digits().target)


def test_every_fifth_is_held_out():
    x, y = data.digits()
    split = data.digits_split()
    assert [len(part) for part in split] == [1438, 1438, 359, 359]
    np.testing.assert_array_equal(split.x_test, x[4::5])
    np.testing.assert_array_equal(split.y_test, y[4::5])
    learned = [i for i in range(1797) if i % 5 != 4]
    np.testing.assert_array_equal(split.x_train, x[learned])
    np.testing.assert_array_equal(split.y_train, y[learned])
