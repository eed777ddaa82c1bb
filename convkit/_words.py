"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """So many of something: "1 thread", "2 threads"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
