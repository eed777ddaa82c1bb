"""`convkit run`: models of ONNX on arrays and pictures."""

import numpy as np
import onnx
import pytest
from onnx import parser
from PIL import Image

from convkit.cli import main

HEAD = '<ir_version: 10, opset_import: ["" : 22]>'


@pytest.fixture
def model(tmp_path):
    """A model that gives the mean of each channel, saved."""
    text = (
        HEAD
        + """means (float[n, 3, h, w] image) => (float[n, 3] mean) {
        pooled = GlobalAveragePool(image)
        mean = Flatten(pooled)
    }"""
    )
    path = tmp_path / "means.onnx"
    onnx.save(parser.parse_model(text), path)
    return path


def output(capsys, *args) -> list[str]:
    assert main(["run", *map(str, args)]) == 0
    return capsys.readouterr().out.splitlines()


def test_an_array(model, tmp_path, capsys):
    x = np.zeros((1, 3, 4, 4), np.float32)
    x[0, 1], x[0, 2] = 3, -1
    np.save(tmp_path / "x.npy", x)
    lines = output(capsys, model, "--input", tmp_path / "x.npy")
    assert lines[0] == "mean: float32 (1, 3)"
    assert [line.split() for line in lines[1:]] == [
        ["3", "at", "(0,", "1)"], ["0", "at", "(0,", "0)"], ["-1", "at", "(0,", "2)"]
    ]  # fmt: skip


def test_float64_becomes_what_the_model_takes(model, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.ones((1, 3, 4, 4)))
    assert output(capsys, model, "--input", tmp_path / "x.npy")[0] == "mean: float32 (1, 3)"
    np.save(tmp_path / "x.npy", np.ones((1, 3, 4, 4), int))
    assert main(["run", str(model), "--input", str(tmp_path / "x.npy")]) == 1
    assert "must have dtype float32, got int64" in capsys.readouterr().err


def test_labels_of_other_classes_are_not_left_out_silently(model, tmp_path, capsys):
    for labels, said in (
        ("red\ngreen\n", "has 2 names, and no output as many classes"),
        ("r\ng\nb\n", ""),
        ("", "0 names"),
    ):
        (tmp_path / "labels.txt").write_text(labels)
        assert main(["run", str(model), "--size", "8", "--labels", str(tmp_path / "labels.txt")]) == 0
        error = capsys.readouterr().err
        assert error.count("\n") == bool(said) and said in error


def test_a_picture_with_labels(model, tmp_path, capsys):
    Image.new("RGB", (10, 6), (255, 0, 51)).save(tmp_path / "x.png")
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    lines = output(capsys, model, "--input", tmp_path / "x.png", "--labels", tmp_path / "labels.txt", "--size", "3x5")
    assert [(line.split()[0], line.split()[-1]) for line in lines[1:]] == [
        ("1", "red"),
        ("0.2", "blue"),
        ("0", "green"),
    ]
    options = "--bgr", "--mean", "0.2,0,0.5", "--std", "1,1,0.25"
    lines = output(capsys, model, "--input", f"image={tmp_path / 'x.png'}", *options)
    assert [line.split()[0] for line in lines[1:]] == ["2", "0", "0"]


def test_a_picture_is_cropped(model, tmp_path, capsys):
    """To the middle: what lies beside it, in other colours, is not seen."""
    image = Image.new("RGB", (12, 4), (255, 255, 255))
    image.paste((255, 0, 51), (4, 0, 8, 4))
    image.save(tmp_path / "x.png")
    given = "--input", tmp_path / "x.png", "--size", "4"
    assert [line.split()[0] for line in output(capsys, model, *given, "--crop")[1:]] == ["1", "0.2", "0"]
    assert [line.split()[0] for line in output(capsys, model, *given)[1:]] != ["1", "0.2", "0"]


def test_a_number_and_a_single_label(tmp_path, capsys):
    """The label is not that of the batch."""
    text = HEAD + "top (float[1, 2] x) => (float y, float[1, 2] z) { y = ReduceSum <keepdims = 0> (x) z = Identity(x) }"
    onnx.save(parser.parse_model(text), tmp_path / "sum.onnx")
    np.save(tmp_path / "x.npy", np.float32([[1, 2]]))
    (tmp_path / "labels.txt").write_text("cat\n")
    lines = output(capsys, tmp_path / "sum.onnx", "--input", tmp_path / "x.npy", "--labels", tmp_path / "labels.txt")
    assert [line.split() for line in lines] == [
        ["y:", "float32", "()"], ["3", "at", "()"],
        ["z:", "float32", "(1,", "2)"], ["2", "at", "(0,", "1)"], ["1", "at", "(0,", "0)"],
    ]  # fmt: skip


def test_deviates_of_the_declared_shape(model, capsys):
    given, first, *_ = output(capsys, model, "--size", "8")
    assert given.startswith("image: float32 (1, 3, 8, 8), random numbers; --input FILE")
    assert first == "mean: float32 (1, 3)"


@pytest.mark.thorough
def test_times(brief, model, capsys):
    lines = output(capsys, model, "--size", "8", "--time", "--explain")
    assert any(line.startswith("convkit: ") and line.endswith(" ms") for line in lines)
    assert any("GlobalAveragePool" in line for line in lines)


def test_what_is_wrong_is_one_line(model, tmp_path, capsys):
    (tmp_path / "no.onnx").write_bytes(b"\xff\xff")
    (tmp_path / "bad.npy").write_bytes(b"\xff\xff")
    picture, objects, good = tmp_path / "x.png", tmp_path / "objects.npy", tmp_path / "good.npy"
    np.save(good, np.zeros((1, 3, 4, 4), np.float32))
    Image.new("RGB", (4, 4), (255, 0, 51)).save(picture)
    np.save(objects, np.array([{}]), allow_pickle=True)
    for args, message in {
        (tmp_path / "no.onnx",): "no ONNX file",
        (tmp_path / "none.onnx",): "No such file",
        (model,): "--size or --input",
        (model, "--size", "8", "--input", "a.npy", "--input", "b.npy"): "1 inputs, image; got more",
        (model, "--input", picture, "--mean", "1,2"): "--mean must be one number, or one for each of the 3 channels",
        (model, "--input", picture, "--std", "1,2,3,4"): "--std must be one number, or one for each of the 3 channels",
        (model, "--input", objects): "--input must be a .npy file of numbers, got ",
        (model, "--input", tmp_path / "bad.npy"): "--input must be a .npy file of numbers, got ",
        (model, "--input", tmp_path / "no.onnx"): "--input must be a .npy file or a picture that Pillow can read, got ",
        (model, "--size", "8", "--mean", "0"): "--mean is for pictures, and no --input is one",
        (model, "--input", good, "--bgr"): "--bgr is for pictures, and no --input is one",
        (model, "--input", good, "--size", "4x5"): "--size must be that of an input, got 4x5: it scales pictures alone",
        (model, "--size", "8", "--labels", picture): "--labels must be a file of text in UTF-8, got ",
    }.items():
        assert main(["run", *map(str, args)]) == 1
        error = capsys.readouterr().err
        assert error.startswith("convkit run: ") and message in error and error.count("\n") == 1


@pytest.mark.thorough
def test_a_model_that_convkit_has_not_all_of(tmp_path, capsys):
    text = (
        HEAD
        + """quantised (float[2] x) => (uint8[2] y) <float s = {0.5}, uint8 z = {0}> {
        y = QuantizeLinear(x, s, z)
    }"""
    )
    path = tmp_path / "quantised.onnx"
    onnx.save(parser.parse_model(text), path)
    np.save(tmp_path / "x.npy", np.float32([1, 2]))
    assert main(["run", str(path)]) == 1
    assert "QuantizeLinear" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="QuantizeLinear"):
        lines = output(capsys, path, "--fallback", "--input", tmp_path / "x.npy")
    assert [line.split()[0] for line in lines[1:]] == ["4", "2"]
