"""What passes make of constants behind convolutions and of operators spelt out: fewer nodes, the same numbers."""

import numpy as np
import pytest

from convkit import onnx_backend
from convkit.graph import Graph, Network
from graph_cases import emit, made, noise

CHANNELS = noise(1, 4, 1, 1, seed=1) + 3
MAPS = {
    "scalars": (("Mul", np.array([2.0])), ("Add", np.array(0.5))),
    "channels": (("Div", CHANNELS), ("Sub", CHANNELS), ("Mul", CHANNELS[0]), ("Add", CHANNELS[0])),
    "one element": (("Add", np.array([[[[0.25]]]])),),
}


@pytest.mark.parametrize("bias", (True, False))
@pytest.mark.parametrize("op", ("Conv", "ConvTranspose"))
@pytest.mark.parametrize("maps", MAPS)
def test_constants_behind_a_convolution_are_its_weights(maps, op, bias):
    def build(whole, x):
        weight = noise(4, 2, 3, 3)  # two groups, either way
        y = emit(whole, op, x, weight, *([noise(4, seed=2)] if bias else []), group=2)
        for name, number in MAPS[maps]:
            y = (
                emit(whole, name, number, y)
                if name in ("Mul", "Add") and number.ndim == 4
                else emit(whole, name, y, number)
            )
        return y

    x = noise(2, 4, 6, 5)
    network, wanted = made(build, x)
    assert [node.op for node in network.graph.nodes] == [op]
    np.testing.assert_allclose(network(x), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name, build", {
    "along another axis": lambda whole, y: emit(whole, "Mul", y, noise(1, 1, 1, 5)),
    "of another rank": lambda whole, y: emit(whole, "Mul", y, np.full((1, 1, 1, 1, 1), 2.0)),
    "from a constant": lambda whole, y: emit(whole, "Sub", np.array(1.0), y),
    "by zero": lambda whole, y: emit(whole, "Div", y, np.array([[[1.0]], [[0.0]], [[1.0]], [[2.0]]])),
    "used twice": lambda whole, y: emit(whole, "Mul", emit(whole, "Add", y, np.array(1.0)), y),
}.items())  # fmt: skip
@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_no_map_of_channels_stays(name, build):
    x = noise(2, 4, 6, 5)
    network, wanted = made(lambda whole, x: build(whole, emit(whole, "Conv", x, noise(4, 4, 1, 1))), x)
    assert len(network.graph.nodes) > 1, name
    np.testing.assert_allclose(network(x), wanted, rtol=1e-12, atol=1e-12)


def clipped(whole, x, shift=3.0, top=6.0):
    return emit(whole, "Clip", emit(whole, "Add", x, np.array(shift)), np.array(0.0), np.array(top))


SIX, SIXTH = np.array(6.0), np.array([1 / 6])
SPELT = {
    "divided last": ("HardSwish", lambda w, x: emit(w, "Div", emit(w, "Mul", x, clipped(w, x)), SIX)),
    "multiplied last": ("HardSwish", lambda w, x: emit(w, "Mul", SIXTH, emit(w, "Mul", clipped(w, x), x))),
    "divided first": ("HardSwish", lambda w, x: emit(w, "Mul", x, emit(w, "Div", clipped(w, x), SIX))),
    "gate": ("HardSigmoid", lambda w, x: emit(w, "Div", clipped(w, x), SIX)),
    "other shift": (None, lambda w, x: emit(w, "Div", emit(w, "Mul", x, clipped(w, x, 2.0)), SIX)),
    "other top": (None, lambda w, x: emit(w, "Div", emit(w, "Mul", x, clipped(w, x, 3.0, 5.0)), SIX)),
    "other divisor": (None, lambda w, x: emit(w, "Div", emit(w, "Mul", x, clipped(w, x)), np.array(5.0))),
    "six over it": (None, lambda w, x: emit(w, "Div", SIX, emit(w, "Add", clipped(w, x), np.array(1.0)))),
    "another's gate": (None, lambda w, x: emit(w, "Div", emit(w, "Mul", emit(w, "Neg", x), clipped(w, x)), SIX)),
}


@pytest.mark.parametrize("name", SPELT)
def test_hard_swish_spelt_out(name):
    expected, build = SPELT[name]
    x = np.linspace(-5, 5, 41).reshape(1, 1, 41)
    network, wanted = made(build, x)
    ops = [node.op for node in network.graph.nodes]
    assert ops == [expected] if expected else len(ops) > 1
    np.testing.assert_allclose(network(x), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ("divided last", "gate"))
def test_a_number_that_brings_axes_is_no_plain_one(name, monkeypatch):
    monkeypatch.setitem(SPELT[name][1].__globals__, "SIX", np.full((1, 1, 1), 6.0))
    x = noise(2, 3)
    network, wanted = made(SPELT[name][1], x)
    assert network(x).shape == wanted.shape == (1, 2, 3)
    np.testing.assert_allclose(network(x), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", ((2, 3, 4, 5), (2, 20, 1, 3), (3, 4), (5,), ()))
@pytest.mark.parametrize("number", (np.array(2.0), np.array([-1.5])), ids=("no axes", "one"))
def test_a_product_and_a_sum_are_one_pass(shape, number, tmp_path):
    x = noise(*shape) if shape else np.array(0.7)
    network, wanted = made(lambda w, x: emit(w, "Add", np.array([0.5]), emit(w, "Mul", x, number)), x)
    assert [node.op for node in network.graph.nodes] == ["Affine"]
    y = network(x)
    assert y.shape == wanted.shape
    np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-12)
    if len(shape) > 1:
        onnx_backend.export(network, tmp_path / "map.onnx", shape)
        np.testing.assert_allclose(onnx_backend.load(tmp_path / "map.onnx")(x), wanted, rtol=1e-12, atol=1e-12)


def test_maps_of_images_that_lie_either_way():
    def build(whole, x):
        y = emit(whole, "Transpose", x, perm=(0, 3, 1, 2))
        return emit(whole, "Add", emit(whole, "Mul", y, np.array(2.0)), np.array(1.0))

    x = noise(2, 6, 5, 20)
    network, wanted = made(build, x)
    np.testing.assert_allclose(network(x), wanted, rtol=1e-12)


def test_transpositions_one_after_the_other_are_one():
    x = np.arange(24.0).reshape(2, 3, 4)
    for first, second in (((1, 2, 0), (0, 2, 1)), ((2, 0, 1), (1, 2, 0)), ((1, 2, 0), (1, 2, 0))):
        graph = Graph()
        turned = graph.emit("Transpose", [graph.input("x")], {"perm": first})
        graph.outputs, graph.output_names = [graph.emit("Transpose", [turned], {"perm": second})], ["y"]
        network = Network(graph)
        np.testing.assert_array_equal(network(x), x.transpose(first).transpose(second))
        assert len(network.graph.nodes) == (0 if (first, second) == ((2, 0, 1), (1, 2, 0)) else 1)


def test_what_is_nearly_a_hard_sigmoid_is_none():
    x = np.linspace(-9, 9, 37)
    for shift in (3.0, 4.0):
        graph = Graph()
        shifted = graph.emit("Add", [graph.input("x"), graph.constant(np.array(shift))], {})
        bounds = graph.constant(np.array(0.0)), graph.constant(np.array(6.0))
        clipped = graph.emit("Clip", [shifted, *bounds], {})
        graph.outputs, graph.output_names = [graph.emit("Div", [clipped, graph.constant(np.array(6.0))], {})], ["y"]
        np.testing.assert_allclose(Network(graph)(x), np.clip(x + shift, 0, 6) / 6, rtol=1e-12)


ROOT, HALF, ONE = np.array(2**0.5), np.array(0.5), np.array([1.0])


def error_gate(w, x, op="Div", number=ROOT):
    return emit(w, "Add", emit(w, "Erf", emit(w, op, x, number)), ONE)


GELUS = {
    "halved last": lambda w, x: emit(w, "Mul", emit(w, "Mul", x, error_gate(w, x)), HALF),
    "halved first": lambda w, x: emit(w, "Mul", emit(w, "Mul", HALF, x), error_gate(w, x, "Mul", np.array(0.5**0.5))),
    "a halved gate": lambda w, x: emit(w, "Mul", x, emit(w, "Mul", error_gate(w, x), HALF)),
    "divided": lambda w, x: emit(w, "Div", emit(w, "Mul", error_gate(w, x), x), np.array(2.0)),
}


def tanh_gate(w, x, cubic, number=(2 / np.pi) ** 0.5):
    inner = emit(w, "Mul", np.array(number), emit(w, "Add", x, cubic(w, x)))
    return emit(w, "Add", np.array(1.0), emit(w, "Tanh", inner))


CUBICS = {
    "a power": lambda w, x: emit(w, "Mul", emit(w, "Pow", x, np.array(3.0)), np.array(0.044715)),
    "products": lambda w, x: emit(w, "Mul", np.array(0.044715), emit(w, "Mul", x, emit(w, "Mul", x, x))),
    "another number": lambda w, x: emit(w, "Mul", emit(w, "Pow", x, np.array(3.0)), np.array(0.0447)),
    "a square": lambda w, x: emit(w, "Mul", emit(w, "Mul", x, x), np.array(0.044715)),
    "another power": lambda w, x: emit(w, "Mul", emit(w, "Pow", x, np.array(2.0)), np.array(0.044715)),
    "another's cube": lambda w, x: emit(
        w, "Mul", np.array(0.044715), emit(w, "Mul", x, emit(w, "Mul", x, emit(w, "Neg", x)))
    ),
}
NO_GELUS = {
    "another factor": lambda w, x: emit(w, "Mul", emit(w, "Mul", x, tanh_gate(w, x, CUBICS["a power"], 0.8)), HALF),
    "whole": lambda w, x: emit(w, "Mul", x, error_gate(w, x)),
    "another's gate": lambda w, x: emit(w, "Mul", emit(w, "Mul", emit(w, "Neg", x), error_gate(w, x)), HALF),
    "another root": lambda w, x: emit(w, "Mul", emit(w, "Mul", x, error_gate(w, x, "Mul")), HALF),
}


@pytest.mark.parametrize("name", (*GELUS, *NO_GELUS))
def test_gelu_spelt_out(name):
    x = np.linspace(-5, 5, 41).reshape(1, 1, 41)
    network, wanted = made((GELUS | NO_GELUS)[name], x)
    assert ([node.op for node in network.graph.nodes] == ["Gelu"]) == (name in GELUS)
    np.testing.assert_allclose(network(x), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CUBICS)
def test_gelu_by_tanh_spelt_out(name):
    x = np.linspace(-5, 5, 41).reshape(1, 1, 41)
    network, wanted = made(lambda w, x: emit(w, "Mul", emit(w, "Mul", x, tanh_gate(w, x, CUBICS[name])), HALF), x)
    found = [(node.op, node.attrs) for node in network.graph.nodes] == [("Gelu", {"approximate": "tanh"})]
    assert found == (name in ("a power", "products"))
    np.testing.assert_allclose(network(x), wanted, rtol=1e-12, atol=1e-12)


def root_mean(w, x, axis, squared="Pow", epsilon=1e-3):
    square = emit(w, "Pow", x, np.array(2.0)) if squared == "Pow" else emit(w, "Mul", x, x)
    mean = emit(w, "ReduceMean", square, np.array([axis]), keepdims=1)
    return emit(w, "Sqrt", emit(w, "Add", mean, np.array(epsilon)))


def norm_of(w, x, axis, least=1e-6, op="Clip"):
    norm = emit(w, "ReduceL2", x, np.array([axis]), keepdims=1)
    return emit(w, op, norm, np.array(least))


def over_norm(w, x, axis, shape_of=None, **options):
    shape = emit(w, "Shape", x if shape_of is None else shape_of)
    return emit(w, "Div", x, emit(w, "Expand", norm_of(w, x, axis, **options), shape))


def times_inverse(w, x, axis, scale, inverse="Div"):
    root = root_mean(w, x, axis, squared="Mul")
    by = emit(w, "Div", ONE, root) if inverse == "Div" else emit(w, "Reciprocal", root)
    return emit(w, "Mul", scale, emit(w, "Mul", x, by))


BY_NORM = {
    "over a root": (["ByNorm"], lambda w, x: emit(w, "Div", x, root_mean(w, x, 2))),
    "the last axis": (["ByNorm"], lambda w, x: emit(w, "Mul", emit(w, "Div", x, root_mean(w, x, -1)), noise(5))),
    "an inverse": (["ByNorm"], lambda w, x: times_inverse(w, x, 1, noise(4, 1, 1))),
    "a reciprocal": (["ByNorm"], lambda w, x: times_inverse(w, x, -1, noise(5), "Reciprocal")),
    "a scale for each row": (["ByNorm", "Mul"], lambda w, x: times_inverse(w, x, -1, noise(6, 1))),
    "a norm": (["ByNorm"], lambda w, x: over_norm(w, x, -1)),
    "a norm of channels": (["ByNorm"], lambda w, x: over_norm(w, x, 1, op="Max")),
    "not repeated": (["ByNorm"], lambda w, x: emit(w, "Div", x, norm_of(w, x, -2))),
    "another's shape": (None, lambda w, x: over_norm(w, x, -1, shape_of=emit(w, "Neg", x))),
    "bounded above": (
        None,
        lambda w, x: emit(
            w,
            "Div",
            x,
            emit(w, "Clip", emit(w, "ReduceL2", x, np.array([-1]), keepdims=1), np.array(1e-6), np.array(1.0)),
        ),
    ),
    "axes that go": (
        None,
        lambda w, x: emit(
            w,
            "Div",
            emit(w, "Slice", x, np.array([0]), np.array([1]), np.array([0])),
            emit(w, "Max", emit(w, "ReduceL2", x, np.array([0]), keepdims=0), np.array(1e-6)),
        ),
    ),
    "two over a root": (None, lambda w, x: emit(w, "Mul", x, emit(w, "Div", np.array(2.0), root_mean(w, x, -1)))),
    "nothing added": (
        None,
        lambda w, x: emit(w, "Div", emit(w, "Exp", x), root_mean(w, emit(w, "Exp", x), -1, epsilon=0.0)),
    ),
    "another's norm": (None, lambda w, x: emit(w, "Div", emit(w, "Neg", x), norm_of(w, x, -1))),
    "another's mean": (None, lambda w, x: emit(w, "Div", emit(w, "Neg", x), root_mean(w, x, -1))),
    "a difference": (None, lambda w, x: emit(w, "Sub", x, root_mean(w, x, -1))),
    "turned around": (None, lambda w, x: emit(w, "Div", norm_of(w, x, -1), emit(w, "Add", x, ONE))),
}


@pytest.mark.parametrize("name", BY_NORM)
def test_division_by_a_norm_spelt_out(name, tmp_path):
    expected, build = BY_NORM[name]
    x = noise(2, 4, 6, 5)
    network, wanted = made(lambda w, x: build(w, emit(w, "Relu", x)), x)
    ops = [node.op for node in network.graph.nodes]
    assert ops == ["Relu", *expected] if expected else "ByNorm" not in ops
    np.testing.assert_allclose(network(x), wanted, rtol=1e-12, atol=1e-12)
    onnx_backend.export(network, tmp_path / "norm.onnx", x.shape)
    again = onnx_backend.load(tmp_path / "norm.onnx")
    np.testing.assert_allclose(again(x), wanted, rtol=1e-12, atol=1e-12)
    assert ("ByNorm" in [node.op for node in again.graph.nodes]) == bool(expected)


def standardised(w, x, axis, scale, bias=None, squared="Pow", epsilon=1e-3):
    axes = np.array([axis])
    above = emit(w, "Sub", x, emit(w, "ReduceMean", x, axes, keepdims=1))
    square = emit(w, "Pow", above, np.array(2.0)) if squared == "Pow" else emit(w, "Mul", above, above)
    variance = emit(w, "Add", emit(w, "ReduceMean", square, axes, keepdims=1), np.array(epsilon))
    y = emit(w, "Mul", scale, emit(w, "Div", above, emit(w, "Sqrt", variance)))
    return y if bias is None else emit(w, "Add", y, bias)


NORMS = {
    "last axis": ("LayerNormalization", lambda w, x: standardised(w, x, -1, noise(5), noise(5, seed=1))),
    "no bias": ("LayerNormalization", lambda w, x: standardised(w, x, -1, noise(5), squared="Mul")),
    "channels": ("ChannelNormalization", lambda w, x: standardised(w, x, 1, noise(4, 1, 1), noise(1, 4, 1, 1, seed=1))),
    "a bias for each element": (None, lambda w, x: standardised(w, x, -1, noise(5), noise(4, 6, 5, seed=1))),
    "a scale for each row": (None, lambda w, x: standardised(w, x, -1, noise(6, 1))),
    "rows": (None, lambda w, x: standardised(w, x, 2, noise(5))),
}


@pytest.mark.parametrize("name", NORMS)
def test_normalisation_spelt_out(name):
    expected, build = NORMS[name]
    x = noise(2, 4, 6, 5)
    network, wanted = made(lambda w, x: build(w, emit(w, "Relu", x)), x)
    ops = [node.op for node in network.graph.nodes]
    assert ops == ["Relu", expected] if expected else len(ops) > 2
    np.testing.assert_allclose(network(x), wanted, rtol=1e-12, atol=1e-12)


LAST, BACK = (0, 2, 3, 1), (0, 3, 1, 2)


def turned(w, x, inner):
    return emit(w, "Transpose", inner(w, emit(w, "Transpose", x, perm=LAST)), perm=BACK)


def block(w, x):
    """As in ConvNeXt."""
    y = emit(w, "LayerNormalization", x, noise(4), noise(4, seed=1), axis=-1)
    y = emit(w, "Gelu", emit(w, "Add", emit(w, "MatMul", y, noise(4, 8)), noise(8)))
    return emit(w, "Mul", emit(w, "MatMul", y, noise(8, 4)), noise(4, seed=2))


def two_branches(w, x):
    other = emit(w, "Transpose", emit(w, "Tanh", emit(w, "Transpose", x, perm=BACK)), perm=LAST)
    return emit(w, "Sub", noise(6, 1, 4), emit(w, "Max", emit(w, "Add", block(w, x), other), x))


@pytest.mark.parametrize("inner, ops", (
    (block, ["ChannelNormalization", "Conv", "Conv"]),
    (two_branches, ["ChannelNormalization", "Conv", "Tanh", "Conv", "Max", "Sub"]),
    (lambda w, x: x, []),
))  # fmt: skip
def test_what_lies_between_transpositions_has_none(inner, ops):
    x = noise(2, 4, 6, 5)
    network, wanted = made(lambda w, x: turned(w, emit(w, "Relu", x), inner), x)
    assert sorted(node.op for node in network.graph.nodes) == sorted(["Relu", *ops])
    np.testing.assert_allclose(network(x), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("inner", (
    lambda w, x: emit(w, "Softmax", x, axis=2),
    lambda w, x: emit(w, "Add", x, noise(1, 1, 1, 1, 4)[0]),
    lambda w, x: emit(w, "LayerNormalization", x, noise(5, 4), axis=-2),
    lambda w, x: emit(w, "MatMul", x, noise(2, 6, 4, 4)),
))  # fmt: skip
def test_what_cannot_be_turned_stays(inner):
    x = noise(2, 4, 6, 5)
    network, wanted = made(lambda w, x: turned(w, emit(w, "Relu", x), lambda w, x: emit(w, "Tanh", inner(w, x))), x)
    np.testing.assert_allclose(network(x), wanted, rtol=1e-9, atol=1e-12)


def test_every_matrix_of_a_batch_is_multiplied_by_its_own():
    """By the engine, in turn along the batch's last axis."""
    x = noise(2, 3, 6, 5)
    network, wanted = made(lambda w, x: emit(w, "MatMul", x, emit(w, "Transpose", x, perm=(0, 1, 3, 2))), x)
    np.testing.assert_allclose(network(x), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("factor", (np.inf, 1e300, np.nan))
def test_factors_that_would_make_weights_infinite_stay_outside(factor):
    """0 * inf, of a weight and an element that is 0, would be NaN where the product with what is summed is not."""
    x = np.zeros((1, 4, 6, 5))
    x[0, 1, 2, 3] = 1

    def build(whole, x):
        return emit(whole, "Mul", emit(whole, "Conv", x, np.full((4, 4, 3, 3), 1e20)), np.array(factor))

    with np.errstate(all="ignore"):
        network, wanted = made(build, x)
        np.testing.assert_array_equal(network(x), wanted)


@pytest.mark.parametrize(
    "op, attrs", (("Elu", {"alpha": 0.5}), ("Selu", {}), ("Softplus", {}), ("Gelu", {"approximate": "tanh"}))
)
def test_every_activation_goes_into_a_convolution(op, attrs):
    x = noise(2, 4, 6, 5)
    network, wanted = made(lambda w, x: emit(w, op, emit(w, "Conv", x, noise(4, 4, 3, 3)), **attrs), x)
    assert [node.op for node in network.explain(x, measure=False).nodes] == [f"Conv+{op}"]
    np.testing.assert_allclose(network(x), wanted, rtol=1e-9, atol=1e-12)


def shuffled(w, parts, groups, perm=(0, 2, 1, 3, 4)):
    y = emit(w, "Concat", *parts, axis=1)
    y = emit(w, "Transpose", emit(w, "Reshape", y, np.array((0, groups, -1, 6, 5))), perm=perm)
    return emit(w, "Reshape", y, np.array((0, -1, 6, 5)))


@pytest.mark.parametrize("groups, copies", ((2, 0), (4, 1)))
def test_a_channel_shuffle_is_written_in_its_place(groups, copies):
    x = noise(3, 4, 6, 5)

    def build(w, x):
        parts = [emit(w, "Conv", x, noise(4, 4, 1, 1, seed=seed)) for seed in range(2)]
        return emit(w, "Relu", shuffled(w, parts, groups))

    network, wanted = made(build, x)
    told = network.explain(x, measure=False).nodes
    assert ("joined in place" in [node.how for node in told if node.op == "Interleave"]) == (groups == 2)
    np.testing.assert_allclose(network(x), wanted, rtol=1e-12, atol=1e-12)


def test_a_shuffle_of_what_lies_elsewhere_is_copied():
    x = noise(3, 4, 6, 5)
    network, wanted = made(lambda w, x: emit(w, "Relu", shuffled(w, (x, emit(w, "Tanh", x), x), 3)), x)
    np.testing.assert_allclose(network(x), wanted, rtol=1e-12, atol=1e-12)
