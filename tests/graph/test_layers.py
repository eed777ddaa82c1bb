"""Every layer alone as a network."""

import numpy as np
import pytest

from cases import in_turns
from convkit import nn
from nn_cases import ALONE, TWINS, with_numbers

# Those that have no graph, as their `symbolic` says, and those that take more than an image.
WITHOUT = {
    "max_unpool1d", "max_unpool2d", "max_unpool3d", "batch_norm2d_untracked", "deform_conv2d_last",
    "deform_conv2d_given",
}  # fmt: skip
CASES = [case for case in (*TWINS, *ALONE) if case.name not in WITHOUT]


@in_turns("case", CASES, 1, of=2)
def test_a_layer(case):
    rng = np.random.default_rng(0)
    layer = with_numbers(case.build(nn), rng, "float32").eval()
    n, *rest = case.shape
    network = layer.prepare(case.shape)
    for batch in (n, n + 1):
        x = rng.standard_normal((batch, *rest)).astype(np.float32)
        y = layer.predict(x)
        np.testing.assert_allclose(network(x), y, rtol=1e-5, atol=1e-5 * np.abs(y).max())


@pytest.mark.parametrize("channels", (3, 16))
@pytest.mark.parametrize("layout", ("NHWC", "NCHW"))
def test_normalisation_of_images_that_lie_either_way(channels, layout):
    """Its input and its output may lie in memory in different ways."""
    layers = nn.MaxPool2d(2, layout=layout), nn.BatchNorm2d(channels, layout=layout), nn.MaxPool2d(1, layout="NCHW")
    model = with_numbers(nn.Sequential(*layers), np.random.default_rng(0)).eval()
    x = np.random.default_rng(1).standard_normal((2, 12, 10, channels) if layout == "NHWC" else (2, channels, 12, 10))
    for part in (model, model[1:], model[:2], model[1:2]):
        np.testing.assert_allclose(part.prepare(x.shape)(x), part.predict(x), rtol=1e-10, atol=1e-12)
