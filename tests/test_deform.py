"""deform_conv1d, deform_conv2d, deform_conv3d and their gradients: against the reference, identities, differences."""

import dataclasses
import itertools

import numpy as np
import pytest

import convkit
from bounds import assert_slopes
from cases import (
    ACTIVATIONS,
    DTYPES,
    EVERYWHERE,
    LAYOUTS,
    QUICK_FLOPS,
    arrange,
    assert_all,
    assert_same_bits,
    blocks,
    each,
    each_place,
    enough,
    in_turn,
)
from deform_cases import (
    EMPTY,
    GRADIENTS,
    NAMED,
    Data,
    Deform,
    assert_bounds,
    assert_case,
    backward,
    everything,
    forward,
    named,
    random_data,
    random_deform,
    solve,
)

IN_LAYOUTS = ("NCHW", pytest.param("NHWC", marks=pytest.mark.thorough))
RANDOM, PER_BLOCK = 192, 12


def of(problem: Deform) -> str:
    return problem.name


# ---- the float64 reference ----


@each_place(NAMED, lambda problem: problem.flops < 1e5, enough)
def test_named_problems_keep_the_bound(problem, places, any_isa):
    assert_bounds(problem, places)


@pytest.mark.parametrize("problem", EMPTY, ids=of)
def test_empty_problems(problem, any_isa):
    """Without images or outputs there is nothing, or a gradient of exactly zero; without inputs there is the bias."""
    assert_bounds(problem, EVERYWHERE)
    data = random_data(problem, "float32")
    for layout in LAYOUTS:
        got = everything(data, layout)
        if problem.n == 0 or problem.c_out == 0:
            assert not any(got[name].any() for name in GRADIENTS if name in got)
        if problem.c_in == 0 and problem.bias:
            shaped = data.bias.reshape(1, -1, *[1] * problem.nd)
            assert np.array_equal(got["y"], np.broadcast_to(shaped, got["y"].shape))


def check(index: int) -> None:
    """Run random configuration `index`; the number decides dtype, layout, instruction set and threads as well."""
    isas = convkit.available_isas()
    convkit.set_isa(isas[index // 4 % len(isas)])
    activation = (None, None, None, *ACTIVATIONS)[index // 16 % 8]
    problem = random_deform(index).but(activation=activation)
    with convkit.threads(1 + index % 3):
        assert_case(solve(random_data(problem, DTYPES[index % 2])), LAYOUTS[index // 2 % 2])


@blocks(RANDOM, PER_BLOCK)
def test_random_configurations(block, any_isa):
    assert_all(check, block)


@pytest.mark.thorough
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("problem", named("d_tails_19_13", "d_depthwise", "d_1d", "d_grouped_across"), ids=of)
def test_fused_activations_keep_the_bound(problem, activation, any_isa):
    assert_bounds(problem.but(activation=activation), EVERYWHERE)


# ---- convolution is a special case ----

SAME_AS_CONV = named(
    "d_odd_sizes", "d_primes", "d_even_kernel", "d_dilated_strided", "d_asymmetric_s2", "d_tails_65_153",
    "d_over_k_block", "d_many_k_blocks", "d_one_input", "d_grouped", "d_grouped_wide", "d_1d_s4_d3", "d_3d_mixed",
    "d_1x1", "d_many_pixels",
)  # fmt: skip


def as_conv(problem: Deform, data: Data, pads=None) -> np.ndarray:
    """The convolution of the same operands."""
    options = problem.arguments | {"groups": problem.groups, "algorithm": "implicit_gemm"}
    if pads is not None:
        options["padding"] = pads
    return getattr(convkit, f"conv{problem.nd}d")(data.x, data.weight, data.bias, **options)


@each(SAME_AS_CONV)
def test_zero_offsets_are_a_convolution(problem, any_isa):
    """Equal, and not close: the samples are the pixels, and products are added in the same order."""
    for dtype in DTYPES:
        data = random_data(problem.but(mask=False), dtype)
        data = dataclasses.replace(data, offset=np.zeros_like(data.offset))
        ones = dataclasses.replace(data, mask=np.ones(problem.mask_shape, dtype))
        for isa in convkit.available_isas():
            convkit.set_isa(isa)
            expected = as_conv(problem, data)
            for layout in LAYOUTS:
                assert np.array_equal(forward(data, layout), expected), f"{dtype}, {layout}, {isa}"
            assert np.array_equal(forward(ones), expected), f"mask of ones, {dtype}, {isa}"


@pytest.mark.parametrize("shape, layout", [((9, 256, 1), "NCHW"), ((1, 256, 9), "NHWC")], ids=str)
def test_pixels_along_one_axis_are_a_convolution(shape, layout, any_isa):
    """Which multiplies the other way round there, its pixels on the lanes: sampled ones must not."""
    rng = np.random.default_rng(0)
    x, weight = arrange(rng.standard_normal(shape), layout), rng.standard_normal((2, 256, 1))
    got = convkit.deform_conv1d(x, arrange(np.zeros((shape[0], 1, shape[2])), layout), weight, layout=layout)
    assert np.array_equal(got, convkit.conv1d(x, weight, layout=layout, algorithm="implicit_gemm"))


@each([problem for problem in SAME_AS_CONV if problem.flops <= QUICK_FLOPS])
def test_zero_offsets_have_a_convolutions_gradients(problem, any_isa):
    """Up to rounding: within both bounds of the reference's gradients."""
    data = random_data(problem.but(mask=False), "float64")
    data = dataclasses.replace(data, offset=np.zeros_like(data.offset))
    options, bound = problem.arguments | {"groups": problem.groups}, solve(data).bound
    for isa in convkit.available_isas():
        convkit.set_isa(isa)
        got = backward(data, need=("x", "weight", "bias"))
        expected = getattr(convkit, f"conv{problem.nd}d_backward")(data.grad, data.x, data.weight, **options)
        for name in ("x", "weight", "bias"):
            assert (np.abs(got[name] - getattr(expected, name)) <= 2 * bound[name]).all(), f"{name}, {isa}"


@pytest.mark.parametrize("problem", named("d_odd_sizes", "d_primes", "d_grouped", "d_1d", "d_3d"), ids=of)
def test_whole_offsets_are_a_shifted_convolution(problem, isa):
    """The same whole offset for every tap moves the image: padding from one side to the other."""
    for dtype, shift in itertools.product(DTYPES, (1, -1, 2)):
        shifts = [shift, -shift, shift][: problem.nd]
        pads = tuple((low + 3, high + 3) for low, high in problem.pads)
        moved = tuple((low - by, high + by) for (low, high), by in zip(pads, shifts, strict=True))
        data = random_data(problem.but(padding=pads, mask=False), dtype)
        offset = np.zeros((problem.n, data.offset.shape[1] // problem.nd, problem.nd, *data.offset.shape[2:]), dtype)
        offset[:] = np.reshape(shifts, (-1, *[1] * problem.nd))
        data = dataclasses.replace(data, offset=offset.reshape(data.offset.shape))
        assert np.array_equal(forward(data), as_conv(problem, data, moved)), shift


@pytest.mark.parametrize("problem", named("d_odd_sizes", "d_grouped_across", "d_1d", "d_3d"), ids=of)
def test_dilation_is_a_case_of_offsets(problem, isa):
    """Taps two apart, or taps side by side with offsets of 0, 1, 2, ..., to the bit, forward and all gradients."""
    pads = tuple((1, taps) for taps in problem.kernel)
    dilated = problem.but(padding=pads, dilation=2)
    data = random_data(dilated, "float32")
    data = dataclasses.replace(data, offset=np.round(data.offset * 64) / 64)  # every coordinate is exact
    dense = problem.but(
        padding=tuple((low, high - taps + 1) for (low, high), taps in zip(pads, problem.kernel, strict=True))
    )
    assert dense.y_shape == dilated.y_shape
    extra = (dilated.base - dense.base).reshape(-1, *dilated.y_shape[2:]).astype(np.float32)
    offset = data.offset + np.tile(extra, (problem.offset_groups, *[1] * problem.nd))
    assert_same_bits(everything(dataclasses.replace(data, problem=dense, offset=offset)), everything(data))


@pytest.mark.parametrize("shape", [(70,), (30, 33), (11, 12, 15)], ids=str)
def test_whole_shifts_of_the_image_shift_the_output(shape, isa):
    """To the bit, at stride 1 and away from the border, with offsets that keep every coordinate exact."""
    rng = np.random.default_rng(3)
    nd = len(shape)
    for dtype, shift in itertools.product(DTYPES, ((1, 2, 1), (0, 1, 2))):
        problem = Deform("shift", 2, 6, shape, 5, (2, 3, 3)[-nd:], offset_groups=2)
        data = random_data(problem, dtype)
        out = problem.y_shape[2:]
        data = dataclasses.replace(
            data, offset=np.round(rng.uniform(-2, 2, problem.offset_shape) * 64).astype(dtype) / 64
        )
        by = shift[-nd:]
        rolled = {name: np.roll(getattr(data, name), by, range(2, 2 + nd)) for name in ("x", "offset", "mask")}
        margin = tuple(slice(4, size - 4) for size in out)
        behind = tuple(slice(4 - step, size - 4 - step) for size, step in zip(out, by, strict=True))
        y, moved = forward(data), forward(dataclasses.replace(data, **rolled))
        assert moved[(..., *margin)].size >= 100
        assert np.array_equal(moved[(..., *margin)], y[(..., *behind)]), f"{dtype}, {by}"


# ---- gradients ----

DIFFERENCES = (
    Deform("diff_1d", 2, 4, (6,), 6, (3,), 1, 1, 1, 2, offset_groups=2),
    Deform("diff_2d", 2, 4, (5, 6), 4, (3, 2), (1, 2), ((1, 2), (0, 1)), (2, 1), 2, offset_groups=2),
    Deform("diff_2d_v1", 1, 3, (4, 4), 3, (3, 3), 1, 1, 1, 3, mask=False),
    Deform("diff_2d_wide", 1, 19, (4, 3), 2, (2, 2), 1, 1),
    Deform("diff_3d", 1, 4, (3, 4, 3), 2, (2, 2, 2), 1, (1, 0, 1), offset_groups=2),
)


def away_from_kinks(problem: Deform) -> Data:
    """Data whose samples lie from -2 to size + 1, many in the bands where they fade out, and 0.01 from any kink."""
    data = random_data(problem, "float64")
    rng = np.random.default_rng(7)
    shape = (problem.n, problem.offset_groups, *problem.base.shape)
    size = np.array(problem.spatial).reshape(-1, *[1] * problem.nd)
    cell = rng.integers(-2, size + 1, shape)
    for band in (-1, size - 1):  # each band of length 1 in which a sample fades out has many
        assert (cell == band).mean() > 0.05
    coordinates = cell + rng.uniform(0.01, 0.99, shape)
    return dataclasses.replace(data, offset=(coordinates - problem.base).reshape(problem.offset_shape))


@pytest.mark.thorough
@pytest.mark.parametrize("activation", (None, "tanh", ("leaky_relu", 0.125)), ids=str)
@pytest.mark.parametrize("problem", DIFFERENCES, ids=of)
def test_central_differences(problem, activation, isa):
    data = away_from_kinks(problem.but(activation=activation))
    data = dataclasses.replace(data, y=forward(data))
    grads, rng = backward(data), np.random.default_rng(5)
    for name in grads:
        assert_slopes(grads[name], lambda: np.sum(data.grad * forward(data)), getattr(data, name), rng, 120, name)


def sampled(x, coordinates, dtype):
    """(y, x gradient, offset gradient, mask gradient) of one tap of weight 1, masks of 2, at each coordinate of x."""
    x = np.asarray(x, dtype)
    nd, count = x.ndim, len(coordinates)
    offset = np.zeros((count, nd, *x.shape), dtype)
    offset[(slice(None), slice(None), *[0] * nd)] = np.reshape(coordinates, (count, nd))
    grad, mask = np.zeros((count, 1, *x.shape), dtype), np.full((count, 1, *x.shape), 2, dtype)
    first = (slice(None), 0, *[0] * nd)
    grad[first] = 1
    images, weight = np.broadcast_to(x, (count, 1, *x.shape)), np.ones((1, 1, *[1] * nd), dtype)
    y = getattr(convkit, f"deform_conv{nd}d")(images, offset, weight, mask=mask)
    grads = getattr(convkit, f"deform_conv{nd}d_backward")(grad, images, offset, weight, mask=mask)
    slopes = grads.offset[(slice(None), slice(None), *[0] * nd)]
    return y[first].tolist(), grads.x[:, 0].tolist(), slopes.tolist(), grads.mask[first].tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_kinks_in_one_dimension(dtype, isa):
    """x = 1, 10, 100, worked by hand: the slope at a whole coordinate is that to its right."""
    at = [-2, -1.5, -1, -0.5, 0, 0.25, 1, 2, 2.5, 3, 4]
    y, dx, slopes, mask = sampled([1, 10, 100], at, dtype)
    assert mask == [0, 0, 0, 0.5, 1, 3.25, 10, 100, 50, 0, 0]
    assert y == [2 * value for value in mask]
    assert slopes == [[0], [0], [2], [2], [18], [18], [180], [-200], [-200], [0], [0]]
    assert dx[2:9] == [[0, 0, 0], [1, 0, 0], [2, 0, 0], [1.5, 0.5, 0], [0, 2, 0], [0, 0, 2], [0, 0, 1]]
    assert dx[:2] == dx[9:] == [[0, 0, 0]] * 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_kinks_in_two_dimensions(dtype, isa):
    """x = 1 2 / 4 8, worked by hand; offsets and their gradients are (y, x)."""
    at = [(0, 0), (1, 1), (-1, 0), (0, -1), (-1, -1), (0.5, -1), (2, 0), (0, 2), (1, 0), (-0.5, 1.5), (0.5, 0.25)]
    _, dx, slopes, mask = sampled([[1, 2], [4, 8]], at, dtype)
    assert mask == [1, 8, 0, 0, 0, 0, 0, 0, 4, 0.5, 3.125]
    halves = [(3, 1), (-8, -8), (1, 0), (0, 1), (0, 0), (0, 2.5), (0, 0), (0, 0), (-4, 4), (1, -1), (3.75, 2.5)]
    assert slopes == [[2 * down, 2 * right] for down, right in halves]
    assert dx[0] == [[2, 0], [0, 0]]
    assert dx[1] == [[0, 0], [0, 2]]
    assert dx[9] == [[0, 0.5], [0, 0]]
    assert dx[10] == [[0.75, 0.25], [0.75, 0.25]]
    assert all(not np.any(dx[i]) for i in range(2, 8))


@pytest.mark.parametrize("dtype", DTYPES)
def test_kinks_in_three_dimensions(dtype, isa):
    """x = 1 2 / 4 8 // 16 32 / 64 128, worked by hand; offsets and their gradients are (z, y, x)."""
    at = [(0, 0, 0), (1, 1, 1), (-1, 0, 0), (0, -1, 0), (0, 0, 2), (0.5, 0, 1)]
    _, dx, slopes, mask = sampled([[[1, 2], [4, 8]], [[16, 32], [64, 128]]], at, dtype)
    assert mask == [1, 128, 0, 0, 0, 17]
    halves = [(15, 3, 1), (-128, -128, -128), (1, 0, 0), (0, 1, 0), (0, 0, 0), (30, 51, -17)]
    assert slopes == [[2 * s for s in triple] for triple in halves]
    assert dx[5] == [[[0, 1], [0, 0]], [[0, 1], [0, 0]]]


# ---- offsets that lead far away, or nowhere ----


@pytest.mark.parametrize("layout", IN_LAYOUTS)
@pytest.mark.parametrize("problem", named("d_odd_sizes", "d_tails_65_153", "d_depthwise", "d_1d", "d_3d"), ids=of)
def test_far_samples_are_zero(problem, layout, isa):
    """Offsets of 1e9, the largest number and infinity, on one axis or all, change nothing but what they sample."""
    for dtype in DTYPES:
        data = random_data(problem, dtype)
        constant = 0 if data.bias is None else data.bias.reshape(1, -1, *[1] * problem.nd)
        for far in (1e9, -1e9, 2.0**31, -(2.0**32), np.finfo(dtype).max, np.inf, -np.inf):
            offset = data.offset.reshape(problem.n, -1, problem.nd, *data.offset.shape[2:]).copy()
            offset[:, :, -1] = far
            got = everything(dataclasses.replace(data, offset=offset.reshape(data.offset.shape)), layout)
            assert np.array_equal(got["y"], np.broadcast_to(constant, got["y"].shape)), far
            assert not any(got[name].any() for name in ("x", "offset", "mask", "weight")), far


@pytest.mark.parametrize("layout", IN_LAYOUTS)
@pytest.mark.parametrize("problem", named("d_odd_sizes", "d_tails_65_153", "d_depthwise_x3", "d_1d", "d_3d"), ids=of)
def test_nan_offsets_make_nan_of_what_they_sample(problem, layout, isa):
    for axis, dtype in itertools.product(range(problem.nd), DTYPES):
        data = random_data(problem, dtype)
        spot = tuple(size // 2 for size in problem.y_shape[2:])
        tap, group = problem.mask_shape[1] // 2, problem.mask_shape[1] // 2 // np.prod(problem.kernel)
        index, image = (problem.n - 1, problem.nd * tap + axis, *spot), (problem.n - 1, tap, *spot)
        offset = data.offset.copy()
        offset[index] = np.nan
        got, clean = everything(dataclasses.replace(data, offset=offset), layout), everything(data, layout)
        per_group = problem.c_in // problem.offset_groups
        sampled_by = np.arange(problem.c_in) // per_group == group
        reads = sampled_by.reshape(problem.groups, -1).any(axis=1).repeat(problem.c_out // problem.groups)
        expected = np.zeros(problem.y_shape, bool)
        expected[(problem.n - 1, slice(None), *spot)] = reads
        assert np.array_equal(np.isnan(got["y"]), expected)
        assert np.isnan(got["mask"][image])
        assert np.isnan(got["mask"]).sum() == 1
        expected = np.zeros(problem.offset_shape, bool)
        expected[(problem.n - 1, slice(problem.nd * tap, problem.nd * (tap + 1)), *spot)] = True
        assert np.array_equal(np.isnan(got["offset"]), expected)
        assert np.isfinite(got["x"]).all()
        expected = np.zeros(problem.weight_shape, bool).reshape(problem.c_out, -1, np.prod(problem.kernel))
        own = sampled_by.reshape(problem.groups, 1, -1).repeat(problem.c_out // problem.groups, 1)
        expected[:, :, tap % np.prod(problem.kernel)] = own.reshape(problem.c_out, -1)
        assert np.array_equal(np.isnan(got["weight"]), expected.reshape(problem.weight_shape))
        assert_same_bits({"bias": got["bias"]}, {"bias": clean["bias"]})
        for name in ("y", "offset", "mask", "weight"):
            calm = ~np.isnan(got[name])
            assert np.array_equal(got[name][calm], clean[name][calm]), name


@pytest.mark.thorough
@pytest.mark.parametrize("mask", (np.inf, -np.inf, np.nan), ids=str)
@pytest.mark.parametrize("problem", named("d_odd_sizes", "d_tails_19_13", "d_depthwise_x3", "d_1d", "d_3d"), ids=of)
def test_a_mask_that_is_not_finite_outside_the_image(problem, mask, any_isa):
    """0 times infinity: NaN in all that is formed with that sample times its mask, as in the reference."""
    spot = tuple(size // 2 for size in problem.y_shape[2:])
    tap = problem.mask_shape[1] // 2
    for dtype in DTYPES:
        data = random_data(problem, dtype)
        data.mask[(0, tap, *spot)] = mask
        data.offset[(0, problem.nd * tap, *spot)] = 1e9
        with np.errstate(invalid="ignore"):
            expected = solve(data).expected
        for isa in convkit.available_isas():
            convkit.set_isa(isa)
            got = everything(data)
            assert np.isnan(got["y"][(0, slice(None), *spot)]).any()
            assert np.isfinite(got["x"]).all()
            assert np.isfinite(got["mask"]).all()
            for name, array in got.items():
                assert np.array_equal(np.isnan(array), np.isnan(expected[name])), f"{name}, {dtype}, {isa}"


def test_a_corner_outside_is_zero_whatever_stands_beside_it(isa):
    """A sample half outside takes half of the pixel inside, and a NaN elsewhere in the image does not reach it."""
    x = np.full((1, 1, 4, 4), np.nan, np.float32)
    x[0, 0, 0] = (8, 4, 2, 1)
    offset = np.zeros((1, 2, 4, 4), np.float32)
    offset[0, 0] = -0.5 - np.arange(4)[:, None]
    y = convkit.deform_conv2d(x, offset, np.ones((1, 1, 1, 1), np.float32))
    assert y.tolist() == [[[[4, 2, 1, 0.5]] * 4]]


# ---- bits ----

BITS = named(
    "dcn_64_56", "dcn_256_28", "dcnv2_128_28", "d_primes", "d_many_pixels", "d_few_of_many", "d_halved",
    "d_small_images", "d_many_k_blocks", "d_grouped_wide", "d_depthwise_v1", "d_1d_long", "d_3d_mixed", "d_many_taps",
)  # fmt: skip


@each(BITS)
def test_threads(problem, any_isa):
    """Any number of threads gives the bits of one."""
    for isa in convkit.available_isas():
        convkit.set_isa(isa)
        dtype, layout = in_turn(problem, DTYPES, LAYOUTS)
        data = random_data(problem, dtype)
        with convkit.threads(1):
            expected = everything(data, layout)
        for count in (2, 5):
            with convkit.threads(count):
                assert_same_bits(everything(data, layout), expected, f"{dtype}, {layout}, {count} threads, {isa}")


@pytest.mark.parametrize(
    "problem",
    named(
        "d_odd_sizes", "d_small_images", "d_few_of_many", "d_few_of_few", "d_few_many_taps", "d_halved", "d_3d_mixed"
    ),
    ids=of,
)
def test_alone_or_in_a_batch(problem, isa):
    """What belongs to one image does not know the others."""
    data = random_data(problem.but(n=3), "float32")
    whole = everything(data)
    for image in range(3):
        part = {name: getattr(data, name)[image : image + 1] for name in ("x", "offset", "mask", "grad")}
        alone = everything(dataclasses.replace(data, problem=problem.but(n=1), **part))
        for name in ("y", "x", "offset", "mask"):
            assert alone[name].tobytes() == whole[name][image : image + 1].tobytes(), f"{name} of image {image}"


@pytest.mark.parametrize("problem", named("d_odd_sizes", "d_grouped", "d_1d_s4_d3", "d_3d"), ids=of)
def test_layouts_agree(problem, isa):
    """The layout says where numbers lie, not in which order they are added."""
    for dtype in DTYPES:
        data = random_data(problem, dtype)
        assert_same_bits(everything(data, "NHWC"), everything(data, "NCHW"), problem.name)
