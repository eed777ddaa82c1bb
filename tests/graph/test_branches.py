"""Branches of one image that are added: one convolution, where they are linear maps that read alike."""

import numpy as np
import pytest

from convkit.graph import Graph, Network
from graph_cases import emit, made, noise


def branch(w, x, channels, kernel, pads, seed, bias=True, **attrs):
    """A convolution of 4 channels, with batch normalisation behind it."""
    group = attrs.get("group", 1)
    y = emit(
        w, "Conv", x, noise(channels, 4 // group, *kernel, seed=seed), *([noise(channels, seed=seed)] if bias else []),
        pads=pads, **attrs,
    )  # fmt: skip
    return normalised(w, y, channels, seed)


def normalised(w, x, channels, seed=5):
    scale, shift, mean = noise(3, channels, seed=seed)
    return emit(w, "BatchNormalization", x, scale, shift, mean, np.abs(scale) + 0.5)


def square(kernel):
    """Padding that keeps an image's size."""
    return [*(k // 2 for k in kernel), *((k - 1) // 2 for k in kernel)]


BRANCHES = {
    "as RepVGG has them": lambda w, x: (
        branch(w, x, 4, (3, 3), (1, 1, 1, 1), 1), branch(w, x, 4, (1, 1), (0, 0, 0, 0), 2), normalised(w, x, 4)
    ),
    "depthwise": lambda w, x: (
        branch(w, x, 4, (3, 3), (1, 1, 1, 1), 1, group=4), branch(w, x, 4, (1, 1), (0, 0, 0, 0), 2, group=4), x
    ),
    "groups and the image": lambda w, x: (x, branch(w, x, 4, (3, 2), square((3, 2)), 1, group=2)),
    "two of a kind": lambda w, x: (
        branch(w, x, 6, (3, 3), (1, 1, 1, 1), 1, strides=(2, 1)),
        branch(w, x, 6, (3, 3), (1, 1, 1, 1), 2, False, strides=(2, 1)),
    ),
    "smaller first": lambda w, x: (
        branch(w, x, 3, (1, 3), (0, 1, 0, 1), 1), branch(w, x, 3, (5, 5), (2, 2, 2, 2), 2)
    ),
    "dilated": lambda w, x: (
        branch(w, x, 3, (3, 3), (2, 3, 2, 3), 1, dilations=(2, 3)),
        branch(w, x, 3, (3, 1), (2, 0, 2, 0), 2, dilations=(2, 1)),
    ),
    "not in the middle": lambda w, x: (
        branch(w, x, 3, (3, 3), (2, 0, 0, 2), 1), branch(w, x, 3, (2, 2), (1, 0, 0, 1), 2),
        branch(w, x, 3, (1, 1), (0, 0, 0, 0), 3),
    ),
}  # fmt: skip


def summed(w, terms):
    total, *others = terms
    for other in others:
        total = emit(w, "Add", total, other)
    return total


@pytest.mark.parametrize("name", BRANCHES)
def test_branches_of_one_image_are_one_convolution(name):
    def build(w, x):
        terms = BRANCHES[name](w, x)
        total = summed(w, terms)
        image = any(value is x for value in terms)
        return normalised(w, total, total.info.shape[1], 9) if image else emit(w, "Relu", total)

    x = noise(2, 4, 9, 8)
    network, wanted = made(build, x)
    assert [node.op for node in network.graph.nodes] == ["Conv"]
    np.testing.assert_allclose(network(x), wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name, build", {
    "other taps": lambda w, x: (
        branch(w, x, 3, (3, 3), (1, 1, 1, 1), 1), branch(w, x, 3, (3, 3), (2, 2, 2, 2), 2, dilations=(2, 2))
    ),
    "between the taps": lambda w, x: (
        branch(w, x, 3, (2, 2), (1, 1, 1, 1), 1, dilations=(2, 2)), branch(w, x, 3, (1, 1), (0, 0, 0, 0), 2)
    ),
    "before the taps": lambda w, x: (
        branch(w, x, 3, (3, 3), (0, 0, 3, 3), 1), branch(w, x, 3, (1, 1), (1, 1, 0, 0), 2)
    ),
    "beyond the taps": lambda w, x: (
        branch(w, x, 3, (3, 3), (3, 3, 0, 0), 1), branch(w, x, 3, (1, 1), (0, 0, 1, 1), 2)
    ),
    "a channel for all": lambda w, x: (
        branch(w, x, 1, (3, 3), (1, 1, 1, 1), 1), branch(w, x, 4, (3, 3), (1, 1, 1, 1), 2)
    ),
    "across each other": lambda w, x: (
        branch(w, x, 3, (3, 1), (1, 0, 1, 0), 1), branch(w, x, 3, (1, 3), (0, 1, 0, 1), 2)
    ),
    "other groups": lambda w, x: (
        branch(w, x, 4, (3, 3), (1, 1, 1, 1), 1), branch(w, x, 4, (3, 3), (1, 1, 1, 1), 2, group=4)
    ),
    "other images": lambda w, x: (
        branch(w, x, 4, (3, 3), (1, 1, 1, 1), 1),
        branch(w, emit(w, "Relu", x), 4, (3, 3), (1, 1, 1, 1), 2),
    ),
    "one that is read": lambda w, x: (
        (y := branch(w, x, 3, (3, 3), (1, 1, 1, 1), 1)),
        branch(w, x, 3, (3, 3), (1, 1, 1, 1), 2),
        emit(w, "Sigmoid", y),
    ),
    "with an activation": lambda w, x: (
        branch(w, x, 3, (3, 3), (1, 1, 1, 1), 1), emit(w, "Relu", branch(w, x, 3, (3, 3), (1, 1, 1, 1), 2))
    ),
    "padded by name": lambda w, x: (
        emit(w, "Conv", x, noise(3, 4, 3, 3), auto_pad="SAME_UPPER"), branch(w, x, 3, (3, 3), (1, 1, 1, 1), 2)
    ),
    "beside one padded by name": lambda w, x: (
        branch(w, x, 3, (3, 3), (1, 1, 1, 1), 1), emit(w, "Conv", x, noise(3, 4, 1, 1), auto_pad="VALID")
    ),
    "padded otherwise": lambda w, x: (
        emit(w, "Conv", x, noise(3, 4, 3, 3), pads=(1, 1, 1, 1), padding_mode="reflect"),
        emit(w, "Conv", x, noise(3, 4, 3, 3, seed=1), pads=(1, 1, 1, 1)),
    ),
    "weights that are computed": lambda w, x: (
        emit(w, "Conv", x, x), emit(w, "Conv", x, noise(2, 4, 9, 8))
    ),
    "a bias that is computed": lambda w, x: (
        emit(w, "Conv", x, noise(4, 4, 1, 1), emit(w, "ReduceMean", x, np.array([0, 2, 3]), keepdims=0)),
        emit(w, "Conv", x, noise(4, 4, 1, 1, seed=1)),
    ),
    "beyond the largest": lambda w, x: (
        emit(w, "Conv", x, np.full((4, 4, 1, 1), 1e308)), emit(w, "Conv", x, np.full((4, 4, 1, 1), 1e308))
    ),
}.items())  # fmt: skip
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_branches_that_differ_stay_branches(name, build):
    x = noise(2, 4, 9, 8)
    network, wanted = made(lambda w, x: summed(w, build(w, x)), x)
    assert sum(node.op == "Conv" for node in network.graph.nodes) == 2
    np.testing.assert_allclose(network(x), wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", ((2, 4, 9), (1, 4, 5, 4, 6)))
def test_branches_of_lines_and_volumes(shape):
    """In their own dtype."""
    nd, x = len(shape) - 2, noise(*shape).astype(np.float32)

    def kernel(size, seed):
        return noise(4, 2, *(size,) * nd, seed=seed).astype(np.float32)

    def build(w, x):
        numbers = [number.astype(np.float32) for number in (*noise(3, 4, seed=3), np.full(4, 2.0))]
        terms = (
            emit(w, "Conv", x, kernel(3, 1), group=2, pads=(1,) * (2 * nd)),
            emit(w, "Conv", x, kernel(1, 2), group=2),
        )
        return summed(w, (*terms, emit(w, "BatchNormalization", x, *numbers)))

    network, wanted = made(build, x)
    assert [node.op for node in network.graph.nodes] == ["Conv"]
    assert all(value.data.dtype == np.float32 for value in network.graph.nodes[0].inputs[1:])
    np.testing.assert_allclose(network(x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, build", {
    "strides": lambda w, x: (
        emit(w, "Conv", x, noise(4, 4, 3, 3), pads=(1, 1, 1, 1)), emit(w, "Conv", x, noise(4, 4, 1, 1), strides=(2, 8))
    ),
    "dilations": lambda w, x: (
        emit(w, "Conv", x, noise(4, 4, 3, 1), pads=(1, 0, 1, 0)),
        emit(w, "Conv", x, noise(4, 4, 2, 1), pads=(1, 0, 0, 0), dilations=(2, 1)),
    ),
    "the image": lambda w, x: (emit(w, "Conv", x, noise(4, 4, 3, 3), pads=(1, 1, 1, 1), strides=(2, 8)), x),
    "its normalisation": lambda w, x: (
        emit(w, "Conv", x, noise(4, 4, 1, 1), strides=(2, 8)), normalised(w, x, 4)
    ),
    "another's normalisation": lambda w, x: (
        emit(w, "Conv", x, noise(4, 4, 1, 1)), normalised(w, emit(w, "Tanh", x), 4)
    ),
    "statistics that are computed": lambda w, x: (
        emit(w, "Conv", x, noise(4, 4, 1, 1)),
        emit(
            w, "BatchNormalization", x, emit(w, "ReduceMean", x, np.array([0, 2, 3]), keepdims=0), *noise(2, 4),
            np.full(4, 2.0),
        ),
    ),
}.items())  # fmt: skip
def test_what_reads_elsewhere_stays_beside_a_convolution(name, build):
    """A result of one element is repeated: that sizes agree says nothing of strides."""
    x = noise(2, 4, 2, 8)
    network, wanted = made(lambda w, x: normalised(w, summed(w, build(w, x)), 4), x)
    assert len(network.graph.nodes) > 1, name
    np.testing.assert_allclose(network(x), wanted, rtol=1e-11, atol=1e-11)


WEIGHT = noise(4, 4, 3, 3)


@pytest.mark.parametrize("inputs, attrs", (
    ((noise(4),), {}),
    ((np.array(1.0),), {}),
    ((WEIGHT, noise(3)), {}),
    ((WEIGHT, noise(1)), {}),
    ((WEIGHT, noise(4).astype(np.float32)), {}),
    ((WEIGHT.astype(complex),), {}),
    ((WEIGHT,), {"dilations": (0, 0)}),
    ((WEIGHT,), {"dilations": (1,)}),
    ((WEIGHT,), {"strides": (1, 1, 1)}),
    ((WEIGHT,), {"pads": (1, 1)}),
    ((WEIGHT,), {"group": 0}),
    ((WEIGHT,), {"group": 3}),
))  # fmt: skip
@pytest.mark.parametrize("other", ("image", "normalisation", "convolution"))
def test_what_no_convolution_may_be_is_refused_by_name(inputs, attrs, other):
    """As without a sum, of which a pass would make something else, or which it would not understand."""
    whole, x = Graph(), noise(2, 4, 9, 8)
    image = whole.input("x")  # of no shape yet, as in files
    y = whole.emit("Conv", [image, *map(whole.constant, inputs)], {"pads": (1, 1, 1, 1)} | attrs)
    beside = {
        "image": lambda: image,
        "normalisation": lambda: normalised(whole, image, 4),
        "convolution": lambda: emit(whole, "Conv", image, noise(4, 4, 1, 1)),
    }[other]()
    whole.outputs, whole.output_names = [normalised(whole, emit(whole, "Add", y, beside), 4)], ["y"]
    with pytest.raises((ValueError, TypeError)) as refusal:
        Network(whole)(x)
    assert any("in node Conv" in note for note in refusal.value.__notes__)


@pytest.mark.parametrize("channels, norm", ((1, True), (4, False)))
def test_an_image_that_is_added_stays_beside_its_convolution(channels, norm):
    """Where it has more channels, or where no normalisation would go into the weights, too."""

    def build(w, x):
        total = emit(w, "Add", branch(w, x, channels, (3, 3), (1, 1, 1, 1), 1), x)
        return normalised(w, total, 4) if norm else total

    x = noise(2, 4, 9, 8)
    network, wanted = made(build, x)
    conv, *others = network.graph.nodes
    assert len(conv.inputs) == 4 and [node.op for node in others] == ["BatchNormalization"] * norm
    np.testing.assert_allclose(network(x), wanted, rtol=1e-11, atol=1e-11)
