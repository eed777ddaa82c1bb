"""Stopping and going on: the same bits as without; and files that are no checkpoint, or half of one."""

import json
import signal
import threading
from functools import partial

import numpy as np
import pytest
from safetensors.numpy import load_file, safe_open, save_file

from convkit import optim, train
from convkit.train import checkpoint
from convkit.train.interrupt import held_back
from small_training import fit, network, samples, trainer

EPOCHS, STEPS = 3, 18
pytestmark = pytest.mark.usefixtures("control_c")


def interrupt_at(trained, step, times=1):
    """Ctrl-C in the middle of that step, counted from 1."""
    schedule = trained.schedule

    def interrupting(t):
        if t == step - 1:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return schedule(t)

    trained.schedule = interrupting
    return trained


def saved(trained, path):
    trained.save(path)
    return path.read_bytes()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("step", "adam"), [(1, False), (3, True), (6, False), (7, True), (11, False), (17, False), (18, True)]
)
def test_after_control_c_in_any_step(step, adam, tmp_path):
    whole = trainer(adam=adam)
    fit(whole, validation=samples())
    path = tmp_path / "checkpoint"
    first = interrupt_at(trainer(adam=adam), step)
    with pytest.raises(KeyboardInterrupt, match=f"saved after step {step} to .*checkpoint"):
        fit(first, validation=samples(), checkpoint=path)
    assert first.step == step  # that step was finished
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert path.read_bytes() == saved(first, tmp_path / "first")
    second = trainer(seed=99, adam=adam)
    second.load(path)
    assert second.history.epochs == (step - 1) // 6
    fit(second, validation=samples())
    assert saved(second, tmp_path / "second") == saved(whole, tmp_path / "whole")
    fit(first, validation=samples())  # and in the same process, without loading anything
    assert saved(first, tmp_path / "first") == saved(whole, tmp_path / "whole")


def test_a_second_control_c_does_not_wait(tmp_path):
    trained = interrupt_at(trainer(), 3, times=2)
    with pytest.raises(KeyboardInterrupt, match="^$"):
        fit(trained, checkpoint=tmp_path / "checkpoint")
    assert trained.step == 2 and not (tmp_path / "checkpoint").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_checkpoint_control_c_is_what_it_always_was():
    trained = interrupt_at(trainer(), 3)
    with pytest.raises(KeyboardInterrupt):
        fit(trained)
    assert trained.step == 2


def test_a_programs_own_handler_and_other_threads_are_left_alone():
    def own(number, frame):
        raise AssertionError

    signal.signal(signal.SIGINT, own)
    with held_back(True) as interrupted:
        assert signal.getsignal(signal.SIGINT) is own and not interrupted()
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def elsewhere():
        with held_back(True) as interrupted:
            seen.append((signal.getsignal(signal.SIGINT), interrupted()))

    seen = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [(signal.default_int_handler, False)]


@pytest.mark.thorough
def test_every_epoch_is_saved(tmp_path):
    path, epochs = tmp_path / "checkpoint", []

    def reading(t):
        if path.exists():
            again = trainer()
            again.load(path)
            epochs.append(again.epoch)
        return 0.1

    fit(trainer(schedule=reading), checkpoint=path)
    assert epochs == [1] * 6 + [2] * 6
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["checkpoint"]


def test_saving_after_steps_as_well(tmp_path):
    path, steps = tmp_path / "checkpoint", []

    def reading(t):
        again = trainer()
        if path.exists():
            again.load(path)
        steps.append(again.step)
        return 0.1

    fit(trainer(schedule=reading), 2, checkpoint=path, checkpoint_steps=4)
    assert steps == [0, 0, 0, 0, 4, 4, 6, 6, 8, 8, 8, 8]
    with pytest.raises(ValueError, match="checkpoint_steps must be at least 1, got 0"):
        fit(trainer(), checkpoint=path, checkpoint_steps=0)


@pytest.mark.thorough
def test_layers_with_generators_of_their_own(tmp_path):
    """Dropout that draws from another generator than the trainer: it goes on where it was, too."""

    def build(seed):
        model = network(np.random.default_rng(seed))
        model[3].rng = np.random.default_rng(seed + 1)
        return train.Trainer(model, optim.SGD(model.parameters(), 0.1), rng=np.random.default_rng(seed + 2))

    whole, first, second = build(0), build(0), build(7)
    fit(whole, 2)
    fit(first, 1)
    first.save(tmp_path / "first")
    second.load(tmp_path / "first")
    fit(second, 2)
    assert saved(second, tmp_path / "a") == saved(whole, tmp_path / "b")
    rng = np.random.default_rng(0)
    model = network(rng)  # here they share one
    shared = train.Trainer(model, optim.SGD(model.parameters(), 0.1), rng=rng)
    with pytest.raises(ValueError, match="generators must be rng, model.3.rng, as in the checkpoint, got rng$"):
        shared.load(tmp_path / "first")


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_every_kind_of_generator_can_be_saved(kind, tmp_path):
    sources = {"rng": np.random.Generator(kind(0))}
    sources["rng"].random(3)
    checkpoint.write(tmp_path / "state", {"generators": checkpoint.generator_states(sources)})
    expected = sources["rng"].random(5)
    again = {"rng": np.random.Generator(kind(1))}
    checkpoint.set_generator_states(again, checkpoint.read(tmp_path / "state")["generators"])
    np.testing.assert_array_equal(again["rng"].random(5), expected)


def test_everything_comes_back_as_it_was(tmp_path):
    tree = {
        "array": np.arange(6, dtype=np.int64).reshape(2, 3).T,
        "scalar": np.float32(0.1),
        "empty": np.zeros((0, 3)),
        "numbers": [1, 2**100, -0.1, float("inf")],
        "nested": {"text": "ä", "none": None, "yes": True, "list": [np.ones(2, np.uint32), {}]},
    }
    checkpoint.write(tmp_path / "state", tree)
    back = checkpoint.read(tmp_path / "state")
    np.testing.assert_array_equal(back["array"], tree["array"])
    assert back["scalar"] == np.float32(0.1) and back["scalar"].dtype == np.float32
    assert back["empty"].shape == (0, 3) and back["numbers"] == tree["numbers"]
    assert back["nested"]["text"] == "ä" and back["nested"]["none"] is None and back["nested"]["yes"] is True
    np.testing.assert_array_equal(back["nested"]["list"][0], np.ones(2, np.uint32))


def test_what_cannot_be_saved_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state"
    checkpoint.write(path, {"a": 1})
    before = path.read_bytes()
    for bad, message in (
        ({"a": [set()]}, "state/a/0 must be an array, a number, text or None, got set"),
        ({"a": {1: 2}}, "state/a must have keys of type str, got 1 of type int"),
    ):
        with pytest.raises(TypeError, match=message):
            checkpoint.write(path, bad)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device: '.*state'"):
        checkpoint.write(path, {"a": 2})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


# ---------------------------------------------------------------- files that are no checkpoint of this training


@pytest.fixture
def refused(tmp_path):
    """Loads a file and shows that it was refused and changed nothing."""

    def load(path, message):
        trained = trainer()
        fit(trained, 1)
        before = saved(trained, tmp_path / "before")
        with pytest.raises(ValueError, match=message):
            trained.load(path)
        assert saved(trained, tmp_path / "after") == before

    return load


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A good checkpoint."""
    trained = trainer(seed=3)
    fit(trained, 2)
    return saved(trained, tmp_path_factory.mktemp("checkpoint") / "good")


@pytest.mark.thorough
def test_truncated_and_flipped(good, refused, tmp_path):
    path = tmp_path / "bad"
    for length in (0, 7, 8, 100, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:length])
        refused(path, "bad must be a checkpoint that convkit wrote: ")
    path.write_bytes(b"\xff" * 8 + good[8:])  # a header of 2**64 - 1 bytes
    refused(path, "bad must be a checkpoint that convkit wrote: ")
    for place in (-1, -1000, len(good) // 2):
        flipped = bytearray(good)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        refused(path, "bad must be a checkpoint that convkit wrote: its digest must be ")


@pytest.mark.parametrize(
    "about",
    [None, "", "[]", "{}", '{"version": 2, "tree": {}}', '{"version": 1}', "[" * 100_000],
    ids=["none", "empty", "list", "dict", "version", "no_tree", "deep"],
)
def test_weights_and_other_files(about, refused, tmp_path):
    metadata = None if about is None else {"convkit_checkpoint": about}
    save_file(trainer().model.state_dict(), tmp_path / "bad", metadata)
    why = {
        None: r"it has arrays alone; model.load_state_dict\(nn.load_state\(path\)\) reads",
        "{}": "it has no 'version'",
    }
    refused(tmp_path / "bad", "bad must be a checkpoint that convkit wrote: " + why.get(about, ""))


def tampered(path, good, change):
    """A checkpoint with `change` made to its arrays and its tree."""
    path.write_bytes(good)
    with safe_open(path, "numpy") as file:
        about = json.loads(file.metadata()["convkit_checkpoint"])
    arrays = load_file(path)
    change(arrays, about["tree"])
    del about["digest"]
    save_file(arrays, path, {"convkit_checkpoint": json.dumps(about)})
    return path


def as_0_1_wrote_it(arrays, tree):
    """Sums and the number of samples that all of them are to be divided by."""
    tree["samples"] = 3 * 8
    tree["sums"] = {name: total for name, (total, weight) in tree["sums"].items()}


@pytest.mark.thorough
def test_a_checkpoint_of_0_1_in_the_middle_of_an_epoch(tmp_path):
    first = interrupt_at(trainer(), 3)
    with pytest.raises(KeyboardInterrupt):
        fit(first, checkpoint=tmp_path / "new")
    ends = []
    for path in (tmp_path / "new", tampered(tmp_path / "old", (tmp_path / "new").read_bytes(), as_0_1_wrote_it)):
        trained = trainer()
        trained.load(path)
        fit(trained)
        ends.append(saved(trained, tmp_path / "end"))
    assert ends[0] == ends[1]


def cut_weight(arrays, tree):
    arrays["/model/0.weight"] = arrays["/model/0.weight"][:2].copy()


def other_dtype(arrays, tree):
    arrays["/optimizer/0.velocity"] = arrays["/optimizer/0.velocity"].astype(np.int64)


def lost_array(arrays, tree):
    del arrays["/ema/shadow.0.weight"]


def lost_part(arrays, tree):
    del tree["sums"]


def no_early_stopping(arrays, tree):
    tree["early_stopping"] = None


def bad_generator(arrays, tree):
    tree["generators"]["rng"]["state"]["state"] = -1


def other_generator(arrays, tree):
    tree["generators"]["rng"]["bit_generator"] = "MT19937"


def short_history(arrays, tree):
    tree["history"]["loss"].pop()


def text_history(arrays, tree):
    tree["history"]["loss"][0] = "low"


def epoch_text(arrays, tree):
    tree["epoch"] = "2"


def bad_order(arrays, tree):
    tree["batches"] = {"done": 1, "batch_size": 8, "order": [7, 7, 7]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut_weight, r"'0.weight': expected shape \(6, 1, 3, 3\), got \(2, 1, 3, 3\)"),
        (other_dtype, "must be float32 or float64, got int64"),
        (lost_array, "must be a checkpoint that convkit wrote: it has no '/ema/shadow.0.weight'"),
        (lost_part, "state must be that of a trainer built as this one: it has no 'sums'"),
        (no_early_stopping, "early_stopping must be there in both or in neither"),
        (bad_generator, "the random generator rng cannot be set to"),
        (other_generator, "the random generator rng cannot be set to"),
        (short_history, "the history must have 2 numbers in every column"),
        (text_history, "the history must have 2 numbers in every column"),
        (epoch_text, "epoch must be an int, got '2'"),
    ],
)
def test_tampered(change, message, good, refused, tmp_path):
    refused(tampered(tmp_path / "bad", good, change), message)


def test_a_tampered_order_is_refused_before_a_step(good, tmp_path):
    trained = trainer()
    trained.load(tampered(tmp_path / "bad", good, bad_order))
    with pytest.raises(ValueError, match=r"state\['order'\] must be an order of the set's 42 samples"):
        fit(trained, 3)
    assert trained.step == 12


def test_another_training(refused, tmp_path):
    other = trainer(adam=True)
    fit(other, 1)
    other.save(tmp_path / "adam")
    refused(tmp_path / "adam", "trainer built as this one: .*missing: ")


def test_another_batch_size_in_the_middle_of_an_epoch(tmp_path):
    first = interrupt_at(trainer(), 3)
    with pytest.raises(KeyboardInterrupt):
        fit(first, checkpoint=tmp_path / "checkpoint")
    with pytest.raises(ValueError, match="batch_size must be 8, as in the epoch to go on with, got 7"):
        first.fit(*samples(), epochs=3, batch_size=7, progress=False)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nowhere/checkpoint", FileNotFoundError, "checkpoint must be in a folder that exists, got '.*nowhere"),
        ("", IsADirectoryError, "checkpoint must be a file, or nothing yet, got the folder "),
        ("checkpoint", PermissionError, "checkpoint must be in a folder that can be written to, got '.*checkpoint'"),
    ],
)
def test_where_nothing_can_be_saved_nothing_is_trained(name, error, message, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # as in a file system that is mounted to be read
    trained = trainer()
    with pytest.raises(error, match=message):
        fit(trained, checkpoint=tmp_path / name)
    assert trained.step == 0


def test_what_is_no_path_is_refused():
    trained = trainer()
    for name, call in (("path", trained.save), ("path", trained.load), ("checkpoint", partial(fit, trained, 1))):
        with pytest.raises(TypeError, match=f"{name} must be a str or a path, got 5 of type int"):
            call(**{name: 5})
    assert trained.step == 0


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        trainer().load(tmp_path / "nothing")


@pytest.mark.thorough
def test_an_epoch_whose_measuring_failed_is_not_trained_again():
    whole, stopped = trainer(), trainer()
    fit(whole, validation=samples())
    evaluate = stopped.evaluate

    def fail(*args, **options):
        stopped.evaluate = evaluate
        raise KeyboardInterrupt

    stopped.evaluate = fail
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, validation=samples())
    assert (stopped.epoch, stopped.step) == (0, STEPS // EPOCHS)
    fit(stopped, validation=samples())
    assert stopped.step == STEPS and stopped.history == whole.history
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(stopped.model.state_dict()[name], array)
