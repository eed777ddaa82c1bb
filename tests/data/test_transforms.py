"""Shifting images."""

import numpy as np
import pytest

from convkit import data


def by_hand(image, down, right):
    moved = np.zeros_like(image)
    height, width = image.shape[1:]
    for i in range(height):
        for j in range(width):
            if 0 <= i - down < height and 0 <= j - right < width:
                moved[:, i, j] = image[:, i - down, j - right]
    return moved


def test_every_image_moves_by_at_most_a_pixel_and_all_nine_ways_occur():
    x = np.random.default_rng(0).random((200, 2, 4, 5)).astype(np.float32) + 1
    moved = data.shift(x, rng=1)
    assert moved.shape == x.shape and moved.dtype == x.dtype
    ways = {(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
    seen = set()
    for before, after in zip(x, moved, strict=True):
        (way,) = [way for way in ways if np.array_equal(by_hand(before, *way), after)]
        seen.add(way)
    assert seen == ways


def test_by_no_pixels_it_is_a_copy():
    x = np.ones((2, 1, 3, 3), np.float32)
    moved = data.shift(x, 0)
    np.testing.assert_array_equal(moved, x)
    assert not np.shares_memory(moved, x)


def test_one_seed_one_result():
    x = np.random.default_rng(0).random((20, 1, 8, 8))
    np.testing.assert_array_equal(data.shift(x, 2, rng=3), data.shift(x, 2, rng=3))
    assert data.shift(x[:0], rng=3).shape == (0, 1, 8, 8)


def test_bad_input():
    with pytest.raises(ValueError, match=r"x must have shape \(N, C, H, W\), got shape \(8, 8\)"):
        data.shift(np.zeros((8, 8)))
    with pytest.raises(ValueError, match="pixels must be at least 0, got -1"):
        data.shift(np.zeros((1, 1, 8, 8)), -1)
