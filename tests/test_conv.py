"""conv1d, conv2d, conv3d and their gradients: against the reference, against identities, and through every argument."""

import itertools

import numpy as np
import pytest

import convkit
from cases import (
    EVERYWHERE,
    GRADIENTS,
    LAYOUTS,
    arrange,
    assert_bounds,
    assert_exact,
    assert_same_bits,
    backward,
    each_place,
    enough,
    every_other,
    everything,
    forward,
    in_float32,
    pairs,
    possible,
    random_data,
    restore,
)
from problems import EMPTY, MODES, NAMED, Problem, named

ACTIVATIONS = (
    "relu", ("leaky_relu", 0.125), ("leaky_relu", 0.1), "sigmoid", "tanh", ("clip", -0.75, 1.5), "hard_sigmoid",
    ("elu", 0.75),
)  # fmt: skip
SMALL = named(
    "even_kernel", "asymmetric_s2", "grouped_odd", "depthwise_x3", "1d_s4_d3", "3d_mixed", "reflect", "1x1_s2"
)


def of(problem: Problem) -> str:
    return problem.name


# ---- the float64 reference ----


@each_place(NAMED, places=enough)
def test_named_problems_keep_the_bound(problem, places, any_isa):
    assert_bounds(problem, places)


@each_place(NAMED, every_other, in_float32)
def test_integers_are_exact(problem, places, any_isa):
    """And so are adjoints, since those of the reference are."""
    assert_exact(problem, places)


@pytest.mark.parametrize("problem", named("depthwise", "depthwise_s2", "1d_depthwise", "3d_depthwise"), ids=of)
def test_direct_does_depthwise(problem, isa):
    assert possible(random_data(problem, "float32"), "NCHW", "direct").keys() == {"y", *GRADIENTS}


@pytest.mark.parametrize("problem", EMPTY, ids=of)
def test_empty_problems(problem, any_isa):
    """Without images or outputs there is nothing, or a gradient of exactly zero; without inputs there is the bias."""
    assert_bounds(problem, EVERYWHERE)
    data = random_data(problem, "float32")
    for algorithm in ("auto", "implicit_gemm", "im2col"):
        got = everything(data, algorithm=algorithm)
        if problem.n == 0 or problem.c_out == 0:
            assert all(not got[name].any() for name in GRADIENTS)
        if problem.c_in == 0 and problem.bias:
            shaped = data.bias.reshape(1, -1, *[1] * problem.nd)
            assert np.array_equal(got["y"], np.broadcast_to(shaped, got["y"].shape))


# ---- identities, which need no reference ----


@pairs("problem, activation", SMALL, (None, *ACTIVATIONS))
def test_central_differences(problem, activation):
    """Every gradient element in float64 against (loss(v + h) - loss(v - h)) / 2h, loss = sum(grad * y)."""
    problem = problem.but(n=1, activation=activation, spatial=tuple(min(size, 9) for size in problem.spatial))
    data = random_data(problem, "float64")
    grads = backward(data)
    step = 1e-6
    rng = np.random.default_rng(5)
    for name in GRADIENTS:
        values = getattr(data, name)
        for index in rng.choice(values.size, min(values.size, 24), replace=False):
            kept = values.flat[index]
            losses = []
            for moved in (kept + step, kept - step):
                values.flat[index] = moved
                losses.append(np.sum(data.grad * forward(data)))
            values.flat[index] = kept
            numeric = (losses[0] - losses[1]) / (2 * step)
            assert abs(grads[name].flat[index] - numeric) <= 1e-5 + 1e-3 * abs(numeric), f"{name}[{index}]"


@pytest.mark.parametrize("problem", SMALL, ids=of)
def test_powers_of_two_scale_exactly(problem, isa):
    data = random_data(problem.but(bias=False), "float32")
    expected = {name: array * 8 for name, array in everything(data).items() if name != "weight"}
    data.weight[...] *= 8
    got = everything(data)
    assert_same_bits({"y": got["y"], "x": got["x"]}, {"y": expected["y"], "x": expected["x"]})


# ---- padding ----


@pytest.mark.parametrize("padding", ("valid", "full", "same", "same_upper", "same_lower"))
@pytest.mark.parametrize("nd", (1, 2, 3))
def test_named_padding_is_a_pair_of_numbers(padding, nd):
    for step, gap in itertools.product((1, 2, 3), (1, 2)):
        problem = Problem("padding", 1, 2, (11, 8, 9)[:nd], 3, (4, 3, 2)[:nd], step, padding, gap)
        got = everything(random_data(problem, "float32"))
        assert_same_bits(got, everything(random_data(problem.but(padding=problem.pads), "float32")), f"{problem}")
        if padding.startswith("same"):
            assert got["y"].shape[2:] == tuple(-(-n // step) for n in problem.spatial)


def test_forms_of_padding_agree():
    def run(padding):
        return everything(random_data(Problem("forms", 2, 3, (7, 8), 4, (3, 3), 1, padding), "float32"))

    assert_same_bits(run(1), run((1, 1)))
    assert_same_bits(run(1), run(((1, 1), (1, 1))))
    assert_same_bits(run((1, 2)), run(((1, 1), (2, 2))))
    assert_same_bits(run(np.int64(1)), run(1))


@pytest.mark.parametrize("mode", ("zeros", "replicate"))
@pytest.mark.parametrize("nd", (1, 2))
def test_outputs_farther_apart_than_any_array_is_long(nd, mode):
    far, edge = 2**60, mode == "replicate"
    x, weight = np.arange(1.0, 4**nd + 1), np.ones((1, 1, *(3,) * nd))
    window = np.array([[3 * edge, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 3 * edge]])  # of what each output is the sum
    matrix = window if nd == 1 else np.kron(window, window)
    options = {"stride": far, "padding": far, "padding_mode": mode}
    y = getattr(convkit, f"conv{nd}d")(x.reshape(1, 1, *(4,) * nd), weight, **options)
    assert np.array_equal(y.ravel(), matrix @ x)
    grad = np.arange(1.0, 3**nd + 1)
    dx = getattr(convkit, f"conv{nd}d_backward")(
        grad.reshape(y.shape), (1, 1, *(4,) * nd), weight, need="x", **options
    ).x
    assert np.array_equal(dx.ravel(), matrix.T @ grad)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("nd", (1, 2, 3))
def test_padding_modes_are_numpys(mode, nd, isa):
    """The same bits as convolving what np.pad returns, and the same weight gradient up to rounding."""
    pairs = ((2, 3), (0, 4), (1, 2))[:nd]
    problem = Problem("modes", 2, 3, (7, 6, 5)[:nd], 4, (3, 4, 2)[:nd], (1, 2, 1)[:nd], pairs, padding_mode=mode)
    data = random_data(problem, "float64")
    numpy_mode = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    padded = np.pad(data.x, ((0, 0), (0, 0), *pairs), mode=numpy_mode)
    operator = getattr(convkit, problem.forward)
    assert np.array_equal(forward(data), operator(padded, data.weight, data.bias, stride=problem.stride))
    by_copy = getattr(convkit, problem.backward)(data.grad, padded, data.weight, stride=problem.stride)
    assert np.allclose(backward(data)["weight"], by_copy.weight, rtol=1e-12, atol=1e-12)


# ---- activations ----


FUSED = [
    problem.but(name=f"{problem.name}, {activation}", activation=activation)
    for problem in named("tails_19_13", "depthwise", "1x1", "1d", "reflect", "grouped_narrow")
    for activation in ACTIVATIONS
]


@each_place(FUSED, every_other, enough)
def test_fused_activations_keep_the_bound(problem, places, any_isa):
    assert_bounds(problem, places)


@pytest.mark.parametrize("problem", named("tails_19_13", "depthwise"), ids=of)
def test_fused_activations_change_only_the_store(problem, isa):
    """Where the activation is exact, so are its outputs; NaN passes through each of them."""
    data = random_data(problem, "float32")
    data.x[0, 0, 3, 3] = np.nan
    plain = forward(data)
    nan = np.isnan(plain)
    assert nan.any()
    assert not nan.all()
    exact = {
        "relu": np.maximum(plain, 0),
        ("leaky_relu", 0.125): np.where(plain > 0, plain, plain * np.float32(0.125)),
        ("clip", -0.75, 1.5): np.clip(plain, -0.75, 1.5),
    }
    for activation in ACTIVATIONS:
        got = forward(data, activation=activation)
        assert np.array_equal(np.isnan(got), nan), activation
        if activation in exact:
            assert np.array_equal(got, exact[activation], equal_nan=True), activation


# ---- the arguments ----


@pytest.mark.parametrize("problem", SMALL, ids=of)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_a_batch(problem, layout):
    data = random_data(problem.but(n=1), "float32")
    batched = everything(data, layout)
    x, grad = arrange(data.x, layout)[0], arrange(data.grad, layout)[0]
    y = getattr(convkit, problem.forward)(x, data.weight, data.bias, layout=layout, **problem.arguments)
    grads = getattr(convkit, problem.backward)(grad, x, data.weight, layout=layout, **problem.arguments)
    images = {"y": restore(y[None], layout), "x": restore(grads.x[None], layout)}
    assert_same_bits(images | {"weight": grads.weight, "bias": grads.bias}, batched)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_out_is_filled_and_returned(layout, isa):
    for problem in SMALL:
        data = random_data(problem, "float32")
        expected = everything(data, layout)
        y = np.full_like(arrange(expected["y"], layout), np.nan)
        x = np.full_like(arrange(expected["x"], layout), np.nan)
        weight, bias = np.full_like(data.weight, np.nan), np.full(problem.c_out, np.nan, np.float32)
        x_in, grad = arrange(data.x, layout), arrange(data.grad, layout)
        common = problem.arguments | {"layout": layout}
        assert getattr(convkit, problem.forward)(x_in, data.weight, data.bias, out=y, **common) is y
        out = convkit.ConvGrads(x, weight, bias)
        grads = getattr(convkit, problem.backward)(grad, x_in, data.weight, out=out, **common)
        assert grads.x is x
        assert grads.weight is weight
        assert grads.bias is bias
        assert_same_bits({"y": restore(y, layout), "x": restore(x, layout), "weight": weight, "bias": bias}, expected)
        partly = getattr(convkit, problem.backward)(grad, x_in, data.weight, out=(None, weight, None), **common)
        assert partly.weight is weight
        assert partly.x.tobytes() == x.tobytes()


@pytest.mark.parametrize("problem", SMALL, ids=of)
def test_only_what_is_needed(problem, isa):
    """Each subset of gradients gives the bits of all three, and None for the rest."""
    data = random_data(problem, "float32")
    expected = backward(data)
    for count in (1, 2):
        for need in itertools.combinations(GRADIENTS, count):
            got = backward(data, need=need)
            assert {name for name in GRADIENTS if got[name] is not None} == set(need)
            assert_same_bits({name: got[name] for name in need}, {name: expected[name] for name in need}, str(need))
        assert backward(data, need=GRADIENTS[count])[GRADIENTS[count]] is not None


@pytest.mark.parametrize("problem", SMALL, ids=of)
def test_shapes_stand_in_for_what_is_not_read(problem):
    data = random_data(problem, "float32")
    expected = backward(data)
    operator = getattr(convkit, problem.backward)
    only_x = operator(data.grad, data.x.shape, data.weight, need=("x", "bias"), **problem.arguments)
    assert_same_bits({"x": only_x.x, "bias": only_x.bias}, {"x": expected["x"], "bias": expected["bias"]})
    only_weight = operator(data.grad, data.x, data.weight.shape, need=("weight", "bias"), **problem.arguments)
    assert_same_bits({"weight": only_weight.weight}, {"weight": expected["weight"]})


def test_one_number_or_one_per_axis():
    """An int stands for every axis; np.integer is an int."""

    def run(one, two):
        return everything(random_data(Problem("sizes", 1, 2, (9, 9), 3, (3, 3), two, one, two), "float32"))

    for one, two in (((1, 1), (2, 2)), (np.int64(1), np.int32(2)), ([1, 1], [2, 2])):
        assert_same_bits(run(one, two), run(1, 2))


def test_the_kernel_is_not_flipped():
    """A hand-worked cross-correlation, and the mathematical convolution through a reversed view of the weight."""
    x = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    weight = np.array([[1, 2], [3, 4]], np.float32).reshape(1, 1, 2, 2)
    assert convkit.conv2d(x, weight).tolist() == [[[[34, 44, 54], [74, 84, 94]]]]
    assert convkit.conv2d(x, weight[..., ::-1, ::-1]).tolist() == [[[[16, 26, 36], [56, 66, 76]]]]
    grads = convkit.conv2d_backward(np.ones((1, 1, 2, 3), np.float32), x, weight)
    assert grads.x.tolist() == [[[[1, 3, 3, 2], [4, 10, 10, 6], [3, 7, 7, 4]]]]
    assert grads.weight.tolist() == [[[[18, 24], [42, 48]]]]
    assert grads.bias.tolist() == [6]


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_that_is_read_from_elsewhere_without_a_window(mode):
    """Depthwise with adjacent channels, and weights that are not packed, read the image where it is."""
    rng = np.random.default_rng(0)
    for shape, weight, options in (
        ((1, 9, 9, 16), (16, 1, 3, 3), {"padding": 1, "groups": 16, "layout": "NHWC"}),
        ((1, 1, 5, 5), (2, 1, 5, 5), {"padding": 1, "stride": 9}),
    ):
        x, w = rng.standard_normal(shape, np.float32), rng.standard_normal(weight, np.float32)
        got = convkit.conv2d(x, w, padding_mode=mode, **options)
        expected = convkit.conv2d(x, w, padding_mode=mode, algorithm="im2col", **options)
        assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("activation", [None, ("clip", 0.0, 1.0), "silu"])
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "stride", "groups"),
    [
        (24, 56, 1, 1, 1),
        (40, 40, 1, 2, 1),
        (33, 13, 1, 1, 1),
        (58, 58, 3, 1, 58),
        (20, 20, 3, 2, 20),
        (16, 16, 5, 1, 16),
    ],
)
def test_channels_last_has_the_same_bits(channels, outputs, kernel, stride, groups, activation):
    """Stored from registers, in whole vectors and what is left, read in place; depthwise ones line by line."""
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((2, channels, 7, 19), np.float32)
    w = rng.standard_normal((outputs, channels // groups, kernel, kernel), np.float32)
    b, options = rng.standard_normal(outputs, np.float32), {"stride": stride, "padding": kernel // 2, "groups": groups}
    f = convkit.prepare_conv2d(w, b, activation=activation, **options)
    g = convkit.prepare_conv2d(w, b, activation=activation, layout="NHWC", **options)
    turned, y = np.ascontiguousarray(x.transpose(0, 2, 3, 1)), f(x)
    assert np.array_equal(g(turned), y.transpose(0, 2, 3, 1))
    add = rng.standard_normal(y.shape, np.float32)
    got = g(turned, add=np.ascontiguousarray(add.transpose(0, 2, 3, 1)))
    assert np.array_equal(got, f(x, add=add).transpose(0, 2, 3, 1))
