"""Cutting a set of samples into batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class Minibatches:
    """The batches of a set, see `minibatches`: every iteration is one epoch, `len` the number of batches."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray, batch_size: int, rng: np.random.Generator, shuffle: bool, drop_last: bool
    ) -> None:
        self.x, self.y, self.batch_size = x, y, batch_size
        self.rng, self.shuffle, self.drop_last = rng, shuffle, drop_last

    def __len__(self) -> int:
        whole, rest = divmod(len(self.x), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = self.rng.permutation(len(self.x)) if self.shuffle else np.arange(len(self.x))
        for i in range(len(self)):
            chosen = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield self.x[chosen], self.y[chosen]


def minibatches(
    x: np.ndarray,
    y: np.ndarray,
    batch_size: int,
    *,
    rng: np.random.Generator | int | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
) -> Minibatches:
    """Cut samples and their labels into batches.

    Parameters
    ----------
    x, y : ndarray
        One sample, one label for each index of the first axis.
    batch_size : int
        Samples in a batch; the last one may have fewer.
    rng : numpy.random.Generator, int or None
        Source of the order, or its seed.
    shuffle : bool, default True
        Whether every epoch has an order of its own; else the given one.
    drop_last : bool, default False
        Whether a last batch that is not full is left out.

    Returns
    -------
    Minibatches
        Yields pairs of new arrays ``(x[chosen], y[chosen])``; may be iterated again and again, an epoch each time.

    Raises
    ------
    ValueError
        If `x` and `y` differ in length, or `batch_size` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> batches = minibatches(np.arange(5), np.arange(5), 2, shuffle=False)
    >>> len(batches), [x.tolist() for x, y in batches]
    (3, [[0, 1], [2, 3], [4]])
    """
    if len(x) != len(y):
        raise ValueError(f"y must hold one label for each of the {len(x)} samples of x, got {len(y)}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size!r}")
    return Minibatches(x, y, batch_size, np.random.default_rng(rng), shuffle, drop_last)
