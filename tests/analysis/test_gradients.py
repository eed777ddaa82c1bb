"""The checker itself: it finds what is wrong, and touches nothing."""

import numpy as np
import pytest

from convkit import nn
from convkit.analysis import check_gradients


class Wrong(nn.Module):
    """y = w * x with a backward that is off in one element of one gradient."""

    def __init__(self, where, by):
        self.weight, self.where, self.by = nn.Parameter(np.full(4, 2.0)), where, by

    def run(self, x):
        def back(grad, need_input):
            dx, dw = grad * self.weight.data, grad * x
            {"input": dx, "weight": dw}[self.where][2] += self.by
            self.weight.accumulate(dw)
            return dx

        return x * self.weight.data, back


X = np.array([0.5, 1.0, 1.5, 2.0])


@pytest.mark.parametrize("where", ["input", "weight"])
@pytest.mark.parametrize("by", [1e-3, -1.0, float("nan")])
def test_one_wrong_element_is_found_and_named(where, by):
    report = check_gradients(Wrong(where, by), X, raise_error=False)
    assert not report.ok
    (bad,) = [entry for entry in report.entries if not entry.error <= report.rtol]
    assert bad.name == where and bad.index == (2,)
    with pytest.raises(AssertionError, match=rf"(?s)wrong by more than rtol 1e-05.*{where} .*at \(2,\)  <-- wrong"):
        check_gradients(Wrong(where, by), X)


def test_errors_are_shares_of_the_difference_and_of_a_floor():
    """As rtol * |numeric| + atol has it: a gradient of 3.5 for 3, and one of 1e-8 where the difference is 0."""
    allowed = {"rtol": 1e-2, "atol": 1e-4, "raise_error": False}
    report = check_gradients(lambda x: (3 * x, np.array([3, 3, 3.5, 3])), X, **allowed)
    assert report.error == pytest.approx(0.5 / (3 + 1e-2)) and report.entries[0].index == (2,)
    report = check_gradients(lambda x: (0 * x, np.full(4, 1e-8)), X, **allowed)
    assert report.ok and report.error == pytest.approx(1e-8 / 1e-2)


def test_what_is_right_passes_far_within_the_tolerance():
    report = check_gradients(Wrong("input", 0.0), X)
    assert report.ok and report.error < 1e-7
    assert [(entry.name, entry.checked) for entry in report.entries] == [("input", 4), ("weight", 4)]
    assert "wrong" not in str(report).replace("worst", "").splitlines()[1]


def test_a_wrong_shape_is_an_error():
    with pytest.raises(AssertionError, match=r"gradient of input must have shape \(4,\), got \(1,\)"):
        check_gradients(lambda x: (x.sum(), np.ones(1)), X)


def test_the_module_and_the_input_stay_as_they_are():
    layer, x = nn.Conv2d(1, 2, 3, rng=0), np.random.default_rng(0).standard_normal((1, 1, 4, 4)).astype(np.float32)
    layer.backward(np.ones_like(layer(x)))
    grad, weight, before = (
        layer.weight.grad,
        layer.weight.data,
        (layer.weight.grad.copy(), layer.weight.data.copy(), x.copy()),
    )
    check_gradients(layer, x)
    assert layer.weight.grad is grad and layer.weight.data is weight and weight.dtype == np.float32
    for now, then in zip((grad, weight, x), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_dropout_drops_the_same_at_every_evaluation():
    shared = np.random.default_rng(0)
    model = nn.Sequential(nn.Dropout(rng=shared), nn.Linear(3, 2, rng=0), nn.Dropout(0.2, rng=shared))
    place = shared.bit_generator.state
    assert check_gradients(model, np.ones((4, 3))).ok and shared.bit_generator.state == place


def test_a_frozen_parameter_is_not_looked_at():
    layer = nn.Linear(3, 2, rng=0)
    layer.bias.trainable = False
    assert [entry.name for entry in check_gradients(layer, np.ones((2, 3))).entries] == ["input", "weight"]


def test_a_sample_of_the_elements():
    report = check_gradients(nn.Linear(30, 20, rng=0), np.ones((2, 30)), max_elements=25)
    assert [entry.checked for entry in report.entries] == [25, 25, 20]


def test_a_function_with_more_arguments():
    assert check_gradients(lambda x, power: (x**power, power * x ** (power - 1)), X, 3).ok
    assert not check_gradients(lambda x, power: (x**power, x ** (power - 1)), X, 3, raise_error=False).ok


def test_nothing_to_check():
    report = check_gradients(nn.Linear(3, 2, bias=False, rng=0), np.ones((0, 3)))
    assert report.ok and report.entries[0].checked == 0
