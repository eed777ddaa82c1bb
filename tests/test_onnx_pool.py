"""The ONNX standard's pooling vectors through the public operators."""

import numpy as np
import pytest

import convkit
import onnx_vectors

ANSWER = 5e-7  # of the largest: what ONNX's answers, themselves sums in float32, may be off
# Operands and answers written down to four decimals, each up to half of the last one off.
FOUR_DIGITS = {"test_averagepool_2d_ceil_last_window_starts_on_pad": 1e-4}
UINT8 = "test_maxpool_2d_uint8"  # convkit has float32 and float64
CASES = {
    "MaxPool": 19, "AveragePool": 20, "GlobalAveragePool": 2, "GlobalMaxPool": 2, "MaxUnpool": 2,
}  # fmt: skip
NAMES = {operator: onnx_vectors.names(operator) for operator in CASES}
PADDINGS = {"SAME_UPPER": "same_upper", "SAME_LOWER": "same_lower", "VALID": "valid"}


def pairs(pads) -> tuple:
    """ONNX's (all lo, all hi) as pairs."""
    half = len(pads) // 2
    return tuple(zip(pads[:half], pads[half:], strict=True))


def window(attributes) -> dict:
    """convkit's arguments of a moving window."""
    kernel = tuple(attributes["kernel_shape"])
    padding = PADDINGS.get(attributes.get("auto_pad")) or pairs(attributes.get("pads", [0] * 2 * len(kernel)))
    return {
        "kernel_size": kernel,
        "stride": tuple(attributes.get("strides", [1] * len(kernel))),
        "padding": padding,
    }


def pool(operator, attributes, x, **options) -> np.ndarray:
    nd = x.ndim - 2
    if operator.startswith("Global"):
        kind = "max" if operator == "GlobalMaxPool" else "avg"
        return getattr(convkit, f"adaptive_{kind}_pool{nd}d")(x, 1, **options)
    common = window(attributes) | {
        "dilation": tuple(attributes.get("dilations", [1] * nd)),
        "ceil_mode": bool(attributes.get("ceil_mode", 0)),
    }
    if operator == "MaxPool":
        return getattr(convkit, f"max_pool{nd}d")(x, **common, **options)
    include = bool(attributes.get("count_include_pad", 0))
    return getattr(convkit, f"avg_pool{nd}d")(x, **common, count_include_pad=include, **options)


def test_all_cases_are_there():
    assert {operator: len(names) for operator, names in NAMES.items()} == CASES
    assert UINT8 in NAMES["MaxPool"]


@pytest.mark.parametrize(
    ("operator", "name"),
    [(op, name) for op, names in NAMES.items() if op != "MaxUnpool" for name in names if name != UINT8],
)
def test_pool(operator, name, isa):
    attributes, (x,), outputs = onnx_vectors.load(name)
    for dtype in (np.float32, np.float64):
        got = pool(operator, attributes, x.astype(dtype))
        allowed = 0 if "Max" in operator else FOUR_DIGITS.get(name, ANSWER * np.abs(outputs[0]).max())
        np.testing.assert_allclose(got, outputs[0], 0, allowed)
        last = pool(operator, attributes, np.moveaxis(x.astype(dtype), 1, -1), layout="NHWC")
        np.testing.assert_array_equal(np.moveaxis(last, -1, 1), got)
    if len(outputs) == 2 and not attributes.get("storage_order"):  # ONNX's count goes through all planes of the batch
        _, indices = pool(operator, attributes, x, return_indices=True)
        plane = np.prod(x.shape[2:])
        first = np.arange(x.shape[0] * x.shape[1]).reshape(x.shape[:2] + (1,) * (x.ndim - 2)) * plane
        np.testing.assert_array_equal(indices + first, outputs[1])


def test_uint8_is_refused():
    attributes, (x,), _ = onnx_vectors.load(UINT8)
    with pytest.raises(TypeError, match="x must be float32 or float64, got dtype uint8"):
        pool("MaxPool", attributes, x)


@pytest.mark.parametrize("name", NAMES["MaxUnpool"])
def test_max_unpool(name, isa):
    """ONNX's places count in planes of the default size, through the whole batch; output_shape, in its own planes."""
    attributes, inputs, (y,) = onnx_vectors.load(name)
    x, places = inputs[:2]
    arguments = window(attributes)
    default = convkit.max_unpool2d(x, np.zeros(x.shape, np.int64), **arguments).shape
    size = tuple(inputs[2][2:]) if len(inputs) == 3 else None
    plane = np.prod(default[2:])
    indices = places % plane  # one image of one channel
    if size is None:
        got = convkit.max_unpool2d(x, indices, **arguments)
    else:  # ONNX places in the default plane and pads that at the end
        got = np.zeros(tuple(inputs[2]), x.dtype)
        got[tuple(slice(0, n) for n in default)] = convkit.max_unpool2d(x, indices, **arguments)
        whole = np.unravel_index(indices, default[2:])
        moved = np.ravel_multi_index(whole, size)
        np.testing.assert_array_equal(convkit.max_unpool2d(x, moved, **arguments, output_size=size), got)
    np.testing.assert_array_equal(got, y)
