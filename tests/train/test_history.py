"""What a training measured: as a dict, as a file, as a picture."""

import math

import pytest
from matplotlib.image import imread

from convkit.train import History
from missing import hide
from pictures import colours
from small_training import fit, samples, trainer


def some(epochs=3):
    history = History()
    for epoch in range(1, epochs + 1):
        history.append({"epoch": epoch, "loss": 2 / 3 / epoch, "accuracy": 1 - 0.1**epoch, "val_loss": 1 / epoch})
    return history


def test_it_is_a_dict_of_lists():
    history = some()
    assert history == {
        "epoch": [1, 2, 3],
        "loss": [2 / 3, 1 / 3, 2 / 9],
        "accuracy": [0.9, 0.99, 0.999],
        "val_loss": [1, 1 / 2, 1 / 3],
    }
    assert (history.epochs, History().epochs) == (3, 0)
    with pytest.raises(ValueError, match="row must have the columns epoch, loss, accuracy, val_loss, got epoch, loss"):
        history.append({"epoch": 4, "loss": 1})
    assert history.epochs == 3


def test_it_shows_rounded_numbers_and_of_many_epochs_the_ends():
    lines = repr(some(20)).splitlines()
    assert [line.split()[0] for line in lines] == ["epoch", *"12345", "...", *map(str, range(16, 21))]
    assert lines[2] == "    2   0.3333      0.99       0.5" and len({len(line) for line in lines}) == 1
    assert len(repr(some(10)).splitlines()) == 11 and repr(History()) == "History()"
    assert len(repr(History(epoch=[1, 2], loss=[0.5], note=[None, "b"])).splitlines()) == 3


@pytest.mark.thorough
def test_through_csv_to_the_bit(tmp_path):
    path = tmp_path / "history.csv"
    trained = trainer()
    history = fit(trained, validation=samples())
    history["odd"] = [math.inf, 5e-324, 0.1 + 0.2]
    history.to_csv(path)
    again = History.from_csv(path)
    assert again == history and isinstance(again["epoch"][0], int)
    assert path.read_text().splitlines()[0] == "epoch,loss,accuracy,val_loss,val_accuracy,lr,odd"
    History().to_csv(path)
    assert History.from_csv(path) == {}


@pytest.mark.parametrize("text", ["epoch,loss\n1,0.5\n2\n", "epoch,loss\n1,0.5\n2,low\n", "epoch,loss\n1,1\n2,1,1\n"])
def test_a_line_that_is_wrong_is_named(text, tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"history\.csv, line 3, must hold 2 numbers: "):
        History.from_csv(path)


@pytest.mark.thorough
@pytest.mark.parametrize("epochs", [1, 3])
def test_the_picture(epochs, tmp_path):
    history = some(epochs)
    history["lr"] = [0.1 / epoch for epoch in history["epoch"]]
    figure = history.plot(tmp_path / "curves.png")
    assert colours(imread(tmp_path / "curves.png")) > 20
    titles = {ax.get_title(): {line.get_label(): list(line.get_ydata()) for line in ax.lines} for ax in figure.axes}
    training, validation = "training, while it learns", "validation, after each epoch"
    assert titles["loss"] == {training: history["loss"], validation: history["val_loss"]}
    assert titles["accuracy"] == {training: history["accuracy"]}
    rates = [list(lines.values()) for title, lines in titles.items() if title == "learning rate"]
    assert rates == [[history["lr"]]] * (epochs > 1)
    assert figure.axes[0].get_yscale() == "log"
    labels = ["mean over the samples (log scale)", "mean over the samples", "of the epoch's last step"]
    assert [ax.get_ylabel() for ax in figure.axes] == labels[: 2 + (epochs > 1)]
    ticks = [list(ax.get_xticks()) for ax in figure.axes]
    assert epochs > 1 or ticks == [[1]] * 2
    assert "$" not in "".join(label.get_text() for label in figure.axes[0].get_yticklabels(which="both"))


def test_several_metrics_in_one_frame_are_named():
    history = History({"epoch": [1, 2], "accuracy": [0.5, 0.6], "val_accuracy": [0.4, 0.5], "top_5": [0.8, 0.9]})
    (frame,) = history.plot().axes
    assert [line.get_label() for line in frame.lines] == [
        "accuracy: training, while it learns", "accuracy: validation, after each epoch",
        "top_5: training, while it learns",
    ]  # fmt: skip
    assert (frame.get_title(), frame.get_ylabel()) == ("accuracy, top_5", "mean over the samples")


def test_a_constant_learning_rate_is_no_curve():
    history = some(2)
    history["lr"] = [0.1, 0.1]
    assert [ax.get_title() for ax in history.plot().axes] == ["loss", "accuracy"]
    assert [ax.get_title() for ax in History(lr=[0.1, 0.1]).plot().axes] == ["learning rate"]


def test_a_loss_of_zero_is_drawn_on_a_plain_scale():
    history = History({"epoch": [1, 2], "loss": [1.0, 0.0]})
    figure = history.plot()
    assert [ax.get_yscale() for ax in figure.axes] == ["linear"]
    with pytest.raises(ValueError, match="the history must hold at least one epoch to be drawn"):
        History().plot()


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    hide(monkeypatch, "matplotlib")
    with pytest.raises(ImportError, match=r"matplotlib is not installed; it comes with the extra \[train\]"):
        some().plot()
