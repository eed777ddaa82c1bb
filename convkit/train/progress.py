"""A bar on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .. import _extras
from .history import History


@contextmanager
def bar(done: int, total: int, show: bool) -> Iterator[Callable[..., None]]:
    """Show how many of the steps are done, if `show` is set, standard error is a terminal and tqdm is installed.

    What this yields is called after every step, ``tick()``, and after every epoch, ``tick(history)``.
    """
    try:
        tqdm = _extras.need("tqdm", "train").tqdm if show else None
    except _extras.MissingExtraError:
        tqdm = None
    if tqdm is None:
        yield lambda history=None: None
        return
    with tqdm(initial=done, total=total, desc="training", unit="step", disable=None) as drawn:

        def tick(history: History | None = None) -> None:
            if history is None:
                drawn.update()
            else:
                drawn.set_postfix({name: f"{values[-1]:.4g}" for name, values in history.items() if name != "lr"})

        yield tick
