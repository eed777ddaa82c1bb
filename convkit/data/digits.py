"""Real handwritten digits, 60 KB of them beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """Samples to learn from, and samples held out for the one final test.

    Examples
    --------
    >>> from convkit import data
    >>> x_train, y_train, x_test, y_test = data.digits_split()
    >>> len(x_train), len(x_test)
    (1438, 359)
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return 1,797 handwritten digits.

    Returns
    -------
    x : ndarray of float32, ``(1797, 1, 8, 8)``
        Grey values from 0 (paper) to 1 (ink).
    y : ndarray of int64, ``(1797,)``
        The digit, 0 to 9.

    Notes
    -----
    The test part of the UCI set, as scikit-learn carries it: `digits.LICENCE.txt` beside the file says whose it is.

    References
    ----------
    E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.

    Examples
    --------
    >>> from convkit import data
    >>> x, y = data.digits()
    >>> x.shape, x.dtype, y[:5]
    ((1797, 1, 8, 8), dtype('float32'), array([0, 1, 2, 3, 4]))
    """
    with np.load(Path(__file__).with_suffix(".npz"), allow_pickle=False) as source:
        images, labels = source["images"], source["labels"]  # 0 to 16
    return (images / 16).astype(np.float32)[:, np.newaxis], labels.astype(np.int64)


def digits_split() -> Split:
    """Return the digits in the two parts that convkit always uses.

    Held out are the images whose index leaves 4 when divided by 5: 359 of them; 1,438 are left to learn from.

    Returns
    -------
    Split
        ``(x_train, y_train, x_test, y_test)``.

    Examples
    --------
    >>> from convkit import data
    >>> split = data.digits_split()
    >>> split.x_train.shape, split.y_test.shape
    ((1438, 1, 8, 8), (359,))
    """
    x, y = digits()
    held_out = np.arange(len(x)) % 5 == 4
    return Split(x[~held_out], y[~held_out], x[held_out], y[held_out])
