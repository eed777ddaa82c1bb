"""Colour against Python's own colorsys, by hand, and there and back."""

import colorsys

import numpy as np
import pytest

from convkit import data


def colours():
    """A few hundred colours as a picture, the corners of the cube and greys among them."""
    steps = np.linspace(0, 1, 6)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=0).reshape(3, -1)
    return np.concatenate([cube, np.random.default_rng(0).random((3, 184))], axis=1).reshape(3, 20, 20)


def test_named_colours():
    names = {
        (1, 0, 0): (0, 1, 0.5),
        (1, 1, 0): (1 / 6, 1, 0.5),
        (0, 1, 0): (1 / 3, 1, 0.5),
        (0, 0, 1): (2 / 3, 1, 0.5),
        (0, 0, 0): (0, 0, 0),
        (1, 1, 1): (0, 0, 1),
        (0.5, 0.5, 0.5): (0, 0, 0.5),
        (0.75, 0.25, 0.25): (0, 0.5, 0.5),
    }
    for rgb, hsl in names.items():
        got = data.rgb_to_hsl(np.array(rgb, np.float64).reshape(3, 1, 1)).ravel()
        np.testing.assert_allclose(got, hsl, atol=1e-15)


def test_as_colorsys_has_it():
    rgb = colours()
    hls = np.array([colorsys.rgb_to_hls(*colour) for colour in rgb.reshape(3, -1).T]).T.reshape(rgb.shape)
    hsl = data.rgb_to_hsl(rgb)
    np.testing.assert_allclose(hsl, hls[[0, 2, 1]], atol=1e-14)
    back = np.array([colorsys.hls_to_rgb(*colour) for colour in hls.reshape(3, -1).T]).T.reshape(rgb.shape)
    np.testing.assert_allclose(data.hsl_to_rgb(hsl), back, atol=1e-14)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
def test_there_and_back(dtype, tolerance):
    rgb = np.stack([colours(), colours()[::-1]]).astype(dtype)
    hsl = data.rgb_to_hsl(rgb)
    back = data.hsl_to_rgb(hsl)
    assert hsl.dtype == back.dtype == dtype and hsl.shape == rgb.shape
    assert hsl.min() >= 0 and hsl.max() <= 1 and hsl[:, 0].max() < 1
    np.testing.assert_allclose(back, rgb, atol=tolerance)


def test_a_hue_a_hair_below_a_full_turn():
    rgb = np.array([1, 0, np.finfo(np.float32).tiny], np.float32).reshape(3, 1, 1)
    assert data.rgb_to_hsl(rgb)[0] == 0


def test_hue_goes_round():
    rgb = colours()
    hsl = data.rgb_to_hsl(rgb)
    hsl[0] += np.random.default_rng(0).integers(-2, 3, hsl[0].shape)
    np.testing.assert_allclose(data.hsl_to_rgb(hsl), rgb, atol=1e-14)


def test_grayscale():
    x = np.zeros((2, 3, 2, 2), np.float32)
    x[0, 0], x[1, 1], x[:, 2, 1] = 1, 1, 1
    expected = np.array([[[0.299, 0.299], [0.413, 0.413]], [[0.587, 0.587], [0.701, 0.701]]], np.float32)
    y = data.grayscale(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected[:, np.newaxis], rtol=1e-6)
    np.testing.assert_allclose(data.grayscale(np.full((3, 4, 5), 0.25)), np.full((1, 4, 5), 0.25), rtol=1e-15)


@pytest.mark.parametrize("function", [data.grayscale, data.rgb_to_hsl, data.hsl_to_rgb])
def test_bad_input(function):
    for shape in ((1, 8, 8), (2, 4, 8, 8), (3, 8)):
        with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 3, H, W\), got shape"):
            function(np.zeros(shape))
    with pytest.raises(TypeError, match="x must be float32 or float64, got dtype uint8"):
        function(np.zeros((3, 8, 8), np.uint8))
    assert function(np.zeros((0, 3, 8, 8))).shape[0] == 0
