"""convkit against a live PyTorch, in float64; run by `make test-peers`."""

import itertools

import numpy as np
import pytest
import torch

import convkit
import torch_oracle as oracle
from bounds import assert_within_bound
from cases import DTYPES, LAYOUTS, everything, random_data, solve
from problems import NAMED, NAMED_TRANSPOSED, named, random_problem, random_transposed


def check(problem, dtype, layouts=LAYOUTS):
    """Forward and gradients on every instruction set, in the bound of PyTorch's answers; Winograd's has none."""
    data, algorithm = random_data(problem, dtype), "implicit_gemm" if problem.three_by_three else "auto"
    bound = solve(data).bound
    answers = oracle.conv_answers(problem, data.x, data.weight, data.bias, data.grad)
    before = convkit.isa()
    for isa, layout in itertools.product(convkit.available_isas(), layouts):
        convkit.set_isa(isa)
        for name, got in everything(data, layout, algorithm=algorithm).items():
            if answers[name] is not None:  # None is the gradient of a bias that is not there
                # PyTorch rounds in float64 too, and not in our order: its own error comes on top of ours.
                assert_within_bound(got, answers[name], 2 * bound[name], f"{name} of {problem}, {layout}, {isa}")
    convkit.set_isa(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", (*NAMED, *NAMED_TRANSPOSED), ids=lambda problem: problem.name)
def test_named_problems(problem, dtype):
    check(problem, dtype)


@pytest.mark.parametrize("block", range(10))
@pytest.mark.parametrize("problem", (random_problem, random_transposed))
def test_random_problems(problem, block):
    for index in range(3000 + 50 * block, 3050 + 50 * block):
        check(problem(index), DTYPES[index % 2], [LAYOUTS[index // 2 % 2]])


@pytest.mark.parametrize("activation", ("relu", ("leaky_relu", 0.25), "sigmoid", "tanh", ("clip", -0.75, 1.5)), ids=str)
def test_activations(activation):
    transposed = "t_kernel_is_stride", "t_grouped_odd", "t_depthwise", "t_out_over_crop", "t_3d_mixed"
    for problem in (*NAMED[-8:], *named(*transposed)):
        check(problem.but(activation=activation), "float64")


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # it says that it copies
def test_same_padding_is_pytorchs():
    """With stride 1, where PyTorch has it too."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 3, 9, 10)), rng.standard_normal((4, 3, 4, 3))
    for dilation in (1, 2):
        theirs = torch.nn.functional.conv2d(torch.tensor(x), torch.tensor(weight), padding="same", dilation=dilation)
        assert np.allclose(convkit.conv2d(x, weight, padding="same", dilation=dilation), theirs, rtol=0, atol=1e-12)


def test_columns_are_unfold_and_fold():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 9, 8))
    for sizes in ({}, {"stride": 2}, {"padding": (1, 2)}, {"dilation": 2, "padding": 1, "stride": (2, 1)}):
        cols = oracle.columns(x, (3, 2), **sizes)
        assert np.array_equal(convkit.im2col(x, (3, 2), **sizes), cols)
        back = convkit.col2im(cols, (9, 8), (3, 2), **sizes)
        assert np.allclose(back, oracle.image(cols, (9, 8), (3, 2), **sizes), rtol=0, atol=1e-13)


def test_linear():
    rng = np.random.default_rng(0)
    x, weight, bias, grad = (rng.standard_normal(shape) for shape in ((5, 4, 33), (17, 33), (17,), (5, 4, 17)))
    answers = oracle.linear_answers(x, weight, bias, grad)
    got = convkit.linear_backward(grad, x, weight)._asdict() | {"y": convkit.linear(x, weight, bias)}
    for name, theirs in answers.items():
        assert np.allclose(got[name], theirs, rtol=0, atol=1e-12), name
