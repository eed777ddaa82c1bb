"""A step is taken as a whole or not at all, and its batch comes again; what cannot go well is refused before it."""

import functools
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest

from convkit import data, nn, optim, train
from convkit.nn.losses import Loss, l2_penalty, softmax_cross_entropy
from convkit.train.interrupt import uninterrupted
from small_training import BATCH, N, fit, samples, trainer

STEPS = 6  # of an epoch
pytestmark = pytest.mark.usefixtures("control_c")


class Broken(RuntimeError):
    """What a person's own function raises, once."""


def at(step, then, otherwise):
    """A function that does something else at one call, counted from 1."""
    calls = iter(range(1, 10_000))
    return lambda *args, **options: (then if next(calls) == step else otherwise)(*args, **options)


def broken(*args, **options):
    raise Broken


def after(function):
    """The function, and then an error."""
    return lambda *args, **options: (function(*args, **options), broken())


def nan_loss(scores, labels):
    return Loss(float("nan"), np.zeros_like(scores))


def control_c(*args, **options):
    signal.raise_signal(signal.SIGINT)


class Images:
    """The samples' images, which take an array of indices."""

    def __init__(self):
        self.read = samples()[0].__getitem__

    def __len__(self):
        return N

    def __getitem__(self, chosen):
        return self.read(chosen)


class HalfWay(optim.SGD):
    """Changes two parameters, and raises at the third, in one step."""

    broken_at = 0

    def update(self, parameter, state):
        if parameter is self.parameters[2] and state["steps"] == self.broken_at:
            self.broken_at = 0
            raise Broken
        super().update(parameter, state)


class LateEMA(optim.EMA):
    """Averages, and raises then."""

    broken_at = 0

    def update(self):
        super().update()
        if self.updates == self.broken_at:
            self.broken_at = 0
            raise Broken


def build():
    """A trainer with something of everything."""
    return trainer(metrics={"accuracy": train.accuracy}, penalty=lambda model: l2_penalty(model, 1e-4), clip_norm=9.0)


def breaks(trained, kind, step, x):
    """Let something of that step go wrong, once."""
    model = trained.model
    if kind == "reading":
        x.read = at(step, broken, x.read)
    elif kind == "forward":  # after normalisation and dropout
        model[4].run = at(step, broken, model[4].run)
    elif kind == "backward":
        model[0].run = at(step, lambda x: (run(x)[0], broken), run := model[0].run)
    elif kind in ("schedule", "transform", "loss", "penalty"):
        setattr(trained, kind, at(step, broken, getattr(trained, kind)))
    elif kind == "metric":
        trained.metrics = {"accuracy": at(step, after(train.accuracy), train.accuracy)}
    elif kind == "guard":
        trained.loss = at(step, nan_loss, trained.loss)
    elif kind == "rate":  # refused by the optimizer itself
        trained.schedule = at(step, lambda t: -1.0, trained.schedule)
    elif kind == "clip":
        trained.loss = at(
            step, lambda *args: setattr(trained, "clip_norm", -1.0) or softmax_cross_entropy(*args), trained.loss
        )
    elif kind == "control_c":
        trained.loss = at(step, control_c, trained.loss)
    elif kind == "optimizer":
        trained.optimizer = HalfWay(model.parameters(), 0.1, 0.9, weight_decay=1e-3, nesterov=True)
        trained.optimizer.broken_at = step
    elif kind == "step":  # another method in its place
        trained.optimizer.step = at(step, after(trained.optimizer.step), trained.optimizer.step)
    elif kind == "ema":
        trained.ema = LateEMA(model, 0.9)
        trained.ema.broken_at = step


def state(trained):
    """All that a checkpoint holds, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        trained.save(f"{folder}/state")
        return Path(folder, "state").read_bytes()


@functools.cache
def after_steps(steps):
    """The state of a training in which nothing goes wrong after so many steps."""
    trained = build()
    epochs, rest = divmod(steps, STEPS)
    if epochs:
        fit(trained, epochs)
    if rest:
        trained.loss = at(rest, lambda *args: control_c() or softmax_cross_entropy(*args), trained.loss)
        with tempfile.TemporaryDirectory() as folder, pytest.raises(KeyboardInterrupt, match=f"after step {steps} "):
            fit(trained, checkpoint=f"{folder}/state")
    return state(trained)


KINDS = (
    "reading",
    "schedule",
    "transform",
    "forward",
    "loss",
    "backward",
    "penalty",
    "guard",
    "metric",
    "clip",
    "rate",
)

# What may go wrong, in the second epoch; some of it in the first step of all, and in the first of another epoch.
SAME = ("transform", "loss", "penalty", "clip", "rate", "step")  # ways that others go, too
CASES = [(kind, 9) for kind in (*KINDS, "control_c", "optimizer", "ema") if kind not in SAME]
CASES += [pytest.param(kind, 9, marks=pytest.mark.thorough) for kind in SAME]
CASES += [
    pytest.param(kind, step, marks=pytest.mark.thorough)
    for kind in ("reading", "schedule", "guard", "optimizer")
    for step in (1, STEPS + 1)
]


@pytest.mark.parametrize(("kind", "step"), CASES)
def test_a_step_that_raises_leaves_no_trace_and_its_batch_comes_again(kind, step):
    trained, x, y = build(), Images(), samples()[1]
    breaks(trained, kind, step, x)
    with pytest.raises((Broken, KeyboardInterrupt, ValueError, train.NonFiniteError)):
        trained.fit(x, y, epochs=2, batch_size=BATCH, progress=False)
    assert trained.step == step - 1 and trained.history.epochs == (step - 1) // STEPS
    assert state(trained) == after_steps(step - 1)
    trained.clip_norm = 9.0
    trained.fit(x, y, epochs=2, batch_size=BATCH, progress=False)
    assert state(trained) == after_steps(2 * STEPS)


@pytest.mark.parametrize("shards", [None, 2])
@pytest.mark.parametrize("kind", ["backward", "metric", "penalty"])
def test_a_step_that_raises_leaves_the_gradients_of_the_one_before(kind, shards):
    trained, seen = trainer(shards=shards), []
    run = trained.model[0].run

    def schedule(step):
        seen.append([None if p.grad is None else p.grad.tobytes() for p in trained.model.parameters()])
        if step == 3 and kind == "backward":
            trained.model[0].run = lambda x: (run(x)[0], broken)
        elif step == 3:
            setattr(trained, *{"metric": ("metrics", {"accuracy": broken}), "penalty": ("penalty", broken)}[kind])
        return 0.1

    trained.schedule = schedule
    for _ in range(2):  # the second time, too, the step begins with what that before has left
        with pytest.raises(Broken):
            fit(trained)
        seen.append([p.grad.tobytes() for p in trained.model.parameters()])
    assert trained.step == 3 and len(seen) == 7 and seen[3] != seen[2] and seen[3] == seen[4] == seen[5] == seen[6]


@pytest.mark.parametrize("part", ["optimizer", "ema"])
@pytest.mark.thorough
def test_control_c_while_a_step_is_written_waits_for_its_end(part):
    trained = build()
    stepping = getattr(trained, part)
    name = {"optimizer": "step", "ema": "update"}[part]
    write = getattr(stepping, name)
    setattr(stepping, name, at(3, lambda: control_c() or write(), write))
    with pytest.raises(KeyboardInterrupt):
        fit(trained)
    assert trained.step == 3 and state(trained) == after_steps(3)
    fit(trained)
    assert state(trained) == after_steps(3 * STEPS)


def test_control_c_while_averages_are_swapped_leaves_the_weights():
    trained = build()
    fit(trained, 1)
    for call in (1, 2):  # the averages in, the weights back
        before = state(trained)
        load = trained.model.load_state_dict
        trained.model.load_state_dict = at(call, lambda *args, load=load: control_c() or load(*args), load)
        with pytest.raises(KeyboardInterrupt):
            trained.evaluate(*samples())
        del trained.model.load_state_dict
        assert state(trained) == before and trained.model.training
        trained.evaluate(*samples())


def test_control_c_while_a_checkpoint_is_taken_over_leaves_the_state_before():
    trained = build()
    before = state(trained)
    trained.optimizer.load_state_dict = at(1, control_c, trained.optimizer.load_state_dict)
    with pytest.raises(KeyboardInterrupt):
        trained.load_state_dict(trainer(seed=1).state_dict())
    assert state(trained) == before


def test_control_c_waits_and_nothing_of_it_is_lost():
    for times in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            with uninterrupted():
                for _ in range(times):
                    control_c()
                done = times
        assert done == times and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    heard = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    with uninterrupted():
        control_c()
        assert not heard
    assert heard == [signal.SIGINT]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted():
        control_c()


@pytest.mark.thorough
def test_a_callback_that_raises_comes_after_its_epoch():
    trained, whole = trainer(), trainer()
    with pytest.raises(Broken):
        fit(trained, callbacks=[at(2, broken, lambda trained: None)])
    assert (trained.epoch, trained.step, trained.history.epochs) == (2, 2 * STEPS, 2)
    for one in (trained, whole):
        fit(one)
    assert state(trained) == state(whole)


@pytest.mark.parametrize(
    ("options", "fitted", "message"),
    [
        (
            {},
            {"validation": (samples()[0][:0], samples()[1][:0])},
            "validation must hold at least one sample, got none",
        ),
        ({}, {"validation": (samples()[0], samples()[1][:3])}, "y must hold one label for each of the 42 samples"),
        (
            {"early_stopping": train.EarlyStopping("val_loss")},
            {},
            "monitor must be one of epoch, loss, accuracy, lr, got 'val_loss'",
        ),
        (
            {"early_stopping": train.EarlyStopping("val_recall")},
            {"validation": samples()},
            "monitor must be one of epoch, loss, accuracy, val_loss, val_accuracy, lr, got 'val_recall'",
        ),
    ],
)
def test_what_could_not_be_measured_is_refused_before_a_step(options, fitted, message):
    trained = trainer(**options)
    before = state(trained)
    with pytest.raises(ValueError, match=message):
        fit(trained, **fitted)
    assert state(trained) == before


def test_what_the_history_has_no_column_for_is_refused_before_a_step():
    trained = trainer()
    fit(trained, 1)
    before = state(trained)
    with pytest.raises(ValueError, match="row must have the columns epoch, loss, accuracy, lr, got epoch, .*val_loss"):
        fit(trained, validation=samples())
    trained.metrics = {"top2": train.accuracy}
    with pytest.raises(ValueError, match="row must have the columns epoch, loss, accuracy, lr, got epoch, loss, top2"):
        fit(trained)
    assert state(trained) == before


def test_averages_that_cannot_follow_are_refused_before_a_step():
    trained = trainer()
    with trained.ema.swapped(), pytest.raises(RuntimeError, match="leave `with ema.swapped"):
        fit(trained)
    shadow = {name: array.copy() for name, array in trained.ema.shadow.items()}
    trained.model[5].bias = nn.Parameter(np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="model must have the arrays that are averaged, got others at 5.bias"):
        fit(trained)
    assert trained.step == 0
    with pytest.raises(ValueError, match="model must have the arrays that are averaged, got others at 5.bias"):
        trained.ema.update()
    for name, array in shadow.items():
        np.testing.assert_array_equal(trained.ema.shadow[name], array)


def test_a_batch_that_could_not_be_read_has_not_been_handed_out():
    x, y = Images(), samples()[1]
    batches = data.minibatches(x, y, BATCH, shuffle=False)
    x.read = at(3, broken, x.read)
    seen = []
    with pytest.raises(Broken):
        seen += [labels for _, labels in batches]
    again = data.minibatches(x, y, BATCH)
    again.load_state_dict(batches.state_dict())
    assert batches.done == 2 and len(list(again)) == 4


def test_early_stopping_keeps_weights_or_changes_nothing():
    stopping = train.EarlyStopping("loss", 2)
    stopping.update({"epoch": 1, "loss": 2.0}, {"w": np.ones(1)})
    with pytest.raises(AttributeError):
        stopping.update({"epoch": 2, "loss": 1.0}, {"w": None})
    assert (stopping.best, stopping.best_epoch, stopping._weights["w"]) == (2.0, 1, 1)
