"""Chains: slices, names, modes, and errors that say which layer."""

import numpy as np
import pytest

from convkit import nn
from convkit.analysis import check_gradients


def chain():
    return nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3, rng=1))


def test_indices_and_slices_share_the_layers():
    model, x = chain(), np.ones((2, 1, 4, 4), np.float32)
    body = model[:-1]
    assert isinstance(body, nn.Sequential)
    assert len(model) == 4 and len(body) == 3
    assert model[-1] is list(model)[3] and body[0] is model[0]
    np.testing.assert_array_equal(model[-1](body(x)), model(x))
    assert [name for name, _ in model[3:].named_parameters()] == ["3.weight", "3.bias"]  # PyTorch keeps the names too
    with pytest.raises(IndexError):
        model[4]


def test_a_new_head_on_a_frozen_body():
    body = chain()[:-1]
    for parameter in body.parameters():
        parameter.trainable = False
    model = nn.Sequential(body, nn.Linear(8, 2, rng=2))
    before = body[0].weight.data.copy()
    model.backward(np.ones_like(model(np.ones((2, 1, 4, 4), np.float32))))
    assert model[1].weight.grad is not None and body[0].weight.grad is None
    np.testing.assert_array_equal(body[0].weight.data, before)


def test_layers_may_have_names():
    model = nn.Sequential({"features": nn.Sequential(nn.Conv2d(1, 2, 3)), "head": nn.Linear(8, 2)})
    assert list(model.state_dict()) == ["features.0.weight", "features.0.bias", "head.weight", "head.bias"]


def test_modes_reach_every_module():
    model = nn.Sequential(nn.Sequential(nn.ReLU()), nn.ReLU())
    assert all(module.training for module in model.modules())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    assert model.train() is model
    assert all(module.training for module in model.modules())
    assert len(list(model.modules())) == 4


def test_a_shared_parameter_comes_once_but_has_all_its_names():
    first, second = nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=1)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_an_error_names_the_layer():
    with pytest.raises(ValueError, match="channels") as caught:
        nn.Sequential(nn.ReLU(), chain())(np.ones((1, 3, 4, 4), np.float32))
    assert caught.value.__notes__ == ["in layer '1.0': Conv2d(1, 2, kernel_size=(3, 3))"]


def test_a_layer_may_stand_twice():
    twice = nn.Linear(4, 4, rng=0)
    model = nn.Sequential(twice, nn.Tanh(), nn.Sequential(twice), nn.Linear(4, 2, rng=1))
    report = check_gradients(model, np.random.default_rng(0).standard_normal((3, 4)))
    assert [entry.name for entry in report.entries] == ["input", "0.weight", "0.bias", "3.weight", "3.bias"]
    assert list(model.state_dict())[:4] == ["0.weight", "0.bias", "2.0.weight", "2.0.bias"]


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(), nn.Hardsigmoid(), nn.Sigmoid(), nn.Tanh()], ids=repr)
def test_an_activation_in_the_pass_of_the_layer_before_changes_no_bit(activation):
    rng = np.random.default_rng(0)
    layers = [
        nn.Conv2d(3, 16, 3, padding=1, rng=0),
        activation,
        nn.Conv2d(16, 16, 3, stride=2, activation="relu", rng=1),
    ]
    layers += [activation, nn.Flatten(), nn.Linear(144, 5, rng=2), activation]
    x, grad = rng.standard_normal((2, 3, 8, 8), np.float32), rng.standard_normal((2, 5), np.float32)
    model, seen = nn.Sequential(*layers), []

    def both():
        got = [model(x), model.backward(grad)] + [parameter.grad for parameter in model.parameters()]
        model.zero_grad()
        return got

    together = both()
    with nn.hooks(forward=lambda layer, *_: seen.append(layer)):  # who looks on sees what lies between
        apart = both()
    assert seen == [*layers, model]
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.signbit(together[0]), np.signbit(apart[0]))
    np.testing.assert_array_equal(model.predict(x), together[0])
    model = nn.Sequential(nn.Sequential(layers[0]), nn.Sequential(activation, nn.Sequential(*layers[2:4])), *layers[4:])
    for one, other in zip(together, both(), strict=True):  # chains inside are their layers
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(), nn.Hardsigmoid(), nn.Tanh()], ids=repr)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("shape", [(3, 4, 4, 9), (2, 20, 3, 6), (5, 20, 1, 2), (4, 20, 1, 1)])
def test_an_activation_in_the_pass_of_a_normalisation_changes_no_bit(activation, layout, shape):
    rng = np.random.default_rng(0)
    layer = nn.BatchNorm2d(shape[1], layout=layout)
    for parameter in layer.parameters():
        parameter.data[:] = 3 * rng.standard_normal(parameter.shape)
    shape = (shape[0], *shape[2:], shape[1]) if layout == "NHWC" else shape
    x, grad = rng.standard_normal((2, *shape), np.float32)
    x[(0, ..., 0) if layout == "NHWC" else (0, 0)] *= 1e30  # a channel that has to be scaled
    x[(0, 0, 0, -1) if layout == "NHWC" else (0, -1, 0, 0)] = np.nan
    x[(..., 1) if layout == "NHWC" else (slice(None), 1)] = -0.0
    layer.weight.data[1], layer.bias.data[1] = 1, -0.0
    grad[(0, 0, 0, 2) if layout == "NHWC" else (0, 2, 0, 0)] = np.inf  # of which a constant piece lets nothing through
    model = nn.Sequential(layer, activation)

    def both():
        got = [model(x), model.backward(grad), layer.weight.grad, layer.bias.grad]
        model.zero_grad()
        return got

    for mode in (False, True):
        model.train(mode)
        together = both()
        with nn.hooks(forward=lambda *_: None):
            apart = both()
        for one, other in zip(together, apart, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(np.signbit(together[0]), np.signbit(apart[0]))


@pytest.mark.parametrize(("of", "sizes"), [(nn.Linear, (3, 3)), (nn.Conv1d, (3, 3, 1))])
def test_what_a_chain_tells_its_layers_is_no_argument_and_passes_over_no_run_of_ones_own(of, sizes):
    class Own(of):
        def run(self, x):
            y, back = super().run(x)
            return -y, lambda grad, need_input: back(-grad, need_input)

    tanh, layer, own = nn.Tanh(), of(*sizes, rng=0), Own(*sizes, rng=0)
    x = np.linspace(-1, 1, 18, dtype=np.float32).reshape(2, 3, 3)
    for called, wrong in (layer, {"activation": "tanh"}), (tanh, {"done": True}):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            called(x, **wrong)
    np.testing.assert_array_equal(nn.Sequential(own, tanh)(x), -nn.Sequential(layer, tanh)(x))
    check_gradients(nn.Sequential(tanh, layer, tanh, nn.Sequential(tanh, own, tanh)), x)  # both after a layer and alone


def test_a_chain_passes_over_no_call_of_ones_own():
    seen = []

    class Seen(nn.Linear):
        def begin(self, x):
            seen.append("class")
            return super().begin(x)

    relu = nn.ReLU()
    relu.begin = lambda x: (seen.append("instance"), nn.ReLU.begin(relu, x))[1]
    inner = nn.Sequential(nn.Linear(2, 2, rng=1))
    inner.begin = lambda x: (seen.append("chain"), nn.Sequential.begin(inner, x))[1]
    chain = nn.Sequential(nn.Sequential(Seen(3, 2, rng=0), nn.ReLU()), inner, relu)
    y = chain(np.ones((1, 3), np.float32))
    assert (y >= 0).all()
    assert seen == ["class", "chain", "instance"]


def test_what_is_no_chain():
    with pytest.raises(TypeError, match=r"layers\['1'\] must be a Module, got function"):
        nn.Sequential(nn.ReLU(), lambda x: x)
