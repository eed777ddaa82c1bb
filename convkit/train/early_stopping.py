"""To stop when it no longer gets better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._options import flag, of_kind
from .._shapes import at_least
from .._words import brief
from ..nn.module import Module
from ..optim._settings import check_rate


class EarlyStopping:
    """Ends a training that has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default "val_loss"
        The quantity of the `History` that counts. It should be one of the validation set; never of the samples that
        the final figure is measured on.
    patience : int, default 5
        So many epochs in a row may pass without a new best.
    min_delta : float, default 0
        A new best has to be better by more than this.
    mode : {"min", "max", None}
        Whether lower or higher is better; None: lower for a loss, higher for all else.
    restore_best : bool, default True
        Whether a training that was stopped leaves the model with the weights of its best epoch. One that came to its
        end leaves the last ones; `restore` then gives the best.

    Attributes
    ----------
    best : float
        The best value so far.
    best_epoch : int
        The epoch it was measured after; 0 before the first.

    Raises
    ------
    TypeError
        If `monitor` is no text, `patience` not an int or `min_delta` no number.
    ValueError
        If a number or `mode` is not one of these.

    Examples
    --------
    >>> from convkit import train
    >>> early = train.EarlyStopping(patience=2)
    >>> for epoch, loss in enumerate((0.9, 0.5, 0.6, 0.7), start=1):
    ...     early.update({"epoch": epoch, "val_loss": loss}, {})
    >>> early.stopped, early.best, early.best_epoch
    (True, 0.5, 2)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        *,
        min_delta: float = 0.0,
        mode: str | None = None,
        restore_best: bool = True,
    ) -> None:
        of_kind(monitor, str, "monitor", 'the name of a quantity, such as "val_loss"')
        at_least(patience, "patience")
        check_rate("min_delta", min_delta)
        if not isinstance(mode, str | None) or mode not in ("min", "max", None):
            raise ValueError(f"mode must be 'min', 'max' or None, got {brief(mode)}")
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.restore_best = flag(restore_best, "restore_best")
        self.sign = -1 if mode == "max" or (mode is None and not monitor.endswith("loss")) else 1
        self.best, self.best_epoch = self.sign * math.inf, 0
        self.stopped = False
        self._weights: dict[str, np.ndarray] = {}

    def update(self, row: Mapping[str, float], weights: Mapping[str, np.ndarray]) -> None:
        """Look at an epoch's row of the history, and keep a copy of its weights if it is the best so far.

        Raises
        ------
        ValueError
            If the row has no such quantity.
        """
        self.check(row)
        value, epoch = row[self.monitor], int(row["epoch"])
        if self.sign * (self.best - value) > self.min_delta:
            if self.restore_best:
                self._weights = {name: array.copy() for name, array in weights.items()}
            self.best, self.best_epoch = value, epoch
        self.stopped = epoch - self.best_epoch >= self.patience

    def check(self, names: Iterable[str]) -> None:
        """Raise ValueError unless the quantity that counts is among these."""
        names = list(names)
        if self.monitor not in names:
            raise ValueError(
                f"monitor must be one of {', '.join(names)}, got {brief(self.monitor)} (is there a validation set?)"
            )

    def restore(self, model: Module) -> None:
        """Give the model the weights of its best epoch, if they were kept."""
        if self._weights:
            model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes from epoch to epoch."""
        return {"best": self.best, "best_epoch": self.best_epoch, "stopped": self.stopped, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state` was taken."""
        self.best, self.best_epoch, self.stopped = float(state["best"]), int(state["best_epoch"]), state["stopped"]
        self._weights = dict(state["weights"])
