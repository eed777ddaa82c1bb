"""Shadow weights: by hand, swapped in and out, with what is no parameter."""

import numpy as np
import pytest

from convkit import nn, optim


class Counting(nn.Module):
    """A weight, a running statistic and a count, as batch normalisation has them."""

    def __init__(self):
        self.weight = nn.Parameter(np.array([8.0]))
        self.mean, self.count = np.array([4.0]), np.array(3)

    def run(self, x):
        return x * self.weight.data - self.mean, None

    def state_dict(self):
        return super().state_dict() | {"mean": self.mean, "count": self.count}

    def load_state_dict(self, state, strict=True):
        for name, own in self.state_dict().items():
            own[...] = state[name]

    def values(self):
        return float(self.weight.data[0]), float(self.mean[0]), int(self.count)


def after_two_updates(**options):
    model = Counting()
    ema = optim.EMA(model, 0.75, **options)
    for weight, mean in ((0.0, 8.0), (4.0, 0.0)):
        model.weight.data[:], model.mean[:] = weight, mean
        model.count += 1
        ema.update()
    return model, ema


@pytest.mark.parametrize(("buffers", "mean"), [("average", 0.75 * 5), ("copy", 0.0)])
def test_by_hand(buffers, mean):
    model, ema = after_two_updates(buffers=buffers)
    with ema.swapped() as swapped:
        assert swapped is model
        assert model.values() == (0.75 * 6 + 0.25 * 4, mean, 5)
        np.testing.assert_array_equal(model(np.array([2.0])), [2 * 5.5 - mean])
    assert model.values() == (4.0, 0.0, 5)
    assert ema.updates == 2


def test_the_optimizer_goes_on_with_the_same_arrays():
    model, ema = after_two_updates()
    data = model.weight.data
    with ema.swapped():
        pass
    assert model.weight.data is data


def test_an_error_inside_does_not_lose_the_weights():
    model, ema = after_two_updates()
    with pytest.raises(ZeroDivisionError), ema.swapped():
        model.weight.data[:] = 77
        raise ZeroDivisionError
    assert model.values() == (4.0, 0.0, 5)
    ema.update()  # it is not swapped any more


def test_inside_swapped_nothing_may_follow_itself():
    _, ema = after_two_updates()
    with ema.swapped():
        with pytest.raises(RuntimeError, match="EMA.update: the model has the averages now"):
            ema.update()
        with pytest.raises(RuntimeError, match="EMA.swapped: the model has the averages now"), ema.swapped():
            pass
        before = ema.shadow["weight"].copy()
    np.testing.assert_array_equal(ema.shadow["weight"], before)


def test_a_shared_parameter_is_averaged_once():
    one, other = nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=1)
    other.weight = one.weight
    model = nn.Sequential(one, other)
    ema = optim.EMA(model, 0.75)
    start = one.weight.data.copy()
    one.weight.data += 1
    ema.update()
    with ema.swapped():
        np.testing.assert_allclose(one.weight.data, start + 0.25, rtol=1e-6)


def test_state():
    (_, ema), (_, other) = after_two_updates(), after_two_updates()
    other.update()
    state = ema.state_dict()
    assert set(state) == {"decay", "updates", "shadow.weight", "shadow.mean", "shadow.count"}
    other.load_state_dict(state)
    assert other.updates == 2 and other.shadow["weight"] == ema.shadow["weight"]
    assert other.shadow["weight"] is not ema.shadow["weight"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"shadow.more": np.ones(1)}, ValueError, r"unexpected: \['shadow.more'\]"),
        ({"shadow.weight": np.ones(2)}, ValueError, r"'shadow.weight'\] must have shape \(1,\), got \(2,\)"),
        ({"shadow.weight": np.ones(1, int)}, TypeError, r"'shadow.weight'\] must be of kind float64, got int64"),
        ({"shadow.count": np.array(1.5)}, TypeError, r"'shadow.count'\] must be of kind int64, got float64"),
        ({"decay": np.array(1.0)}, ValueError, r"decay must be a number in \[0, 1\)"),
        ({"updates": np.array(-1)}, ValueError, "must be at least 0"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, error, message):
    _, ema = after_two_updates()
    before = {name: value.copy() for name, value in ema.state_dict().items()}
    with pytest.raises(error, match=message):
        ema.load_state_dict(before | {"decay": np.array(0.5)} | change)
    assert ema.state_dict() == before


def test_bad_input():
    with pytest.raises(TypeError, match="model must be a Module, got list"):
        optim.EMA([], 0.9)
    with pytest.raises(ValueError, match=r"decay must be a number in \[0, 1\), got 1"):
        optim.EMA(Counting(), 1)
    with pytest.raises(ValueError, match="buffers must be one of average, copy, got 'keep'"):
        optim.EMA(Counting(), buffers="keep")
