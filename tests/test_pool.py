"""Pooling and unpooling: against the reference, by hand, by adjoints and differences; ties, NaN, bits and views."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import convkit
from bounds import assert_within_bound
from cases import DTYPES, LAYOUTS, arrange, assert_same_bits, blocks, by_dtype, each_place, in_turn, restore, seed_of
from pool_problems import POOLS, Pool, random_pool
from views import FORMS, VIEWS, repeated, with_canaries

reference = convkit.reference
THREADS = (1, 2, 3, 5, 8)


def of(problem):
    return problem.name


def averages(problem: Pool):
    """Keyword arguments of every way to average: one if adaptive, else with and without padding."""
    if problem.adaptive:
        return (problem.arguments,)
    return tuple(problem.arguments | {"count_include_pad": count} for count in (True, False))


def data_of(problem: Pool, dtype):
    """Normal deviates, a tenth of them repeated, and a generator for more."""
    rng = seed_of(problem)
    x = rng.standard_normal(problem.x_shape)
    x[rng.random(x.shape) < 0.1] = 0.5
    return x.astype(dtype), rng


def check_max(problem: Pool, dtype, places) -> None:
    """Maximum, indices and gradient in every place, (instruction set, layout): equal to the reference's.

    The gradient is of small integers, whose sums are exact.
    """
    x, rng = data_of(problem, dtype)
    name = problem.operator("max")
    forward, backward = getattr(convkit, name), getattr(convkit, name + "_backward")
    expected_y, expected_indices = getattr(reference, name)(x, return_indices=True, **problem.arguments)
    grad = rng.integers(-8, 9, expected_y.shape).astype(dtype)
    expected_dx = getattr(reference, name + "_backward")(grad, expected_indices, x.shape)
    for isa, layout in places:
        convkit.set_isa(isa)
        what, image = f"{problem}, {np.dtype(dtype)}, {layout}, {isa}", arrange(x, layout)
        y, indices = forward(image, return_indices=True, layout=layout, **problem.arguments)
        assert (y.dtype, indices.dtype) == (np.dtype(dtype), np.dtype(np.int64))
        assert_array_equal(restore(y, layout), expected_y, what)
        assert_array_equal(restore(indices, layout), expected_indices, what)
        assert_array_equal(forward(image, layout=layout, **problem.arguments), y, what)
        dx = backward(arrange(grad, layout), indices, image.shape, layout=layout)
        assert dx.dtype == dtype
        assert_array_equal(restore(dx, layout), expected_dx, what)


def check_average(problem: Pool, dtype, places) -> None:
    """Average and gradient within the bound in every place, (instruction set, layout)."""
    x, rng = data_of(problem, dtype)
    name = problem.operator("avg")
    forward, backward = getattr(convkit, name), getattr(convkit, name + "_backward")
    for arguments in averages(problem):
        options = {} if problem.adaptive else arguments
        expected = getattr(reference, name)(x, **arguments)
        bound = reference.pool.bound(name, x, **arguments)
        grad = rng.standard_normal(expected.shape).astype(dtype)
        expected_dx = getattr(reference, name + "_backward")(grad, x.shape, **options)
        bound_dx = reference.pool.bound(name + "_backward", grad, x.shape, **options)
        for isa, layout in places:
            convkit.set_isa(isa)
            what, image = f"{problem}, {np.dtype(dtype)}, {layout}, {isa}", arrange(x, layout)
            y = forward(image, **arguments, layout=layout)
            dx = backward(arrange(grad, layout), image.shape, **options, layout=layout)
            assert y.dtype == dx.dtype == dtype
            assert_within_bound(restore(y, layout), expected, bound, what)
            assert_within_bound(restore(dx, layout), expected_dx, bound_dx, f"gradient, {what}")


SLOW = ("pool_wide", "pool_dilated", "pool_large_kernel", "pool_1d_long", "pool_1d_long_kernel", "global_long_row")


@each_place(POOLS, lambda problem: problem.name not in SLOW)
def test_named(problem, places, any_isa):
    for dtype, isas in by_dtype(places):
        in_layouts = list(itertools.product(isas, LAYOUTS))
        check_max(problem, dtype, in_layouts)
        check_average(problem, dtype, in_layouts)


COUNT, PER_BLOCK = 192, 12


@blocks(COUNT, PER_BLOCK)
def test_random(block, any_isa):
    """Each number decides sizes, dtype, layout, threads and instruction set."""
    isas = convkit.available_isas()
    for index in block:
        problem, dtype = random_pool(index), DTYPES[index % 2]
        place = [(isas[index // 4 % len(isas)], LAYOUTS[index // 2 % 2])]
        with convkit.threads(1 + index % 3):
            check_max(problem, dtype, place)
            check_average(problem, dtype, place)


# ---------------------------------------------------------------- worked by hand


def row(*values):
    return np.array(values, np.float64)[None, None]


def test_max_by_hand(isa):
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    y, indices = convkit.max_pool2d(x, 2, return_indices=True)
    assert_array_equal(y, [[[[5, 7], [13, 15]]]])
    assert_array_equal(indices, [[[[5, 7], [13, 15]]]])
    assert_array_equal(convkit.max_pool2d(x, 2, 1, dilation=2), [[[[10, 11], [14, 15]]]])
    assert_array_equal(convkit.max_pool2d(-x, 2, padding=1), [[[[0, -1, -3], [-4, -5, -7], [-12, -13, -15]]]])
    dx = convkit.max_pool2d_backward(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), indices, x.shape)
    assert_array_equal(dx.reshape(-1)[[5, 7, 13, 15]], [1, 2, 3, 4])
    assert dx.sum() == 10


def test_overlapping_windows_add_their_gradients(isa):
    _, indices = convkit.max_pool1d(row(1, 5, 2, 4), 3, 1, return_indices=True)
    assert_array_equal(indices, [[[1, 1]]])
    assert_array_equal(convkit.max_pool1d_backward(row(10, 20), indices, (1, 1, 4)), row(0, 30, 0, 0))


def test_average_by_hand(isa):
    x = row(2, 4, 6, 8, 10)
    assert_array_equal(convkit.avg_pool1d(x, 2), row(3, 7))
    assert_array_equal(convkit.avg_pool1d(x, 2, ceil_mode=True), row(3, 7, 10))  # the overhang does not count
    assert_array_equal(convkit.avg_pool1d(x, 2, 2, 1), row(1, 5, 9))
    assert_array_equal(convkit.avg_pool1d(x, 2, 2, 1, count_include_pad=False), row(2, 5, 9))
    assert_array_equal(convkit.avg_pool1d(x, 2, 1, dilation=3), row(5, 7))
    assert_array_equal(convkit.avg_pool1d_backward(row(2, 4), (1, 1, 5), 2), row(1, 1, 2, 2, 0))
    assert_array_equal(convkit.avg_pool1d_backward(row(2, 4, 6), (1, 1, 5), 2, ceil_mode=True), row(1, 1, 2, 2, 6))
    assert_array_equal(convkit.avg_pool1d_backward(row(3, 6, 9), (1, 1, 5), 3, 1), row(1, 3, 6, 5, 3))


def test_ceil_mode_drops_a_window_past_the_image(isa):
    """5 + 2 of padding, kernel and stride 2: a fourth window would start at 6, where the image and its padding before
    it end; the third starts at 4 and stays."""
    assert convkit.max_pool1d(row(1, 2, 3, 4, 5), 2, 2, 1, ceil_mode=True).shape == (1, 1, 3)
    assert convkit.max_pool1d(row(1, 2, 3, 4, 5, 6), 2, 2, 1, ceil_mode=True).shape == (1, 1, 4)
    assert convkit.max_pool1d(row(1, 2, 3, 4), 2, 4, ceil_mode=True).shape == (1, 1, 1)


def test_adaptive_by_hand(isa):
    x = row(1, 2, 3, 4, 5)
    assert_array_equal(convkit.adaptive_avg_pool1d(x, 2), row(2, 4))
    assert_array_equal(convkit.adaptive_avg_pool1d(x, 1), row(3))
    assert_array_equal(convkit.adaptive_max_pool1d(x, 3), row(2, 4, 5))
    assert_array_equal(convkit.adaptive_avg_pool1d_backward(row(3, 6), (1, 1, 5)), row(1, 1, 3, 2, 2))
    assert_array_equal(convkit.adaptive_avg_pool2d(np.ones((1, 2, 3, 5)), (None, 1)), np.ones((1, 2, 3, 1)))


def test_windows_without_elements(isa):
    """Taps at -1 and 1 about a single element: nothing inside."""
    y, indices = convkit.max_pool1d(row(7), 2, 1, 1, 2, return_indices=True)
    assert_array_equal(y, row(-np.inf))
    assert_array_equal(indices, [[[-1]]])
    assert_array_equal(convkit.max_pool1d_backward(row(3), indices, (1, 1, 1)), row(0))
    for count in (True, False):
        assert_array_equal(convkit.avg_pool1d(row(7), 2, 1, 1, dilation=2, count_include_pad=count), row(0))
        dx = convkit.avg_pool1d_backward(row(3), (1, 1, 1), 2, 1, 1, dilation=2, count_include_pad=count)
        assert_array_equal(dx, row(0))


def test_unpool_by_hand(isa):
    indices = np.array([[[1, 2]]])
    assert_array_equal(convkit.max_unpool1d(row(5, 6), indices, 2), row(0, 5, 6, 0))
    assert_array_equal(convkit.max_unpool1d(row(5, 6), indices, 2, output_size=5), row(0, 5, 6, 0, 0))
    assert_array_equal(convkit.max_unpool1d(row(5, 6), indices, 2, output_size=(1, 1, 5)), row(0, 5, 6, 0, 0))
    assert_array_equal(convkit.max_unpool1d(row(5, 6), np.array([[[3, 3]]]), 2), row(0, 0, 0, 6))  # the last stands
    assert_array_equal(convkit.max_unpool1d_backward(row(1, 2, 3, 4), indices), row(2, 3))


# ---------------------------------------------------------------- ties, NaN, infinities


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_ties_and_nan(dtype, layout, isa):
    """Of equals the first in row-major order, zeros of either sign being equal; of NaNs the last."""
    for channels, width in ((1, 40), (40, 5)):
        x = np.zeros((1, channels, 3, width), dtype)
        x[:, :, 0, 1], x[:, :, 1, 0] = -0.0, -0.0
        y, indices = convkit.max_pool2d(arrange(x, layout), 3, return_indices=True, layout=layout)
        assert (restore(indices, layout)[:, :, 0, 0] == 0).all()
        assert not np.signbit(restore(y, layout)[:, :, 0, 0]).any()
        x[:, :, 0, 2], x[:, :, 1, 1], x[:, :, 2, 0] = np.nan, np.nan, np.inf
        for function, arguments in ((convkit.max_pool2d, (3, 2)), (convkit.adaptive_max_pool2d, (1,))):
            y, indices = function(arrange(x, layout), *arguments, return_indices=True, layout=layout)
            assert np.isnan(restore(y, layout)[:, :, 0, 0]).all()
            assert (restore(indices, layout)[:, :, 0, 0] == width + 1).all()
        x[...] = -np.inf
        _, indices = convkit.max_pool2d(arrange(x, layout), 2, 2, 1, return_indices=True, layout=layout)
        assert (restore(indices, layout)[0, :, 0, :2] == [0, 1]).all()  # inside the image even where all is -inf


def test_infinities_stay_in_their_windows(isa):
    x = np.ones((1, 1, 6, 40))
    x[0, 0, 2, 5] = np.inf
    y = convkit.avg_pool2d(x, 2)
    assert np.isinf(y[0, 0, 1, 2]) and np.isfinite(y).sum() == y.size - 1
    grad = np.zeros((1, 1, 3, 20))
    grad[0, 0, 1, 2] = np.nan
    dx = convkit.avg_pool2d_backward(grad, x.shape, 2)
    assert np.isnan(dx).sum() == 4 and np.isnan(dx[0, 0, 2:4, 4:6]).all()


# ---------------------------------------------------------------- adjoints and differences


@pytest.mark.parametrize("problem", POOLS, ids=of)
def test_adjoint_of_averages(problem, isa):
    x, rng = data_of(problem, np.float64)
    name = problem.operator("avg")
    for arguments in averages(problem):
        y = getattr(convkit, name)(x, **arguments)
        grad = rng.standard_normal(y.shape)
        dx = getattr(convkit, name + "_backward")(grad, x.shape, **({} if problem.adaptive else arguments))
        assert abs((grad * y).sum() - (dx * x).sum()) <= 1e-12 * (np.abs(grad * y).sum() + np.abs(dx * x).sum())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("nd", (1, 2, 3))
def test_adjoint_of_unpooling(nd, layout, isa):
    """With indices of max pooling at stride = kernel, none repeats: <grad, unpool(x)> = <unpool_backward(grad), x>."""
    rng = np.random.default_rng(nd)
    source = arrange(rng.standard_normal((2, 20, *(6,) * nd)), layout)
    _, indices = getattr(convkit, f"max_pool{nd}d")(source, 2, return_indices=True, layout=layout)
    x = rng.integers(-9, 10, indices.shape).astype(float)
    y = getattr(convkit, f"max_unpool{nd}d")(x, indices, 2, layout=layout)
    assert_array_equal(y, getattr(reference, f"max_unpool{nd}d")(x, indices, 2, layout=layout))
    grad = rng.integers(-9, 10, y.shape).astype(float)
    dx = getattr(convkit, f"max_unpool{nd}d_backward")(grad, indices, layout=layout)
    assert_array_equal(dx, getattr(reference, f"max_unpool{nd}d_backward")(grad, indices, layout=layout))
    assert (grad * y).sum() == (dx * x).sum()


@pytest.mark.parametrize("problem", [p for p in POOLS if np.prod(p.x_shape) < 800], ids=of)
def test_central_differences(problem):
    """All values at least 1e-3 apart, so that no step of 1e-6 changes a maximum."""
    rng = seed_of(problem)
    x = rng.permutation(np.prod(problem.x_shape)).reshape(problem.x_shape) * 1e-2
    maximum, average = problem.operator("max"), problem.operator("avg")
    y, indices = getattr(convkit, maximum)(x, return_indices=True, **problem.arguments)
    grad = rng.standard_normal(y.shape)
    gradients = {
        maximum: getattr(convkit, maximum + "_backward")(grad, indices, x.shape),
        average: getattr(convkit, average + "_backward")(
            grad, x.shape, **({} if problem.adaptive else problem.arguments)
        ),
    }
    for name, dx in gradients.items():
        function = getattr(convkit, name)
        for place in rng.choice(x.size, min(x.size, 60), replace=False):
            ahead, behind = x.copy(), x.copy()
            ahead.flat[place] += 1e-6
            behind.flat[place] -= 1e-6
            above, below = (function(moved, **problem.arguments) for moved in (ahead, behind))
            change = np.where(np.isfinite(above), above, 0) - np.where(np.isfinite(below), below, 0)
            numeric = (grad * change).sum() / (ahead.flat[place] - behind.flat[place])
            assert abs(numeric - dx.flat[place]) <= 1e-5 * max(1, np.abs(dx).max())


# ---------------------------------------------------------------- bits, views, out


def everything(problem: Pool, x, layout, view=np.asarray) -> dict:
    """All pooling results of one problem in NCHW order, operands passed through `view`."""
    arguments = problem.arguments | {"layout": layout}
    maximum, average = problem.operator("max"), problem.operator("avg")
    x = view(arrange(x, layout))
    y, indices = getattr(convkit, maximum)(x, return_indices=True, **arguments)
    mean = getattr(convkit, average)(x, **arguments)
    grad = view(np.cos(np.arange(y.size)).astype(x.dtype.newbyteorder("=")).reshape(y.shape))
    options = {"layout": layout} if problem.adaptive else arguments
    results = {"max": y, "indices": indices, "average": mean}
    results["max x"] = getattr(convkit, maximum + "_backward")(grad, view(indices), x.shape, layout=layout)
    results["average x"] = getattr(convkit, average + "_backward")(grad, x.shape, **options)
    places = np.maximum(indices, 0)
    results["taken"] = getattr(convkit, f"max_unpool{problem.nd}d_backward")(x, view(places), layout=layout)
    for result in results.values():
        assert type(result) is np.ndarray
    return {name: np.ascontiguousarray(restore(result, layout)) for name, result in results.items()}


@pytest.mark.parametrize("problem", POOLS, ids=of)
def test_threads_and_layouts(problem, isa):
    """The same bits for 1, 2, 3, 5 and 8 threads; an average's and its gradient's also in both layouts."""
    x, _ = data_of(problem, *in_turn(problem, DTYPES))
    x = np.concatenate([x] * 3)
    with convkit.threads(1):
        expected = everything(problem, x, "NCHW")
        other = everything(problem, x, "NHWC")
    for name in ("max", "indices", "average"):
        assert expected[name].tobytes() == other[name].tobytes(), name
    for count in THREADS:
        with convkit.threads(count):
            assert_same_bits(everything(problem, x, "NCHW"), expected, f"{problem}, {count} threads")
            assert_same_bits(everything(problem, x, "NHWC"), other, f"{problem}, NHWC, {count} threads")


BIG = (
    Pool("big_plane", 1, 1, (700, 500), 3, 2, 1),
    Pool("big_volume", 1, 2, (40, 50, 60), 3, 1, 1),
    Pool("big_channels", 1, 300, (30, 28), 2),
    Pool("big_global", 2, 700, (14, 14), output_size=1),
    Pool("big_wide", 1, 1, (2, 90000), 5, 2, 2),
)


@pytest.mark.thorough
@pytest.mark.parametrize("problem", BIG, ids=of)
def test_large_enough_for_many_tasks(problem, isa):
    """As above, where blocks and tasks are really cut; maxima against a plain formula are in the named problems."""
    x, _ = data_of(problem, np.float32)
    for layout in LAYOUTS:
        with convkit.threads(1):
            expected = everything(problem, x, layout)
        for count in THREADS[1:]:
            with convkit.threads(count):
                assert_same_bits(everything(problem, x, layout), expected, f"{problem}, {layout}, {count} threads")
    x_shape = x.shape
    grad = np.ones(expected["max"].shape, np.float32)
    dx = getattr(convkit, problem.operator("max") + "_backward")(grad, expected["indices"], x_shape)
    assert dx.sum(dtype=float) == grad.size
    flat = x.reshape(*x.shape[:2], -1)
    taken = np.take_along_axis(flat, expected["indices"].reshape(*x.shape[:2], -1), -1)
    assert_array_equal(taken.reshape(expected["max"].shape), expected["max"])


VIEWED = [p for p in POOLS if p.name in (
    "pool_resnet_stem", "pool_2x2_odd", "pool_wide_s3", "pool_3d_mixed", "global_7x7", "adaptive_down", "pool_1d",
    "pool_ceil_hangs",
)]  # fmt: skip


@pytest.mark.parametrize("problem", VIEWED, ids=of)
def test_views_give_the_bits_of_copies(problem, isa):
    for dtype, layout in itertools.product(DTYPES, LAYOUTS):
        x, _ = data_of(problem, dtype)
        expected = everything(problem, x, layout)
        for view in VIEWS:
            got = everything(problem, x, layout, view)
            assert_same_bits(got, expected, f"{view.__name__}, {layout}, {dtype}")


@pytest.mark.parametrize("problem", VIEWED, ids=of)
def test_broadcast_operands(problem, isa):
    """Stride 0, along any axes, gives the bits of copies: also a plane all of whose elements are one."""
    x, _ = data_of(problem, np.float32)
    for layout, choice in itertools.product(LAYOUTS, range(2**x.ndim - 1)):

        def view(array, choice=choice):
            return list(repeated(array))[choice]

        got = everything(problem, x, layout, view)
        assert_same_bits(got, everything(problem, x, layout, lambda array: view(array).copy()), f"{layout}, {choice}")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("problem", VIEWED, ids=of)
def test_strided_out(problem, form, isa):
    """Maximum, indices, average and unpooling into strided arrays; what lies between keeps its values."""
    x, _ = data_of(problem, np.float32)
    for layout in LAYOUTS:
        maximum, average = (getattr(convkit, problem.operator(kind)) for kind in ("max", "avg"))
        arguments = problem.arguments | {"layout": layout}
        y, indices = maximum(arrange(x, layout), return_indices=True, **arguments)
        out = tuple(with_canaries(y.shape, dtype, form) for dtype in (np.float32, np.int64))
        got = maximum(arrange(x, layout), return_indices=True, out=(out[0][0], out[1][0]), **arguments)
        assert got[0] is out[0][0] and got[1] is out[1][0]
        assert_array_equal(got[0], y)
        assert_array_equal(got[1], indices)
        mean, check = with_canaries(y.shape, np.float32, form)
        assert average(arrange(x, layout), out=mean, **arguments) is mean
        assert_array_equal(mean, average(arrange(x, layout), **arguments))
        for test in (out[0][1], out[1][1], check):
            test()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_unpool_into_strided_out(form, layout, isa):
    x = arrange(np.random.default_rng(0).standard_normal((2, 19, 4, 5)).astype(np.float32), layout)
    indices = arrange(np.random.default_rng(1).integers(0, 80, (2, 19, 4, 5)), layout)
    expected = convkit.max_unpool2d(x, indices, 2, layout=layout)
    assert_array_equal(expected, reference.max_unpool2d(x, indices, 2, layout=layout))
    out, check = with_canaries(expected.shape, np.float32, form)
    assert convkit.max_unpool2d(x, indices, 2, layout=layout, out=out) is out
    assert_array_equal(out, expected)
    check()


def test_without_a_batch(isa):
    x = np.random.default_rng(0).standard_normal((5, 9, 20))
    y, indices = convkit.max_pool2d(x, 3, return_indices=True)
    batch, batch_indices = convkit.max_pool2d(x[None], 3, return_indices=True)
    assert_array_equal(y, batch[0])
    assert_array_equal(indices, batch_indices[0])
    assert convkit.max_pool2d_backward(y, indices, x.shape).shape == x.shape
    assert convkit.avg_pool2d_backward(convkit.avg_pool2d(x, 2), x.shape, 2).shape == x.shape
    assert convkit.adaptive_avg_pool2d_backward(convkit.adaptive_avg_pool2d(x, 2), x.shape).shape == x.shape
    assert convkit.max_unpool2d(y, indices, 3, output_size=(9, 20)).shape == x.shape
    assert convkit.max_unpool2d_backward(x, indices).shape == y.shape


@pytest.mark.parametrize("shape", ((0, 3, 6, 7), (2, 0, 6, 7)))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_zero_sizes(shape, layout):
    x = arrange(np.zeros(shape), layout)
    y, indices = convkit.max_pool2d(x, 2, return_indices=True, layout=layout)
    assert restore(y, layout).shape == (*shape[:2], 3, 3)
    assert convkit.max_pool2d_backward(y, indices, x.shape, layout=layout).shape == x.shape
    assert convkit.avg_pool2d_backward(y, x.shape, 2, layout=layout).shape == x.shape
    assert convkit.adaptive_max_pool2d(x, 1, layout=layout).size == 0
    assert convkit.adaptive_avg_pool2d_backward(y, x.shape, layout=layout).shape == x.shape
    assert convkit.max_unpool2d(y, indices, 2, layout=layout).size == 0


def test_adaptive_to_nothing():
    assert convkit.adaptive_avg_pool2d(np.ones((1, 2, 3, 4)), (0, 2)).shape == (1, 2, 0, 2)
    assert_array_equal(
        convkit.adaptive_avg_pool2d_backward(np.ones((1, 2, 0, 2)), (1, 2, 3, 4)), np.zeros((1, 2, 3, 4))
    )
