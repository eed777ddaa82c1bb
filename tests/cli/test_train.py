"""`convkit train`: what it writes, that it goes on where it was stopped, and what it refuses."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from convkit import data, distributed, nn, onnx_backend, train
from convkit.cli import _recipes, main
from convkit.cli.train import CHECKPOINT, SETTINGS, _resized
from missing import hide
from pictures import colours

FILES = ["checkpoint.safetensors", "curves.png", "history.csv", "settings.json", "weights.safetensors"]
LEARNING = [  # each loss and each optimizer, of which neither knows the other
    (list(_recipes.LOSSES)[i % len(_recipes.LOSSES)], optimizer) for i, optimizer in enumerate(_recipes.OPTIMIZERS)
]


@pytest.fixture
def short_split(monkeypatch):
    """A sixth of the images to learn from."""
    whole = data.digits_split()
    monkeypatch.setattr(
        data, "digits_split", lambda: whole._replace(x_train=whole.x_train[::6], y_train=whole.y_train[::6])
    )


@pytest.fixture
def undrawn(monkeypatch):
    """No picture, which would take longer than the training."""
    monkeypatch.setattr(train.History, "plot", lambda history, path: None)


@pytest.fixture
def photographs(tmp_path):
    """Twelve dark and thirteen light grey images, the first class named zebra, none of them square."""
    rng = np.random.default_rng(0)
    for i in range(25):
        folder = tmp_path / "photographs" / ("ape" if i < 12 else "zebra")
        folder.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 100, (9, 12, 3), np.uint8) + np.uint8(0 if i < 12 else 100)
        Image.fromarray(image).save(folder / f"{i:02}.png")
    return tmp_path / "photographs"


def weights(out):
    return (out / "weights.safetensors").read_bytes()


@pytest.mark.thorough
def test_on_the_digits(tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    assert main(["train", "--epochs", "2", "--seed", "1", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    (accuracy,) = re.findall(r"^test accuracy: (\d+\.\d) %$", text, re.MULTILINE)
    assert "1,438 to learn from, 359 held out" in text and 70 < float(accuracy) <= 100
    assert sorted(path.name for path in out.iterdir()) == FILES
    history = train.History.from_csv(out / "history.csv")
    assert history["epoch"] == [1, 2] and history["loss"][1] < history["loss"][0]
    assert colours(imread(out / "curves.png")) > 20
    x, y = data.digits()
    model = _recipes.cnn((1, 8, 8), 10, np.random.default_rng(0))
    model.load_state_dict(nn.load_state(out / "weights.safetensors"))
    right = model(x[4::5]).argmax(axis=1) == y[4::5]
    assert f"{100 * right.mean():.1f}" == accuracy


@pytest.mark.thorough
def test_on_a_folder(photographs, tmp_path, capsys, undrawn):
    out = tmp_path / "out"
    options = ["--size", "8", "--normalize", "zscore", "--augment", "shift+rotate", "--validate", "--lr", "0.01"]
    command = ["train", "--data", str(photographs), "--epochs", "8", "--batch-size", "4", "--out", str(out)]
    assert main([*command, *options]) == 0
    text = capsys.readouterr().out
    assert "25 images 3x8x8 in 2 classes: 20 to learn from, 5 held out" in text and "test accuracy: 100.0 %" in text
    assert list(train.History.from_csv(out / "history.csv")) == [
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr"
    ]  # fmt: skip
    about = json.loads((out / SETTINGS).read_text())
    assert about["classes"] == ["ape", "zebra"] and about["settings"]["size"] == 8
    learned = data.ImageFolder(photographs, 8).subset(np.arange(25) % 5 != 4)
    assert about["offset"] == data.ZScore().fit(learned[:]).offset.tolist()


@pytest.mark.thorough
@pytest.mark.parametrize("normalize", ["zscore", "none"])
def test_the_network_that_is_written_knows_the_pictures(normalize, photographs, tmp_path, capsys, undrawn):
    """Of a file as it is, larger and turned, of which training saw the upright middle."""
    out, folder = tmp_path / "out", data.ImageFolder(photographs, 8)
    options = ["--size", "8", "--normalize", normalize, "--augment", "none", "--optimizer", "adam", "--epochs", "20"]
    assert main(["train", "--data", str(photographs), *options, "--batch-size", "4", "--onnx", "--out", str(out)]) == 0
    assert f"convkit run {out / 'network.onnx'} --labels" in capsys.readouterr().out
    network = onnx_backend.load(out / "network.onnx")
    assert (out / "classes.txt").read_text() == "ape\nzebra\n"
    scores = network(folder[:])
    model = _recipes.cnn((3, 8, 8), 2, np.random.default_rng(0))
    model.load_state_dict(nn.load_state(out / "weights.safetensors"))
    learned = folder.subset(np.arange(25) % 5 != 4)
    x = data.ZScore().fit(learned[:])(folder[:]) if normalize == "zscore" else folder[:]
    np.testing.assert_allclose(scores, model.predict(x), rtol=1e-4, atol=1e-4)
    turned = Image.open(photographs / "zebra" / "20.png").transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned back
    turned.save(tmp_path / "turned.png", exif=exif)
    for picture, index in ((photographs / "zebra" / "20.png", 20), (tmp_path / "turned.png", 20)):
        command = ["run", str(out / "network.onnx"), "--labels", str(out / "classes.txt"), "--crop"]
        assert main([*command, "--input", str(picture)]) == 0
        largest = capsys.readouterr().out.splitlines()[1].split()
        assert largest[-1] == "zebra" and float(largest[0]) == pytest.approx(scores[index].max(), rel=1e-4)


@pytest.mark.thorough
def test_a_network_written_before_does_not_outlive_its_weights(photographs, tmp_path, capsys, undrawn):
    out, options = tmp_path / "out", ["--size", "8", "--model", "linear", "--epochs", "1", "--overwrite"]
    for more, left in ((["--onnx"], True), ([], False)):
        assert main(["train", "--data", str(photographs), *options, *more, "--out", str(out)]) == 0
        assert (out / "network.onnx").exists() == (out / "classes.txt").exists() == left
    (photographs / "ape").rename(photographs / "a\nb")
    assert main(["train", "--data", str(photographs), *options, "--onnx", "--out", str(out)]) == 2
    assert r"a line of UTF-8 each, for --onnx, got 'a\nb'" in capsys.readouterr().err


@pytest.mark.thorough
@pytest.mark.parametrize(("loss", "optimizer"), LEARNING)
def test_every_loss_and_every_optimizer(loss, optimizer, tmp_path, undrawn):
    options = ["--loss", loss, "--optimizer", optimizer, "--model", "mlp", "--augment", "none", "--epochs", "4"]
    assert main(["train", *options, "--out", str(tmp_path)]) == 0
    history = train.History.from_csv(tmp_path / "history.csv")
    assert history["loss"][-1] < 0.8 * history["loss"][0] and history["accuracy"][-1] > 0.4


@pytest.mark.thorough
@pytest.mark.parametrize("schedule", _recipes.SCHEDULES)
def test_every_schedule(schedule, tmp_path, short_split, undrawn):
    options = ["--schedule", schedule, "--model", "linear", "--epochs", "12", "--lr", "0.5", "--augment", "none"]
    assert main(["train", *options, "--out", str(tmp_path)]) == 0
    rates = np.array(train.History.from_csv(tmp_path / "history.csv")["lr"]) / 0.5
    assert (np.diff(rates) <= 0).all() and rates[0] > 0.6
    ends = {"constant": 1, "step": 0.5, "multistep": 0.01, "exponential": 0.01, "linear": 0, "cosine": 0}
    assert rates[-1] == pytest.approx(ends[schedule], abs=0.03)


@pytest.mark.thorough
@pytest.mark.parametrize("model", ["lenet5", "resnet18", "mobilenet_v2"])
def test_published_networks(model, photographs, tmp_path, capsys, undrawn):
    options = ["--model", model, "--size", "32", "--grey", "--augment", "flip", "--epochs", "1", "--lr", "0.01"]
    assert main(["train", "--data", str(photographs), *options, "--out", str(tmp_path / "out")]) == 0
    assert "25 images 1x32x32 in 2 classes" in capsys.readouterr().out


@pytest.mark.thorough
def test_digits_of_another_size(tmp_path, capsys, short_split, undrawn):
    options = ["--model", "lenet5", "--size", "32", "--epochs", "1", "--validate", "--lr", "0.05"]
    assert main(["train", *options, "--out", str(tmp_path / "out")]) == 0
    assert "599 images 1x32x32 in 10 classes" in capsys.readouterr().out
    split = data.digits_split()
    for x, size in ((split.x_train, 32), (split.x_test, 5)):
        resized = _resized(split, size)._asdict()["x_train" if x is split.x_train else "x_test"]
        assert resized.shape == (len(x), 1, size, size)
        assert 0 <= resized.min() and resized.max() <= 1 and resized.mean() == pytest.approx(x.mean(), rel=0.03)
    assert _resized(split, 0) is split


@pytest.mark.thorough
def test_every_network_is_built():
    for name, make in _recipes.NETWORKS.items():
        if name not in ("alexnet", "vgg16"):  # a hundred million numbers to draw; the table's line is the others'
            assert sum(parameter.size for parameter in make((3, 32, 32), 7, np.random.default_rng(0)).parameters()) > 0


@pytest.mark.thorough
def test_the_held_out_images_change_nothing(tmp_path, monkeypatch, short_split, undrawn):
    split = data.digits_split()
    options = ["train", "--epochs", "1", "--normalize", "minmax", "--out"]
    assert main([*options, str(tmp_path / "one")]) == 0
    others = split._replace(x_test=1 - 2 * split.x_test, y_test=(split.y_test + 1) % 10)
    monkeypatch.setattr(data, "digits_split", lambda: others)
    assert main([*options, str(tmp_path / "other")]) == 0
    assert weights(tmp_path / "one") == weights(tmp_path / "other")


# ---------------------------------------------------------------- stopping and going on


@pytest.mark.parametrize("shards", [[], ["--shards", "3"]], ids=["whole", "shards"])
@pytest.mark.thorough
def test_more_epochs_of_a_training_that_came_to_its_end(shards, tmp_path, capsys, short_split, undrawn):
    options = ["--model", "mlp", "--optimizer", "adam", "--schedule", "constant", "--seed", "3", *shards]
    assert main(["train", *options, "--epochs", "4", "--out", str(tmp_path / "whole")]) == 0
    assert main(["train", *options, "--epochs", "2", "--out", str(tmp_path / "parts")]) == 0
    assert main(["train", "--resume", "--epochs", "4", "--out", str(tmp_path / "parts")]) == 0
    assert "going on after step 8" in capsys.readouterr().out
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert (tmp_path / "parts" / "history.csv").read_text() == (tmp_path / "whole" / "history.csv").read_text()


@pytest.mark.thorough
def test_control_c_saves(tmp_path, capsys, undrawn):
    """SIGINT to a process in the middle of thousands of epochs; the rest of its epoch, and one more, are done after."""
    out = tmp_path / "out"
    options = ["--model", "linear", "--schedule", "constant", "--augment", "none", "--warmup", "0"]
    # Started in the background of a shell, a process inherits SIGINT ignored, and Python leaves it so.
    script = (
        "import signal, sys; from convkit.cli import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "train", *options, "--epochs", "100000", "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as child:
        deadline = time.monotonic() + 60
        while not (out / CHECKPOINT).exists() and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    (step,) = re.findall(r"^saved after step (\d+) to .*; convkit train --resume --out .* goes on$", err, re.MULTILINE)
    epochs = int(step) // 23 + 2
    assert main(["train", "--resume", "--epochs", str(epochs), "--out", str(out)]) == 0
    assert f"going on after step {step}\n" in capsys.readouterr().out
    assert main(["train", *options, "--epochs", str(epochs), "--out", str(tmp_path / "whole")]) == 0
    assert weights(out) == weights(tmp_path / "whole")


def test_a_rank_that_is_interrupted_outside_of_the_training_ends_all(tmp_path, monkeypatch):
    def interrupted(settings):
        raise KeyboardInterrupt

    ended = []
    monkeypatch.setattr("convkit.cli.train.load", interrupted)
    monkeypatch.setattr(distributed, "launched", lambda: True)
    monkeypatch.setattr(distributed, "world", lambda: SimpleNamespace(rank=1, size=2, Abort=ended.append))
    assert main(["train", "--shards", "2", "--out", str(tmp_path / "out")]) == 130
    assert ended == [130]


@pytest.mark.parametrize(("options", "got"), [([], "none"), (["--shards", "2"], "2")])
def test_ranks_that_would_have_no_shard_are_refused_by_the_options_name(options, got, tmp_path, monkeypatch, capsys):
    ended = []
    monkeypatch.setattr(distributed, "launched", lambda: True)
    monkeypatch.setattr(distributed, "world", lambda: SimpleNamespace(rank=0, size=4, Abort=ended.append))
    assert main(["train", *options, "--out", str(tmp_path / "out")]) == 2
    expected = "convkit train: --shards must be at least the number of ranks, such as --shards 4 for 4 of them"
    assert capsys.readouterr().err == f"{expected}, for results follow from it, got {got}\n"
    assert ended == [2] and not (tmp_path / "out").exists()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lr", "nan"], "--lr must be a finite number of at least 0, got nan"),
        (["--data", "."], "--data must be digits or a folder with a subfolder of images for each class, got '.': "),
        (
            ["--model", "lenet5"],
            "--size must be one that lenet5 takes, such as 32, its usual one; got images of 1x8x8: ",
        ),
        (["--model", "lenet5", "--size", "28"], "got images of 1x28x28: x must have weight.shape[1] = 400"),
        (["--size", "9" * 12], "--size must "),
        (["--lr", "1e30"], "is the first whose"),
        (["--resume"], "must be the folder of a training to resume"),
    ],
)
def test_bad_arguments(options, message, tmp_path, capsys, short_split):
    assert main(["train", *options, "--out", str(tmp_path / "out")]) == 2
    text = capsys.readouterr().err
    assert text.startswith("convkit train: ") and message in text and text.count("\n") == 1
    if "1e30" not in options:  # of which some steps were done
        assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out" / "weights.safetensors").exists()


@pytest.mark.parametrize("options", (["--model", "brain"], ["--epochs", "many"], ["--resume", "--overwrite"]))
def test_bad_words(options, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["train", *options])
    assert exit_.value.code == 2
    assert options[-2] in capsys.readouterr().err


def test_an_old_training_is_not_overwritten_by_mistake(tmp_path, capsys, short_split, undrawn):
    options = ["train", "--model", "linear", "--epochs", "1", "--out", str(tmp_path)]
    assert main(options) == 0
    assert " held-out images wrong, 1 epoch; " in capsys.readouterr().out
    before = weights(tmp_path)
    assert main([*options, "--seed", "5"]) == 2
    assert "holds a training already: --resume goes on, --overwrite begins anew" in capsys.readouterr().err
    assert weights(tmp_path) == before
    assert main(["train", "--resume", "--seed", "5", "--out", str(tmp_path)]) == 2
    assert "--seed must be 0 as before, to resume, got 5" in capsys.readouterr().err
    assert main(["train", "--resume", "--epochs", "2", "--out", str(tmp_path)]) == 0
    before = (tmp_path / "settings.json").read_bytes()
    assert main(["train", "--resume", "--shards", "2", "--out", str(tmp_path)]) == 2
    assert "--shards must be left out as before, to resume, got 2" in capsys.readouterr().err
    assert main(["train", "--resume", "--epochs", "1", "--out", str(tmp_path)]) == 2
    assert "--epochs must be at least the 2 trained already, got 1" in capsys.readouterr().err
    assert (tmp_path / "settings.json").read_bytes() == before
    assert main([*options, "--overwrite", "--seed", "5"]) == 0
    assert weights(tmp_path) != before
    (tmp_path / CHECKPOINT).unlink()
    assert main(["train", "--resume", "--out", str(tmp_path)]) == 2
    assert f"a training to resume, got {tmp_path}: it has no {CHECKPOINT}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", ""),
        ("[]", ""),
        ("{}", ""),
        ('{"settings": {"model": "brain"}}', "--model must be one of cnn, "),
        ('{"settings": {"epochs": "1"}}', "--epochs must be of type int, got '1'"),
        ('{"settings": {"shards": 0}}', "--shards must be a whole number of at least 1, got 0"),
        ('{"settings": {"epochs": 99999999999999999999}}', "--epochs must fit a 64-bit integer, got 999"),
        ('{"settings": {"brain": 1}}', ""),
        ('{"settings": {"lr": 1e999}}', "--lr must be a finite number of at least 0, got inf"),
        ("[" * 100_000, ""),
    ],
    ids=["empty", "list", "dict", "model", "text", "none", "long", "unknown", "infinite", "deep"],
)
def test_settings_that_are_none(text, why, tmp_path, capsys):
    (tmp_path / SETTINGS).write_text(text)
    (tmp_path / CHECKPOINT).touch()
    assert main(["train", "--resume", "--out", str(tmp_path)]) == 2
    assert f"settings.json must be what convkit train wrote: {why}" in capsys.readouterr().err


@pytest.mark.thorough
def test_a_broken_image_is_named(photographs, tmp_path, capsys):
    (photographs / "zebra" / "20.png").write_text("no image")
    assert main(["train", "--data", str(photographs), "--out", str(tmp_path / "out")]) == 2
    assert "20.png must be an image that Pillow can read" in capsys.readouterr().err
    (tmp_path / "few" / "a").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "few" / "a" / "1.png")
    assert main(["train", "--data", str(tmp_path / "few"), "--out", str(tmp_path / "out")]) == 2
    assert "--data must hold at least 5 images, got 1" in capsys.readouterr().err


@pytest.mark.parametrize(("package", "extra"), [("matplotlib", "train"), ("safetensors", "train"), ("onnx", "onnx")])
def test_a_missing_package_is_named_with_its_extra_before_anything_is_trained(
    package, extra, tmp_path, monkeypatch, capsys
):
    hide(monkeypatch, package)
    assert main(["train", "--onnx", "--out", str(tmp_path / "out")]) == 1
    assert f"{package} is not installed; it comes with the extra [{extra}]: " in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))
