"""The deformable layers of convkit.layers, for pytest-benchmark: `python -m pytest bench/bench_deform.py`.

Offsets are N(0, 1), masks U(0, 1); FLOPs are those of the matrix product, so that the share of the peak says what the
sampling costs.
"""

import numpy as np
import pytest

import convkit
from deform_cases import NETWORK, of_layer, random_data

PASSES = {"forward": 1, "backward": 2}


def of(layer):
    return layer.name


def prepare(layer, direction: str, dtype: str, layout: str):
    """A call of one layer in one direction, its operands and results allocated."""
    data = random_data(of_layer(layer), dtype)
    operands = data.laid_out(layout)
    options = data.problem.arguments | {"mask": operands["mask"], "layout": layout}
    x, offset, weight, bias, grad = (operands[name] for name in ("x", "offset", "weight", "bias", "grad"))
    if direction == "forward":
        y = np.empty_like(grad)
        return lambda: convkit.deform_conv2d(x, offset, weight, bias, out=y, **options)
    out = tuple(None if a is None else np.empty_like(a) for a in (x, offset, operands["mask"], weight, bias))
    return lambda: convkit.deform_conv2d_backward(grad, x, offset, weight, out=out, **options)


@pytest.fixture
def run_deform(benchmark, peak):
    """Benchmarks one deformable layer in one direction, and notes its GFLOP/s and share of the peak."""

    def run(layer, direction, dtype="float32", layout="NCHW"):
        call = prepare(layer, direction, dtype, layout)
        benchmark.group = f"{layer.name} {direction}"
        benchmark(call)
        if benchmark.stats is not None:  # None under --benchmark-disable
            gflops = PASSES[direction] * layer.flops / benchmark.stats["median"] / 1e9
            share = round(gflops / peak[dtype], 3)
            benchmark.extra_info.update(gflops=round(gflops, 1), share=share, isa=convkit.isa())

    return run


@pytest.mark.parametrize("layer", NETWORK, ids=of)
@pytest.mark.parametrize("direction", PASSES)
def test_float32(layer, direction, run_deform):
    run_deform(layer, direction)


@pytest.mark.parametrize("layer", NETWORK, ids=of)
@pytest.mark.parametrize("direction", PASSES)
def test_channels_last(layer, direction, run_deform):
    run_deform(layer, direction, layout="NHWC")


@pytest.mark.parametrize("layer", NETWORK, ids=of)
@pytest.mark.parametrize("direction", PASSES)
def test_float64(layer, direction, run_deform):
    run_deform(layer, direction, dtype="float64")
