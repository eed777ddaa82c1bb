"""Prepared convolutions: the bits of the unprepared for any image, from several threads, with `add` or without."""

import copy
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import convkit
from cases import DTYPES, LAYOUTS, arrange, forward, in_turn, random_data
from convkit._ext import engine
from problems import Problem, Transposed, named

SHAPES = [
    *named("odd_sizes", "1x1", "1x1_two_k_blocks", "depthwise", "grouped_odd", "dilated_strided", "over_k_block"),
    *named("2352_taps", "circular", "1d_s4_d3", "3d_mixed", "t_asymmetric", "t_grouped_odd", "t_primes"),
    *named("t_under_stride_out", "t_1d_s4_d3"),
    Transposed("p_lacks_phases", 2, 4, (1, 1), 6, (3, 5), (5, 4), padding=(1, 2)),
    Problem("p_winograd", 2, 20, (14, 17), 37, (3, 3), padding=1),
    Problem("p_winograd_grouped", 2, 48, (8, 9), 34, (3, 3), padding=2, groups=2, activation="relu"),
]
FUNCTIONS = [f"prepare_conv{kind}{nd}d" for kind in ("", "_transpose") for nd in (1, 2, 3)]


def of(problem):
    return problem.name


def prepare(problem: Problem, data, **options):
    function = getattr(convkit, f"prepare_{problem.forward}")
    return function(data.weight, data.bias, **problem.arguments, activation=problem.activation, **options)


@pytest.mark.parametrize("problem", SHAPES, ids=of)
def test_bits_are_those_of_the_operator(problem, isa):
    """Also on a second call, which finds the panels there, and of an image of another size, in several threads."""
    for dtype in DTYPES:
        data, (layout,) = random_data(problem, dtype), in_turn(problem.but(name=problem.name + dtype), LAYOUTS)
        f, x = prepare(problem, data, layout=layout), arrange(data.x, layout)
        expected = arrange(forward(data, layout), layout)
        for _ in range(2):
            assert f(x).tobytes() == expected.tobytes()
        larger = random_data(problem.but(spatial=tuple(size + 4 for size in problem.spatial)), dtype)
        larger = arrange(larger.x, layout)
        options = problem.arguments | {"activation": problem.activation, "layout": layout}
        wanted = getattr(convkit, problem.forward)(larger, data.weight, data.bias, **options)
        with ThreadPoolExecutor(4) as pool:
            assert all(y.tobytes() == wanted.tobytes() for y in pool.map(f, [larger] * 8))


def test_weights_of_a_few_pixels_are_not_laid_out(isa):
    """They are read where they are; a form would be 4 MiB more."""
    f = convkit.prepare_conv2d(np.ones((1024, 1024, 1, 1), np.float32))
    x = np.ones((1, 1024, 1, 1), np.float32)
    tracemalloc.start()
    y = f(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.all(y == 1024)
    assert peak < 2**20


def test_winograds_weights_are_laid_out_as_points_or_as_taps(isa, costs):
    """Points are four times as many bytes, which for a few tiles would come from memory; one function makes both."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((512, 512, 3, 3), np.float32)
    f = convkit.prepare_conv2d(weight, padding=1)
    for size, memory, least, most in ((7, 1, 9, 18), (28, 0, 36, 45), (7, 1, 0, 9)):
        engine.set_costs(costs | {"memory": (memory,)})
        x = rng.standard_normal((1, 512, size, size), np.float32)
        tracemalloc.start()
        y = f(x)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert least * 2**20 < peak < most * 2**20
        assert y.tobytes() == convkit.conv2d(x, weight, padding=1).tobytes()


@pytest.mark.parametrize("activation", (None, "relu", "tanh"))
@pytest.mark.parametrize("problem", [*SHAPES[:4], SHAPES[11], SHAPES[-2]], ids=of)
def test_add(problem, activation, isa):
    """((sum + bias) + add), then the activation; into `add` itself, too."""
    layout = in_turn(problem, LAYOUTS)[0]
    data = random_data(problem, "float32")
    sums = arrange(forward(data, layout), layout)
    more = np.random.default_rng(1).standard_normal(sums.shape).astype(np.float32)
    f = prepare(problem.but(activation=activation), data, layout=layout)
    x = arrange(data.x, layout)
    got, out = f(x, add=more), more.copy()
    assert f(x, add=out, out=out) is out
    assert got.tobytes() == out.tobytes()
    expected = sums + more
    if activation == "tanh":
        assert np.allclose(got, np.tanh(expected.astype(np.float64)), rtol=4 * np.finfo(np.float32).eps, atol=0)
    else:
        assert np.array_equal(got, expected if activation is None else np.maximum(expected, 0))


def test_add_where_a_tile_is_computed_again(isa):
    problem = SHAPES[-2]
    data = random_data(problem, "float32")
    data.x[0, 3, 5, 5] = np.inf
    more = np.ones(problem.y_shape, np.float32)
    with np.errstate(invalid="ignore"):
        expected = forward(data) + more
        assert np.array_equal(prepare(problem, data)(data.x, add=more), expected, equal_nan=True)


def test_weights_are_copied():
    data = random_data(SHAPES[0], "float32")
    f, expected = prepare(SHAPES[0], data), forward(data)
    data.weight[...] = data.bias[...] = 0
    assert f(data.x).tobytes() == expected.tobytes()


def test_sizes_are_copied():
    stride, padding = [1, 1], [[1, 1], [1, 1]]
    f = convkit.prepare_conv2d(np.ones((2, 2, 3, 3), np.float32), stride=stride, padding=padding)
    stride[0] = padding[0][0] = 3
    assert f(np.ones((1, 2, 8, 8), np.float32)).shape == (1, 2, 8, 8)


def test_sent_and_copied():
    data = random_data(SHAPES[-1], "float32")
    f, expected = prepare(SHAPES[-1], data), forward(data)
    assert f(data.x).tobytes() == expected.tobytes()
    for other in (pickle.loads(pickle.dumps(f)), copy.deepcopy(f)):
        assert other(data.x).tobytes() == expected.tobytes()


def test_another_instruction_set_takes_other_panels(any_isa):
    data = random_data(SHAPES[-2], "float32")
    f = prepare(SHAPES[-2], data)
    for isa in convkit.available_isas() * 2:
        convkit.set_isa(isa)
        assert f(data.x).tobytes() == forward(data).tobytes()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_refusals(name):
    nd = int(name[-2])
    function, x = getattr(convkit, name), np.ones((1, 2, *(6,) * nd), np.float32)
    weight = np.ones((2, 2, *(3,) * nd), np.float32)
    f = function(weight)
    y = f(x)
    more = np.concatenate([y, y], 1)[:, :3]
    for error, message, call in (
        (TypeError, "x must have the dtype of weight, float32, got", lambda: f(x.astype(float))),
        (ValueError, "add must have shape", lambda: f(x, add=y[:, :1])),
        (TypeError, "add must have the dtype of x, float32, got", lambda: f(x, add=y.astype(float))),
        (ValueError, "out must", lambda: f(x, out=y[:, :1])),
        (ValueError, "out must not share memory with add", lambda: f(x, add=more[:, :2], out=more[:, 1:])),
        (TypeError, "bias must have the dtype of weight, float32, got", lambda: function(weight, np.ones(2))),
        (ValueError, "activation must be", lambda: function(weight, activation="mish")),
        (ValueError, "algorithm must be one of", lambda: function(weight, algorithm="fft")),
        (ValueError, "algorithm must be another", lambda: function(weight, algorithm="direct")(x)),
    ):
        with pytest.raises(error, match=message):
            call()
