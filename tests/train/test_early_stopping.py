"""To stop when it no longer gets better."""

import numpy as np
import pytest

from convkit import nn, train
from small_training import fit, samples, trainer


def run(stopping, values):
    """Feed values until it stops; how many it took."""
    for epoch, value in enumerate(values, 1):
        stopping.update({"epoch": epoch, stopping.monitor: value}, {"w": np.array([float(epoch)])})
        if stopping.stopped:
            return epoch
    return None


@pytest.mark.parametrize(
    ("options", "values", "stops", "best"),
    [
        ({"patience": 2}, [3, 2, 2.5, 2.5, 1], 4, 2),
        ({"patience": 2}, [3, 2, 2.5, 1, 2, 2, 2], 6, 4),
        ({"patience": 1}, [1, 1], 2, 1),
        ({"patience": 2, "min_delta": 0.5}, [3, 2.6, 2.4, 2.3, 2.2], 5, 3),
        ({"patience": 2, "monitor": "val_accuracy"}, [0.1, 0.5, 0.4, 0.3], 4, 2),
        ({"patience": 2, "monitor": "val_error", "mode": "min"}, [0.5, 0.1, 0.4, 0.3], 4, 2),
        ({"patience": 2}, [float("nan")] * 3, 2, 0),
        ({"patience": 3}, [5, 4, 3, 2, 1], None, 5),
    ],
)
def test_when_it_stops(options, values, stops, best):
    stopping = train.EarlyStopping(**options)
    assert run(stopping, values) == stops
    assert stopping.best_epoch == best


def test_the_model_gets_its_best_weights():
    model = nn.Linear(1, 1, bias=False)
    stopping = train.EarlyStopping("loss", 2)
    for epoch, loss in enumerate((3, 1, 2, 2), 1):
        model.weight.data[...] = epoch
        stopping.update({"epoch": epoch, "loss": loss}, model.state_dict())
    assert model.weight.data == 4
    stopping.restore(model)
    assert model.weight.data == 2
    untouched = train.EarlyStopping("loss", 2, restore_best=False)
    untouched.update({"epoch": 1, "loss": 1}, model.state_dict())
    model.weight.data[...] = 7
    untouched.restore(model)
    assert model.weight.data == 7


def test_in_a_training(tmp_path):
    def stopping():
        return train.EarlyStopping("val_loss", 1, min_delta=0.3)

    trained = trainer(early_stopping=stopping())
    history = fit(trained, 50, validation=samples(), checkpoint=tmp_path / "checkpoint")
    best = trained.early_stopping.best_epoch
    assert 1 <= best < 50 and history.epochs == best + 1
    measured = trained.evaluate(*samples())
    trained.ema = None  # the weights that were kept are the averaged ones that were measured
    assert trained.evaluate(*samples())["loss"] == history["val_loss"][best - 1] != measured["loss"]
    again = trainer(seed=9, early_stopping=stopping())
    again.load(tmp_path / "checkpoint")
    steps = again.step
    fit(again, 50, validation=samples())  # it has stopped already, and does not begin anew
    assert again.step == steps
    for name, array in again.model.state_dict().items():
        np.testing.assert_array_equal(array, trained.model.state_dict()[name], err_msg=name)


def test_what_is_not_measured_cannot_be_monitored():
    trained = trainer(early_stopping=train.EarlyStopping())
    with pytest.raises(ValueError, match="monitor must be one of epoch, loss, accuracy, lr, got 'val_loss'"):
        fit(trained)
    assert trained.step == trained.epoch == trained.history.epochs == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"patience": 0}, ValueError, "patience must be at least 1, got 0"),
        ({"patience": 1.5}, TypeError, "patience must be an int, got 1.5"),
        ({"monitor": 3}, TypeError, "monitor must be the name of a quantity, such as .*, got 3 of type int"),
        ({"min_delta": -1}, ValueError, "min_delta must be a number in"),
        ({"min_delta": "0.1"}, TypeError, "min_delta must be a number in .*, got '0.1' of type str"),
        ({"mode": "best"}, ValueError, "mode must be 'min', 'max' or None, got 'best'"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        train.EarlyStopping(**options)
