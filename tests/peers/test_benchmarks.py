"""Every peer of `convkit bench` does what convkit does, in all that it can do."""

import numpy as np
import pytest

from convkit.benchmarks import peers
from convkit.benchmarks.layers import Layer
from convkit.benchmarks.problem import DIRECTIONS, NotOfferedError, Problem, Setting, difference, ours
from torchvision_here import torchvision

LAYERS = (
    Layer("dense", "conv", 2, 16, (12, 13), 24, (3, 5), 2, (2, 4), 2),
    Layer("pointwise", "conv", 8, 32, (14, 14), 64, (1, 1)),
    Layer("grouped", "conv", 2, 15, (14, 14), 9, (3, 3), 1, 1, 1, 3),
    Layer("depthwise", "conv", 8, 16, (15, 14), 16, (5, 5), 2, 2, 1, 16),
    Layer("signal", "conv", 2, 16, (100,), 8, (9,), 1, 4, 1, 4),
    Layer("volume", "conv", 2, 8, (6, 12, 13), 16, (3, 3, 3), 1, 1),
    Layer("transposed", "convT", 2, 16, (8, 9), 24, (4, 4), 2, 1),
    Layer("transposed grouped", "convT", 1, 16, (50,), 24, (4,), 2, 1, 1, 4),
    Layer("transposed volume", "convT", 1, 8, (4, 5, 6), 6, (2, 2, 2), 2),
    Layer("deformable", "dcn", 2, 8, (10, 11), 12, (3, 3), 2, 1, 2),
    Layer("deformable masked", "dcn2", 1, 8, (10, 11), 12, (3, 3), 1, 1),
)
CANNOT = {("mnn", "transposed volume"), *(("mnn", name) for name in ("deformable", "deformable masked"))}
CANNOT |= {("scipy", name) for name in ("deformable", "deformable masked")}


def why_not(name, problem):
    """How the peer's result differs from convkit's; the second call's, which must not have changed the operands."""
    wanted, _ = ours(problem)
    contender = peers.load(name)(problem)
    contender.call()
    results = {key: np.asarray(array) for key, array in contender.read(contender.call()).items()}
    return difference(results, wanted.read(wanted.call()))


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
@pytest.mark.parametrize("name", peers.PEERS)
def test_forward(name, layer):
    problem = Problem(layer, "forward", Setting(threads=2))
    if (name, layer.name) in CANNOT:
        try:
            assert why_not(name, problem) is not None
        except NotOfferedError:
            pass
    else:
        assert why_not(name, problem) is None


@pytest.mark.parametrize("layout", ("NCHW", "NHWC"))
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_pytorch_has_every_direction(layer, layout):
    assert torchvision is not None
    for direction in DIRECTIONS:
        assert why_not("torch", Problem(layer, direction, Setting("float64", layout, 1))) is None


@pytest.mark.parametrize("name", [name for name in peers.PEERS if name != "torch"])
def test_the_others_have_no_gradients(name):
    with pytest.raises(NotOfferedError, match="gradients"):
        peers.load(name)(Problem(LAYERS[0], "backward", Setting()))
