"""conv1d, conv2d, conv3d and their gradients: padding, and more than `test_conv_family.py` has."""

import itertools

import numpy as np
import pytest

import convkit
from cases import EVERY_ACTIVATION, assert_same_bits, backward, everything, forward, random_data
from problems import MODES, Problem, named


def of(problem: Problem) -> str:
    return problem.name


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


@pytest.mark.parametrize("far", (2**63 - 1, 2**63 - 3))
def test_the_longest_strides(far, isa):
    """Rows of one output, whose taps lie in runs of their own: none is a stride before the first."""
    x = np.arange(1.0, 49).reshape(2, 1, 3, 8)
    for taps in (3, 7):
        weight = 2.0 ** np.arange(taps).reshape(1, 1, 1, taps)
        y = convkit.conv2d(x, weight, stride=(1, far))
        assert np.array_equal(y, (x[..., :taps] * weight).sum(axis=-1, keepdims=True))


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
    for activation in EVERY_ACTIVATION:
        got = forward(data, activation=activation)
        assert np.array_equal(np.isnan(got), nan), activation
        if activation in exact:
            assert np.array_equal(got, exact[activation], equal_nan=True), activation


# ---- the arguments ----


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
