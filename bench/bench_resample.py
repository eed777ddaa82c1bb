"""Resampling on typical shapes: `make bench ARGS=bench/bench_resample.py`."""

import numpy as np
import pytest

import convkit

LAYOUTS = ("NCHW", "NHWC")
RESIZES = {  # x, scale, mode
    "u-net x2": ((1, 64, 64, 64), 2, "bilinear"),
    "pyramid x2": ((1, 256, 28, 28), 2, "nearest"),
    "segmentation x4": ((1, 21, 128, 128), 4, "bilinear"),
    "super resolution x2": ((1, 3, 256, 256), 2, "bicubic"),
    "photograph x0.5": ((1, 3, 512, 512), 0.5, "bilinear"),
    "volume x2": ((1, 16, 24, 24, 24), 2, "trilinear"),
}
GRIDS = {  # x, out, mode, padding_mode; out follows the image, a pixel or so astray
    "transformer": ((8, 32, 56, 56), (56, 56), "bilinear", "zeros"),
    "flow": ((1, 64, 96, 128), (96, 128), "bilinear", "border"),
    "photograph": ((1, 3, 384, 384), (384, 384), "bilinear", "reflection"),
    "bicubic": ((1, 32, 64, 64), (64, 64), "bicubic", "zeros"),
    "volume": ((1, 8, 32, 32, 32), (32, 32, 32), "bilinear", "zeros"),
}


def image(shape, layout):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if layout == "NHWC" else x


def places(n, out):
    """A regular grid, rotated by 0.1 radians and shaken."""
    rng = np.random.default_rng(1)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in out), indexing="ij")[::-1]
    turned = [np.cos(0.1) * axes[0] - np.sin(0.1) * axes[1], np.sin(0.1) * axes[0] + np.cos(0.1) * axes[1], *axes[2:]]
    grid = np.stack(turned, -1) + rng.normal(0, 1 / max(out), (n, *out, len(out)))
    return np.ascontiguousarray(grid, np.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", RESIZES)
def test_interpolate(benchmark, name, layout):
    shape, scale, mode = RESIZES[name]
    x = image(shape, layout)
    y = convkit.interpolate(x, scale_factor=scale, mode=mode, layout=layout)
    benchmark(lambda: convkit.interpolate(x, scale_factor=scale, mode=mode, layout=layout, out=y))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", RESIZES)
def test_interpolate_backward(benchmark, name, layout):
    shape, scale, mode = RESIZES[name]
    x = image(shape, layout)
    y = convkit.interpolate(x, scale_factor=scale, mode=mode, layout=layout)
    benchmark(lambda: convkit.interpolate_backward(y, x.shape, scale, mode, layout=layout))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", GRIDS)
def test_grid_sample(benchmark, name, layout):
    shape, out, mode, padding_mode = GRIDS[name]
    x, grid = image(shape, layout), places(shape[0], out)
    y = convkit.grid_sample(x, grid, mode, padding_mode, layout=layout)
    benchmark(lambda: convkit.grid_sample(x, grid, mode, padding_mode, layout=layout, out=y))


@pytest.mark.parametrize("need", ("x", "grid"))
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", GRIDS)
def test_grid_sample_backward(benchmark, name, layout, need):
    shape, out, mode, padding_mode = GRIDS[name]
    x, grid = image(shape, layout), places(shape[0], out)
    y = convkit.grid_sample(x, grid, mode, padding_mode, layout=layout)
    benchmark(
        lambda: convkit.grid_sample_backward(y, x, grid, mode, padding_mode, layout=layout, need=need),
    )
