"""Graphs at the edges of what a plan takes: constants as outputs, arrays without axes, sizes without bound."""

from functools import partial

import numpy as np
import pytest

from convkit.graph import OPS, Graph, Network


def network(inputs: int, build, **options) -> Network:
    """Of what `build` makes of a graph and so many inputs."""
    graph = Graph()
    graph.outputs = [build(graph, *(graph.input(f"x{i}") for i in range(inputs)))]
    graph.output_names = ["y"]
    return Network(graph, **options)


def test_a_constant_may_be_the_output():
    y = network(1, lambda graph, x: graph.constant(np.arange(3.0)))(np.zeros(1))
    np.testing.assert_array_equal(y, [0, 1, 2])


def test_an_operand_without_axes():
    y = network(1, lambda graph, x: graph.emit("Div", [x, graph.constant(np.array(2.0))], {}))(np.array(3.0))
    assert y.shape == () and y == 1.5


def test_grid_sample_of_places_that_are_computed():
    x, places = np.arange(16.0).reshape(1, 1, 4, 4), np.full((1, 2, 2, 2), 0.25)
    net = network(2, lambda graph, x, at: graph.emit("GridSample", [x, graph.emit("Neg", [at], {})], {}))
    y = net(x, places)
    np.testing.assert_allclose(y, 5.0, rtol=1e-12)


def test_align_corners_with_scales_keeps_the_unrounded_size():
    scales = np.array([1, 1, 0.6, 0.6], np.float32)
    attrs = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    net = network(1, lambda graph, x: graph.emit("Resize", [x, None, graph.constant(scales)], attrs))
    y = net(np.array([[[[1, 2, 3, 4], [5, 6, 7, 8]]]], np.float32))
    np.testing.assert_allclose(y, [[[[1.0, 3.142857]]]], rtol=1e-6)  # ONNX's own test vector


def amplified(graph, x):
    """What follows from a shape alone, and takes a terabyte."""
    return graph.emit("Add", [x, graph.emit("ConstantOfShape", [graph.constant(np.array([1 << 38]))], {})], {})


def looked_for(graph, x):
    """The same behind indices that are not known before the network runs."""
    places = graph.emit("NonZero", [x], {})
    sizes = graph.emit("Mul", [graph.emit("Shape", [places], {}), graph.constant(np.array([1 << 38]))], {})
    return graph.emit("ConstantOfShape", [sizes], {})


@pytest.mark.parametrize("build", (amplified, looked_for))
def test_values_take_no_more_than_they_may(build):
    with pytest.raises(MemoryError, match="max_bytes = 1000000"):
        network(1, build, max_bytes=1_000_000)(np.ones(4, np.float32))


@pytest.mark.parametrize("axes", ([2, 3], [-1], [1, 2, 3], [1]))
@pytest.mark.parametrize("op", ("ReduceMean", "ReduceMax"))
def test_reductions_of_last_axes_are_poolings_and_means_of_others_sums(op, axes):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5), np.float32)
    x = x[0] if axes == [-1] else x
    for keepdims in (0, 1):
        attrs, numbers = {"keepdims": keepdims}, np.array(axes, np.int64)
        net = network(1, partial(lambda graph, x, attrs, n: graph.emit(op, [x, n], attrs), attrs=attrs, n=numbers))
        wanted = (np.mean if op == "ReduceMean" else np.max)(x, tuple(axes), keepdims=bool(keepdims))
        np.testing.assert_allclose(net(x), wanted, rtol=1e-5)
        (node,) = net.explain(x.shape, measure=False).nodes
        assert node.how == ("NumPy" if axes == [1] and op == "ReduceMax" else "engine")


def test_parts_of_a_split_are_views():
    def build(graph, x):
        a, b = graph.emit("Split", [graph.emit("Neg", [x], {})], {"axis": 1, "num_outputs": 2}, 2)
        return graph.emit("Sub", [b, a], {})

    net, x = network(1, build), np.arange(6.0).reshape(1, 6)
    np.testing.assert_array_equal(net(x), [[-3, -3, -3]])
    assert [node.how for node in net.explain(x.shape, measure=False).nodes if node.op == "Split"] == ["view"]


@pytest.mark.parametrize(("op", "groups"), [("Conv", 1), ("Conv", 2), ("ConvTranspose", 2)])
def test_scales_and_shifts_of_channels_go_into_a_convolution(op, groups):
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((2, 4, 5, 5)), rng.standard_normal((4, 4 // groups, 3, 3)), rng.standard_normal(4)
    w = w if op == "Conv" else w[:, : 4 // groups]
    scale, shift = rng.standard_normal((2, 4, 1, 1))
    statistics = rng.uniform(1, 2, (4, 4))

    def build(graph, x):
        y = graph.emit(op, [x, graph.constant(w), graph.constant(b)], {"group": groups})
        y = graph.emit("BatchNormalization", [y, *map(graph.constant, statistics)], {})
        y = graph.emit("Mul", [graph.constant(scale), y], {})
        return graph.emit("Relu", [graph.emit("Add", [y, graph.constant(shift)], {})], {})

    net = network(1, build)
    plain = OPS["BatchNormalization"].run({}, OPS[op].run({"group": groups}, x, w, b), *statistics)
    np.testing.assert_allclose(net(x), np.maximum(plain * scale + shift, 0), atol=1e-12)
    assert [node.op for node in net.graph.nodes] == [op]


@pytest.mark.parametrize("op", ("DepthToSpace", "SpaceToDepth"))
def test_shapes_are_found_without_the_memory_of_what_has_them(op):
    def build(graph, x):
        large = graph.emit("ConstantOfShape", [graph.constant(np.array([1, 4, 1 << 18, 1 << 18]))], {})
        return graph.emit("Add", [x, graph.emit(op, [large], {"blocksize": 2})], {})

    with pytest.raises(MemoryError, match="max_bytes = 1000000"):
        network(1, build, max_bytes=1_000_000)(np.ones(1, np.float32))
