"""Any strided view gives the bits of its contiguous copy; a strided `out` is written, and nothing else."""

import numpy as np
import pytest

import convkit
from cases import LAYOUTS, arrange, assert_same_bits, everything, pairs, random_data, restore
from problems import named
from views import FORMS, VIEWS, garbage_strides, misaligned, with_canaries

SHAPES = named(
    "odd_sizes", "tails_29_65", "1x1_s2", "depthwise_x3", "grouped_odd", "reflect", "1d_s4_d3", "3d_mixed",
    "asymmetric_s2", "t_asymmetric", "t_tails_23_29", "t_kernel_is_stride", "t_under_stride_out", "t_depthwise_x3",
    "t_grouped_odd", "t_1d_s4_d3", "t_3d_mixed",
)  # fmt: skip


PLACES = (("float32", "NCHW"), ("float32", "NHWC"), ("float64", "NCHW"))


def of(problem):
    return problem.name


def run(data, layout, view):
    """Forward and gradients with every operand passed through `view`."""
    problem = data.problem
    x, grad = view(arrange(data.x, layout)), view(arrange(data.grad, layout))
    weight, bias = view(data.weight), None if data.bias is None else view(data.bias)
    common = problem.arguments | {"layout": layout}
    y = getattr(convkit, problem.forward)(x, weight, bias, **common)
    grads = getattr(convkit, problem.backward)(grad, x, weight, **common)
    for result in (y, *grads):
        assert type(result) is np.ndarray
    return {"y": restore(y, layout), "x": restore(grads.x, layout), "weight": grads.weight, "bias": grads.bias}


@pytest.mark.parametrize("problem", SHAPES, ids=of)
def test_views_give_the_bits_of_copies(problem, isa):
    for dtype, layout in PLACES:
        data = random_data(problem, dtype)
        expected = everything(data, layout)
        for view in VIEWS:
            assert_same_bits(run(data, layout, view), expected, f"{view.__name__}, {layout}, {dtype}")


@pytest.mark.parametrize("problem", SHAPES, ids=of)
def test_size_one_axes_with_garbage_strides(problem):
    """As above where there are such axes: one image, one channel, one tap."""
    one_channel, one_tap = {"n": 1, "c_in": problem.groups}, {"kernel": (1,) * problem.nd, "padding": 0}
    for small in (problem.but(n=1), problem.but(**one_channel), problem.but(**one_tap)):
        data = random_data(small, "float32")
        for layout in LAYOUTS:
            assert_same_bits(run(data, layout, garbage_strides), everything(data, layout), f"{small}, {layout}")


def test_rows_that_begin_before_their_array_does(any_isa):
    """Of an array that runs backwards, every second element, in the order of memory: what a tap that is not finite has
    a gradient under a stride and a dilation read by itself."""
    rng, sizes = np.random.default_rng(0), {"stride": (5, 3), "padding": (1, 2), "dilation": 4}
    x, weight = rng.standard_normal((1, 1, 17, 11)), rng.standard_normal((1, 1, 3, 3))
    y = convkit.conv2d(x, weight, **sizes, activation="relu") + 1
    grad, weight[0, 0, 0, 1] = rng.standard_normal(y.shape), np.nan
    backwards = np.ascontiguousarray(y[..., ::-1])[..., ::-1]
    with np.errstate(invalid="ignore"):
        got, expected = (
            convkit.conv2d_backward(grad, x, weight, **sizes, activation="relu", y=view, need="x").x
            for view in (backwards, y)
        )
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("algorithm", ("implicit_gemm", "im2col"))
@pytest.mark.parametrize("problem", SHAPES, ids=of)
def test_broadcast_operands(problem, algorithm, isa):
    """Stride 0: one image for the whole batch, one value for a plane, one row for every channel."""
    data = random_data(problem.but(n=3), "float32")
    common = problem.arguments | {"algorithm": algorithm}
    forward, backward = getattr(convkit, problem.forward), getattr(convkit, problem.backward)
    for keep in (slice(0, 1), (slice(None), slice(0, 1)), (..., slice(0, 1))):
        x, grad = np.broadcast_to(data.x[keep], data.x.shape), np.broadcast_to(data.grad[keep], data.grad.shape)
        weight = np.broadcast_to(data.weight[keep], data.weight.shape)
        bias = np.broadcast_to(data.bias[:1], data.bias.shape)
        y, grads = forward(x, weight, bias, **common), backward(grad, x, weight, **common)
        copies = [a.copy() for a in (x, weight, bias, grad)]
        expected = backward(copies[3], copies[0], copies[1], **common)._asdict() | {"y": forward(*copies[:3], **common)}
        assert_same_bits(grads._asdict() | {"y": y}, expected, f"{keep}")


def test_memory_maps(tmp_path, isa):
    """Read from a file opened read-only, written into one opened for writing."""
    (problem,) = named("odd_sizes")
    data = random_data(problem, "float32")
    expected = everything(data)["y"]
    maps = {}
    for name, array in {"x": data.x, "weight": data.weight, "bias": data.bias}.items():
        array.tofile(tmp_path / name)
        maps[name] = np.memmap(tmp_path / name, np.float32, "r", shape=array.shape)
    out = np.memmap(tmp_path / "y", np.float32, "w+", shape=expected.shape)
    assert convkit.conv2d(**maps, out=out, **problem.arguments) is out
    assert out.tobytes() == expected.tobytes()


def test_objects_with_an_array_are_arrays():
    class Holder:
        def __init__(self, array):
            self.array = array

        def __array__(self, dtype=None, copy=None):
            return self.array

    (problem,) = named("odd_sizes")
    data = random_data(problem, "float32")
    got = convkit.conv2d(Holder(data.x), Holder(data.weight), Holder(data.bias), **problem.arguments)
    assert got.tobytes() == everything(data)["y"].tobytes()


@pairs("problem, form", SHAPES, FORMS)
def test_strided_out(problem, form, isa):
    """Every result into a strided array; the elements between its own keep their values."""
    for dtype, layout in PLACES:
        data = random_data(problem, dtype)
        expected = everything(data, layout)
        common = problem.arguments | {"layout": layout}
        shapes = {name: (arrange(a, layout) if name in "xy" else a).shape for name, a in expected.items()}
        views, checks = {}, []
        for name, shape in shapes.items():
            views[name], check = with_canaries(shape, dtype, form)
            checks.append(check)
        x, grad = arrange(data.x, layout), arrange(data.grad, layout)
        getattr(convkit, problem.forward)(x, data.weight, data.bias, out=views["y"], **common)
        outs = (views["x"], views["weight"], views["bias"])
        getattr(convkit, problem.backward)(grad, x, data.weight, out=outs, **common)
        got = {name: restore(view, layout) if name in "xy" else view for name, view in views.items()}
        assert_same_bits(got, expected, f"{problem}, {layout}, {form}")
        for check in checks:
            check()


@pytest.mark.parametrize("problem", SHAPES, ids=of)
def test_misaligned_out(problem, isa):
    data = random_data(problem, "float32")
    expected = everything(data)
    y = misaligned(np.zeros_like(expected["y"]))
    outs = tuple(misaligned(np.zeros(expected[name].shape, np.float32)) for name in ("x", "weight", "bias"))
    getattr(convkit, problem.forward)(data.x, data.weight, data.bias, out=y, **problem.arguments)
    getattr(convkit, problem.backward)(data.grad, data.x, data.weight, out=outs, **problem.arguments)
    assert_same_bits(dict(zip(("y", "x", "weight", "bias"), (y, *outs), strict=True)), expected, problem.name)


def test_operands_are_not_written(isa):
    for problem in SHAPES:
        data = random_data(problem, "float32")
        kept = [a.copy() for a in (data.x, data.weight, data.bias, data.grad)]
        everything(data)
        for array, copy in zip((data.x, data.weight, data.bias, data.grad), kept, strict=True):
            assert array.tobytes() == copy.tobytes()
