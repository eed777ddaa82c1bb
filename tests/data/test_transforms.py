"""Shifting, cropping, mirroring, turning and slanting images."""

import numpy as np
import pytest
import scipy.ndimage

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


def test_every_window_is_cut_and_is_the_images_own():
    x = np.arange(300 * 2 * 3 * 4, dtype=np.float32).reshape(300, 2, 3, 4)
    y = data.crop(x, (2, 3), rng=0)
    assert y.shape == (300, 2, 2, 3) and y.dtype == np.float32
    seen = set()
    for before, after in zip(x, y, strict=True):
        ((top, left),) = [
            (top, left)
            for top in range(2)
            for left in range(2)
            if np.array_equal(before[:, top : top + 2, left : left + 3], after)
        ]
        seen.add((top, left))
    assert len(seen) == 4


def test_a_crop_reaches_into_the_padding():
    x = np.ones((100, 1, 2, 2))
    y = data.crop(x, 4, padding=1, rng=0)
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))))
    assert {image.sum() for image in data.crop(x, 2, padding=1, rng=0)} == {1, 2, 4}


def test_each_image_is_mirrored_or_left():
    x = np.random.default_rng(0).random((400, 1, 3, 4))
    for axis in (-1, -2):
        y = data.flip(x, axis, probability=0.25, rng=1)
        mirrored = np.array([np.array_equal(after, np.flip(before, axis)) for before, after in zip(x, y, strict=True)])
        left = np.array([np.array_equal(before, after) for before, after in zip(x, y, strict=True)])
        assert (mirrored ^ left).all() and 60 < mirrored.sum() < 140
        np.testing.assert_array_equal(data.flip(x, axis, probability=1), np.flip(x, axis))
        np.testing.assert_array_equal(data.flip(x, axis, probability=0), x)


@pytest.mark.parametrize("shape", [(4, 4), (5, 5), (3, 7)])
def test_whole_turns_are_exact_up_to_rounding(shape):
    """Counter-clockwise as NumPy's rot90; 90 degrees need a square."""
    x = np.random.default_rng(0).random((3, 2, *shape))
    np.testing.assert_allclose(data.rotate(x, 0), x, atol=1e-14)
    np.testing.assert_allclose(data.rotate(x, (180, 180)), np.rot90(x, 2, axes=(2, 3)), atol=1e-14)
    if shape[0] == shape[1]:
        for turns, angle in ((1, 90), (3, 270), (-1, -90)):
            np.testing.assert_allclose(data.rotate(x, (angle, angle)), np.rot90(x, turns, axes=(2, 3)), atol=1e-14)


def test_a_point_turns_where_geometry_says():
    """From one pixel right of the centre by 30 degrees: up and right, cos 30 and sin 30 from it."""
    x = np.zeros((1, 1, 41, 41), np.float32)
    x[0, 0, 20, 30] = 1
    y = data.rotate(x, (30, 30))[0, 0].astype(np.float64)
    rows, columns = np.mgrid[:41, :41] - 20
    mass = y.sum()
    centre = (y * columns).sum() / mass, (y * rows).sum() / mass
    np.testing.assert_allclose(centre, (10 * np.cos(np.pi / 6), -10 * np.sin(np.pi / 6)), atol=0.1)


def test_as_scipy_turns():
    x = np.random.default_rng(0).random((1, 1, 9, 9))
    expected = scipy.ndimage.rotate(x[0, 0], 33, reshape=False, order=1)
    inside = np.hypot(*(np.mgrid[:9, :9] - 4)) < 4  # SciPy's border is another one
    np.testing.assert_allclose(data.rotate(x, (33, 33))[0, 0][inside], expected[inside], atol=1e-12)


def test_every_image_turns_by_an_angle_of_its_own_within_the_bounds():
    """The middle of a long bar says by how much."""
    x = np.zeros((60, 1, 41, 41), np.float32)
    x[:, :, 20, 25:] = 1
    y = data.rotate(x, 20, rng=0)
    rows, columns = np.mgrid[:41, :41] - 20
    angles = np.degrees(np.arctan2(-(y[:, 0] * rows).sum(axis=(1, 2)), (y[:, 0] * columns).sum(axis=(1, 2))))
    assert np.abs(angles).max() <= 20.5 and angles.min() < -12 and angles.max() > 12
    assert len(np.unique(angles.round(3))) > 50
    np.testing.assert_array_equal(y, data.rotate(x, 20, rng=0))
    assert data.rotate(x[:0], 20).shape == (0, 1, 41, 41)


def centres(x):
    """Where each image's mass has its centre, right and down from the middle, ``(2, N)``."""
    x = x[:, 0].astype(np.float64)
    rows, columns = np.mgrid[: x.shape[1], : x.shape[2]] - (x.shape[1] - 1) / 2
    return np.array([(x * axis).sum(axis=(1, 2)) / x.sum(axis=(1, 2)) for axis in (columns, rows)])


@pytest.mark.parametrize(
    ("point", "options", "lo", "hi"),
    [
        ((0, 0), {"pixels": 2.5}, (-2.5, -2.5), (2.5, 2.5)),
        ((10, 8), {"scale": 0.5}, (10 / 1.5, 8 / 1.5), (15, 12)),
        ((2, 10), {"shear": 0.25}, (-0.5, 10), (4.5, 10)),
        ((10, 0), {"degrees": 10}, (9.8, -1.74), (10, 1.74)),
        ((10, 0), {"degrees": (80, 90), "pixels": 1}, (-1, -11), (2.74, -8.8)),
    ],
)
def test_a_blot_comes_to_where_it_may_and_everywhere_there(point, options, lo, hi):
    """Each image by itself, and both ways apart."""
    rows, columns = np.mgrid[:41, :41] - 20
    blot = np.exp(-((columns - point[0]) ** 2 + (rows - point[1]) ** 2) / 4)
    x = np.broadcast_to(blot.astype(np.float32), (100, 1, 41, 41))
    y = data.affine(x, **options, rng=0)
    assert y.shape == x.shape and y.dtype == x.dtype
    for places, least, most in zip(centres(y), lo, hi, strict=True):
        assert least - 0.05 < places.min() <= places.max() < most + 0.05
        if most - least > 1:
            assert np.histogram(places, 5, (least, most))[0].min() > 2
            assert len(np.unique(places.round(4))) > 95
    np.testing.assert_array_equal(y, data.affine(x, **options, rng=0))


def test_stretched_then_slanted_then_turned_then_moved():
    """As SciPy samples at the inverse of these maps, one after the other."""
    x, rng = np.random.default_rng(0).random((4, 1, 15, 15)), np.random.default_rng(1)
    options = {"degrees": 40, "pixels": 2, "scale": 0.3, "shear": 0.4}
    y = data.affine(x, **options, rng=1)
    angles, move = np.radians(rng.uniform(-40, 40, 4)), rng.uniform(-2, 2, (2, 4))
    factors, shear = 1.3 ** rng.uniform(-1, 1, (2, 4)), rng.uniform(-0.4, 0.4, 4)
    inside = np.hypot(*(np.mgrid[:15, :15] - 7)) < 3  # what comes from beside the image, SciPy finds otherwise
    for i, angle in enumerate(angles):
        turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # of (right, down)
        there = turned @ np.array([[1, shear[i]], [0, 1]]) @ np.diag(factors[:, i])
        back = np.linalg.inv(there)[::-1, ::-1]  # of (row, column)
        offset = 7 - back @ (7 + move[::-1, i])
        expected = scipy.ndimage.affine_transform(x[i, 0], back, offset, order=1)
        np.testing.assert_allclose(y[i, 0][inside], expected[inside], atol=1e-12)


def test_without_options_it_changes_nothing_and_with_degrees_alone_it_turns():
    x = np.random.default_rng(0).random((3, 2, 4, 7)).astype(np.float32)
    np.testing.assert_allclose(data.affine(x), x, atol=1e-6)
    np.testing.assert_array_equal(data.affine(x, degrees=30, rng=2), data.rotate(x, 30, rng=2))
    assert data.affine(x[:0], pixels=1).shape == (0, 2, 4, 7)


def test_several_draw_from_one_generator_in_turn():
    x = np.random.default_rng(0).random((20, 1, 5, 5))
    both = data.Compose(data.shift, data.flip)
    rng = np.random.default_rng(1)
    expected = data.flip(data.shift(x, rng=rng), rng=rng)
    np.testing.assert_array_equal(both(x, rng=1), expected)
    np.testing.assert_array_equal(data.Compose()(x), x)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: data.shift(x[0]), ValueError, r"x must have shape \(N, C, H, W\), got shape \(1, 8, 8\)"),
        (lambda x: data.flip(x[0]), ValueError, r"x must have shape \(N, C, H, W\), got shape \(1, 8, 8\)"),
        (lambda x: data.crop(x[0], 3), ValueError, r"x must have shape \(N, C, H, W\), got shape \(1, 8, 8\)"),
        (lambda x: data.shift(x, -1), ValueError, "pixels must be at least 0, got -1"),
        (lambda x: data.shift(x, 1.0), TypeError, "pixels must be an int, got 1.0"),
        (lambda x: data.crop(x, 9), ValueError, "size must be at most 8x8, the padded image's, got 9x9"),
        (lambda x: data.crop(x, (8, 11), padding=1), ValueError, "size must be at most 10x10"),
        (lambda x: data.crop(x, 0), ValueError, "size must be at least 1, got"),
        (lambda x: data.crop(x, 4, padding=-1), ValueError, "padding must be at least 0, got -1"),
        (lambda x: data.crop(x, "4"), TypeError, "size must be an int, or a tuple of ints"),
        (lambda x: data.rotate(x[0], 3), ValueError, r"x must have shape \(N, C, H, W\), got shape \(1, 8, 8\)"),
        (lambda x: data.rotate(x, -1), ValueError, "degrees must be a finite number of at least 0, or two in rising"),
        (lambda x: data.rotate(x, (2, 1)), ValueError, "degrees must be a finite number of at least 0, or two in"),
        (lambda x: data.rotate(x, float("inf")), ValueError, "degrees must be a finite number"),
        (lambda x: data.rotate(x, float("nan")), ValueError, "degrees must be a finite number"),
        (lambda x: data.rotate(x, 1, mode="cubic"), ValueError, "mode must be one of"),
        (lambda x: data.rotate(x.astype(int), 1), TypeError, "x must be float32 or float64"),
        (lambda x: data.affine(x[0]), ValueError, r"x must have shape \(N, C, H, W\), got shape \(1, 8, 8\)"),
        (lambda x: data.affine(x, degrees=(2, 1)), ValueError, "degrees must be a finite number of at least 0, or two"),
        (lambda x: data.affine(x, pixels=-1), ValueError, "pixels must be a finite number of at least 0, got -1"),
        (lambda x: data.affine(x, scale=float("inf")), ValueError, "scale must be a finite number of at least 0"),
        (lambda x: data.affine(x, shear="1"), TypeError, "shear must be a finite number of at least 0, got '1'"),
        (lambda x: data.affine(x, mode="cubic"), ValueError, "mode must be one of"),
        (lambda x: data.affine(x.astype(int)), TypeError, "x must be float32 or float64"),
        (lambda x: data.flip(x, 1), ValueError, r"axis must be -1 \(left and right\) or -2"),
        (lambda x: data.flip(x, probability=1.5), ValueError, "probability must be a number from 0 to 1, got 1.5"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call(np.zeros((1, 1, 8, 8)))
