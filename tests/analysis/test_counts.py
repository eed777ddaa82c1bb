"""Parameters and FLOPs: known figures, and layer by layer against the list of published layers."""

import numpy as np
import pytest

from convkit import models, nn
from convkit.analysis import count_flops, count_parameters, summary
from convkit.benchmarks import layers


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "parameters", "flops"),
    [
        ("vgg16", 138_357_544, 30_940_528_640),
        ("resnet50", 25_557_032, 8_178_368_512),
        ("mobilenet_v2", 3_504_872, 601_548_544),
    ],
)
def test_networks_at_224(name, parameters, flops):
    model = getattr(models, name)(init="zeros")
    assert count_parameters(model) == parameters
    assert count_flops(model, (1, 3, 224, 224)) == flops


def layer_of(published, nd):
    sizes = (published.kernel, published.stride, published.padding)
    options = {"dilation": published.dilation, "groups": published.groups, "bias": False, "init": "zeros"}
    if published.kind == "convT":
        return getattr(nn, f"ConvTranspose{nd}d")(published.c_in, published.c_out, *sizes, **options)
    if published.kind == "conv":
        return getattr(nn, f"Conv{nd}d")(published.c_in, published.c_out, *sizes, **options)
    return nn.DeformConv2d(published.c_in, published.c_out, *sizes, modulated=published.kind == "dcn2", **options)


SMALL = [layer for layer in layers.LAYERS + layers.OTHERS if layer.flops < 2e9 or layer.kind.startswith("dcn")]


@pytest.mark.parametrize("published", SMALL, ids=lambda layer: layer.name)
@pytest.mark.thorough
def test_published_layers(published):
    """One image of each; the branch of a deformable layer is a convolution beside it."""
    model = layer_of(published, len(published.spatial))
    rows = {row.name: row for row in summary(model, (1, published.c_in, *published.spatial)).rows}
    assert rows[""].flops == published.flops // published.n
    assert rows[""].output_shape == (1, published.c_out, *published.out_spatial)
    branch = {"conv": 0, "convT": 0, "dcn": 18, "dcn2": 27}[published.kind]
    assert sum(row.flops for row in rows.values()) * published.c_out == rows[""].flops * (published.c_out + branch)


def test_flops_are_those_of_the_batch():
    model = nn.Sequential(nn.Linear(5, 3, rng=0), nn.ReLU(), nn.Linear(3, 2, bias=False, rng=0))
    assert count_flops(model, (7, 5)) == 7 * 2 * (15 + 6)
    assert count_flops(model, (2, 7, 5)) == 2 * count_flops(model, (7, 5))
    assert count_flops(model, (0, 5)) == 0


def test_parameters_that_learn_that_are_frozen_that_are_shared():
    first, second = nn.Linear(4, 4, rng=0), nn.Linear(4, 4, rng=0)
    second.weight = first.weight
    model = nn.Sequential(first, nn.BatchNorm1d(4), second)
    assert count_parameters(model) == 16 + 4 + 8 + 4  # the weight once, running statistics not at all
    first.bias.trainable = False
    assert count_parameters(model, trainable=True) == 28 and count_parameters(model, trainable=False) == 4
    np.testing.assert_array_equal([row.parameters for row in summary(model, (1, 4)).rows], [20, 8, 4])
