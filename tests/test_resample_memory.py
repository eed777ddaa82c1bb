"""Resampling and memory: nothing past an array's ends is touched, and workspace does not grow with the image."""

import pytest

import convkit
from test_process import run


def guarded(isa):
    """Every operand and result flush against unreadable pages, before and after: one byte too far is a crash."""
    import itertools

    import convkit
    from cases import LAYOUTS, arrange
    from guards import flush, release
    from resample_problems import GRIDS, RESIZES, Resize

    convkit.set_isa(isa)

    widths = [Resize(f"width_{w}", 1, w, (2, w), "bilinear", (3, w + 5)) for w in (1, 2, 3, 7, 15, 16, 17, 31, 33)]
    for problem, dtype, layout, at_end in itertools.product(
        (*RESIZES, *GRIDS, *widths), ("float32", "float64"), LAYOUTS, (True, False)
    ):
        print(problem.name, dtype, layout, at_end, flush=True)
        operands = problem.operands(dtype)
        x, grad = (flush(arrange(operands[name], layout), at_end) for name in ("x", "grad"))
        options, y = {"layout": layout} | problem.options, flush(0 * grad, at_end)
        if isinstance(problem, Resize):
            convkit.interpolate(x, problem.size, out=y, **options)
            convkit.interpolate_backward(grad, x.shape, **options)
        else:
            grid = flush(operands["grid"], at_end)
            convkit.grid_sample(x, grid, out=y, **options)
            convkit.grid_sample_backward(grad, x, grid, **options)
        assert y.tobytes() == arrange(problem.run(convkit, operands, layout)["y"], layout).tobytes()
        release()
    print("unharmed")


@pytest.mark.thorough
@pytest.mark.parametrize("isa_name", convkit.available_isas())
def test_guard_pages(isa_name):
    assert run(guarded, isa_name).endswith("unharmed\n")


def peak_memory():
    """Prints by how many bytes beyond their results calls on 64 channels raise the peak."""
    import numpy as np

    import convkit
    from guards import peak_of

    def calls(size):
        x, grad = np.ones((1, 64, size, size), np.float32), np.ones((1, 64, 2 * size, 2 * size), np.float32)
        grid = np.random.default_rng(0).uniform(-1, 1, (1, size, size, 2)).astype(np.float32)
        return {
            "interpolate": lambda: convkit.interpolate(x, scale_factor=2, mode="bicubic"),
            "interpolate_backward": lambda: convkit.interpolate_backward(grad, x.shape, None, "bicubic"),
            "grid_sample": lambda: convkit.grid_sample(x, grid, "bicubic"),
            "grid_x": lambda: convkit.grid_sample_backward(x, x, grid, need="x").x,
            "grid_grid": lambda: convkit.grid_sample_backward(x, x, grid, need="grid").grid,
        }

    convkit.set_num_threads(2)
    convkit.set_cache_limit(0)
    small = calls(20)
    for operator, call in calls(256).items():
        small[operator]()
        result, peak = peak_of(call)
        print(operator, peak - result.nbytes)
        del result


@pytest.mark.thorough
def test_peak_memory():
    """The result and at most 8 MiB, half of the image."""
    for line in (lines := run(peak_memory).splitlines()):
        assert int(line.split()[-1]) <= 8 * 2**20, line
    assert len(lines) == 5
