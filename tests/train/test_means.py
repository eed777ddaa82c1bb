"""What a set measures is what it would measure as one batch, however it is cut; and which metrics a loss has."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest

from convkit import nn, optim, train
from convkit.nn import losses
from convkit.nn.losses import Loss, NothingCountsError, softmax_cross_entropy

N = 41
WEIGHTS = np.array([0.2, 1.0, 5.0])
NO_WEIGHT = np.array([0.0, 1.0, 5.0])  # class 0 counts nothing, and with smoothing costs something


def samples():
    """Six numbers and one of three classes each; the first ten samples are to be ignored, and some others."""
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((N, 6)), rng.integers(0, 3, N)
    return x, np.where((np.arange(N) < 10) | (rng.random(N) < 0.3), -100, y)


def pixels():
    """The same with 2x3 pixels a sample, and borders to be ignored that have the number of a class."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, (N, 2, 3)).astype(np.uint8)
    y[:10] = y[::3, 0] = 2
    return rng.standard_normal((N, 3, 2, 3)), y


def only(classes):
    """The samples, none of which is to be ignored."""
    x, y = samples()
    return x, np.where(y < 0, 0, y) % classes


def masked_squares(scores, labels):
    """A loss of one's own, which says what it has divided by."""
    mask = (labels > 0)[:, np.newaxis] & (scores > -1)
    count = mask.sum()
    return Loss((scores**2)[mask].mean() if count else np.nan, 2 * scores * mask / max(count, 1), count)


def unweighed(scores, labels):
    """A loss that does not say: it counts as much as its batch is long."""
    each = (scores**2).sum(axis=1)
    return Loss(each.mean(), 2 * scores / len(scores))


CASES = {
    "mean": (softmax_cross_entropy, only(3)),
    "sum": (partial(softmax_cross_entropy, reduction="sum"), only(3)),
    "weights": (partial(softmax_cross_entropy, class_weights=WEIGHTS), only(3)),
    "weights_sum": (partial(softmax_cross_entropy, class_weights=WEIGHTS, reduction="sum"), only(3)),
    "no_weight": (partial(softmax_cross_entropy, class_weights=NO_WEIGHT, label_smoothing=0.2), only(3)),
    "ignored": (partial(softmax_cross_entropy, ignore_index=-100), samples()),
    "ignored_all": (
        partial(softmax_cross_entropy, ignore_index=-100, class_weights=WEIGHTS, label_smoothing=0.2),
        samples(),
    ),
    "pixels": (partial(softmax_cross_entropy, ignore_index=2), pixels()),
    "likelihood": (partial(losses.negative_log_likelihood, ignore_index=-100, class_weights=WEIGHTS), samples()),
    "hinge": (losses.multiclass_hinge, only(3)),
    "numbers": (losses.huber, (samples()[0], samples()[0][:, :3])),
    "masked": (masked_squares, only(3)),
    "unweighed": (unweighed, only(3)),
}


def build(loss, x, **options):
    """A trainer that learns nothing, in float64."""
    if x.ndim == 4:
        model = nn.Sequential(nn.Conv2d(3, 3, 1, rng=0, dtype="float64"))
    else:
        model = nn.Sequential(nn.Linear(6, 3, rng=0, dtype="float64"))
    return train.Trainer(model, optim.SGD(model.parameters(), 0.0), loss, rng=0, **options)


ALIKE = ("weights_sum", "ignored_all", "likelihood", "numbers", "unweighed")  # to others, with another loss


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.thorough if name in ALIKE else ()) for name in CASES]
)
def test_a_set_measures_the_same_in_batches_of_any_size(name):
    loss, (x, y) = CASES[name]
    whole = loss(build(loss, x).model(x), y).value
    for batch_size in (1, 7):
        trained = build(loss, x)
        assert trained.evaluate(x, y, batch_size=batch_size)["loss"] == pytest.approx(whole, rel=1e-12), batch_size
        history = trained.fit(x, y, epochs=1, batch_size=batch_size, validation=(x, y), progress=False)
        for figure in ("loss", "val_loss"):
            assert history[figure] == [pytest.approx(whole, rel=1e-12)], (figure, batch_size)


def test_metrics_count_what_they_say_they_count():
    loss, (x, y) = CASES["ignored"]
    metrics = {
        "top2": partial(train.top_k, k=2, ignore_index=-100),
        "error": lambda scores, labels: losses.zero_one(scores[labels >= 0], labels[labels >= 0]),
        "right": lambda scores, labels: (
            (scores.argmax(axis=1) == labels).sum() / max((labels >= 0).sum(), 1),
            (labels >= 0).sum(),
        ),
        "length": lambda scores, labels: len(scores),
        "never": lambda scores, labels: (np.nan, 0),
    }
    plain, named = build(loss, x), build(loss, x, metrics=metrics)
    scores, known = plain.model(x), y >= 0
    share = (scores.argmax(axis=1) == y)[known].mean()
    for batch_size in (1, 7, N):
        assert plain.evaluate(x, y, batch_size=batch_size)["accuracy"] == pytest.approx(share, rel=1e-12)
        got = named.evaluate(x, y, batch_size=batch_size)
        assert got["top2"] == pytest.approx(train.top_k(scores[known], y[known], 2), rel=1e-12)
        assert got["right"] == pytest.approx(share, rel=1e-12) and got["error"] == pytest.approx(1 - share, rel=1e-12)
        lengths = [min(batch_size, N - begin) for begin in range(0, N, batch_size)]
        assert got["length"] == pytest.approx(np.dot(lengths, lengths) / N)
        assert np.isnan(got["never"])


def test_what_the_loss_ignores_does_not_count_in_the_default_accuracy():
    loss, (x, y) = CASES["pixels"]
    trained = build(loss, x)
    right = trained.model(x).argmax(axis=1) == y
    assert trained.evaluate(x, y)["accuracy"] == pytest.approx(right[y != 2].mean(), rel=1e-12)
    trained.loss = lambda scores, labels: loss(scores, labels)  # which of the classes it ignores nobody knows
    assert trained.evaluate(x, y)["accuracy"] == pytest.approx(right.mean(), rel=1e-12)
    y = np.where(y == 2, 255, y)
    trained.loss = lambda scores, labels: softmax_cross_entropy(scores, labels, ignore_index=255)
    assert trained.evaluate(x, y)["accuracy"] == pytest.approx(right[y != 255].mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (losses.binary_hinge, lambda y: np.where(y > 0, 1, -1)[:, np.newaxis].repeat(3, axis=1)),
        (losses.perceptron, lambda y: np.where(y > 0, 1, -1)[:, np.newaxis].repeat(3, axis=1)),
        (lambda scores, y: losses.l1(scores, np.eye(3)[y[:, 0]]), lambda y: y[:, np.newaxis]),
        (losses.l2, lambda y: np.eye(3)[y]),
    ],
)
def test_where_labels_are_no_classes_there_is_no_accuracy(loss, labels):
    x, y = only(3)
    trained = build(loss, x)
    assert list(trained.evaluate(x, labels(y))) == ["loss"]
    assert list(trained.fit(x, labels(y), epochs=1, progress=False)) == ["epoch", "loss", "lr"]
    assert trained.step == 1


def test_one_score_tells_no_classes_apart():
    def loss(scores, y):
        return losses.binary_cross_entropy_with_logits(scores[:, 0], y * 1.0)

    x, y = only(2)
    model = nn.Linear(6, 1, rng=0, dtype="float64")
    assert list(train.Trainer(model, optim.SGD(model.parameters(), 0.1), loss).evaluate(x, y)) == ["loss"]


def test_a_batch_in_which_nothing_counts_teaches_nothing():
    x, y = samples()
    model = nn.Sequential(nn.Linear(6, 3, rng=0, dtype="float64"))
    loss = partial(softmax_cross_entropy, ignore_index=-100)
    trained = train.Trainer(model, optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=0.1), loss)
    weights = []
    trained.schedule = lambda step: weights.append(model[0].weight.data.copy()) or 0.1
    trained.fit(x[:15], y[:15], epochs=1, batch_size=5, shuffle=False, progress=False)
    np.testing.assert_array_equal(weights[0], weights[2])  # after two batches of the ignored
    assert trained.step == 3 and not np.array_equal(model[0].weight.data, weights[2])
    with pytest.raises(NothingCountsError, match="y must hold at least one label that counts in the loss, got none"):
        trained.evaluate(x[:10], y[:10], batch_size=3)


@pytest.mark.parametrize(
    ("measured", "error", "message"),
    [
        ((1, 2, 3), ValueError, r"own must return a number or \(number, weight\), got 3 values"),
        ((1, -1), ValueError, "own must have a finite weight of at least 0, got -1.0"),
        ((1, np.inf), ValueError, "own must have a finite weight of at least 0, got inf"),
        (np.ones(3), ValueError, r"own must be one number, a mean over the batch, got \(3,\) of them"),
        ("much", ValueError, "could not convert"),
    ],
)
def test_a_metric_that_is_no_number(measured, error, message):
    x, y = only(3)
    trained = build(softmax_cross_entropy, x, metrics={"own": lambda scores, labels: measured})
    with pytest.raises(error, match=message):
        trained.evaluate(x, y)


def test_a_loss_that_is_none():
    x, y = only(3)
    with pytest.raises(TypeError, match=r"loss must return a Loss, got \(1.0, 2\) of type tuple"):
        build(lambda scores, labels: (1.0, 2), x).evaluate(x, y)


def test_weights_survive_the_ways_of_a_process():
    mean = train.accuracy(np.eye(3), np.array([0, 1, -1]), ignore_index=-1)
    loss = softmax_cross_entropy(np.eye(3), np.array([0, 1, -1]), ignore_index=-1)
    for way in (copy.copy, copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))):
        assert (way(mean), way(mean).weight) == (1, 2)
        assert (way(loss).weight, way(loss).reduction, way(loss).value) == (2, "mean", loss.value)
    assert loss._replace(value=3.0).weight == 2 and repr(loss).endswith("weight=2.0, reduction='mean')")
