"""Models of ONNX beside ONNX Runtime, run by `make test-peers`."""

import numpy as np
import onnxruntime
import pytest

from convkit import onnx_backend
from onnx_models import EXPORTED, LIGHT, export, light, model

RTOL = 1e-4  # of the largest: float32 on both sides


def assert_agree(content: bytes, x: np.ndarray) -> None:
    """Fail unless every output is ONNX Runtime's."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    expected = session.run(None, {session.get_inputs()[0].name: x})
    results = onnx_backend.load(content)(x)
    results = results if isinstance(results, tuple) else (results,)
    for got, wanted in zip(results, expected, strict=True):
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=0, atol=RTOL * np.abs(wanted).max())


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, np.float32)


@pytest.mark.parametrize("path", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_light_architectures(path):
    assert_agree(light(path.stem.removeprefix("light_")).SerializeToString(), noise(1, 3, 224, 224))


@pytest.mark.parametrize("dynamo", (True, False), ids=("newer", "older"))
@pytest.mark.parametrize("name", EXPORTED)
def test_what_pytorch_exports(name, dynamo):
    size = EXPORTED[name]
    content = export(model(name), size, dynamo)
    for batch in (2, 3):
        assert_agree(content, noise(batch, 3, size, size))
