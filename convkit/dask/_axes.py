"""Which elements a block needs along one axis: the one rule that everything moving over an image follows.

An operator has a large side, over which windows move, and a small side, one element for each window. Convolution and
pooling go from the large side to the small one; their gradients, and transposed convolution, the other way. A block of
the small side reads the hull of its windows (`Axis.read`), one of the large side the positions whose windows touch it
(`Axis.touching`). What of a hull lies outside of the image is padding of that block alone.
"""

from __future__ import annotations

from typing import NamedTuple

from ._graph import Span


class Read(NamedTuple):
    """What a block of the small side reads along one axis: start..stop-1, and how much padding before and after."""

    start: int
    stop: int
    before: int
    after: int

    @property
    def span(self) -> Span:
        """What of it lies in the image."""
        return self.start, self.stop


class Axis(NamedTuple):
    """Window p reads the elements p*stride - lo ... p*stride - lo + reach - 1, every `dilation`-th."""

    large: int
    small: int
    stride: int
    reach: int
    lo: int

    def read(self, first: int, end: int) -> Read:
        """The hull of the windows first..end-1."""
        low = first * self.stride - self.lo
        high = (end - 1) * self.stride - self.lo + self.reach
        start, stop = (min(max(edge, 0), self.large) for edge in (low, high))
        before = min(max(-low, 0), high - low)
        return Read(start, stop, before, high - low - before - (stop - start))

    def touching(self, start: int, stop: int) -> Span:
        """Positions whose windows touch the elements start..stop-1, one more where there are none."""
        first = max((start + self.lo - self.reach + 1) // self.stride, 0)
        last = min((stop - 1 + self.lo) // self.stride, self.small - 1)
        return min(first, last), last + 1

    def placed(self, first: int, end: int, start: int, stop: int) -> tuple[int, int, int]:
        """What the windows first..end-1 have before and after the elements start..stop-1, and are short of."""
        low, high = first * self.stride - self.lo, (end - 1) * self.stride - self.lo + self.reach
        return start - low, max(high - stop, 0), max(stop - high, 0)

    def small_cuts(self, cuts: list[Span]) -> list[Span]:
        """Blocks of the small side that go with these of the large one: each begins where one of them does."""
        return cuts_at([-(-start // self.stride) for start, _ in cuts], self.small)

    def large_cuts(self, cuts: list[Span]) -> list[Span]:
        """Blocks of the large side that go with these of the small one."""
        return cuts_at([start * self.stride for start, _ in cuts], self.large)


def cuts_at(starts: list[int], size: int) -> list[Span]:
    """Blocks that begin at these places, those without an element left out."""
    starts = sorted({0, *(start for start in starts if 0 < start < size)})
    return list(zip(starts, [*starts[1:], size], strict=True))
