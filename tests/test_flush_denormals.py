"""flush_denormals: zeros for denormal numbers, on every thread of the caller's calls, and nowhere else."""

import contextvars
import signal
import threading

import numpy as np
import pytest

import convkit
from convkit import nn

X = np.full((4, 16, 40, 40), 2.0**-10, np.float32)  # several tasks
TINY = {"float32": np.float32(2.0**-126), "float64": np.float64(2.0**-1022)}  # normal; products with X are not


def result(dtype="float32"):
    return convkit.conv2d(X.astype(dtype), np.full((16, 16, 3, 3), TINY[dtype]), algorithm="implicit_gemm")


def ordinary(y):
    return (y == y.dtype.type(144 * 2.0**-10) * TINY[y.dtype.name]).all() and y.all()


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_results(isa, dtype):
    """The same threads serve both kinds of call in turn."""
    with convkit.threads(3):
        for _ in range(3):
            assert ordinary(result(dtype))
            with convkit.flush_denormals():
                assert not result(dtype).any()  # stored as zeros
                one, large = np.full((1, 1, 2, 2), TINY[dtype] / 2), np.full((1, 1, 1, 1), 1e30, dtype)
                assert not convkit.conv2d(one, large).any()  # read as zeros
                assert TINY[dtype] * TINY[dtype].dtype.type(0.5) != 0  # NumPy's own arithmetic


def test_other_operators():
    x, weight = np.full((1, 1, 4, 4), TINY["float32"]), np.full((1, 1, 1, 1), TINY["float32"])
    grad = np.full((1, 1, 4, 4), 0.25, np.float32)
    norm = nn.BatchNorm2d(1).eval()
    norm.weight.data[:] = 0.25

    def results():
        yield convkit.avg_pool2d(x / 2, 2)
        yield convkit.interpolate(x / 2, size=(8, 8), mode="bilinear")
        yield convkit.conv2d_backward(grad, x, weight).x
        yield nn.LeakyReLU(0.25)(-x)
        yield norm(x)

    assert all(y.all() for y in results())
    with convkit.flush_denormals():
        assert not any(y.any() for y in results())


def test_for_the_calling_thread_alone_and_until_the_outermost_ends():
    seen = []
    with pytest.raises(ZeroDivisionError), convkit.flush_denormals():
        other = threading.Thread(target=lambda: seen.append(contextvars.Context().run(result)))
        other.start()
        other.join()
        with convkit.flush_denormals():
            assert not result().any()
        assert not result().any()
        raise ZeroDivisionError
    assert ordinary(seen[0])
    assert ordinary(result())


@pytest.mark.thorough
def test_a_signals_handler_runs_in_the_ordinary_mode():
    """It runs in the middle of a call, on the calling thread."""
    halves, inside = [], []

    def handler(number, frame):
        halves.append(float(TINY["float32"] * np.float32(0.5)))
        inside.append(frame.f_globals["__name__"] == "convkit.ops._shared")

    image, weight = np.ones((1, 32, 40, 40), np.float32), np.ones((32, 32, 21, 21), np.float32)
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        with convkit.flush_denormals():
            while not any(inside):
                convkit.conv2d(np.broadcast_to(image, (64, *image.shape[1:])), weight)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert all(halves)
