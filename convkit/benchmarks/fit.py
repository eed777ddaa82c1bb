"""The planner's costs, fitted to what layers take on this machine.

Each layer is timed in each of the arrangements that it may have. Costs are then changed one at a time, up and down, as
long as estimates come closer to the times, or the arrangements that they choose to the fastest. The scale between
cycles and seconds is whatever fits best: estimates have to rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .._ext import engine
from .._probe import Probe
from .._timing import Contender, Race
from .._words import percent
from .layers import DEFORMABLE, Layer
from .problem import Problem, Setting, ours

Costs = dict[str, tuple[float, ...]]
ROUNDS = 3
STEPS = (1.4, 1.15, 1.05)  # costs are multiplied and divided by these, pass by pass
CHOICE = 0.5  # what a choice's loss counts beside an estimate's error, both as logarithms of ratios
LEAST_GAIN = 1e-4  # below that a cost follows the noise of the timings
NEAR = 1.15  # as much as a burst differs from the next on a quiet machine


@dataclass(frozen=True)
class Sample:
    """A layer, and its seconds by arrangement."""

    problem: Problem
    seconds: dict[str, float]

    def estimates(self) -> np.ndarray:
        """Estimated cycles of the arrangements, in the order of `seconds`."""
        cycles = self.problem.explained(self.problem.direction).estimates
        return np.array([cycles[name] for name in self.seconds])


def measure(layers: Sequence[Layer], direction: str, setting: Setting, probe: Probe) -> Iterator[Sample]:
    """The layers that may be arranged in several ways, timed in each."""
    for layer in layers:
        problem = _of_the_engine(layer, direction, setting)
        names = [] if problem is None else [*problem.explained(direction).estimates]
        if problem is None or len(names) < 2:
            continue
        race = Race([_arranged(problem, name) for name in names], probe)
        try:
            race.run(ROUNDS)
        finally:
            engine.take_arrangements()
        yield Sample(problem, {name: probe.best_of(race.bursts[name]).seconds for name in names})


def _of_the_engine(layer: Layer, direction: str, setting: Setting) -> Problem | None:
    """The layer by an algorithm that arranges it; a deformable one has no choice."""
    if layer.kind in DEFORMABLE:
        return None
    problem = Problem(layer, direction, replace(setting, algorithm="auto"))
    if problem.explained(direction).algorithm in ("winograd", "im2col"):
        return Problem(layer, direction, replace(setting, algorithm="implicit_gemm"))
    return problem


def _arranged(problem: Problem, name: str) -> Contender:
    call = ours(problem)[0].call

    def run():
        engine.take_arrangements(name)
        return call()

    return Contender(name, run)


@dataclass(frozen=True)
class Quality:
    """How well estimates tell what is fast.

    `error` is the median ratio between an estimate and the time, the larger over the smaller; `rank` Spearman's
    correlation of all of them; `near` the share of the layers whose chosen arrangement takes at most NEAR times as long
    as their fastest one; `worst` the largest such ratio; `loss` what a fit lowers.
    """

    error: float
    rank: float
    near: float
    worst: float
    loss: float

    def __str__(self) -> str:
        return (
            f"estimates off by a factor of {self.error:.2f} (median), rank correlation {self.rank:.3f}; the chosen "
            f"arrangement takes at most {NEAR} times the fastest's time for {percent(self.near)} of the layers, "
            f"at worst {self.worst:.2f} times"
        )


def quality(samples: Sequence[Sample]) -> Quality:
    """Of the costs as they are."""
    cycles = [sample.estimates() for sample in samples]
    seconds = [np.array(list(sample.seconds.values())) for sample in samples]
    all_cycles, all_seconds = np.concatenate(cycles), np.concatenate(seconds)
    log = np.log(all_cycles / all_seconds)
    off = np.abs(log - np.median(log))
    lost = np.array([t[c.argmin()] / t.min() for c, t in zip(cycles, seconds, strict=True)])
    ranks = [np.argsort(np.argsort(values)) for values in (all_cycles, all_seconds)]
    return Quality(
        float(np.exp(np.median(off))), float(np.corrcoef(*ranks)[0, 1]), float(np.mean(lost <= NEAR)),
        float(lost.max()), float(off.mean() + CHOICE * np.log(lost).mean()),
    )  # fmt: skip


def fit(samples: Sequence[Sample], told: Callable[[str], object]) -> Costs:
    """Costs under which the estimates of the samples are nearer to their times; they are in force until set again."""
    costs = engine.costs()
    best = quality(samples).loss
    try:
        for step in STEPS:
            for name, i, factor in _trials(costs, step):
                numbers = costs[name]
                trial = costs | {name: (*numbers[:i], numbers[i] * factor, *numbers[i + 1 :])}
                engine.set_costs(trial)
                loss = quality(samples).loss
                if loss < best - LEAST_GAIN:
                    best, costs = loss, trial
            told(f"costs multiplied or divided by {step}: loss {best:.4f}")
    finally:
        engine.set_costs(costs)
    return costs


def _trials(costs: Costs, step: float) -> Iterator[tuple[str, int, float]]:
    """Every number of the costs, up and down: its name and place, and by what to multiply it."""
    for name, numbers in costs.items():
        for i in range(len(numbers)):
            yield name, i, step
            yield name, i, 1 / step


def changed(costs: Costs, before: Costs) -> Iterator[str]:
    """The costs that differ, as src_c/dense/dense_cost.c has them."""
    for name, numbers in costs.items():
        if numbers != before[name]:
            new, old = (", ".join(f"{number:.3g}" for number in values) for values in (numbers, before[name]))
            yield f"X({name}, {new if len(numbers) == 1 else '{' + new + '}'})  /* was {old} */"
