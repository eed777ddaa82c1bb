"""Losses, optimizers and schedules against a live PyTorch and torchvision, in float64; run by `make test-peers`."""

import numpy as np
import pytest

import training_oracle as oracle
from training_cases import HORIZON, LOSSES, OPTIMIZERS, REDUCTIONS, SCHEDULES, descend, draw_descent, lose


@pytest.mark.parametrize("case", LOSSES, ids=lambda case: case.name)
def test_losses(case):
    for seed in range(20):
        operands = case.draw(np.random.default_rng(seed))
        answers = oracle.loss_answers(case, **operands)
        for reduction in REDUCTIONS:
            loss = lose(case, **operands, reduction=reduction)
            np.testing.assert_allclose(loss.value, answers[reduction], rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(loss.grad, answers[f"{reduction}_grad"], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    for seed in range(20):
        descent = draw_descent(np.random.default_rng(seed))
        np.testing.assert_allclose(
            descend(name, **descent), oracle.descent_answers(name, **descent), rtol=1e-10, atol=1e-10
        )


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")  # SequentialLR's own call
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    rates = [SCHEDULES[name](t) for t in range(HORIZON)]
    np.testing.assert_allclose(rates, oracle.schedule_answers(name), rtol=1e-10, atol=1e-10)
