"""conv_transpose1d, 2d, 3d and their gradients: by hand, against reference and convolution, through every argument."""

import itertools
from collections import Counter

import numpy as np
import pytest

import convkit
from cases import (
    DTYPES,
    EVERYWHERE,
    GRADIENTS,
    LAYOUTS,
    arrange,
    assert_bounds,
    assert_case,
    assert_exact,
    assert_same_bits,
    backward,
    blocks,
    each_place,
    enough,
    every_other,
    everything,
    forward,
    in_float32,
    integer_case,
    integer_data,
    pairs,
    possible,
    random_data,
    restore,
    solve,
)
from problems import EMPTY_TRANSPOSED, NAMED_TRANSPOSED, Problem, Transposed, named, random_transposed
from views import FORMS, with_canaries

ACTIVATIONS = ("relu", ("leaky_relu", 0.125), "sigmoid", "tanh", ("clip", -0.75, 1.5))
SMALL = named(
    "t_kernel_is_stride", "t_under_stride_out", "t_asymmetric", "t_out_over_stride", "t_grouped_odd", "t_depthwise_x3",
    "t_1d_s4_d3", "t_3d_mixed", "t_same_deficit", "t_past_the_reach",
)  # fmt: skip


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
@pytest.mark.parametrize("problem", SMALL, ids=of)
def test_the_reference_is_a_scatter(problem):
    data = integer_data(problem, "float64")
    np.testing.assert_array_equal(integer_case(problem, "float64").expected["y"], by_scattering(data))


# ---------------------------------------------------------------- the float64 reference


@each_place(NAMED_TRANSPOSED, places=enough)
def test_named_problems_keep_the_bound(problem, places, any_isa):
    assert_bounds(problem, places)


@each_place(NAMED_TRANSPOSED, every_other, in_float32)
def test_integers_are_exact(problem, places, any_isa):
    """And so are adjoints, since those of the reference are."""
    assert_exact(problem, places)


@pytest.mark.parametrize("problem", named("t_depthwise", "t_bilinear", "t_1d_depthwise", "t_3d_depthwise"), ids=of)
def test_direct_does_depthwise(problem, isa):
    assert possible(random_data(problem, "float32"), "NCHW", "direct").keys() == {"y", *GRADIENTS}


@pytest.mark.parametrize("problem", EMPTY_TRANSPOSED, ids=of)
def test_empty_problems(problem, any_isa):
    """Without images or outputs there is nothing, or a gradient of exactly zero; without inputs there is the bias."""
    assert_bounds(problem, EVERYWHERE)
    data = random_data(problem, "float32")
    for algorithm in ("auto", "implicit_gemm", "im2col"):
        got = everything(data, algorithm=algorithm)
        if problem.n == 0 or problem.c_out == 0:
            assert all(not got[name].any() for name in GRADIENTS)
        if problem.c_in == 0:
            bias = data.bias.reshape(1, -1, *[1] * problem.nd) if problem.bias else 0
            assert np.array_equal(got["y"], np.broadcast_to(bias, got["y"].shape))


FUSED = [
    problem.but(name=f"{problem.name}, {activation}", activation=activation)
    for problem in named(
        "t_tails_19_13", "t_depthwise", "t_under_stride_out", "t_far_stride", "t_bias_alone", "t_grouped_narrow"
    )
    for activation in ACTIVATIONS
]  # fmt: skip


@each_place(FUSED, every_other, enough)
def test_fused_activations_keep_the_bound(problem, places, any_isa):
    assert_bounds(problem, places)


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


# ---------------------------------------------------------------- random configurations

COUNT, PER_BLOCK = 300, 25
FUSED = (None, None, None, *ACTIVATIONS)


def check(index: int) -> None:
    """Random configuration `index`, whose number decides everything, with its gradients."""
    problem = random_transposed(index).but(activation=FUSED[index // 12 % len(FUSED)])
    isas = convkit.available_isas()
    convkit.set_isa(isas[index // 12 % len(isas)])
    with convkit.threads(1 + index % 3):
        case = solve(random_data(problem, DTYPES[index % 2]))
        assert_case(case, LAYOUTS[index // 2 % 2], algorithm=("auto", "implicit_gemm", "im2col")[index // 4 % 3])


@blocks(COUNT, PER_BLOCK)
def test_random_configurations(block, any_isa):
    failures = []
    for index in block:
        try:
            check(index)
        except AssertionError as error:
            failures.append(f"configuration {index} on {convkit.isa()}: {error}")
    assert not failures, f"{len(failures)} of {PER_BLOCK}\n" + "\n".join(failures[:5])


@pytest.mark.thorough
def test_the_random_configurations_cover_what_they_promise():
    seen = Counter()
    for index in range(COUNT):
        problem = random_transposed(index)
        seen.update([("nd", problem.nd), ("grouped", problem.groups > 1), ("named", isinstance(problem.padding, str))])
        seen.update([("sized", problem.output_size is not None)])
        axes = (problem.pads, problem.reach, problem.out, problem.stride, problem.dilation, problem.kernel)
        for (lo, hi), reach, out, step, gap, taps in zip(*axes, strict=True):
            seen.update([("lengthened", lo + out > reach), ("asymmetric", lo != hi), ("cropped", lo + out < reach)])
            seen.update([("holes", gap * (taps - 1) + 1 < step), ("gap over stride", gap > step)])
            seen.update([("stride", step), ("dilation", gap), ("kernel", taps)])
    expected = [("nd", n) for n in (1, 2, 3)] + [("stride", n) for n in range(1, 5)]
    expected += [("dilation", n) for n in range(1, 5)] + [("kernel", n) for n in range(1, 8)]
    names = ("grouped", "named", "sized", "lengthened", "asymmetric", "cropped", "holes", "gap over stride")
    expected += [(name, True) for name in names]
    assert min(seen[key] for key in expected) >= 30, seen


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


@pairs("problem, activation", SMALL, (None, *ACTIVATIONS))
def test_central_differences(problem, activation):
    """Gradient elements in float64 against (loss(v + h) - loss(v - h)) / 2h, loss = sum(grad * y)."""
    data = random_data(problem.but(n=1, activation=activation), "float64")
    grads = backward(data)
    step, rng = 1e-6, np.random.default_rng(5)
    for name in GRADIENTS:
        values, allowed = getattr(data, name), 1e-5 * max(1, np.abs(grads[name]).max())
        for index in rng.choice(values.size, min(values.size, 16), replace=False):
            kept, losses = values.flat[index], []
            for moved in (kept + step, kept - step):
                values.flat[index] = moved
                losses.append(np.sum(data.grad * forward(data)))
            values.flat[index] = kept
            numeric = (losses[0] - losses[1]) / (2 * step)
            assert abs(grads[name].flat[index] - numeric) <= allowed, f"{name}[{index}]"


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


def test_one_number_or_one_per_axis():
    """An int stands for every axis; np.integer is an int."""

    def run(one, two):
        problem = Transposed("sizes", 1, 2, (4, 4), 3, (3, 3), two, one, two, output_padding=one)
        return everything(random_data(problem, "float32"))

    for one, two in (((1, 1), (2, 2)), (np.int64(1), np.int32(2)), ([1, 1], [2, 2])):
        assert_same_bits(run(one, two), run(1, 2))


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
@pytest.mark.parametrize("problem", SMALL, ids=of)
def test_out_is_filled_and_returned(problem, layout, isa):
    data = random_data(problem, "float32")
    expected = everything(data, layout)
    y, x = (np.full_like(arrange(expected[name], layout), np.nan) for name in "yx")
    weight, bias = np.full_like(data.weight, np.nan), np.full(problem.c_out, np.nan, np.float32)
    x_in, grad = arrange(data.x, layout), arrange(data.grad, layout)
    common = problem.arguments | {"layout": layout}
    assert getattr(convkit, problem.forward)(x_in, data.weight, data.bias, out=y, **common) is y
    out = convkit.ConvGrads(x, weight, bias)
    grads = getattr(convkit, problem.backward)(grad, x_in, data.weight, out=out, **common)
    assert all(got is given for got, given in zip(grads, out, strict=True))
    assert_same_bits({"y": restore(y, layout), "x": restore(x, layout), "weight": weight, "bias": bias}, expected)


@pytest.mark.parametrize("problem", SMALL, ids=of)
def test_only_what_is_needed(problem, isa):
    """Each subset of gradients gives the bits of all three, and None for the rest."""
    data = random_data(problem, "float32")
    expected = backward(data)
    for need in (*GRADIENTS, *itertools.combinations(GRADIENTS, 2)):
        names = (need,) if isinstance(need, str) else need
        got = backward(data, need=need)
        assert {name for name in GRADIENTS if got[name] is not None} == set(names)
        assert_same_bits({name: got[name] for name in names}, {name: expected[name] for name in names}, str(need))


@pytest.mark.parametrize("problem", SMALL, ids=of)
def test_shapes_stand_in_for_what_is_not_read(problem):
    data = random_data(problem, "float32")
    expected = backward(data)
    operator = getattr(convkit, problem.backward)
    only_x = operator(data.grad, data.x.shape, data.weight, need=("x", "bias"), **problem.arguments)
    assert_same_bits({"x": only_x.x, "bias": only_x.bias}, {"x": expected["x"], "bias": expected["bias"]})
    only_weight = operator(data.grad, data.x, data.weight.shape, need=("weight", "bias"), **problem.arguments)
    assert_same_bits({"weight": only_weight.weight}, {"weight": expected["weight"]})
