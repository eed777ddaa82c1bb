"""ONNX's own vectors for Conv, ConvTranspose and Col2Im, through the public operators."""

import pytest

import convkit
from bounds import assert_within_bound
from onnx_vectors import NODES, load

CONV = (
    "test_basic_conv_with_padding", "test_basic_conv_without_padding", "test_conv_with_autopad_same",
    "test_conv_with_strides_and_asymmetric_padding", "test_conv_with_strides_no_padding",
    "test_conv_with_strides_padding",
)  # fmt: skip
TRANSPOSED = (
    "test_convtranspose", "test_convtranspose_1d", "test_convtranspose_3d", "test_convtranspose_autopad_same",
    "test_convtranspose_dilations", "test_convtranspose_group_2", "test_convtranspose_group_2_image_3",
    "test_convtranspose_kernel_shape", "test_convtranspose_output_shape", "test_convtranspose_pad",
    "test_convtranspose_pads",
)  # fmt: skip
COL2IM = ("test_col2im", "test_col2im_5d", "test_col2im_dilations", "test_col2im_pads", "test_col2im_strides")
AUTO_PAD = {"SAME_UPPER": "same_upper", "SAME_LOWER": "same_lower", "VALID": "valid"}


def padding_of(attributes):
    """ONNX's pads, all beginnings and then all ends, or auto_pad, as the argument `padding`."""
    if attributes.get("auto_pad", "NOTSET") != "NOTSET":
        return AUTO_PAD[attributes["auto_pad"]]
    pads = attributes.get("pads", ())
    half = len(pads) // 2
    return tuple(zip(pads[:half], pads[half:], strict=True)) or 0


def moves(attributes):
    """Stride, padding and dilation."""
    sizes = {"stride": attributes.get("strides", 1), "dilation": attributes.get("dilations", 1)}
    return sizes | {"padding": padding_of(attributes)}


def assert_answers(name, operands, arguments, expected):
    """On every instruction set; ONNX's answer is a float32 sum too, and so may be as far off as ours."""
    bound = convkit.reference.bound(name, *operands, **arguments)
    got = getattr(convkit, name)(*operands, **arguments)
    assert got.dtype == expected.dtype
    assert_within_bound(got, expected, 2 * bound, f"{name}, {arguments}")


@pytest.mark.parametrize("name", CONV)
def test_conv(name, isa):
    attributes, operands, (expected,) = load(name)
    arguments = moves(attributes) | {"groups": attributes.get("group", 1)}
    assert_answers(f"conv{expected.ndim - 2}d", operands, arguments, expected)


@pytest.mark.parametrize("name", TRANSPOSED)
def test_conv_transpose(name, isa):
    """output_shape settles the size, and whatever output_padding stands beside it says nothing more."""
    attributes, operands, (expected,) = load(name)
    arguments = moves(attributes) | {"groups": attributes.get("group", 1)}
    if "output_shape" in attributes:
        arguments |= {"output_size": attributes["output_shape"]}
    else:
        arguments |= {"output_padding": attributes.get("output_padding", 0)}
    assert_answers(f"conv_transpose{expected.ndim - 2}d", operands, arguments, expected)


@pytest.mark.parametrize("name", COL2IM)
def test_col2im(name, isa):
    attributes, (cols, image, block), (expected,) = load(name)
    operands = (cols, tuple(map(int, image)), tuple(map(int, block)))
    assert_answers("col2im", operands, moves(attributes), expected)


def test_they_are_all_there():
    """Every vector of the three operators; ConvInteger and the fused ones are others."""
    stems = ("test_basic_conv_", "test_conv_", "test_convtranspose", "test_col2im")
    found = {path.name for path in NODES.iterdir() if path.name.startswith(stems)}
    assert found == {*CONV, *TRANSPOSED, *COL2IM}
