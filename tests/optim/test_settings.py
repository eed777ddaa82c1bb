"""Every number of every optimizer, set between steps: formulas go on, saved states too, and nonsense is refused."""

import copy
import pickle
from fractions import Fraction

import numpy as np
import pytest

from convkit import nn, optim
from convkit.optim import schedules

KINDS = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, 0.9),
    "nesterov": lambda p: optim.SGD(p, 0.1, 0.9, nesterov=True),
    "classic": lambda p: optim.SGD(p, 0.1, 0.9, form="classic"),
    "ewma": lambda p: optim.SGD(p, 0.1, form="ewma"),
    "uncorrected": lambda p: optim.SGD(p, 0.1, 0.5, form="ewma", bias_correction=False),
    "rmsprop": lambda p: optim.RMSprop(p, 0.1, eps=0.1),
    "adam": lambda p: optim.Adam(p, 0.1, eps=0.1),
    "adamw": lambda p: optim.AdamW(p, 0.1, eps=0.1),
}
# What each number is set to before each of eight steps: back and forth, and to 0 where the formula is one at 0.
VALUES = {
    "lr": (0.1, 0.1, 0, 0.3, 0, 0, 0.2, 0.1),
    "momentum": (0, 0, 0.9, 0.5, 0, 0, 0.6, 0.6),
    "weight_decay": (0, 0.5, 0.5, 0, 0, 0.2, 0, 0.1),
    "decoupled_weight_decay": (0, 0.5, 0.5, 0, 0, 0.2, 0, 0.1),
    "alpha": (0.99, 0.5, 0, 0, 0.9, 0.9, 0, 0.5),
    "beta1": (0.9, 0.5, 0, 0, 0.9, 0.9, 0, 0.5),
    "beta2": (0.99, 0.5, 0, 0, 0.9, 0.9, 0, 0.5),
    "eps": (0.1, 1, 0, 0, 0.5, 0.5, 0, 0.1),
}
CASES = [(kind, name) for kind, make in KINDS.items() for name in make([nn.Parameter(np.ones(1))]).numbers]
EACH = pytest.mark.parametrize(("kind", "name"), CASES)
GRADS = np.random.default_rng(0).standard_normal((8, 5))


def start(kind):
    w = nn.Parameter(np.linspace(-2, 2, 5))
    return w, KINDS[kind]([w])


def go_on(w, optimizer, name, steps):
    for step in steps:
        setattr(optimizer, name, VALUES[name][step])
        w.grad = GRADS[step].copy()
        optimizer.step()


def plain(optimizer, name):
    """The formulas of the docstrings, one step after the other."""
    o, w, v, s, total = optimizer, np.linspace(-2, 2, 5), 0.0, 0.0, 0.0
    for t, (value, grad) in enumerate(zip(VALUES[name], GRADS, strict=True), 1):
        setattr(o, name, value)
        lr, momentum = o.lr, getattr(o, "momentum", 0)
        decoupled = o.weight_decay if isinstance(o, optim.AdamW) else getattr(o, "decoupled_weight_decay", 0)
        g = grad if isinstance(o, optim.AdamW) else grad + o.weight_decay * w
        w = w - lr * decoupled * w
        if isinstance(o, optim.Adam | optim.AdamW):
            v, s = o.beta1 * v + (1 - o.beta1) * g, o.beta2 * s + (1 - o.beta2) * g**2
            w = w - lr * (v / (1 - o.beta1**t)) / (np.sqrt(s / (1 - o.beta2**t)) + o.eps)
            continue
        if isinstance(o, optim.RMSprop):
            s = o.alpha * s + (1 - o.alpha) * g**2
            g = g / (np.sqrt(s) + o.eps)
        form = getattr(o, "form", "pytorch")
        if not momentum:
            w = w - lr * g
        elif form == "pytorch":
            v = momentum * v + g
            w = w - lr * (g + momentum * v if getattr(o, "nesterov", False) else v)
        elif form == "classic":
            v = momentum * v - lr * g
            w = w + v
        else:
            v, total = momentum * v + (1 - momentum) * g, momentum * total + 1 - momentum
            w = w - lr * (v / total if o.bias_correction else v)
    return w


@EACH
def test_a_number_set_between_steps(kind, name):
    w, optimizer = start(kind)
    go_on(w, optimizer, name, range(8))
    np.testing.assert_allclose(w.data, plain(start(kind)[1], name), rtol=1e-12, atol=1e-14)


@EACH
@pytest.mark.parametrize("at", [pytest.param(2, marks=pytest.mark.thorough), 5])
def test_a_state_saved_after_it_was_set_resumes_to_the_bit(kind, name, at):
    """Into an optimizer as it was made, whose numbers are other ones; and through pickle and deepcopy."""
    whole, first, second = start(kind), start(kind), start(kind)
    go_on(*whole, name, range(8))
    go_on(*first, name, range(at))
    setattr(first[1], name, VALUES[name][at])
    second[0].data[...] = first[0].data
    second[1].load_state_dict(first[1].state_dict())
    assert second[1].state_dict().keys() == first[1].state_dict().keys()
    copied, pickled = copy.deepcopy(first[1]), pickle.loads(pickle.dumps(first[1]))
    for w, optimizer in (second, (copied.parameters[0], copied), (pickled.parameters[0], pickled)):
        go_on(w, optimizer, name, range(at, 8))
        assert w.data.tobytes() == whole[0].data.tobytes()


@EACH
def test_what_is_no_such_number_is_refused_when_it_is_set(kind, name):
    w, optimizer = start(kind)
    go_on(w, optimizer, name, range(1))
    before, bound = getattr(optimizer, name), optimizer.numbers[name]
    for bad in (-0.1, np.nan, np.inf, 10**400, np.float32(bound)):
        with pytest.raises(ValueError, match=f"{name} must be a number in"):
            setattr(optimizer, name, bad)
    for bad in (None, "0.1", True, np.ones(1), 1j):
        with pytest.raises(TypeError, match=f"{name} must be a number in .* of type"):
            setattr(optimizer, name, bad)
    assert getattr(optimizer, name) == before
    if bound == 1:
        with pytest.raises(ValueError, match=f"{name} must be a number in"):
            setattr(optimizer, name, 1 - Fraction(1, 10**30))  # as a float it is 1


def test_betas_together():
    _, optimizer = start("adam")
    optimizer.betas = 0.5, 0.25
    assert (optimizer.beta1, optimizer.beta2, optimizer.betas) == (0.5, 0.25, (0.5, 0.25))
    with pytest.raises(ValueError, match=r"beta2 must be a number in \[0, 1\), got 1"):
        optimizer.betas = 0.1, 1
    with pytest.raises(TypeError, match="betas must be two numbers, got 0.9"):
        optimizer.betas = 0.9
    assert optimizer.betas == (0.5, 0.25)


FIXED = [
    *((kind, name) for kind in ("momentum", "ewma") for name in ("form", "nesterov", "bias_correction", "parameters")),
    ("adam", "parameters"),
]


@pytest.mark.parametrize(("kind", "name"), FIXED)
def test_what_an_optimizer_was_made_with_is_read_only(kind, name):
    _, optimizer = start(kind)
    before = getattr(optimizer, name)
    with pytest.raises(AttributeError, match=f"{name} of {type(optimizer).__name__} is read-only: .* make a new"):
        setattr(optimizer, name, True)
    assert getattr(optimizer, name) is before


@pytest.mark.parametrize(
    ("schedule", "name"),
    [
        (schedules.Step(2), "every"),
        (schedules.Step(2), "by"),
        (schedules.Step(2), "factor"),
        (schedules.MultiStep([1, 3]), "milestones"),
        (schedules.MultiStep([1, 3]), "by"),
        (schedules.Exponential(0.5), "by"),
        (schedules.Linear(4), "steps"),
        (schedules.Linear(4), "start"),
        (schedules.WarmUp(4), "end"),
        (schedules.Cosine(4), "steps"),
        (schedules.Cosine(4), "end"),
        (schedules.Sequence([schedules.Step(1), schedules.Step(1)], [2]), "milestones"),
        (schedules.Sequence([schedules.Step(1), schedules.Step(1)], [2]), "schedules"),
        (schedules.Product([schedules.Step(1)]), "schedules"),
    ],
)
def test_what_a_schedule_was_made_with_is_read_only(schedule, name):
    rates = [schedule(t) for t in range(5)]
    with pytest.raises(AttributeError, match=f"{name} of {type(schedule).__name__} is read-only"):
        setattr(schedule, name, 3)
    assert not isinstance(getattr(schedule, name), list)  # nor can it be changed from within
    assert [schedule(t) for t in range(5)] == rates == [copy.deepcopy(schedule)(t) for t in range(5)]


def test_the_rate_of_a_schedule_may_be_set_and_another_shape_goes_on_from_it():
    w = nn.Parameter(np.ones(1))
    driven = optim.SGD([w], 0.8)
    schedule = schedules.Linear(4).drive(driven)
    schedule.lr = 0.4
    assert schedule.step() == driven.lr == pytest.approx(0.3)
    schedule.lr = 0
    assert schedule.step() == driven.lr == 0
    schedule.lr = 0.4
    longer = schedules.Linear(8).drive(driven)
    longer.load_state_dict(schedule.state_dict())
    assert driven.lr == pytest.approx(0.3) and longer.step() == pytest.approx(0.25)
    with pytest.raises(ValueError, match=r"lr must be a number in \[0, inf\), got -1"):
        schedule.lr = -1


def test_the_decay_of_an_average_may_be_set():
    layer = nn.Linear(1, 1, dtype="float64", rng=0)
    layer.weight.data[...] = 8.0
    ema, other, shadow = optim.EMA(layer, 0.5), optim.EMA(layer, 0.5), 8.0
    for decay, weight in ((0.5, 0.0), (0, 3.0), (0.75, 1.0), (0.9, np.inf), (0.9, 1.0), (0, 2.0), (0.5, 1.0)):
        ema.decay, layer.weight.data[...] = decay, weight
        ema.update()
        shadow = decay * shadow + (1 - decay) * weight if decay else weight
        assert ema.shadow["weight"] == pytest.approx(shadow, rel=1e-15)
        other.load_state_dict(ema.state_dict())
        assert other.decay == decay and other.shadow["weight"] == ema.shadow["weight"]
    for bad in (1, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"decay must be a number in \[0, 1\)"):
            ema.decay = bad
    for name, value in (("buffers", "copy"), ("model", nn.Linear(1, 1))):
        with pytest.raises(AttributeError, match=f"{name} of EMA is read-only"):
            setattr(ema, name, value)
    assert ema.decay == 0.5 and ema.buffers == "average"


class Signs(optim.Optimizer):
    """An optimizer as a user writes one."""

    numbers = {"lr": np.inf, "fade": 1.0}

    @property
    def arrays(self):
        return ("last",)

    def update(self, parameter, state):
        state["last"][...] = self.fade * state["last"] + np.sign(parameter.grad)
        parameter.data -= self.lr * state["last"]


def test_an_optimizer_of_ones_own_has_all_that():
    w = nn.Parameter(np.zeros(2))
    optimizer = Signs([w], lr=1, fade=0)
    for fade in (0, 0.5):
        optimizer.fade, w.grad = fade, np.array([1.0, -2.0])
        optimizer.step()
    np.testing.assert_array_equal(w.data, [-2.5, 2.5])
    again = Signs([w], lr=3, fade=0)
    again.load_state_dict(optimizer.state_dict())
    assert (again.lr, again.fade) == (1, 0.5)
    np.testing.assert_array_equal(again.state[0]["last"], [1.5, -1.5])
    with pytest.raises(ValueError, match=r"fade must be a number in \[0, 1\), got 1"):
        optimizer.fade = 1


def test_what_rests_and_what_does_not_in_a_state():
    """A velocity that should be there is missed, one that rests may be there or not, half of it is refused."""
    w, optimizer = start("ewma")
    go_on(w, optimizer, "momentum", range(4))
    state = optimizer.state_dict()
    assert {"0.steps", "0.average", "0.total"} < state.keys()
    fresh = start("ewma")[1]
    for gone in ({"0.average"}, {"0.total"}, {"0.average", "0.total"}):
        part = {name: value for name, value in state.items() if name not in gone}
        with pytest.raises(ValueError, match=f"missing: .*{min(gone)}"):
            fresh.load_state_dict(part)
        if len(gone) == 1:
            with pytest.raises(ValueError, match=f"missing: .*{min(gone)}"):
                fresh.load_state_dict(part | {"momentum": np.array(0.0)})
    fresh.load_state_dict(part | {"momentum": np.array(0.0)})
    assert fresh.state == [{"steps": 4}] and fresh.momentum == 0


@pytest.mark.parametrize("model", (nn.Linear(2, 2, rng=0), nn.Sequential(nn.Linear(2, 2, rng=0))))
def test_a_model_is_told_from_its_parameters(model):
    message = f"^parameters must be an iterable of Parameters, got a {type(model).__name__}, whose parameters"
    with pytest.raises(TypeError, match=message):
        optim.Adam(model)
    with pytest.raises(TypeError, match="^parameters must be an iterable of Parameters, got 3 of type int"):
        optim.Adam(3)
