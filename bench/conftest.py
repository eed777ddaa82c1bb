"""What the suites share: the peak of this session, and a call of a layer."""

import pytest

import convkit
from convkit.cli.bench import PASSES, Setting, measure_peak, prepare


@pytest.fixture(scope="session")
def peak():
    """Multiply-add peak in GFLOP/s by dtype, on as many threads as convkit uses, measured when first asked for."""
    return {dtype: measure_peak(dtype, convkit.get_num_threads()) for dtype in ("float32", "float64")}


@pytest.fixture
def run_layer(benchmark, peak):
    """Benchmarks one layer in one direction, and notes its GFLOP/s and share of the peak."""

    def run(layer, direction, dtype="float32", layout="NCHW", algorithm="auto"):
        call = prepare(layer, direction, Setting(dtype, layout, convkit.get_num_threads(), algorithm))
        benchmark.group = f"{layer.name} {direction}"
        benchmark(call)
        if benchmark.stats is not None:  # None under --benchmark-disable
            gflops = PASSES[direction] * layer.flops / benchmark.stats["median"] / 1e9
            benchmark.extra_info.update(
                gflops=round(gflops, 1), share=round(gflops / peak[dtype], 3), isa=convkit.isa()
            )

    return run
