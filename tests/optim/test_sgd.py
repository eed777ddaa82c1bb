"""Gradient descent, momentum and weight decay against hand-worked numbers and a plain scalar loop."""

import numpy as np
import pytest

from convkit import nn, optim


def quadratic(w, curvature=1.0):
    """Set the gradient of sum(curvature * w**2)."""
    w.grad = 2 * curvature * w.data


def test_down_a_parabola():
    w = nn.Parameter(np.array([10.0]))
    optimizer = optim.SGD([w], lr=0.2)
    for expected in (6.0, 3.6):
        quadratic(w)
        optimizer.step()
        np.testing.assert_allclose(w.data, [expected], rtol=1e-15)


def test_down_a_valley():
    w = nn.Parameter(np.array([-3.5, -3.5]))
    quadratic(w, np.array([1.0, 2.0]))
    optim.SGD([w], lr=0.1).step()
    np.testing.assert_allclose(w.data, [-2.8, -2.1], rtol=1e-15)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_momentum_in_pytorchs_form(weight_decay, nesterov):
    w = nn.Parameter(np.array([2.0]))
    optimizer = optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=weight_decay, nesterov=nesterov)
    value, velocity = 2.0, 0.0
    for rate in (0.1, 0.1, 0.05, 0.02):
        optimizer.lr = rate
        quadratic(w)
        optimizer.step()
        slope = 2 * value + weight_decay * value
        velocity = 0.9 * velocity + slope
        value -= rate * (slope + 0.9 * velocity if nesterov else velocity)
        np.testing.assert_allclose(w.data, [value], rtol=1e-14, atol=1e-15)  # the last lands near 0


# x^2 from 10, momentum 1/2, lr 0.1: the values after each step
@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({}, (8.0, 5.4)),
        ({"nesterov": True}, (7.0, 4.4)),
        ({"form": "classic"}, (8.0, 5.4)),
        ({"form": "classic", "nesterov": True}, (7.0, 4.4)),
        ({"form": "ewma"}, (8.0, 8 - 0.1 * 13 / 0.75)),  # averages 10 and 13, of weights 1/2 and 3/4
        ({"form": "ewma", "bias_correction": False}, (9.0, 7.6)),
    ],
)
def test_named_forms_of_momentum(options, values):
    w = nn.Parameter(np.array([10.0]))
    optimizer = optim.SGD([w], 0.1, 0.5, **options)
    for expected in values:
        quadratic(w)
        optimizer.step()
        np.testing.assert_allclose(w.data, [expected], rtol=1e-14)


def test_classic_momentum_carries_the_old_rate_on():
    values = {}
    for form in ("pytorch", "classic"):
        w = nn.Parameter(np.array([10.0]))
        optimizer = optim.SGD([w], 0.1, 0.5, form=form)
        for optimizer.lr in (0.1, 0.05):
            quadratic(w)
            optimizer.step()
        values[form] = w.data[0]
    assert values == pytest.approx({"pytorch": 8 - 0.05 * 26, "classic": 8 - 1.0 - 0.05 * 16})


@pytest.mark.parametrize(
    ("kind", "options", "values"),
    [
        (optim.SGD, {"weight_decay": 0.5}, (9.5, 9.025)),
        (optim.SGD, {"decoupled_weight_decay": 0.5}, (9.5, 9.025)),  # the same without momentum
        (optim.SGD, {"momentum": 0.5, "weight_decay": 0.5}, (9.5, 8.775)),
        (optim.SGD, {"momentum": 0.5, "decoupled_weight_decay": 0.5}, (9.5, 9.025)),
        (optim.RMSprop, {"decoupled_weight_decay": 0.5}, (9.5, 9.025)),
        (optim.RMSprop, {"alpha": 0.0, "eps": 0.0, "weight_decay": 0.5}, (9.9, 9.8)),  # divided by its own size
        (optim.Adam, {"betas": (0.0, 0.0), "eps": 0.0, "weight_decay": 0.5}, (9.9, 9.8)),
        (optim.AdamW, {"weight_decay": 0.5}, (9.5, 9.025)),
    ],
)
def test_l2_and_decoupled_weight_decay(kind, options, values):
    w = nn.Parameter(np.array([10.0]))
    optimizer = kind([w], lr=0.1, **options)
    for expected in values:
        w.grad = np.zeros(1)
        optimizer.step()
        np.testing.assert_allclose(w.data, [expected], rtol=1e-14)


def test_steps_in_place_and_in_the_parameters_dtype():
    w = nn.Parameter(np.ones(3, np.float32))
    data, w.grad = w.data, np.ones(3, np.float32)
    optim.SGD([w], lr=0.5, momentum=0.9, weight_decay=0.1, nesterov=True).step()
    assert w.data is data and data.dtype == np.float32
    np.testing.assert_array_equal(w.grad, np.ones(3))  # the gradient is left as it was


def test_frozen_and_untouched_parameters_stay():
    learning, frozen, unused = (nn.Parameter(np.ones(2)) for _ in range(3))
    learning.grad, frozen.grad, frozen.trainable = np.ones(2), np.ones(2), False
    optimizer = optim.SGD([learning, frozen, unused], lr=0.1, weight_decay=0.5)
    optimizer.step()
    assert np.all(learning.data < 1) and np.all(frozen.data == 1) and np.all(unused.data == 1)
    optimizer.zero_grad()
    assert learning.grad is None


def test_a_parameter_given_twice_is_stepped_once():
    w = nn.Parameter(np.array([1.0]))
    w.grad = np.array([1.0])
    optim.SGD([w, w], lr=0.1).step()
    assert w.data[0] == pytest.approx(0.9)


def test_step_before_backward_is_an_error():
    model = nn.Linear(2, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RuntimeError, match=r"SGD.step: no parameter has a gradient; call .*backward"):
        optimizer.step()
    model.backward(model(np.ones((1, 2), np.float32)))
    optimizer.step()
    model.zero_grad()
    with pytest.raises(RuntimeError, match="no parameter has a gradient"):
        optimizer.step()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lr": -1}, ValueError, r"lr must be a number in \[0, inf\), got -1"),
        ({"lr": float("nan")}, ValueError, "lr must be a number"),
        ({"lr": 0.1, "momentum": 1}, ValueError, r"momentum must be a number in \[0, 1\), got 1"),
        ({"lr": 0.1, "weight_decay": -1e-4}, ValueError, "weight_decay must be a number"),
        ({"lr": 0.1, "nesterov": True}, ValueError, "momentum must be above 0 where nesterov is True"),
        ({"lr": True}, TypeError, "lr must be a number .* got True of type bool"),
        ({"lr": "0.1"}, TypeError, "lr must be a number .* of type str"),
        ({"lr": 0.1, "decoupled_weight_decay": -1}, ValueError, "decoupled_weight_decay must be a number"),
        ({"lr": 0.1, "form": "heavy"}, ValueError, "form must be one of pytorch, classic, ewma, got 'heavy'"),
        (
            {"lr": 0.1, "momentum": 0.9, "form": "ewma", "nesterov": True},
            ValueError,
            "form must be 'pytorch' or 'classic' where nesterov is True, got 'ewma'",
        ),
    ],
)
def test_bad_numbers(options, error, message):
    with pytest.raises(error, match=message):
        optim.SGD([nn.Parameter(np.ones(1))], **options)


def test_what_has_no_parameters():
    with pytest.raises(ValueError, match="parameters must be at least one"):
        optim.SGD(nn.ReLU().parameters(), lr=0.1)
    with pytest.raises(TypeError, match=r"got a Sequential, whose parameters\(\) are"):
        optim.SGD(nn.Sequential(nn.Linear(1, 1)), lr=0.1)
