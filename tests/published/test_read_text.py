"""PP-OCRv4 in convkit reads what it reads in ONNX Runtime, character by character; run by `make test-models`."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from pictures import colours

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "published" / "rapidocr-onnxruntime-1.4.4"
SCRIPT = ROOT / "examples" / "published" / "read_text.py"
EXAMPLE = runpy.run_path(str(SCRIPT))
# As the networks have it: spaces beside digits and punctuation are often lost.
RENDERED = [
    "Reading with convolutions", "A kernel slides over the page and sums what it",
    "covers;16 channels become480,and in the end", "6,625 classes: letters, digits, and much besides.",
    "Orderno.2026-11-26/13", "Total:$1,234.56", "e-mail: first.last@example.org", "(25 % off!)",
    "This line stands on its head.",
]  # fmt: skip


@pytest.fixture(scope="module")
def ours():
    return EXAMPLE["convkit_networks"](FOLDER)


@pytest.fixture(scope="module")
def theirs():
    return EXAMPLE["onnxruntime_networks"](FOLDER)


def read(networks, page):
    return EXAMPLE["read"](networks, EXAMPLE["alphabet"](FOLDER), page)


@pytest.mark.parametrize("shape", [(2, 3, 96, 160), (3, 3, 48, 192), (2, 3, 48, 256)])
def test_networks_give_the_same_numbers(shape, ours, theirs):
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    which = [(2, 3, 96, 160), (3, 3, 48, 192), (2, 3, 48, 256)].index(shape)
    np.testing.assert_allclose(ours[which](x), theirs[which](x), rtol=0, atol=1e-4)


@pytest.mark.parametrize("page", ["rendered", "photographed"])
def test_the_same_text(page, ours, theirs):
    picture = EXAMPLE[page]()
    lines, others = read(ours, picture), read(theirs, picture)
    assert [line.text for line in lines] == [line.text for line in others]
    assert [line.turned for line in lines] == [line.turned for line in others]
    for line, other in zip(lines, others, strict=True):
        np.testing.assert_allclose(line.corners(), other.corners(), atol=0.5)
    if page == "rendered":
        assert [line.text for line in lines] == RENDERED
        assert [line.turned for line in lines] == [False] * 8 + [True]
    else:
        assert lines[0].text == "Region-based segmentation" and len(lines) == 7


def test_draws_a_picture(tmp_path, monkeypatch):
    picture = tmp_path / "picture.png"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(picture), "--models", str(FOLDER)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert colours(imread(picture)) > 1000
