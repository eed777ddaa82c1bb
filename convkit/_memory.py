"""Memory: how much of freed results is kept, and numbers of bytes as users write them."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager
from fractions import Fraction

from ._environment import refusal
from ._ext import engine
from ._held import Held
from ._shapes import INT64_MAX, integer
from ._words import brief

_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40
}  # fmt: skip


def number_of_bytes(value, name: str) -> int:
    """A number of bytes: an int, or text such as "64MB" (of 1000s) or "1.5GiB" (of 1024s)."""
    if isinstance(value, str):
        parts = re.fullmatch(r"\s*(\d{1,19}(?:\.\d{1,9})?)\s*([A-Za-z]*)\s*", value, re.ASCII)
        if not parts or parts[2] not in _UNITS:
            raise ValueError(f'{name} must be a number of bytes such as "64MB" or "64MiB", got {brief(value)}')
        count = int(Fraction(parts[1]) * _UNITS[parts[2]])
    else:
        count = integer(value, name, 'a number of bytes, or text such as "64MB" or "64MiB"')
    if count < 0:
        raise ValueError(f"{name} must be at least 0 bytes, got {brief(value)}")
    if count > INT64_MAX:
        raise OverflowError(f"{name} must be at most 2**63 - 1 bytes, got {brief(value)}")
    return count


def set_cache_limit(bytes: int | str) -> None:
    """Set how much memory of freed results is kept for results to come.

    Parameters
    ----------
    bytes : int or str
        At least 0, which keeps nothing. Text is a number and a unit: ``"64MB"`` is 64e6 bytes, ``"64MiB"`` 64 * 2**20.

    Raises
    ------
    TypeError
        If `bytes` is neither an int nor a str.
    ValueError
        If it is below 0, or no number of bytes.
    OverflowError
        If it is above 2**63 - 1.

    Notes
    -----
    Fresh memory is slow: the system finds and zeroes it page by page, when it is first written to, and that can take
    longer than a convolution. The memory of results of 128 KiB and more is therefore kept when they are freed, up to
    this limit in all, and becomes that of a later result which fills at least seven eighths of it. Beyond the limit,
    what was freed first is returned to the system. Results that are alive do not count, and are ordinary arrays; a
    forked child begins with nothing kept. ``show_config("dicts")["memory"]["cached"]`` says how much is kept right now.

    At import the limit is ``CONVKIT_CACHE_LIMIT``, else 128 MiB.

    Examples
    --------
    >>> import convkit
    >>> convkit.set_cache_limit("1GiB")
    >>> convkit.get_cache_limit()
    1073741824
    """
    global _limit
    _limit = number_of_bytes(bytes, "bytes")
    engine.set_cache_limit(_limit)


def get_cache_limit() -> int:
    """Return how many bytes of freed results may be kept.

    Returns
    -------
    int
        The latest limit of `set_cache_limit`, or that at import.

    Examples
    --------
    >>> import convkit
    >>> convkit.set_cache_limit("64MB")
    >>> convkit.get_cache_limit()
    64000000
    """
    return _limit


def clear_cache() -> None:
    """Return the memory of freed results that is kept to the system; the limit stays.

    Examples
    --------
    >>> import convkit
    >>> convkit.clear_cache()
    >>> convkit.show_config("dicts")["memory"]["cached"]
    0
    """
    engine.clear_cache()


def _at_import(text: str) -> int:
    """The limit, `text` being the value of CONVKIT_CACHE_LIMIT."""
    if not text.strip():
        return 128 * 2**20
    try:
        return number_of_bytes(text, "CONVKIT_CACHE_LIMIT")
    except (ValueError, OverflowError) as error:
        raise refusal(str(error)) from None


set_cache_limit(_at_import(os.environ.get("CONVKIT_CACHE_LIMIT", "")))


def workspace_limit(bytes: int | str) -> AbstractContextManager[None]:
    """Context manager: a call of this Python thread takes no more scratch memory than this.

    Parameters
    ----------
    bytes : int or str
        At least 0. Text is a number and a unit: ``"64MB"`` is 64e6 bytes, ``"64MiB"`` 64 * 2**20.

    Returns
    -------
    context manager
        It may be nested, the innermost one holding; it holds for the current context (`contextvars`), that is, for the
        calling Python thread or asyncio task alone.

    Raises
    ------
    TypeError
        If `bytes` is neither an int nor a str.
    ValueError
        If it is below 0, or no number of bytes.
    OverflowError
        If it is above 2**63 - 1.

    Notes
    -----
    Scratch holds what a call works on, a part at a time: about 0.75 MiB for each thread, and weights that are
    transformed for all of them. A limit makes the parts smaller, then the threads fewer, and the call slower; it
    changes neither the algorithm nor the bits of a result. Where nothing fits, the call raises a MemoryError that says
    how many bytes it needs. Results are not counted, nor the weights of a prepared convolution.

    Examples
    --------
    >>> import numpy as np
    >>> import convkit
    >>> x, weight = np.ones((1, 64, 56, 56), np.float32), np.ones((64, 64, 3, 3), np.float32)
    >>> with convkit.workspace_limit("400KiB"):
    ...     convkit.conv2d(x, weight).shape
    (1, 64, 54, 54)
    """
    limit = number_of_bytes(bytes, "bytes")
    return Held(engine.workspace_limit, lambda _: limit)
