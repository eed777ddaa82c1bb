"""Transposed convolutions of published networks, for pytest-benchmark to keep and compare."""

import pytest

from problems import NETWORK_TRANSPOSED


def of(layer):
    return layer.name


@pytest.mark.parametrize("layer", NETWORK_TRANSPOSED, ids=of)
@pytest.mark.parametrize("direction", ("forward", "backward"))
def test_float32(layer, direction, run_layer):
    run_layer(layer, direction)


@pytest.mark.parametrize("layer", NETWORK_TRANSPOSED, ids=of)
@pytest.mark.parametrize("direction", ("forward", "backward"))
def test_channels_last(layer, direction, run_layer):
    run_layer(layer, direction, layout="NHWC")


@pytest.mark.parametrize("layer", NETWORK_TRANSPOSED, ids=of)
@pytest.mark.parametrize("direction", ("forward", "backward"))
def test_float64(layer, direction, run_layer):
    run_layer(layer, direction, dtype="float64")
