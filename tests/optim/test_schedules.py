"""Schedules: by hand, driving an optimizer, resumed, drawn."""

import copy

import numpy as np
import pytest
from matplotlib.figure import Figure

from convkit import nn, optim
from convkit.optim import schedules
from missing import hide
from training_cases import SCHEDULES


def optimizer(lr=0.8):
    parameter = nn.Parameter(np.ones(1))
    parameter.grad = np.ones(1)
    return optim.SGD([parameter], lr)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (schedules.Step(2), {0: 1, 1: 1, 2: 0.5, 3: 0.5, 4: 0.25}),
        (schedules.MultiStep([1, 3]), {0: 1, 1: 0.1, 2: 0.1, 3: 0.01, 9: 0.01}),
        (schedules.Exponential(0.5), {0: 1, 1: 0.5, 3: 0.125}),
        (schedules.Linear(4), {0: 1, 1: 0.75, 4: 0, 9: 0}),
        (schedules.Linear(2, 0.5, 2.0), {0: 0.5, 1: 1.25, 2: 2, 3: 2}),
        (schedules.WarmUp(3), {0: 0.25, 1: 0.5, 2: 0.75, 3: 1, 9: 1}),
        (schedules.Cosine(4), {0: 1, 2: 0.5, 4: 0, 6: 0}),
        (schedules.Cosine(3, 0.2), {0: 1, 1: 0.8, 2: 0.4, 3: 0.2}),
        (schedules.Sequence([schedules.WarmUp(3), schedules.Step(2)], [3]), {0: 0.25, 3: 1, 4: 1, 5: 0.5}),
        (schedules.Product([schedules.Exponential(0.5), schedules.Step(1)]), {0: 1, 1: 0.25, 2: 0.0625}),
    ],
)
def test_by_hand(schedule, rates):
    assert {t: schedule(t) for t in rates} == pytest.approx(rates, rel=1e-14, abs=1e-15)


def test_driving_an_optimizer():
    driven = optimizer(0.8)
    schedule = schedules.Step(2).drive(driven)
    rates = []
    for _ in range(5):
        rates.append(driven.lr)
        driven.step()
        assert schedule.step() == driven.lr
    assert rates == [0.8, 0.8, 0.4, 0.4, 0.2]


def test_a_warm_up_begins_low():
    driven = optimizer(0.8)
    schedules.WarmUp(3).drive(driven)
    assert driven.lr == 0.2


@pytest.mark.parametrize("name", SCHEDULES)
def test_resumed_is_uninterrupted_to_the_bit(name):
    whole, first, second = (copy.copy(SCHEDULES[name]).drive(optimizer(0.3)) for _ in range(3))
    for _ in range(12):
        whole.step()
    for _ in range(5):
        first.step()
    second.optimizer.lr = 123.0
    second.load_state_dict(first.state_dict())
    assert second.optimizer.lr == first.optimizer.lr
    for _ in range(7):
        second.step()
    assert second.optimizer.lr == whole.optimizer.lr


def test_a_state_that_does_not_fit_changes_nothing():
    schedule = schedules.Step(2).drive(optimizer())
    for state, error in (
        ({}, ValueError),
        ({"lr": 1.0, "position": 1.5}, TypeError),
        ({"lr": -1.0, "position": 1}, ValueError),
    ):
        with pytest.raises(error):
            schedule.load_state_dict(state)
    assert (schedule.lr, schedule.position, schedule.optimizer.lr) == (0.8, 0, 0.8)


@pytest.mark.parametrize("name", SCHEDULES)
def test_it_draws_itself(name):
    ax = Figure().add_subplot()
    assert SCHEDULES[name].plot(ax) is ax
    (line,) = ax.lines
    t, rate = line.get_data()
    assert t[0] == 0 and t[-1] == pytest.approx(SCHEDULES[name].span)
    np.testing.assert_allclose(rate, [SCHEDULES[name](float(at)) for at in t])
    assert ax.get_xlabel() and ax.get_ylabel()


def test_it_draws_itself_on_a_new_figure():
    ax = schedules.Cosine(10).plot(span=5)
    assert ax.lines[0].get_xdata()[-1] == 5


def test_drawing_without_matplotlib(monkeypatch):
    hide(monkeypatch, "matplotlib")
    with pytest.raises(ImportError, match=r"matplotlib is not installed; it comes with the extra \[train\]"):
        schedules.Cosine(10).plot()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: schedules.Step(0), ValueError, "every must be at least 1, got 0"),
        (lambda: schedules.Step(2.5), TypeError, "every must be an int, got 2.5 of type float"),
        (lambda: schedules.Step(2, -1), ValueError, "factor must be a number"),
        (lambda: schedules.MultiStep([]), ValueError, "milestones must be at least one"),
        (lambda: schedules.MultiStep([3, 3]), ValueError, "milestones must be at least one, in rising order"),
        (lambda: schedules.Exponential(float("nan")), ValueError, "factor must be a number"),
        (lambda: schedules.Linear(0), ValueError, "steps must be at least 1"),
        (lambda: schedules.Cosine(True), TypeError, "steps must be an int, got True"),
        (lambda: schedules.Cosine(2, lr=-1), ValueError, "lr must be a number"),
        (lambda: schedules.Sequence([schedules.Step(1)] * 2, [3, 4]), ValueError, "milestones must be 1, one fewer"),
        (lambda: schedules.Product([]), ValueError, "schedules must be at least one"),
        (lambda: schedules.Product([0.5]), TypeError, "schedules must be Schedules, got a float"),
        (lambda: schedules.Step(1).drive(0.1), TypeError, "optimizer must be an Optimizer, got float"),
        (lambda: schedules.Step(1).step(), RuntimeError, "Step.step: no optimizer; call schedule.drive"),
        (lambda: schedules.Step(1)(-1), ValueError, "t must be a number"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
