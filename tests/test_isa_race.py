"""The instruction set is changed by one thread while others are inside the library: each call stays with one."""

import sys
import threading

import numpy as np
import pytest

import convkit

ROUNDS = 30


def calls():
    """Name -> a call of every family, forward and backward, whose scratch differs between instruction sets."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.standard_normal(shape, np.float32)

    x, weight, narrow = draw(2, 24, 19, 21), draw(40, 24, 3, 3), draw(24, 4, 3, 3)
    offset, grad, up = draw(2, 18, 19, 21), draw(2, 40, 19, 21), draw(2, 24, 38, 42)
    wide, wide_offset, wide_grad = draw(2, 24, 64, 64), draw(2, 18, 64, 64), draw(2, 40, 64, 64)
    grid, picked = rng.uniform(-1, 1, (2, 9, 9, 2)).astype(np.float32), draw(2, 24, 9, 9)
    parameter, slope = draw(5000), draw(5000)
    pooled, indices = convkit.max_pool2d(x, 3, 2, return_indices=True)
    return {
        "conv": lambda: convkit.conv2d(x, weight, padding=1),
        "conv backward": lambda: convkit.conv2d_backward(grad, x, weight, padding=1),
        "direct": lambda: convkit.conv2d(x, narrow, padding=1, groups=6),
        "direct backward": lambda: convkit.conv2d_backward(x, x, narrow, padding=1, groups=6),
        "im2col": lambda: convkit.conv2d(x, weight, padding=1, algorithm="im2col"),
        "transposed": lambda: convkit.conv_transpose2d(grad, weight, stride=2),
        "transposed im2col": lambda: convkit.conv_transpose2d(grad, weight, stride=2, algorithm="im2col"),
        "deformable": lambda: convkit.deform_conv2d(x, offset, weight, padding=1),
        "deformable backward": lambda: convkit.deform_conv2d_backward(wide_grad, wide, wide_offset, weight, padding=1),
        "many regions": lambda: convkit.conv2d_backward(grad, x, weight, padding=1, padding_mode="reflect"),
        "max pool": lambda: convkit.max_pool2d(x, 3, 2),
        "average pool": lambda: convkit.avg_pool2d(x, 3, 2, 1),
        "whole pool": lambda: convkit.adaptive_avg_pool2d(x, 1),
        "pool backward": lambda: convkit.max_pool2d_backward(pooled, indices, x.shape),
        "resize": lambda: convkit.interpolate(x, (38, 42), mode="bicubic"),
        "resize backward": lambda: convkit.interpolate_backward(up, x.shape, mode="bicubic"),
        "grid": lambda: convkit.grid_sample(x, grid),
        "grid backward": lambda: convkit.grid_sample_backward(picked, x, grid),
        "linear": lambda: convkit.linear(parameter.reshape(50, 100), slope.reshape(50, 100)),
    }


def bits(result):
    """The bytes of each array of a result."""
    arrays = result if isinstance(result, tuple) else (result,)
    return [array.tobytes() for array in arrays if array is not None]


@pytest.mark.thorough
@pytest.mark.usefixtures("any_isa")
def test_each_call_stays_with_one_instruction_set():
    expected = {name: [] for name in calls()}
    for isa in convkit.available_isas():
        convkit.set_isa(isa)
        for name, call in calls().items():
            expected[name].append(bits(call()))
    wrong, done = [], threading.Event()

    def work():
        for _ in range(ROUNDS):
            for name, call in calls().items():
                for i, array in enumerate(bits(call())):  # a backward is several calls
                    if not any(array == arrays[i] for arrays in expected[name]):
                        wrong.append(name)

    def flip():
        while not done.is_set():
            for isa in convkit.available_isas():
                convkit.set_isa(isa)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    flipping, workers = threading.Thread(target=flip), [threading.Thread(target=work) for _ in range(2)]
    for thread in (flipping, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    flipping.join()
    sys.setswitchinterval(interval)
    assert not wrong, f"bits of no instruction set: {sorted(set(wrong))}"
