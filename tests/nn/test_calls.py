"""Calls of layers: what they keep and for how long, in which thread, and who looks on."""

import copy
import pickle
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import convkit
from convkit import nn, optim
from nn_cases import batch, small_network

# ---------------------------------------------------------------- what is kept, and for how long


def spied(seen):
    """A layer that does nothing and notes its output, weakly."""

    class Spy(nn.Module):
        def run(self, x):
            y = x.copy()
            seen.append(weakref.ref(y))
            return y, lambda grad, _: grad * (y == y)

    return Spy()


def alive(seen):
    return sum(reference() is not None for reference in seen)


def test_after_a_step_nothing_is_kept():
    seen = []
    model = nn.Sequential(small_network(), *(spied(seen) for _ in range(4)))
    y = model(batch((2, 1, 6, 6)))
    assert alive(seen) == 4
    model.backward(np.ones_like(y))
    assert alive(seen) == 1  # y; the next step may have the others' memory
    with pytest.raises(RuntimeError, match="nothing to go back through"):
        model.backward(np.ones_like(y))


@pytest.mark.parametrize("inference", [nn.inference, None])
def test_inference_keeps_two_activations(inference):
    seen, counts = [], []
    model = nn.Sequential(*(spied(seen) for _ in range(5)))
    with nn.hooks(forward=lambda layer, inputs, y: counts.append(alive(seen))):
        if inference is None:
            model.predict(batch((2, 3)))
        else:
            with inference():
                model(batch((2, 3)))
    assert max(counts) == 2 and alive(seen) == 0


def test_in_inference_there_are_no_indices_and_no_gradients(monkeypatch):
    asked = []

    def spy(x, *args, return_indices=False, **options):
        asked.append(return_indices)
        return convkit.max_pool2d(x, *args, return_indices=return_indices, **options)

    monkeypatch.setattr(nn.MaxPool2d, "_forward", staticmethod(spy))
    model, x = nn.Sequential(nn.MaxPool2d(2), nn.Flatten()), batch((3, 1, 4, 4))
    with nn.inference():
        scores = model(x)
        loss = nn.losses.softmax_cross_entropy(scores, np.arange(3))
        with pytest.raises(RuntimeError, match=r"nothing to go back through"):
            model.backward(scores)
    y = model(x)
    assert asked == [False, True] and loss.grad is None
    assert loss.value == nn.losses.softmax_cross_entropy(scores, np.arange(3)).value
    with nn.inference(), pytest.raises(RuntimeError, match=r"nothing is kept under inference\(\)"):
        model.backward(y)
    assert model.backward(y).shape == x.shape  # that was still due


def test_nothing_is_due_after_an_exception():
    model, x = small_network(), batch((2, 1, 6, 6))
    model(x)
    with pytest.raises(ValueError, match="channels"):
        model(batch((2, 2, 6, 6)))
    with pytest.raises(RuntimeError, match="nothing to go back through"):
        model.backward(np.ones((2, 3), np.float32))


def test_an_array_that_is_assigned_is_a_change():
    layer = nn.Linear(3, 2, rng=0)
    y, back = layer.begin(batch((2, 3)))
    layer.weight.data *= 2
    with pytest.raises(RuntimeError, match=r"Linear.backward: weight was changed after the forward"):
        back(np.ones_like(y))
    assert [copied.version for copied in (copy.deepcopy(layer.weight), pickle.loads(pickle.dumps(layer.weight)))] == [
        1,
        1,
    ]
    with pytest.raises(TypeError, match="data must be an ndarray of float32 or float64, got list"):
        layer.weight.data = [1.0, 2.0]


def test_a_way_back_refuses_weights_that_were_changed():
    model, x = small_network(), batch((2, 1, 6, 6))
    optimizer, ema = optim.SGD(model.parameters(), 0.1), optim.EMA(model, 0.9)
    y, late = model.begin(x)
    _, loaded = model.begin(x)
    assert all(parameter.version == 0 for parameter in model.parameters())
    model.backward(np.ones_like(model(x)))
    optimizer.step()
    assert all(parameter.version == 1 for parameter in model.parameters())
    with pytest.raises(RuntimeError, match=r"Linear.backward: weight was changed after the forward"):
        late(np.ones_like(y))
    _, late = model.begin(x)
    model.load_state_dict({"0.weight": model[0].weight.data}, strict=False)
    assert [parameter.version for parameter in model.parameters()] == [2, 1, 1, 1, 1, 1]
    with pytest.raises(RuntimeError, match=r"Conv2d.backward: weight was changed after the forward"):
        late(np.ones_like(y))
    with ema.swapped():
        _, late = model.begin(x)
    with pytest.raises(RuntimeError, match="was changed after the forward"):
        late(np.ones_like(y))


# ---------------------------------------------------------------- threads and hooks


def in_threads(count, function):
    """The function's results for 0, 1..., each found in a thread of its own while the others run."""
    start = threading.Barrier(count)
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda i: start.wait() >= 0 and function(i), range(count)))


def test_eight_threads_predict_on_one_model_and_each_goes_back_through_its_own_call():
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, rng=rng), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(rng=rng),
        nn.Residual(nn.Conv2d(8, 8, 3, padding=1, rng=rng)), nn.GlobalAvgPool2d(), nn.Flatten(),
        nn.Linear(8, 3, rng=rng),
    )  # fmt: skip
    x = batch((8, 4, 1, 16, 16))
    expected = [model.predict(images) for images in x]
    for got, wanted in zip(in_threads(8, lambda i: [model.predict(x[i]) for _ in range(5)]), expected, strict=True):
        np.testing.assert_array_equal(got, [wanted] * 5)
    assert model.training and model[4].training
    model.eval().freeze()

    def gradient(i):
        y = model(x[i])
        return model.backward(np.full_like(y, i))

    for got, wanted in zip(in_threads(8, gradient), [gradient(i) for i in range(8)], strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_thread_has_a_mode_of_its_own():
    layer = nn.Linear(3, 2, rng=0)

    def trained(i):
        return layer.backward(layer(batch((1, 3)))).shape

    with nn.inference():
        assert in_threads(1, trained) == [(1, 3)]
        assert not nn.keeping()
    assert nn.keeping()


def test_hooks_look_on_inner_layers_first_and_may_change_an_output():
    model, seen = nn.Sequential(nn.Linear(3, 2, rng=0), nn.ReLU()), []
    x = batch((4, 3))

    def forward(layer, inputs, y):
        seen.append((layer, inputs[0].shape, y.shape))
        return y + 1 if layer is model[1] else None

    with nn.hooks(forward, lambda layer, grad, dx: seen.append((layer, grad.shape, None if dx is None else dx.shape))):
        y, back = model.begin(x)
        back(y, need_input=False)
    assert seen == [
        (model[0], (4, 3), (4, 2)), (model[1], (4, 2), (4, 2)), (model, (4, 3), (4, 2)),
        (model[1], (4, 2), (4, 2)), (model[0], (4, 2), None), (model, (4, 2), None),
    ]  # fmt: skip
    np.testing.assert_array_equal(y, model(x) + 1)
    assert len(seen) == 6


def test_hooks_join_those_that_look_on_when_they_are_entered():
    layer, seen = nn.ReLU(), []
    first, second = (nn.hooks(lambda *_, name=name: seen.append(name)) for name in "ab")
    with first, second:
        layer(batch((1, 3)))
    assert seen == ["a", "b"]
