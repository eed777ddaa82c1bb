"""A bar on the terminal; lines, where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import _extras
from .history import History

if TYPE_CHECKING:
    from .trainer import Trainer

_LINES = 8  # about so many of a training, however many epochs it has


def _shown() -> Any:
    """tqdm's bar, if it is installed and standard error is a terminal; else None."""
    isatty = getattr(sys.stderr, "isatty", None)
    if isatty is None or not isatty():
        return None
    try:
        return _extras.need("tqdm", "train").tqdm
    except _extras.MissingExtraError:
        return None


@contextmanager
def bar(done: int, total: int, show: bool) -> Iterator[Callable[..., None]]:
    """Show how many of the steps are done, if `show` is set, standard error is a terminal and tqdm is installed.

    What this yields is called after every step, ``tick()``, and after every epoch, ``tick(history)``.
    """
    tqdm = _shown() if show else None
    if tqdm is None:
        yield lambda history=None: None
        return
    with tqdm(initial=done, total=total, desc="training", unit="step") as drawn:

        def tick(history: History | None = None) -> None:
            if history is None:
                drawn.update()
            else:
                drawn.set_postfix({name: f"{values[-1]:.4g}" for name, values in history.items() if name != "lr"})

        yield tick


def lines(epochs: int) -> list[Callable[[Trainer], None]]:
    """Callbacks for `Trainer.fit`: where no bar is seen, as in a log, a line for every few of so many epochs."""
    every = -(-epochs // _LINES)

    def tell(trainer: Trainer) -> None:
        if trainer.epoch % every == 0 or trainer.epoch == epochs:
            figures = {name: values[-1] for name, values in trainer.history.items() if name not in ("epoch", "lr")}
            said = (f"{'' if name.startswith('val_') else 'training '}{name} {figures[name]:.4g}" for name in figures)
            print(f"epoch {trainer.epoch} of {epochs}: {', '.join(said)}", flush=True)

    return [] if _shown() else [tell]
