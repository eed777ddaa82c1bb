"""NaN and Inf reach exactly the outputs that read them: no neighbour, no other channel, and nothing through padding.

Padding is not a zero that is multiplied but a product that is not there, so even an infinite weight leaves a border
output finite where its tap lies outside the image. Which outputs read what is counted by the reference on ones.
"""

import dataclasses
import itertools

import numpy as np
import pytest

import convkit
from bounds import assert_within_bound
from cases import (
    ALGORITHMS,
    GRADIENTS,
    LAYOUTS,
    Data,
    backward,
    each,
    everything,
    random_case,
    random_data,
    reference_gradients,
)
from problems import Problem, named

SHAPES = named(
    "odd_sizes", "tails_23_29", "even_kernel_lower", "asymmetric_s2", "dilated_strided", "dilation_past",
    "stride_over_kernel", "1x1_padded_s3", "1x1_s2", "kernel_over_image", "grouped_odd", "depthwise", "depthwise_s2",
    "depthwise_x3", "one_output", "reflect", "circular", "replicate_grouped", "1d_s4_d3", "3d_mixed",
    "t_stride_1", "t_primes", "t_tails_23_29", "t_asymmetric", "t_dilated_strided", "t_under_stride_out",
    "t_out_over_stride", "t_kernel_is_stride", "t_cropped_to_one", "t_one_output", "t_grouped_odd", "t_depthwise",
    "t_depthwise_x3", "t_same_deficit", "t_1d_s4_d3", "t_3d_mixed",
)  # fmt: skip
VALUES = (np.nan, np.inf, -np.inf)


def of(problem):
    return problem.name


def reference(problem: Problem, x, weight, bias, grad) -> dict:
    """y and the gradients in float64."""
    back = getattr(convkit.reference, problem.backward)(grad, x, weight, **problem.arguments)
    return {"y": getattr(convkit.reference, problem.forward)(x, weight, bias, **problem.arguments)} | back._asdict()


def positions(shape) -> list[tuple]:
    """First, middle and last along a spatial axis, corners and middles along several, in a channel that changes."""
    places = sorted(itertools.product(*({0, size // 2, size - 1} for size in shape[2:])))
    places = places[:: 1 if len(places) <= 3 else 2]
    return [((3 * i + 1) % shape[0], (5 * i + 2) % shape[1], *place) for i, place in enumerate(places)]


def readers(data: Data, operand: str, index) -> dict:
    """For every result, which of its elements read `operand[index]`."""
    ones = {name: np.ones(getattr(data, name).shape) for name in ("x", "weight", "grad")}
    ones["bias"] = np.zeros(data.problem.c_out)
    mark = np.zeros_like(ones[operand])
    mark[index] = 1
    nothing = {"x": 0 * ones["x"]} if operand == "bias" else {}
    counts = reference(data.problem, **(ones | nothing | {operand: mark}))
    read_by = {"x": ("y", "weight"), "weight": ("y", "x"), "bias": ("y",), "grad": GRADIENTS}[operand]
    return {name: counts[name] > 0 if name in read_by else np.zeros(counts[name].shape, bool) for name in counts}


def planted(data: Data, operand: str, index, value) -> Data:
    """`data` with one element changed."""
    array = getattr(data, operand).copy()
    array[index] = value
    return dataclasses.replace(data, **{operand: array})


def plants(data: Data):
    """Every (operand, index, value) that the tests plant: each position once, the values in turn."""
    spots = [(name, index) for name in ("x", "weight", "grad") for index in positions(getattr(data, name).shape)]
    spots += [("bias", (data.problem.c_out // 2,))]
    return [(name, index, VALUES[i % 3]) for i, (name, index) in enumerate(spots)]


QUICK = ("odd_sizes", "reflect", "1d_s4_d3", "t_depthwise")


@each(SHAPES, lambda problem: problem.name in QUICK)
def test_only_the_readers_are_touched(problem, any_isa):
    """On every route the readers are as in the reference, not finite, and all others keep their bounds."""
    case = random_case(problem, "float32")
    for i, (operand, index, value) in enumerate(plants(case.data)):
        data = planted(case.data, operand, index, value)
        with np.errstate(invalid="ignore"):
            expected = reference(problem, data.x, data.weight, data.bias, data.grad)
        touched = readers(case.data, operand, index)
        layout = LAYOUTS[i % 2]
        for isa, algorithm in itertools.product(convkit.available_isas(), ("auto", ALGORITHMS[1 + i // 2 % 2])):
            convkit.set_isa(isa)
            for name, got in everything(data, layout, algorithm=algorithm).items():
                what = f"{name} with {value} at {operand}{[int(j) for j in index]}, {layout}, {algorithm}, {isa}"
                wrong = np.isfinite(got) == touched[name]
                assert not wrong.any(), f"{what}: {wrong.sum()} wrong, the first {np.argwhere(wrong)[0].tolist()}"
                ill, calm = touched[name], ~touched[name]
                assert np.array_equal(got[ill], expected[name][ill].astype(np.float32), equal_nan=True), what
                assert_within_bound(got[calm], case.expected[name][calm], case.bound[name][calm], what)


@pytest.mark.parametrize("problem", named("odd_sizes", "depthwise", "1x1", "grouped_odd"), ids=of)
def test_zero_times_infinity_is_seen(problem, isa):
    """No path skips a zero weight, a zero gradient or a zero pixel that stands inside the image."""
    data = random_case(problem, "float32").data
    spot = (0, 0, *(size // 2 for size in problem.spatial))
    zeros = dataclasses.replace(data, weight=np.zeros_like(data.weight), grad=np.zeros_like(data.grad))
    for algorithm in ("auto", "implicit_gemm", "im2col"):
        got = everything(planted(zeros, "x", spot, np.inf), algorithm=algorithm)
        touched = readers(data, "x", spot)
        for name in ("y", "weight"):
            assert np.array_equal(np.isnan(got[name]), touched[name]), f"{name}, {algorithm}"


BORDERS = named("odd_sizes", "stride_over_kernel", "grouped_odd", "depthwise_s2", "1d_s4_d3")


@pytest.mark.parametrize("problem", BORDERS, ids=of)
def test_all_weights_infinite(problem, isa):
    """Every tap of every output would be Inf or NaN if it were there; outputs on the border have few that are."""
    data = random_case(problem.but(padding="full"), "float32").data
    data = dataclasses.replace(data, weight=np.full_like(data.weight, np.inf), bias=None)
    with np.errstate(invalid="ignore"):
        expected = getattr(convkit.reference, problem.forward)(data.x, data.weight, **data.problem.arguments)
        expected = {"y": expected, "x": reference_gradients(data)["x"]}
    for layout in LAYOUTS:
        got = everything(data, layout)
        for name, array in expected.items():
            assert np.array_equal(got[name], array.astype(np.float32), equal_nan=True), f"{name}, {layout}"


def test_one_image_does_not_touch_another(isa):
    """Bits of the other images, with a NaN in one, and with a NaN in the weight of another channel."""
    for problem in named("odd_sizes", "small_images", "1x1"):
        data = random_case(problem, "float32").data
        expected = everything(data)
        ill = everything(planted(data, "x", (0, 0, 0, 0), np.nan))
        assert ill["y"][1:].tobytes() == expected["y"][1:].tobytes()
        ill = everything(planted(data, "grad", (0, 0, 0, 0), np.nan))
        assert ill["x"][1:].tobytes() == expected["x"][1:].tobytes()
        ill = everything(planted(data, "weight", (0, 0, 0, 0), np.nan))
        assert ill["y"][:, 1:].tobytes() == expected["y"][:, 1:].tobytes()


@pytest.mark.parametrize("groups", (1, 12))
def test_one_channel_does_not_touch_another_where_padding_repeats(groups, isa):
    """A corner is the sum of a dozen padded positions, of which a weight that is not finite cuts the block."""
    problem = Problem("repeated", 2, 12, (5, 6), 12, (3, 3), padding=((3, 4), (4, 3)), groups=groups)
    data = random_data(problem.but(padding_mode="replicate"), "float32")
    ill = planted(data, "weight", (3, 0, 0, 0) if groups > 1 else (0, 3, 0, 0), np.inf)
    others = np.arange(12) != 3
    for layout, algorithm in itertools.product(LAYOUTS, ("auto", "implicit_gemm", "im2col")):
        got, expected = (backward(some, layout, need="x", algorithm=algorithm)["x"] for some in (ill, data))
        assert got[:, others].tobytes() == expected[:, others].tobytes(), f"{layout}, {algorithm}"


@pytest.mark.parametrize("groups", (1, 4))
def test_a_gradient_that_an_activation_makes_infinite_meets_no_padding(groups, isa):
    """Twice what is finite overflows where it is packed: taps that read beside the image keep their sums."""
    rng = np.random.default_rng(0)
    x, grad = (rng.standard_normal((1, 16, 9, 9), np.float32) for _ in range(2))
    weight, options = np.ones((16, 16 // groups, 3, 3), np.float32), {"padding": 1, "groups": groups}
    grad[0, 3, 0, 0] = 2e38
    with np.errstate(over="ignore"):
        expected = convkit.conv2d_backward(2 * grad, x, weight, **options)
    got = convkit.conv2d_backward(grad, x, weight, activation=("leaky_relu", 2), y=0 * grad, **options)
    assert np.isinf(got.weight[3]).sum() == 4 * 16 // groups
    for name, array in expected._asdict().items():
        assert np.array_equal(getattr(got, name), array), name


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_extremes(dtype, isa):
    """Overflow to Inf, subnormal results kept (nothing flushes them), signs of zero as a sum gives them."""
    limits = np.finfo(dtype)
    x = np.full((1, 1, 1, 40), limits.max, dtype)
    weight = np.ones((1, 1, 1, 3), dtype)
    assert np.isposinf(convkit.conv2d(x, weight)).all()
    tiny = np.full((1, 1, 1, 40), limits.smallest_subnormal, dtype)
    assert (convkit.conv2d(tiny, weight) == 3 * limits.smallest_subnormal).all()
    assert (convkit.conv2d_backward(tiny, tiny, weight[..., :1], need="x").x == limits.smallest_subnormal).all()
    assert limits.smallest_subnormal.dtype.type(limits.tiny) / 2 > 0
