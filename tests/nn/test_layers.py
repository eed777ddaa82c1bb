"""Networks of layers: what they add up, what they leave out, and what they say when used wrongly."""

import weakref

import numpy as np
import pytest

import convkit
from convkit import nn
from convkit.analysis import check_gradients


def small_network(rng=0, dtype="float32"):
    rng = np.random.default_rng(rng)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, rng=rng, dtype=dtype),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1, rng=rng, dtype=dtype), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(36, 3, rng=rng, dtype=dtype),
    )


def batch(shape, dtype="float32", seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def needs_of(monkeypatch):
    """Record the ``need=`` of every 2-D convolution's backward, the last layer's first."""
    needs = []

    def spy(*args, need, **options):
        needs.append(need)
        return convkit.conv2d_backward(*args, need=need, **options)

    monkeypatch.setattr(nn.Conv2d, "_backward", staticmethod(spy))
    return needs


def test_gradients_of_a_whole_network():
    report = check_gradients(small_network(), batch((2, 1, 6, 6)), rtol=1e-5)
    assert [entry.name for entry in report.entries] == [
        "input", "0.weight", "0.bias", "2.0.weight", "2.0.bias", "4.weight", "4.bias",
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_keep_the_dtype(dtype):
    model, x = small_network(dtype=dtype), batch((2, 1, 6, 6), dtype)
    y = model(x)
    dx = model.backward(np.ones_like(y), need_input=True)
    assert {a.dtype for a in (y, dx, *(p.grad for p in model.parameters()))} == {np.dtype(dtype)}
    assert dx.shape == x.shape


def test_an_empty_batch_gives_zero_gradients():
    model = small_network()
    y = model(batch((0, 1, 6, 6)))
    assert y.shape == (0, 3)
    assert model.backward(y, need_input=True).shape == (0, 1, 6, 6)
    assert all(not p.grad.any() for p in model.parameters())


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


def test_a_layer_returns_its_inputs_gradient_and_a_whole_model_on_demand():
    layer, model, x = nn.Conv2d(1, 2, 3, rng=0), small_network(), batch((2, 1, 6, 6))
    y = layer(x)
    np.testing.assert_array_equal(
        layer.backward(np.ones_like(y)), convkit.conv2d_backward(np.ones_like(y), x, layer.weight.data).x
    )
    y = layer(x)
    assert layer.backward(np.ones_like(y), need_input=False) is None
    y = model(x)
    assert model.backward(np.ones_like(y)) is None
    y = model(x)
    assert model.backward(np.ones_like(y), need_input=True).shape == x.shape


def test_the_first_layers_input_gradient_is_not_computed(monkeypatch):
    needs, model = needs_of(monkeypatch), small_network()
    y = model(batch((2, 1, 6, 6)))
    model.backward(np.ones_like(y))
    assert needs == [("x", "weight", "bias"), ("weight", "bias")]


def test_layers_below_the_lowest_that_learns_do_nothing(monkeypatch):
    needs, model = needs_of(monkeypatch), small_network()
    for parameter in model[:2].parameters():
        parameter.trainable = False
    y = model(batch((2, 1, 6, 6)))
    model.backward(np.ones_like(y))
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
        m.backward(np.ones_like(y))
    assert needs == [("x",), ("weight", "bias")]
    np.testing.assert_array_equal(model[0].weight.grad, reference[0].weight.grad)
    assert model[2][0].weight.grad is None


def test_a_gradient_of_none_says_where_it_comes_from():
    body, head, x = small_network()[:2], nn.Flatten(), batch((1, 1, 4, 4))
    grad = body.backward(head.backward(head(body(x))))
    with pytest.raises(TypeError, match="grad must be an array, got None in ReLU.backward.*need_input=True"):
        nn.ReLU().backward(grad)


def test_relu_lets_nan_through_and_nothing_at_zero():
    relu = nn.ReLU()
    np.testing.assert_array_equal(relu(np.array([-1.0, 0.0, 2.0, np.nan])), [0, 0, 2, np.nan])
    np.testing.assert_array_equal(relu.backward(np.ones(4)), [0, 0, 1, 0])


def test_a_layer_of_ones_own_in_a_list_of_modules():
    class Scale(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(np.array([3.0]))

        def forward(self, x):
            self.keep(x)
            return x * self.weight.data

        def backward(self, grad, *, need_input=True):
            (x,) = self.kept(grad)
            self.weight.accumulate((grad * x).sum(keepdims=True).reshape(1))
            return grad * self.weight.data if need_input else None

    class Twice(nn.Module):
        def __init__(self):
            self.parts = [Scale(), Scale()]

        def forward(self, x):
            return self.parts[1](self.parts[0](x))

        def backward(self, grad, *, need_input=True):
            return self.parts[0].backward(self.parts[1].backward(grad), need_input=need_input)

    assert [name for name, _ in Twice().named_parameters()] == ["parts.0.weight", "parts.1.weight"]
    assert check_gradients(Twice(), batch((2, 3))).ok


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: nn.Conv2d(4, 6, 3, groups=3),
            ValueError,
            "groups must divide the 4 input and the 6 output channels, got 3",
        ),
        (lambda: nn.Conv2d(4, 6, 3, groups=0), ValueError, "groups must divide .* got 0"),
        (lambda: nn.Conv2d(4, 6, (3, 3, 3)), ValueError, "kernel_size must be one int or 2 ints"),
        (lambda: nn.Conv2d(4, 6, 0), ValueError, "kernel_size must be at least 1, got"),
        (lambda: nn.Conv2d(4, 6, 1.5), TypeError, "kernel_size must be an int"),
        (
            lambda: nn.Conv2d(4, 6, 3, init="best"),
            ValueError,
            "init must be one of 'he', 'glorot', 'zeros', 'he_uniform', 'glorot_normal' .* got 'best'",
        ),
        (
            lambda: nn.Linear(2, 2, dtype="float16"),
            TypeError,
            "data must be an ndarray of float32 or float64, got .*float16",
        ),
        (lambda: nn.Parameter([1.0]), TypeError, "data must be an ndarray of float32 or float64, got list"),
    ],
)
def test_constructors_refuse_what_cannot_be(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_after_a_step_nothing_is_kept():
    model, x = small_network(), batch((2, 1, 6, 6))
    y = model(x)
    kept = [weakref.ref(a) for m in model.modules() for a in m._kept or () if isinstance(a, np.ndarray)]
    assert len(kept) > 3
    model.backward(np.ones_like(y))
    del y, x
    assert not any(reference() is not None for reference in kept)  # the next step may have their memory


def test_a_parameter_refuses_a_gradient_of_another_shape():
    with pytest.raises(ValueError, match=r"grad must have the parameter's shape \(2, 1\), got \(2,\)"):
        nn.Parameter(np.zeros((2, 1))).accumulate(np.zeros(2))


def test_a_parameter_is_an_array_for_numpy_and_for_convkit():
    weight = nn.Parameter(batch((2, 1, 3, 3)))
    assert (weight.shape, weight.size, weight.dtype) == ((2, 1, 3, 3), 18, np.float32)
    assert np.asarray(weight) is weight.data
    x = batch((1, 1, 4, 4))
    np.testing.assert_array_equal(convkit.conv2d(x, weight), convkit.conv2d(x, weight.data))


def test_layers_show_what_they_are():
    assert repr(nn.Conv2d(4, 6, (3, 1), 2, groups=2, bias=False, activation="relu")) == (
        "Conv2d(4, 6, kernel_size=(3, 1), stride=2, groups=2, activation='relu', bias=False)"
    )
    assert repr(nn.Sequential(nn.Linear(3, 2), nn.ReLU())) == "Sequential(\n  (0): Linear(3, 2)\n  (1): ReLU()\n)"
    assert repr(nn.Parameter(np.zeros(3), trainable=False)) == "Parameter(shape=(3,), dtype=float64, frozen)"
