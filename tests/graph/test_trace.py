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
    "squeeze": lambda x: x.squeeze(),
    "squeeze of one axis": lambda x: np.squeeze(x, axis=1),
    "expand_dims": lambda x: np.expand_dims(x, (0, -1)),
    "clip": lambda x: x.clip(-0.5, 0.5),
    "clip from below": lambda x: np.clip(x, a_min=-0.5, a_max=None),
    "clip from above": lambda x: np.clip(x, None, a_max=0.5),
    "clip by newer names": lambda x: np.clip(x, min=-0.5, max=0.5),
}


@pytest.mark.parametrize("name", SAME)
def test_what_values_have_of_arrays(name):
    network = Of(SAME[name]).prepare(X.shape)
    np.testing.assert_array_equal(network(X), SAME[name](X))


@pytest.mark.parametrize("function, message", (
    (lambda x: x.cumsum(), "'cumsum'"),
    (lambda x: np.mean(x, where=X > 0), "numpy.mean of a value: .*'where'"),
    (lambda x: np.cumsum(x), "numpy.cumsum of a value has no node"),
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
