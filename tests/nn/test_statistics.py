"""Normalising layers wherever numbers may lie: far from zero, all alike, huge, tiny, infinite."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from cases import pairs
from convkit import nn

MOST = float(np.finfo(np.float32).max)


class Kind(NamedTuple):
    """A layer, the shape of its input, a shape that splits it by what is normalised together, the axes of that, and the
    axes of the input that the weight has not.
    """

    build: Callable[..., nn.Module]
    shape: tuple[int, ...]
    split: tuple[int, ...]
    axes: tuple[int, ...]
    summed: tuple[int, ...]


def of(kind, *args, **options):
    return lambda **more: kind(*args, **options, **more)


KINDS = {
    "batch1d": Kind(of(nn.BatchNorm1d, 3), (40, 3), (40, 3), (0,), (0,)),
    "batch1d_length": Kind(of(nn.BatchNorm1d, 3), (2, 3, 1500), (2, 3, 1500), (0, 2), (0, 2)),
    "batch2d": Kind(of(nn.BatchNorm2d, 3), (3, 3, 32, 33), (3, 3, 32, 33), (0, 2, 3), (0, 2, 3)),
    "batch2d_last": Kind(of(nn.BatchNorm2d, 3, layout="NHWC"), (3, 32, 33, 3), (3, 32, 33, 3), (0, 1, 2), (0, 1, 2)),
    "batch3d": Kind(of(nn.BatchNorm3d, 2), (2, 2, 3, 4, 5), (2, 2, 3, 4, 5), (0, 2, 3, 4), (0, 2, 3, 4)),
    "group": Kind(of(nn.GroupNorm, 2, 4), (2, 4, 23, 31), (2, 2, 2, 23, 31), (2, 3, 4), (0, 2, 3)),
    "layer": Kind(of(nn.LayerNorm, (4, 170)), (5, 4, 170), (5, 4, 170), (1, 2), (0,)),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)

# offset, unit, eps: x is offset + unit * a whole number from -8 to 8, which the dtype holds exactly.
PLACES = [
    *(("float32", *place) for place in (
        (0, 1, 1e-5), (1000, 2.0**-10, 1e-5), (-1000, 2.0**-13, 1e-12), (1e6, 2.0**-4, 1e-5),
        (2.0**123, 2.0**103, 1e-5), (0, 2.0**100, 1e-5), (0, 2.0**124, 1e-5), (0, 2.0**-20, 1e-5), (0, 2.0**-120, 0),
    )),
    *(("float64", *place) for place in (
        (0, 1, 1e-5), (1000, 2.0**-40, 1e-5), (1e9, 2.0**-22, 1e-20), (-(2.0**1000), 2.0**960, 1e-5),
        (0, 2.0**664, 1e-5), (0, 2.0**1020, 1e-5), (0, 2.0**-20, 1e-5), (0, 2.0**-664, 0), (0, 2.0**-664, 1e-5),
    )),
]  # fmt: skip


def definition(whole, grad, root, axes):
    """xhat of whole numbers and the gradient of them, in float64, which holds their sums exactly; root is eps's."""
    centred = whole - whole.mean(axes, keepdims=True)
    inv_std = 1 / np.hypot(centred.std(axes, keepdims=True), root)
    xhat = centred * inv_std
    mean, product = grad.mean(axes, keepdims=True), (grad * xhat).mean(axes, keepdims=True)
    return xhat, inv_std * (grad - mean - xhat * product)


@pairs("kind, place", KINDS, PLACES)
def test_the_same_wherever_the_values_lie(kind, place):
    """To a few units in the last place of the result, where a mean or a square in the dtype has no digit of it left."""
    kind, (dtype, offset, unit, eps) = KINDS[kind], place
    rng = np.random.default_rng(0)
    whole, grad = rng.integers(-8, 9, kind.split).astype(float), rng.integers(-8, 9, kind.split) / 8
    xhat, dx = definition(whole, grad, eps**0.5 / unit, kind.axes)
    layer = kind.build(eps=eps, dtype=dtype)
    ulp = np.finfo(dtype).eps * (1 if dtype == "float32" else 4)  # which has nothing wider to add up in
    y = layer((offset + unit * whole).astype(dtype).reshape(kind.shape))
    np.testing.assert_allclose(y, xhat.reshape(kind.shape), rtol=8 * ulp, atol=8 * ulp * np.abs(xhat).max())
    got = layer.backward(grad.astype(dtype).reshape(kind.shape))
    bound = 16 * ulp * np.abs(dx).max() / unit + np.finfo(dtype).smallest_subnormal
    np.testing.assert_allclose(got, dx.reshape(kind.shape) / unit, rtol=16 * ulp, atol=bound)
    summed, axes = (xhat * grad).reshape(kind.shape), kind.summed
    np.testing.assert_allclose(
        layer.weight.grad, summed.sum(axes), rtol=8 * ulp, atol=8 * ulp * np.abs(summed).sum(axes).max()
    )


CONSTANTS = [
    *(("float32", v) for v in (127.3, 777.7, 1e6 + 0.7, -1e30, MOST, 1e-40)),
    *(("float64", v) for v in (0.1, 1e6 + 0.7, -1e200, 1.7e308)),
]


@pairs("kind, constant", KINDS, CONSTANTS)
def test_a_constant_becomes_the_bias(kind, constant):
    kind, (dtype, value) = KINDS[kind], constant
    layer, x = kind.build(dtype=dtype), np.full(kind.shape, value, dtype)
    layer.bias.data[...] = np.linspace(-1, 2, layer.bias.size).reshape(layer.bias.shape)
    y = layer(x)
    layer.weight.data[...] = 0
    np.testing.assert_array_equal(y, layer(x))
    layer.weight.data[...] = 1
    layer(x)
    grad = np.random.default_rng(0).integers(-8, 9, kind.split).astype(dtype)
    centred = grad - grad.astype(np.float64).mean(kind.axes, keepdims=True)
    dx = layer.backward(grad.reshape(kind.shape)).reshape(kind.split)
    np.testing.assert_allclose(dx, centred / np.sqrt(1e-5), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("side", [2, 7, 28, 100, 333])
def test_a_constant_of_any_size_of_plane(side):
    layer = nn.BatchNorm2d(1, momentum=1.0)
    assert not layer(np.full((3, 1, side, side), 127.3, np.float32)).any()
    assert layer.running_mean.data[0] == np.float32(127.3) and layer.running_var.data[0] == 0


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_statistics_of_large_planes_far_from_zero(layout):
    shape, axes = ((1, 2, 700, 1000), (0, 2, 3)) if layout == "NCHW" else ((1, 700, 1000, 2), (0, 1, 2))
    x = (1000.3 + np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    layer = nn.BatchNorm2d(2, momentum=1.0, layout=layout)
    layer(x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(layer.running_mean.data, exact.mean(axes), rtol=1.2e-7)
    np.testing.assert_allclose(layer.running_var.data, exact.var(axes, ddof=1), rtol=1e-6)


# ---------------------------------------------------------------- running statistics


@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e30), ("float64", 1e200)])
def test_a_running_variance_beyond_the_dtype_is_its_largest_number_and_comes_down(dtype, size):
    most = np.finfo(dtype).max
    layer = nn.BatchNorm1d(2, momentum=1.0, dtype=dtype)
    x = np.random.default_rng(0).standard_normal((9, 2)).astype(dtype)
    layer(x * np.array([size, 1], dtype))
    np.testing.assert_array_equal(layer.running_var.data[0], most)
    np.testing.assert_allclose(layer.running_mean.data, x.mean(axis=0) * [size, 1], rtol=1e-5)
    layer.momentum = 0.5
    for _ in range(3):
        layer(x * np.array([size, 1], dtype))
    np.testing.assert_allclose(layer.running_var.data, [most, x[:, 1].var(ddof=1)], rtol=1e-5)
    layer(x)
    np.testing.assert_allclose(layer.running_var.data[0], most / 2)
    layer.running_var.data[0] = np.inf  # as a file may have it
    layer(x)
    np.testing.assert_allclose(layer.running_var.data[0], most / 2)


@pytest.mark.parametrize(
    ("mean", "var", "x", "y"),
    [
        (0, MOST, 1e30, 1e30 / MOST**0.5),
        (1000, 1e-6, 1000 + 2.0**-10, 2.0**-10 / (1e-6 + 1e-5) ** 0.5),
        (-MOST, MOST, MOST, 2 * (MOST + 0.0) / MOST**0.5),
        (1e30, 0, 1e30, 0),
        (0, np.inf, 5, 0),
        (0, 1e-45, 1, 1 / 1e-5**0.5),
        (0, np.nan, 1, np.nan),
    ],
)
def test_evaluation_by_extreme_statistics(mean, var, x, y):
    """In one channel; the other, and single values, are as ever."""
    layer = nn.BatchNorm1d(2).eval()
    layer.running_mean.data[0], layer.running_var.data[0] = mean, var
    got = layer(np.array([[x, 3]], np.float32))
    np.testing.assert_allclose(got, [[y, 3 / (1 + 1e-5) ** 0.5]], rtol=1e-6)
    dx = layer.backward(np.ones((1, 2), np.float32))
    np.testing.assert_allclose(dx, [[1 / (np.float64(var) + 1e-5) ** 0.5, 1 / (1 + 1e-5) ** 0.5]], rtol=1e-6)


# ---------------------------------------------------------------- what is not finite


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pairs("kind, bad", KINDS, [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_where_it_is_normalised_and_makes_no_warning(kind, dtype, bad):
    kind = KINDS[kind]
    rng = np.random.default_rng(0)
    x, grad = (rng.standard_normal(kind.split).astype(dtype) for _ in range(2))
    clean, layer = kind.build(dtype=dtype), kind.build(dtype=dtype)
    y, dx = clean(x.reshape(kind.shape)), clean.backward(grad.reshape(kind.shape))
    x[(0,) * x.ndim] = bad
    got, got_dx = layer(x.reshape(kind.shape)), layer.backward(grad.reshape(kind.shape))
    touched = np.isnan(x - x.mean(kind.axes, keepdims=True)) if np.isnan(bad) else None
    hit = np.zeros(kind.split, bool)
    hit[tuple(slice(None) if axis in kind.axes else slice(1) for axis in range(x.ndim))] = True
    assert touched is None or (touched == hit).all()
    for one, two in ((got, y), (got_dx, dx)):
        one, two = one.reshape(kind.split), two.reshape(kind.split)
        assert np.isnan(one[hit]).all()
        np.testing.assert_array_equal(one[~hit], two[~hit])
    if hasattr(layer, "running_mean"):
        for name in ("running_mean", "running_var"):
            one, two = getattr(layer, name).data, getattr(clean, name).data
            assert not np.isfinite(one[0]) and np.array_equal(one[1:], two[1:])


def test_a_gradient_that_is_not_finite_stays_where_statistics_are_constants():
    layer = nn.BatchNorm2d(2).eval()
    layer(np.ones((1, 2, 3, 3), np.float32))
    grad = np.ones((1, 2, 3, 3), np.float32)
    grad[0, 0, 1, 1] = np.inf
    dx = layer.backward(grad)
    assert np.isinf(dx[0, 0, 1, 1]) and np.isfinite(dx).sum() == dx.size - 1


@every_kind
def test_nothing_at_all(kind):
    """No samples; and, where they may have none, samples of no values."""
    shapes = [(0, *kind.shape[1:])]
    if not isinstance(kind.build(), nn.LayerNorm) and len(kind.shape) > 2:
        last = getattr(kind.build(), "channel_last", False)
        shapes.append((2, 0, *kind.shape[2:]) if last else (*kind.shape[:2], *(0,) * (len(kind.shape) - 2)))
    for shape in shapes:
        layer = kind.build()
        y = layer(np.zeros(shape, np.float32))
        assert y.shape == layer.backward(y).shape == shape
        assert not layer.weight.grad.any() and (getattr(layer, "running_var", layer.weight).data == 1).all()
