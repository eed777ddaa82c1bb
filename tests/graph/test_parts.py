"""A batch in parts: the bits of the whole, where no image needs another; and not cut where one does."""

import numpy as np
import onnx
import pytest

from convkit import nn, onnx_backend
from convkit.graph import parts

FLOAT = onnx.TensorProto.FLOAT


@pytest.fixture
def small(monkeypatch):
    """Every batch that may be cut is cut into single images."""
    monkeypatch.setattr(parts, "PART_BYTES", 1)
    monkeypatch.setattr(parts, "WEIGHTS_SHARE", np.inf)


def loaded(nodes, shape, **constants):
    """The network of nodes from x to y, whose constants these are."""
    made = [onnx.helper.make_node(op, inputs, outputs, **attrs) for op, inputs, outputs, attrs in nodes]
    held = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    x, y = (onnx.helper.make_tensor_value_info(name, FLOAT, s) for name, s in (("x", shape), ("y", None)))
    graph = onnx.helper.make_graph(made, "g", [x], [y], held)
    return onnx_backend.load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)]))


def images(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


class Two(nn.Module):
    """An image, and what two layers make of it."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 8, 3, padding=1, rng=0), nn.Linear(8, 5, rng=1)

    def run(self, x):
        y, _ = self.conv.begin(x)
        z, _ = self.linear.begin(y.mean(axis=(2, 3)))
        return (x, y, z), None


def test_parts_have_the_bits_of_the_whole(small):
    model = Two().eval()
    x = images(6, 3, 9, 7)
    network, one = model.prepare(x.shape), model.prepare((1, 3, 9, 7))
    found = network.explain(measure=False)
    assert found.parts == 6
    assert str(found).endswith("in 6 parts of the batch")
    assert [node.output_shape[0] for node in found.nodes] == [6] * len(found.nodes)
    for k, y in enumerate(network(x)):
        np.testing.assert_array_equal(y, np.concatenate([one(image[None])[k] for image in x]))
    assert found.flops == sum(node.flops for node in one.explain(measure=False).nodes) * 6
    plan, _ = network._planned([x])
    seconds = np.zeros(plan.program.count)
    plan.run([x], plan.arena(), seconds)
    assert seconds.any()


def test_parts_are_as_large_as_fit(monkeypatch):
    model, x = (
        nn.Sequential(nn.Conv2d(1, 8, 3, rng=0), nn.ReLU(), nn.Conv2d(8, 8, 3, rng=0)).eval(),
        images(6, 1, 40, 40),
    )
    monkeypatch.setattr(parts, "WEIGHTS_SHARE", np.inf)
    whole = model.prepare()
    arena = whole.explain(x, measure=False).arena
    monkeypatch.setattr(parts, "PART_BYTES", arena * 3 // 5)
    cut = model.prepare()
    assert (cut.explain(x, measure=False).parts, cut.explain(x[:5], measure=False).parts) == (2, 1)
    np.testing.assert_array_equal(cut(x), whole(x))
    monkeypatch.setattr(parts, "WEIGHTS_SHARE", 0)
    assert model.prepare().explain(x, measure=False).parts == 1


ROW = np.arange(4, dtype=np.float32)
MIXING = {
    "softmax of a batch": [("Softmax", ["x"], ["y"], {"axis": 0})],
    "joined along it": [("Concat", ["x", "x"], ["y"], {"axis": 0})],
    "turned": [("Transpose", ["x"], ["y"], {"perm": [1, 0, 2]})],
    "turned around": [("Transpose", ["x"], ["y"], {})],
    "a mean of it": [("ReduceMean", ["x", "first"], ["y"], {})],
    "shifted along it": [("Pad", ["x", "shift"], ["y"], {})],
    "multiplied by itself": [("MatMul", ["x", "x"], ["y"], {})],
    "a matrix for each": [("MatMul", ["x", "cube"], ["y"], {})],
    "other numbers for each": [("Add", ["x", "each"], ["y"], {})],
    "statistics of all": [("BatchNormalization", ["x", "row", "row", "row", "row"], ["y"], {"training_mode": 1})],
    "flattened into one row": [("Flatten", ["x"], ["y"], {"axis": 0})],
    "its size": [
        ("Shape", ["x"], ["s"], {"start": 0, "end": 1}), ("Cast", ["s"], ["c"], {"to": 1}),
        ("Mul", ["x", "c"], ["y"], {}),
    ],
    "its elements": [("Size", ["x"], ["s"], {}), ("Cast", ["s"], ["c"], {"to": 1}), ("Div", ["x", "c"], ["y"], {})],
    "resized to sizes": [("Resize", ["x", "", "", "sizes"], ["y"], {"mode": "nearest"})],
    "more images": [("Resize", ["x", "", "scales"], ["y"], {"mode": "nearest"})],
    "places in all": [("MaxPool", ["x"], ["m", "i"], {"kernel_shape": [2]}), ("Cast", ["i"], ["y"], {"to": 1})],
    "cut out of all": [
        ("Resize", ["x", "roi", "twice"], ["y"],
         {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}),
    ],
    "columns": [("ReduceMean", ["x", "second"], ["m"], {"keepdims": 0}), ("Gemm", ["m", "m4"], ["y"], {"transA": 1})],
    "random ones": [("RandomNormal", [], ["r"], {"shape": [4, 4, 4]}), ("Add", ["x", "r"], ["y"], {})],
}  # fmt: skip
CONSTANTS = {
    "first": np.array([0]), "second": np.array([1]), "m4": np.eye(4, dtype=np.float32),
    "shift": np.array([1, 0, 0, -1, 0, 0]), "row": ROW + 1, "each": ROW.reshape(4, 1, 1),
    "cube": np.arange(64, dtype=np.float32).reshape(4, 4, 4), "sizes": np.array([4, 4, 8]),
    "scales": np.array([2, 1, 2], np.float32), "twice": np.array([1, 1, 2], np.float32),
    "roi": np.array([0.5, 0, 0, 1, 1, 0.5], np.float32),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_images_is_not_cut(small, name):
    nodes = [(op, ["e" if i == "x" else i for i in inputs], y, attrs) for op, inputs, y, attrs in MIXING[name]]
    nodes.insert(0, ("Exp", ["x"], ["e"], {}))
    used = {i for _, ins, _, _ in nodes for i in ins}
    network = loaded(nodes, (4, 4, 4), **{k: v for k, v in CONSTANTS.items() if k in used})
    plan, _ = network._planned([images(4, 4, 4)])
    assert plan.parts == 1


def test_what_keeps_images_is_cut(small):
    nodes = [
        ("Transpose", ["x"], ["t"], {"perm": [0, 2, 1]}), ("Pad", ["t", "pads"], ["p"], {}),
        ("Softmax", ["p"], ["s"], {"axis": 1}), ("MatMul", ["s", "w"], ["m"], {}), ("Mul", ["m", "x"], ["q"], {}),
        ("Flatten", ["q"], ["f"], {}), ("Gemm", ["f", "v", "b"], ["y"], {}),
    ]  # fmt: skip
    x = images(4, 4, 4)
    held = {"pads": np.array([0, 1, 0, 0, -1, 0]), "w": images(4, 4), "v": images(16, 3), "b": images(3)}
    network, one = loaded(nodes, ("n", 4, 4), **held), loaded(nodes, ("n", 4, 4), **held)
    assert network.explain(x, measure=False).parts == 4
    np.testing.assert_array_equal(network(x), np.concatenate([one(image[None]) for image in x]))
