"""Networks of layers: what they add up, what they leave out, and what they say when used wrongly."""

import numpy as np
import pytest

import convkit
from convkit import models, nn
from convkit.analysis import check_gradients
from nn_cases import batch, needs_of, small_network


@pytest.mark.thorough
def test_gradients_of_a_whole_network():
    report = check_gradients(small_network(), batch((2, 1, 6, 6)), rtol=1e-5)
    assert [entry.name for entry in report.entries] == [
        "input", "0.weight", "0.bias", "2.0.weight", "2.0.bias", "4.weight", "4.bias",
    ]  # fmt: skip


def test_backward_adds_until_zero_grad():
    model, x = small_network(), batch((2, 1, 6, 6))
    assert all(p.grad is None for p in model.parameters())
    once = []
    for times in (1, 2):
        model.backward(np.ones_like(model(x)))
        grads = [p.grad.copy() for p in model.parameters()]
        once = once or grads
        for grad, first in zip(grads, once, strict=True):
            np.testing.assert_allclose(grad, times * first, rtol=1e-6)
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_a_layer_and_a_whole_model_return_their_inputs_gradient_unless_it_is_not_wanted():
    layer, model, x = nn.Conv2d(1, 2, 3, rng=0), small_network(), batch((2, 1, 6, 6))
    y = layer(x)
    np.testing.assert_array_equal(
        layer.backward(np.ones_like(y)), convkit.conv2d_backward(np.ones_like(y), x, layer.weight.data).x
    )
    y = layer(x)
    assert layer.backward(np.ones_like(y), need_input=False) is None
    y = model(x)
    assert model.backward(np.ones_like(y), need_input=False) is None
    y = model(x)
    assert model.backward(np.ones_like(y)).shape == x.shape


def test_the_first_layers_input_gradient_is_not_computed(monkeypatch):
    needs, model = needs_of(monkeypatch), small_network()
    y = model(batch((2, 1, 6, 6)))
    model.backward(np.ones_like(y), need_input=False)
    assert needs == [("x", "weight", "bias"), ("weight", "bias")]


def test_layers_below_the_lowest_that_learns_do_nothing(monkeypatch):
    needs, model = needs_of(monkeypatch), small_network()
    for parameter in model[:2].parameters():
        parameter.trainable = False
    y = model(batch((2, 1, 6, 6)))
    model.backward(np.ones_like(y), need_input=False)
    assert needs == [("weight", "bias")]
    assert all(p.grad is None for p in model[0].parameters())
    assert all(p.grad is not None for p in model[2:].parameters())


def test_frozen_in_the_middle_still_lets_the_gradient_through(monkeypatch):
    reference, model, x = small_network(), small_network(), batch((2, 1, 6, 6))
    for m in (reference, model):
        y = m(x)
        if m is model:
            needs = needs_of(monkeypatch)
            for parameter in model[2].parameters():
                parameter.trainable = False
        m.backward(np.ones_like(y), need_input=False)
    assert needs == [("x",), ("weight", "bias")]
    np.testing.assert_array_equal(model[0].weight.grad, reference[0].weight.grad)
    assert model[2][0].weight.grad is None


def test_where_nothing_learns_nothing_is_done(monkeypatch):
    needs, model, x = needs_of(monkeypatch), small_network().freeze(), batch((2, 1, 6, 6))
    for m, shape in ((model, (2, 3)), (model[2], (2, 4, 3, 3))):
        y, back = m.begin(x if m is model else batch((2, 4, 6, 6)))
        assert y.shape == shape and back(np.ones_like(y), need_input=False) is None
    assert needs == []


def test_a_gradient_of_none_says_where_it_comes_from():
    body, head, x = small_network()[:2], nn.Flatten(), batch((1, 1, 4, 4))
    grad = body.backward(head.backward(head(body(x))), need_input=False)
    with pytest.raises(TypeError, match="grad must be an array, got None in ReLU.backward; .* need_input is True"):
        relu = nn.ReLU()
        relu(x)
        relu.backward(grad)


@pytest.mark.parametrize(
    ("wrong", "error", "got"),
    [(lambda grad: None, TypeError, "None"), (lambda grad: grad.sum(axis=0), ValueError, r"shape \(3,\)")],
)
def test_a_lowest_layer_whose_way_back_gives_no_gradient_of_its_input_is_named(wrong, error, got):
    class Lowest(nn.Module):
        def run(self, x):
            return x * 2, lambda grad, need_input: wrong(grad)

    model, x = nn.Sequential(nn.Sequential(Lowest()), nn.Linear(3, 2, rng=0)), batch((4, 3))
    y = model(x)
    with pytest.raises(error, match=rf"Lowest.run's way back must return .*, of shape \(4, 3\), got {got}") as caught:
        model.backward(np.ones_like(y))
    assert caught.value.__notes__ == ["in layer '0.0': Lowest()"] and model[1].weight.grad is None
    model.backward(np.ones_like(model(x)), need_input=False)  # nobody asks
    y, back = Lowest().begin(np.arange(3))  # nor has what is no float a gradient
    back(y)


def test_a_parameter_that_a_property_gives_has_its_gradient():
    class Tied(nn.Module):
        weight = property(lambda self: self.to.weight)

        def __init__(self, to):
            self.to = to

        def run(self, x):
            def back(grad, need_input):
                grads = convkit.linear_backward(grad, x, self.weight.data, need=("x", "weight"))
                self.accumulate(grads)
                return grads.x

            return convkit.linear(x, self.weight.data), back

    layer = nn.Linear(3, 3, rng=0)
    check_gradients(nn.Sequential(Tied(layer), nn.Tanh(), layer), batch((4, 3)))


def test_a_second_input_needs_no_gradient():
    class Stateful(nn.Module):
        def run(self, x, state):
            several = isinstance(x, list)
            y = sum(x) + state if several else x + state
            return y, lambda grad, need_input: (grad, grad) if several else grad

    layer, x, state = Stateful(), batch((4, 3)), batch((1, 3))
    assert layer.backward(layer(x, state)).shape == (4, 3) and len(layer.backward(layer([x, x], state))) == 2
    with pytest.raises(ValueError, match=r"of shape \(\(1, 3\), \(4, 3\)\), got shape \(4, 3\)"):
        layer.backward(layer(state, x))


def test_relu_lets_nan_through_and_nothing_at_zero():
    relu = nn.ReLU()
    np.testing.assert_array_equal(relu(np.array([-1.0, 0.0, 2.0, np.nan])), [0, 0, 2, np.nan])
    np.testing.assert_array_equal(relu.backward(np.ones(4)), [0, 0, 1, 0])


def test_a_layer_of_ones_own_in_a_list_of_modules():
    class Scale(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(np.array([3.0]))

        def run(self, x):
            weight = self.weight.data

            def back(grad, need_input):
                self.weight.accumulate((grad * x).sum(keepdims=True).reshape(1))
                return grad * weight

            return x * weight, back

    class Twice(nn.Module):
        def __init__(self):
            self.parts = [Scale(), Scale()]

        def run(self, x):
            y, first = self.parts[0].begin(x)
            y, second = self.parts[1].begin(y)
            return y, lambda grad, need_input: first(second(grad), need_input)

    assert [name for name, _ in Twice().named_parameters()] == ["parts.0.weight", "parts.1.weight"]
    assert check_gradients(Twice(), batch((2, 3))).ok


@pytest.mark.parametrize("activation", ["gelu", "silu", "hard_swish", "relu"])
@pytest.mark.parametrize(
    "make",
    [
        lambda activation: nn.Linear(5, 4, activation=activation, rng=0, dtype="float64"),
        lambda activation: nn.Conv2d(5, 4, 2, activation=activation, rng=0, dtype="float64"),
        lambda activation: nn.ConvTranspose1d(5, 4, 2, activation=activation, rng=0, dtype="float64"),
        lambda activation: nn.DeformConv1d(5, 4, 2, activation=activation, rng=0, dtype="float64"),
    ],
)
def test_every_activation_of_a_layer_learns(make, activation):
    """As the layer and the activation one after the other; evaluated, it is fused, with the same bits."""
    layer, plain = make(activation), make(None)
    after = {"gelu": nn.GELU, "silu": nn.SiLU, "hard_swish": nn.Hardswish, "relu": nn.ReLU}[activation]()
    x = batch((3, 5) if isinstance(layer, nn.Linear) else (2, 5, 4, 3)[: layer.weight.data.ndim]).astype(np.float64)
    apart = nn.Sequential(plain, after)
    y = layer(x)
    np.testing.assert_array_equal(y, apart(x))
    np.testing.assert_array_equal(y, layer.predict(x))
    grad = np.random.default_rng(1).standard_normal(y.shape)
    np.testing.assert_allclose(layer.backward(grad), apart.backward(grad), rtol=1e-12, atol=1e-12)
    for learned, expected in zip(layer.parameters(), apart.parameters(), strict=True):
        np.testing.assert_allclose(learned.grad, expected.grad, rtol=1e-12, atol=1e-12)


def test_losses_have_pytorchs_names_too():
    names = {"cross_entropy": "softmax_cross_entropy", "nll_loss": "negative_log_likelihood", "mse_loss": "l2"}
    names |= {"l1_loss": "l1", "huber_loss": "huber", "smooth_l1_loss": "smooth_l1"}
    for alias, name in names.items():
        assert getattr(nn.losses, alias) is getattr(nn.losses, name)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(3, 2, rng=0), (1, 5)),
        (nn.BatchNorm2d(3), (1, 5, 2, 2)),
        (nn.BatchNorm2d(3), (1, 3, 2)),
        (models.lenet5(init="zeros"), (1, 1, 28, 28)),
    ],
)
def test_what_a_call_refuses_has_no_output_shape(layer, shape):
    for ask in (layer.output_shape, lambda shape: layer.predict(np.zeros(shape, np.float32))):
        with pytest.raises(ValueError, match="^x must have "):
            ask(shape)
