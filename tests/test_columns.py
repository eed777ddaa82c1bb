"""im2col and col2im: copies are exact, sums keep the derived bound, and each is the other's adjoint."""

import itertools

import numpy as np
import pytest

import convkit
from bounds import assert_within_bound
from cases import LAYOUTS, arrange, by_dtype, each_place, restore, seed_of
from problems import EMPTY, NAMED, named
from views import VIEWS

# Neither knows groups, outputs or biases; the other sizes are the convolutions'. 0 channels or images are columns too.
SHAPES = tuple(p for p in NAMED if p.c_in * np.prod(p.kernel) * np.prod(p.y_shape[2:]) < 200_000) + EMPTY[:5]
FEW = named("odd_sizes", "asymmetric_s2", "dilated_strided", "kernel_over_image", "reflect_max", "1d_s4_d3", "3d_mixed")


def of(problem):
    return problem.name


def sizes(problem):
    """The arguments after the array of both functions, but for col2im's output_size."""
    names = ("stride", "padding", "dilation", "padding_mode")
    return {"kernel_size": problem.kernel} | {name: problem.arguments[name] for name in names}


def cols_shape(problem):
    return (problem.n, problem.c_in * np.prod(problem.kernel), np.prod(problem.y_shape[2:]))


@each_place(SHAPES, lambda problem: problem.flops < 1e5)
def test_against_the_reference(problem, places, any_isa):
    """And so is each the adjoint of the other, since those of the reference are."""
    for dtype, isas in by_dtype(places):
        rng = seed_of(problem)
        x, cols = (rng.standard_normal(shape).astype(dtype) for shape in (problem.x_shape, cols_shape(problem)))
        expected = convkit.reference.im2col(x, **sizes(problem))
        image = convkit.reference.col2im(cols, problem.spatial, **sizes(problem))
        bound = convkit.reference.bound("col2im", cols, problem.spatial, **sizes(problem))
        for isa, layout in itertools.product(isas, LAYOUTS):
            convkit.set_isa(isa)
            got = convkit.im2col(arrange(x, layout), **sizes(problem), layout=layout)
            back = convkit.col2im(cols, problem.spatial, **sizes(problem), layout=layout)
            assert got.dtype == back.dtype == dtype
            assert np.array_equal(got, expected), f"{dtype}, {layout}, {isa}"
            assert_within_bound(restore(back, layout), image, bound, f"{dtype}, {layout}, {isa}")


@pytest.mark.parametrize("problem", FEW, ids=of)
def test_a_convolution_is_a_product_with_columns(problem, isa):
    rng = seed_of(problem)
    x, weight = (rng.integers(-4, 5, shape).astype(np.float32) for shape in (problem.x_shape, problem.weight_shape))
    product = weight.reshape(problem.c_out, -1) @ convkit.im2col(x, **sizes(problem))
    y = getattr(convkit, problem.forward)(x, weight, **problem.arguments)
    assert np.array_equal(product.reshape(problem.y_shape), y)


@pytest.mark.parametrize("problem", FEW, ids=of)
def test_views_batches_and_threads(problem, isa):
    """Equal bits from any strided view, without a batch, from part of one, and on any number of threads."""
    rng = seed_of(problem)
    x, cols = (rng.standard_normal(shape).astype(np.float32) for shape in (problem.x_shape, cols_shape(problem)))
    for layout in LAYOUTS:

        def both(x, cols, layout=layout):
            options = sizes(problem) | {"layout": layout}
            return convkit.im2col(x, **options), convkit.col2im(cols, problem.spatial, **options)

        x_there = arrange(x, layout)
        expected = both(x_there, cols)
        for view in VIEWS:
            for got, wanted in zip(both(view(x_there), view(cols)), expected, strict=True):
                assert got.tobytes() == wanted.tobytes(), view.__name__
        for got, wanted in zip(both(x_there[0], cols[0]), expected, strict=True):
            assert got.tobytes() == wanted[0].tobytes()
        for count in (1, 3, 8):
            with convkit.threads(count):
                for got, wanted in zip(both(x_there, cols), expected, strict=True):
                    assert got.tobytes() == wanted.tobytes()


def test_rows_are_channels_then_taps():
    x = np.arange(18, dtype=np.float32).reshape(1, 2, 3, 3)
    assert convkit.im2col(x, 2)[0].tolist() == [
        [0, 1, 3, 4],
        [1, 2, 4, 5],
        [3, 4, 6, 7],
        [4, 5, 7, 8],
        [9, 10, 12, 13],
        [10, 11, 13, 14],
        [12, 13, 15, 16],
        [13, 14, 16, 17],
    ]
    assert convkit.col2im(np.ones((1, 4, 4), np.float32), 3, 2)[0, 0].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


def test_nan_and_inf_are_copied_and_padding_is_zero(isa):
    x = np.array([[[np.nan, np.inf, 1]]], np.float32)
    assert np.array_equal(
        convkit.im2col(x, (2,), padding=1)[0], [[0, np.nan, np.inf, 1], [np.nan, np.inf, 1, 0]], equal_nan=True
    )
    cols = np.array([[[np.nan, 1, 2, 3], [4, 5, 6, np.inf]]], np.float32)  # the NaN and the Inf lie in the padding
    assert convkit.col2im(cols, (3,), (2,), padding=1).tolist() == [[[5, 7, 9]]]


# ---------------------------------------------------------------- transposed convolution by way of its columns

ADDED = {  # x, weight, options: what is cut when scratch is scarce
    "boxes that share positions": ((2, 9, 30, 31), (9, 3, 5, 5), {"dilation": 2, "padding": 3}),
    "taps of a large kernel": ((1, 5, 400), (5, 2, 300), {"stride": 3}),
    "taps along two axes": ((1, 4, 12, 14), (4, 1, 20, 15), {"stride": (2, 3), "padding": 4}),
    "products of many channels": ((1, 300, 6, 7), (300, 4, 3, 3), {"stride": 2, "padding": 1}),
    "volumes": ((3, 6, 4, 5, 6), (6, 2, 5, 5, 5), {"stride": (1, 2, 4), "dilation": (2, 1, 1), "groups": 3}),
    "phases without a tap": ((2, 4, 3, 5), (4, 2, 2, 2), {"stride": 7}),
}


@pytest.mark.parametrize("case", ADDED)
def test_how_columns_are_cut_leaves_the_bits_alone(case, isa):
    x_shape, weight_shape, options = ADDED[case]
    rng = np.random.default_rng(0)
    name = f"conv_transpose{len(x_shape) - 2}d"
    x, weight = (rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, weight_shape))
    bias = rng.standard_normal(weight_shape[1] * options.get("groups", 1)).astype(np.float32)
    views = (weight, np.asfortranarray(weight))  # whose rows lie apart
    got = set()
    for threads, limit, each in itertools.product((1, 3), ("1GiB", 100_000, 400_000), views):
        with convkit.threads(threads), convkit.workspace_limit(limit):
            y = getattr(convkit, name)(x, each, bias, algorithm="im2col", **options)
        got.add(y.tobytes())
    assert len(got) == 1
    expected = getattr(convkit.reference, name)(x, weight, bias, **options)
    assert_within_bound(y, expected, convkit.reference.bound(name, x, weight, bias, **options))


@pytest.mark.parametrize("mode", ("reflect", "replicate"))
def test_boxes_are_small_where_padding_repeats_what_is_near(mode):
    """Of so large an image all positions would take 17 MiB."""
    grad, weight = np.ones((1, 64, 260, 260), np.float32), np.ones((64, 3, 3, 3), np.float32)
    options = {"padding": 1, "padding_mode": mode, "need": "x"}
    x_shape = (1, 3, 260, 260)
    assert (
        convkit.explain("conv2d", x_shape, weight.shape, direction="x", padding=1, padding_mode=mode).algorithm
        != "im2col"
    )
    with convkit.threads(1), convkit.workspace_limit("1MiB"):
        got = convkit.conv2d_backward(grad, x_shape, weight, algorithm="im2col", **options).x
    assert np.array_equal(got, convkit.conv2d_backward(grad, x_shape, weight, algorithm="implicit_gemm", **options).x)
