"""Every layer beside its live twin in PyTorch or torchvision, and weights that go both ways through a file."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from convkit import nn
from nn_cases import TWINS, first, with_numbers
from torch_layers import NAMESPACE, answers


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", TWINS, ids=lambda case: case.name)
def test_a_layer_does_what_its_twin_does(case, seed):
    arrays = answers(case, np.random.default_rng(seed))
    layer = with_numbers(case.build(nn), np.random.default_rng(seed)).train(case.training)
    layer.load_state_dict({name[7:]: array for name, array in arrays.items() if name.startswith("before.")})
    more = [arrays[name] for name in sorted(arrays) if name.startswith("more.")]
    more = (array if array.dtype == np.int64 else array.astype(np.float64) for array in more)
    got = {"y": layer(arrays["x"].astype(np.float64), *more)}
    got["dx"] = first(layer.backward(arrays["grad"].astype(np.float64)))
    got |= {"d." + name: parameter.grad for name, parameter in layer.named_parameters()}
    got |= {"after." + name: buffer.data for name, buffer in layer.named_buffers()}
    for name, array in got.items():
        np.testing.assert_allclose(array, arrays[name], rtol=1e-10, atol=1e-10, err_msg=name)


def network(space):
    """A network of either library with every kind of state."""
    return space.Sequential(
        space.Conv2d(3, 4, 3, padding=1, bias=False),
        space.BatchNorm2d(4),
        space.ReLU(),
        space.ConvTranspose2d(4, 4, 2, 2),
        space.GroupNorm(2, 4),
        space.MaxPool2d(2),
        space.Flatten(),
        space.Linear(100, 10),
    )


def test_weights_go_both_ways_through_a_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 5)).astype(np.float32)
    ours, theirs = with_numbers(network(nn), np.random.default_rng(1), "float32").eval(), network(NAMESPACE).eval()
    nn.save_state(ours.state_dict(), path)
    theirs.load_state_dict(load_file(path))
    np.testing.assert_allclose(ours(x), theirs(torch.tensor(x)).detach(), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for array in theirs.state_dict().values():
            array += 1
    save_file(theirs.state_dict(), path)
    ours.load_state_dict(nn.load_state(path))
    np.testing.assert_allclose(ours(x), theirs(torch.tensor(x)).detach(), rtol=1e-4, atol=1e-5)
