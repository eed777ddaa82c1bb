"""Ctrl-C at a moment of one's own choosing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def held_back(wanted: bool) -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C back, if wanted: it only makes the function that this yields return True. A second one does not wait.

    In any thread but the main one, and where the program has a handler of its own, nothing is changed.
    """
    came = threading.Event()
    if (
        not wanted
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield came.is_set
        return

    def note(number: int, frame: object) -> None:
        came.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, note)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What is inside is done as a whole: Ctrl-C waits for its end, whatever handles it then."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    came: list[tuple[int, object]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        for number, frame in came:
            signal.getsignal(signal.SIGINT)(number, frame)  # the first may have changed it
