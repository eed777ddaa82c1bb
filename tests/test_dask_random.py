"""160 random configurations in random chunks: what Dask computes has the bits that it has in memory.

Only gradients of weight and bias, which are sums over blocks, are held to the bound.
"""

import dask
import numpy as np
import pytest

import convkit
from bounds import assert_within_bound
from cases import DTYPES, LAYOUTS, arrange, blocks, random_data
from lazy import in_chunks, operator
from pool_problems import random_pool
from problems import random_problem, random_transposed
from resample_problems import random_resize
from tiled_networks import TILED

ACTIVATIONS = (None, "relu", ("elu", 0.5))


@pytest.fixture(autouse=True)
def one_thread():
    """Tasks one after the other, each computed by one thread: quickest for arrays as small as these."""
    with dask.config.set(scheduler="sync"):
        yield


def choices(index: int) -> tuple[str, str, np.random.Generator]:
    """(dtype, layout, generator of the chunks) of configuration `index`."""
    return DTYPES[index % 2], LAYOUTS[index // 2 % 2], np.random.default_rng((7, index))


def channels_of(layout: str, array) -> tuple[int]:
    """The axis of the channels, for `in_chunks`: these are summed."""
    return (1 if layout == "NCHW" else array.ndim - 1,)


def assert_equal(got, expected, what) -> None:
    """Fail unless every array is the expected one to the bit."""
    for name, array in expected.items():
        assert got[name].dtype == array.dtype and got[name].shape == array.shape, f"{name} of {what}"
        assert got[name].tobytes() == array.tobytes(), f"{name} of {what}"


def check_convolution(problem, index: int) -> None:
    dtype, layout, rng = choices(index)
    problem = problem.but(activation=ACTIVATIONS[index // 4 % 3])
    data = random_data(problem, dtype)
    options = problem.arguments | {"activation": problem.activation, "layout": layout}
    x, grad, y = (None if a is None else arrange(a, layout) for a in (data.x, data.grad, data.y))
    lazy_x, lazy_grad, lazy_y = (None if a is None else in_chunks(rng, a, channels_of(layout, a)) for a in (x, grad, y))
    name, of_grad = problem.forward, problem.backward
    known = options | {"algorithm": "implicit_gemm"}
    expected = {"y": getattr(convkit, name)(x, data.weight, data.bias, **known)}
    expected["x"] = getattr(convkit, of_grad)(grad, x, data.weight, **known, y=y, need="x").x
    got = {"y": operator(name)(lazy_x, data.weight, data.bias, **options)}
    assert got["y"].shape == expected["y"].shape
    got |= operator(of_grad)(lazy_grad, lazy_x, data.weight, **options, y=lazy_y)._asdict()
    assert got["x"].chunks == lazy_x.chunks
    got["by shape"] = operator(of_grad)(lazy_grad, x.shape, data.weight, **options, y=lazy_y, need="x").x
    (got,) = dask.compute(got)
    what = f"{problem}, {dtype}, {layout}"
    assert_equal(got, expected | {"by shape": expected["x"]}, what)
    arguments = (data.grad, data.x, data.weight)
    options = problem.arguments | {"activation": problem.activation, "y": data.y, "need": ("weight", "bias")}
    reference = getattr(convkit.reference, of_grad)(*arguments, **options)
    bound = convkit.reference.bound(of_grad, *arguments, **options)
    for key in ("weight", "bias"):
        assert_within_bound(got[key], getattr(reference, key), getattr(bound, key), f"{key} of {what}")


@blocks(40, 4)
def test_convolution(block):
    for index in block:
        check_convolution(random_problem(index), index)


@blocks(48, 4)
def test_transposed_convolution(block):
    for index in block:
        check_convolution(random_transposed(index), index)


@blocks(40, 4)
def test_pooling(block):
    for index in block:
        dtype, layout, rng = choices(index)
        pool = random_pool(index)
        while pool.adaptive:
            pool = random_pool(int(rng.integers(1000, 10000)))
        x = arrange(rng.standard_normal(pool.x_shape).astype(dtype), layout)
        options, counted = pool.arguments | {"layout": layout}, {"count_include_pad": bool(index % 3)}
        maximum, average = pool.operator("max"), pool.operator("avg")
        expected = dict(
            zip(("y", "indices"), getattr(convkit, maximum)(x, **options, return_indices=True), strict=True)
        )
        grad = rng.standard_normal(expected["y"].shape).astype(dtype)
        expected |= {
            "average": getattr(convkit, average)(x, **options, **counted),
            "x": getattr(convkit, f"{maximum}_backward")(grad, expected["indices"], x.shape, layout=layout),
            "x of average": getattr(convkit, f"{average}_backward")(grad, x.shape, **options, **counted),
        }
        lazy_x, lazy_grad, indices = (in_chunks(rng, a) for a in (x, grad, expected["indices"]))
        got = dict(zip(("y", "indices"), operator(maximum)(lazy_x, **options, return_indices=True), strict=True))
        got |= {
            "average": operator(average)(lazy_x, **options, **counted),
            "x": operator(f"{maximum}_backward")(lazy_grad, indices, x.shape, **options),
            "x of average": operator(f"{average}_backward")(lazy_grad, x.shape, **options, **counted),
        }
        assert_equal(dask.compute(got)[0], expected, f"{pool}, {dtype}, {layout}")


@blocks(32, 4)
def test_interpolation(block):
    for index in block:
        dtype, layout, rng = choices(index)
        problem = random_resize(index)
        while problem.mode == "area":
            problem = random_resize(int(rng.integers(1000, 10000)))
        x, grad = (arrange(a, layout) for a in problem.operands(dtype).values())
        options = problem.options | {"layout": layout}
        expected = {
            "y": convkit.interpolate(x, problem.size, **options),
            "x": convkit.interpolate_backward(grad, x.shape, **options),
        }
        got = {
            "y": convkit.dask.interpolate(in_chunks(rng, x), problem.size, **options),
            "x": convkit.dask.interpolate_backward(in_chunks(rng, grad), x.shape, **options),
        }
        assert_equal(dask.compute(got)[0], expected, f"{problem}, {dtype}, {layout}")


@pytest.mark.parametrize("name", TILED)
def test_networks_over_images_in_pieces(name):
    make, shape = TILED[name]
    net, x, rng = (
        make().eval().prepare(),
        np.random.default_rng(0).standard_normal(shape, np.float32),
        np.random.default_rng(9),
    )
    whole = net(x)
    for _ in range(2):
        got = dask.compute(convkit.dask.network(net, in_chunks(rng, x, (1,))))[0]
        assert type(got) is type(whole)
        for array, expected in zip(got, whole, strict=True):
            assert array.tobytes() == expected.tobytes()
