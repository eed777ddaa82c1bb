"""What each output of a layer reads of the layer's own input, along each axis: the steps of receptive fields."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple


class Window(NamedTuple):
    """A window along one axis: output i reads the inputs from ``start + i * jump`` to ``end + i * jump``.

    Attributes
    ----------
    start, end, jump : Fraction
        Of an element that is read alone 0, 0 and 1, as they are by default.

    Examples
    --------
    >>> from convkit import nn
    >>> window = nn.Window.moving(3, stride=2, low=1)
    >>> [(int(window.start + i * window.jump), int(window.end + i * window.jump)) for i in range(3)]
    [(-1, 1), (1, 3), (3, 5)]
    """

    start: Fraction = Fraction(0)
    end: Fraction = Fraction(0)
    jump: Fraction = Fraction(1)

    @classmethod
    def moving(cls, kernel: int, stride: int = 1, dilation: int = 1, low: int = 0) -> Window:
        """A kernel that moves over the input, padded by `low` in front.

        Examples
        --------
        >>> from convkit import nn
        >>> tuple(map(int, nn.Window.moving(3, stride=2, low=1)))
        (-1, 1, 2)
        """
        return cls(Fraction(-low), Fraction(dilation * (kernel - 1) - low), Fraction(stride))

    @classmethod
    def scattered(cls, count: int, kernel: int, stride: int, dilation: int, low: int) -> Window:
        """A kernel that every input lays into the `count` outputs: input j reaches j * stride + dilation * t - low."""
        reach = dilation * (kernel - 1)
        return cls.enclosing(
            count, Fraction(1, stride), lambda i: (-((reach - i - low) // stride), (i + low) // stride)
        )

    @classmethod
    def adaptive(cls, size: int, count: int) -> Window:
        """Windows that share `size` inputs among `count` outputs."""
        return cls.enclosing(
            count, Fraction(size, count), lambda i: (i * size // count, -((-(i + 1) * size) // count) - 1)
        )

    @classmethod
    def interpolated(
        cls, size: int, count: int, scale: float | None, mode: str, align_corners: bool, antialias: bool
    ) -> Window:
        """Output i lies at (i + before) * jump - after, and reads the pixels on both sides, or the one before.

        With `antialias` these are all whose middles are nearer than one or two pixels, or outputs.
        """
        jump = Fraction(size, count) if scale is None else 1 / Fraction(scale)
        if align_corners:
            jump = Fraction(size - 1, max(count - 1, 1))
        if antialias:
            reach = (2 if mode == "bicubic" else 1) * max(jump, Fraction(1))
            half = Fraction(1, 2)

            def near(i: int) -> tuple[int, int]:
                place = (i + half) * jump - half
                return floor(place - reach) + 1, ceil(place + reach) - 1

            return cls.enclosing(count, jump, near)
        before = Fraction(0 if align_corners or mode == "nearest" else 1, 2)
        after = 0 if mode == "nearest-exact" else before
        beside = {"nearest": None, "nearest-exact": None, "bicubic": 1}.get(mode, 0)

        def window(i: int) -> tuple[int, int]:
            place = (i + before) * jump - after
            if beside is None or place.denominator == 1:
                return floor(place), floor(place)
            return floor(place) - beside, ceil(place) + beside

        return cls.enclosing(count, jump, window)

    @classmethod
    def enclosing(cls, count: int, jump: Fraction, window: Callable[[int], tuple[int, int]]) -> Window:
        """The smallest of that jump which holds the windows, (first, last), of all `count` outputs; they recur."""
        each = ((i * jump, window(i)) for i in range(min(count, jump.denominator)))
        ends = [(first - shift, last - shift) for shift, (first, last) in each if first <= last]
        return cls(min(first for first, _ in ends), max(last for _, last in ends), jump) if ends else cls()
