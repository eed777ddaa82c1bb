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


def test_by_value():
    a, b = with_grads([-3.0, 0.5, np.nan], [[7.0]])
    optim.clip_grad_value([a, b], 1.0)
    np.testing.assert_array_equal(a.grad, [-1, 0.5, np.nan])
    np.testing.assert_array_equal(b.grad, [[1]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: optim.clip_grad_norm(p, -1), ValueError, "max_norm must be a number"),
        (lambda p: optim.clip_grad_norm(p, True), TypeError, "max_norm must be a number"),
        (lambda p: optim.clip_grad_norm(p, 1, norm_type=0), ValueError, "norm_type must be above 0, got 0"),
        (lambda p: optim.clip_grad_value(p, -1), ValueError, "clip_value must be a number"),
        (lambda _: optim.clip_grad_norm([], 1), ValueError, "parameters must be at least one"),
    ],
)
def test_bad_input(call, error, message):
    (a,) = with_grads([5.0])
    with pytest.raises(error, match=message):
        call([a])
    np.testing.assert_array_equal(a.grad, [5.0])
