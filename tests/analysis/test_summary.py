"""A model as a table, and how a model is looked at: nothing of it changes."""

import math
import pickle

import numpy as np
import pytest

import missing
import small_training
from convkit import models, nn, optim, train
from convkit.analysis import check_gradients, count_flops, receptive_field, summary


def small():
    return nn.Sequential(
        {
            "stem": nn.Conv2d(1, 2, 3, stride=2, rng=0),
            "norm": nn.BatchNorm2d(2),
            "drop": nn.Dropout(rng=0),
            "flat": nn.Flatten(),
            "head": nn.Linear(18, 3, rng=0),
        }
    )


def test_rows_and_totals():
    model = small()
    model[1].weight.trainable = False
    table = summary(model, (2, 1, 8, 7))
    assert [tuple(row) for row in table.rows] == [
        ("stem", "Conv2d", (2, 2, 3, 3), 20, 2 * 2 * 9 * 18, (3, 3)),
        ("norm", "BatchNorm2d", (2, 2, 3, 3), 4, 0, (3, 3)),
        ("drop", "Dropout", (2, 2, 3, 3), 0, 0, (3, 3)),
        ("flat", "Flatten", (2, 18), 0, 0, None),
        ("head", "Linear", (2, 3), 57, 2 * 2 * 54, None),
    ]
    assert (table.input_shape, table.parameters, table.trainable) == ((2, 1, 8, 7), 81, 79)
    assert table.flops == 2 * 2 * (9 * 18 + 54)
    assert (table.parameter_bytes, table.output_bytes) == (81 * 4, (4 * 36 + 6) * 4)


class Edges(nn.Module):
    """y = weight * (x - its left neighbour), channel by channel: a layer of one's own."""

    def __init__(self, channels):
        self.weight = nn.Parameter(np.ones((1, channels, 1, 1), np.float32))

    def run(self, x):
        steps, weight = x - np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 0)))[..., :-1], self.weight.data

        def back(grad, need_input):
            self.weight.accumulate((grad * steps).sum(axis=(0, 2, 3), keepdims=True))
            return weight * (grad - np.pad(grad, ((0, 0), (0, 0), (0, 0), (0, 1)))[..., 1:])

        return steps * weight, back

    def flops(self, x_shape, y_shape):
        return math.prod(y_shape)

    def windows(self, in_, out):
        return [nn.Window(), nn.Window.moving(2, low=1)]


@pytest.mark.thorough
def test_a_layer_of_ones_own_trains_is_sent_and_is_seen():
    head = (nn.ReLU(), nn.Flatten(), nn.Linear(50, 3, rng=1))
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, rng=0), Edges(2), *head)
    assert check_gradients(model, np.random.default_rng(0).standard_normal((2, 1, 5, 5)), max_elements=9).ok
    trained = train.Trainer(model, optim.SGD(model.parameters(), 0.1, 0.9), rng=0)
    small_training.fit(trained, 12)
    assert trained.evaluate(*small_training.samples())["accuracy"] > 0.9
    assert (model[1].weight.data != 1).all()
    sent, x = pickle.loads(pickle.dumps(model)), small_training.samples()[0]
    np.testing.assert_array_equal(sent.predict(x), model.predict(x))
    shape = (2, 1, 5, 5)
    assert summary(model, shape).rows[1] == ("1", "Edges", (2, 2, 5, 5), 2, 100, (3, 4))
    assert count_flops(model, shape) == 2 * (9 * 100 + 50 * 6) + 100
    assert [tuple(field) for field in receptive_field(model, shape)][1:] == [
        ("1", (3, 4), (1, 1), (-1, -2)), ("2", (3, 4), (1, 1), (-1, -2)),
    ]  # fmt: skip
    assert model.output_shape(shape) == (2, 3)


def test_printed():
    text = str(summary(models.lenet5(rng=0), (1, 1, 32, 32)))
    lines = text.splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "parameters", "FLOPs", "sees"]
    assert lines[2].split() == ["0", "Conv2d", "1x6x28x28", "156", "235,200", "5x5"]
    assert lines[-3] == "input 1x1x32x32; parameters 61,706, of which 61,706 learn"
    assert lines[-2] == "FLOPs of convolutions and matrix products 833,040 (one multiply-add = 2 FLOPs)"
    assert lines[-1] == "memory: parameters 247 kB, outputs 34 kB"
    assert all(len(line.rstrip()) <= len(lines[1]) for line in lines[:10])


def test_in_a_notebook():
    html = summary(small(), (1, 1, 8, 7))._repr_html_()
    assert html.startswith("<table>") and html.count("<tr>") == 6 and "one multiply-add = 2 FLOPs" in html


def test_without_tabulate_only_printing_is_refused(monkeypatch):
    missing.hide(monkeypatch, "tabulate")
    table = summary(small(), (1, 1, 8, 7))
    assert table.parameters == 81
    with pytest.raises(ImportError, match=r"tabulate is not installed; it comes with the extra \[analysis\]"):
        str(table)


@pytest.mark.parametrize("look", [summary, receptive_field])
def test_the_model_stays_as_it_was(look):
    model, x = small(), np.random.default_rng(0).standard_normal((4, 1, 8, 7)).astype(np.float32)
    model.eval()[2].train()
    model[0].bias.trainable = False
    y = model(x)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    look(model, (1, 1, 8, 7))
    assert [layer.training for layer in model] == [False, False, True, False, False]
    assert [p.trainable for p in model.parameters()] == [True, False, True, True, True, True]
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert model.backward(np.ones_like(y), need_input=True).shape == x.shape  # that was still due
    with pytest.raises(RuntimeError, match="call it on a batch first"):
        model.backward(np.ones_like(y))


def test_after_an_error_too():
    model = small()
    with pytest.raises(ValueError, match="x must have") as caught:
        summary(model, (1, 1, 8, 9))
    batch = "input_shape must be that of a batch, (N, C, *spatial), which the model takes: (1, 1, 8, 9)"
    assert caught.value.__notes__ == ["in layer 'head': Linear(18, 3)", batch]
    assert all(module.training for module in model.modules())


def test_a_shape_without_the_batch_is_named():
    """Convolutions take one image, too; what comes of it is refused elsewhere."""
    for model in (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())):
        with pytest.raises(ValueError, match=" ") as caught:
            summary(model, (3, 9, 9))
        assert caught.value.__notes__[-1].endswith("of a batch, (N, C, *spatial), which the model takes: (3, 9, 9)")


def test_float64():
    model = nn.Linear(3, 2, rng=0, dtype="float64")
    assert summary(model, (1, 3)).parameter_bytes == 64
    assert [row.name for row in summary(model, (1, 3)).rows] == [""]


@pytest.mark.parametrize(
    ("model", "shape", "error", "message"),
    [
        (np.ones(3), (1, 3), TypeError, "model must be a Module, got ndarray"),
        (nn.ReLU(), 3, TypeError, "input_shape must be a tuple of ints, got 3 of type int"),
        (nn.ReLU(), (1, -3), ValueError, "input_shape as a shape must have sizes of at least 0"),
    ],
)
def test_refused(model, shape, error, message):
    with pytest.raises(error, match=message):
        summary(model, shape)


@pytest.mark.thorough
def test_a_network_is_seen_node_by_node():
    """What is counted of a model, its network has, too: of nodes, whose constants are their parameters."""
    model, shape = models.resnet18(10, init="zeros").eval(), (2, 3, 64, 64)
    network = model.prepare()
    table, nodes = summary(model, shape), summary(network, shape)
    assert nodes.flops == count_flops(network, shape) == table.flops
    assert nodes.rows[0][:3] == ("conv1", "Conv", (2, 64, 32, 32)) and nodes.rows[0].field == (7, 7)
    assert nodes.trainable == 0 and nodes.parameters == sum(row.parameters for row in nodes.rows) < table.parameters
    fields = {field.name: field for field in receptive_field(network, shape)}
    last = receptive_field(model, shape)[-1]
    assert last.name == "avgpool" and fields["avgpool"] == last
    with pytest.raises(ValueError, match="x must have") as caught:
        summary(network, (1, 4, 64, 64))
    assert caught.value.__notes__[-1].startswith("input_shape must be that of a batch")


def test_the_batch_is_only_looked_at():
    """Of a model that can be traced nothing is run: 100,000 images take neither time nor memory."""
    table = summary(models.lenet5(rng=0), (100_000, 1, 32, 32))
    assert table.rows[0].output_shape == (100_000, 6, 28, 28) and table.flops == 100_000 * 833_040


class Twice(nn.Module):
    """Reads numbers, so that it cannot be traced; the layers inside are."""

    def __init__(self):
        self.conv, self.relu = nn.Conv2d(1, 1, 3, rng=0), nn.ReLU()

    def run(self, x):
        y = self.conv(x)
        return self.relu(y if float(x.copy().sum()) < 1 else -y), None


def test_layers_inside_of_what_cannot_be_traced():
    table = summary(nn.Sequential(Twice(), nn.Flatten()), (1, 1, 5, 5))
    assert [tuple(row) for row in table.rows] == [
        ("0.conv", "Conv2d", (1, 1, 3, 3), 10, 2 * 81, (3, 3)), ("0.relu", "ReLU", (1, 1, 3, 3), 0, 0, (3, 3)),
        ("1", "Flatten", (1, 9), 0, 0, None),
    ]  # fmt: skip
