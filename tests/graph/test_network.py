"""Networks: what a model computes, for any shape, and as long as the model is what it was."""

import copy
import dataclasses
import pickle
import re

import numpy as np
import pytest

import convkit
from bounds import assert_within_bound
from convkit import _probe, graph, models, nn
from convkit.graph import Graph, Info, Network, ir
from convkit.graph.placement import Spot, view_of
from graph_cases import bound, random_model
from nn_cases import noise, with_numbers

SHAPES = {"lenet5": (2, 1, 32, 32), "unet": (1, 1, 32, 32), "dcgan_generator": (2, 100, 1, 1)}
CLASSIFIED = ("alexnet", "vgg16")  # by a hundred million numbers, which take seconds to draw: they are left out
THOROUGH = pytest.mark.thorough


def close(got, wanted):
    """Within 1e-4 of the largest: float32 over tens of layers, in another order and with folded weights."""
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(seed, marks=THOROUGH) for seed in range(12, 100))])
def test_a_random_model(seed):
    model, shape = random_model(seed, "float64", "implicit_gemm")
    x = noise(*shape, dtype="float64", seed=seed)
    assert_within_bound(model.prepare()(x), model.predict(x), bound(model, x), f"seed {seed}")


@pytest.mark.parametrize(
    "name",
    ["lenet5", "mobilenet_v2", *(pytest.param(n, marks=THOROUGH) for n in (
        "resnet18", "resnet50", "alexnet", "vgg16", "unet", "dcgan_generator"))],
)  # fmt: skip
def test_every_model(name):
    if name in CLASSIFIED:
        model = with_numbers(getattr(models, name)(init="zeros")[:3], np.random.default_rng(0), "float32").eval()
    else:
        model = getattr(models, name)(rng=0).eval()
    x = noise(*SHAPES.get(name, (1, 3, 64, 64)))
    close(model.prepare(x.shape)(x), model.predict(x))


def pyramid():
    net = models.resnet18(rng=0)
    return models.PyramidNetwork([net[:5], net[5], net[6], net[7]], models.FeaturePyramid((64, 128, 256, 512), rng=0))


@pytest.mark.thorough
def test_several_outputs():
    model, x = pyramid().eval(), noise(1, 3, 64, 96)
    network = model.prepare(x.shape)
    maps = network(x)
    assert network.outputs == [f"output{i}" for i in range(5)] and type(maps) is tuple
    for got, wanted in zip(maps, model.predict(x), strict=True):
        close(got, wanted)


class Gate(nn.Module):
    """Squeeze and excite: a user's own layer, of arithmetic and NumPy's functions alone."""

    def __init__(self, channels):
        self.narrow = nn.Conv2d(channels, 2, 1, activation="relu", rng=0)
        self.widen = nn.Conv2d(2, channels, 1, activation="sigmoid", rng=1)

    def run(self, x):
        gate, _ = self.narrow.begin(x.mean(axis=(2, 3), keepdims=True))
        gate, _ = self.widen.begin(gate)
        y = np.maximum(x * gate, 0.1) - x[:, :, ::-1, :1] / 2.0
        return np.concatenate([y, 1 - y], axis=1), None


ZOO = {
    "user": (lambda: nn.Sequential(nn.Conv2d(4, 6, 3, rng=0), Gate(6), nn.Conv2d(12, 2, 1, rng=1)), (2, 4, 9, 8)),
    "activations": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 8, 3, activation=("leaky_relu", 0.1), padding=1, padding_mode="reflect", rng=0), nn.GELU(),
            nn.GELU("tanh"), nn.SiLU(), nn.Hardswish(), nn.Hardsigmoid(), nn.PReLU(8), nn.SELU(), nn.Softplus(2.0),
            nn.Tanh(), nn.Softmax(1), nn.LogSoftmax(1), nn.Step(),
        ),
        (1, 4, 9, 8),
    ),
    "sizes": (
        lambda: nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.ZeroPad2d((0, 1, 2, 0)), nn.PixelShuffle(2),
            nn.AdaptiveAvgPool2d(5), nn.Upsample(size=7), nn.AdaptiveMaxPool2d((3, 2)), nn.Flatten(),
            nn.Linear(6, 3, rng=0),
        ),
        (2, 4, 9, 8),
    ),
    "nhwc": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 8, 3, layout="NHWC", rng=0), nn.BatchNorm2d(8, layout="NHWC"), nn.ReLU(),
            nn.MaxPool2d(2, layout="NHWC"), nn.Conv2d(8, 8, 1, layout="NHWC", rng=1),
        ),
        (2, 9, 8, 4),
    ),
    "deformable": (lambda: nn.Sequential(nn.DeformConv2d(4, 8, 3, rng=0), nn.BatchNorm2d(8), nn.ReLU()), (2, 4, 9, 8)),
    "volume": (
        lambda: nn.Sequential(
            nn.Conv3d(2, 4, 3, padding="same", rng=0), nn.BatchNorm3d(4), nn.MaxPool3d(2),
            nn.ConvTranspose3d(4, 2, 2, 2, rng=1),
        ),
        (1, 2, 6, 7, 8),
    ),
    "signal": (lambda: nn.Sequential(nn.Conv1d(2, 4, 5, stride=2, rng=0), nn.BatchNorm1d(4), nn.Tanh()), (3, 2, 40)),
    "small planes": (
        lambda: nn.Sequential(
            nn.Residual(nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, rng=0), nn.ReLU())), nn.AvgPool2d(2),
            nn.Conv2d(32, 16, 1, rng=1), nn.Flatten(),
        ),
        (2, 32, 6, 6),
    ),
    "nothing to do": (lambda: nn.Sequential(nn.Identity(), nn.Dropout()), (2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
def test_a_network_is_its_model(name):
    make, shape = ZOO[name]
    model, x = make().eval(), noise(*shape)
    close(model.prepare(shape)(x), model.predict(x))


def test_what_is_fused():
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1, rng=0), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, rng=1), nn.BatchNorm2d(4))), nn.ReLU6(), nn.Dropout(),
        nn.SiLU(),
    )  # fmt: skip
    told = model.eval().prepare((1, 4, 8, 8)).explain(measure=False)
    assert [node.op for node in told.nodes] == ["Conv+Relu", "Conv+Add+Clip", "Swish"]
    assert told.nodes[1].path == "3.branch.0" and "Conv+Add+Clip" in str(told)


def test_why_nodes_are_above_the_roofline():
    """Each reason has a mark of its own."""
    layers = nn.Conv2d(64, 64, 3, padding=1, rng=0), nn.Conv2d(64, 64, 3, padding=1, rng=1), nn.MaxPool2d(2)
    told = nn.Sequential(*layers).prepare((1, 64, 28, 28)).explain(measure=False)
    peak = told.nodes[0].flops / 1e-3 / 1e9 / 1.2
    nodes = [dataclasses.replace(node, seconds=1e-3, roofline=1.2) for node in told.nodes]
    nodes[1] = dataclasses.replace(nodes[1], how="implicit_gemm")
    nodes += [dataclasses.replace(nodes[0], roofline=0.67), nodes[0]]
    told = str(dataclasses.replace(told, nodes=tuple(nodes), unsteady=True, peak_gflops=peak))
    rows, notes = told.splitlines()[1:6], told.splitlines()[6:10]
    assert [re.search(r"(\d+ %.)  ", row)[1] for row in rows] == ["120 %*", "120 %!", "120 %+", "67 % ", "120 %*"]
    starts = [
        "* above 100 %: Winograd",
        "! above 100 %: other work",
        "+ above the roofline: data",
        "unsteady: other work",
    ]
    assert all(map(str.startswith, notes, starts))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shares_are_of_the_peak_of_the_networks_dtype(dtype, brief, monkeypatch):
    monkeypatch.setattr(_probe.engine, "measure_fma", lambda asked, *_: 1e9 * int(asked[-2:]))
    network = nn.Sequential(nn.Linear(3, 2, dtype=dtype, rng=0)).prepare()
    assert network.explain(np.zeros((1, 3), dtype)).peak_gflops == int(dtype[-2:])


def test_joined_in_place():
    model = nn.Concat(nn.Conv2d(4, 4, 3, padding=1, rng=0), nn.Conv2d(4, 8, 1, rng=1))
    told = model.prepare((1, 4, 8, 8)).explain(measure=False)
    assert told.nodes[-1].how == "joined in place"


def test_an_empty_part_that_numpy_computes_is_joined():
    """It would lie behind the first part, past the end of a result without elements."""
    assert nn.Concat(nn.ReLU(), nn.Softmax(1)).prepare()(np.zeros((0, 3, 5), np.float32)).shape == (0, 6, 5)


def test_what_is_tied_to_a_depthwise_kernel_has_its_channels_last():
    def layers(*last):
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, rng=0), nn.ReLU(), nn.Conv2d(16, 24, 1, rng=1), nn.SiLU(), *last,
            nn.MaxPool2d(2), nn.Conv2d(48, 4, 1, rng=2),
        )  # fmt: skip

    for middle, wanted in ((nn.Conv2d(24, 48, 3, padding=1, groups=24, rng=3), 3), (nn.Conv2d(24, 48, 1, rng=3), 0)):
        model, x = layers(middle).eval(), noise(2, 3, 13, 17)
        network = model.prepare(x.shape)
        told = network.explain(measure=False)
        assert sum("channels last" in node.how for node in told.nodes) == wanted
        close(network(x), model.predict(x))


@pytest.mark.thorough
def test_explained_nodes_carry_their_time():
    told = models.lenet5(rng=0).prepare((1, 1, 32, 32)).explain()
    assert told.seconds > 0 and told.flops == 833_040 and told.as_dict()["nodes"][0]["op"] == "Conv+Tanh"
    assert all(node.seconds > 0 and node.roofline > 0 for node in told.nodes if node.how != "view")
    heading, first, *_, total, summed, _ = str(told).splitlines()
    assert heading.index("node") == first.index("Conv+Tanh") and " ms a run, the median: " in total
    assert float(summed.split()[0]) * 1e-3 == pytest.approx(sum(node.seconds or 0 for node in told.nodes), rel=0.01)


@pytest.mark.thorough
def test_functions_of_numpy_have_their_time_beside_the_engines():
    whole = graph.Graph()
    x = whole.input("x", graph.Info((50, 60, 70), np.dtype(np.float32)))
    whole.outputs, whole.output_names = [x.emit("Floor").emit("Relu").emit("Round").emit("Sigmoid")], ["y"]
    told = graph.Network(whole).explain((50, 60, 70))
    assert [node.how for node in told.nodes] == ["NumPy", "engine"] * 2
    assert all(0 < node.seconds < 1.5 * told.seconds for node in told.nodes)


def test_a_graph_that_others_pushed_out_meanwhile_is_still_this_calls(monkeypatch):
    monkeypatch.setattr(graph.network, "_PLANS", 0)
    assert Branching().prepare((2, 3))(noise(4, 3)).shape == (4, 3, 1)


@pytest.mark.thorough
def test_thread_counts_and_prepared_shapes_do_not_change_bits():
    model, x = models.mobilenet_v2(rng=0).eval(), noise(1, 3, 64, 64)
    network = model.prepare()
    with convkit.threads(1):
        y = network(x)
    with convkit.threads(3):
        np.testing.assert_array_equal(network(x), y)


def test_a_changed_parameter_is_noticed():
    model, x = nn.Sequential(nn.Conv2d(2, 3, 3, rng=0)), noise(1, 2, 5, 5)
    network = model.prepare((1, 2, 5, 5))
    network(x)
    model.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match=r"0\.weight was changed after the model was prepared"):
        network(x)
    network = model.prepare((1, 2, 5, 5))
    model[0].weight.data *= 2
    with pytest.raises(RuntimeError, match=r"0\.weight was changed after the model was prepared"):
        network(x)


class Sign(nn.Module):
    def run(self, x):
        return (x if x > 0 else -x), None


def test_a_layer_that_asks_for_numbers_is_refused():
    with pytest.raises(TypeError, match="the layer asks what a value is") as caught:
        nn.Sequential(nn.ReLU(), Sign()).prepare((1, 2))
    assert "in layer '1': Sign()" in caught.value.__notes__


def test_a_layer_that_looks_at_sizes_is_traced_again():
    class Halve(nn.Module):
        def run(self, x):
            return x[:, :, : x.shape[2] // 2], None

    model = nn.Sequential(nn.ReLU(), Halve())
    network = model.prepare((1, 2, 8, 3))
    for size in (8, 12):
        assert network(noise(1, 2, size, 3)).shape == (1, 2, size // 2, 3)


def test_inputs_are_checked():
    network = nn.ReLU().prepare((2, 3))
    with pytest.raises(TypeError, match="the network takes input; got nothing"):
        network()
    with pytest.raises(TypeError, match="input must have dtype float32, got float64"):
        network(np.zeros((2, 3)))
    assert network(input=noise(2, 3)[::-1]).shape == (2, 3)
    with pytest.raises(RuntimeError, match="no graph before its first call"):
        _ = nn.ReLU().prepare().graph
    assert repr(network) == "Network(input -> output; 1 node)"


@pytest.mark.parametrize(("layout", "shape"), [("NCHW", (1, 16, 14, 14)), ("NHWC", (1, 14, 14, 16))])
def test_inputs_may_lie_anywhere(layout, shape):
    """A plan of a 1x1 kernel reads images, and tiles, in place: it has no memory for a copy."""
    network, x = nn.Conv2d(16, 16, 1, layout=layout, rng=0).prepare(), noise(*shape)
    apart = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(shape)
    apart[...] = x
    np.testing.assert_array_equal(network(apart), network(x))
    if layout == "NCHW":
        np.testing.assert_array_equal(network.tiled(apart, 14), network(x))


def test_outputs_are_fresh_arrays():
    network, x = nn.Identity().prepare((2, 3)), noise(2, 3)
    y = network(x)
    assert not np.shares_memory(x, y) and not np.shares_memory(network(x), y)
    np.testing.assert_array_equal(x, y)


def test_a_sum_is_written_over_one_of_its_terms_and_memory_is_used_again():
    """So however many convolutions, and what is added to what two of them take, need the memory of two images."""
    one, two, *others = (nn.Conv2d(8, 8, 3, padding=1, rng=seed) for seed in range(6))
    model = nn.Sequential(others[0], nn.Residual(nn.Sequential(one, two)), *others[1:])
    assert model.prepare((1, 8, 32, 32)).explain(measure=False).arena < 2.1 * 4 * 8 * 32 * 32


@pytest.mark.parametrize("send", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
@pytest.mark.parametrize("shape", [None, (1, 3, 40, 40)])
@pytest.mark.thorough
def test_a_network_travels(send, shape):
    model, x = models.mobilenet_v2(rng=0).eval(), noise(1, 3, 40, 40)
    network = model.prepare(shape)
    sent = send(network)
    np.testing.assert_array_equal(sent(x), network(x))
    model.load_state_dict(model.state_dict())
    assert shape is None or sent(x).shape == (1, 1000)  # a planned one has left the model


@pytest.mark.parametrize(
    "make", [lambda: nn.Concat(nn.ReLU(), nn.Tanh()), lambda: models.unet(width=2, depth=1, rng=0)]
)
def test_joined_branches_are_of_any_size_where_their_model_is_not(make):
    model, x = make().eval(), noise(3, 1, 8, 6)
    sent = pickle.loads(pickle.dumps(model.prepare((1, 1, 4, 4))))
    close(sent(x), model.predict(x))


def test_what_is_added_may_repeat_the_product():
    class Spread(nn.Module):
        def __init__(self):
            self.conv = nn.Conv2d(2, 3, 1, rng=0)

        def run(self, x):
            y, _ = self.conv.begin(x[:, :, :1, :1])
            return np.maximum(y + x[:, :1], 0), None

    model, x = Spread(), noise(1, 2, 4, 5)
    close(model.prepare(x.shape)(x), model.predict(x))


def test_operands_of_two_dtypes_are_refused():
    single, double = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 3, 3))
    for op, others in (("Conv", (double,)), ("Conv", (single, np.ones(1)))):
        graph = Graph()
        x = graph.input("x", Info(single.shape, single.dtype))
        with pytest.raises(TypeError, match="operands must share one dtype, got float32 and float64"):
            x.emit(op, *others)


class Branching(nn.Module):
    def run(self, x):
        return (x * 2 if x.shape == (2, 3) else x.reshape((*x.shape, 1))), None


def test_a_shape_that_is_compared_or_joined_is_noted():
    network = Branching().prepare((2, 3))
    assert network(noise(2, 3)).shape == (2, 3) and network(noise(4, 3)).shape == (4, 3, 1)


class Zero(nn.Module):
    def run(self, x):
        return np.where(x == 0, 1, x), None


def test_a_value_is_not_compared_unnoticed():
    with pytest.raises(TypeError, match="a value cannot be compared by ==, numpy.equal makes a node of it"):
        Zero().prepare((2, 3))


def test_changed_statistics_are_noticed():
    model, x = nn.Sequential(nn.Conv2d(2, 3, 1, rng=0), nn.BatchNorm2d(3)), noise(2, 2, 4, 4)
    network = model.eval().prepare(x.shape)
    network(x)
    model.train()(x)
    with pytest.raises(RuntimeError, match=r"1\.running_mean was changed after the model was prepared"):
        network(x)


def test_scores_may_be_infinite():
    x = np.array([[np.inf, 1, np.inf], [-np.inf] * 3, [0, -np.inf, 1]], np.float32)
    for layer in (nn.Softmax(1), nn.LogSoftmax(1)):
        np.testing.assert_allclose(layer.prepare(x.shape)(x), layer.predict(x), rtol=1e-6)


def test_names_decide_in_explain_too():
    graph = Graph()
    a, b = (graph.input(name, Info((1, size), np.dtype(np.float32))) for name, size in (("a", 2), ("b", 3)))
    graph.outputs, graph.output_names = [a.emit("Concat", b, axis=1)], ["y"]
    network = Network(graph)
    assert network.explain(b=(1, 3), a=(1, 2), measure=False).nodes[0].output_shape == (1, 5)
    with pytest.raises(TypeError, match="the network takes a, b; got c"):
        network.explain(c=(1, 3), measure=False)
    with pytest.raises(TypeError, match="the network takes input; got nothing"):
        nn.ReLU().prepare()()
    with pytest.raises(TypeError, match="the network takes 1 input, input; got 2"):
        nn.ReLU().prepare()(1, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_explain_takes_a_shape_before_the_first_call(dtype):
    network = nn.Conv2d(1, 2, 3, rng=0, dtype=dtype).prepare()
    assert network.explain((1, 1, 8, 8), measure=False).nodes[0].output_shape == (1, 2, 6, 6)
    assert network.graph.inputs[0].info.dtype == dtype


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("abc", TypeError, "input must be a float32 or float64 array, got str"),
        ((-1, 1, 8, 8), ValueError, "input as a shape must have sizes of at least 0, got"),
        ((1, 1, 8.0, 8), TypeError, "input must be an int"),
    ],
)
def test_explain_names_what_it_cannot_take(given, error, message):
    for shape in (None, (1, 1, 8, 8)):
        with pytest.raises(error, match=message):
            nn.Conv2d(1, 2, 3, rng=0).prepare(shape).explain(given, measure=False)


def test_what_follows_from_other_sizes_is_not_kept():
    network = Branching().prepare((2, 3))
    for n in range(3, 23):
        network(noise(n, 3))
    assert len(network._graphs) <= 8 and len(network._plans) <= 8


MIXED = {
    "choice": lambda y: np.where(y > 0, y, 0.5),
    "mask": lambda y: (y > 0) * y,
    "number": lambda y: (y > 0) * 0.5,
    "count": lambda y: (y > 0).sum(1),
    "whole": lambda y: y.astype(np.int32) * 0.5,
    "share": lambda y: y.astype(np.int32) / 4,
}


@pytest.mark.parametrize("name", MIXED)
def test_numbers_of_two_dtypes_are_numpys(name):
    class Mixed(nn.Module):
        def run(self, x):
            return MIXED[name](x), None

    x = noise(2, 3)
    wanted, got = Mixed().predict(x), Mixed().prepare(x.shape)(x)
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)


def test_a_sum_does_not_take_the_memory_of_what_is_joined_and_needed_still():
    class Reads(nn.Module):
        def __init__(self):
            self.p, self.q = nn.Conv2d(3, 8, 1, rng=0), nn.Conv2d(3, 8, 1, rng=1)
            self.r = nn.Conv2d(8, 16, 3, padding=1, rng=2)

        def run(self, x):
            a, b = self.p.begin(x)[0], self.q.begin(x)[0]
            return (self.r.begin(a)[0] + np.concatenate([a, b], axis=1), a * 2), None

    model, x = Reads(), noise(1, 3, 64, 64)
    for got, wanted in zip(model.prepare()(x), model.predict(x), strict=True):
        close(got, wanted)


@pytest.mark.parametrize("layer, shape, other, message", (
    (nn.Conv2d(3, 4, 1, rng=0), (1, 3, 5, 5), (1, 2, 5, 5), "3 channels, got 2"),
    (nn.Conv2d(3, 4, 1, rng=0), (1, 3, 5, 5), (1, 3, 5), "x must have 4 axes"),
    (nn.MaxPool2d(2), (1, 3, 5, 5), (1, 3, 5), "x must have 4 axes"),
    (nn.Linear(4, 3, rng=0), (2, 4), (2, 5), r"\(2, 5\)"),
    (nn.BatchNorm2d(4), (1, 4, 5, 5), (1, 3, 5, 5), "x must have 4 channels"),
    (nn.GroupNorm(2, 4), (1, 4, 5, 5), (1, 6, 5, 5), "x must have 4 channels"),
    (nn.LayerNorm(4), (2, 4), (2, 5), r"x must have \(4,\)"),
    (nn.PReLU(4), (1, 4, 5, 5), (1, 3, 5, 5), r"x must have \(4, 1, 1\)"),
))  # fmt: skip
def test_a_wrong_size_names_the_node(layer, shape, other, message):
    network = nn.Sequential(nn.Sigmoid(), nn.GELU(), layer).eval().prepare(shape)
    network(noise(*shape))
    with pytest.raises(ValueError, match=message) as caught:
        network(noise(*other))
    assert str(caught.value).startswith("input must have a shape that the network takes, such as ")
    assert f", for which it was made, got {other}: " in str(caught.value)
    assert caught.value.__notes__[-1].startswith("in node ") and caught.value.__notes__[-1].endswith(" '2'")


@pytest.mark.parametrize("make", (models.lenet5, lambda rng: models.resnet18(in_channels=1, rng=rng)))
def test_errors_of_a_first_call_speak_of_the_input(make):
    """No layer's word comes first, where only the network's input was given."""
    model = make(rng=0).eval()
    network = model.prepare()
    with pytest.raises(TypeError, match="^input must have dtype float32, got float64; astype converts it$"):
        network(np.zeros((1, 1, 32, 32)))
    message = r"^input must have a shape that the model takes, got \(1, 32, 32\): .*"
    for call in (network, lambda x: model.prepare(x.shape)):
        with pytest.raises(ValueError, match=message) as caught:
            call(noise(1, 32, 32))
        assert caught.value.__notes__[-1].startswith("in layer ")
    for bad in ("1", [1, 2.0], 5, (1, -1)):
        with pytest.raises((TypeError, ValueError), match="^input_shape "):
            model.prepare(bad)
    assert network(noise(1, 1, 32, 32)).shape[0] == 1
    no_parameters = nn.Sequential(nn.ReLU()).prepare()
    assert no_parameters(np.zeros(2)).dtype == np.float64
    of_buffers, x = nn.BatchNorm2d(3, affine=False, dtype="float64"), np.zeros((1, 3, 2, 2))
    assert of_buffers.prepare(x.shape)(x).dtype == np.float64
    for dtype in (np.float32, np.float64):
        assert of_buffers.prepare()(x.astype(dtype)).dtype == of_buffers.predict(x.astype(dtype)).dtype == dtype


def test_where_a_view_lies_is_asked_without_its_memory():
    spot = Spot(0, 0, (1 << 50, 1 << 44, 1 << 40), 4, (4, 16, 16))
    for shape, strides in (
        ((4, 256), (1 << 50, 1 << 40)),
        ((64, 16), None),
        ((4, 4, 4, 16), (1 << 50, 1 << 46, 1 << 44, 1 << 40)),
    ):
        node = ir.Node("Reshape", [], {})
        infos = [Info(spot.shape, np.dtype("float32")), Info((len(shape),), np.dtype("int64"), np.array(shape))]
        assert view_of(node, 0, spot, infos) == (None if strides is None else (0, strides))
