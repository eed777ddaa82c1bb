"""linear and linear_backward: the reference's bound, exact integers, equal bits, any leading axes and strides."""

import numpy as np
import pytest

import convkit
from bounds import assert_within_bound
from cases import ACTIVATIONS, DTYPES, GRADIENTS, pairs
from views import FORMS, VIEWS, misaligned, with_canaries

# (leading axes, in, out)
SHAPES = (
    ((), 5, 7),
    ((1,), 1, 1),
    ((6,), 64, 10),
    ((33,), 19, 29),
    ((2, 3), 153, 65),
    ((2, 1, 4), 700, 17),
    ((2, 3, 1, 2, 2, 2), 9, 8),
    ((5,), 1500, 33),
    ((1000,), 3, 2),
)
EMPTY = (((0,), 5, 7), ((4, 0, 2), 5, 7), ((3,), 0, 4), ((3,), 4, 0), ((0,), 0, 0))


def operands(lead, features, outputs, dtype, draw=None):
    """x, weight, bias, grad."""
    draw = draw or np.random.default_rng(features).standard_normal
    shapes = ((*lead, features), (outputs, features), (outputs,), (*lead, outputs))
    return tuple(draw(shape).astype(dtype) for shape in shapes)


def everything(x, weight, bias, grad, **options):
    y = convkit.linear(x, weight, bias, **options)
    back = {"activation": options["activation"], "y": y} if options.get("activation") else {}
    return {"y": y} | convkit.linear_backward(grad, x, weight, **back)._asdict()


@pairs("shape, activation", SHAPES + EMPTY, (None, *ACTIVATIONS))
def test_against_the_reference(shape, activation, any_isa):
    reference = convkit.reference
    for dtype in DTYPES:
        x, weight, bias, grad = operands(*shape, dtype)
        expected_y = reference.linear(x, weight, bias, activation=activation)
        bound_y = reference.bound("linear", x, weight, bias, activation=activation)
        for isa in convkit.available_isas():
            convkit.set_isa(isa)
            got = everything(x, weight, bias, grad, activation=activation)
            options = {"activation": activation, "y": got["y"]}
            expected = reference.linear_backward(grad, x, weight, **options)._asdict() | {"y": expected_y}
            bounds = reference.bound("linear_backward", grad, x, weight, **options)._asdict() | {"y": bound_y}
            for name, array in got.items():
                assert array.dtype == dtype
                assert_within_bound(array, expected[name], bounds[name], f"{name}, {dtype}, {isa}")
            if activation is None:
                plain = convkit.linear(x, weight)
                assert_within_bound(plain, reference.linear(x, weight), reference.bound("linear", x, weight))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_integers_are_exact_and_gradients_adjoint(shape, dtype, isa):
    rng = np.random.default_rng(1)
    x, weight, bias, grad = operands(*shape, dtype, lambda size: np.asarray(rng.integers(-4, 5, size)))
    got = everything(x, weight, bias, grad)
    assert np.array_equal(got["y"], x @ weight.T + bias)

    def inner(a, b):
        return float(np.sum(a.astype(np.float64) * b))

    linear = inner(got["y"] - bias, grad)
    assert linear == inner(x, got["x"])
    assert linear == inner(weight, got["weight"])
    assert inner(np.broadcast_to(bias, grad.shape), grad) == inner(bias, got["bias"])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equal_bits(shape, isa):
    """From any view, on any number of threads, and for a row whatever the other rows are."""
    arrays = operands(*shape, "float32")
    expected = everything(*arrays)
    for view in VIEWS:
        got = everything(*map(view, arrays))
        assert all(got[name].tobytes() == expected[name].tobytes() for name in expected), view.__name__
    for count in (1, 2, 3, 5, 8):
        with convkit.threads(count):
            got = everything(*arrays)
            assert all(got[name].tobytes() == expected[name].tobytes() for name in expected), count
    x, weight, bias, grad = arrays
    alone = everything(x[..., :1, :], weight, bias, grad[..., :1, :]) if x.ndim > 1 else expected
    for name in ("y", "x"):
        row = expected[name][..., :1, :] if x.ndim > 1 else expected[name]
        assert alone[name].tobytes() == row.tobytes(), name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_out(shape, form, isa):
    x, weight, bias, _ = operands(*shape, "float32")
    expected = convkit.linear(x, weight, bias)
    view, check = with_canaries(expected.shape, "float32", form)
    assert convkit.linear(x, weight, bias, out=view) is view
    assert view.tobytes() == expected.tobytes()
    check()
    askew = misaligned(np.zeros_like(expected))
    assert convkit.linear(x, weight, bias, out=askew).tobytes() == expected.tobytes()


def test_only_what_is_needed():
    x, weight, _, grad = operands((4, 3), 6, 5, "float64")
    expected = convkit.linear_backward(grad, x, weight)
    for need in GRADIENTS:
        got = convkit.linear_backward(grad, x, weight, need=need)._asdict()
        assert {name for name in got if got[name] is not None} == {need}
        assert got[need].tobytes() == expected._asdict()[need].tobytes()
    assert np.array_equal(convkit.linear_backward(grad, x.shape, weight, need="x").x, expected.x)
    assert np.array_equal(convkit.linear_backward(grad, x, weight.shape, need="weight").weight, expected.weight)


def test_nan_and_inf_reach_their_rows_only(isa):
    x, weight, bias, grad = operands((5,), 9, 20, "float32")
    x[2, 4], weight[7, 1] = np.nan, np.inf
    y = convkit.linear(x, weight, bias)
    touched = np.zeros((5, 20), bool)
    touched[2, :], touched[:, 7] = True, True
    assert np.array_equal(~np.isfinite(y), touched)
    grads = convkit.linear_backward(grad, x, weight)
    assert np.array_equal(~np.isfinite(grads.x), np.broadcast_to(np.arange(9) == 1, (5, 9)))
    assert np.array_equal(~np.isfinite(grads.weight), np.broadcast_to(np.arange(9) == 4, (20, 9)))
