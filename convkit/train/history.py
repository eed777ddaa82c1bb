"""What a training measured, epoch by epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from numbers import Real
from pathlib import Path
from typing import Any

from .. import _extras
from .._files import as_path, replacing, save_picture
from .._words import brief

BLUE, ORANGE = "#2166ac", "#d6604d"
_SHOWN = 5  # epochs of each end of a long training
_TITLED = 3  # metrics whose names fit above a frame


class History(dict[str, list[float]]):
    """One list for each quantity, one number in it for each epoch: a dict that knows CSV and can draw itself.

    ``epoch`` counts from 1; ``loss`` and the metrics under their own names are means over the epoch's training samples
    as they came by, with the model changing meanwhile; ``val_...`` are those of the validation set after the epoch;
    ``lr`` is the learning rate of the epoch's last step.

    Examples
    --------
    >>> from convkit import train
    >>> history = train.History()
    >>> for epoch, loss in ((1, 0.9), (2, 0.5)):
    ...     history.append({"epoch": epoch, "loss": loss})
    >>> history["loss"], history.epochs
    ([0.9, 0.5], 2)
    """

    def append(self, row: Mapping[str, float]) -> None:
        """Add an epoch.

        Raises
        ------
        ValueError
            If its quantities are not those of the epochs before.
        """
        self.check(row)
        for name, value in row.items():
            self.setdefault(name, []).append(value)

    def check(self, names: Iterable[str]) -> None:
        """Raise ValueError unless an epoch of these quantities may be added."""
        names = list(names)
        if self and set(names) != self.keys():
            raise ValueError(f"row must have the columns {', '.join(self)}, got {', '.join(names)}")

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[float]], epochs: int) -> History:
        """Make one of columns, each as long as there are epochs.

        Raises
        ------
        ValueError
            If one is not.
        """
        history = cls({name: list(values) for name, values in columns.items()})
        complete = all(len(values) == epochs for values in history.values()) and bool(history) == bool(epochs)
        if not complete or not all(isinstance(value, Real) for values in history.values() for value in values):
            raise ValueError(f"the history must have {epochs} numbers in every column, got {brief(dict(history))}")
        return history

    def __repr__(self) -> str:
        """A table of rounded numbers, with a line for each epoch; of many, for the first and the last."""
        rounded = {name for name in self if name != "epoch" and all(isinstance(value, Real) for value in self[name])}
        columns = [[name, *(f"{v:.4g}" if name in rounded else str(v) for v in self[name])] for name in self]
        rows = list(zip_longest(*columns, fillvalue=""))
        if len(rows) > 2 * _SHOWN + 1:
            rows[_SHOWN + 1 : -_SHOWN] = [("...",) * len(columns)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join(lines) or "History()"

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return len(next(iter(self.values()), ()))

    def to_csv(self, path: str | Path) -> None:
        """Write a table with a line for each epoch; numbers are written so that `from_csv` gives the very same."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self)
        writer.writerows(zip(*self.values(), strict=True))
        with replacing(path) as file:
            file.write(text.getvalue().encode())

    @classmethod
    def from_csv(cls, path: str | Path) -> History:
        """Read what `to_csv` wrote.

        Raises
        ------
        ValueError
            If a line is not as long as the heading, or not of numbers; the message names the line.
        """
        history = cls()
        with as_path(path).open(newline="") as file:
            reader = csv.reader(file)
            names = next(reader, [])
            for row in reader:
                try:
                    history.append(dict(zip(names, map(_number, row), strict=True)))
                except ValueError as error:
                    raise ValueError(
                        f"{path}, line {reader.line_num}, must hold {len(names)} numbers: {error}"
                    ) from error
        return history

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw losses, metrics and, unless it is constant, the learning rate against the epoch.

        Parameters
        ----------
        path : str, Path or None
            Where to write the picture, if anywhere.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            If matplotlib, of the extra ``[train]``, is not installed.
        ValueError
            If there is no epoch to draw.
        """
        if not self.epochs:
            raise ValueError("the history must hold at least one epoch to be drawn, got none")
        panels = {"loss": [], "metrics": [], "learning rate": []}
        for name in self:
            if name != "epoch":
                kind = "learning rate" if name == "lr" else "loss" if _is_loss(name) else "metrics"
                panels[kind].append(name)
        if panels["loss"] + panels["metrics"] and len({*self.get("lr", ())}) == 1:
            panels["learning rate"].clear()
        panels = {title: names for title, names in panels.items() if names}
        figure = _extras.need("matplotlib.figure", "train").Figure((4.6 * len(panels), 3.8), layout="constrained")
        for ax, (title, names) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
            self._panel(ax, title, names)
        if path is not None:
            save_picture(figure, path, 130)
        return figure

    def _panel(self, ax: Any, title: str, names: list[str]) -> None:
        """Draw some of the quantities into one frame; a metric and its validation share a line style."""
        metrics = {name.removeprefix("val_") for name in names}
        epochs = self.get("epoch", range(1, self.epochs + 1))
        styles: dict[str, str] = {}
        for name in names:
            style = styles.setdefault(name.removeprefix("val_"), ("-", "--", ":", "-.")[len(styles) % 4])
            colour = ORANGE if name.startswith("val_") else BLUE
            mark = "o" if self.epochs == 1 else None  # a line through one point would not be seen
            label = "validation, after each epoch" if name.startswith("val_") else "training, while it learns"
            if len(metrics) > 1:
                label = f"{name.removeprefix('val_')}: {label}"
            ax.plot(epochs, self[name], style, color=colour, marker=mark, label=label)
        values = [value for name in names for value in self[name]]
        words = "of the epoch's last step" if title == "learning rate" else "mean over the samples"
        named = title == "metrics" and len(metrics) <= _TITLED
        ax.set(title=", ".join(styles) if named else title, xlabel="epoch", ylabel=words)
        if title == "loss" and min(values) > 0:
            log_axis(ax)
            ax.set_ylabel(f"{words} (log scale)")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if self.epochs == 1:  # around one point there is no other whole number
            ax.set(xlim=(epochs[0] - 1, epochs[0] + 1), xticks=epochs)
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
        if title != "learning rate":
            ax.legend(frameon=False, fontsize="small")


def log_axis(axes: Any, name: str = "y") -> None:
    """A logarithmic axis of a picture, with numbers as one reads them, 0.2 and not 2 x 10^-1."""
    ticker = _extras.need("matplotlib.ticker", "train")
    axes.set(**{f"{name}scale": "log"})
    axis = getattr(axes, f"{name}axis")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(ticker.NullFormatter())


def _is_loss(name: str) -> bool:
    """Whether a quantity belongs beside the loss."""
    return name.removeprefix("val_") in ("loss", "penalty")


def _number(text: str) -> float:
    """An int where it is one, else a float."""
    try:
        return int(text)
    except ValueError:
        return float(text)
