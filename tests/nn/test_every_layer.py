"""What every layer does alike: right gradients, one dtype, empty batches, arrays left alone, and clear refusals."""

import copy

import numpy as np
import pytest

from cases import in_turns
from convkit import nn
from convkit.analysis import check_gradients
from nn_cases import ALONE, TWINS, first, with_numbers

CASES = TWINS + ALONE


def every_case(turn):
    """Layers of one and three axes are those of two by another number: thorough."""
    return in_turns("case", CASES, turn, lambda case: not case.name.endswith(("1d", "3d", "plain")))


def ready(case, dtype="float64", shape=None):
    """The layer, its input, and what else it takes."""
    rng = np.random.default_rng(3)
    layer = with_numbers(case.build(nn), rng, dtype).train(case.training)
    x = rng.standard_normal(case.shape if shape is None else shape).astype(dtype)
    more = [array if array.dtype == np.int64 else array.astype(dtype) for array in case.more(rng)]
    return layer, x, [array[: len(x)] for array in more]


@every_case(0)
def test_gradients_are_those_of_central_differences(case):
    layer, x, more = ready(case)
    report = check_gradients(layer, x, *more, rtol=1e-5, max_elements=40)
    assert all(entry.checked == min(np.prod(entry.shape), 40) for entry in report.entries)


@every_case(1)
def test_results_keep_the_dtype_and_operands_their_values(case):
    for dtype in ("float32", "float64"):
        check_results(case, dtype)


def check_results(case, dtype):
    layer, x, more = ready(case, dtype)
    weights = [parameter.data.copy() for parameter in layer.parameters()]
    y = layer(x, *more)
    grad = np.random.default_rng(4).standard_normal(y.shape).astype(dtype)
    given = x.copy(), grad.copy()
    dx = first(layer.backward(grad))
    assert {a.dtype for a in (y, dx, *(p.grad for p in layer.parameters()))} == {np.dtype(dtype)}
    assert dx.shape == x.shape
    np.testing.assert_array_equal(x, given[0])
    np.testing.assert_array_equal(grad, given[1])
    for parameter, weight in zip(layer.parameters(), weights, strict=True):
        np.testing.assert_array_equal(parameter.data, weight)


@every_case(2)
def test_without_the_inputs_gradient_the_others_are_the_same(case):
    layer, x, more = ready(case)
    other = copy.deepcopy(layer)
    y = layer(x, *more)
    layer.backward(np.ones_like(y))
    other(x, *more)
    assert other.backward(np.ones_like(y), need_input=False) is None
    for one, two in zip(layer.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(one.grad, two.grad)


@every_case(3)
def test_an_empty_batch(case):
    layer, x, more = ready(case, shape=(0, *case.shape[1:]))
    state = {name: array.copy() for name, array in layer.state_dict().items()}
    y = layer(x, *more)
    assert len(y) == 0
    assert first(layer.backward(np.ones_like(y))).shape == x.shape
    assert not any(parameter.grad.any() for parameter in layer.parameters())
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


@every_case(4)
def test_backward_wants_a_forward_and_a_gradient_that_fits(case):
    layer, x, more = ready(case)
    with pytest.raises(RuntimeError, match=f"{type(layer).__name__}.backward: .* call it on a batch first"):
        layer.backward(x)
    y = layer(x, *more)
    with pytest.raises(ValueError, match="grad must have the output's shape .* got .* in "):
        layer.backward(np.ones((*y.shape, 1)))
    layer.backward(np.ones_like(y))  # the refusal has cost nothing
    with pytest.raises(RuntimeError, match="once for each backward"):
        layer.backward(np.ones_like(y))


@every_case(5)
def test_two_calls_are_gone_back_through_in_either_order(case):
    layer, x, more = ready(case)

    def taken(order):
        one = copy.deepcopy(layer)
        calls = [one.begin(batch, *more) for batch in (x, 1.5 * x[::-1])]
        found = {i: first(calls[i][1](np.cos(calls[i][0]))) for i in order}
        return [found[0], found[1], *(parameter.grad for parameter in one.parameters())]

    for one, two in zip(taken((0, 1)), taken((1, 0)), strict=True):
        np.testing.assert_array_equal(one, two)
    y, back = layer.begin(x, *more)
    np.testing.assert_array_equal(first(back(np.cos(y))), taken((1, 0))[0])


@every_case(6)
def test_predict_evaluates_touches_nothing_and_leaves_a_backward_due(case):
    layer, x, more = ready(case)
    y = layer(x, *more)
    state = copy.deepcopy(layer.state_dict())
    expected = copy.deepcopy(layer).eval()(x, *more)
    np.testing.assert_array_equal(layer.predict(x, *more), expected)
    np.testing.assert_equal(layer.state_dict(), state)
    with nn.inference():
        assert layer(x, *more).shape == expected.shape
        with pytest.raises(RuntimeError, match="inference"):
            layer.begin(x, *more)[1](expected)
    assert layer.training == case.training
    assert first(layer.backward(np.ones_like(y))).shape == x.shape


@every_case(7)
def test_a_layer_knows_its_output_shape_without_an_array(case, monkeypatch):
    layer, x, more = ready(case)
    shape = layer(x, *more).shape
    monkeypatch.setattr(nn.Module, "predict", lambda *args: pytest.fail("it was run"))
    assert layer.output_shape(x.shape) == shape


@every_case(8)
def test_a_state_goes_through_a_dict(case):
    layer, x, more = ready(case)
    fresh = with_numbers(case.build(nn), np.random.default_rng(9)).train(case.training)
    assert fresh.load_state_dict(layer.state_dict()) == ([], [])
    np.testing.assert_array_equal(fresh(x, *more), layer(x, *more))


@every_case(9)
def test_backward_belongs_to_the_forward_that_was_run_whatever_the_mode_is_now(case):
    layer, x, more = ready(case)
    other = copy.deepcopy(layer)
    y = layer(x, *more)
    expected = first(layer.backward(np.ones_like(y)))
    other(x, *more)
    other.train(not case.training)
    np.testing.assert_array_equal(first(other.backward(np.ones_like(y))), expected)


def test_a_layer_shows_what_it_is():
    shown = [repr(case.build(nn)) for case in CASES]
    assert all(text.startswith(type(case.build(nn)).__name__ + "(") for text, case in zip(shown, CASES, strict=True))
    assert repr(nn.DeformConv2d(4, 6, 3, modulated=False)) == (
        "DeformConv2d(\n  4, 6, kernel_size=(3, 3)\n  (conv_offset): Conv2d(4, 18, kernel_size=(3, 3))\n)"
    )
    assert repr(nn.BatchNorm2d(3, momentum=None, affine=False)) == "BatchNorm2d(3, momentum=None, affine=False)"
    assert repr(nn.MaxPool2d(3, stride=2, padding=1)) == "MaxPool2d(kernel_size=3, stride=2, padding=1)"


def test_all_of_nn_is_among_the_cases():
    built = {type(module).__name__ for case in CASES for module in case.build(nn).modules()}
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    assert layers - built <= {
        "Buffer",
        "ByElement",
        "Each",
        "IncompatibleKeys",
        "Module",
        "Parameter",
        "Sequential",
        "Window",
    }
