"""This machine as convkit sees it: instruction sets, threads, and the peak that timings are shares of."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from . import _memory, _threads
from ._environment import refusal
from ._ext import engine
from ._numbers import number
from ._options import several
from ._shapes import integer
from ._version import __version__
from ._words import brief

_PEAK_BURSTS = 5  # of multiply-adds, with a rest between them, so that few moments are too busy for all
_TRIAD_BYTES = 64 * 2**20  # each of three arrays, together several times the cache that two cores share


class Peak(NamedTuple):
    """What `machine_peak` measured.

    Attributes
    ----------
    isa : str
        The instruction set it was measured with.
    gflops : dict of str to dict of int to float
        Multiply-add rate in GFLOP/s by dtype and number of threads, a multiply-add being two operations:
        ``peak.gflops["float32"][2]``.
    triad : float
        Memory bandwidth in GB/s (1e9 bytes) of ``a = b + s*c`` on the largest number of threads: two arrays read and
        one written, the reading of a line before it is written not counted.

    Examples
    --------
    >>> from convkit import Peak
    >>> peak = Peak("avx2", {"float32": {1: 100.0, 2: 190.0}}, 20.0)
    >>> peak.gflops["float32"][2] / peak.triad  # FLOP that a byte must be good for
    9.5
    >>> print(peak)
    peak of this machine (avx2):
      float32, 1 thread: 100 GFLOP/s
      float32, 2 threads: 190 GFLOP/s
      triad: 20 GB/s
    """

    isa: str
    gflops: dict[str, dict[int, float]]
    triad: float

    def __str__(self) -> str:
        rates = [
            f"  {dtype}, {n} thread{'s' if n > 1 else ''}: {rate:.0f} GFLOP/s"
            for dtype, by_threads in self.gflops.items()
            for n, rate in by_threads.items()
        ]
        return "\n".join([f"peak of this machine ({self.isa}):", *rates, f"  triad: {self.triad:.0f} GB/s"])


def machine_peak(
    *, dtypes: Sequence[str] = ("float32", "float64"), threads: Collection[int] | None = None, seconds: float = 0.1
) -> Peak:
    """Measure the peak of this machine, as it is now: multiply-adds and memory bandwidth.

    Parameters
    ----------
    dtypes : sequence of str, optional
        Which of ``"float32"`` and ``"float64"`` to measure.
    threads : collection of int, optional
        Numbers of threads to measure with; one and `get_num_threads` unless given.
    seconds : float, optional
        Time for each figure, 0.1 s unless given: about 1 s in all.

    Returns
    -------
    Peak
        The best of the rounds of about 1 ms that fit in `seconds`, all threads working at once: other work can only
        lower a figure. Multiply-adds are measured in bursts with a rest between them; the triad in one, after them,
        since its arrays take longer to write first than to time. Nor do several threads do fewer than one.

    Raises
    ------
    TypeError
        If `dtypes` is no sequence of str, `threads` no sequence or set of ints, or `seconds` no number.
    ValueError
        If a dtype is neither of the two, there is no number of threads, one is below 1 or above 1024, or `seconds` is
        negative or not finite.
    MemoryError
        If the 192 MiB of the triad's arrays are refused.

    Notes
    -----
    The rate is that of the instruction set in force: without a fused multiply-add (``"generic"`` on x86), that of
    multiplications and additions.

    Examples
    --------
    >>> import convkit
    >>> peak = convkit.machine_peak(dtypes=["float32"], threads=[1], seconds=0.01)
    >>> peak.gflops["float32"][1] > 0
    True
    """
    given = (1, _threads.current()) if threads is None else several(threads, "threads", "ints")
    counts = sorted({integer(n, "threads", "a sequence of ints") for n in given})
    seconds = number(seconds, "seconds", "a finite number of at least 0", lambda value: 0 <= value < math.inf)
    if not counts or counts[0] < 1 or counts[-1] > _threads.MOST:
        raise ValueError(f"threads must be numbers of threads from 1 to {_threads.MOST}, got {brief(threads)}")
    dtypes = several(dtypes, "dtypes", "names of dtypes")
    for dtype in dtypes:
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtypes must be of 'float32' and 'float64', got {brief(dtype)}")
    gflops = {dtype: dict.fromkeys(counts, 0.0) for dtype in dtypes}
    for _ in range(_PEAK_BURSTS):
        for dtype, rates in gflops.items():
            best = 0.0  # on up to so many threads
            for n in counts:
                rates[n] = best = max(best, rates[n], engine.measure_fma(dtype, n, seconds / _PEAK_BURSTS) / 1e9)
        time.sleep(seconds / _PEAK_BURSTS)
    return Peak(engine.isa(), gflops, engine.measure_triad(_TRIAD_BYTES, counts[-1], seconds) / 1e9)


# ---------------------------------------------------------------- instruction sets


def isa() -> str:
    """Return the name of the instruction set whose kernels are in force.

    Returns
    -------
    str
        ``"generic"``, ``"neon"``, ``"avx2"`` or ``"avx512"``.

    Examples
    --------
    >>> import convkit
    >>> convkit.isa() in ("generic", "neon", "avx2", "avx512")
    True
    """
    return engine.isa()


def available_isas() -> tuple[str, ...]:
    """Return the instruction sets that `set_isa` accepts here, the best last.

    Returns
    -------
    tuple of str
        Those that were built, that CPU and operating system offer, and that ``CONVKIT_ISA`` does not exclude.

    Examples
    --------
    >>> import convkit
    >>> convkit.isa() in convkit.available_isas()
    True
    """
    return _available


def set_isa(name: str) -> None:
    """Choose the instruction set for every call of this process from now on.

    Parameters
    ----------
    name : str
        One of `available_isas`.

    Raises
    ------
    TypeError
        If `name` is not a str.
    ValueError
        If it is not one of `available_isas`.

    Notes
    -----
    At import the best is chosen; the environment variable ``CONVKIT_ISA`` caps it, for this function too: no better one
    is available then. A name in it that is unknown or that this machine lacks is a RuntimeError at import. Calls in
    other threads that are under way go on with the kernels they started with.

    Examples
    --------
    >>> import convkit
    >>> before = convkit.isa()
    >>> convkit.set_isa(convkit.available_isas()[0])
    >>> convkit.isa()
    'generic'
    >>> convkit.set_isa(before)
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, got {type(name).__name__}")
    if name not in _available:
        raise ValueError(f"name must be an instruction set available here ({_listed(_available)}), got {brief(name)}")
    engine.set_isa(name)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _capped(available: tuple[str, ...], cap: str) -> tuple[str, ...]:
    """`available` up to `cap`, the value of CONVKIT_ISA; all of it if that is empty."""
    if not cap:
        return available
    if cap not in available:
        raise refusal(f"CONVKIT_ISA must be an instruction set available here ({_listed(available)}), got {brief(cap)}")
    return available[: available.index(cap) + 1]


def _choose_threading(name: str) -> None:
    """Let `name`, the value of CONVKIT_THREADING, run the threads; if that is empty, the engine chooses."""
    built = engine.built_threadings()
    if name and name not in built:
        raise refusal(f"CONVKIT_THREADING must be one that was built in ({_listed(built)}), got {brief(name)}")
    if name:
        engine.set_threading(name)


_available = _capped(engine.available_isas(), os.environ.get("CONVKIT_ISA", "").strip())
engine.set_isa(_available[-1])
_choose_threading(os.environ.get("CONVKIT_THREADING", "").strip())


# ---------------------------------------------------------------- configuration


def show_config(mode: str = "stdout") -> dict[str, dict] | None:
    """Show how this convkit was built, and what it chose on this machine.

    Parameters
    ----------
    mode : {"stdout", "dicts"}, optional
        Print it, or return it.

    Returns
    -------
    dict of str to dict, or None
        None after printing. The keys: ``"versions"`` of convkit and NumPy; ``"build"``: the compiler, and the kinds of
        threads and instruction sets built in; ``"isa"``: the one in force, the ones available, and how many vectors'
        multiply-adds a core begins in a cycle with it, 1 or 2, which is timed and which plans follow from;
        ``"threads"``: their number, what decided it, who runs them (``"pool"`` or ``"openmp"``), whether that is
        OpenMP, and whether this is a forked child, where it never is; ``"memory"``: how many bytes of freed results may
        be kept, and how many are (printed in MiB).

    Raises
    ------
    ValueError
        If `mode` is neither of the two.

    Notes
    -----
    ``CONVKIT_THREADING``, read at import, chooses who runs the threads: OpenMP or a pool of convkit's own, with the
    same bits. The pool waits for no thread that has not begun, and so is faster where other processes keep the CPUs
    busy, or other libraries' threads wait for work, such as scikit-learn's. It is slower beside PyTorch, with which
    convkit shares OpenMP's threads. Without a choice it is OpenMP, if that was built in; and the pool for a tenth of a
    second after others have kept one of OpenMP's threads from a CPU.

    Examples
    --------
    >>> import convkit
    >>> config = convkit.show_config("dicts")
    >>> list(config)
    ['versions', 'build', 'isa', 'threads', 'memory']
    >>> config["threads"]["number"] == convkit.get_num_threads()
    True
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode must be 'stdout' or 'dicts', got {brief(mode)}")
    config = _config()
    if mode == "dicts":
        return config
    for section, fields in config.items():
        print(f"{section}:")
        for name, value in fields.items():
            text = f"{value / 2**20:.4g} MiB" if section == "memory" else value
            print(f"  {name}: {', '.join(value) if isinstance(value, tuple) else text}")
    return None


def _config() -> dict[str, dict]:
    """What `show_config` prints or returns, by section."""
    return {
        "versions": {"convkit": __version__, "numpy": np.__version__},
        "build": {
            "compiler": engine.compiler(),
            "threading": engine.built_threadings(),
            "isas": engine.built_isas(),
        },
        "isa": {"current": isa(), "available": available_isas(), "fma_per_cycle": engine.fma_per_cycle()},
        "threads": {
            "number": _threads.get_num_threads(),
            "source": _threads.source(),
            "run_by": engine.current_threading(),
            "openmp": engine.current_threading() == "openmp",
            "after_fork": engine.after_fork(),
        },
        "memory": {"cache_limit": _memory.get_cache_limit(), "cached": engine.cached_bytes()},
    }
