"""Optimizers at the ends of the range: finite gradients of any size, zeros, infinity, NaN, what a dtype cannot hold."""

import numpy as np
import pytest

from convkit import nn, optim

RATE = 0.125
# Where each is after one step from 0 with a constant gradient, in units of the rate.
BY_ROOT = {
    "adam": (lambda p, **k: optim.Adam(p, RATE, **k), 1.0),
    "adamw": (lambda p, **k: optim.AdamW(p, RATE, weight_decay=0, **k), 1.0),
    "rmsprop": (lambda p, **k: optim.RMSprop(p, RATE, 0.99, **k), 10.0),
    "rmsprop_momentum": (lambda p, **k: optim.RMSprop(p, RATE, 0.99, momentum=0.5, **k), 10.0),
}
PLAIN = {
    "sgd": lambda p: optim.SGD(p, RATE),
    "momentum": lambda p: optim.SGD(p, RATE, 0.5),
    "nesterov": lambda p: optim.SGD(p, RATE, 0.5, nesterov=True),
    "classic": lambda p: optim.SGD(p, RATE, 0.5, form="classic"),
    "ewma": lambda p: optim.SGD(p, RATE, 0.5, form="ewma"),
}
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def step(make, grad, dtype, start=0.0, **options):
    grad = np.asarray(grad, dtype)
    w = nn.Parameter(np.full(grad.shape, start, dtype))
    optimizer = make([w], **options)
    w.grad = grad
    optimizer.step()
    return w, optimizer


@DTYPES
@pytest.mark.parametrize("name", BY_ROOT)
def test_the_first_step_is_as_long_for_a_gradient_of_any_size(name, dtype, isa):
    make, length = BY_ROOT[name]
    largest = float(np.finfo(dtype).max)
    sizes = np.array([1.0, 1e3, 1e15, 1e18, 1e20, 1e30, largest**0.5, largest / 8, largest])
    grad = np.concatenate([sizes, -sizes, np.ones(30)])  # several vectors and a tail
    w, optimizer = step(make, grad, dtype)
    np.testing.assert_allclose(w.data, -length * RATE * np.sign(grad), rtol=2e-5)
    assert all(np.isfinite(state).all() for state in optimizer.state[0].values())
    before = w.data.copy()  # and it moves on
    optimizer.step()
    assert np.isfinite(w.data).all() and (w.data != before).all()


@DTYPES
@pytest.mark.parametrize("name", BY_ROOT)
def test_bits_do_not_depend_on_a_huge_neighbour(name, dtype):
    """From one that is squared as it is to the largest that could be, and one that is cut down."""
    edge = 2.0 ** (63 if dtype == "float32" else 511)
    grad = np.array([*(edge * np.linspace(0.99, 2, 40)), 1.0, 4 * edge, 1e-3, -4 * edge])
    make, _ = BY_ROOT[name]
    together, alone = step(make, grad, dtype)[0], [step(make, [one], dtype)[0].data for one in grad]
    assert together.data.tobytes() == np.concatenate(alone).tobytes()


@DTYPES
@pytest.mark.parametrize("name", BY_ROOT)
def test_zero_and_tiny_gradients(name, dtype):
    make, _ = BY_ROOT[name]
    tiny = np.finfo(dtype)
    grad = np.array([0, tiny.smallest_subnormal, -tiny.tiny])
    w, _ = step(make, grad, dtype)  # eps alone divides
    assert w.data[0] == 0 and (np.abs(w.data) <= RATE * 100 * np.abs(grad) / 1e-8).all()
    w, optimizer = step(make, grad, dtype, eps=0)
    for _ in range(3):
        assert w.data[0] == 0 and (np.abs(w.data) <= 10 * RATE).all()
        optimizer.step()


@DTYPES
@pytest.mark.parametrize("name", [*BY_ROOT, *PLAIN])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_an_infinite_gradient_shows_at_its_place_alone(name, dtype, bad):
    make = PLAIN[name] if name in PLAIN else BY_ROOT[name][0]
    grad = np.ones(37)
    grad[[3, 35]] = bad
    w, _ = step(make, grad, dtype)
    assert np.argwhere(~np.isfinite(w.data)).ravel().tolist() == [3, 35]
    if name in PLAIN:  # what the formula says: no infinity times 0
        np.testing.assert_array_equal(w.data[[3, 35]], [-bad, -bad])


def test_infinite_weights_stay_infinite():
    w, _ = step(PLAIN["sgd"], [1.0, -1.0], "float32", start=np.inf)
    np.testing.assert_array_equal(w.data, [np.inf, np.inf])


@DTYPES
def test_plain_descent_goes_as_far_as_the_range(dtype):
    largest = float(np.finfo(dtype).max)
    for make in PLAIN.values():
        w, _ = step(make, [largest / 2, -largest / 2], dtype)
        assert np.isfinite(w.data).all() and (np.abs(w.data) >= RATE / 2 * largest).all()


# ---------------------------------------------------------------- what float32 cannot hold


@pytest.mark.parametrize("name", ["lr", "eps", "weight_decay"])
def test_a_number_that_float32_cannot_hold_is_refused_before_anything_changed(name):
    w, wide = nn.Parameter(np.ones(2, np.float32)), nn.Parameter(np.ones(2))
    optimizer = optim.Adam([wide, w], 0.1)
    setattr(optimizer, name, 1e39)
    wide.grad, w.grad = np.zeros(2), np.zeros(2, np.float32)
    with pytest.raises(ValueError, match=rf"{name} must be a number that float32, .*, can hold, got 1e\+39"):
        optimizer.step()
    assert optimizer.state == [{}, {}] and (wide.data == 1).all() and (w.data == 1).all()
    w.grad = None
    optimizer.step()  # float64 holds it


def test_gradients_of_another_dtype():
    """Rounded where they can be; what cannot leaves all as it was."""
    a, b = nn.Parameter(np.zeros(2, np.float32)), nn.Parameter(np.zeros(2, np.float32))
    optimizer = optim.SGD([a, b], 1.0, 0.5)
    for grad in (np.array([1.0, -np.inf]), np.array([1, 2], np.int8), np.array([1, 2], ">f4"), np.array([1, 2], "f2")):
        a.grad, b.grad = np.zeros(2, np.float32), grad
        optimizer.step()
    before = {name: value.copy() for name, value in optimizer.state_dict().items()}
    for grad, error, message in (
        (np.array([0, 1e300]), ValueError, r"grad must have values that float32 can hold, got 1e\+300 at \(1,\)"),
        (np.array([1j, 2]), TypeError, "grad must be of real numbers, got complex128"),
        (np.array([None, 2]), TypeError, "grad must be of real numbers, got object"),
    ):
        a.grad, b.grad = np.ones(2, np.float32), grad
        with pytest.raises(error, match=message):
            optimizer.step()
    assert {name: value.tobytes() for name, value in optimizer.state_dict().items()} == {
        name: value.tobytes() for name, value in before.items()
    }
    assert (a.data == 0).all()


@pytest.mark.parametrize("name", ["0.mean", "1.square"])
def test_a_state_that_float32_cannot_hold(name):
    ps = [nn.Parameter(np.zeros(2, np.float32)) for _ in range(2)]
    optimizer = optim.Adam(ps)
    for p in ps:
        p.grad = np.ones(2, np.float32)
    optimizer.step()
    state = {name: np.array(value) for name, value in optimizer.state_dict().items()}
    before = {name: value.tobytes() for name, value in state.items()}
    changed = state | {"lr": np.array(0.5), "0.mean": np.zeros(2), name: np.array([-np.inf, -1e300])}
    with pytest.raises(ValueError, match=rf"state\['{name}'\] must have values that float32 can hold, got -1e\+300 at"):
        optimizer.load_state_dict(changed)
    assert {name: value.tobytes() for name, value in optimizer.state_dict().items()} == before
    optimizer.load_state_dict(state | {name: np.array([-np.inf, 1 + 1e-12])})
    i, array = name.split(".")
    np.testing.assert_array_equal(optimizer.state[int(i)][array], [-np.inf, 1])


def test_averages_that_float32_cannot_hold():
    model = nn.Sequential(nn.Linear(2, 1, rng=0), nn.BatchNorm1d(1))
    ema = optim.EMA(model)
    state = {name: np.array(value) for name, value in ema.state_dict().items()}
    for name, value in (("shadow.0.weight", np.full((1, 2), 1e39)), ("shadow.1.running_mean", np.array([-1e39]))):
        with pytest.raises(
            ValueError, match=rf"state\['{name}'\] must have values that float32 can hold, got -?1e\+39"
        ):
            ema.load_state_dict(state | {"decay": np.array(0.5), name: value})
    assert ema.decay == 0.999
    np.testing.assert_array_equal(ema.shadow["0.weight"], model[0].weight.data)


def test_an_average_of_what_the_model_no_longer_is():
    model = nn.Sequential(nn.Linear(2, 1, rng=0), nn.Linear(1, 2, rng=0))
    ema = optim.EMA(model, 0.5)
    before = ema.shadow["0.weight"].copy()
    model[0].weight.data += 1
    kept = model[1].bias.data
    model[1].bias.data = np.ones(2)  # of another dtype
    with pytest.raises(ValueError, match="model must have the arrays that are averaged, got others at 1.bias"):
        ema.update()
    model[1].bias.data, model[0].more = kept, nn.Parameter(np.ones(2))
    with pytest.raises(ValueError, match="model must have the arrays that are averaged, got others at 0.more"):
        ema.update()
    np.testing.assert_array_equal(ema.shadow["0.weight"], before)
