"""Sizes by counting: which windows there are, and what each covers, found by walking along an axis.

`convkit.reference` takes its sizes from where the operators take theirs; here both are held to lists of positions.
Of ones, a convolution by ones counts the taps that a window has in the image, so values say where it lies as well.
"""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import convkit

MODULES = (convkit, convkit.reference)


def some(name, *quick, rest):
    """Parametrise a test by sizes, of which the rest are thorough."""
    return pytest.mark.parametrize(name, (*quick, *(pytest.param(v, marks=pytest.mark.thorough) for v in rest)))


def windows(size, kernel, stride, dilation, lo, hi):
    """The taps of each window that lies in the padded axis, an element at 0 being the image's first."""
    starts = range(-lo, size + hi, stride)
    every = [[start + dilation * tap for tap in range(kernel)] for start in starts]
    return [taps for taps in every if taps[-1] < size + hi]


def inside(taps, size):
    """How many of these positions the image has."""
    return sum(0 <= tap < size for tap in taps)


def counts(size, kernel, stride=1, dilation=1, lo=0, hi=0):
    """What a convolution of ones by ones gives along an axis."""
    return [inside(taps, size) for taps in windows(size, kernel, stride, dilation, lo, hi)]


def same(size, kernel, stride, dilation, upper):
    """(lo, hi) of padding "same": the least that gives size / stride windows, rounded up."""
    wanted = math.ceil(Fraction(size, stride))
    total = next(pad for pad in itertools.count() if len(windows(size, kernel, stride, dilation, 0, pad)) >= wanted)
    less, more = total // 2, total - total // 2
    return (less, more) if upper else (more, less)


def ones(*sizes):
    return np.ones((1, 1, *sizes))


def assert_values(name, expected, *arguments, **options):
    """Fail unless the operator and its reference give these values, and so have this shape."""
    for module in MODULES:
        got = getattr(module, name)(*arguments, **options)[0, 0]
        assert np.array_equal(got, expected), f"{module.__name__}.{name}, {options}: {got} is not {expected}"


# ---------------------------------------------------------------- convolution and columns


@some("size", 2, 5, rest=(1, 3, 8))
def test_windows(size):
    for kernel, stride, dilation, lo, hi in itertools.product((1, 2, 3), (1, 2, 5), (1, 2), (0, 1, 3), (0, 2)):
        expected = counts(size, kernel, stride, dilation, lo, hi)
        if not expected:
            continue  # refused: the kernel does not fit
        options = {"stride": stride, "padding": ((lo, hi),), "dilation": dilation}
        assert_values("conv1d", expected, ones(size), ones(kernel), **options)
        for module in MODULES:
            cols = module.im2col(ones(size), (kernel,), **options)
            assert cols.shape == (1, kernel, len(expected))
            assert np.array_equal(cols[0].sum(axis=0), expected)
            assert module.col2im(cols, (size,), (kernel,), **options).shape == (1, 1, size)


@some("stride", 3, rest=(1, 2, 4))
def test_paddings_by_name(stride):
    for size, kernel, dilation in itertools.product((1, 2, 3, 6, 7), (1, 2, 3, 5), (1, 2)):
        reach = dilation * (kernel - 1)
        named = {"full": (reach, reach), "same": same(size, kernel, stride, dilation, True)}
        named |= {"same_upper": named["same"], "same_lower": same(size, kernel, stride, dilation, False)}
        if reach < size:
            named["valid"] = (0, 0)
        for padding, (lo, hi) in named.items():
            expected = counts(size, kernel, stride, dilation, lo, hi)
            options = {"stride": stride, "padding": padding, "dilation": dilation}
            assert_values("conv1d", expected, ones(size), ones(kernel), **options)


def test_axes_are_independent():
    axes = ((7, 3, 2, 1, 1, 2), (9, 2, 1, 3, 0, 1), (6, 4, 3, 1, 2, 0))
    for nd, order in itertools.product((1, 2, 3), itertools.permutations(axes)):
        size, kernel, stride, dilation, lo, hi = zip(*order[:nd], strict=True)
        expected = np.ones(())
        for axis in order[:nd]:
            expected = np.multiply.outer(expected, counts(*axis))
        options = {"stride": stride, "padding": tuple(zip(lo, hi, strict=True)), "dilation": dilation}
        assert_values(f"conv{nd}d", expected, ones(*size), ones(*kernel), **options)


# ---------------------------------------------------------------- transposed convolution


def spread(size, kernel, stride, dilation):
    """How many products fall on each position of an output that nothing has been cropped from."""
    at = [i * stride + tap * dilation for i in range(size) for tap in range(kernel)]
    return [at.count(position) for position in range(max(at) + 1)]


@some("stride", 2, rest=(1, 3))
def test_transposed(stride):
    for size, kernel, dilation, lo, hi in itertools.product((1, 2, 4), (1, 2, 3), (1, 2), (0, 1, 3), (0, 2)):
        whole = spread(size, kernel, stride, dilation)
        options = {"stride": stride, "padding": ((lo, hi),), "dilation": dilation}
        for added in range(max(stride, dilation)):
            expected = (whole + [0] * added)[lo : len(whole) - hi + added]
            if len(whole) - lo - hi + added < 1:
                continue  # refused: nothing would be left
            assert_values("conv_transpose1d", expected, ones(size), ones(kernel), **options, output_padding=added)
            if expected and len(whole) - lo - hi >= 1:
                sized = options | {"output_size": len(expected)}
                assert_values("conv_transpose1d", expected, ones(size), ones(kernel), **sized)


@some("stride", 2, rest=(1, 3))
def test_transposed_paddings_by_name(stride):
    """ "same" gives size * stride: what reaches beyond is cropped in halves, what is missing is added at the end."""
    for size, kernel, dilation in itertools.product((1, 2, 3, 5), (1, 2, 3, 4), (1, 2)):
        whole = spread(size, kernel, stride, dilation)
        surplus = max(len(whole) - size * stride, 0)
        for name, lo in (("same", surplus // 2), ("same_upper", surplus // 2), ("same_lower", surplus - surplus // 2)):
            expected = (whole + [0] * stride)[lo : lo + size * stride]
            options = {"stride": stride, "padding": name, "dilation": dilation}
            assert_values("conv_transpose1d", expected, ones(size), ones(kernel), **options)
        options = {"stride": stride, "padding": "valid", "dilation": dilation}
        assert_values("conv_transpose1d", whole, ones(size), ones(kernel), **options)


# ---------------------------------------------------------------- pooling


def pooled(size, kernel, stride, dilation, lo, hi, ceil_mode):
    """The windows of a pooling; with ceil_mode they go on to one that reaches the end, if it starts before the image's.

    Found one after the other, as a reader of the rule would.
    """
    found, start = [], -lo
    while True:
        taps = [start + dilation * tap for tap in range(kernel)]
        if taps[-1] >= size + hi and not (ceil_mode and start < size and (not found or found[-1][-1] < size + hi - 1)):
            return found
        found.append(taps)
        start += stride


@pytest.mark.parametrize("ceil_mode", (False, True))
@some("stride", 3, rest=(1, 2, 4))
def test_pooling(stride, ceil_mode):
    rng = np.random.default_rng(0)
    for size, kernel, dilation, lo, hi in itertools.product((1, 2, 4, 5, 7), (1, 2, 3), (1, 2), (0, 1, 2), (0, 1)):
        reach = dilation * (kernel - 1)
        if max(lo, hi) > reach or reach >= size + lo + hi:
            continue  # refused
        x = rng.integers(-9, 10, size).astype(float)
        taken = [
            ([x[tap] for tap in taps if 0 <= tap < size], sum(tap < size + hi for tap in taps))
            for taps in pooled(size, kernel, stride, dilation, lo, hi, ceil_mode)
        ]
        options = {"stride": stride, "padding": ((lo, hi),), "dilation": dilation, "ceil_mode": ceil_mode}
        arguments = (x[None, None], kernel)
        assert_values("max_pool1d", [max(values, default=-math.inf) for values, _ in taken], *arguments, **options)
        means = [sum(values) / len(values) if values else 0 for values, _ in taken]
        with_padding = [sum(values) / count for values, count in taken]
        for module in MODULES:
            for expected, count in ((means, False), (with_padding, True)):
                got = module.avg_pool1d(*arguments, **options, count_include_pad=count)[0, 0]
                assert np.allclose(got, expected, rtol=1e-15, atol=0), f"{size}, {options}"


@pytest.mark.parametrize("size", (1, 2, 3, 5, 8))
def test_adaptive_pooling(size):
    """Window i goes from floor(i * size / out) to ceil((i + 1) * size / out)."""
    x = np.random.default_rng(size).integers(-9, 10, size).astype(float)
    for out in (1, 2, 3, 4, 5, 7, 8, 12):
        bounds = [(math.floor(Fraction(i * size, out)), math.ceil(Fraction((i + 1) * size, out))) for i in range(out)]
        assert_values("adaptive_max_pool1d", [max(x[a:b]) for a, b in bounds], x[None, None], out)
        for module in MODULES:
            got = module.adaptive_avg_pool1d(x[None, None], out)[0, 0]
            assert np.allclose(got, [x[a:b].mean() for a, b in bounds], rtol=1e-15, atol=0), out


def test_unpooling_goes_back_to_the_smallest_image_that_has_so_many_windows():
    for size, kernel, stride, lo, hi in itertools.product((1, 2, 4), (1, 2, 3), (1, 2, 3), (0, 1), (0, 1)):
        if max(lo, hi) >= kernel:
            continue
        smallest = next(n for n in itertools.count() if len(windows(n, kernel, stride, 1, lo, hi)) == size)
        if not smallest:
            continue  # no image that a value could be put back into
        indices = np.zeros((1, 1, size), np.int64)
        for module in MODULES:
            y = module.max_unpool1d(ones(size), indices, kernel, stride, ((lo, hi),))
            assert y.shape == (1, 1, smallest), (module.__name__, size, kernel, stride, lo, hi)


# ---------------------------------------------------------------- resampling


def test_scaled():
    """The largest whole number that size * scale reaches."""
    for size, scale in itertools.product(range(1, 12), (0.3, 0.5, 0.7, 1, 1.1, 1.3, 1.7, 2, 2.9, 3)):
        out = next(n for n in itertools.count() if n + 1 > size * scale)
        if out < 1:
            continue  # refused
        for module in MODULES:
            y = module.interpolate(ones(size, 1), scale_factor=(scale, 2.0), mode="bilinear")
            assert y.shape == (1, 1, out, 2), (module.__name__, size, scale)
            grid = np.zeros((1, out, 3, 2))
            assert module.grid_sample(ones(size, 1), grid).shape == (1, 1, out, 3)
