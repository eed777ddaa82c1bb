"""Rows by the engine: softmax and normalisation of rows that lie either way, beside the table's NumPy functions."""

import numpy as np
import pytest

import convkit
from convkit._limits import log_softmax
from convkit.graph import OPS, Graph, Info, Network

SHAPES = [
    ((3, 5), 1), ((2, 40, 7, 7), 1), ((1, 3, 1, 1), 1), ((2, 17, 3, 1), 1), ((4, 9, 33), 2), ((37, 8), 0),
    ((1, 300), 1), ((2, 3, 4, 5), 3), ((2, 3, 4, 5), 2), ((19, 1), 1), ((2, 96, 20, 3), 1),
]  # fmt: skip


def noise(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def network(op, x, numbers=(), **attrs):
    whole = Graph()
    value = whole.input("x", Info(x.shape, x.dtype))
    whole.outputs, whole.output_names = [whole.emit(op, [value, *map(whole.constant, numbers)], attrs)], ["y"]
    return Network(whole)


def run(op, x, numbers=(), **attrs):
    """By the engine, with the same bits on every instruction set that has fused multiply-adds and number of threads."""
    made = network(op, x, numbers, **attrs)
    y = made(x)
    how = "NumPy" if x.dtype == np.float64 and op == "LayerNormalization" else "engine"
    assert all(node.how == how for node in made.explain(x, measure=False).nodes)
    before = convkit.isa()
    try:
        for isa in convkit.available_isas():
            convkit.set_isa(isa)
            with convkit.threads(3):
                again = made(x)
            if isa == "generic":
                np.testing.assert_allclose(again, y, rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(again, y)
    finally:
        convkit.set_isa(before)
    return y


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("shape, axis", SHAPES)
def test_softmax(shape, axis, dtype):
    x = 5 * noise(shape, dtype)
    powers = np.exp(x.astype(np.float64))
    wanted = powers / powers.sum(axis, keepdims=True)
    np.testing.assert_allclose(run("Softmax", x, axis=axis), wanted, rtol=20 * np.finfo(dtype).eps)


WEIGHT = noise((6, 9), "float32")
TURNED = {
    "softmax": lambda x: x.emit("Softmax", axis=2),
    "normalisation": lambda x: x.emit("LayerNormalization", noise(6, "float32"), axis=-1),
    "product": lambda x: x.emit("MatMul", WEIGHT),
    "product and sum": lambda x: x.emit("MatMul", WEIGHT) + x.emit("MatMul", WEIGHT + 1),
}


@pytest.mark.parametrize("name", TURNED)
def test_an_image_behind_a_transposition_has_the_bits_that_it_has_in_a_batch(name):
    graph, x = Graph(), noise((4, 6, 20), "float32")
    graph.outputs = [TURNED[name](graph.input("x").emit("Transpose", perm=(0, 2, 1)))]
    graph.output_names = ["y"]
    network = Network(graph)
    np.testing.assert_array_equal(network(x)[2:3], network(x[2:3]))
    for images in (x, x[:1]):
        assert all(node.how != "NumPy" for node in network.explain(images, measure=False).nodes)


def test_softmax_of_what_is_not_finite():
    x = noise((6, 20), "float32")
    x[0, 3], x[1, 3:5], x[2, 4], x[3] = -np.inf, np.inf, np.nan, -np.inf
    wanted = np.exp(log_softmax(x, 1))
    np.testing.assert_allclose(run("Softmax", x, axis=1), wanted, rtol=1e-6)
    np.testing.assert_allclose(run("Softmax", x.T.copy(), axis=0).T, wanted, rtol=1e-6)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("shape, axis", SHAPES)
def test_normalisation_of_the_last_axes(shape, axis, dtype):
    x = noise(shape, dtype) + 30
    scale, bias = noise(shape[axis:], dtype, 1), noise(shape[axis:], dtype, 2)
    for numbers in ((scale, bias), (scale,)):
        wanted = OPS["LayerNormalization"].run({"axis": axis}, *(v.astype(np.float64) for v in (x, *numbers)))[0]
        tolerance = 40 * np.finfo(dtype).eps
        np.testing.assert_allclose(
            run("LayerNormalization", x, numbers, axis=axis), wanted, rtol=tolerance, atol=30 * tolerance
        )


@pytest.mark.parametrize("shape", [shape for shape, axis in SHAPES if axis == 1 and len(shape) == 4])
def test_normalisation_of_channels_has_the_bits_of_that_of_the_last_axis(shape):
    x, scale, bias = noise(shape, "float32"), noise(shape[1], "float32", 1), noise(shape[1], "float32", 2)
    y = run("ChannelNormalization", x, (scale, bias))
    last = run("LayerNormalization", np.moveaxis(x, 1, -1).copy(), (scale, bias), axis=-1)
    np.testing.assert_array_equal(y, np.moveaxis(last, -1, 1))


@pytest.mark.parametrize("op", ("ReduceSum", "ReduceMean", "ReduceL2"))
@pytest.mark.parametrize("shape, axis", SHAPES)
def test_sums_along_axes(op, shape, axis):
    x, axes = noise(shape, "float32"), [axis, *range(axis + 1, len(shape) - 1)]
    magnitude = OPS["ReduceSum"].run({}, np.abs(x.astype(np.float64)), np.array(axes))
    for keepdims in (0, 1):
        wanted = OPS[op].run({"keepdims": keepdims}, x.astype(np.float64), np.array(axes))
        y = run(op, x, (np.array(axes),), keepdims=keepdims)
        assert y.shape == wanted.shape
        assert (np.abs(y - wanted) <= np.finfo(np.float32).eps * magnitude.reshape(wanted.shape)).all()


@pytest.mark.parametrize("name", ("ReduceSum", "ReduceMean", "ReduceL2", "ByNorm"))
@pytest.mark.parametrize("shape", ((4, 50, 9), (4, 3, 9), (5, 9000, 1), (4, 2, 20000)))
def test_an_image_has_the_same_bits_in_a_batch_wherever_its_rows_lie(shape, name):
    def build(x):
        x = x.emit("Transpose", perm=(1, 0, 2))
        x = x.emit("Slice", np.array([0]), np.array([1 << 20]), np.array([0]), np.array([2]))
        return x.emit("ByNorm", axis=0, least=1e-3) if name == "ByNorm" else x.emit(name, np.array([0]), keepdims=1)

    graph, x = Graph(), noise(shape, "float32")
    graph.outputs, graph.output_names = [build(graph.input("x")).emit("Transpose", perm=(1, 0, 2))], ["y"]
    made = Network(graph)
    np.testing.assert_array_equal(made(x)[1:2], made(x[1:2]))
    straight = network("ReduceSum", x, (np.array([1, 2]),), keepdims=0)
    np.testing.assert_array_equal(straight(x)[1:2], straight(x[1:2]))


def test_scales_far_from_one():
    x = noise((8, 64), "float32") * np.float32(1e30)
    y = run("ByNorm", x, (np.full(64, 1e-12, np.float32),), axis=1, least=1e-12)
    np.testing.assert_allclose(y, x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) * 1e-12, rtol=1e-6)


def test_a_scale_longer_than_its_axis_and_no_epsilon():
    for shape, axis, wanted in (((2, 3, 1), -1, (2, 3, 5)), ((2, 1, 3, 4), 1, (2, 5, 3, 4))):
        x, scale = noise(shape, "float32"), noise(5, "float32")
        made = network("ByNorm", x, (scale,), axis=axis, epsilon=1e-3)
        y = (
            x
            / np.sqrt(1e-3 + x.astype(np.float64) ** 2)
            * scale.reshape(-1, *(1,) * (len(shape) - 1 - axis % len(shape)))
        )
        assert made(x).shape == wanted
        np.testing.assert_allclose(made(x), y, rtol=1e-6)
    x = np.full((8, 16), 1e-39, np.float32)
    made = network("RMSNormalization", x, (np.ones(16, np.float32),), axis=-1, epsilon=0.0)
    np.testing.assert_allclose(made(x), 1, rtol=1e-5)


def test_a_long_row_is_numpys():
    x = noise((2, (1 << 14) + 1), "float32")
    made = network("ReduceSum", x, (np.array([1]),), keepdims=0)
    assert [node.how for node in made.explain(x, measure=False).nodes] == ["NumPy"]
    np.testing.assert_allclose(made(x), x.astype(np.float64).sum(1), rtol=1e-4)


@pytest.mark.parametrize("mean", (True, False))
@pytest.mark.parametrize("shape, axis", SHAPES)
def test_division_by_a_norm(shape, axis, mean):
    x, scale = noise(shape, "float32"), noise(shape[axis : axis + 1], "float32", 1)
    attrs = {"axis": axis, **({"epsilon": 1e-3} if mean else {"least": 1e-2})}
    x[0] = 0
    for numbers in ((scale,), ()):
        wanted = OPS["ByNorm"].run(attrs, x.astype(np.float64), *numbers)
        np.testing.assert_allclose(run("ByNorm", x, numbers, **attrs), wanted, rtol=6e-7)


@pytest.mark.parametrize("shape, axis", SHAPES)
def test_normalisation_by_the_mean_square_of_the_last_axes(shape, axis):
    x, scale = noise(shape, "float32"), noise(shape[axis:], "float32", 1)
    wanted = OPS["RMSNormalization"].run({"axis": axis}, x.astype(np.float64), scale)
    np.testing.assert_allclose(run("RMSNormalization", x, (scale,), axis=axis), wanted, rtol=6e-7)


@pytest.mark.parametrize("size", (1e30, 1e-30))
def test_norms_of_numbers_of_any_size(size):
    x = (noise((9, 33), "float64") * size).astype(np.float32)
    wanted = np.linalg.norm(x.astype(np.float64), axis=1)
    np.testing.assert_allclose(run("ReduceL2", x, (np.array([1]),), keepdims=0), wanted, rtol=1e-6)
    made = run("ByNorm", x, axis=1, least=1e-12)
    np.testing.assert_allclose(made, x / np.maximum(wanted, 1e-12)[:, np.newaxis], rtol=1e-6)


def test_a_large_mean_and_a_constant_row():
    """What is left of numbers that hardly differ is as exact as they are."""
    x = (1e4 + noise((9, 64), "float32")).astype(np.float32)
    x[3] = 7.25
    one = np.ones(64, np.float32)
    wanted = OPS["LayerNormalization"].run({}, x.astype(np.float64), one.astype(np.float64))[0]
    np.testing.assert_allclose(run("LayerNormalization", x, (one,)), wanted, rtol=1e-6, atol=1e-6)


def test_rows_that_the_engine_cannot_read_in_place_are_numpys():
    x = noise((4, 6, 5), "float32")
    whole = Graph()
    value = whole.input("x", Info(x.shape, x.dtype))
    turned = whole.emit("Transpose", [value], {"perm": (2, 0, 1)})  # axes that are no longer one behind the other
    whole.outputs, whole.output_names = [whole.emit("Softmax", [turned], {"axis": 1})], ["y"]
    made = Network(whole)
    np.testing.assert_allclose(made(x), np.exp(log_softmax(x.transpose(2, 0, 1), 1)), rtol=1e-6)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("beta", (0.25, 0.5, 0.75, 1.0))
def test_response_to_neighbours(beta, dtype):
    for shape, size in (((2, 7, 5, 5), 5), ((1, 40, 3, 11), 4), ((3, 2, 1, 1), 3), ((1, 20, 2, 2), 99)):
        x, attrs = 3 * noise(shape, dtype), {"size": size, "alpha": 0.5, "beta": beta, "bias": 2.0}
        wanted = OPS["LRN"].run(attrs, x.astype(np.float64))
        np.testing.assert_allclose(run("LRN", x, **attrs), wanted, rtol=40 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    "dtype, size", (("float32", 1e30), ("float32", 1e-30), ("float64", 1e200), ("float64", 1e-200))
)
def test_normalisation_of_numbers_of_any_size(dtype, size):
    x = noise((5, 64), "float64")
    y = network("LayerNormalization", (x * size).astype(dtype), (np.ones(64, dtype),), epsilon=0.0)(
        (x * size).astype(dtype)
    )
    wanted = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)
