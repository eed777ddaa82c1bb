"""How every command reads numbers, sizes and files: an argument that is none of them is named, and refused at once.

What is read from text is a `type` of argparse's, whose errors say which argument they are about.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from .. import _extras, _threads

T = TypeVar("T")
INTERRUPTED = 130  # the status of what Ctrl-C has ended: 128 + SIGINT, as shells have it
UNREAD = 141  # of what ended because nobody reads its output: 128 + SIGPIPE
REFUSALS = TypeError, ValueError, OverflowError, MemoryError  # what a line says of, rather than a traceback
_INT, _LONG = 2**31 - 1, 2**63 - 1  # a C int, which pixels are counted in, and what sizes are


def whole(least: int, most: float = _LONG) -> Callable[[str], int]:
    """A whole number within bounds."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            bounds = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"must be a whole number {bounds}, got {text!r}")
        return number

    return parse


def several(parse: Callable[[str], T], such_as: str) -> Callable[[str], tuple[T, ...]]:
    """One or more numbers, comma-separated."""

    def numbers(text: str) -> tuple[T, ...]:
        try:
            return tuple(map(parse, text.split(",")))
        except argparse.ArgumentTypeError as error:
            expected = f"numbers with commas between, such as {such_as}"
            each = str(error).removesuffix(f", got {text!r}")
            raise argparse.ArgumentTypeError(f"must be {expected}, got {text!r}: each {each}") from None

    return numbers


def each_axis(least: int) -> Callable[[str], int | tuple[int, ...]]:
    """One number, or one for every axis."""
    parse = several(whole(least), "2,1")

    def sizes(text: str) -> int | tuple[int, ...]:
        numbers = parse(text)
        return numbers[0] if len(numbers) == 1 else numbers

    return sizes


def height_and_width(text: str) -> tuple[int, int]:
    """``HxW``, or one number for both."""
    parts = text.split("x")
    try:
        height, width = map(whole(1, _INT), parts if len(parts) == 2 else parts * 2)
    except (ValueError, argparse.ArgumentTypeError):  # ValueError: more than two of them
        expected = f"HxW or one number for both, whole and from 1 to {_INT}"
        raise argparse.ArgumentTypeError(f"must be {expected}, got {text!r}") from None
    return height, width


def real(zero: bool = True) -> Callable[[str], float]:
    """A finite number, which may be zero or not."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or not (number or zero):
            raise argparse.ArgumentTypeError(f"must be a finite number{'' if zero else ' but 0'}, got {text!r}")
        return number

    return parse


def to_write(text: str) -> str:
    """A file that can be written, by the look of it: better to stop now than after the measurements."""
    exists, folder = os.path.exists(text), os.path.dirname(os.path.abspath(text))
    place = text if exists else folder
    if os.path.isdir(text or ".") or not os.path.isdir(folder):
        why = f"there is no folder {folder}" if not os.path.isdir(folder) else "it is a folder"
    elif not os.access(place, os.W_OK):
        why = f"{place} is not to be written to"
    else:
        return text
    raise argparse.ArgumentTypeError(f"must be a file that can be written, got {text!r}: {why}")


def to_fill(text: str) -> Path:
    """A folder that is there or can be made, by the look of it."""
    place = os.path.abspath(text)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        raise argparse.ArgumentTypeError(f"must be a directory, got {text!r}: {place} is none")
    return Path(text)


def picture_name(extra: str) -> Callable[[str], str]:
    """A file whose suffix says how matplotlib, which comes with this extra, draws it; .png where there is none."""

    def parse(text: str) -> str:
        if not text or Path(text).is_dir():
            raise argparse.ArgumentTypeError(f"must be a file, got {text!r}, which is {'a folder' if text else 'none'}")
        path, known = Path(text), _extras.need("matplotlib.figure", extra).Figure().canvas.get_supported_filetypes()
        if path.suffix and path.suffix[1:].lower() not in known:
            suffixes = ", ".join(f".{name}" for name in known)
            raise argparse.ArgumentTypeError(f"must end in one of {suffixes}, got {text!r}")
        return text if path.suffix else f"{text}.png"

    return parse


thread_count = whole(1, _threads.MOST)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """The option of commands that run on one number of threads; None where it is not given."""
    parser.add_argument(
        "--threads", type=thread_count, metavar="N", help="threads to use (default: as many as every call)"
    )


def with_notes(error: Exception) -> str:
    """What an error says, and where it was: models note their layer."""
    return "; ".join([str(error), *getattr(error, "__notes__", ())])


def failed(command: str, error: Exception, status: int) -> int:
    """Say in one line what ended a command; its status. That nobody reads its output, as behind `head`, is not said."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes as it ends
        return UNREAD
    print(f"convkit {command}: {with_notes(error)}", file=sys.stderr, flush=True)
    return status


@contextmanager
def reading(name: str, expected: str, given: object) -> Iterator[None]:
    """Errors of the block are about this argument, a file: they name it, what it must be, and what it is."""
    try:
        yield
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"{name} must be {expected}, got {str(given)!r}: {error}") from error
