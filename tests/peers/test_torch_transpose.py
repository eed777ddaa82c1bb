"""The arguments of convkit's transposed convolutions mean what PyTorch's mean; run by `make test-peers`."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

import convkit


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
