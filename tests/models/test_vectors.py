"""torchvision's networks: names and shapes of their state, scores, and a pass of training, from stored vectors."""

from pathlib import Path

import numpy as np
import pytest

from convkit import models
from state_recipe import filled

VECTORS = np.load(Path(__file__).parent.parent / "vectors" / "models.npz")
SEED, CLASSES = 20261121, 10  # of make_model_vectors.py
RTOL = {"float32": 1e-5, "float64": 1e-12}  # a few times what the sums of dozens of layers leave


def images_and_grad(dtype):
    rng = np.random.default_rng(SEED)
    x, grad = (rng.standard_normal(shape, np.float32) for shape in ((4, 3, 64, 64), (4, CLASSES)))
    return x.astype(dtype), grad.astype(dtype)


def with_weights(name, dtype):
    model = getattr(models, name)(CLASSES, init="zeros", dtype=dtype)
    model.load_state_dict(filled({key: array.shape for key, array in model.state_dict().items()}, SEED))
    return model


def assert_close(got, expected, dtype, what=""):
    error = np.abs(got - expected).max() / np.abs(expected).max()
    assert error < RTOL[dtype], f"{what}: off by {error:.1e} of the largest"


LARGE = [pytest.param(name, marks=pytest.mark.thorough) for name in ("alexnet", "vgg16", "resnet50")]


@pytest.mark.parametrize("name", [*LARGE, "resnet18", "mobilenet_v2"])
def test_names_shapes_and_order_of_the_state(name):
    state = getattr(models, name)(init="zeros").state_dict()
    assert [f"{key} {array.shape}" for key, array in state.items()] == VECTORS[f"{name}/state"].tolist()


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_scores_in_evaluation(name, dtype):
    x, _ = images_and_grad(dtype)
    y = with_weights(name, dtype).eval()(x)
    assert y.dtype == dtype
    assert_close(y, VECTORS[f"{name}/y"], dtype)


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", RTOL)
def test_a_pass_of_training(dtype):
    x, grad = images_and_grad(dtype)
    model = with_weights("resnet18", dtype)
    assert_close(model(x), VECTORS["resnet18/train/y"], dtype, "scores")
    model.backward(grad)
    parameters, state = dict(model.named_parameters()), model.state_dict()
    expected = {key.removeprefix("resnet18/"): VECTORS[key] for key in VECTORS if key.startswith("resnet18/")}
    gradients = [key for key in expected if key.startswith("grad/")]
    moved = [key for key in expected if key.startswith("moved/")]
    assert len(gradients) == 5 and len(moved) == 24
    for key in gradients if dtype == "float64" else ():  # a float32 within rounding of zero may pass a ReLU, or not
        assert_close(parameters[key.removeprefix("grad/")].grad, expected[key], dtype, key)
    for key in moved:
        assert_close(state[key.removeprefix("moved/")], expected[key], dtype, key)
