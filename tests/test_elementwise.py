"""Element by element: activations and their derivatives to rounding, and arrays of any layout, broadcast or not."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import convkit
from cases import DTYPES
from convkit import nn
from convkit.ops import _elementwise

VECTORS = np.load(Path(__file__).parent / "vectors" / "activations.npz", allow_pickle=False)
LAYERS = {
    "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "silu": nn.SiLU(), "gelu": nn.GELU(), "elu": nn.ELU(),
    "softplus": nn.Softplus(threshold=np.inf),
}  # fmt: skip
ALL = {
    **LAYERS, "relu": nn.ReLU(), "relu6": nn.ReLU6(), "leaky": nn.LeakyReLU(-0.5), "selu": nn.SELU(),
    "gelu_tanh": nn.GELU("tanh"), "falling": nn.ELU(-0.7), "softplus3": nn.Softplus(3.0),
}  # fmt: skip
NUMPY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "maximum": np.maximum,
    "minimum": np.minimum,
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_within_four_units_in_the_last_place(name, isa):
    x, first, rest = VECTORS["x"], VECTORS[f"{name}/0"], VECTORS[f"{name}/1"]
    for dtype in DTYPES:
        same = x.astype(dtype) == x  # what float32 does not hold is another number
        off = np.abs((LAYERS[name](x[same].astype(dtype)).astype(np.float64) - first[same]) - rest[same])
        assert (off <= 4 * np.spacing(np.abs(first[same]).astype(dtype))).all()


def test_the_tanh_form_is_its_formula_to_rounding(isa):
    """Far below zero the gate is an exponential: what its argument is off is magnified by the argument."""
    x, first, rest = VECTORS["x"], VECTORS["gelu_tanh/0"], VECTORS["gelu_tanh/1"]
    got = nn.GELU("tanh")(x)
    argument = np.abs(1.6 * (x + 0.045 * x**3))
    assert (np.abs((got - first) - rest) <= (4 + 3 * np.minimum(argument, 800)) * np.spacing(np.abs(first))).all()


@pytest.mark.parametrize("name", ALL)
def test_derivatives_are_differences(name, isa):
    x = np.concatenate([np.linspace(-9, 9, 1201) + 1e-3, [-30.0, -700.0, 30.0, 700.0]])
    layer, step = ALL[name], 1e-6
    numeric = (layer(x + step) - layer(x - step)) / (2 * step)
    layer(x)
    np.testing.assert_allclose(layer.backward(np.full_like(x, 2.0)), 2 * numeric, rtol=1e-6, atol=1e-7)
    single = layer(x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(layer.backward(np.ones_like(single)), numeric, rtol=1e-5, atol=1e-5)


def arrays(dtype):
    """Layouts of one shape: as it is, reversed, every second, transposed, of Fortran's order, misaligned."""
    rng = np.random.default_rng(1)
    shape = (3, 5, 7, 33)
    yield rng.standard_normal(shape).astype(dtype)
    yield rng.standard_normal(shape).astype(dtype)[::-1, :, :, ::-1]
    yield rng.standard_normal((3, 10, 7, 99)).astype(dtype)[:, ::2, :, ::3]
    yield rng.standard_normal((33, 3, 7, 5)).astype(dtype).transpose(1, 3, 2, 0)
    yield np.asfortranarray(rng.standard_normal(shape).astype(dtype))
    raw = np.empty(3 * 5 * 7 * 33 * np.dtype(dtype).itemsize + 1, np.uint8)[1:].view(dtype).reshape(shape)
    raw[...] = rng.standard_normal(shape)
    yield raw


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_layout_has_the_bits_of_a_copy(dtype, isa):
    for a, b in itertools.product(arrays(dtype), repeat=2):
        y = _elementwise.activate(a, _elementwise.SIGMOID)
        assert y.tobytes() == _elementwise.activate(a.copy(), _elementwise.SIGMOID).tobytes()
        got = _elementwise.activate_backward(a, b, _elementwise.GELU)
        assert got.tobytes() == _elementwise.activate_backward(a.copy(), b.copy(), _elementwise.GELU).tobytes()
        assert np.array_equal(_elementwise.binary("add", a, b), a + b)


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("dtype", DTYPES)
def test_two_arrays_are_broadcast_as_in_numpy(name, dtype, isa):
    rng = np.random.default_rng(2)
    shapes = (
        ((4, 3, 5, 6), (3, 1, 1)), ((4, 3, 5, 6), (4, 1, 5, 1)), ((2, 1), (1, 70)), ((5000,), ()), ((), ()),
        ((0, 3), (3,)), ((7, 3, 2, 2), (1, 3, 1, 1)), ((300, 70), (70,)), ((2, 40, 30), (2, 40, 30)),
    )  # fmt: skip
    for one, other in shapes:
        a, b = (rng.standard_normal(shape).astype(dtype) for shape in (one, other))
        expected = NUMPY[name](a, b)
        got = _elementwise.binary(name, a, b)
        assert got.dtype == dtype and got.shape == expected.shape
        assert np.array_equal(got, expected)
        clipped = _elementwise.binary(name, b, a, _elementwise.clip(-0.5, 0.75))
        assert np.array_equal(clipped, np.clip(NUMPY[name](b, a), -0.5, 0.75))


def test_more_axes_than_the_engine_has(isa):
    a, b = np.random.default_rng(3).standard_normal((2, 2, 1, 2, 1, 2, 2, 3, 1, 2, 2))[..., ::-1], np.ones((2, 2))
    assert np.array_equal(_elementwise.binary("multiply", a, b[..., ::-1]), a)
    assert np.array_equal(nn.ReLU()(a), np.maximum(a, 0))


def test_a_maximum_with_nan_is_nan(isa):
    a, b = np.array([1, np.nan, 2, np.nan]), np.array([np.nan, 1, 3, np.nan])
    for name in ("maximum", "minimum"):
        assert np.array_equal(np.isnan(_elementwise.binary(name, a, b)), [True, True, False, True])


def test_bits_do_not_depend_on_threads(isa):
    x = np.random.default_rng(4).standard_normal((7, 9, 1001)).astype(np.float32)
    with convkit.threads(1):
        alone = nn.GELU()(x)
    with convkit.threads(5):
        assert alone.tobytes() == nn.GELU()(x).tobytes()
    for start in (1, 5, 1000):  # nor on where an element lies
        assert nn.GELU()(x[..., start:])[..., 0].tobytes() == np.ascontiguousarray(alone[..., start]).tobytes()


def test_refusals():
    a = np.ones(3)
    with pytest.raises(TypeError, match="b must have the dtype of a, float64, got float32"):
        _elementwise.binary("add", a, a.astype(np.float32))
    with pytest.raises(TypeError, match="x must be a float32 or float64 array, got list"):
        nn.Tanh()([1.0])
    layer = nn.SiLU()
    layer(a)
    with pytest.raises(TypeError, match="grad must have the dtype of x, float64, got float32"):
        layer.backward(a.astype(np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", (3, 49, 300, 1500))
def test_an_operand_that_is_repeated(row, dtype, isa):
    """Along rows that share a block, rows with blocks of their own, and rows of several; first or second."""
    rng = np.random.default_rng(row)
    x, one = rng.standard_normal((2, 5, row)).astype(dtype), rng.standard_normal((2, 5, 1)).astype(dtype)
    one[0, 1] = np.nan
    for name, function in NUMPY.items():
        for a, b in ((x, one), (one, x), (x[:, :, ::-1], one), (x[..., 1:], one), (x, one[:1, :1])):
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(_elementwise.binary(name, a, b), function(a, b))
