"""Lengths: of signals where blocks differ by one output, so that buffers must fit the larger plane; and of nothing."""

import numpy as np
import pytest

import convkit

KERNEL = np.array([[[1.0, -2.0, 3.0]], [[0.5, 0.0, -1.0]]])


@pytest.mark.thorough
@pytest.mark.parametrize("algorithm", ["implicit_gemm", "im2col"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_length(isa, dtype, algorithm):
    """Small integers and halves: exact, whatever the order of the sums."""
    rng = np.random.default_rng(0)
    weight = np.repeat(KERNEL, 40, axis=1).astype(dtype)
    signal = rng.integers(-4, 5, (1, 40, 1030)).astype(dtype)
    for length in [*range(1, 20), *range(120, 136), *range(250, 262), *range(508, 518), *range(1020, 1030)]:
        x = signal[..., :length]
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=2)  # (1, C, L, k)
        y = convkit.conv1d(x, weight, padding=1, algorithm=algorithm)
        assert np.array_equal(y, np.einsum("nclk,ock->nol", windows, weight)), length
        cols = convkit.im2col(x, (3,), padding=1)
        assert np.array_equal(cols, windows.transpose(0, 1, 3, 2).reshape(1, 120, length)), length
        grads = convkit.conv1d_backward(y, x, weight, padding=1, algorithm=algorithm)
        assert np.array_equal(grads.weight, np.einsum("nclk,nol->ock", windows, y)), length


def test_nothing_to_write_takes_no_time():
    """A million million images without output channels: virtual, and done at once."""
    images = np.broadcast_to(np.float32(1), (2**40, 1, 1, 1))
    assert convkit.conv2d(images, np.ones((0, 1, 1, 1), np.float32)).shape == (2**40, 0, 1, 1)
    assert convkit.col2im(np.ones((2**40, 0, 9), np.float32), (5, 5), 3).shape == (2**40, 0, 5, 5)
    grads = convkit.conv2d_backward(
        np.ones((2**40, 0, 1, 1), np.float32), images, np.ones((0, 1, 1, 1), np.float32), need=("weight", "bias")
    )
    assert grads.weight.shape == (0, 1, 1, 1)
    assert grads.bias.shape == (0,)
