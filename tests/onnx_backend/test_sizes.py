"""Sizes that a model declares, and those that it leaves open."""

import numpy as np
import onnx
import pytest

from convkit import onnx_backend


@pytest.mark.parametrize(("kernel", "stride", "size"), ((4, 2, 20), (3, 2, 20), (5, 3, 40)))
def test_the_padding_of_a_transposed_convolution_follows_from_the_image(kernel, stride, size):
    """And so does the order in which weights lie ready, which images of two sizes cannot share then."""
    rng = np.random.default_rng(0)
    weight, sides = rng.standard_normal((16, 8, kernel, kernel), np.float32), (size // stride, size // stride - 1)
    node = onnx.helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=2 * [stride], output_shape=2 * [size])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, 4 * [None]) for name in "xy"]
    weights = [onnx.numpy_helper.from_array(weight, "w")]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "two sizes", ends[:1], ends[1:], weights))
    network, images = onnx_backend.load(model), [rng.standard_normal((1, 16, n, n), np.float32) for n in sides]
    for image in images:
        np.testing.assert_array_equal(network(image), onnx_backend.load(model)(image))


@pytest.mark.parametrize("size", (-1, "N", None))
def test_any_size_however_that_is_written(size):
    """Some exporters write -1 where ONNX has a name, or nothing."""
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [size, 3]) for name in "xy"]
    made = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "open", ends[:1], ends[1:])
    network = onnx_backend.load(onnx.helper.make_model(made))
    for n in (1, 4):
        np.testing.assert_array_equal(network(np.ones((n, 3), np.float32)), np.full((n, 3), -1, np.float32))
    with pytest.raises(ValueError, match=r"x must have shape \(any, 3\), got \(3, 2\)"):
        network(np.ones((3, 2), np.float32))
