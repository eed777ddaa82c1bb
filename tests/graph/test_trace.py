"""Values that stand for arrays while a model is traced: what they have of arrays, and what they say of the rest."""

import numpy as np
import pytest

from convkit import graph, nn


class Of(nn.Module):
    def __init__(self, function):
        self.function = function

    def run(self, x):
        return self.function(x), None


X = np.random.default_rng(0).standard_normal((2, 1, 3, 1)).astype(np.float32)
SAME = {
    "T": lambda x: x.T,
    "flatten": lambda x: x.flatten() * 2,
    "ravel": lambda x: np.ravel(x),
    "copies": lambda x: np.copy(x[:, :, ::2].copy(order="K")),
    "squeeze": lambda x: x.squeeze(),
    "squeeze of one axis": lambda x: np.squeeze(x, axis=1),
    "expand_dims": lambda x: np.expand_dims(x, (0, -1)),
    "clip": lambda x: x.clip(-0.5, 0.5),
    "clip from below": lambda x: np.clip(x, a_min=-0.5, a_max=None),
    "clip from above": lambda x: np.clip(x, None, a_max=0.5),
    "clip by newer names": lambda x: np.clip(x, min=-0.5, max=0.5),
    "clip of integers by half of one": lambda x: np.clip((9 * x).astype("int32"), 0, 1.5),
    "clip by arrays": lambda x: np.clip(x, X[0], X[1] + 1),
    "clip by values": lambda x: np.clip(x, None, x[:1]),
    "means of no axes": lambda x: x.mean(axis=()),
    "maxima of no axes": lambda x: np.max(x, axis=()),
    "sums of small integers": lambda x: (9 * abs(x)).astype("uint8").sum(axis=(0, -2)),
    "exponentials of integers": lambda x: np.exp((9 * x).astype("int32")),
    "sines of small integers": lambda x: np.sin((9 * abs(x)).astype("uint8")),
    "exponentials of bools": lambda x: np.exp(x > 0),
    "squares": lambda x: np.square(x),
    "squares of bools": lambda x: np.square(x > 0),
    "stack": lambda x: np.stack([x, 2 * x], axis=-1),
    "swapaxes": lambda x: np.swapaxes(x, 0, -2),
    "moveaxis": lambda x: np.moveaxis(x, [0, 1], [-1, -2]),
    "concatenate flat": lambda x: np.concatenate([x, X[0]], axis=None),
    "backwards from before the axis": lambda x: x[:, :, -100::-1],
    "backwards from its first element": lambda x: x[:, :, -3::-1],
    "the first index there is": lambda x: x[:, :, -3],
}


@pytest.mark.parametrize("name", SAME)
def test_what_values_have_of_arrays(name):
    wanted, got = SAME[name](X), Of(SAME[name]).prepare(X.shape)(X)
    assert got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("function, error, message", (
    (lambda x: x.sum(axis=-7), ValueError, "axis -7 is out of bounds"),
    (lambda x: np.max(x, axis=4), ValueError, "axis 4 is out of bounds"),
    (lambda x: x.mean(axis=1.5), TypeError, "float"),
    (lambda x: x[True], TypeError, "indexed by ints and slices, got .True"),
    (lambda x: x[:, 10], IndexError, "index 10 is out of range for axis 1 of 1"),
    (lambda x: x[:, :, :, :, :], IndexError, "a value of 4 axes may have as many indices"),
    (lambda x: x[..., ...], IndexError, "one ellipsis, got"),
))  # fmt: skip
def test_axes_and_places_that_are_not_there_are_refused(function, error, message):
    with pytest.raises(error, match=message):
        Of(function).prepare(X.shape)


def test_a_normalisation_of_the_last_axis_is_seen():
    def standard(x):
        apart = x - x.mean(-1, keepdims=True)
        return apart / np.sqrt((apart * apart).mean(-1, keepdims=True) + np.float32(1e-5)) * np.ones(3, np.float32)

    assert [node.op for node in Of(standard).prepare((2, 4, 3)).graph.nodes] == ["LayerNormalization"]


def test_what_has_no_shape_yet_may_be_indexed():
    made = graph.Graph()
    made.outputs, made.output_names = [made.input("x")[1, ::-1, :2]], ["y"]
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(graph.Network(made)(x), x[1, ::-1, :2])


def test_where_a_slice_begins_may_follow_from_the_size():
    network = Of(lambda x: x[:, -3::-1]).prepare((1, 4))
    for size in (4, 2):
        x = np.arange(size, dtype=np.float32)[np.newaxis]
        np.testing.assert_array_equal(network(x), x[:, -3::-1])


@pytest.mark.parametrize("function, message", (
    (lambda x: x.cumsum(), "'cumsum'"),
    (lambda x: np.mean(x, where=X > 0), "numpy.mean of a value: .*'where'"),
    (lambda x: np.cumsum(x), "numpy.cumsum of a value has no node"),
    (lambda x: x // 2, "__floordiv__ of a value has no node"),
    (lambda x: 2 % x, "__mod__ of a value has no node"),
    (lambda x: +x, "__pos__ of a value has no node"),
    (lambda x: (x > 0) & (x < 1), "__and__ of a value has no node"),
    (lambda x: np.concatenate([x, x], out=X), "numpy.concatenate of a value: .*'out'"),
))  # fmt: skip
def test_what_they_have_not_is_said(function, message):
    with pytest.raises((TypeError, AttributeError), match=message) as caught:
        Of(function).prepare(X.shape)
    assert "Module.symbolic" in str(caught.value)


@pytest.mark.parametrize(
    "layer", [nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4)], ids=lambda x: type(x).__name__
)
def test_what_kernels_do_not_take_is_refused(layer):
    """They would write past the end of a result of narrower elements."""
    with pytest.raises(TypeError, match="x must be float32 or float64, got dtype int16"):
        graph.trace(layer.eval(), [(2, 4, 4, 4)], "int16")
