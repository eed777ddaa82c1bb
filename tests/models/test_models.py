"""Models: sizes in and out, how many numbers they learn, gradients, and a new head on a frozen backbone."""

import numpy as np
import pytest

from convkit import models, nn, optim
from convkit.analysis import check_gradients, count_parameters
from convkit.models import mobilenet, resnet
from convkit.models._layers import Layers
from nn_cases import needs_of

LAYERS = Layers("he", 0, "float64")

MODELS = {
    "lenet5": ((2, 1, 32, 32), (2, 10), 61_706),
    "alexnet": ((1, 3, 63, 63), (1, 1000), 61_100_840),
    "vgg16": ((1, 3, 32, 32), (1, 1000), 138_357_544),
    "resnet18": ((2, 3, 33, 47), (2, 1000), 11_689_512),
    "resnet50": ((1, 3, 32, 32), (1, 1000), 25_557_032),
    "mobilenet_v2": ((1, 3, 32, 40), (1, 1000), 3_504_872),
    "unet": ((1, 1, 32, 48), (1, 2, 32, 48), 31_030_658),
    "dcgan_generator": ((2, 100, 1, 1), (2, 3, 64, 64), 3_576_704),
}


def noise(*shape, dtype="float32"):
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def some(names, quick):
    """Parametrise a test by names, of which all but the quick ones are thorough."""
    marked = [pytest.param(name, marks=() if name in quick else pytest.mark.thorough) for name in names]
    return pytest.mark.parametrize("name", marked)


@some(MODELS, quick=("lenet5", "resnet18", "unet", "dcgan_generator"))
def test_sizes_and_parameters(name):
    x_shape, y_shape, parameters = MODELS[name]
    model = getattr(models, name)(init="zeros").eval()
    assert count_parameters(model) == parameters
    y = model(noise(*x_shape))
    assert y.shape == y_shape == model.output_shape(x_shape) and y.dtype == np.float32


@some(["lenet5", "mobilenet_v2"], quick=["lenet5"])
def test_one_seed_one_model(name):
    make = getattr(models, name)
    states = [make(rng=seed).state_dict() for seed in (7, 7, 8)]
    key = next(iter(states[0]))
    np.testing.assert_array_equal(states[0][key], states[1][key])
    assert (states[0][key] != states[2][key]).any()


@pytest.mark.thorough
def test_what_is_asked_for():
    model = models.resnet18(7, in_channels=1, dtype="float64", init=lambda shape, **_: np.full(shape, 0.5))
    assert {array.dtype for name, array in model.state_dict().items() if "tracked" not in name} == {np.dtype("float64")}
    np.testing.assert_array_equal(model.state_dict()["fc.weight"], np.full((7, 512), 0.5))
    assert model(noise(2, 1, 32, 32, dtype="float64")).shape == (2, 7)
    assert models.mobilenet_v2(3, in_channels=2, init="zeros").eval()(noise(1, 2, 32, 32)).shape == (1, 3)


# ---------------------------------------------------------------- gradients

SMALL = {
    "lenet5": (lambda: models.lenet5(3, rng=0), (2, 1, 32, 32)),
    "unet": (lambda: models.unet(3, in_channels=2, width=2, depth=2, rng=0), (2, 2, 8, 12)),
    "unet without steps": (lambda: models.unet(width=2, depth=0, rng=0), (1, 1, 4, 4)),
    "dcgan_generator": (lambda: models.dcgan_generator(3, width=2, init="he", rng=0), (3, 3, 1, 1)),
    "residual block": (lambda: resnet.basic_block(LAYERS, 4, 4, 1), (2, 4, 4, 4)),
    "block with a shortcut": (lambda: resnet.basic_block(LAYERS, 4, 6, 2), (2, 4, 4, 4)),
    "bottleneck": (lambda: resnet.bottleneck(LAYERS, 4, 2, 1), (2, 4, 4, 4)),
    "inverted residual": (lambda: mobilenet.inverted_residual(LAYERS, 4, 4, 1, 2), (2, 4, 4, 4)),
    "inverted residual of stride 2": (lambda: mobilenet.inverted_residual(LAYERS, 4, 4, 2, 2), (2, 4, 4, 4)),
}


@some(SMALL, quick=("lenet5", "residual block"))
def test_gradients_are_those_of_central_differences(name):
    make, shape = SMALL[name]
    assert check_gradients(make(), noise(*shape, dtype="float64"), rtol=1e-5, max_elements=6).ok


def test_the_input_gradient_of_a_unet_is_only_computed_if_wanted(monkeypatch):
    needs = needs_of(monkeypatch)
    model = models.unet(width=2, depth=1, rng=0)
    for need_input in (False, True):
        grad = model.backward(np.ones_like(model(noise(1, 1, 4, 4))), need_input=need_input)
        assert (grad is None) != need_input
        assert ("x" in needs[-1]) == need_input


# ---------------------------------------------------------------- a new head on a frozen backbone


@pytest.mark.thorough
def test_load_a_backbone_freeze_it_put_a_head_on(tmp_path):
    trained = models.resnet18(init="he", rng=3)
    nn.save_state(trained.state_dict(), tmp_path / "resnet18.safetensors")

    backbone = models.resnet18(init="zeros")
    backbone.load_state_dict(nn.load_state(tmp_path / "resnet18.safetensors"))
    model = nn.Sequential(backbone[:-1].freeze(), nn.Linear(512, 4, rng=0))

    x, before = noise(4, 3, 32, 32), {name: array.copy() for name, array in model.state_dict().items()}
    features = trained.eval()[:-1](x)
    optimizer, costs = optim.SGD(model.parameters(), 1e-4), []
    for _ in range(5):
        loss = nn.losses.softmax_cross_entropy(model.train()(x), np.arange(4))
        model.zero_grad()
        model.backward(loss.grad)
        optimizer.step()
        costs.append(loss.value)
    assert costs[-1] < 0.9 * costs[0]
    changed = {name for name, array in model.state_dict().items() if (array != before[name]).any()}
    assert changed == {"1.weight", "1.bias"}  # and no running statistics
    np.testing.assert_array_equal(model[0](x), features)


def test_a_frozen_part_learns_again():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.BatchNorm2d(2), nn.Dropout())
    assert model.freeze() is model and not model.train()[1].training
    model.freeze(False).train()
    assert all(layer.training for layer in model) and all(p.trainable for p in model.parameters())
    model.eval().freeze().freeze(False)
    assert not model[1].training


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.resnet18(init="normal"), "init must be one of 'he'"),
        (lambda: models.unet(rng=0, width=1, depth=1)(noise(1, 1, 6, 5)), r"divisible by 2, got shape \(1, 1, 6, 5\)"),
        (lambda: models.unet(depth=-1), "depth must be at least 0, got -1"),
        (lambda: models.resnet18(init="zeros")(noise(1, 1, 32, 32)), "x must have"),
    ],
)
@pytest.mark.thorough
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
