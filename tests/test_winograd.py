"""Winograd's F(4x4, 3x3): the error bound that is promised, whole-array and not element by element, and the same bits
whatever else is computed beside."""

import itertools

import numpy as np
import pytest

import convkit
from bounds import assert_within_bound
from cases import (
    DTYPES,
    LAYOUTS,
    THOROUGH,
    assert_same_bits,
    backward,
    everything,
    forward,
    in_turn,
    random_case,
    random_data,
)
from problems import MODES, Problem, named

LARGEST = {"float32": 2e-5, "float64": 4e-14}  # the error's norm over the result's: promised; in proportion to the ulp


def noise(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


SHAPES = [
    Problem("w_even", 1, 32, (8, 16), 40, (3, 3), padding=1),
    Problem("w_tails", 3, 23, (13, 9), 37, (3, 3), padding=((2, 1), (0, 3))),
    Problem("w_few", 1, 3, (6, 5), 2, (3, 3), padding=1),
    Problem("w_one_tile", 2, 17, (3, 4), 18, (3, 3)),
    Problem("w_grouped", 2, 36, (11, 10), 57, (3, 3), padding=1, groups=3),
    Problem("w_dilated", 2, 20, (19, 23), 21, (3, 3), padding=3, dilation=(2, 3)),
    Problem("w_dilated_past", 1, 16, (4, 30), 16, (3, 3), padding=(9, 4), dilation=(7, 4)),
    Problem("w_wide", 1, 16, (5, 301), 16, (3, 3), padding=1),
    Problem("w_chunks", 1, 300, (8, 6), 20, (3, 3), padding=1),
    Problem("w_activated", 2, 24, (12, 12), 24, (3, 3), padding=1, activation=("leaky_relu", 0.1)),
]
VOLUMES = [
    Problem("w_volume", 2, 19, (5, 9, 11), 21, (3, 3, 3), padding=1),
    Problem("w_volume_tails", 1, 34, (6, 7, 5), 18, (2, 3, 3), padding=((1, 0), (2, 2), (1, 1)), dilation=(2, 1, 2)),
    Problem("w_planes", 1, 16, (3, 8, 8), 17, (1, 3, 3), padding=(0, 1, 1), padding_mode="reflect"),
]
SHAPES += [Problem(f"w_{mode}", 2, 19, (9, 11), 20, (3, 3), padding=2, padding_mode=mode) for mode in MODES[1:]]

(TRANSPOSED,) = (problem.but(kernel=(3, 3)) for problem in named("t_stride_1"))


def of(problem):
    return problem.name


def assert_close(got: dict, expected: dict, dtype: str, what: str) -> None:
    for name, array in got.items():
        error = np.linalg.norm(array - expected[name]) / np.linalg.norm(expected[name])
        assert error <= LARGEST[dtype], f"{name} of {what}: {error:.2g}"


@pytest.mark.parametrize("problem", [*SHAPES, *VOLUMES, TRANSPOSED], ids=of)
def test_error_is_within_what_is_promised(problem, isa):
    for dtype, layout in itertools.product(DTYPES, LAYOUTS):
        case = random_case(problem, dtype)
        got = everything(case.data, layout, algorithm="winograd")
        assert_close(got, case.expected, dtype, f"{problem.name}, {layout}")


B = np.abs([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1]])  # fmt: skip
G = np.abs([[6, 0, 0], [4, 4, 4], [4, 4, 4], [1, 2, 4], [1, 2, 4], [0, 0, 24]]) / 24
A = np.abs([[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [1, 2, 4, 8], [1, 2, 4, 8], [0, 0, 0, 1]])
STEPS = 24  # roundings of the transforms, each of two passes: in, and out


def on_both_sides(matrix, tiles):
    return np.einsum("ij,...jk,lk->...il", matrix, tiles, matrix)


def bounds_of_tiles(x, weight, grad, unit: float) -> dict:
    """What the same transforms make of absolute values, times a rounding for each product of a sum and each step.

    Without padding, of an image that whole tiles cover: an output's bound contains its tile, that of a weight's
    gradient all tiles.
    """
    tiles = np.lib.stride_tricks.sliding_window_view(np.abs(x), (6, 6), (2, 3))[:, :, ::4, ::4]
    data, taps = on_both_sides(B, tiles), on_both_sides(G, np.abs(weight))
    n, c_out, height, width = grad.shape
    spread = on_both_sides(A, np.abs(grad).reshape(n, c_out, height // 4, 4, width // 4, 4).swapaxes(3, 4))
    y = on_both_sides(A.T, np.einsum("ncyxij,ocij->noyxij", data, taps)).swapaxes(3, 4).reshape(grad.shape)
    gradient = on_both_sides(G.T, np.einsum("ncyxij,noyxij->ocij", data, spread))
    return {
        "y": (x.shape[1] + STEPS) * unit * y,
        "weight": (data[:, 0, :, :, 0, 0].size + STEPS) * unit * gradient,
    }


@pytest.mark.parametrize("law", ("normal", "badly scaled channels", "large mean"))
@pytest.mark.parametrize(("n", "size"), [pytest.param(3, (8, 24), marks=THOROUGH), (1, (4, 136))])
def test_error_of_a_tile_is_within_its_bound(n, size, law, isa):
    rng = np.random.default_rng(0)
    for dtype in DTYPES:
        problem = Problem("tiles", n, 24, (size[0] + 2, size[1] + 2), 20, (3, 3), bias=False)
        data = random_data(problem, dtype)
        for array in (data.x, data.weight, data.grad):
            if law == "badly scaled channels":
                array *= (2.0 ** rng.integers(-20, 20, (1, array.shape[1], 1, 1))).astype(dtype)
            elif law == "large mean":
                array += 1000
        bounds = bounds_of_tiles(data.x, data.weight, data.grad, np.finfo(dtype).eps / 2)
        wide = np.longdouble
        windows = np.lib.stride_tricks.sliding_window_view(data.x.astype(wide), (3, 3), (2, 3))
        got = everything(data, algorithm="winograd")
        assert_within_bound(got["y"], np.einsum("ncyxij,ocij->noyx", windows, data.weight.astype(wide)), bounds["y"])
        expected = np.einsum("ncyxij,noyx->ocij", windows, data.grad.astype(wide))
        assert_within_bound(got["weight"], expected, bounds["weight"])


@pytest.mark.parametrize("problem", SHAPES[:3] + SHAPES[4:7] + VOLUMES[:2], ids=of)
def test_bits_know_neither_threads_nor_batch(problem, isa):
    dtype, layout = in_turn(problem, DTYPES, LAYOUTS)
    data = random_data(problem.but(n=5), dtype)
    with convkit.threads(1):
        expected = everything(data, layout, algorithm="winograd")
    for count in (2, 3, 8):
        with convkit.threads(count):
            assert_same_bits(everything(data, layout, algorithm="winograd"), expected, f"{count} threads")
    operator, options = getattr(convkit, problem.forward), problem.arguments | {"algorithm": "winograd"}
    alone = operator(data.x[2:3], data.weight, data.bias, **options)
    y = operator(data.x, data.weight, data.bias, **options)
    with convkit.workspace_limit("420kB"), convkit.threads(2):  # other blocks, and chunks of channels
        assert_same_bits(everything(data, layout, algorithm="winograd"), expected, "420 kB")
    assert alone.tobytes() == y[2:3].tobytes()


@pytest.mark.parametrize(
    "problem",
    [
        Problem("w_rounds", 8, 384, (9, 9), 160, (3, 3), padding=1),
        pytest.param(Problem("w_volume_rounds", 2, 96, (3, 30, 30), 96, (3, 3, 3), padding=1), marks=THOROUGH),
    ],
    ids=of,
)
def test_inputs_that_all_tasks_share(problem, isa):
    """Of so many channels that inputs are transformed once, in rounds; with little memory each task has its own.

    The points of 48 channels' weights, three planes of taps and two vectors of lanes are 664 kB with AVX-512.
    """
    data = random_data(problem, *in_turn(problem, DTYPES))
    with convkit.workspace_limit("750kB"), convkit.threads(1):
        expected = forward(data, algorithm="winograd")
    for count in (1, 3):
        with convkit.threads(count):
            assert forward(data, algorithm="winograd").tobytes() == expected.tobytes(), f"{count} threads"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_low_limit_takes_few_channels_of_a_gradient_of_the_weight(dtype, isa):
    """36 sums of a vector of channels, three planes of taps and two vectors of lanes are 220 kB with AVX-512."""
    data = random_data(VOLUMES[0], dtype)
    expected = backward(data, need="weight", algorithm="winograd")
    with convkit.workspace_limit("200kB"), convkit.threads(1):
        got = backward(data, need="weight", algorithm="winograd")
    assert got["weight"].tobytes() == expected["weight"].tobytes()


@pytest.mark.parametrize("operand", ("x", "weight"))
@pytest.mark.parametrize("problem", SHAPES[1:2] + SHAPES[4:6], ids=of)
def test_what_is_not_finite_stays_where_it_is_read(problem, operand, isa):
    """One element spreads over a tile's transform; every output of such a tile is then that of implicit_gemm."""
    data = random_data(problem, "float32")
    clean, direct = forward(data, algorithm="winograd"), forward(data, algorithm="implicit_gemm")
    for value in (np.nan, np.inf, np.float32(3e38)):  # the last overflows in the transform alone
        getattr(data, operand)[0, 1, 1, 2] = value
        with np.errstate(invalid="ignore", over="ignore"):
            got, expected = forward(data, algorithm="winograd"), forward(data, algorithm="implicit_gemm")
        same = (got == expected) | (np.isnan(got) & np.isnan(expected))
        assert np.array_equal(np.isfinite(got), np.isfinite(expected))
        assert (same | (got == clean)).all()
        assert same[expected != direct].all()


@pytest.mark.parametrize("operand", ("x", "grad"))
@pytest.mark.parametrize("problem", [*SHAPES[1:2], *SHAPES[4:6], VOLUMES[0]], ids=of)
def test_a_gradient_of_the_weight_of_what_is_not_finite_is_the_engines(problem, operand, isa):
    data = random_data(problem, "float32")
    for value in (np.nan, np.inf, np.float32(3e38)):
        getattr(data, operand)[(0, 1) + (1,) * len(problem.spatial)] = value
        with np.errstate(invalid="ignore", over="ignore"):
            got, expected = (
                backward(data, need=("weight", "bias"), algorithm=name) for name in ("winograd", "implicit_gemm")
            )
        assert np.array_equal(got["weight"], expected["weight"], equal_nan=True)
        assert np.array_equal(np.isfinite(got["bias"]), np.isfinite(expected["bias"]))


@pytest.mark.parametrize("activation", ["sigmoid", "gelu"])
def test_a_tile_by_itself_is_activated_by_itself(activation, isa):
    """What lies behind its outputs are offsets to read from: written over, they end the process sooner or later."""
    rng = np.random.default_rng(0)
    x, weight = noise(rng, 2, 16, 28, 28), noise(rng, 32, 16, 3, 3)
    for _ in range(20):
        x.flat[rng.integers(0, x.size)] = np.nan
        got, wanted = (
            convkit.conv2d(x, weight, padding=1, activation=activation, algorithm=algorithm)
            for algorithm in ("winograd", "implicit_gemm")
        )
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-3)


def test_a_gradient_of_the_bias_is_the_same_alone(isa):
    for problem in (SHAPES[1], SHAPES[5]):
        data = random_data(problem, "float32")
        both, alone = (backward(data, need=need, algorithm="winograd") for need in (("weight", "bias"), "bias"))
        assert alone["bias"].tobytes() == both["bias"].tobytes()


def test_gradient_of_what_is_not_finite(isa):
    data = random_data(SHAPES[0], "float32")
    data.grad[0, 3, 0, 15] = np.inf
    with np.errstate(invalid="ignore"):
        got, expected = (backward(data, need="x", algorithm=name)["x"] for name in ("winograd", "implicit_gemm"))
    assert np.array_equal(np.isfinite(got), np.isfinite(expected))
    assert np.array_equal(np.isposinf(got), np.isposinf(expected))


ALL = ("y", "x", "weight")
RULE = [  # channels in and out, image, dilation; what "auto" has Winograd's algorithm do
    ((16, 16, (14, 14), 1), ALL),
    ((64, 9, (14, 14), 1), ALL),
    ((7, 64, (14, 14), 1), ("weight",)),
    ((64, 7, (14, 14), 1), ("weight",)),
    ((256, 5, (56, 56), 1), ALL),
    ((256, 4, (56, 56), 1), ("weight",)),
    ((256, 3, (56, 56), 1), ()),
    ((512, 512, (7, 7), 1), ALL),
    ((256, 256, (5, 5), 1), ()),
    ((128, 128, (4, 4), 1), ALL),
    ((64, 64, (4, 4), 1), ()),
    ((32, 32, (4, 12), 1), ALL),
    ((32, 32, (1, 48), 1), ()),
    ((32, 32, (28, 28), 2), ALL),
    ((32, 32, (28, 28), 12), ()),
    ((331, 18, (5, 55), 2), ("weight",)),
]


@pytest.mark.parametrize(("shape", "winograd"), RULE)
def test_what_auto_takes(shape, winograd):
    """A rule of one image's shape, which decides bits: it may not change."""
    c_in, c_out, spatial, dilation = shape
    data = random_data(Problem("rule", 1, c_in, spatial, c_out, (3, 3), padding=dilation, dilation=dilation), "float32")
    got = everything(data)
    for algorithm in ("winograd", "implicit_gemm"):
        for name, array in everything(data, algorithm=algorithm).items():
            taken = (name in winograd) == (algorithm == "winograd")
            assert name == "bias" or np.array_equal(got[name], array) == taken, f"{name}, {algorithm}"
