"""Cutting a set of samples into batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .._numbers import generator
from .._options import flag
from .._shapes import at_least, integer
from .._typing import Rng
from .._words import brief
from ..distributed import Ranks, split


class Share(NamedTuple):
    """A rank's part of a batch of so many samples: ``(x, y)`` of each of its shards, by number, but for empty ones."""

    samples: int
    shards: dict[int, tuple[np.ndarray, np.ndarray]]


class Minibatches:
    """The batches of a set, see `minibatches`: every iteration is one epoch, `len` the number of batches.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> batches = data.minibatches(np.arange(5), np.arange(5), 2, rng=0)
    >>> first, second = (np.concatenate([x for x, y in batches]) for epoch in range(2))
    >>> bool((first == second).all()), sorted(first) == sorted(second)
    (False, True)
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        batch_size: int,
        rng: np.random.Generator,
        shuffle: bool,
        drop_last: bool,
        ranks: Ranks | None = None,
    ) -> None:
        self.x, self.y, self.batch_size = x, y, batch_size
        self.rng, self.shuffle, self.drop_last, self.ranks = rng, shuffle, drop_last, ranks
        self._order: np.ndarray | None = None  # of the epoch under way
        self.done = 0  # batches of it that were handed out
        self._resumed = False

    def __len__(self) -> int:
        whole, rest = divmod(len(self.x), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        if not self._resumed:
            self._order, self.done = self._draw(), 0
        self._resumed = False
        while self.done < len(self):
            batch = self.at(self.done)
            self.done += 1  # only now: one that could not be read has not been handed out
            yield batch
        self._order, self.done = None, 0

    def at(self, k: int) -> Any:
        """The batch number k of the epoch under way, or this rank's share of it; between epochs as if not shuffled."""
        chosen = self.samples(k)
        if self.ranks is None:
            return self.x[chosen], self.y[chosen]
        parts = split(len(chosen), self.ranks.shards)
        mine = {shard: chosen[parts[shard]] for shard in self.ranks.mine}
        return Share(len(chosen), {shard: (self.x[own], self.y[own]) for shard, own in mine.items() if len(own)})

    def samples(self, k: int) -> np.ndarray:
        """Which samples of the set the batch number k has, or all ranks' shares of it together."""
        begin = k * self.batch_size
        places = np.arange(begin, min(begin + self.batch_size, len(self.x)))
        return places if self._order is None else self._order[places]

    def _draw(self) -> np.ndarray:
        """The order of one epoch."""
        return self.rng.permutation(len(self.x)) if self.shuffle else np.arange(len(self.x))

    def state_dict(self) -> dict[str, Any]:
        """Return where the epoch under way stands; the generator `rng`, which others may share, is not part of it.

        Returns
        -------
        dict
            ``"done"``, batches handed out; ``"batch_size"``; ``"order"``, the samples' order, or None between epochs.
        """
        order = None if self._order is None else self._order.copy()
        return {"done": self.done, "batch_size": self.batch_size, "order": order}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state` was taken: the next iteration yields the rest of that epoch.

        Parameters
        ----------
        state : mapping
            As `state_dict` returned it, for a set of as many samples.

        Raises
        ------
        ValueError
            If the state is of another set or batch size, or no such state. Nothing has changed then.
        """
        if not isinstance(state, Mapping) or not {"done", "batch_size", "order"} <= state.keys():
            raise ValueError(f"state must be what state_dict returned, got {brief(state)}")
        if state["order"] is None:
            self._order, self.done, self._resumed = None, 0, False
            return
        order, done, n = np.asarray(state["order"]), integer(state["done"], "state['done']"), len(self.x)
        if state["batch_size"] != self.batch_size:
            raise ValueError(
                f"batch_size must be {state['batch_size']}, as in the epoch to go on with, got {self.batch_size}"
            )
        if order.shape != (n,) or order.dtype.kind != "i" or not np.array_equal(np.sort(order), np.arange(n)):
            raise ValueError(f"state['order'] must be an order of the set's {n} samples, got {brief(order)}")
        if not 0 <= done <= len(self):
            raise ValueError(f"state['done'] must be a number of batches from 0 to {len(self)}, got {done}")
        self._order, self.done, self._resumed = order.copy(), done, True


def minibatches(
    x: Any,
    y: Any,
    batch_size: int,
    *,
    rng: Rng = None,
    shuffle: bool = True,
    drop_last: bool = False,
    ranks: Ranks | None = None,
) -> Minibatches:
    """Cut samples and their labels into batches.

    Parameters
    ----------
    x, y : ndarray
        One sample, one label for each index of the first axis; or whatever has a length and takes an array of indices,
        as `ImageFolder`.
    batch_size : int
        Samples in a batch; the last one may have fewer. 1 makes gradient descent stochastic, ``len(x)`` whole-batch.
    rng : numpy.random.Generator, int or None
        Source of the order, or its seed.
    shuffle : bool, default True
        Whether every epoch has an order of its own; else the given one.
    drop_last : bool, default False
        Whether a last batch that is not full is left out.
    ranks : convkit.distributed.Ranks or None
        Who shares out the shards of every batch: only the samples of this rank's are read. The generator has to be the
        same on all ranks.

    Returns
    -------
    Minibatches
        Yields pairs of new arrays ``(x[chosen], y[chosen])``; with `ranks` a `Share`, ``(samples, shards)``: those of
        the whole batch, and a dict of such pairs by shard, for those that are this rank's and not empty. It may be
        iterated again and again, an epoch each time.
        There are ``ceil(len(x) / batch_size)`` of them, or floor with `drop_last`.

    Raises
    ------
    TypeError
        If `x` or `y` is a list or tuple, or has no length, as zarr's arrays, `batch_size` is not an int, or `shuffle`
        or `drop_last` no bool.
    ValueError
        If `x` and `y` differ in length, or `batch_size` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import data
    >>> batches = data.minibatches(np.arange(5), np.arange(5), 2, shuffle=False)
    >>> len(batches), [x.tolist() for x, y in batches]
    (3, [[0, 1], [2, 3], [4]])
    """
    for name, value in (("x", x), ("y", y)):
        if isinstance(value, list | tuple | str) or not hasattr(value, "__len__"):
            raise TypeError(
                f"{name} must be an array, or have a length and take an array of indices as one does, "
                f"got {brief(value)}"
            )
    if len(x) != len(y):
        raise ValueError(f"y must hold one label for each of the {len(x)} samples of x, got {len(y)}")
    shuffle, drop_last = flag(shuffle, "shuffle"), flag(drop_last, "drop_last")
    return Minibatches(x, y, at_least(batch_size, "batch_size"), generator(rng), shuffle, drop_last, ranks)
