"""What layers say of themselves when they are made: their arguments, and which are refused."""

import inspect

import numpy as np
import pytest

import convkit
from convkit import analysis, data, models, nn, optim, train
from nn_cases import batch


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
        (lambda: nn.GroupNorm(3, 4), ValueError, "num_groups must divide the 4 channels, got 3"),
        (lambda: nn.BatchNorm2d(3, layout="CHWN"), ValueError, "layout must be one of NCHW, NHWC, got 'CHWN'"),
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


def test_the_layers_of_pytorch_and_of_0_1_are_refused_and_told_what_to_write():
    with pytest.raises(TypeError, match=r"Old must define run, got forward and backward: .* run\(self, x\) that"):

        class Old(nn.Module):
            def forward(self, x):
                return x

            def backward(self, grad, *, need_input=True):
                return grad

    with pytest.raises(TypeError, match=r"Changed must define run, got forward: .* returns self.layers.begin\(x\)"):

        class Changed(nn.ReLU):
            def forward(self, x):
                return x

    class Half(nn.Module):
        def run(self, x):
            return x

    with pytest.raises(TypeError, match="Half.run must return the output and the way back, got array"):
        Half()(batch((2, 3)))


def test_a_layer_by_element_whose_parameter_changes_the_dtype_is_named():
    class Scale(nn.ByElement):
        def __init__(self, dtype):
            self.weight = nn.Parameter(np.ones(3, dtype))

        def run(self, x):
            return x * self.weight.data, None

    with pytest.raises(TypeError, match="Scale.run .* dtype of its input, float32, got float64") as raised:
        nn.Sequential(Scale("float32"), Scale("float64"), nn.Linear(3, 2))(batch((2, 3)))
    assert raised.value.__notes__ == ["in layer '1': Scale()"]


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


def test_a_parameter_refuses_a_gradient_of_another_shape():
    with pytest.raises(ValueError, match=r"grad must have the parameter's shape \(2, 1\), got \(2,\)"):
        nn.Parameter(np.zeros((2, 1))).accumulate(np.zeros(2))
    for grad, got in ((np.zeros(2), "an ndarray of float64"), ([0.0, 0.0], "list")):
        with pytest.raises(TypeError, match=f"grad must be an array of the parameter's dtype float32, got {got}"):
            nn.Parameter(np.zeros(2, np.float32)).accumulate(grad)


def test_a_parameter_may_be_a_number_and_a_gradient_of_either_byte_order():
    number, pair = nn.Parameter(np.array(2, np.float32)), nn.Parameter(np.zeros(2, np.float32))
    for _ in range(2):
        number.accumulate(np.ones(3, np.float32).sum())
        pair.accumulate(np.ones(2, ">f4"))
    assert number.grad == 6 and number.grad.shape == () and pair.grad.dtype == np.float32 and (pair.grad == 2).all()


def test_a_parameter_is_an_array_for_numpy_and_for_convkit():
    weight = nn.Parameter(batch((2, 1, 3, 3)))
    assert (weight.shape, weight.size, weight.dtype) == ((2, 1, 3, 3), 18, np.float32)
    assert np.asarray(weight) is weight.data
    x = batch((1, 1, 4, 4))
    np.testing.assert_array_equal(convkit.conv2d(x, weight), convkit.conv2d(x, weight.data))


X, Y = np.zeros((5, 1, 4, 4), np.float32), np.zeros(5, np.int64)


@pytest.mark.parametrize(
    "make",
    [
        models.alexnet, models.dcgan_generator, models.lenet5, models.mobilenet_v2, models.resnet18, models.unet,
        models.vgg16,
        lambda rng: data.minibatches(X, Y, 2, rng=rng),
        lambda rng: data.flip(X, rng=rng),
        lambda rng: data.shift(X, rng=rng),
        lambda rng: train.Trainer(
            (layer := nn.Linear(2, 2, rng=0)), optim.SGD(layer.parameters(), 0.1), nn.losses.l2, rng=rng
        ),
        lambda rng: analysis.check_gradients(nn.Linear(2, 2, rng=0), X, rng=rng),
    ],
)  # fmt: skip
def test_every_rng_is_refused_by_name(make):
    for rng, error in (("a", TypeError), (-1, ValueError), (True, TypeError), ({}, TypeError)):
        with pytest.raises(error, match=r"^rng must be a numpy.random.Generator, an int of at least 0 or None, got "):
            make(rng=rng)


def test_a_layer_given_another_dtype_speaks_of_x():
    """An operator's first array settles the dtype; a layer's weights do, which nobody passed with this call."""
    layers = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.Flatten(), nn.Linear(8, 2, rng=0))
    for model, where in ((layers, "0"), (layers[1:], "2"), (nn.ConvTranspose2d(1, 2, 3, rng=0), "")):
        x = np.zeros((1, 8) if where == "2" else (1, 1, 4, 4))
        message = "^x must have the dtype of the layer's weight, float32, got float64; astype converts either"
        with pytest.raises(TypeError, match=message) as caught:
            model(x)
        assert (f"in layer '{where}'" in str(getattr(caught.value, "__notes__", ""))) == bool(where)
