"""The convolutions of convkit.layers, for pytest-benchmark to keep and compare: `python -m pytest bench -k r50`."""

import pytest

from problems import NETWORK


def of(layer):
    return layer.name


@pytest.mark.parametrize("layer", NETWORK, ids=of)
@pytest.mark.parametrize("direction", ("forward", "backward"))
def test_float32(layer, direction, run_layer):
    run_layer(layer, direction)


@pytest.mark.parametrize("layer", NETWORK[:8], ids=of)
@pytest.mark.parametrize("direction", ("forward", "backward"))
def test_channels_last(layer, direction, run_layer):
    run_layer(layer, direction, layout="NHWC")


@pytest.mark.parametrize("layer", NETWORK[:8], ids=of)
@pytest.mark.parametrize("direction", ("forward", "backward"))
def test_float64(layer, direction, run_layer):
    run_layer(layer, direction, dtype="float64")


@pytest.mark.parametrize("layer", NETWORK[:8], ids=of)
def test_textbook_route(layer, run_layer):
    run_layer(layer, "forward", algorithm="im2col")
