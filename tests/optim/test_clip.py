"""Clipping of gradients: by hand."""

import math

import numpy as np
import pytest

from convkit import nn, optim


def with_grads(*grads):
    parameters = [nn.Parameter(np.zeros(np.shape(grad))) for grad in grads]
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = np.array(grad, float)
    return parameters


def test_one_norm_of_all_of_them():
    a, b, none = *with_grads([3.0], [[0.0, -4.0]]), nn.Parameter(np.zeros(2))
    grad = a.grad
    assert optim.clip_grad_norm([a, b, none], 2.5) == pytest.approx(5, rel=1e-15)
    assert a.grad is grad and none.grad is None
    np.testing.assert_allclose(a.grad, [1.5], rtol=1e-6)
    np.testing.assert_allclose(b.grad, [[0, -2]], rtol=1e-6)


@pytest.mark.parametrize(("norm_type", "norm"), [(1, 7), (2, 5), (math.inf, 4)])
def test_other_norms(norm_type, norm):
    assert optim.clip_grad_norm(with_grads([3.0], [0.0, -4.0]), 1, norm_type=norm_type) == pytest.approx(norm)


def test_small_gradients_keep_their_bits():
    (a,) = with_grads([0.1, 0.2])
    optim.clip_grad_norm([a], 1.0)
    optim.clip_grad_norm([a], math.inf)
    np.testing.assert_array_equal(a.grad, [0.1, 0.2])


def test_a_norm_of_several_pieces():
    a = nn.Parameter(np.zeros((3, 100_000), np.float32))
    a.grad = np.asfortranarray(np.full(a.shape, 2, np.float32))
    assert optim.clip_grad_norm([a], math.inf) == pytest.approx(2 * math.sqrt(300_000), rel=1e-14)


def test_float32_does_not_overflow():
    a = nn.Parameter(np.zeros(2, np.float32))
    a.grad = np.array([3e30, 4e30], np.float32)
    assert optim.clip_grad_norm([a], 1.0) == pytest.approx(5e30, rel=1e-6)
    np.testing.assert_allclose(a.grad, [0.6, 0.8], rtol=1e-6)


def test_a_norm_that_is_not_finite():
    (a,) = with_grads([np.inf, 1])
    with pytest.raises(FloatingPointError, match="the gradients' norm is inf"):
        optim.clip_grad_norm([a], 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(a.grad, [np.inf, 1])
    for norm_type in (1, 2, math.inf):
        a, b = with_grads([1.0], [np.nan, 1])
        assert math.isnan(optim.clip_grad_norm([a, b], 1.0, norm_type=norm_type))
        assert np.isnan(a.grad).all() and np.isnan(b.grad).all()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("norm_type", [1, 2, math.inf])
def test_infinity_only_measures(bad, norm_type):
    a, b = with_grads([bad, 1.0], [2.0])
    norm = optim.clip_grad_norm([a, b], math.inf, norm_type=norm_type)
    assert norm == math.inf or np.isnan([norm, bad]).all()
    np.testing.assert_array_equal(a.grad, [bad, 1])
    np.testing.assert_array_equal(b.grad, [2])


def test_an_infinite_gradient_leaves_zeros_and_nan():
    a, b = with_grads([np.inf, 1.0], [2.0])
    assert optim.clip_grad_norm([a, b], 1.0) == math.inf
    np.testing.assert_array_equal(a.grad, [np.nan, 0])
    np.testing.assert_array_equal(b.grad, [0])


# Times 3 and 4, whose norms are 7, 5, 91^(1/3) and 4 of these.
NORMS = {1: 7, 2: 5, 3: 91 ** (1 / 3), math.inf: 4}


@pytest.mark.parametrize("norm_type", NORMS)
@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float64", 1e200), ("float64", 3e307), ("float64", 1e-200), ("float64", 1e-320), ("float32", 8e37)],
)
@pytest.mark.parametrize("share", [2.0**-10, 2.0**-140])
def test_powers_neither_overflow_nor_vanish(dtype, size, norm_type, share):
    """Gradients near both ends of the range; a factor too small for the dtype is taken in two steps."""
    a = nn.Parameter(np.zeros(2, dtype))
    a.grad = np.array([3, 4], dtype) * np.dtype(dtype).type(size)
    unit = float(a.grad[1]) / 4
    assert optim.clip_grad_norm([a], math.inf, norm_type=norm_type) == pytest.approx(
        NORMS[norm_type] * unit, rel=3e-5, abs=0
    )
    limit = unit * share
    optim.clip_grad_norm([a], limit, norm_type=norm_type)
    expected = np.array([3.0, 4.0]) / NORMS[norm_type] * min(limit, limit * NORMS[norm_type] * unit / 1e-6)
    np.testing.assert_allclose(a.grad, expected.astype(dtype), rtol=1e-5 if size > 1e-300 else 1e-3)


def test_a_norm_past_the_range_is_clipped_all_the_same():
    a, b = with_grads([1.5e308, -1.5e308], [0.0])
    assert optim.clip_grad_norm([a, b], 2.0) == math.inf
    np.testing.assert_allclose(a.grad, np.array([1, -1]) * 2**0.5, rtol=1e-12)
    (a,) = with_grads([1e308, 1e308])  # whose powers can be added up, and whose sum has no square
    assert optim.clip_grad_norm([a], 2.0, norm_type=0.5) == math.inf
    np.testing.assert_allclose(a.grad, 0.5, rtol=1e-12)
    (a,) = with_grads([1.5e308, -1.5e308])
    with pytest.raises(FloatingPointError, match="the gradients' norm is inf"):
        optim.clip_grad_norm([a], 2.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(a.grad, [1.5e308, -1.5e308])


def test_a_root_past_the_range_is_infinite():
    (a,) = with_grads([1.0] * 1000)
    assert optim.clip_grad_norm([a], 1.0, norm_type=0.005) == math.inf
    np.testing.assert_array_equal(a.grad, 0)


def test_what_the_next_step_will_not_use_is_passed_over():
    a, frozen, none = *with_grads([3.0], [100.0]), nn.Parameter(np.zeros(2))
    frozen.trainable = False
    assert optim.clip_grad_norm([a, frozen, none], 1.5) == 3
    optim.clip_grad_value([a, frozen], 1.0)
    assert a.grad == [1] and frozen.grad == [100]
    assert optim.clip_grad_norm([frozen, none], 1.0) == 0
    empty = nn.Parameter(np.zeros((0, 2)))
    empty.grad = np.zeros((0, 2))
    assert [optim.clip_grad_norm([empty], 1.0, norm_type=p) for p in (1, 2, math.inf)] == [0, 0, 0]


def test_gradients_of_several_dtypes_and_one_of_two_parameters():
    a, b, c = with_grads([3.0], [4.0], [0.0])
    a.grad, b.grad, c.grad = np.array([1.5], np.float32), np.array([2.0], np.float16), np.zeros(1)
    assert optim.clip_grad_norm([a, b, c], 1.25) == 2.5
    np.testing.assert_allclose([a.grad[0], b.grad[0]], [0.75, 1], rtol=1e-6)
    a, b = with_grads([4.0], [0.0])
    b.grad = a.grad
    assert optim.clip_grad_norm([a, b], 2.0, norm_type=1) == 8
    np.testing.assert_allclose(a.grad, [1], rtol=1e-6)  # not scaled twice


def test_by_value():
    a, b = with_grads([-3.0, 0.5, np.nan, -np.inf], [[7.0]])
    optim.clip_grad_value([a, b], 1.0)
    np.testing.assert_array_equal(a.grad, [-1, 0.5, np.nan, -1])
    np.testing.assert_array_equal(b.grad, [[1]])
    b.grad = np.array([[np.inf]], np.float32)
    optim.clip_grad_value([b], 1e300)
    assert b.grad == np.finfo(np.float32).max


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: optim.clip_grad_norm(p, -1), ValueError, "max_norm must be a number"),
        (lambda p: optim.clip_grad_norm(p, True), TypeError, "max_norm must be a number"),
        (lambda p: optim.clip_grad_norm(p, math.nan), ValueError, "max_norm must be a number"),
        (lambda p: optim.clip_grad_norm(p, 1, norm_type=0), ValueError, "norm_type must be a number above 0, got 0"),
        (lambda p: optim.clip_grad_norm(p, 1, norm_type=math.nan), ValueError, "norm_type must be a number"),
        (lambda p: optim.clip_grad_norm(p, 1, norm_type="inf"), TypeError, "norm_type must be a number .* of type str"),
        (lambda p: optim.clip_grad_value(p, -1), ValueError, "clip_value must be a number"),
        (lambda _: optim.clip_grad_norm([], 1), ValueError, "parameters must be at least one"),
    ],
)
def test_bad_input(call, error, message):
    (a,) = with_grads([5.0])
    with pytest.raises(error, match=message):
        call([a])
    np.testing.assert_array_equal(a.grad, [5.0])


@pytest.mark.parametrize("clip", [optim.clip_grad_norm, optim.clip_grad_value])
def test_gradients_that_cannot_be_scaled_are_refused_before_any_is(clip):
    a, b = with_grads([5.0], [5.0])
    for bad, error in (
        (np.array([5]), "an ndarray of int64"),
        (np.array([5j]), "an ndarray of complex128"),
        ([5.0], "list"),
    ):
        b.grad = bad
        with pytest.raises(TypeError, match=f"grad must be an ndarray of floats, got {error}"):
            clip([a, b], 1.0)
    b.grad = np.broadcast_to(np.float64(5), (1,))
    with pytest.raises(ValueError, match="grad must be writable, got a read-only array"):
        clip([a, b], 1.0)
    assert a.grad == [5]
