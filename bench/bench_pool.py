"""Pooling on typical shapes: `make bench ARGS=bench/bench_pool.py`."""

import numpy as np
import pytest

import convkit

LAYOUTS = ("NCHW", "NHWC")
WINDOWS = {
    "resnet stem": ("max", (8, 64, 112, 112), (3, 2, 1)),
    "vgg": ("max", (8, 64, 56, 56), (2, 2, 0)),
    "inception": ("max", (8, 192, 28, 28), (3, 1, 1)),
    "densenet transition": ("avg", (8, 64, 56, 56), (2, 2, 0)),
    "inception average": ("avg", (8, 192, 28, 28), (3, 1, 1)),
}
ADAPTIVE = {"resnet head": ((8, 2048, 7, 7), 1), "squeeze": ((8, 256, 56, 56), 1), "vgg head": ((8, 512, 14, 14), 7)}


def image(shape, layout):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if layout == "NHWC" else x


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", WINDOWS)
def test_forward(benchmark, name, layout):
    kind, shape, window = WINDOWS[name]
    x, pool = image(shape, layout), getattr(convkit, f"{kind}_pool2d")
    y = pool(x, *window, layout=layout)
    benchmark(lambda: pool(x, *window, layout=layout, out=y))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", WINDOWS)
def test_backward(benchmark, name, layout):
    kind, shape, window = WINDOWS[name]
    x = image(shape, layout)
    if kind == "max":
        y, indices = convkit.max_pool2d(x, *window, return_indices=True, layout=layout)
        benchmark(lambda: convkit.max_pool2d_backward(y, indices, x.shape, layout=layout))
    else:
        y = convkit.avg_pool2d(x, *window, layout=layout)
        benchmark(lambda: convkit.avg_pool2d_backward(y, x.shape, *window, layout=layout))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_indices(benchmark, layout):
    x = image((8, 64, 112, 112), layout)
    out = convkit.max_pool2d(x, 3, 2, 1, return_indices=True, layout=layout)
    benchmark(lambda: convkit.max_pool2d(x, 3, 2, 1, return_indices=True, layout=layout, out=out))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_unpool(benchmark, layout):
    y, indices = convkit.max_pool2d(image((8, 64, 56, 56), layout), 2, return_indices=True, layout=layout)
    x = convkit.max_unpool2d(y, indices, 2, layout=layout)
    benchmark(lambda: convkit.max_unpool2d(y, indices, 2, layout=layout, out=x))


@pytest.mark.parametrize("kind", ("avg", "max"))
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive(benchmark, name, layout, kind):
    shape, size = ADAPTIVE[name]
    x, pool = image(shape, layout), getattr(convkit, f"adaptive_{kind}_pool2d")
    y = pool(x, size, layout=layout)
    benchmark(lambda: pool(x, size, layout=layout, out=y))
