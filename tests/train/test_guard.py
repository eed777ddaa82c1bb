"""The guard against infinity and NaN: it names the layer, changes nothing, and says nothing else."""

import numpy as np
import pytest

from convkit import nn, optim, train
from convkit.nn.losses import Loss, Penalty
from small_training import fit, samples


class SquareRoot(nn.Module):
    """y = sqrt(max(x, 0)): finite at 0, where its derivative is not."""

    def run(self, x):
        y = np.sqrt(np.maximum(x, 0))
        return y, lambda grad, _: grad / (2 * y)


class Twice(nn.Module):
    """A layer made of another one, and then arithmetic of its own."""

    def __init__(self, factor):
        self.inner, self.factor = nn.Linear(75, 75, rng=0), factor

    def run(self, x):
        y, through = self.inner.begin(x)
        factor = np.float32(self.factor)
        return y * factor, lambda grad, need_input: through(grad * factor, need_input)


def chain(*middle, width=75):
    """A trainer whose model has these layers between an input of 25 numbers and three scores."""
    rng = np.random.default_rng(0)
    first, last = nn.Linear(25, 75, rng=rng), nn.Linear(width, 3, rng=rng)
    model = nn.Sequential(nn.Flatten(), first, *middle, last)
    return train.Trainer(model, optim.SGD(model.parameters(), 0.1, 0.9), rng=rng)


def caught(trained, message, layer, direction):
    """The error of the first step; nothing has been learned, nothing warned of (a warning is an error here)."""
    before = {name: array.tobytes() for name, array in trained.model.state_dict().items()}
    with pytest.raises(train.NonFiniteError, match=message) as error:
        fit(trained, 1)
    assert (error.value.layer, error.value.direction) == (layer, direction)
    assert {name: array.tobytes() for name, array in trained.model.state_dict().items()} == before
    assert trained.step == 0


def test_forward_names_the_first_layer():
    large = nn.Linear(75, 75, rng=0)
    large.weight.data *= np.float32(1e30)
    larger = nn.Linear(75, 75, rng=1)
    larger.weight.data *= np.float32(1e30)
    message = r"layer '4', Linear\(75, 75\), is the first whose output is not finite: \d+ of 600 values"
    caught(chain(large, nn.ReLU(), larger, nn.ReLU()), message, "4", "forward")


def test_backward_names_the_first_layer():
    """The root's slope is infinite where it is 0; the layers below it are not to blame."""
    message = r"layer '2', SquareRoot\(\), is the first whose input's gradient is not finite"
    caught(chain(SquareRoot()), message, "2", "backward")


def test_a_layer_inside_another_is_named_by_its_path_and_the_outer_one_only_for_its_own_doing():
    caught(chain(Twice(1), Twice(3e38)), r"layer '3', Twice\(\), is the first whose output", "3", "forward")
    inside = Twice(1)
    inside.inner.weight.data *= np.float32(1e38)
    caught(chain(inside, Twice(1)), r"layer '2.inner', Linear\(75, 75\), is the first", "2.inner", "forward")


def test_a_parameters_gradient():
    """The lowest layer computes no input gradient: its weight's is where it shows."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(25, 3, rng=0))
    trained = train.Trainer(model, optim.SGD(model.parameters(), 0.1), rng=0)
    trained.loss = lambda scores, labels: Loss(1.0, np.full_like(scores, 3e38))
    message = r"layer '1', Linear\(25, 3\), is the first whose weight's gradient is not finite"
    caught(trained, message, "1", "backward")


def test_the_loss_itself():
    trained = chain()
    trained.loss = lambda scores, labels: Loss(float("nan"), np.zeros_like(scores))
    caught(trained, "the loss must be finite, got nan, with 0 of 24 values not finite in its gradient", None, None)
    trained.loss = lambda scores, labels: Loss(1.0, np.full_like(scores, np.inf))
    caught(trained, "the loss must be finite, got 1.0, with 24 of 24 values not finite", None, None)


def test_the_penalty():
    trained = chain()
    trained.penalty = lambda model: Penalty(1.0, [(model[1].weight, np.full_like(model[1].weight.data, np.inf))])
    caught(trained, "gradients must be finite, and are not, through no layer; is it the penalty's?", None, None)


def test_the_batch_itself():
    x, y = samples()
    x[::3, 0, 1, 2] = np.nan
    with pytest.raises(train.NonFiniteError, match=r"x must be finite, got \d of 200 values not finite, the first nan"):
        chain().fit(x, y, epochs=1, batch_size=8, progress=False)


def test_a_weight_that_was_not_finite_before():
    trained = chain(nn.ReLU())
    trained.model[3].weight.data[1, 2] = np.inf
    message = (
        r"the weight of layer '3', Linear\(75, 3\), must be finite, got 1 of 225 values not finite, "
        r"the first inf at \(1, 2\) before the step"
    )
    caught(trained, message, "3", None)


def test_dropout_drops_the_same_when_it_is_looked_at_again():
    class Seen(nn.Sequential):
        """What came by."""

        def run(self, x):
            seen.append(x.tobytes())
            return super().run(x)

    seen = []
    caught(chain(nn.Dropout(0.5, rng=3), Seen(), SquareRoot()), r"layer '4', SquareRoot\(\)", "4", "backward")
    assert len(seen) == 2 and seen[0] == seen[1]


def test_finite_numbers_whose_sum_is_not_are_let_through():
    linear = nn.Linear(25, 3, rng=0)
    trained = train.Trainer(nn.Sequential(nn.Flatten(), linear), optim.SGD(linear.parameters(), 0.0))
    trained.loss = lambda scores, labels: Loss(1.0, np.full_like(scores, 3e37))
    x, y = samples(8)
    trained.fit(np.ones_like(x), y, epochs=1, progress=False)
    with np.errstate(over="ignore"):
        assert np.isinf(linear.weight.grad.sum())  # of 75 numbers of 2.4e38
    assert trained.step == 1


def test_without_the_guard_it_goes_on_into_nan():
    trained = chain(SquareRoot())
    trained.guard = False
    with np.errstate(all="ignore"):
        fit(trained, 1)
    assert trained.step == 6 and np.isnan(trained.model[1].weight.data).any()


def test_a_bad_sample_is_named_by_its_place_in_the_set():
    """Batches are shuffled: the place in one of them says nothing."""
    (x, y), model = samples(40), nn.Sequential(nn.Flatten(), nn.Linear(25, 3, rng=0))
    bad = x.copy()
    bad[23, 0, 1, 2] = np.nan
    labels = np.where(np.arange(40) == 31, 7, y)
    for images, classes, error, place in (
        (bad, y, train.NonFiniteError, 23),
        (x, labels, ValueError, 31),
    ):
        for shuffle in (True, False):
            trained = train.Trainer(model, optim.SGD(model.parameters(), 0.1), rng=0)
            with pytest.raises(error, match=r"at \((\d)") as caught:
                trained.fit(images, classes, epochs=1, batch_size=8, shuffle=shuffle, progress=False)
            (note,) = caught.value.__notes__
            assert note.startswith(f"that is sample {place} of x and y, number {caught.value.sample} of the batch")
            assert shuffle or caught.value.sample == place % 8
