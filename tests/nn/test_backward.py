"""A way back adds to all gradients or, where anything on it raises, to none."""

import numpy as np
import pytest

from convkit import nn
from convkit.nn.losses import Penalty

X = np.arange(12, dtype=np.float32).reshape(3, 4)


class Fragile(nn.ByElement):
    """Twice its input; its way back raises after its own parameter has a gradient, while `error` is one."""

    def __init__(self):
        self.weight, self.error = nn.Parameter(np.full(1, 2, np.float32)), None

    def run(self, x):
        def back(grad, need_input):
            self.weight.accumulate((grad * x).sum(keepdims=True)[0])
            if self.error is not None:
                raise self.error
            return grad * self.weight.data

        return x * self.weight.data, back


def linear(seed=1):
    return nn.Linear(4, 4, rng=seed)


def twice(fragile):
    layer = linear()
    return nn.Sequential(fragile, layer, nn.Tanh(), layer)


MODELS = {
    "alone": lambda fragile: fragile,
    "sequential": lambda fragile: nn.Sequential(linear(0), fragile, nn.ReLU(), linear()),
    "twice": twice,
    "residual": lambda fragile: nn.Residual(linear(), fragile),
    "residual_branch": lambda fragile: nn.Sequential(nn.Residual(fragile), linear()),
    "concat": lambda fragile: nn.Sequential(
        nn.Concat(linear(0), nn.Sequential(fragile, linear())), nn.Linear(8, 2, rng=2)
    ),
    "deep": lambda fragile: nn.Sequential(nn.Residual(nn.Sequential(nn.Residual(fragile), linear())), linear(2)),
}


def gradients(model):
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("kind", MODELS)
def test_a_backward_that_raises_leaves_gradients_as_they_were(kind):
    fragile = Fragile()
    model = MODELS[kind](fragile)
    fragile.error = RuntimeError("broken")
    y = model(X)
    with pytest.raises(RuntimeError, match="broken"):
        model.backward(np.ones_like(y))
    assert all(grad is None for grad in gradients(model))
    fragile.error = None
    model(X)
    model.backward(np.ones_like(y))
    once = gradients(model)
    copies = [grad.copy() for grad in once]
    for fragile.error in (ValueError("broken"), KeyboardInterrupt()):
        model(X)
        with pytest.raises(type(fragile.error)):
            model.backward(np.ones_like(y))
        assert all(a is b and np.array_equal(b, c) for a, b, c in zip(gradients(model), once, copies, strict=True))
    fragile.error = None
    model(X)
    model.backward(np.ones_like(y))  # and adds to them, in place, as before
    for grad, array, copy in zip(gradients(model), once, copies, strict=True):
        assert grad is array
        np.testing.assert_allclose(grad, 2 * copy, rtol=1e-6)


def test_a_hook_that_raises_and_a_gradient_that_does_not_fit():
    model = nn.Sequential(linear(), nn.Tanh(), linear(2))

    def look(layer, grad, dx):
        if isinstance(layer, nn.Tanh):
            raise LookupError

    with nn.hooks(backward=look):
        y = model(X)
        with pytest.raises(LookupError):
            model.backward(np.ones_like(y))
    assert gradients(model) == [None] * 4
    first, second = model[0].weight, model[0].bias
    with pytest.raises(ValueError, match="grad must have the parameter's shape"):
        Penalty(1.0, [(first, np.ones((4, 4), np.float32)), (second, np.ones(3, np.float32))]).backward()
    assert gradients(model) == [None] * 4
