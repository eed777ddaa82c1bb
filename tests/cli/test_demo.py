"""`convkit demo`, and that what it says of itself is true."""

import re

import numpy as np
import pytest
from matplotlib.image import imread
from safetensors.numpy import load_file

import convkit
from convkit import data
from convkit.cli import _pictures, _recipes, demo, main
from missing import hide
from pictures import colours
from problems import reduced

PICTURES = ("curves.png", "filters.png", "mistakes.png")


@pytest.fixture
def short_split(monkeypatch):
    """A quarter of the images to learn from."""
    whole = data.digits_split()
    monkeypatch.setattr(
        data, "digits_split", lambda: whole._replace(x_train=whole.x_train[::4], y_train=whole.y_train[::4])
    )


@pytest.fixture
def undrawn(monkeypatch):
    """No pictures: drawing hundreds of mistakes takes longer than making them."""
    for name in ("curves", "filters", "mistakes"):
        monkeypatch.setattr(_pictures, name, lambda *args: None)


@pytest.mark.thorough
def test_it_trains_draws_writes_and_times(tmp_path, capsys, brief, unarranged, monkeypatch):
    """And it learns: in a fifth of its epochs 6 of the held-out images are missed, after all of them 2."""
    monkeypatch.setattr(demo, "LAYERS", [reduced(layer) for layer in demo.LAYERS])
    out = tmp_path / "new" / "folder"
    assert main(["demo", "--epochs", "8", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    told = re.findall(r"^epoch (\d) of 8: training loss \S+, training accuracy \S+$", text, re.MULTILINE)
    assert [*map(int, told)] == [*range(1, 9)]
    (accuracy,) = re.findall(r"^test accuracy: (\d+\.\d) %$", text, re.MULTILINE)
    assert 96 <= float(accuracy) <= 100
    assert (out / "weights.safetensors").stat().st_mode == (out / "curves.png").stat().st_mode
    assert sorted(path.name for path in out.iterdir()) == sorted([*PICTURES, "weights.safetensors"])
    for name in PICTURES:
        picture = imread(out / name)
        assert min(picture.shape[:2]) > 100
        assert colours(picture) > 20, f"{name} is blank"
    assert re.search(
        r"^this machine: 100000 GFLOP/s of multiply-adds \(\w+, float32, \d+ threads?\), 20 GB/s", text, re.M
    )
    numbers = r"(?: +\d+\.\d\d +\d+ +\d+ %){2}(?:  unsteady)?$"
    for kind in ("standard", "pointwise", "grouped", "depthwise", "dilated"):
        assert re.search(rf"^{kind} +\dx\d, \d+ to \d+, \d+x\d+, batch \d{numbers}", text, re.MULTILINE), kind


@pytest.mark.thorough
def test_the_weights_give_the_accuracy_that_was_printed(tmp_path, capsys, short_split, undrawn):
    demo.learn(0, 2, tmp_path)
    (accuracy,) = re.findall(r"^test accuracy: (\d+\.\d) %$", capsys.readouterr().out, re.MULTILINE)
    model = _recipes.cnn((1, 8, 8), 10, np.random.default_rng(99))
    model.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    x, y = data.digits()
    right = model(x[4::5]).argmax(axis=1) == y[4::5]
    assert f"{100 * right.mean():.1f}" == accuracy


@pytest.mark.thorough
def test_the_held_out_images_change_nothing(tmp_path, monkeypatch, short_split, undrawn):
    """Trained beside other held-out images and labels, the network is the same to the bit."""
    split = data.digits_split()
    demo.learn(0, 1, tmp_path)
    others = split._replace(x_test=1 - split.x_test, y_test=(split.y_test + 1) % 10)
    monkeypatch.setattr(data, "digits_split", lambda: others)
    other = tmp_path / "other"
    other.mkdir()
    demo.learn(0, 1, other)
    assert (tmp_path / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()


@pytest.mark.thorough
def test_no_held_out_image_is_ever_in_a_batch(tmp_path, monkeypatch, undrawn):
    seen = []
    monkeypatch.setitem(_recipes.AUGMENTATIONS, "affine", lambda images, *, rng: seen.extend(images) or images)
    split = data.digits_split()
    demo.learn(0, 1, tmp_path)
    assert sorted(map(bytes, seen)) == sorted(map(bytes, split.x_train))
    assert not set(map(bytes, seen)) & set(map(bytes, split.x_test))


@pytest.mark.thorough
def test_one_seed_gives_one_network_on_any_number_of_threads():
    x, y = (part[:300] for part in data.digits_split()[:2])

    def weights(threads, seed=0):
        trained = _recipes.trainer(_recipes.Settings(seed=seed), (1, 8, 8), 10, len(x))
        with convkit.threads(threads):
            history = trained.fit(x, y, epochs=2)
        return [array.tobytes() for array in trained.model.state_dict().values()], history

    first = weights(1)
    assert weights(1) == weights(2) == weights(3) == first
    assert weights(1, seed=1) != first


@pytest.mark.thorough
def test_without_a_mistake_and_with_many(tmp_path):
    x, y = data.digits()
    for n in (0, 1, 7):
        _pictures.mistakes(tmp_path / f"{n}.png", x[:n, 0], y[:n], y[:n], np.ones(n), 359)
        assert imread(tmp_path / f"{n}.png").std() > 0


def test_a_directory_that_cannot_be_made(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / ("x" * 300))]) == 2
    assert "File name too long: " in capsys.readouterr().err


@pytest.mark.parametrize("package", ["tqdm", "matplotlib", "safetensors"])
def test_a_missing_package_is_named_with_its_extra_before_anything_is_done(package, tmp_path, monkeypatch, capsys):
    hide(monkeypatch, package)
    assert main(["demo", "--out", str(tmp_path / "out")]) == 1
    assert (
        f'{package} is not installed; it comes with the extra [train]: pip install ".[train]"'
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()
