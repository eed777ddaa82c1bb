"""Numbers in sentences and tables."""

from __future__ import annotations

import shutil
import textwrap

_COLUMNS = 120


def counted(number: int, noun: str) -> str:
    """So many of something: "1 thread", "2 threads"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(share: float, places: int = 0) -> str:
    """A share of one: "67 %"."""
    return f"{100 * share:.{places}f} %"


def wrapped(text: str) -> str:
    """Lines that fit the terminal; of 120 columns at most, as where there is none."""
    return textwrap.fill(text, min(shutil.get_terminal_size((_COLUMNS, 0)).columns, _COLUMNS))
