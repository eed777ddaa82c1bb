"""Schedules: learning rates that change as training goes on.

A schedule is a function of a step's number (or an epoch's: whatever its `step` is called after), given by the share of
the starting rate that holds then. It is computed anew from the number each time, so going on from a saved number gives
the very same rates. What a schedule was made with is read-only: for another shape make another, and go on from the
first one's `state_dict`::

    warm = schedules.WarmUp(5)
    schedule = schedules.Sequence([warm, schedules.Cosine(95)], [5]).drive(optimizer)
    for epoch in range(100):
        ...
        schedule.step()
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping
from collections.abc import Sequence as Ordered
from typing import Any

import numpy as np

from .. import _extras
from .._options import several
from .._shapes import at_least
from .._words import brief
from ._settings import Settings, check_rate
from ._state import check_keys, take_number
from .optimizer import Optimizer

__all__ = ["Cosine", "Exponential", "Linear", "MultiStep", "Product", "Schedule", "Sequence", "Step", "WarmUp"]


class Schedule(Settings, ABC):
    """Base of the schedules: a constructor and a `factor`.

    Parameters
    ----------
    lr : float, default 1
        The rate that the factors are shares of; `drive` sets it to the optimizer's. An attribute that may be set
        between steps. All schedules take it, by name.

    Attributes
    ----------
    position : int
        How often `step` has been called.
    span : float
        How far `plot` draws: where the schedule has shown what it does.

    Raises
    ------
    TypeError, ValueError
        If an argument of any of them is no number, or out of its range.

    Examples
    --------
    >>> from convkit.optim import schedules
    >>> class Inverse(schedules.Schedule):
    ...     span = 10
    ...     def factor(self, t):
    ...         return 1 / (1 + t)
    >>> schedule = Inverse(lr=0.8)
    >>> [schedule(t) for t in (0, 1, 3)]
    [0.8, 0.4, 0.2]
    """

    numbers = {"lr": math.inf}
    fixed: tuple[str, ...] = ("factor",)
    span: float

    def __init__(self, *, lr: float = 1.0) -> None:
        self.lr = lr
        self.position = 0
        self.optimizer: Optimizer | None = None

    @abstractmethod
    def factor(self, t: float) -> float:
        """Return the share of the starting rate at `t` >= 0; `t` may lie between whole numbers."""

    def __call__(self, t: float) -> float:
        """Return the rate at step or epoch `t`, counted from 0."""
        return self.lr * self.factor(check_rate("t", t))

    def drive(self, optimizer: Optimizer) -> Schedule:
        """Take the optimizer's present rate as the starting one, set it to that of position 0, and return self."""
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be an Optimizer, got {type(optimizer).__name__}")
        self.lr = optimizer.lr
        self.optimizer, self.position = optimizer, 0
        optimizer.lr = self(0)
        return self

    def step(self) -> float:
        """Go on by one, set the optimizer's rate, and return it.

        Raises
        ------
        RuntimeError
            If there is no optimizer to drive.
        """
        if self.optimizer is None:
            raise RuntimeError(f"{type(self).__name__}.step: no optimizer; call schedule.drive(optimizer) first")
        self.position += 1
        self.optimizer.lr = self(self.position)
        return self.optimizer.lr

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the starting rate and the position, as arrays of no axes."""
        return {"lr": np.array(self.lr, np.float64), "position": np.array(self.position, np.int64)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state_dict` returned; an optimizer that is driven gets the rate that holds there.

        Raises
        ------
        TypeError, ValueError
            If `state` holds something else; nothing has changed then.
        """
        check_keys(state, ("lr", "position"))
        lr, position = check_rate("lr", take_number(state, "lr")), take_number(state, "position", int)
        self.lr, self.position = lr, position
        if self.optimizer is not None:
            self.optimizer.lr = self(position)

    def plot(self, ax: Any = None, *, span: float | None = None) -> Any:
        """Draw the rate over steps or epochs.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            What to draw into; else a new figure's.
        span : float, optional
            How far; `self.span` without it.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed; it comes with the extra [train].
        """
        if ax is None:
            figure = _extras.need("matplotlib.figure", "train").Figure(layout="constrained")
            ax = figure.add_subplot()
        points = np.linspace(0, self.span if span is None else span, 1001)
        ax.plot(points, [self(float(t)) for t in points])
        ax.set(xlabel="step or epoch", ylabel="learning rate", title=type(self).__name__)
        return ax


class Step(Schedule):
    """Times `factor` every so many steps: halved every ten epochs, say.

    Parameters
    ----------
    every : int
        Steps between two falls.
    factor : float, default 0.5
        What each multiplies the rate by.

    Examples
    --------
    >>> from convkit.optim import schedules
    >>> schedule = schedules.Step(every=10, lr=0.8)
    >>> [schedule(t) for t in (0, 9, 10, 25)]
    [0.8, 0.8, 0.4, 0.2]
    """

    fixed = (*Schedule.fixed, "every", "by")

    def __init__(self, every: int, factor: float = 0.5, **options: float) -> None:
        super().__init__(**options)
        self.every, self.by = at_least(every, "every"), check_rate("factor", factor)
        self.span = 5 * self.every

    def factor(self, t: float) -> float:
        """Return by^floor(t / every)."""
        return self.by ** (t // self.every)


class MultiStep(Schedule):
    """Times `factor` at each milestone.

    Parameters
    ----------
    milestones : sequence of int
        In rising order.
    factor : float, default 0.1
        What each multiplies the rate by.

    Examples
    --------
    >>> from convkit.optim import schedules
    >>> schedule = schedules.MultiStep([30, 60], factor=0.5, lr=0.8)
    >>> [schedule(t) for t in (0, 29, 30, 60)]
    [0.8, 0.8, 0.4, 0.2]
    """

    fixed = (*Schedule.fixed, "milestones", "by")

    def __init__(self, milestones: Ordered[int], factor: float = 0.1, **options: float) -> None:
        super().__init__(**options)
        self.milestones, self.by = _rising(milestones), check_rate("factor", factor)
        self.span = 1.25 * self.milestones[-1]

    def factor(self, t: float) -> float:
        """Return by^(number of milestones reached)."""
        return self.by ** bisect_right(self.milestones, t)


class Exponential(Schedule):
    """Times `factor` at every step.

    Parameters
    ----------
    factor : float
        What each multiplies the rate by; below 1 to fall.

    Examples
    --------
    >>> from convkit.optim import schedules
    >>> schedule = schedules.Exponential(0.5, lr=0.8)
    >>> [schedule(t) for t in (0, 1, 2)]
    [0.8, 0.4, 0.2]
    """

    fixed = (*Schedule.fixed, "by")

    def __init__(self, factor: float, **options: float) -> None:
        super().__init__(**options)
        self.by = check_rate("factor", factor)
        self.span = min(100.0, math.log(1e-3) / math.log(self.by)) if 0 < self.by < 1 else 100.0

    def factor(self, t: float) -> float:
        """Return by^t."""
        return self.by**t


class Linear(Schedule):
    """A straight line from one share of the rate to another, constant from there on.

    Parameters
    ----------
    steps : int
        How long it takes.
    start, end : float, default 1 and 0
        The shares.

    Examples
    --------
    >>> from convkit.optim import schedules
    >>> schedule = schedules.Linear(10, lr=0.8)
    >>> [schedule(t) for t in (0, 5, 10, 20)]
    [0.8, 0.4, 0.0, 0.0]
    """

    fixed = (*Schedule.fixed, "steps", "start", "end")

    def __init__(self, steps: int, start: float = 1.0, end: float = 0.0, **options: float) -> None:
        super().__init__(**options)
        self.steps, self.start, self.end = at_least(steps, "steps"), check_rate("start", start), check_rate("end", end)
        self.span = 1.2 * self.steps

    def factor(self, t: float) -> float:
        """Return start + (end - start) * min(t / steps, 1)."""
        return self.start + (self.end - self.start) * min(t / self.steps, 1.0)


class WarmUp(Linear):
    """A rate that rises to its full height in equal steps.

    Parameters
    ----------
    steps : int
        Until it has risen.
    start : float, optional
        Share to begin with; else ``1 / (steps + 1)``, so that the first step is no smaller than the rises.

    Examples
    --------
    >>> from convkit.optim import schedules
    >>> schedule = schedules.WarmUp(3, lr=0.8)
    >>> [round(schedule(t), 3) for t in range(5)]
    [0.2, 0.4, 0.6, 0.8, 0.8]
    """

    def __init__(self, steps: int, start: float | None = None, **options: float) -> None:
        super().__init__(steps, 1 / (at_least(steps, "steps") + 1) if start is None else start, 1.0, **options)


class Cosine(Schedule):
    """Half a wave of a cosine from the full rate down to a share of it (Loshchilov and Hutter, 2017), then constant.

    Parameters
    ----------
    steps : int
        How long it takes.
    end : float, default 0
        The share it comes down to. (PyTorch's ``CosineAnnealingLR`` has a rate here, and rises again afterwards.)

    Examples
    --------
    >>> from convkit.optim import schedules
    >>> schedule = schedules.Cosine(100, lr=0.8)
    >>> [round(schedule(t), 3) for t in (0, 25, 50, 75, 100)]
    [0.8, 0.683, 0.4, 0.117, 0.0]
    """

    fixed = (*Schedule.fixed, "steps", "end")

    def __init__(self, steps: int, end: float = 0.0, **options: float) -> None:
        super().__init__(**options)
        self.steps, self.end = at_least(steps, "steps"), check_rate("end", end)
        self.span = 1.2 * self.steps

    def factor(self, t: float) -> float:
        """Return end + (1 - end) * (1 + cos(pi * min(t / steps, 1))) / 2."""
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * min(t / self.steps, 1.0))) / 2


class Sequence(Schedule):
    """One schedule after the other, each counting from 0 where it begins.

    Parameters
    ----------
    schedules : sequence of Schedule
        Only their factors are used.
    milestones : sequence of int
        Where the second begins, the third and so on: one fewer than schedules.

    Examples
    --------
    >>> from convkit.optim import schedules
    >>> schedule = schedules.Sequence([schedules.WarmUp(3), schedules.Cosine(97)], [3], lr=0.8)
    >>> [round(schedule(t), 3) for t in (0, 1, 2, 3, 100)]
    [0.2, 0.4, 0.6, 0.8, 0.0]
    """

    fixed = (*Schedule.fixed, "schedules", "milestones")

    def __init__(self, schedules: Ordered[Schedule], milestones: Ordered[int], **options: float) -> None:
        super().__init__(**options)
        self.schedules = _schedules(schedules)
        expected = len(self.schedules) - 1
        if not expected:
            raise ValueError("schedules must be at least two, got one, which is a schedule by itself")
        self.milestones = _rising(milestones)
        if len(self.milestones) != expected:
            raise ValueError(f"milestones must be {expected}, one fewer than schedules, got {len(self.milestones)}")
        self.span = self.milestones[-1] + self.schedules[-1].span

    def factor(self, t: float) -> float:
        """Return the factor of the one whose turn it is."""
        i = bisect_right(self.milestones, t)
        return self.schedules[i].factor(t - self.milestones[i - 1] if i else t)


class Product(Schedule):
    """Several schedules at once, their factors multiplied.

    Parameters
    ----------
    schedules : sequence of Schedule
        Only their factors are used.

    Examples
    --------
    >>> from convkit.optim import schedules
    >>> schedule = schedules.Product([schedules.WarmUp(3), schedules.Step(2)], lr=0.8)
    >>> [round(schedule(t), 3) for t in range(5)]
    [0.2, 0.4, 0.3, 0.4, 0.2]
    """

    fixed = (*Schedule.fixed, "schedules")

    def __init__(self, schedules: Ordered[Schedule], **options: float) -> None:
        super().__init__(**options)
        self.schedules = _schedules(schedules)
        self.span = max(schedule.span for schedule in self.schedules)

    def factor(self, t: float) -> float:
        """Return the product."""
        return math.prod(schedule.factor(t) for schedule in self.schedules)


def _rising(milestones: Ordered[int]) -> tuple[int, ...]:
    """Return milestones if they rise and there is one."""
    marks = tuple(at_least(mark, "milestones") for mark in several(milestones, "milestones", "ints"))
    if not marks or any(a >= b for a, b in zip(marks, marks[1:], strict=False)):
        raise ValueError(f"milestones must be at least one, in rising order, got {brief(milestones)}")
    return marks


def _schedules(schedules: Ordered[Schedule]) -> tuple[Schedule, ...]:
    """Return schedules if all are, and there is one."""
    schedules = several(schedules, "schedules", "Schedules")
    for schedule in schedules:
        if not isinstance(schedule, Schedule):
            raise TypeError(f"schedules must be Schedules, got a {type(schedule).__name__}")
    if not schedules:
        raise ValueError("schedules must be at least one, got none")
    return schedules
