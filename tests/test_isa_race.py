"""The instruction set is changed by one thread while others are inside the library: each call stays with one."""

import sys
import threading

import numpy as np
import pytest

import convkit
from convkit import nn
from convkit.graph import OPS
from convkit.graph import network as networks

ROUNDS = 15


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
    prepared, prepared_transposed = convkit.prepare_conv2d(weight, padding=1), convkit.prepare_conv_transpose2d(weight)
    model = nn.Sequential(
        nn.Conv2d(24, 24, 3, padding=1, rng=0),
        nn.BatchNorm2d(24),
        nn.Residual(
            nn.Sequential(nn.Conv2d(24, 24, 1, rng=1), nn.GELU(), nn.Conv2d(24, 24, 3, padding=1, groups=24, rng=2))
        ),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.MaxPool2d(3),
        nn.ConvTranspose2d(24, 8, 2, 2, rng=3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5, rng=4),
    ).eval()
    network = model.prepare(x.shape)
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
        "few rows": lambda: convkit.linear(parameter.reshape(50, 100)[:2], slope.reshape(50, 100)),
        "prepared": lambda: prepared(x),
        "prepared here": lambda: convkit.prepare_conv2d(weight, padding=1)(x),
        "prepared transposed": lambda: prepared_transposed(grad),
        "activation": lambda: nn.GELU().begin(x)[0],
        "network": lambda: network(x),
        "network planned here": lambda: model.prepare(x.shape)(x),
    }


def bits(result):
    """The bytes of each array of a result."""
    arrays = result if isinstance(result, tuple) else (result,)
    return [array.tobytes() for array in arrays if array is not None]


@pytest.mark.thorough
@pytest.mark.usefixtures("any_isa")
def test_each_call_stays_with_one_instruction_set():
    every = calls()
    expected = {name: [] for name in every}
    for isa in convkit.available_isas():
        convkit.set_isa(isa)
        for name, call in every.items():
            expected[name].append(bits(call()))
    wrong, done = [], threading.Event()

    def work():
        for _ in range(ROUNDS):
            for name, call in every.items():
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


@pytest.mark.usefixtures("any_isa")
def test_a_plan_takes_its_kernels_at_once(monkeypatch):
    """Another instruction set is chosen after each step that is planned; the run has the bits of the first."""
    convolutions = (nn.Conv2d(8, 8, 3, padding=1, rng=seed) for seed in range(4))
    model = nn.Sequential(*convolutions, nn.Softmax())
    x = np.random.default_rng(0).standard_normal((1, 8, 9, 9), np.float32)
    first, last = convkit.available_isas()[0], convkit.available_isas()[-1]
    convkit.set_isa(first)
    expected = model.prepare(x.shape)(x)
    row = OPS["Conv"]

    def lower(plan, node):
        done = row.lower(plan, node)
        convkit.set_isa(last)
        return done

    monkeypatch.setitem(OPS, "Conv", row._replace(lower=lower))
    network = model.prepare(x.shape)
    np.testing.assert_array_equal(network(x), expected)


@pytest.mark.usefixtures("any_isa")
def test_a_plan_has_the_kernels_that_it_is_kept_for(monkeypatch):
    """Another instruction set is chosen after it was asked for; nor does a later call find the plan of another."""
    model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, rng=0), nn.Softmax())
    x, asked, last = np.ones((1, 8, 9, 9), np.float32), networks._circumstances, convkit.available_isas()[-1]

    def chosen_meanwhile():
        now = asked()
        convkit.set_isa(last)
        return now

    network = model.prepare(x.shape)
    with monkeypatch.context() as patched:
        patched.setattr(networks, "_circumstances", chosen_meanwhile)
        for isa in convkit.available_isas():
            convkit.set_isa(isa)
            assert network.explain(measure=False).isa == isa
    for isa in convkit.available_isas():
        convkit.set_isa(isa)
        assert network.explain(measure=False).isa == isa
