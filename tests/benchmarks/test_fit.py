"""The fit of the planner's costs, to times that it can tell: those of other costs."""

import math
import re

import numpy as np
import pytest

from convkit._ext import engine
from convkit.benchmarks import draw, fit
from convkit.benchmarks.problem import Problem, Setting
from convkit.cli import main

SECONDS = 3e-10  # of a cycle


def samples(layers):
    """Layers that take as long as the estimates say."""
    for layer in layers:
        problem = Problem(layer, "forward", Setting(algorithm="implicit_gemm"))
        estimates = problem.explained(problem.direction).estimates
        if len(estimates) > 1:
            yield fit.Sample(problem, {name: cycles * SECONDS for name, cycles in estimates.items()})


@pytest.mark.thorough
def test_a_fit_finds_what_times_come_from(costs):
    true = costs | {"stage": (0.25,), "stage_row": (13,)}  # each within a fit's reach, 1.7 times as much
    engine.set_costs(true)
    given = list(samples(draw.random_layers(20, 5)))
    assert fit.quality(given).loss < 1e-9 and fit.quality(given).near == 1
    engine.set_costs(costs)
    before, lines = fit.quality(given), []
    found = fit.fit(given, lines.append)
    after = fit.quality(given)
    assert before.loss > 0.005 and after.loss < before.loss / 2 and len(lines) == len(fit.STEPS)
    assert found["stage_row"][0] > 1.3 * costs["stage_row"][0]
    assert any(line.startswith("X(stage, ") for line in fit.changed(found, costs))


def test_costs_are_what_plans_follow_from(costs):
    problem = Problem(draw.random_layers(1, 5)[0], "forward", Setting(algorithm="implicit_gemm"))
    cycles = problem.explained(problem.direction).estimate
    engine.set_costs(costs | {"task": (1e9,)})
    assert problem.explained(problem.direction).estimate > cycles + 9e8
    engine.set_costs(costs)
    assert problem.explained(problem.direction).estimate == cycles


def test_what_is_interrupted_leaves_the_best_costs_so_far(costs):
    given, lines = list(samples(draw.random_layers(1, 2))), []

    def interrupted(line):
        lines.append(line)
        raise KeyboardInterrupt

    engine.set_costs(costs | {"task": (9000.0,)})
    before = fit.quality(given).loss
    with pytest.raises(KeyboardInterrupt):
        fit.fit(given, interrupted)
    after = fit.quality(given).loss
    assert after < before and lines[0].endswith(f"loss {after:.4f}")


def test_quality_is_of_the_estimates_and_of_what_they_choose(monkeypatch):
    """One layer is told right; of the other, whose estimates are off by 1/2 and 4, the slower arrangement is chosen."""
    cycles = {2.0: np.array([1.0, 2.0]), 4.0: np.array([4.0, 16.0])}
    monkeypatch.setattr(fit.Sample, "estimates", lambda sample: cycles[sample.seconds["b"]])
    found = fit.quality([fit.Sample(None, {"a": 1.0, "b": 2.0}), fit.Sample(None, {"a": 8.0, "b": 4.0})])
    assert (found.near, found.worst) == (0.5, 2.0)
    assert found.error == pytest.approx(math.sqrt(2)) and found.rank == pytest.approx(0.8)
    assert found.loss == pytest.approx(0.75 * math.log(2) + fit.CHOICE * math.log(2) / 2)


@pytest.mark.thorough
def test_the_command_times_each_arrangement_and_leaves_the_costs(brief, costs, capsys):
    assert main(["bench", "--fit", "--layers", "tiny_digits,r50_3x3_512,dcn_64*", "--batch", "1"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(("X(", "costs "))]
    assert [line.split()[0] for line in said] == ["r50_3x3_512", "tiny_digits", "before:", "after:"]
    assert all(re.search(r"  forward: by_\w+ \d+ us(, \w+ \d+ us)+$", line) for line in said[:2])
    assert engine.costs() == costs
