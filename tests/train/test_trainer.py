"""The loop: what it does in which order, what it measures, what it refuses."""

import sys
import weakref
from functools import partial

import numpy as np
import pytest

import convkit
from convkit import nn, optim, train
from convkit.nn.losses import Loss, l2_penalty, softmax_cross_entropy
from convkit.train.progress import lines
from missing import hide
from nn_cases import needs_of
from small_training import BATCH, N, fit, network, samples, trainer


def by_hand(epochs, seed):
    """The same loop, spelled out."""
    rng = np.random.default_rng(seed)
    model = network(rng, dropout=0)
    optimizer = optim.SGD(model.parameters(), 0.1, 0.9)
    x, y = samples()
    losses, accuracies = [], []
    for _ in range(epochs):
        order, loss, right = rng.permutation(N), 0.0, 0
        for begin in range(0, N, BATCH):
            chosen = order[begin : begin + BATCH]
            scores = model(x[chosen])
            batch = softmax_cross_entropy(scores, y[chosen])
            model.zero_grad()
            model.backward(batch.grad)
            optimizer.step()
            loss += batch.value * len(chosen)
            right += (scores.argmax(axis=1) == y[chosen]).sum()
        losses.append(loss / N)
        accuracies.append(right / N)
    return model, losses, accuracies


def test_it_is_the_loop_one_would_write():
    model, losses, accuracies = by_hand(3, seed=1)
    rng = np.random.default_rng(1)
    mine = network(rng, dropout=0)
    trained = train.Trainer(mine, optim.SGD(mine.parameters(), 0.1, 0.9), rng=rng)
    history = fit(trained, 3)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(mine.state_dict()[name], array, err_msg=name)
    assert history["epoch"] == [1, 2, 3] and history["lr"] == [0.1] * 3
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-14)
    np.testing.assert_allclose(history["accuracy"], accuracies, rtol=1e-14)
    assert (trained.epoch, trained.step) == (3, 18)


def test_a_step_does_not_compute_the_images_gradient_and_measuring_keeps_nothing(monkeypatch):
    needs, counts, outputs = needs_of(monkeypatch), [], []

    def forward(layer, inputs, y):
        outputs.append(weakref.ref(y))
        living = [output() for output in outputs]
        counts.append(len({array.__array_interface__["data"] for array in living if array is not None}))

    trained = trainer()
    fit(trained, 1)
    assert set(needs) == {("weight", "bias")}
    with nn.hooks(forward=forward):
        trained.evaluate(*samples())
        trained.predict(samples()[0])
    assert len(counts) == 14 and max(counts) == 2 and trained.model.training


@pytest.mark.thorough
def test_it_learns_and_knows_what_it_has_learned():
    trained = trainer(ema=None, transform=None)
    x, y = samples()
    before = trained.evaluate(x, y)
    history = fit(trained, 8, validation=(x, y))
    after = trained.evaluate(x, y)
    assert before["accuracy"] < 0.7 and after["accuracy"] > 0.95 and after["loss"] < before["loss"] / 3
    assert list(history) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr"]
    assert after == {"loss": history["val_loss"][-1], "accuracy": history["val_accuracy"][-1]}
    assert trained.model.training  # as it was before


def test_evaluation_is_in_evaluation_mode_and_its_batches_do_not_matter():
    trained = trainer()
    fit(trained, 1)
    x, y = samples()
    state = {name: array.copy() for name, array in trained.model.state_dict().items()}
    one, other = trained.evaluate(x, y), trained.evaluate(x, y, batch_size=5)
    assert one == pytest.approx(other, rel=1e-12)
    scores = trained.predict(x, batch_size=5)
    np.testing.assert_array_equal(scores, trained.predict(x))
    assert train.accuracy(scores, y) == one["accuracy"]
    for name, array in trained.model.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


def test_with_averaged_weights_they_are_what_is_measured():
    trained = trainer()
    fit(trained, 2)
    x, y = samples()
    averaged = trained.predict(x)
    trained.model.load_state_dict(trained.ema.shadow)
    np.testing.assert_array_equal(trained.model.eval()(x), averaged)


@pytest.mark.thorough
def test_one_seed_one_run_on_any_number_of_threads(tmp_path):
    def run(threads, seed=0):
        with convkit.threads(threads):
            trained = trainer(seed)
            fit(trained, validation=samples())
        trained.save(tmp_path / "state")
        return (tmp_path / "state").read_bytes()

    one = run(1)
    assert run(1) == run(4) == run(3) == one
    assert run(1, seed=1) != one


@pytest.mark.parametrize("per", ["step", "epoch"])
def test_the_rate_of_every_step(per):
    seen, rates = [], []
    optimizer_step = optim.SGD.step

    class Watched(optim.SGD):
        def step(self):
            rates.append(self.lr)
            optimizer_step(self)

    model = network(np.random.default_rng(0))
    optimizer = Watched(model.parameters(), 1.0)
    trained = train.Trainer(model, optimizer, schedule=lambda t: seen.append(t) or 0.1 / (1 + t), schedule_per=per)
    history = fit(trained, 2)
    expected = list(range(12)) if per == "step" else [0] * 6 + [1] * 6
    assert seen == expected
    assert rates == [0.1 / (1 + t) for t in expected]
    assert history["lr"] == [rates[5], rates[11]]


def test_a_schedule_starts_from_the_optimizers_rate():
    model = network(np.random.default_rng(0))
    schedule = optim.schedules.Linear(12)
    trained = train.Trainer(model, optim.SGD(model.parameters(), 0.24), schedule=schedule)
    np.testing.assert_allclose(fit(trained, 2)["lr"], [0.24 * 7 / 12, 0.24 / 12])


def test_clipped_steps_are_short():
    model = network(np.random.default_rng(0))
    before = [parameter.data.copy() for parameter in model.parameters()]
    trained = train.Trainer(model, optim.SGD(model.parameters(), 1.0), clip_norm=1e-3)
    fit(trained, 1)
    moved = [after.data - start for after, start in zip(model.parameters(), before, strict=True)]
    length = np.sqrt(sum(float((part.astype(np.float64) ** 2).sum()) for part in moved))
    assert 1e-4 < length < 6e-3 * 1.001


def test_a_penalty_stands_apart_from_the_loss_and_takes_the_steps_of_weight_decay():
    penalised, decayed, plain = (network(np.random.default_rng(0), dropout=0) for _ in range(3))
    penalty = partial(l2_penalty, strength=0.05, biases=True)
    one = train.Trainer(penalised, optim.SGD(penalised.parameters(), 0.1), penalty=penalty, rng=1)
    other = train.Trainer(decayed, optim.SGD(decayed.parameters(), 0.1, weight_decay=0.1), rng=1)
    first, second = fit(one, 2), fit(other, 2)
    assert list(first) == ["epoch", "loss", "penalty", "accuracy", "lr"]
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-5)
    for name, array in penalised.state_dict().items():
        np.testing.assert_allclose(array, decayed.state_dict()[name], rtol=1e-4, atol=1e-6, err_msg=name)
    still = train.Trainer(plain, optim.SGD(plain.parameters(), 0.0), penalty=penalty)
    squares = sum(float((parameter.data.astype(np.float64) ** 2).sum()) for parameter in plain.parameters())
    assert fit(still, 1)["penalty"] == [pytest.approx(0.05 * squares)]
    assert list(still.evaluate(*samples())) == ["loss", "accuracy"]


def test_metrics_and_losses_of_ones_own():
    def squares(scores, targets):
        return Loss(float(((scores - targets) ** 2).mean()), 2 * (scores - targets) / scores.size)

    rng = np.random.default_rng(0)
    x, y = samples()
    targets = np.eye(3, dtype=np.float32)[y]
    model = network(rng)
    trained = train.Trainer(model, optim.SGD(model.parameters(), 0.1), squares, rng=rng)
    history = trained.fit(x, targets, epochs=1, progress=False)
    assert list(history) == ["epoch", "loss", "lr"]  # no accuracy of what is not a class
    trained.metrics = {"largest": lambda scores, targets: np.abs(scores - targets).max()}
    assert list(trained.evaluate(x, targets)) == ["loss", "largest"]


def test_callbacks_are_called_after_every_epoch():
    seen = []

    def one(trained):
        seen.append((trained.epoch, trained.history["loss"][-1]))

    trained = trainer()
    history = fit(trained, 3, callbacks=[one, lambda trained: seen.append("other")])
    assert seen == [item for epoch, loss in enumerate(history["loss"], 1) for item in ((epoch, loss), "other")]


def test_a_second_fit_goes_on(tmp_path):
    once, twice = trainer(), trainer()
    fit(once, 4)
    fit(twice, 1)
    assert len(fit(twice, 4)["loss"]) == 4
    for trained, name in ((once, "once"), (twice, "twice")):
        trained.save(tmp_path / name)
    assert (tmp_path / "once").read_bytes() == (tmp_path / "twice").read_bytes()
    with pytest.warns(UserWarning, match=r"epochs counts those before.* more than 4, got 3; epochs=7 ") as warned:
        twice.fit(*samples(), epochs=3)
    assert warned[0].filename == __file__
    twice.load(tmp_path / "twice")
    fit(twice, 4)  # as a script that is run again
    assert twice.step == once.step


def test_a_folder_of_images_is_as_good_as_an_array(tmp_path):
    from PIL import Image

    from convkit import data

    x, y = samples(12)
    for i, (image, label) in enumerate(zip(x, y, strict=True)):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        grey = np.clip(128 + 60 * image[0], 0, 255).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / str(label) / f"{i:02}.png")
    folder = data.ImageFolder(tmp_path, mode="L")
    states = []
    for images in (folder, folder[:]):
        trained = trainer()
        trained.fit(images, folder.labels, epochs=2, batch_size=5, progress=False)
        states.append([array.tobytes() for array in trained.model.state_dict().values()])
    assert states[0] == states[1]


class Terminal:
    """Standard error that says it is a terminal."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


@pytest.mark.thorough
def test_the_bar_is_for_terminals(monkeypatch, capfd):
    trainer().fit(*samples(), epochs=2, batch_size=BATCH)
    assert capfd.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    trainer().fit(*samples(), epochs=2, batch_size=BATCH)
    assert "training: 100%" in terminal.text and "12/12" in terminal.text and "accuracy=" in terminal.text
    terminal.text = ""
    fit(trainer(), 2)
    assert terminal.text == ""


def test_without_tqdm_there_is_no_bar(monkeypatch, capsys):
    hide(monkeypatch, "tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert trainer().fit(*samples(), epochs=1).epochs == 1
    assert capsys.readouterr().err == ""
    assert len(lines(1)) == 1


@pytest.mark.parametrize(("epochs", "told"), [(1, [1]), (3, [1, 2, 3]), (20, [3, 6, 9, 12, 15, 18, 20])])
def test_lines_where_there_is_no_bar(epochs, told, capsys):
    fit(trainer(), epochs, callbacks=lines(epochs))
    words = [line.partition(": training loss ") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in words] == [f"epoch {epoch} of {epochs}" for epoch in told]
    assert all(line[2].partition(", ")[2].startswith("training accuracy ") for line in words)


def test_no_lines_beside_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert lines(5) == []


def test_a_missing_package_is_named_with_its_extra(monkeypatch, tmp_path):
    hide(monkeypatch, "safetensors")
    trained = trainer()
    fit(trained, 1)  # does not need it
    with pytest.raises(ImportError, match=r"safetensors is not installed; it comes with the extra \[train\]"):
        fit(trained, 2, checkpoint=tmp_path / "state")
    assert trained.epoch == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an int, got 1.5"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 99, "drop_last": True}, ValueError, "x must hold at least one batch of 99 samples, got 42"),
        ({"x": np.zeros((0, 1, 5, 5), np.float32), "y": np.zeros(0, int)}, ValueError, "x must hold at least one"),
        ({"y": np.zeros(3, int)}, ValueError, "y must hold one label for each of the 42 samples of x, got 3"),
        ({"y": np.full(N, 3)}, ValueError, "labels must be classes 0 to 2, got 3"),
        ({"x": np.zeros((N, 2, 5, 5), np.float32)}, ValueError, "x"),
        ({"loss": partial(softmax_cross_entropy, reduction="none")}, ValueError, "loss must be one number, a mean"),
        (
            {"validation": np.zeros((N, 9))},
            TypeError,
            r"validation must be a pair \(x, y\), .* got an ndarray of float64",
        ),
        ({"validation": (np.zeros((N, 9)),)}, TypeError, r"validation must be a pair \(x, y\), .* got 1 value"),
        ({"validation": samples(0)}, ValueError, "validation must hold at least one sample, got none"),
        (
            {"callbacks": print},
            TypeError,
            "callbacks must be a sequence of functions .*, got <built-in function prin",
        ),
        ({"callbacks": [print, "a"]}, TypeError, r"callbacks must be a sequence of functions .* 'a'\] of type list"),
        ({"callbacks": iter([print])}, TypeError, "callbacks must be a sequence of functions .* list_iterator"),
    ],
)
def test_bad_calls_change_nothing(options, error, message):
    options = dict(options)
    trained = trainer(loss=options.pop("loss", softmax_cross_entropy))
    before = [parameter.data.copy() for parameter in trained.model.parameters()]
    x, y = samples()
    with pytest.raises(error, match=message):
        trained.fit(**{"x": x, "y": y, "epochs": 1, "progress": False} | options)
    assert trained.step == 0 and not trained.history
    for parameter, start in zip(trained.model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.data, start)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": []}, TypeError, r"model must be a Module, got \[\] of type list"),
        ({"optimizer": "adam"}, TypeError, r"optimizer must be an Optimizer, such as optim.Adam.*, got 'adam' of type"),
        ({"optimizer": None}, TypeError, r"optimizer must be an Optimizer, .*, got None"),
        ({"optimizer": optim.Adam}, TypeError, r"optimizer must be an Optimizer, .*, got <class '.*Adam'>"),
        ({"loss": "mse"}, TypeError, "loss must be a function of scores and labels, .*, got 'mse' of type str"),
        ({"schedule": "cosine"}, TypeError, "schedule must be a function of a step's number, .*, got 'cosine'"),
        ({"schedule_per": "week"}, ValueError, "schedule_per must be one of step, epoch, got 'week'"),
        ({"transform": "flip"}, TypeError, "transform must be a function of a batch, .*, got 'flip' of type str"),
        ({"metrics": "acc"}, TypeError, "metrics must be a mapping of names to functions, .*, got 'acc' of type str"),
        ({"metrics": ["accuracy"]}, TypeError, r"metrics must be a mapping .*, got \['accuracy'\] of type list"),
        (
            {"metrics": {"acc": "acc"}},
            TypeError,
            r"metrics\['acc'\] must be a function of scores and labels, got",
        ),
        ({"penalty": 0.1}, TypeError, "penalty must be a function of the model, .*, got 0.1 of type float"),
        ({"clip_norm": "1"}, TypeError, "clip_norm must be a number of at least 0, or None, got '1' of type str"),
        ({"clip_norm": -1}, ValueError, "clip_norm must be a number of at least 0, or None, got -1"),
        ({"ema": 0.99}, TypeError, "ema must be an EMA, .*, got 0.99 of type float"),
        ({"early_stopping": 3}, TypeError, "early_stopping must be an EarlyStopping, .*, got 3 of type int"),
    ],
)
def test_bad_construction(options, error, message):
    model = network(np.random.default_rng(0))
    with pytest.raises(error, match=message):
        train.Trainer(**{"model": model, "optimizer": optim.SGD(model.parameters(), 0.1)} | options)


def test_what_is_of_another_model_is_refused():
    old, new = (network(np.random.default_rng(0)) for _ in range(2))
    with pytest.raises(ValueError, match="optimizer must have parameters of the model, got .* made anew"):
        train.Trainer(new, optim.SGD(old.parameters(), 0.1))
    with pytest.raises(ValueError, match="ema must have parameters of the model, got .* made anew"):
        train.Trainer(new, optim.SGD(new.parameters(), 0.1), ema=optim.EMA(old))
    some = [next(new.parameters()), next(old.parameters())]
    assert train.Trainer(new, optim.SGD(some, 0.1), clip_norm=np.inf).clip_norm == np.inf


def test_empty_sets():
    model = network(np.random.default_rng(0))
    trained = train.Trainer(model, optim.SGD(model.parameters(), 0.1))
    x, y = samples()
    with pytest.raises(ValueError, match="x must hold at least one sample, got none"):
        trained.evaluate(x[:0], y[:0])
    with pytest.raises(ValueError, match="x must hold at least one sample, got none"):
        trained.predict(x[:0])
    frozen = nn.Sequential(nn.Linear(2, 2))
    for parameter in frozen.parameters():
        parameter.trainable = False
    with pytest.raises(RuntimeError, match="no parameter has a gradient"):
        train.Trainer(frozen, optim.SGD(frozen.parameters(), 0.1)).fit(
            np.ones((2, 2), np.float32), np.zeros(2, int), epochs=1, progress=False
        )
