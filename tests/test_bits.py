"""Equal bits: whatever the threads, the run, the batch, the address, the route, or the instruction set."""

import numpy as np
import pytest

import convkit
from cases import DTYPES, LAYOUTS, assert_same_bits, backward, everything, forward, random_data, short_data
from problems import NAMED, named

THREADS = (1, 2, 3, 5, 8)
# Cut in every way: pooled images, many blocks, few tiles of dW and many, phases, folded padding, direct kernels. Most
# are large, since a small problem runs on one thread whatever is asked for.
SHAPES = named(
    "r50_3x3_64", "r50_3x3s2_128", "r50_1x1_256_1024", "stem7x7s2", "resnext_g32", "dw3_32_112", "conv1d_k9",
    "conv3d_k3", "primes", "small_images", "over_k_block", "577_taps", "long_1x1", "reflect_k9",
) + tuple(problem for problem in NAMED if problem.name.startswith("blocks_"))  # fmt: skip


def of(problem):
    return problem.name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", SHAPES, ids=of)
def test_threads_and_runs(problem, dtype, isa):
    """1, 2, 3, 5 and 8 threads, each twice, in both layouts."""
    data = random_data(problem, dtype)
    for layout in LAYOUTS:
        with convkit.threads(1):
            expected = everything(data, layout)
        for count in THREADS:
            with convkit.threads(count):
                assert_same_bits(everything(data, layout), expected, f"{problem}, {layout}, {count} threads")
                assert_same_bits(everything(data, layout), expected, f"{problem}, {layout}, {count} threads, again")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", SHAPES, ids=of)
def test_alone_or_in_a_batch(problem, dtype, isa):
    """y and the gradient of x of an image do not know the other images."""
    data = random_data(problem.but(n=5), dtype)
    operator, gradient = getattr(convkit, problem.forward), getattr(convkit, problem.backward)
    for algorithm in ("auto", "implicit_gemm", "im2col"):
        y, x = forward(data, algorithm=algorithm), backward(data, need="x", algorithm=algorithm)["x"]
        options = problem.arguments | {"algorithm": algorithm}
        for first, last in ((0, 1), (4, 5), (1, 4)):
            part = slice(first, last)
            some = {"y": operator(data.x[part], data.weight, data.bias, **options)}
            some |= {"x": gradient(data.grad[part], data.x[part], data.weight, need="x", **options).x}
            assert_same_bits(some, {"y": y[part], "x": x[part]}, f"images {first} to {last}, {algorithm}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", SHAPES, ids=of)
def test_layouts_agree(problem, dtype, isa):
    """The layout says where numbers lie, not in which order they are added."""
    data = random_data(problem, dtype)
    nchw, nhwc = everything(data, "NCHW"), everything(data, "NHWC")
    assert_same_bits({"y": nhwc["y"], "x": nhwc["x"]}, {"y": nchw["y"], "x": nchw["x"]}, problem.name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", SHAPES, ids=of)
def test_implicit_gemm_adds_as_im2col_does(problem, dtype, isa):
    data = random_data(problem, dtype)
    assert forward(data, algorithm="implicit_gemm").tobytes() == forward(data, algorithm="im2col").tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", SHAPES, ids=of)
def test_instruction_sets_agree(problem, dtype, any_isa):
    """Every sum has one order, so where no product is rounded, without fused multiply-adds too they give the bits."""
    data, expected = short_data(problem, dtype), None
    for name in convkit.available_isas():
        convkit.set_isa(name)
        got = {"y": forward(data, algorithm="implicit_gemm")}
        got["x"] = backward(data, need="x", algorithm="implicit_gemm")["x"]
        expected = expected or got
        assert_same_bits(got, expected, f"{name} and {convkit.available_isas()[0]}")


@pytest.mark.parametrize("problem", named("odd_sizes", "1x1", "depthwise", "tails_29_65", "1d_s4_d3"), ids=of)
def test_addresses(problem, isa):
    """Operands that start 1 to 16 elements past an aligned address."""
    data = random_data(problem, "float32")
    expected = everything(data)

    def moved(array, offset):
        buffer = np.empty(array.size + 32, array.dtype)
        start = -(buffer.ctypes.data // 4) % 16 + offset
        view = buffer[start : start + array.size].reshape(array.shape)
        view[...] = array
        return view

    for offset in range(1, 17):
        x, weight, grad = (moved(array, offset) for array in (data.x, data.weight, data.grad))
        grads = getattr(convkit, problem.backward)(grad, x, weight, **problem.arguments)._asdict()
        y = getattr(convkit, problem.forward)(x, weight, moved(data.bias, offset), **problem.arguments)
        assert_same_bits({"y": y} | grads, expected, f"{offset} elements past a vector's boundary")
