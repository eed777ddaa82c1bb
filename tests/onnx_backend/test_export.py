"""Exported models: what loads them, and onnx's reference, give what the layers give, for other batches, too."""

import re
import warnings

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from cases import in_turns
from convkit import graph, models, nn, onnx_backend
from convkit.analysis import count_flops, receptive_field, summary
from nn_cases import ALONE, TWINS, with_numbers

# Layers that have no graph, as their `symbolic` says.
UNTRACED = {"max_unpool1d", "max_unpool2d", "max_unpool3d", "batch_norm2d_untracked", "deform_conv2d_last"}
# What onnx's reference computes wrongly or not at all; ONNX Runtime has its say on these: `make test-peers`.
NO_REFERENCE = {
    "conv_transpose2d", "deform_conv2d", "deform_conv1d", "deform_conv3d", "global_max_pool1d", "global_max_pool2d",
    "global_max_pool3d",
}  # fmt: skip
CASES = [case for case in (*TWINS, *ALONE) if case.name not in UNTRACED]


def run(path, *inputs):
    """What onnx's reference makes of a file."""
    model = onnx.load(path)
    onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    names = [entry.name for entry in model.graph.input]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own overflows
        return ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True)))


@in_turns("case", CASES, 0)
def test_every_layer(case, tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "layer.onnx"
    layer = with_numbers(case.build(nn), rng, "float32").eval()
    n, *rest = case.shape
    more = case.more(np.random.default_rng(1))
    onnx_backend.export(layer, path, [case.shape, *(array.shape for array in more)])
    x = rng.standard_normal((n if more else n + 2, *rest)).astype(np.float32)
    wanted = layer.predict(x, *more)
    for got in (onnx_backend.load(path)(x, *more), *(() if case.name in NO_REFERENCE else run(path, x, *more))):
        assert got.dtype == wanted.dtype and got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("padding, pads", [("same", [1, 0, 2, 1]), ("same_lower", [2, 1, 1, 0])])
def test_a_transposed_convolution_that_crops_more_on_one_side(padding, pads, tmp_path):
    layer, path = nn.ConvTranspose2d(2, 3, (4, 2), 1, padding, rng=0), tmp_path / "layer.onnx"
    onnx_backend.export(layer, path, (1, 2, 5, 4))
    (attribute,) = (a for a in onnx.load(path).graph.node[0].attribute if a.name == "pads")
    assert list(attribute.ints) == pads
    x = np.random.default_rng(0).standard_normal((2, 2, 5, 4), np.float32)
    np.testing.assert_allclose(onnx_backend.load(path)(x), layer.predict(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("named, stride, added", [("UPPER", 2, [1, 1]), ("UPPER", 2, [1, 0]), ("LOWER", 3, [1, 2])])
def test_what_is_added_to_named_padding_is_exported(named, stride, added, tmp_path):
    attrs = f'auto_pad="SAME_{named}", strides=[{stride}, {stride}], output_padding={added}'
    proto = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 22]>
        m (float[n, 1, 4, 5] x, float[1, 1, 3, 3] w) => (float[n, 1, h, v] y) {{ y = ConvTranspose<{attrs}>(x, w) }}"""
    )
    rng, path = np.random.default_rng(0), tmp_path / "model.onnx"
    x, w = rng.standard_normal((1, 1, 4, 5), np.float32), rng.standard_normal((1, 1, 3, 3), np.float32)
    network = onnx_backend.load(proto)
    onnx_backend.export(network, path, [x.shape, w.shape], dynamic_batch=False)
    np.testing.assert_allclose(onnx_backend.load(path)(x, w), network(x, w), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["lenet5", "unet", *(pytest.param(n, marks=pytest.mark.thorough) for n in (
    "alexnet", "resnet18", "mobilenet_v2", "dcgan_generator"))])  # fmt: skip
def test_a_model_comes_back(name, tmp_path):
    shape = {"lenet5": (1, 1, 32, 32), "unet": (1, 1, 32, 32), "dcgan_generator": (1, 100, 1, 1)}.get(
        name, (1, 3, 64, 64)
    )
    options = {"width": 8, "depth": 2} if name == "unet" else {}
    if name == "alexnet":  # but for most of its numbers, which take seconds to draw
        features = with_numbers(models.alexnet(init="zeros")[:3], np.random.default_rng(0), "float32")
        model = nn.Sequential(features, nn.Linear(9216, 10, rng=0)).eval()
    else:
        model = getattr(models, name)(rng=0, **options).eval()
    onnx_backend.export(model, tmp_path / "model.onnx", shape)
    x = np.random.default_rng(0).standard_normal((2, *shape[1:]), np.float32)
    wanted = model.predict(x)
    network = onnx_backend.load(tmp_path / "model.onnx")
    np.testing.assert_allclose(network(x), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    if name != "alexnet":  # whose adaptive pooling becomes products
        assert count_flops(network, x.shape) == summary(network, x.shape).flops == count_flops(model, x.shape)
        most = [max(field.size for field in receptive_field(of, x.shape)) for of in (network, model)]
        assert most[0] == most[1]


@pytest.mark.parametrize("factor, size", [(0.29, 100), (2.3, 100), (0.35, 180), (3.1, 64)])
def test_ratios_that_float32_does_not_hold(factor, size, tmp_path):
    """ONNX has no others: sizes and pixels are those of the layer."""
    x, layer = np.arange(size, dtype=np.float32).reshape(1, 1, size), nn.Upsample(scale_factor=factor)
    onnx_backend.export(layer, tmp_path / "resize.onnx", x.shape)
    np.testing.assert_array_equal(onnx_backend.load(tmp_path / "resize.onnx")(x), layer.predict(x))


def test_tensors_have_the_names_of_the_state(tmp_path):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, rng=0), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten(), nn.Linear(16, 5, rng=1),
        nn.Residual(nn.Linear(5, 5, rng=2)),
    )  # fmt: skip
    onnx_backend.export(model, tmp_path / "m.onnx", (1, 3, 4, 4))
    found = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "m.onnx").graph.initializer}
    state = {name: array for name, array in model.state_dict().items() if not name.endswith("tracked")}
    assert found.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(found[name].reshape(-1), array.reshape(-1))


def test_the_transpose_of_a_parameter_is_a_node(tmp_path):
    layer, path = nn.Linear(4, 4, rng=0), tmp_path / "linear.onnx"
    onnx_backend.export(layer, path, (2, 3, 4))
    model, x = onnx.load(path), np.random.default_rng(0).standard_normal((2, 3, 4), np.float32)
    assert [node.op_type for node in model.graph.node] == ["Transpose", "MatMul", "Add"]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(model.graph.initializer[0]), layer.weight.data)
    np.testing.assert_allclose(run(path, x)[0], layer(x), rtol=1e-5)


class Flat(nn.Module):
    """A user's layer that reshapes by the numbers of a shape, in one of several ways."""

    def __init__(self, shape):
        self.shape = shape

    def run(self, x):
        return np.reshape(x, self.shape(x)), lambda grad, _: grad.reshape(x.shape)


@pytest.mark.parametrize("shape", [
    lambda x: (len(x), -1), lambda x: (x.shape[0], x.shape[2], x.shape[1]), lambda x: (len(x) * 3, 4),
    lambda x: (-1, 4),
])  # fmt: skip
def test_a_batch_that_is_taken_for_a_number_in_a_reshape_stays_free(shape, tmp_path):
    layer, x = Flat(shape), np.random.default_rng(0).standard_normal((5, 3, 4), np.float32)
    onnx_backend.export(layer, tmp_path / "flat.onnx", (1, 3, 4))
    np.testing.assert_array_equal(run(tmp_path / "flat.onnx", x)[0], layer.predict(x))


class Share(nn.Module):
    """Divides by the size of the batch."""

    def run(self, x):
        return x / np.float32(len(x)), lambda grad, _: grad


def test_a_batch_that_is_taken_for_a_number_elsewhere_is_refused(tmp_path):
    model, path = nn.Sequential(nn.ReLU(), Share()), tmp_path / "share.onnx"
    with pytest.raises(ValueError, match="dynamic_batch must be False .* Div of layer '1' takes the size of the batch"):
        onnx_backend.export(model, path, (2, 3))
    onnx_backend.export(model, path, (2, 3), dynamic_batch=False)
    assert [d.dim_value for d in onnx.load(path).graph.input[0].type.tensor_type.shape.dim] == [2, 3]
    np.testing.assert_array_equal(run(path, np.ones((2, 3), np.float32))[0], np.full((2, 3), 0.5, np.float32))


def test_several_outputs_and_what_is_no_node(tmp_path):
    class Ends(nn.Module):
        def run(self, x):
            y = np.maximum(x, np.float32(0))
            return (y, x, y), lambda grads, _: sum(grads)

    x = np.array([[-1, 2]], np.float32)
    onnx_backend.export(Ends(), tmp_path / "ends.onnx", (1, 2))
    assert [out.name for out in onnx.load(tmp_path / "ends.onnx").graph.output] == ["output0", "output1", "output2"]
    for got, wanted in zip(run(tmp_path / "ends.onnx", x), Ends().predict(x), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("layer", [
    nn.ReLU(), nn.LeakyReLU(0.2), nn.Sigmoid(), nn.Tanh(), nn.ReLU6(), nn.SiLU(), nn.GELU(), nn.Hardswish(),
    nn.Hardsigmoid(), nn.ELU(0.7), nn.SELU(), nn.Softplus(), nn.GELU(approximate="tanh"),
], ids=lambda layer: type(layer).__name__)  # fmt: skip
def test_a_network_as_it_was_fused(layer, tmp_path):
    """Sums and activations that are part of a node are nodes again."""
    conv = nn.Conv2d(3, 3, 3, padding=1, rng=0)
    model = nn.Sequential(nn.Residual(conv), nn.Conv2d(3, 2, 1, rng=1), layer, nn.Residual(nn.Identity()), layer)
    network, x = model.prepare((1, 3, 4, 4)), np.random.default_rng(0).standard_normal((2, 3, 4, 4), np.float32)
    assert len(network.graph.nodes) < 5 and "activation" in network.graph.nodes[-1].attrs
    onnx_backend.export(network, tmp_path / "network.onnx", (1, 3, 4, 4))
    np.testing.assert_allclose(run(tmp_path / "network.onnx", x)[0], model.predict(x), rtol=1e-4, atol=1e-6)


def test_products_whose_sums_were_fused(tmp_path):
    model = nn.Sequential(nn.Residual(nn.Linear(4, 4, rng=0)), nn.GELU(approximate="tanh"))
    for shape in ((2, 4), (2, 3, 4)):
        network, x = model.prepare(shape), np.random.default_rng(0).standard_normal(shape, np.float32)
        onnx_backend.export(network, tmp_path / "network.onnx", shape)
        np.testing.assert_allclose(run(tmp_path / "network.onnx", x)[0], model.predict(x), rtol=1e-4, atol=1e-6)


def test_a_network_that_is_good_for_one_shape(tmp_path):
    class Halve(nn.Module):
        def run(self, x):
            return x[:, :, : x.shape[2] // 2], None

    model = nn.Sequential(nn.Conv2d(1, 4, 3, rng=0), Halve())
    network, path = model.prepare((1, 1, 8, 8)), tmp_path / "halved.onnx"
    with pytest.raises(ValueError, match="good for .* alone.*dynamic_batch=False"):
        onnx_backend.export(network, path, (1, 1, 8, 8))
    onnx_backend.export(network, path, (1, 1, 8, 8), dynamic_batch=False)
    x = np.random.default_rng(0).standard_normal((1, 1, 8, 8), np.float32)
    np.testing.assert_allclose(run(path, x)[0], model.predict(x), rtol=1e-4, atol=1e-5)


def test_a_network_of_joined_branches_is_good_for_any_batch(tmp_path):
    model, path = models.unet(width=4, depth=1, rng=0), tmp_path / "unet.onnx"
    onnx_backend.export(model.prepare((1, 1, 8, 8)), path, (1, 1, 8, 8))
    x = np.random.default_rng(0).standard_normal((2, 1, 8, 8), np.float32)
    np.testing.assert_allclose(run(path, x)[0], model.predict(x), rtol=1e-4, atol=1e-5)


@pytest.mark.thorough
def test_external_data(tmp_path):
    model, path = models.lenet5(rng=0), tmp_path / "lenet5.onnx"
    onnx_backend.export(model, path, (1, 1, 32, 32), external_data=True)
    assert {file.name for file in tmp_path.iterdir()} == {"lenet5.onnx", "lenet5.onnx.data"}
    onnx.checker.check_model(str(path), full_check=True)
    x = np.random.default_rng(0).standard_normal((2, 1, 32, 32), np.float32)
    np.testing.assert_allclose(run(path, x)[0], model.predict(x), rtol=1e-4, atol=1e-6)


def test_what_is_too_large_is_external(tmp_path, monkeypatch):
    monkeypatch.setattr("convkit.onnx_backend.exporter._LARGEST_FILE", 100_000)
    onnx_backend.export(models.lenet5(rng=0), tmp_path / "lenet5.onnx", (1, 1, 32, 32))
    assert (tmp_path / "lenet5.onnx.data").stat().st_size > 100_000
    with pytest.raises(ValueError, match="external_data must not be False where tensors take 2 GiB"):
        onnx_backend.export(models.lenet5(rng=0), tmp_path / "l.onnx", (1, 1, 32, 32), external_data=False)


@pytest.mark.parametrize("opset", [21, 24, 27])
def test_operator_sets(opset, tmp_path):
    model, path = nn.Sequential(nn.SiLU(), nn.GELU(), nn.Hardswish()), tmp_path / "m.onnx"
    onnx_backend.export(model, path, (2, 3), opset=opset)
    assert onnx.load(path).opset_import[0].version == opset
    x = np.random.default_rng(0).standard_normal((4, 3), np.float32)
    np.testing.assert_allclose(run(path, x)[0], model.predict(x), rtol=1e-5, atol=1e-6)


def test_float64(tmp_path):
    conv, path = nn.Conv1d(2, 3, 3, rng=0, dtype="float64"), tmp_path / "m.onnx"
    model = nn.Sequential(conv, nn.Softplus(threshold=3))
    onnx_backend.export(model, path, (1, 2, 8))
    x = np.random.default_rng(0).standard_normal((2, 2, 8))
    np.testing.assert_allclose(run(path, x)[0], model.predict(x), rtol=1e-12, atol=1e-14)


def test_what_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(TypeError, match="model must be a Module, Network or Graph, got str"):
        onnx_backend.export("lenet5", path, (1, 3))
    with pytest.raises(ValueError, match="opset must be 21 to 27, got 20"):
        onnx_backend.export(nn.ReLU(), path, (1, 3), opset=20)
    with pytest.raises(TypeError, match="opset must be an int, got '27' of type str"):
        onnx_backend.export(nn.ReLU(), path, (1, 3), opset="27")
    for shape in (3, (1, "a"), [(1, 3), 3], ["ab"]):
        with pytest.raises(TypeError, match=f"must be a shape, or a sequence of shapes, got {re.escape(str(shape))}"):
            onnx_backend.export(nn.ReLU(), path, shape)
    with pytest.raises(TypeError, match="input_shape must be of ints, got 3.5 of type float"):
        onnx_backend.export(nn.ReLU(), path, [(1, 3.5)])
    for shape in ((), (0, 3), [(1, 3), ()]):
        with pytest.raises(ValueError, match="input_shape must have a batch axis, and sizes of at least 1"):
            onnx_backend.export(nn.ReLU(), path, shape)
    with pytest.raises(TypeError, match="path must be a str or a path, got 5 of type int"):
        onnx_backend.export(nn.ReLU(), 5, (1, 3))
    made = graph.Graph()
    made.outputs, made.output_names = [made.input("x").emit("Relu", nonsense=1)], ["y"]
    with pytest.raises(ValueError, match="no valid one in ONNX: .*nonsense"):
        onnx_backend.export(made, path, (1, 3))
    with pytest.raises(ValueError, match="a shape for each of x, got 2"):
        onnx_backend.export(made, path, [(1, 3), (1, 3)])
    assert not path.exists()


def test_a_shape_without_the_batch_is_named_as_it_was_given(tmp_path):
    images = nn.Sequential(nn.Conv2d(3, 4, 3, rng=0), nn.GlobalAvgPool2d())  # take one without a batch, too
    classes = nn.Sequential(images, nn.Flatten(), nn.Linear(4, 2, rng=0))
    others = " with any N, unless dynamic_batch is False"
    for model, takes, inside in (
        (images, others, r"with N \+ 1, x must have .* 3 channels, got 4 "),
        (classes, "", "factors must share an axis"),
        (classes.prepare((1, 3, 16, 16)), "", "x must have 4 axes"),
    ):
        expected = rf"input_shape must be that of a batch, \(N, C, \*spatial\), which the model takes{takes}, "
        with pytest.raises(ValueError, match=rf"^{expected}got \(3, 16, 16\): {inside}") as caught:
            onnx_backend.export(model, tmp_path / "m.onnx", (3, 16, 16))
        assert caught.value.__notes__[0].startswith("in ")
