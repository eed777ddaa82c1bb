"""Anchors: how many, where, and how large."""

import numpy as np
import pytest

from convkit import models


def areas_and_ratios(boxes):
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    return width * height, height / width


def test_fifteen_anchors_of_a_pyramid():
    levels = models.pyramid_anchors((256, 320))
    assert [len(boxes) for boxes in levels] == [3 * h * w for h, w in [(64, 80), (32, 40), (16, 20), (8, 10), (4, 5)]]
    for size, boxes in zip((32, 64, 128, 256, 512), levels, strict=True):
        area, ratio = areas_and_ratios(boxes)
        np.testing.assert_allclose(np.sqrt(area), size, rtol=0.02)  # sides are rounded to whole pixels
        np.testing.assert_allclose(ratio[:3], (0.5, 1, 2), rtol=0.06)
    assert len({tuple(box) for boxes in levels for box in boxes[:3]}) == 15


def test_nine_anchors_a_cell_of_retinanet():
    levels = models.retinanet_anchors((256, 320))
    assert [len(boxes) for boxes in levels] == [9 * h * w for h, w in [(32, 40), (16, 20), (8, 10), (4, 5), (2, 3)]]
    for size, boxes in zip((32, 64, 128, 256, 512), levels, strict=True):
        area, ratio = areas_and_ratios(boxes[:9])
        octaves = np.tile(size * 2 ** (np.arange(3) / 3), 3)
        np.testing.assert_allclose(np.sqrt(area), octaves, rtol=0.03)
        np.testing.assert_allclose(ratio, np.repeat((0.5, 1, 2), 3), rtol=0.06)


def test_anchors_stand_row_by_row_at_the_stride():
    boxes = models.pyramid_anchors((32, 48), dtype="float64")[0]
    assert boxes.dtype == np.float64
    centres = ((boxes[:, :2] + boxes[:, 2:]) / 2).reshape(8, 12, 3, 2)
    np.testing.assert_array_equal(centres, np.broadcast_to(centres[:, :, :1], centres.shape))
    np.testing.assert_array_equal(centres[2, 5, 0], (5 * 4, 2 * 4))


def test_one_cell_by_hand():
    np.testing.assert_array_equal(
        models.cell_anchors([16, 32], [1, 4]),
        [[-8, -8, 8, 8], [-16, -16, 16, 16], [-4, -16, 4, 16], [-8, -32, 8, 32]],
    )
    moved = models.grid_anchors((20, 30), [(2, 3)], [models.cell_anchors([4], [1])])
    np.testing.assert_array_equal(moved[0][:, :2] + 2, [(0, 0), (10, 0), (20, 0), (0, 10), (10, 10), (20, 10)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.cell_anchors([]), r"sizes must be one or several positive numbers, got \[\]"),
        (lambda: models.cell_anchors([8, 0]), "sizes must be"),
        (lambda: models.cell_anchors([8], [-1]), "ratios must be"),
        (lambda: models.grid_anchors((8, 8), [(2, 2)], []), "cells must be one for each of the 1 map_sizes, got 0"),
        (lambda: models.pyramid_anchors((0, 8)), "image_size must be at least 1"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
