"""Sums over channels and maps of them, in every arrangement: values adjacent, channels adjacent, small planes."""

import itertools

import numpy as np
import pytest

import convkit
from cases import DTYPES
from convkit.ops import _channels

SHAPES = (
    (3, 5, 1000), (1, 1, 65600), (4, 7, 9), (600, 3, 1), (5, 1, 128), (1, 40, 131), (9, 100, 4), (1, 600, 5),
    (150, 33, 3), (2, 2, 3), (1, 1, 1), (3, 41, 17), (200, 150, 1), (2100, 2, 16),
)  # fmt: skip


def numbers(channels, dtype, rng):
    """A map's four numbers; the scale is a power of two, as it has to be."""
    drawn = rng.standard_normal((3, channels)).astype(dtype)
    return _channels.Map(np.exp2(rng.integers(-2, 3, channels)).astype(dtype), *drawn)


def layouts(array):
    """(n, c, l) with values adjacent, with channels adjacent, and a view of which neither is."""
    yield array
    yield np.ascontiguousarray(array.swapaxes(1, 2)).swapaxes(1, 2)
    spread = np.empty((*array.shape, 2), array.dtype)
    spread[..., 0] = array
    yield spread[..., 0]


def scarcely(got, terms, off):
    """Whether sums are those of the terms to the rounding of float64, and of what each term may be off."""
    bound = 1e-13 * np.abs(terms).sum((0, 2)) + np.broadcast_to(off, terms.shape).sum((0, 2))
    return (np.abs(got - terms.sum((0, 2))) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_numpy(shape, dtype, isa):
    rng = np.random.default_rng(0)
    values, slopes = rng.standard_normal((2, *shape)).astype(dtype)
    by, uvw = numbers(shape[1], dtype, rng), rng.standard_normal((3, shape[1])).astype(dtype)
    scale, shift, slope, add, u, v, w = (number.astype(np.float64)[:, np.newaxis] for number in (*by, *uvw))
    d, g, unit = values * scale - shift, slopes.astype(np.float64), float(np.finfo(dtype).eps)
    xhat, size = d * slope + add, (np.abs(values * scale) + np.abs(shift)) * np.abs(slope) + np.abs(add)
    for x, grad, out in itertools.product(layouts(values), layouts(slopes), (np.empty_like(values),)):
        one, two = _channels.moments(x, by.scale, by.shift).T
        assert scarcely(one, d, 0) and scarcely(two, d * d, 0)
        one, two = _channels.gradient_sums(grad, x, by).T
        assert scarcely(one, g, 0) and scarcely(two, g * xhat, 2 * unit * np.abs(g) * size)
        _channels.apply(x, by, out)
        assert (np.abs(out - xhat) <= 2 * unit * size).all()
        _channels.gradient(grad, x, by, *uvw, out)
        bound = 4 * unit * (size * np.abs(v) + np.abs(g * u) + np.abs(w))
        assert (np.abs(out - (g * u + xhat * v + w)) <= bound).all()


def in_parts(planes):
    """Sums where values are adjacent: 16 at a time onto 16 sums, an image's last few onto the last; then halves."""
    n, c, length = planes.shape
    whole = length // 16 * 16
    groups = np.zeros((n, -(-length // 16), c, 16))
    groups[:, : whole // 16] = planes[..., :whole].reshape(n, c, -1, 16).swapaxes(1, 2)
    if length > whole:
        groups[:, -1, :, whole - length :] = planes[..., whole:]
    parts = in_order(groups.reshape(-1, c, 16))
    while parts.shape[1] > 1:
        first, second = np.split(parts, 2, axis=1)
        parts = first + second
    return parts[:, 0]


def in_chunks(planes):
    """Sums where channels are: of chunks of rows, about 32768 values each."""
    rows = planes.swapaxes(1, 2).reshape(-1, planes.shape[1])
    chunks = rows.size // 32768
    ends = [len(rows) * k // chunks for k in range(chunks + 1)]
    return in_order([in_order(rows[first:end]) for first, end in itertools.pairwise(ends)])


def in_order(terms):
    """Each added to those before it."""
    return np.cumsum(terms, axis=0)[-1]


@pytest.mark.parametrize(
    ("shape", "model"),
    [((3, 5, 1000), in_parts), ((2, 3, 37), in_parts), ((2100, 2, 16), in_parts), ((700, 100, 1), in_chunks),
     ((4, 40, 900), in_chunks)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)  # fmt: skip
def test_sums_are_of_the_parts_that_the_shape_says(shape, model, isa):
    values = np.random.default_rng(4).standard_normal(shape)
    x, zeros = np.ascontiguousarray(values.swapaxes(1, 2)).swapaxes(1, 2), np.zeros(shape[1])
    x, expected = x if model is in_chunks else values, model(values)
    assert (expected != in_order(values.swapaxes(1, 2).reshape(-1, shape[1]))).any()  # another order would show
    for threads in (1, 3):
        with convkit.threads(threads):
            np.testing.assert_array_equal(_channels.moments(x, zeros + 1, zeros)[:, 0], expected)
            by = _channels.Map(zeros + 1, zeros, zeros + 1, zeros)
            np.testing.assert_array_equal(_channels.gradient_sums(x, x, by)[:, 0], expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_results_go_where_they_belong(shape):
    values = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    by = numbers(shape[1], np.float32, np.random.default_rng(3))
    expected = np.empty_like(values)
    _channels.apply(values, by, expected)
    for out in layouts(np.empty_like(values)):
        _channels.apply(values, by, out)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits_do_not_depend_on_threads(shape):
    rng = np.random.default_rng(1)
    values, slopes = rng.standard_normal((2, *shape)).astype(np.float32)
    by = numbers(shape[1], np.float32, rng)
    for x in layouts(values):
        found = set()
        for threads in (1, 2, 7):
            with convkit.threads(threads):
                found.add(
                    (
                        _channels.moments(x, by.scale, by.shift).tobytes(),
                        _channels.gradient_sums(slopes, x, by).tobytes(),
                    )
                )
        assert len(found) == 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_constant_has_no_deviation_and_one_bad_channel_touches_no_other(shape):
    x, one = np.full(shape, 0.1, np.float32), np.ones(shape[1], np.float32)
    assert not _channels.moments(x, one, x[0, :, 0]).any()
    bad = x.copy()
    bad[0, 0, -1] = np.inf
    by = _channels.Map(one, 0 * one, one, 0 * one)
    for sums in (_channels.moments(bad, one, 0 * one), _channels.gradient_sums(bad, x, by)):
        assert not np.isfinite(sums[0]).any() and np.isfinite(sums[1:]).all()
