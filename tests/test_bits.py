"""Equal bits: whatever the threads, the run, the batch, the address, the route, or the instruction set."""

import itertools

import numpy as np
import pytest

import convkit
from cases import (
    ALGORITHMS,
    DTYPES,
    FUSED,
    LAYOUTS,
    assert_same_bits,
    backward,
    each,
    everything,
    forward,
    in_turn,
    possible,
    random_data,
    short_data,
)
from convkit._ext import engine
from problems import NAMED, named

# Cut in every way: pooled images, many blocks, few tiles of dW and many, phases, folded padding, direct kernels. Most
# are large, since a small problem runs on one thread whatever is asked for.
CONVOLUTIONS = named(
    "r50_3x3_64", "r50_3x3s2_128", "r50_1x1_256_1024", "stem7x7s2", "resnext_g32", "dw3_32_112", "conv1d_k9",
    "conv3d_k3", "primes", "small_images", "over_k_block", "2352_taps", "long_1x1", "reflect_k9",
) + tuple(problem for problem in NAMED if problem.name.startswith("blocks_"))  # fmt: skip
TRANSPOSED = named(
    "dcgan_t4s2", "dcgan_t4s2b", "seg_t3s2", "unet_t2s2", "unet3d_t2s2", "t_primes", "t_small_images", "t_over_k_block",
    "t_2352_taps", "t_grouped_odd", "t_depthwise", "t_long_1x1", "t_dilated_strided", "t_1d_long",
)  # fmt: skip
SUMS = named("small_images", "even_kernel", "1d_s4_d3", "3d_mixed", "grouped_odd", "asymmetric_s2", "reflect")


def of(problem):
    return problem.name


@each(CONVOLUTIONS + TRANSPOSED)
def test_threads(problem, any_isa):
    """Any number of threads gives the bits of one."""
    for isa in convkit.available_isas():
        convkit.set_isa(isa)
        dtype, layout = in_turn(problem, DTYPES, LAYOUTS)
        data = random_data(problem, dtype)
        with convkit.threads(1):
            expected = everything(data, layout)
        for count in (2, 3, 8):
            with convkit.threads(count):
                assert_same_bits(everything(data, layout), expected, f"{dtype}, {layout}, {count} threads, {isa}")


@each(CONVOLUTIONS + TRANSPOSED)
def test_alone_or_in_a_batch(problem, any_isa):
    """y and the gradient of x of an image do not know the other images."""
    operator, gradient = getattr(convkit, problem.forward), getattr(convkit, problem.backward)
    for isa in convkit.available_isas():
        convkit.set_isa(isa)
        dtype, algorithm = in_turn(problem, DTYPES, ("auto", "im2col"))
        data = random_data(problem.but(n=4), dtype)
        y, x = forward(data, algorithm=algorithm), backward(data, need="x", algorithm=algorithm)["x"]
        options = problem.arguments | {"algorithm": algorithm}
        for part in (slice(0, 1), slice(1, 4)):
            some = {"y": operator(data.x[part], data.weight, data.bias, **options)}
            some |= {"x": gradient(data.grad[part], data.x[part], data.weight, need="x", **options).x}
            assert_same_bits(some, {"y": y[part], "x": x[part]}, f"images {part}, {dtype}, {algorithm}, {isa}")


@each(CONVOLUTIONS + TRANSPOSED)
def test_layouts_agree(problem, any_isa):
    """The layout says where numbers lie, not in which order they are added."""
    for isa in convkit.available_isas():
        convkit.set_isa(isa)
        (dtype,) = in_turn(problem, DTYPES)
        data = random_data(problem, dtype)
        nchw, nhwc = everything(data, "NCHW"), everything(data, "NHWC")
        assert_same_bits({"y": nhwc["y"], "x": nhwc["x"]}, {"y": nchw["y"], "x": nchw["x"]}, f"{dtype}, {isa}")


@each(CONVOLUTIONS)
def test_implicit_gemm_adds_as_im2col_does(problem, any_isa):
    for isa in convkit.available_isas():
        convkit.set_isa(isa)
        (dtype,) = in_turn(problem, DTYPES)
        data = random_data(problem, dtype)
        by_window, by_columns = (forward(data, algorithm=name) for name in ("implicit_gemm", "im2col"))
        assert by_window.tobytes() == by_columns.tobytes(), f"{dtype}, {isa}"


@each(CONVOLUTIONS + TRANSPOSED)
def test_instruction_sets_agree(problem, any_isa):
    """Every sum has one order, so where no product is rounded, without fused multiply-adds too they give the bits."""
    first, *others = convkit.available_isas()
    for dtype in DTYPES:
        data = short_data(problem, dtype)
        convkit.set_isa(first)
        expected = everything(data, algorithm="implicit_gemm")
        for isa in others:
            convkit.set_isa(isa)
            assert_same_bits(everything(data, algorithm="implicit_gemm"), expected, f"{dtype}, {isa} and {first}")


@each(CONVOLUTIONS + TRANSPOSED)
def test_instruction_sets_that_fuse_agree(problem, any_isa):
    """Of any numbers, and by every algorithm that adds in that order."""
    dtype, layout = in_turn(problem, DTYPES, LAYOUTS)
    data, expected = random_data(problem, dtype), {}
    for isa, algorithm in itertools.product(FUSED, ALGORITHMS[1:]):
        convkit.set_isa(isa)
        got = possible(data, layout, algorithm)
        assert_same_bits(got, expected.setdefault(algorithm, got), f"{dtype}, {algorithm}, {isa} and {FUSED[0]}")


@pytest.mark.parametrize("problem", SUMS, ids=of)
def test_sums_have_the_order_of_taps(problem, isa):
    """Of a few hundred products: one after the other, as NumPy accumulates them, and then the bias."""
    for dtype in DTYPES:
        data, sums = short_data(problem, dtype), []
        options = {name: value for name, value in problem.arguments.items() if name != "groups"}
        parts = (np.split(array, problem.groups, axis) for array, axis in ((data.x, 1), (data.weight, 0)))
        for x, weight in zip(*parts, strict=True):
            columns = convkit.reference.im2col(x, problem.kernel, **options).astype(dtype)
            products = weight.reshape(len(weight), 1, -1, 1) * columns
            sums.append(np.add.accumulate(products, axis=2, dtype=dtype)[:, :, -1].swapaxes(0, 1))
        expected = np.concatenate(sums, 1) + (0 if data.bias is None else data.bias[:, None])
        got = forward(data, algorithm="implicit_gemm")
        assert got.tobytes() == expected.astype(dtype).tobytes(), f"{dtype}, {isa}"


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


def test_repeated_padding_is_added_phase_by_phase(isa):
    """Before the image, then after it, first what lies whole strides from the first: blocks have no part in it."""
    rng, before, after, size = np.random.default_rng(5), 13, 12, 4
    for stride, dilation, taps in ((2, 1, 6), (5, 4, 2)):
        weight = rng.standard_normal((1, 3, taps, 1)).astype(np.float32)
        options = {"stride": (stride, 1), "dilation": (dilation, 1), "need": "x", "algorithm": "implicit_gemm"}
        outputs = (size + before + after - dilation * (taps - 1) - 1) // stride + 1
        grad, pads = rng.standard_normal((2, 1, outputs, 9)).astype(np.float32), ((before, after), (0, 0))
        backward, x_shape = convkit.conv2d_backward, (2, 3, size, 9)
        got = backward(grad, x_shape, weight, padding=pads, padding_mode="replicate", **options).x
        padded = backward(grad, (2, 3, size + before + after, 9), weight, **options).x
        expected = padded[:, :, before : before + size].copy()
        for element, first, count in ((0, 0, before), (size - 1, before + size, after)):
            for phase in range(stride):
                for row in range(first + phase, first + count, stride):
                    expected[:, :, element] += padded[:, :, row]
        assert got.tobytes() == expected.tobytes(), f"stride {stride}"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("outputs", (1, 3, 7))
def test_few_outputs_have_the_gradient_that_they_have_among_many(outputs, layout, any_isa, costs):
    """The lanes are output channels or, where these are few, channels of x, as the estimate has it: here both."""
    rng = np.random.default_rng(0)
    options = {"padding": 1, "layout": layout, "need": "weight", "algorithm": "implicit_gemm"}
    for dtype, channels, size in (("float32", 40, (21, 19)), ("float32", 3, (9, 9)), ("float64", 90, (9, 33))):
        x, grad = (rng.standard_normal((2, *size, count)).astype(dtype) for count in (channels, 17))
        grad[1, 0, 3, 0] = np.inf  # where some tap is padding
        if layout == "NCHW":
            x, grad = (np.ascontiguousarray(np.moveaxis(array, 3, 1)) for array in (x, grad))
        few = grad[:, :outputs] if layout == "NCHW" else grad[..., :outputs]
        for isa in convkit.available_isas():
            convkit.set_isa(isa)
            many = convkit.conv2d_backward(grad, x, (17, channels, 3, 3), **options).weight
            for swapped in (1e-6, 1e6):
                engine.set_costs(costs | {"weight_swapped": (swapped,)})
                for view in (x, np.flip(np.flip(x, -1).copy(), -1), np.asfortranarray(x)):
                    got = convkit.conv2d_backward(few, view, (outputs, channels, 3, 3), **options).weight
                    case = f"{channels} channels, {dtype}, {isa}, {swapped}, {view.strides}"
                    np.testing.assert_array_equal(got, many[:outputs], err_msg=case)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "options"),
    (
        ((3, 17, 9, 8), (45, 17, 3, 3), {"padding": 4, "dilation": 4}),
        ((2, 6, 5, 5), (9, 6, 3, 3), {"padding": 7, "dilation": 7}),  # outer taps read nothing
        ((40, 5, 7, 8), (21, 5, 5, 4), {"padding": (3, 2), "stride": 2, "activation": "relu"}),  # images of a chunk
        ((2, 16, 30, 33), (33, 16, 3, 3), {"padding": 8, "dilation": 8}),  # several chunks
        ((2, 18, 6, 5, 7), (34, 9, 3, 3, 4), {"padding": 2, "dilation": (1, 2, 1), "groups": 2}),
        ((1, 1, 52, 54), (24, 1, 25, 24), {"padding": 12}),  # threads share out taps
        ((3, 7, 50), (40, 7, 9), {"padding": 16, "dilation": 4}),
        ((2, 12, 9, 9), (12, 7, 5, 5), {"padding": 2, "stride": 2, "transposed": True}),
    ),
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_taps_have_the_gradient_of_whole_rows(x_shape, weight_shape, options, layout, any_isa, costs):
    """Rows of taps over all pixels, or tap by tap over those that read no padding; some are infinite, in x or grad."""
    rng = np.random.default_rng(0)
    options = {"need": ("weight", "bias"), "layout": layout, "algorithm": "implicit_gemm"} | options
    name = f"conv{'_transpose' * options.pop('transposed', False)}{len(x_shape) - 2}d"
    forward = {k: v for k, v in options.items() if k != "need"}
    for dtype, isa in itertools.product(("float32", "float64"), convkit.available_isas()):
        convkit.set_isa(isa)
        x, weight = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(weight_shape).astype(dtype)
        if layout == "NHWC":
            x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        y = getattr(convkit, name)(x, weight, **forward)
        extra = {"y": y} if "activation" in options else {}
        grad = rng.standard_normal(y.shape).astype(dtype)
        for value, of in ((0, grad), (np.inf, x), (np.inf, grad)):
            of.flat[of.size // 2] = value
            results = []
            for picked, threads in ((1e9, 1), (1e-9, 1), (0.01, 13)):
                engine.set_costs(costs | {"weight_picked": (picked,)})
                with convkit.threads(threads):
                    results.append(getattr(convkit, f"{name}_backward")(grad, x, weight, **options, **extra))
            for got in results[1:]:
                for array, expected in zip(got[1:], results[0][1:], strict=True):
                    np.testing.assert_array_equal(array, expected, f"{dtype}, {isa}, {value}")


@pytest.mark.parametrize("size", (1, 2, 5))
def test_few_positions_have_the_sums_that_they_have_among_many(size, any_isa):
    """Rows of weights are lanes or, of many positions, positions: an image's sums know nothing of it."""
    rng = np.random.default_rng(size)
    for dtype, channels, outputs, taps in (("float32", 301, 7, 4), ("float64", 130, 19, 3), ("float32", 200, 1, 1)):
        options = {"stride": 2, "padding": min(1, taps - 1), "algorithm": "im2col"}
        x = rng.standard_normal((60, channels, size, size)).astype(dtype)
        weight = rng.standard_normal((channels, outputs, taps, taps)).astype(dtype)
        x[7, 3, 0, 0] = np.nan
        last = np.ascontiguousarray(np.moveaxis(weight, 1, 3))  # taps and channels are no neighbours: no lanes
        for isa in convkit.available_isas():
            convkit.set_isa(isa)
            many = convkit.conv_transpose2d(x, weight, **options)
            for images in (1, 2, 7, 11):
                few = convkit.conv_transpose2d(x[images : 2 * images], weight, **options)
                apart = convkit.conv_transpose2d(x[images : 2 * images], np.moveaxis(last, 3, 1), **options)
                expected = {"y": many[images : 2 * images]}
                assert_same_bits({"y": few}, expected, f"{images} images, {dtype}, {isa}")
                assert_same_bits({"y": apart}, expected, f"{images} images, {dtype}, {isa}, weights apart")
