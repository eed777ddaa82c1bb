"""ONNX's own vectors of DeformConv, through the public operators."""

import numpy as np
import pytest

import convkit
from onnx_vectors import NODES, load

NAMES = sorted(folder.name for folder in NODES.iterdir() if "deform_conv" in folder.name)


def test_there_are_four():
    assert len(NAMES) == 4


@pytest.mark.parametrize("name", NAMES)
def test_deform_conv(name, isa):
    attributes, inputs, (expected,) = load(name)
    x, weight, offset, bias, mask = (*inputs, None, None)[:5]
    pads = attributes.get("pads", [0] * 4)
    y = convkit.deform_conv2d(
        x, offset, weight, bias,
        attributes.get("strides", 1), tuple(zip(pads[:2], pads[2:], strict=True)), attributes.get("dilations", 1), mask,
    )  # fmt: skip
    assert offset.shape[1] == 2 * attributes.get("offset_group", 1) * np.prod(weight.shape[2:])
    assert y.dtype == expected.dtype
    assert np.allclose(y, expected, rtol=1e-5, atol=1e-5)
