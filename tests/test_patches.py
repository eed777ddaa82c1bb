"""Blocks that are cut into patches, each multiplied by the taps alone that it reads: the bits of whole blocks."""

import itertools

import numpy as np
import pytest

import convkit
from convkit._ext import engine

# x, weight, options: rows and columns that all differ; of one vector of lanes, of half of one, of two and a rest; taps
# apart; several images; volumes; kernels cut into several k-blocks, of some of which a patch reads nothing; a row.
CASES = {
    "as large as the image": ((2, 24, 7, 7), (40, 24, 7, 7), {"padding": 3}),
    "few lanes": ((5, 20, 5, 6), (7, 20, 5, 5), {"padding": 2}),
    "one vector": ((3, 33, 6, 5), (16, 33, 5, 4), {"padding": (2, 2)}),
    "dilated": ((1, 31, 8, 8), (45, 31, 5, 6), {"padding": (4, 5), "dilation": 2}),
    "strided": ((4, 17, 9, 9), (33, 17, 5, 5), {"padding": 4, "stride": 2, "dilation": 2}),
    "volume": ((3, 18, 5, 5, 5), (20, 18, 4, 4, 4), {"padding": (3, 2, 2)}),
    "cut kernel": ((2, 2, 12, 13), (36, 2, 49, 48), {"padding": (24, 24)}),
    "row": ((6, 40, 23), (50, 40, 9), {"padding": 8, "dilation": 2}),
}
# With only multiply-adds to count, they are taken wherever they can be.
FREE = dict.fromkeys(
    ("latency", "strip", "strip_vector", "patch", "patch_tap", "panel", "level2", "drain_turned"), (0,)
)
FREE |= {"issue": (1e9,), "picked": (1,), "drain_run": (0,), "drain": (0,)}
case = pytest.mark.parametrize(("x_shape", "weight_shape", "options"), CASES.values(), ids=CASES)


@pytest.fixture
def by_pixel():
    """Takes the arrangement that may have them."""
    engine.take_arrangements("by_pixel")
    yield
    engine.take_arrangements()


def arrays(x_shape, weight_shape, layout, dtype):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(weight_shape).astype(dtype)
    return (x if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(x, 1, -1))), weight


def results(x, weight, options):
    """Forward, with all that its drain does, and the gradient of x."""
    name = f"conv{weight.ndim - 2}d"
    forward, backward = getattr(convkit, name), getattr(convkit, f"{name}_backward")
    prepare = getattr(convkit, f"prepare_{name}")
    bias = np.linspace(-1, 1, len(weight), dtype=weight.dtype)
    y = forward(x, weight, **options)
    add = np.full_like(y, 0.5)
    return {
        "y": y,
        "tanh": forward(x, weight, bias, activation="tanh", **options),
        "add": prepare(weight, bias, activation="relu", **options)(x, add=add),
        "x": backward(y, x, weight, need=("x",), **options).x,
    }


def patches(x, weight, options, direction="forward"):
    told = convkit.explain(
        f"conv{weight.ndim - 2}d", x.shape, weight.shape, direction=direction, dtype=str(x.dtype), **options
    )
    return told.patches


@case
@pytest.mark.usefixtures("any_isa", "by_pixel")
def test_patches_have_the_bits_of_whole_blocks(x_shape, weight_shape, options, costs):
    for isa, layout, dtype in itertools.product(convkit.available_isas(), ("NCHW", "NHWC"), ("float32", "float64")):
        convkit.set_isa(isa)
        x, weight = arrays(x_shape, weight_shape, layout, dtype)
        asked = options | {"layout": layout, "algorithm": "implicit_gemm"}
        engine.set_costs(costs | {"patch": (1e12,)})
        assert patches(x, weight, asked) == 1
        whole = results(x, weight, asked)
        engine.set_costs(costs | FREE)
        assert patches(x, weight, asked) > 1
        for threads in (1, 3):
            with convkit.threads(threads):
                for name, array in results(x, weight, asked).items():
                    assert array.tobytes() == whole[name].tobytes(), (
                        f"{name}: {isa}, {layout}, {dtype}, {threads} threads"
                    )


@case
@pytest.mark.usefixtures("by_pixel")
def test_weights_that_are_not_finite_meet_no_padding(x_shape, weight_shape, options, costs):
    """0 * inf is NaN, but a tap that reads padding is not taken: only sums that read an element are not finite."""
    x, weight = arrays(x_shape, weight_shape, "NCHW", "float32")
    weight[0, 0].flat[0] = np.inf
    engine.set_costs(costs | FREE)
    asked = options | {"algorithm": "implicit_gemm"}
    y = getattr(convkit, f"conv{weight.ndim - 2}d")(x, weight, **asked)
    assert np.isfinite(y[:, 1:]).all()
    one = np.zeros_like(weight[:1, :1])
    one.flat[0] = 1
    reads = getattr(convkit, f"conv{weight.ndim - 2}d")(np.ones_like(x[:, :1]), one, **asked) > 0
    assert np.array_equal(~np.isfinite(y[:, :1]), reads)


def test_where_they_are_taken():
    """By the planner's own costs: of a small image each pixel may be one, of a large one nearly all read the same."""
    x, weight = arrays((16, 64, 7, 7), (64, 64, 7, 7), "NCHW", "float32")
    asked = {"padding": 3, "algorithm": "implicit_gemm"}
    assert patches(x, weight, asked) == 49
    assert patches(x, weight, asked, "x") == 49
    assert convkit.explain("conv2d", (1, 64, 112, 112), weight.shape, **asked).patches == 1
