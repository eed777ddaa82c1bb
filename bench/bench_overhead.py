"""What a call costs before any arithmetic worth the name: 1x1x8x8, 3x3, one thread."""

import numpy as np
import pytest

import convkit

X = np.ones((1, 1, 8, 8), np.float32)
WEIGHT = np.ones((1, 1, 3, 3), np.float32)
GRAD = np.ones((1, 1, 6, 6), np.float32)


@pytest.mark.parametrize("out", (None, np.empty((1, 1, 6, 6), np.float32)), ids=("allocated", "out"))
def test_forward(benchmark, out):
    with convkit.threads(1):
        benchmark(convkit.conv2d, X, WEIGHT, out=out)


def test_backward(benchmark):
    with convkit.threads(1):
        benchmark(convkit.conv2d_backward, GRAD, X, WEIGHT)
