"""Numbers in sentences and tables."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable

_COLUMNS = 120


def dimensions(sizes: Iterable[int]) -> str:
    """Sizes as one reads them: "3x224x224"."""
    return "x".join(map(str, sizes))


def counted(number: int, noun: str) -> str:
    """So many of something: "1 thread", "2 threads"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(share: float, places: int = 0) -> str:
    """A share of one: "67 %"."""
    return f"{100 * share:.{places}f} %"


def rounded(number: float) -> str:
    """A number to three figures, without an exponent: "0.0343", "5.42", "1,230"."""
    return f"{float(f'{number:.3g}'):,g}"


def byte_count(number: int) -> str:
    """Bytes to three figures, in the unit that suits them: "640 B", "23.6 kB", "1.15 MB"."""
    units = ("B", "kB", "MB", "GB", "TB")
    power = next((power for power in range(len(units)) if number < 999.5 * 1000**power), len(units) - 1)
    return f"{rounded(number / 1000**power)} {units[power]}"


def wrapped(text: str) -> str:
    """Lines that fit the terminal; of 120 columns at most, as where there is none."""
    return textwrap.fill(text, min(shutil.get_terminal_size((_COLUMNS, 0)).columns, _COLUMNS))
