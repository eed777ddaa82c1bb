"""MTCNN in convkit finds the face where it does in PyTorch; run by `make test-models`."""

import runpy
import sys
from pathlib import Path

import numpy as np
from matplotlib.image import imread
from skimage import data

from pictures import colours

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "published" / "facenet-pytorch-2.6.0"
SCRIPT = ROOT / "examples" / "published" / "find_faces.py"
EXAMPLE = runpy.run_path(str(SCRIPT))
# What facenet-pytorch 2.6.0 gave with PyTorch 2.13, for faces of 20 pixels and more.
BOX, SCORE = [181.0514, 62.1561, 267.7473, 172.0502], 0.999998
POINTS = [[205.0109, 101.7275], [246.7626, 103.7141], [224.6714, 128.9650], [201.7161, 139.2462], [245.2655, 141.8570]]


def test_the_face_and_its_points_are_where_pytorch_has_them():
    boxes, scores, points, stages = EXAMPLE["find"](EXAMPLE["load"](FOLDER), data.astronaut())
    np.testing.assert_allclose(boxes, [BOX], atol=0.01)
    np.testing.assert_allclose(points, [POINTS], atol=0.01)
    np.testing.assert_allclose(scores, [SCORE], atol=1e-5)
    assert [len(left) for left in stages] == [142, 8, 1]


def test_no_face_in_a_page():
    page = np.repeat(data.page()[:, :, np.newaxis], 3, axis=2)
    boxes, scores, points, _ = EXAMPLE["find"](EXAMPLE["load"](FOLDER), page)
    assert boxes.shape == (0, 4) and scores.shape == (0,) and points.shape == (0, 5, 2)


def test_draws_a_picture(tmp_path, monkeypatch):
    picture = tmp_path / "picture.png"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(picture), "--weights", str(FOLDER)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert colours(imread(picture)) > 1000
