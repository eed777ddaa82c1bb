"""How calls run: threads, a process-wide number and another for the calling Python thread; and its denormal numbers."""

from __future__ import annotations

import math
import os
from contextlib import AbstractContextManager
from contextvars import ContextVar
from pathlib import Path

from ._environment import refusal
from ._ext import engine
from ._held import Held
from ._shapes import integer
from ._words import brief

MOST = 1024  # that a call starts: tens of thousands, of 8 MiB of stack each, may end the process
_LARGEST = 2**31 - 1
_here: ContextVar[int | None] = ContextVar("convkit_threads", default=None)


def number_of_threads(n, name: str = "n") -> int:
    """`n` as an int, checked."""
    n = integer(n, name)
    if not 1 <= n <= _LARGEST:
        raise ValueError(f"{name} must be a number of threads from 1 to {_LARGEST}, got {n}")
    return n


def set_num_threads(n: int) -> None:
    """Set how many threads every call in this process may use, except inside `threads`.

    Parameters
    ----------
    n : int
        At least 1. It may exceed the number of cores; a call starts no more threads than it has tasks, at most 1024.

    Raises
    ------
    TypeError
        If `n` is not an int.
    ValueError
        If `n` is below 1 or above 2**31 - 1.

    Notes
    -----
    At import the number is ``CONVKIT_NUM_THREADS``, else the first of ``OMP_NUM_THREADS``, else the number of cores
    that the process may run on, no more than its cgroup's CPU quota rounded up. Results have the same bits for any
    number of threads.

    Examples
    --------
    >>> import convkit
    >>> before = convkit.get_num_threads()
    >>> convkit.set_num_threads(2)
    >>> convkit.get_num_threads()
    2
    >>> convkit.set_num_threads(before)
    """
    global _everywhere, _decided_by
    _everywhere, _decided_by = number_of_threads(n), "set_num_threads"


def get_num_threads() -> int:
    """Return how many threads a call made here and now may use.

    Returns
    -------
    int
        The number given to the innermost `threads` around the caller, else the process-wide one.

    Examples
    --------
    >>> import convkit
    >>> with convkit.threads(3):
    ...     convkit.get_num_threads()
    3
    """
    return _here.get() or _everywhere


def threads(n: int) -> AbstractContextManager[None]:
    """Context manager: calls of this Python thread use up to `n` threads.

    Parameters
    ----------
    n : int
        At least 1. It may exceed the number of cores; a call starts no more threads than it has tasks, at most 1024.

    Returns
    -------
    context manager
        It may be nested; it holds for the current context (`contextvars`), that is, for the calling Python thread or
        asyncio task alone.

    Raises
    ------
    TypeError
        If `n` is not an int.
    ValueError
        If `n` is below 1 or above 2**31 - 1.

    Examples
    --------
    >>> import convkit
    >>> with convkit.threads(1):
    ...     convkit.get_num_threads()
    1
    """
    n = number_of_threads(n)
    return Held(_here, lambda _: n)


def flush_denormals() -> AbstractContextManager[None]:
    """Context manager: calls of this Python thread take denormal numbers as zeros.

    Returns
    -------
    context manager
        It may be nested; it holds for the current context (`contextvars`), that is, for the calling Python thread or
        asyncio task alone.

    Notes
    -----
    Denormal (subnormal) numbers are those nearer to zero than the smallest normal one, 1.2e-38 in float32 and 2.2e-308
    in float64. Many CPUs take a hundred times as long to multiply them, and weights that decay towards zero are full of
    them. Inside the context operators read them as zeros and store zeros in their place; where a value is only passed
    on, as in pooling, it may be either. The mode is set on the threads that work on a call, and reset when it ends:
    NumPy's own arithmetic, and calls of other Python threads, are as ever. It is there on x86-64 and AArch64; elsewhere
    the context changes nothing.

    Examples
    --------
    >>> import convkit
    >>> import numpy as np
    >>> x, weight = np.full((1, 1, 2, 2), 1e-20, np.float32), np.full((1, 1, 1, 1), 1e-20, np.float32)
    >>> convkit.conv2d(x, weight).max()
    np.float32(1e-40)
    >>> with convkit.flush_denormals():
    ...     convkit.conv2d(x, weight).max()
    np.float32(0.0)
    """
    return Held(engine.flush_denormals, lambda _: True)


def current() -> int:
    """The number for the engine, which starts no more whatever was asked for."""
    number = _here.get() or _everywhere
    return number if number < MOST else MOST  # min() would take as long as the rest


def source() -> str:
    """Who decided on the number: "threads", "set_num_threads", a variable's name, "affinity" or "cgroup"."""
    return "threads" if _here.get() else _decided_by


# ---------------------------------------------------------------- the number at import


def _number(text: str) -> int | None:
    """A count of threads from a variable's text, or None."""
    text = text.strip()
    readable = text.isascii() and text.isdigit() and len(text) < 100
    return int(text) if readable and 1 <= int(text) <= _LARGEST else None


def _quota_v2(folder: Path) -> float | None:
    quota, period = (folder / "cpu.max").read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float | None:
    quota = int((folder / "cpu.cfs_quota_us").read_text())
    return None if quota < 0 else quota / int((folder / "cpu.cfs_period_us").read_text())


def _smallest_quota(mount: Path, group: str, read) -> float:
    """The least quota of a group and its ancestors, each of which limits it.

    Inside a container the group's path may not exist below the mount; the mount's own files then are the group's.
    """
    parts, least = Path(group.lstrip("/")).parts, math.inf
    for depth in range(len(parts), -1, -1):
        try:
            quota = read(mount.joinpath(*parts[:depth]))
        except (OSError, ValueError, ZeroDivisionError):
            continue
        if quota is not None:
            least = min(least, quota)
    return least


def cgroup_cpus(root: str = "/") -> float:
    """CPUs that the process's cgroups (version 1 or 2) grant it, infinity where nothing limits it."""
    try:
        lines = Path(root, "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return math.inf
    least = math.inf
    for line in lines:
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            least = min(least, _smallest_quota(Path(root, "sys/fs/cgroup"), group, _quota_v2))
        elif "cpu" in controllers.split(","):
            for mount in ("cpu", controllers):
                least = min(least, _smallest_quota(Path(root, "sys/fs/cgroup", mount), group, _quota_v1))
    return least


def _allowed_cores() -> tuple[int, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_cpus()
    return (max(1, math.ceil(quota)), "cgroup") if quota < cores else (cores, "affinity")


def _at_import() -> tuple[int, str]:
    own = os.environ.get("CONVKIT_NUM_THREADS", "").strip()
    if own:
        n = _number(own)
        if n is None:
            raise refusal(f"CONVKIT_NUM_THREADS must be a number of threads from 1 to {_LARGEST}, got {brief(own)}")
        return n, "CONVKIT_NUM_THREADS"
    # OpenMP's variable is a list, one number per level of nesting; a value OpenMP could not read is not ours to report.
    openmp = _number(os.environ.get("OMP_NUM_THREADS", "").split(",")[0])
    return (openmp, "OMP_NUM_THREADS") if openmp else _allowed_cores()


_everywhere, _decided_by = _at_import()
