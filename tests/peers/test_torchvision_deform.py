"""Deformable convolution against torchvision's operator and its gradients, in float64; run by `make test-peers`."""

import itertools

import numpy as np
import pytest
import torch

import convkit
from bounds import assert_within_bound
from cases import DTYPES, LAYOUTS
from deform_cases import NAMED, everything, random_data, random_deform, solve
from torchvision_here import torchvision


def answers(data) -> dict:
    """ "y" and the gradients of a problem with two axes, the same padding on both sides and no activation."""
    problem = data.problem
    leaves = {
        name: torch.tensor(np.asarray(array, np.float64), requires_grad=True)
        for name in ("x", "offset", "weight", "bias", "mask")
        if (array := getattr(data, name)) is not None
    }
    y = torchvision.ops.deform_conv2d(
        leaves["x"], leaves["offset"], leaves["weight"], leaves.get("bias"), problem.stride,
        [low for low, _ in problem.pads], problem.dilation, leaves.get("mask"),
    )  # fmt: skip
    y.backward(torch.tensor(np.asarray(data.grad, np.float64)))
    return {"y": y.detach().numpy()} | {name: leaf.grad.numpy() for name, leaf in leaves.items()}


def check(problem, dtype, layouts=LAYOUTS):
    """Forward and gradients on every instruction set, in the bound of torchvision's answers."""
    data = random_data(problem, dtype)
    if dtype == "float32":  # torchvision's coordinates are to be float32's, though it computes in float64
        exact = np.round(data.offset * 256) / 256
        data = type(data)(**(vars(data) | {"offset": exact}))
    expected, bound = answers(data), solve(data).bound
    before = convkit.isa()
    for isa, layout in itertools.product(convkit.available_isas(), layouts):
        convkit.set_isa(isa)
        for name, got in everything(data, layout).items():
            if name in expected:  # not the gradient of a bias that is not there
                # torchvision rounds in float64 too, and not in our order: its own error comes on top of ours.
                assert_within_bound(got, expected[name], 2 * bound[name], f"{name} of {problem}, {layout}, {isa}")
    convkit.set_isa(before)


def symmetric(problem) -> bool:
    return problem.nd == 2 and all(low == high for low, high in problem.pads)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", [p for p in NAMED if symmetric(p)], ids=lambda problem: problem.name)
def test_named_problems(problem, dtype):
    check(problem, dtype)


@pytest.mark.parametrize("mask", (np.inf, -np.inf, np.nan), ids=str)
def test_a_mask_that_is_not_finite_outside_the_image(mask):
    """NaN in the same places: torchvision multiplies the zero that it samples."""
    (problem,) = (p for p in NAMED if p.name == "d_odd_sizes")
    data = random_data(problem, "float64")
    data.mask[0, 4, 2, 3], data.offset[0, 8, 2, 3] = mask, 1e9
    got, expected = everything(data), answers(data)
    for name, array in expected.items():
        assert np.array_equal(np.isnan(got[name]), np.isnan(array)), name
    assert np.isnan(got["y"]).sum() == problem.c_out


@pytest.mark.parametrize("block", range(5))
def test_random_problems(block):
    executed = 0
    for index in range(5000 + 100 * block, 5100 + 100 * block):
        problem = random_deform(index)
        problem = problem.but(padding=tuple((max(pair), max(pair)) for pair in problem.pads))
        if problem.nd == 2:
            check(problem, DTYPES[index % 2], [LAYOUTS[index // 2 % 2]])
            executed += 1
    assert executed > 30
