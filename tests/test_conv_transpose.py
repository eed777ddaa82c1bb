"""conv_transpose1d, 2d, 3d and their gradients: by hand, beside convolution, more than `test_conv_family.py` has."""

import itertools

import numpy as np
import pytest

import convkit
from cases import (
    DTYPES,
    LAYOUTS,
    arrange,
    assert_same_bits,
    everything,
    integer_case,
    integer_data,
    random_data,
    restore,
)
from problems import SMALL_TRANSPOSED, Problem, Transposed, named
from views import FORMS, with_canaries


def of(problem: Problem) -> str:
    return problem.name


# ---------------------------------------------------------------- by hand: the definition itself


def row(*values):
    """A 1-D image of one channel in a batch of one."""
    return np.array(values, np.float64).reshape(1, 1, -1)


BY_HAND = [
    # x = 1 2 3 under w = 1 10 100: x[0] puts 1 10 100 at 0, x[1] puts 2 20 200 one stride on, and so forth.
    ("overlapping", (1, 10, 100), {}, [1, 12, 123, 230, 300]),
    ("apart", (1, 10, 100), {"stride": 3}, [1, 10, 100, 2, 20, 200, 3, 30, 300]),
    ("one in common", (1, 10, 100), {"stride": 2}, [1, 10, 102, 20, 203, 30, 300]),
    ("holes", (1, 10), {"stride": 3}, [1, 10, 0, 2, 20, 0, 3, 30]),
    ("dilated", (1, 10), {"dilation": 2}, [1, 2, 13, 20, 30]),
    ("cropped", (1, 10, 100), {"padding": 1}, [12, 123, 230]),
    ("cropped on one side", (1, 10, 100), {"padding": ((0, 2),)}, [1, 12, 123]),
    ("cropped away but for one", (1, 10, 100), {"padding": ((4, 0),)}, [300]),
    ("crop taken back", (1, 10, 100), {"stride": 2, "padding": 1, "output_padding": 1}, [10, 102, 20, 203, 30, 300]),
    ("lengthened", (1, 10), {"stride": 3, "output_padding": 2}, [1, 10, 0, 2, 20, 0, 3, 30, 0, 0]),
    ("lengthened past the crop", (1, 10), {"stride": 3, "padding": ((1, 1),), "output_padding": 2},
     [10, 0, 2, 20, 0, 3, 30, 0]),
    ("by its size", (1, 10), {"stride": 3, "output_size": 9}, [1, 10, 0, 2, 20, 0, 3, 30, 0]),
    ("dilation above stride", (1, 10), {"dilation": 3, "output_padding": 2}, [1, 2, 3, 10, 20, 30, 0, 0]),
    ("same, one over", (1, 10, 100), {"stride": 2, "padding": "same"}, [1, 10, 102, 20, 203, 30]),
    ("same_lower, one over", (1, 10, 100), {"stride": 2, "padding": "same_lower"}, [10, 102, 20, 203, 30, 300]),
    ("same, two over", (1, 10, 100), {"padding": "same"}, [12, 123, 230]),
    ("same, two too few", (1,), {"stride": 3, "padding": "same"}, [1, 0, 0, 2, 0, 0, 3, 0, 0]),
    ("same_lower, two too few", (1,), {"stride": 3, "padding": "same_lower"}, [1, 0, 0, 2, 0, 0, 3, 0, 0]),
    ("valid", (1, 10), {"padding": "valid"}, [1, 12, 23, 30]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("weight", "arguments", "expected"), [case[1:] for case in BY_HAND], ids=[c[0] for c in BY_HAND]
)
def test_by_hand(weight, arguments, expected):
    for module in (convkit.reference, convkit):
        got = module.conv_transpose1d(row(1, 2, 3), row(*weight), np.array([0.5]), **arguments)
        np.testing.assert_array_equal(got, row(*expected) + 0.5)


def test_channels_and_groups_by_hand():
    x = np.array([[[1.0, 2.0], [3.0, 4.0]]])  # one image, two channels
    dense = np.array([[[1.0], [100.0]], [[10.0], [1000.0]]])  # (C_in, C_out, 1)
    grouped, doubled = np.array([[[1.0]], [[10.0]]]), np.array([[[1.0], [2.0]], [[10.0], [20.0]]])
    for module in (convkit.reference, convkit):
        np.testing.assert_array_equal(module.conv_transpose1d(x, dense), [[[31, 42], [3100, 4200]]])
        np.testing.assert_array_equal(module.conv_transpose1d(x, grouped, groups=2), [[[1, 2], [30, 40]]])
        expected = [[[1, 2], [2, 4], [30, 40], [60, 80]]]
        np.testing.assert_array_equal(module.conv_transpose1d(x, doubled, groups=2), expected)


def test_gradients_by_hand():
    grad, x, weight = row(1, 2, 3, 4, 5), row(1, 10), row(1, 100, 10000)
    for module in (convkit.reference, convkit):
        grads = module.conv_transpose1d_backward(grad, x, weight, stride=2)  # 5 = (2 - 1)*2 + 3
        np.testing.assert_array_equal(grads.x, row(30201, 50403))
        np.testing.assert_array_equal(grads.weight, row(31, 42, 53))
        np.testing.assert_array_equal(grads.bias, [15])


def by_scattering(data):
    """Every product written out where the definition puts it, in an array that nothing has been cropped from yet."""
    problem = data.problem
    step, gap = problem._axes(problem.stride), problem._axes(problem.dilation)
    ends = zip(problem.reach, problem.pads, problem.out, strict=True)
    longest = tuple(max(reach, lo + out) for reach, (lo, _), out in ends)
    y = np.zeros((problem.n, problem.c_out, *longest))
    c_in, c_out = problem.c_in // problem.groups, problem.c_out // problem.groups
    for c, o in itertools.product(range(problem.c_in), range(c_out)):
        for p, t in itertools.product(np.ndindex(*problem.spatial), np.ndindex(*problem.kernel)):
            at = tuple(i * s + j * d for i, j, s, d in zip(p, t, step, gap, strict=True))
            y[(slice(None), c // c_in * c_out + o, *at)] += data.x[(slice(None), c, *p)] * data.weight[(c, o, *t)]
    kept = tuple(slice(lo, lo + out) for (lo, _), out in zip(problem.pads, problem.out, strict=True))
    bias = 0 if data.bias is None else data.bias.reshape(-1, *[1] * problem.nd)
    return y[(..., *kept)] + bias


@pytest.mark.thorough
@pytest.mark.parametrize("problem", SMALL_TRANSPOSED, ids=of)
def test_the_reference_is_a_scatter(problem):
    data = integer_data(problem, "float64")
    np.testing.assert_array_equal(integer_case(problem, "float64").expected["y"], by_scattering(data))


@pytest.mark.parametrize("activation", (None, "relu", "sigmoid"))
@pytest.mark.parametrize("nd", (1, 2, 3))
def test_where_no_tap_falls_stands_the_activation_of_the_bias(nd, activation, isa):
    """In either layout, in memory with gaps and without; no zero is stored as -0."""
    rng = np.random.default_rng(nd)
    bias = np.array([-0.0, 1.5, -2, np.inf, 0.25], np.float32)
    x, weight = rng.standard_normal((2, 3, *(3,) * nd), np.float32), rng.standard_normal((3, 5, *(2,) * nd), np.float32)
    operator, options = getattr(convkit, f"conv_transpose{nd}d"), {"stride": 7, "activation": activation}
    y = operator(x, weight, bias, **options)
    empty = operator(np.ones_like(x), np.ones_like(weight), None, stride=7)[:1, :1] == 0
    assert empty.mean() > 0.5
    expected = {None: bias + 0, "relu": np.maximum(bias, 0), "sigmoid": 1 / (1 + np.exp(-bias))}[activation]
    for channel, value in enumerate(expected):
        there = y[:, channel : channel + 1][np.broadcast_to(empty, (2, *empty.shape[1:]))]
        np.testing.assert_allclose(there, value, rtol=1e-6)
        assert (there == there[0]).all() and not np.signbit(there[there == 0]).any()
    for layout, form in itertools.product(LAYOUTS, FORMS):
        out, check = with_canaries(arrange(y, layout).shape, np.float32, form)
        operator(arrange(x, layout), weight, bias, out=out, layout=layout, **options)
        assert restore(out, layout).tobytes() == y.tobytes(), f"{layout}, {form}"
        check()
        assert (
            restore(operator(arrange(x, layout), weight, bias, layout=layout, **options), layout).tobytes()
            == y.tobytes()
        )


@pytest.mark.thorough
@pytest.mark.parametrize("algorithm", ("implicit_gemm", "im2col"))
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_length(isa, dtype, algorithm):
    """Of a signal up to a few blocks: where blocks differ by one output, no buffer may be sized by the wrong one."""
    rng = np.random.default_rng(0)
    weight, signal = (rng.integers(-4, 5, shape).astype(dtype) for shape in ((20, 3, 4), (1, 20, 520)))
    for length in (*range(1, 12), *range(126, 131), *range(250, 260), *range(508, 516)):
        for step, added in ((1, 0), (2, 1), (5, 4)):
            x, sizes = signal[..., :length], {"stride": step, "padding": 1, "output_padding": added}
            y = convkit.conv_transpose1d(x, weight, algorithm=algorithm, **sizes)
            assert np.array_equal(y, convkit.reference.conv_transpose1d(x, weight, **sizes)), (length, step)
            grads = convkit.conv_transpose1d_backward(y, x, weight, algorithm=algorithm, **sizes)
            expected = convkit.reference.conv_transpose1d_backward(y, x, weight, **sizes)
            for got, wanted in zip(grads, expected, strict=True):
                assert np.array_equal(got, wanted), (length, step)


# ---------------------------------------------------------------- convolution's adjoint


def inner(a, b) -> float:
    return float(np.sum(a.astype(np.float64) * b))


@pytest.mark.parametrize("problem", named("t_primes", "t_grouped", "t_depthwise_s1", "t_3d", "t_1d_long"), ids=of)
def test_has_the_bits_of_convolutions_gradient(problem, isa):
    """The same adjoint, asked for from the other side."""
    for dtype, layout in itertools.product(DTYPES, LAYOUTS):
        data = random_data(problem.but(bias=False, output_padding=0), dtype)
        x, grad = arrange(data.x, layout), arrange(data.grad, layout)
        options = {name: problem.arguments[name] for name in ("stride", "padding", "dilation", "groups")}
        gradient = getattr(convkit, f"conv{problem.nd}d_backward")
        grads = gradient(x, grad, data.weight, need=("x", "weight"), layout=layout, **options)
        expected = {"y": restore(grads.x, layout), "weight": grads.weight}
        got = everything(data, layout)
        assert_same_bits({"y": got["y"], "weight": got["weight"]}, expected, f"{layout}, {dtype}")


# ---------------------------------------------------------------- the arguments


@pytest.mark.parametrize("padding", ("valid", "same", "same_upper", "same_lower"))
@pytest.mark.parametrize("nd", (1, 2, 3))
def test_named_padding_is_a_crop_and_a_lengthening(padding, nd):
    for step, gap in itertools.product((1, 2, 3, 5), (1, 2)):
        problem = Transposed("padding", 1, 2, (5, 4, 3)[:nd], 3, (4, 3, 1)[:nd], step, padding, gap)
        got = everything(random_data(problem, "float32"))
        added = tuple(
            out - (reach - sum(pad)) for out, reach, pad in zip(problem.out, problem.reach, problem.pads, strict=True)
        )
        spelled = problem.but(padding=problem.pads, output_padding=added)
        assert_same_bits(got, everything(random_data(spelled, "float32")), f"{problem}")
        if padding != "valid":
            assert got["y"].shape[2:] == tuple(size * step for size in problem.spatial)


def test_same_padding_goes_back_to_where_convolution_came_from():
    """conv with "same" and a stride that divides the size, then the transposed with the same arguments."""
    rng = np.random.default_rng(0)
    for size, taps, step, name in itertools.product((12, 24), (1, 2, 3, 4, 5), (1, 2, 3, 4), ("same", "same_lower")):
        x, weight = rng.integers(-4, 5, (1, 2, size)), rng.integers(-4, 5, (3, 2, taps))
        x, weight = x.astype(np.float32), weight.astype(np.float32)
        y = convkit.conv1d(x, weight, stride=step, padding=name)
        grad = rng.integers(-4, 5, y.shape).astype(np.float32)
        back = convkit.conv_transpose1d(grad, weight, stride=step, padding=name)
        assert back.shape == x.shape
        assert inner(y, grad) == inner(x, back)


def test_output_size_is_an_output_padding():
    x, weight = np.ones((1, 2, 5, 4), np.float32), np.ones((2, 3, 3, 2), np.float32)
    for rows, columns in itertools.product(range(3), range(2)):
        sizes = {"stride": (3, 2), "padding": 1}
        expected = convkit.conv_transpose2d(x, weight, output_padding=(rows, columns), **sizes)
        got = convkit.conv_transpose2d(x, weight, output_size=(13 + rows, 6 + columns), **sizes)
        assert got.tobytes() == expected.tobytes()
    assert convkit.conv_transpose2d(x, weight, stride=2, padding="same", output_size=(10, 8)).shape == (1, 3, 10, 8)
    assert convkit.conv_transpose2d(x, weight, stride=(2, 3), padding=1, output_size=9).shape == (1, 3, 9, 9)
