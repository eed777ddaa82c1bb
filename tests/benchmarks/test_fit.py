"""The fit of the planner's costs, to times that it can tell: those of other costs."""

import pytest

from convkit._ext import engine
from convkit.benchmarks import draw, fit
from convkit.benchmarks.problem import Problem, Setting

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
    true = costs | {"stage": (0.6,), "drain": (0.05,)}
    engine.set_costs(true)
    given = list(samples(draw.random_layers(12, 5)))
    assert fit.quality(given).loss < 1e-9 and fit.quality(given).near == 1
    engine.set_costs(costs)
    before, lines = fit.quality(given), []
    found = fit.fit(given, lines.append)
    after = fit.quality(given)
    assert before.loss > 0.01 and after.loss < before.loss / 2 and len(lines) == len(fit.STEPS)
    assert found["stage"][0] > 1.5 * costs["stage"][0]
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
