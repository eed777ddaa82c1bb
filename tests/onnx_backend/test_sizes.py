"""Sizes that a model declares, and those that it leaves open."""

import numpy as np
import onnx
import pytest

from convkit import onnx_backend


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
