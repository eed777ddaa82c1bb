"""Networks of layers: what they add up, what they leave out, and what they say when used wrongly."""

import inspect
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import convkit
from convkit import nn, optim
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


@pytest.mark.thorough
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
        (lambda: nn.Linear(2, 2, dtype="float16"), TypeError, "dtype must be float32 or float64, got 'float16'"),
        (lambda: nn.Conv2d(0, 6, 3), ValueError, "in_channels must be at least 1, got 0"),
        (lambda: nn.Conv2d(4, True, 3), TypeError, "out_channels must be an int, got True"),
        (lambda: nn.Conv2d(4, 6, 3, stride=0), ValueError, "stride must be at least 1, got 0"),
        (lambda: nn.Conv2d(4, 6, 3, padding="best"), ValueError, "padding must be an int, ints, .* got 'best'"),
        (lambda: nn.Conv2d(4, 6, 3, padding=(1, 2, 3)), ValueError, r"padding must be .* got \(1, 2, 3\)"),
        (lambda: nn.Conv2d(4, 6, 3, padding_mode="wrap"), ValueError, "padding_mode must be one of .* got 'wrap'"),
        (lambda: nn.Conv2d(4, 6, 3, activation="swish"), ValueError, "activation must be .* got 'swish'"),
        (lambda: nn.Conv2d(4, 6, 3, layout="CHWN"), ValueError, "layout must be one of NCHW, NHWC, got 'CHWN'"),
        (lambda: nn.Conv2d(4, 6, 3, algorithm="fft"), ValueError, "algorithm must be one of .* got 'fft'"),
        (lambda: nn.ConvTranspose2d(4, 6, 3, padding="full"), ValueError, "padding must be .* got 'full'"),
        (lambda: nn.ConvTranspose2d(4, 6, 3, output_padding=-1), ValueError, "output_padding must be at least 0"),
        (lambda: nn.DeformConv2d(4, 6, 3, dilation=(1, 1, 1)), ValueError, "dilation must be one int or 2 ints"),
        (lambda: nn.MaxPool2d(3, padding=3), ValueError, "padding must be less than .* = 3 on each side, got 3"),
        (lambda: nn.AvgPool2d(3, ceil_mode=1), TypeError, "ceil_mode must be"),
        (lambda: nn.MaxUnpool2d(2, stride=(1, 2, 3)), ValueError, "stride must be one int or 2 ints"),
        (lambda: nn.AdaptiveAvgPool2d((1, 2, 3)), ValueError, "output_size must be one int or 2 ints"),
        (lambda: nn.GlobalMaxPool2d(layout="CHWN"), ValueError, "layout must be one of NCHW, NHWC, got 'CHWN'"),
        (lambda: nn.Upsample(scale_factor="2"), TypeError, "scale_factor must be a real number"),
        (lambda: nn.Upsample(2, mode="best"), ValueError, "mode must be one of"),
        (lambda: nn.Linear(3, 0), ValueError, "out_features must be at least 1, got 0"),
        (lambda: nn.Linear(3, 2, activation="swish"), ValueError, "activation must be .* got 'swish'"),
        (lambda: nn.PixelShuffle(0), ValueError, "upscale_factor must be at least 1, got 0"),
        (lambda: nn.PixelShuffle(2)(batch((1, 6, 2, 2))), ValueError, "a multiple of 4 channels, got shape .1, 6, 2"),
        (lambda: nn.ZeroPad2d((1, 2)), ValueError, r"an int or \(left, right, top, bottom\), .* got \(1, 2\)"),
        (lambda: nn.ZeroPad2d((1, 2, 3, -1)), ValueError, r"padding must be an int or .* got \(1, 2, 3, -1\)"),
        (lambda: nn.ZeroPad2d(-1), ValueError, "padding must be an int or .* at least 0, got -1"),
        (lambda: nn.ZeroPad2d(1)(batch((3, 4))), ValueError, "x must be a batch of images with 4 axes"),
        (lambda: nn.InstanceNorm2d(3)(batch((1, 3, 4))), ValueError, r"x must have 4 axes, \(N, C, \*spatial\)"),
        (lambda: nn.BatchNorm2d(2.0), TypeError, "num_features must be an int, got 2.0 of type float"),
        (lambda: nn.BatchNorm1d(0), ValueError, "num_features must be at least 1, got 0"),
        (lambda: nn.BatchNorm1d(3, eps=-1e-5), ValueError, "eps must be a finite number of at least 0, got -1e-05"),
        (lambda: nn.BatchNorm2d(3, momentum=1.5), ValueError, "momentum must be a number from 0 to 1, .* got 1.5"),
        (lambda: nn.BatchNorm2d(3, momentum="0.1"), TypeError, "momentum must be .* got '0.1' of type str"),
        (lambda: nn.InstanceNorm1d(0), ValueError, "num_features must be at least 1, got 0"),
        (lambda: nn.GroupNorm(2, 4.0), TypeError, "num_channels must be an int, got 4.0 of type float"),
        (lambda: nn.GroupNorm(2, 4, eps=np.nan), ValueError, "eps must be a finite number of at least 0, got nan"),
        (lambda: nn.LayerNorm(()), ValueError, "normalized_shape must be at least one size, got none"),
        (lambda: nn.LayerNorm((3, -1)), ValueError, "normalized_shape must be at least 1, got -1"),
        (lambda: nn.LayerNorm(3, eps=True), TypeError, "eps must be .* got True of type bool"),
        (lambda: nn.LeakyReLU(np.inf), ValueError, "negative_slope must be a finite number, got inf"),
        (lambda: nn.PReLU(init=10**400), ValueError, "init must be a finite number, got 1000"),
        (lambda: nn.ELU("1"), TypeError, "alpha must be a finite number, got '1' of type str"),
        (lambda: nn.Softplus(threshold=np.nan), ValueError, "threshold must be a number, got nan"),
        (lambda: nn.Linear(3, 2, "relu"), TypeError, "bias must be a bool, got 'relu' of type str"),
        (lambda: nn.BatchNorm2d(3, dtype=None), TypeError, "dtype must be float32 or float64, got None"),
        (lambda: nn.LayerNorm(3, dtype="single?"), TypeError, "dtype must be float32 or float64, got 'single.'"),
        (lambda: nn.BatchNorm2d(3, affine="no"), TypeError, "affine must be a bool, got 'no' of type str"),
        (lambda: nn.Conv2d(4, 6, 3, rng=-1), ValueError, "rng must be a numpy.random.Generator, .* got -1"),
        (lambda: nn.Dropout(rng="0"), TypeError, "rng must be a numpy.random.Generator, an int .* got '0'"),
        (lambda: nn.Residual(np.tanh), TypeError, "branch must be a Module, got ufunc"),
        (lambda: nn.Each(nn.ReLU), TypeError, "layer must be a Module, got ABCMeta"),
        (lambda: nn.Flatten(2), TypeError, "Flatten takes no arguments, got 2"),
        (lambda: nn.ReLU(inplace=True), TypeError, "ReLU takes no arguments, got inplace=True"),
        (lambda: nn.Softmax("1"), TypeError, "dim must be an int, got '1' of type str"),
        (lambda: nn.Dropout("0.5"), TypeError, "p must be a probability from 0 to 1, got '0.5' of type str"),
        (lambda: nn.MaxPool2d(2, return_indices=1), TypeError, "return_indices must be a bool, got 1 of type int"),
        (lambda: nn.GlobalAvgPool2d(1), TypeError, "GlobalAvgPool2d takes no arguments but by name, got 1"),
        (lambda: nn.Concat(nn.ReLU(), dim="a"), TypeError, "dim must be an int, got 'a' of type str"),
        (
            lambda: nn.Conv2d(4, 6, 3, init=lambda *_, **__: np.ones(3)),
            ValueError,
            r"shape \(6, 4, 3, 3\), got .*\(3,\)",
        ),
        (lambda: nn.Linear(4, 6, init=lambda *_, **__: None), ValueError, r"init must give .* \(6, 4\), got .* \(\)"),
        (lambda: nn.Linear(4, 6, init=["he"]), ValueError, "init must be one of"),
        (lambda: nn.Linear(4, 6, init="zeros", rng="a"), TypeError, "rng must be .* got 'a'"),
        (lambda: nn.Linear(4, 6, rng=True), TypeError, "rng must be a numpy.random.Generator, .* got True"),
        (
            lambda: nn.Upsample(2, antialias=True),
            ValueError,
            "antialias must be False where mode is 'nearest', got True",
        ),
        (
            lambda: nn.Conv2d(4, 9, 3, algorithm="winograd", stride=2),
            ValueError,
            "algorithm must be another than 'wino",
        ),
        (lambda: nn.Conv2d(32, 64, 3, algorithm="direct"), ValueError, "algorithm must be another than 'direct'"),
        (lambda: nn.ConvTranspose2d(32, 9, 3, algorithm="direct"), ValueError, "algorithm must be another than 'dire"),
        (lambda: nn.Buffer(3), TypeError, "data must be an ndarray, got int"),
        (lambda: nn.Parameter([1.0]), TypeError, "data must be an ndarray of float32 or float64, got list"),
    ],
)
def test_constructors_refuse_what_cannot_be(make, error, message):
    with pytest.raises(error, match=message):
        make()


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


def test_layers_own_what_they_were_made_with():
    conv = nn.Conv2d(4, 6, 3, (2, 1), ((0, 1), (1, 1)), groups=2, padding_mode="reflect", activation="relu")
    assert (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride) == (4, 6, (3, 3), (2, 1))
    assert (conv.padding, conv.dilation, conv.groups, conv.padding_mode) == (((0, 1), (1, 1)), (1, 1), 2, "reflect")
    assert (conv.activation, conv.layout, conv.algorithm) == ("relu", "NCHW", "auto")
    conv.stride, x = (1, 1), batch((1, 4, 5, 5))
    assert conv(x).shape == conv.output_shape(x.shape) == (1, 6, 4, 5)
    up, pool = nn.ConvTranspose1d(2, 3, 4, 2, output_padding=1), nn.MaxPool3d(2)
    assert (up.kernel_size, up.stride, up.output_padding, up.dilation) == ((4,), (2,), (1,), (1,))
    assert (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode) == ((2, 2, 2), (2, 2, 2), 0, False)


def test_the_layers_of_0_1_are_refused_and_told_what_to_write():
    with pytest.raises(TypeError, match=r"Old must define run, got forward and backward, .* run\(self, x\) that"):

        class Old(nn.Module):
            def forward(self, x):
                return x

            def backward(self, grad, *, need_input=True):
                return grad

    with pytest.raises(TypeError, match="Changed must define run, got forward, as"):

        class Changed(nn.ReLU):
            def forward(self, x):
                return x

    class Half(nn.Module):
        def run(self, x):
            return x

    with pytest.raises(TypeError, match="Half.run must return the output and the way back, got array"):
        Half()(batch((2, 3)))


# ---------------------------------------------------------------- what is kept, and for how long


def spied(seen):
    """A layer that does nothing and notes its output, weakly."""

    class Spy(nn.Module):
        def run(self, x):
            y = x.copy()
            seen.append(weakref.ref(y))
            return y, lambda grad, _: grad * (y == y)

    return Spy()


def alive(seen):
    return sum(reference() is not None for reference in seen)


def test_after_a_step_nothing_is_kept():
    seen = []
    model = nn.Sequential(small_network(), *(spied(seen) for _ in range(4)))
    y = model(batch((2, 1, 6, 6)))
    assert alive(seen) == 4
    model.backward(np.ones_like(y))
    assert alive(seen) == 1  # y; the next step may have the others' memory
    with pytest.raises(RuntimeError, match="nothing to go back through"):
        model.backward(np.ones_like(y))


@pytest.mark.parametrize("inference", [nn.inference, None])
def test_inference_keeps_two_activations(inference):
    seen, counts = [], []
    model = nn.Sequential(*(spied(seen) for _ in range(5)))
    with nn.hooks(forward=lambda layer, inputs, y: counts.append(alive(seen))):
        if inference is None:
            model.predict(batch((2, 3)))
        else:
            with inference():
                model(batch((2, 3)))
    assert max(counts) == 2 and alive(seen) == 0


def test_in_inference_there_are_no_indices_and_no_gradients(monkeypatch):
    asked = []

    def spy(x, *args, return_indices=False, **options):
        asked.append(return_indices)
        return convkit.max_pool2d(x, *args, return_indices=return_indices, **options)

    monkeypatch.setattr(nn.MaxPool2d, "_forward", staticmethod(spy))
    model, x = nn.Sequential(nn.MaxPool2d(2), nn.Flatten()), batch((3, 1, 4, 4))
    with nn.inference():
        scores = model(x)
        loss = nn.losses.softmax_cross_entropy(scores, np.arange(3))
        with pytest.raises(RuntimeError, match=r"nothing to go back through"):
            model.backward(scores)
    y = model(x)
    assert asked == [False, True] and loss.grad is None
    assert loss.value == nn.losses.softmax_cross_entropy(scores, np.arange(3)).value
    with nn.inference(), pytest.raises(RuntimeError, match=r"nothing is kept under inference\(\)"):
        model.backward(y)
    assert model.backward(y).shape == x.shape  # that was still due


def test_nothing_is_due_after_an_exception():
    model, x = small_network(), batch((2, 1, 6, 6))
    model(x)
    with pytest.raises(ValueError, match="channels"):
        model(batch((2, 2, 6, 6)))
    with pytest.raises(RuntimeError, match="nothing to go back through"):
        model.backward(np.ones((2, 3), np.float32))


def test_a_way_back_refuses_weights_that_were_changed():
    model, x = small_network(), batch((2, 1, 6, 6))
    optimizer, ema = optim.SGD(model.parameters(), 0.1), optim.EMA(model, 0.9)
    y, late = model.begin(x)
    _, loaded = model.begin(x)
    assert all(parameter.version == 0 for parameter in model.parameters())
    model.backward(np.ones_like(model(x)))
    optimizer.step()
    assert all(parameter.version == 1 for parameter in model.parameters())
    with pytest.raises(RuntimeError, match=r"Linear.backward: weight was changed after the forward"):
        late(np.ones_like(y))
    _, late = model.begin(x)
    model.load_state_dict({"0.weight": model[0].weight.data}, strict=False)
    assert [parameter.version for parameter in model.parameters()] == [2, 1, 1, 1, 1, 1]
    with pytest.raises(RuntimeError, match=r"Conv2d.backward: weight was changed after the forward"):
        late(np.ones_like(y))
    with ema.swapped():
        _, late = model.begin(x)
    with pytest.raises(RuntimeError, match="was changed after the forward"):
        late(np.ones_like(y))


# ---------------------------------------------------------------- threads and hooks


def in_threads(count, function):
    """The function's results for 0, 1..., each found in a thread of its own while the others run."""
    start = threading.Barrier(count)
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda i: start.wait() >= 0 and function(i), range(count)))


def test_eight_threads_predict_on_one_model_and_each_goes_back_through_its_own_call():
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, rng=rng), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(rng=rng),
        nn.Residual(nn.Conv2d(8, 8, 3, padding=1, rng=rng)), nn.GlobalAvgPool2d(), nn.Flatten(),
        nn.Linear(8, 3, rng=rng),
    )  # fmt: skip
    x = batch((8, 4, 1, 16, 16))
    expected = [model.predict(images) for images in x]
    for got, wanted in zip(in_threads(8, lambda i: [model.predict(x[i]) for _ in range(5)]), expected, strict=True):
        np.testing.assert_array_equal(got, [wanted] * 5)
    assert model.training and model[4].training
    model.eval().freeze()

    def gradient(i):
        y = model(x[i])
        return model.backward(np.full_like(y, i))

    for got, wanted in zip(in_threads(8, gradient), [gradient(i) for i in range(8)], strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_thread_has_a_mode_of_its_own():
    layer = nn.Linear(3, 2, rng=0)

    def trained(i):
        return layer.backward(layer(batch((1, 3)))).shape

    with nn.inference():
        assert in_threads(1, trained) == [(1, 3)]
        assert not nn.keeping()
    assert nn.keeping()


def test_hooks_look_on_inner_layers_first_and_may_change_an_output():
    model, seen = nn.Sequential(nn.Linear(3, 2, rng=0), nn.ReLU()), []
    x = batch((4, 3))

    def forward(layer, inputs, y):
        seen.append((layer, inputs[0].shape, y.shape))
        return y + 1 if layer is model[1] else None

    with nn.hooks(forward, lambda layer, grad, dx: seen.append((layer, grad.shape, None if dx is None else dx.shape))):
        y, back = model.begin(x)
        back(y, need_input=False)
    assert seen == [
        (model[0], (4, 3), (4, 2)), (model[1], (4, 2), (4, 2)), (model, (4, 3), (4, 2)),
        (model[1], (4, 2), (4, 2)), (model[0], (4, 2), None), (model, (4, 2), None),
    ]  # fmt: skip
    np.testing.assert_array_equal(y, model(x) + 1)
    assert len(seen) == 6


def test_hooks_join_those_that_look_on_when_they_are_entered():
    layer, seen = nn.ReLU(), []
    first, second = (nn.hooks(lambda *_, name=name: seen.append(name)) for name in "ab")
    with first, second:
        layer(batch((1, 3)))
    assert seen == ["a", "b"]


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


def test_help_shows_the_constructors_arguments():
    assert list(inspect.signature(nn.Conv2d).parameters)[:4] == ["in_channels", "out_channels", "kernel_size", "stride"]
    assert str(inspect.signature(nn.ReLU)) == "()"
    assert "dim" in inspect.signature(nn.Softmax).parameters
