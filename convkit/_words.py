"""Numbers in sentences and tables."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np

_COLUMNS = 120
_SHOWN, _FEW = 80, 8  # characters of a value in an error; elements of an array that are shown one by one


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


def brief(value: Any) -> str:
    """A value as an error shows it: on one line, what is long cut off, and of an array what it is.

    Whoever passes an array for a number would else get pages of digits, in which the error's own words are lost.
    """
    if isinstance(value, np.ndarray) and value.size > _FEW:
        return f"an ndarray of {value.dtype} and shape {value.shape}"
    if type(value) in (list, tuple, str, bytes):  # of which this many are too long in any case
        value = value[: _SHOWN + 1]
    try:
        text = re.sub(r"\s*\n\s*", " ", repr(value))
    except Exception as error:  # such as an int of more digits than Python shows, or an object's own
        return f"what has no text ({type(error).__name__})"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]}..."


def with_type(value: Any) -> str:
    """A value as an error about its type shows it."""
    text = brief(value)
    return text if text.startswith("an ndarray") else f"{text} of type {type(value).__name__}"


def said(error: Exception) -> str:
    """What an error says; a KeyError by itself is a key in quotes."""
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)
