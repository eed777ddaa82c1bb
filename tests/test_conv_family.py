"""What convolutions and transposed convolutions share: bounds, identities, and the arguments of every call."""

import itertools

import numpy as np
import pytest

import convkit
from bounds import assert_slopes
from cases import (
    EVERY_ACTIVATION,
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
from problems import EMPTY, EMPTY_TRANSPOSED, NAMED, NAMED_TRANSPOSED, SMALL_TRANSPOSED, Problem, Transposed, named

SMALL = *SMALL_TRANSPOSED, *named(
    "even_kernel", "asymmetric_s2", "grouped_odd", "depthwise_x3", "1d_s4_d3", "3d_mixed", "reflect", "1x1_s2"
)  # fmt: skip
DEPTHWISE = named(
    "depthwise", "depthwise_s2", "1d_depthwise", "3d_depthwise", "t_depthwise", "t_bilinear", "t_1d_depthwise",
    "t_3d_depthwise",
)  # fmt: skip
ACTIVATED = [
    problem.but(name=f"{problem.name}, {activation}", activation=activation)
    for problem in named(
        "tails_19_13", "depthwise", "1x1", "1d", "reflect", "grouped_narrow", "t_tails_19_13", "t_depthwise",
        "t_under_stride_out", "t_far_stride", "t_bias_alone", "t_grouped_narrow",
    )
    for activation in EVERY_ACTIVATION
]  # fmt: skip


def of(problem: Problem) -> str:
    return problem.name


# ---------------------------------------------------------------- the float64 reference


@each_place((*NAMED, *NAMED_TRANSPOSED), places=enough)
def test_named_problems_keep_the_bound(problem, places, any_isa):
    assert_bounds(problem, places)


@each_place((*NAMED, *NAMED_TRANSPOSED), every_other, in_float32)
def test_integers_are_exact(problem, places, any_isa):
    """And so are adjoints, since those of the reference are."""
    assert_exact(problem, places)


@each_place(ACTIVATED, every_other, enough)
def test_fused_activations_keep_the_bound(problem, places, any_isa):
    assert_bounds(problem, places)


@pytest.mark.parametrize("problem", DEPTHWISE, ids=of)
def test_direct_does_depthwise(problem, isa):
    assert possible(random_data(problem, "float32"), "NCHW", "direct").keys() == {"y", *GRADIENTS}


@pytest.mark.parametrize("problem", (*EMPTY, *EMPTY_TRANSPOSED), ids=of)
def test_empty_problems(problem, any_isa):
    """Without images or outputs there is nothing, or a gradient of exactly zero; without inputs there is the bias."""
    assert_bounds(problem, EVERYWHERE)
    data = random_data(problem, "float32")
    for algorithm in ("auto", "implicit_gemm", "im2col", *["winograd"] * problem.three_by_three):
        got = everything(data, algorithm=algorithm)
        if problem.n == 0 or problem.c_out == 0:
            assert all(not got[name].any() for name in GRADIENTS)
        if problem.c_in == 0:
            bias = data.bias.reshape(1, -1, *[1] * problem.nd) if problem.bias else 0
            assert np.array_equal(got["y"], np.broadcast_to(bias, got["y"].shape))


@pairs("problem, activation", SMALL, (None, *EVERY_ACTIVATION))
def test_central_differences(problem, activation):
    data = random_data(problem.but(n=1, activation=activation), "float64")
    grads, rng = backward(data), np.random.default_rng(5)
    for name in GRADIENTS:
        assert_slopes(grads[name], lambda: np.sum(data.grad * forward(data)), getattr(data, name), rng, 16, name)


@pytest.mark.parametrize("problem", SMALL, ids=of)
def test_powers_of_two_scale_exactly(problem, isa):
    data = random_data(problem.but(bias=False), "float32")
    expected = {name: array * 8 for name, array in everything(data).items() if name != "weight"}
    data.weight[...] *= 8
    got = everything(data)
    assert_same_bits({"y": got["y"], "x": got["x"]}, {"y": expected["y"], "x": expected["x"]})


# ---------------------------------------------------------------- the arguments


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
        y, x = (np.full_like(arrange(expected[name], layout), np.nan) for name in "yx")
        weight, bias = np.full_like(data.weight, np.nan), np.full(problem.c_out, np.nan, np.float32)
        x_in, grad = arrange(data.x, layout), arrange(data.grad, layout)
        common = problem.arguments | {"layout": layout}
        assert getattr(convkit, problem.forward)(x_in, data.weight, data.bias, out=y, **common) is y
        out = convkit.ConvGrads(x, weight, bias)
        grads = getattr(convkit, problem.backward)(grad, x_in, data.weight, out=out, **common)
        assert all(got is given for got, given in zip(grads, out, strict=True))
        assert_same_bits({"y": restore(y, layout), "x": restore(x, layout), "weight": weight, "bias": bias}, expected)
        partly = getattr(convkit, problem.backward)(grad, x_in, data.weight, out=(None, weight, None), **common)
        assert partly.weight is weight
        assert partly.x.tobytes() == x.tobytes()


@pytest.mark.parametrize("problem", SMALL, ids=of)
def test_only_what_is_needed(problem, isa):
    """Each subset of gradients gives the bits of all three, and None for the rest."""
    data = random_data(problem, "float32")
    expected = backward(data)
    for need in (*GRADIENTS, *itertools.combinations(GRADIENTS, 1), *itertools.combinations(GRADIENTS, 2)):
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


@pytest.mark.parametrize("kind, more", ((Problem, ()), (Transposed, ("output_padding",))))
def test_one_number_or_one_per_axis(kind, more):
    """An int stands for every axis; np.integer is an int."""

    def run(one, two):
        problem = kind("sizes", 1, 2, (9, 9), 3, (3, 3), two, one, two, **dict.fromkeys(more, one))
        return everything(random_data(problem, "float32"))

    for one, two in (((1, 1), (2, 2)), (np.int64(1), np.int32(2)), ([1, 1], [2, 2])):
        assert_same_bits(run(one, two), run(1, 2))
