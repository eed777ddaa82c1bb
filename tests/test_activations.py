"""Fused activations: how far off, at numbers of all sizes; at the ends; and what a backward makes of them."""

from pathlib import Path

import numpy as np
import pytest

import convkit
from cases import DTYPES

VECTORS = np.load(Path(__file__).parent / "vectors" / "activations.npz", allow_pickle=False)
FUSED = {"sigmoid": "sigmoid", "tanh": "tanh", "silu": "silu", "gelu": "gelu", "elu": ("elu", 1.0)}
FORWARD_ONLY = ("silu", "gelu", "hard_swish")
# What follows from the definition at minus infinity, minus a large number, zero, a large number and infinity.
ENDS = {
    "sigmoid": (0, 0, 0.5, 1, 1),
    "tanh": (-1, -1, 0, 1, 1),
    "silu": (0, 0, 0, 1e30, np.inf),
    "gelu": (0, 0, 0, 1e30, np.inf),
    "hard_swish": (0, 0, 0, 1e30, np.inf),
    "hard_sigmoid": (0, 0, 0.5, 1, 1),
    ("elu", 0.75): (-0.75, -0.75, 0, 1e30, np.inf),
    ("leaky_relu", 0.25): (-np.inf, -2.5e29, 0, 1e30, np.inf),
    ("clip", -2, 3): (-2, -2, 0, 3, 3),
    "relu": (0, 0, 0, 1e30, np.inf),
}


def activated(x, activation):
    """The activation alone: a convolution with 1."""
    return convkit.conv1d(x.reshape(1, 1, -1), np.ones((1, 1, 1), x.dtype), activation=activation).reshape(x.shape)


def units_off(got, exact):
    """Distance in units of the last place of what is exact, which is given to more digits than got has."""
    first, rest = exact
    ulp = np.spacing(np.abs(first).astype(got.dtype)).astype(np.float64)
    return np.abs((got.astype(np.float64) - first) - rest) / ulp


@pytest.mark.parametrize("name", FUSED)
def test_within_four_units_in_the_last_place(name, isa):
    x, exact = VECTORS["x"], (VECTORS[f"{name}/0"], VECTORS[f"{name}/1"])
    assert units_off(activated(x, FUSED[name]), exact).max() <= 4
    # In float32 at every number of a fine grid, against the reference, which float64 makes exact enough.
    x = np.concatenate([np.linspace(-110, 110, 1 << 16), np.geomspace(1e-45, 1, 4096)]).astype(np.float32)
    exact = convkit.reference.conv1d(x.reshape(1, 1, -1), np.ones((1, 1, 1), x.dtype), activation=FUSED[name])
    assert units_off(activated(x, FUSED[name]), (exact.ravel(), 0)).max() <= 4


@pytest.mark.parametrize("name", ("hard_swish", "hard_sigmoid"))
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_hard_ones_are_near_zero_as_exact_as_anywhere(name, dtype, isa):
    x = (-3 + np.concatenate([np.linspace(-1, 7, 4001), np.geomspace(1e-6, 1, 999)])).astype(dtype)
    exact = convkit.reference.conv1d(x.reshape(1, 1, -1), np.ones((1, 1, 1), dtype), activation=name).ravel()
    assert units_off(activated(x, name), (exact, 0)).max() <= 4


@pytest.mark.parametrize("activation", ENDS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_ends_and_nan(activation, dtype, isa):
    x = np.array([-np.inf, -1e30, 0, 1e30, np.inf, np.nan], dtype)
    expected = np.array([*ENDS[activation], np.nan]).astype(dtype)
    np.testing.assert_array_equal(activated(x, activation), expected)
    one = np.ones((1, 1, 1), dtype)
    reference = convkit.reference.conv1d(x.reshape(1, 1, -1), one, activation=activation).ravel()
    np.testing.assert_array_equal(reference.astype(dtype), expected)


def test_a_sum_of_minus_zero_is_stored_as_zero(isa):
    """Whichever way it takes: no bias, none of the padding, an activation that keeps zero."""
    x, weight = np.full((1, 3, 4, 20), -0.0, np.float32), np.ones((20, 3, 1, 1), np.float32)
    for activation in (None, "relu", ("clip", -1, 1), "tanh", ("leaky_relu", 0.1)):
        for layout in ("NCHW", "NHWC"):
            images = x if layout == "NCHW" else x.transpose(0, 2, 3, 1)
            assert not np.signbit(convkit.conv2d(images, weight, activation=activation, layout=layout)).any()
    assert not np.signbit(convkit.conv_transpose2d(x, weight.transpose(1, 0, 2, 3), stride=2)).any()
    for activation in (*FORWARD_ONLY, ("leaky_relu", 0), ("elu", 0)):
        assert not np.signbit(activated(np.full(40, -1000.0), activation)).any()


def test_bounds_of_zero_have_no_sign():
    """Those of both signs are equal: one may be kept from an earlier call in place of the other."""
    x = np.array([-1.0, 1.0])
    for zero in (0.0, -0.0):
        for activation in (("clip", zero, 2.0), ("clip", -2.0, zero), ["clip", zero, 2.0]):
            got = activated(x, activation)
            assert not np.signbit(got[got == 0]).any(), activation


@pytest.mark.parametrize("activation", FORWARD_ONLY)
def test_a_backward_refuses_what_is_no_function_of_the_result(activation):
    x, weight, offset = np.ones((1, 2, 4, 4)), np.ones((2, 2, 1, 1)), np.zeros((1, 2, 4, 4))
    message = f'activation must be None, "relu", .* in a backward call, got {activation!r}, .* apply it apart'
    for backward, arguments in (
        (convkit.conv2d_backward, (x, x, weight)),
        (convkit.conv_transpose2d_backward, (x, x, weight)),
        (convkit.deform_conv2d_backward, (x, x, offset, weight)),
        (convkit.linear_backward, (x[0, 0], x[0, 0], np.ones((4, 4)))),
    ):
        with pytest.raises(ValueError, match=message):
            backward(*arguments, activation=activation, y=arguments[0])
        reference = getattr(convkit.reference, backward.__name__)
        with pytest.raises(ValueError, match=message):
            reference(*arguments, activation=activation, y=arguments[0])


@pytest.mark.parametrize("activation", ["relu", ("leaky_relu", 0), ("clip", -1, 1), "hard_sigmoid"], ids=str)
def test_where_the_slope_is_zero_an_infinite_gradient_is_too(activation, isa):
    y = np.array([[[-1.0, 0.0, 1.0, 0.5]]])
    grads = convkit.conv1d_backward(
        np.full_like(y, np.inf), y, np.ones((1, 1, 1)), activation=activation, y=y, need="x"
    )
    inside = {("clip", -1, 1): (y > -1) & (y < 1), "hard_sigmoid": (y > 0) & (y < 1)}
    passes = inside.get(activation, y > 0)
    np.testing.assert_array_equal(grads.x, np.where(passes, np.inf, 0))
