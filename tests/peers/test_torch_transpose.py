"""convkit's transposed convolutions against a live PyTorch, in float64; run by `make test-peers`."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

import convkit
import torch_oracle as oracle
from bounds import assert_within_bound
from cases import DTYPES, LAYOUTS, everything, random_data, solve
from problems import NAMED_TRANSPOSED, named, random_transposed


def check(problem, dtype, layouts=LAYOUTS):
    """Forward and gradients on every instruction set, in the bound of PyTorch's answers."""
    data = random_data(problem, dtype)
    bound = solve(data).bound
    answers = oracle.transposed_answers(problem, data.x, data.weight, data.bias, data.grad)
    before = convkit.isa()
    for isa, layout in itertools.product(convkit.available_isas(), layouts):
        convkit.set_isa(isa)
        for name, got in everything(data, layout).items():
            if answers[name] is not None:  # None is the gradient of a bias that is not there
                # PyTorch rounds in float64 too, and not in our order: its own error comes on top of ours.
                assert_within_bound(got, answers[name], 2 * bound[name], f"{name} of {problem}, {layout}, {isa}")
    convkit.set_isa(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", NAMED_TRANSPOSED, ids=lambda problem: problem.name)
def test_named_problems(problem, dtype):
    check(problem, dtype)


@pytest.mark.parametrize("block", range(5))
def test_random_problems(block):
    for index in range(3000 + 50 * block, 3050 + 50 * block):
        check(random_transposed(index), DTYPES[index % 2], [LAYOUTS[index // 2 % 2]])


@pytest.mark.parametrize("activation", ("relu", ("leaky_relu", 0.25), "sigmoid", "tanh", ("clip", -0.75, 1.5)), ids=str)
def test_activations(activation):
    for problem in named("t_kernel_is_stride", "t_grouped_odd", "t_depthwise", "t_out_over_crop", "t_3d_mixed"):
        check(problem.but(activation=activation), "float64")


@pytest.mark.parametrize("nd", (1, 2, 3))
def test_the_arguments_mean_what_pytorchs_mean(nd):
    """In PyTorch's own order, by position, wherever it takes them."""
    theirs = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[nd - 1]
    ours = getattr(convkit, f"conv_transpose{nd}d")
    rng = np.random.default_rng(nd)
    x, weight = rng.standard_normal((2, 4) + (4,) * nd), rng.standard_normal((4, 3) + (3,) * nd)
    bias, compared = rng.standard_normal(6), 0
    for stride, padding, added, dilation in itertools.product((1, 2, 3), (0, 1, 3), (0, 1, 2), (1, 2)):
        arguments = (stride, padding, added, 2, dilation)
        tensors = map(torch.tensor, (x, weight, bias))
        try:
            expected = theirs(*tensors, *arguments).numpy()
        except RuntimeError:
            with pytest.raises(ValueError, match="output_padding must be less|padding must leave"):
                ours(x, weight, bias, *arguments)
            continue
        got = ours(x, weight, bias, *arguments)
        assert got.shape == expected.shape
        assert np.allclose(got, expected, rtol=0, atol=1e-12), arguments
        compared += 1
    assert compared > 30


def test_output_size_is_that_of_pytorchs_modules():
    module = torch.nn.ConvTranspose2d(2, 3, 3, stride=(3, 2), padding=1, dtype=torch.float64)
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 4))
    weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
    for size in itertools.product(range(13, 16), range(7, 9)):
        expected = module(torch.tensor(x), output_size=size).detach().numpy()
        got = convkit.conv_transpose2d(x, weight, bias, (3, 2), 1, output_size=size)
        assert np.allclose(got, expected, rtol=0, atol=1e-12)
