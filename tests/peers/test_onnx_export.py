"""Exported layers and models in ONNX Runtime, for batches of another size; run by `make test-peers`."""

import numpy as np
import onnx
import onnxruntime
import pytest

from convkit import models, nn, onnx_backend
from nn_cases import ALONE, TWINS, with_numbers

# Layers that have no graph, as their `symbolic` says, and those that ONNX Runtime has no kernel for.
UNTRACED = {"max_unpool1d", "max_unpool2d", "max_unpool3d", "batch_norm2d_untracked", "deform_conv2d_last"}
NO_KERNEL = {"deform_conv1d", "deform_conv3d"}
CASES = [case for case in (*TWINS, *ALONE) if case.name not in UNTRACED | NO_KERNEL]
SHAPES = {"lenet5": (1, 1, 32, 32), "unet": (1, 1, 32, 32), "dcgan_generator": (1, 100, 1, 1)}


def assert_agree(path, model, *inputs):
    """Within 1e-5 of the largest."""
    onnx.checker.check_model(str(path), full_check=True)
    onnx.shape_inference.infer_shapes_path(str(path), str(path) + ".shapes", strict_mode=True, data_prop=True)
    session = onnxruntime.InferenceSession(path)
    got = session.run(None, dict(zip([entry.name for entry in session.get_inputs()], inputs, strict=True)))
    wanted = model.predict(*inputs)
    for array, other in zip(got, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        assert array.shape == other.shape and array.dtype == other.dtype
        np.testing.assert_allclose(array, other, rtol=0, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_layer(case, tmp_path):
    rng = np.random.default_rng(0)
    layer, more = with_numbers(case.build(nn), rng, "float32").eval(), case.more(rng)
    onnx_backend.export(layer, tmp_path / "layer.onnx", [case.shape, *(array.shape for array in more)])
    n, *rest = case.shape
    x = rng.standard_normal((n if more else n + 2, *rest)).astype(np.float32)
    assert_agree(tmp_path / "layer.onnx", layer, x, *more)


def pyramid(rng):
    net = models.resnet18(rng=rng)
    stages = [net[:5], net[5], net[6], net[7]]
    return models.PyramidNetwork(stages, models.FeaturePyramid((64, 128, 256, 512), rng=rng))


@pytest.mark.parametrize("name", [
    "lenet5", "alexnet", "vgg16", "resnet18", "resnet50", "mobilenet_v2", "unet", "dcgan_generator", "pyramid",
])  # fmt: skip
def test_every_model(name, tmp_path):
    model = pyramid(0) if name == "pyramid" else getattr(models, name)(rng=0)
    shape = SHAPES.get(name, (1, 3, 64, 64))
    onnx_backend.export(model.eval(), tmp_path / "model.onnx", shape)
    assert_agree(tmp_path / "model.onnx", model, np.random.default_rng(0).standard_normal((2, *shape[1:]), np.float32))
