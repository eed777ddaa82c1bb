"""The engine's arrangements: the same bits, whichever the planner finds the cheapest."""

import itertools

import numpy as np
import pytest

import convkit
from cases import LAYOUTS, THOROUGH, arrange, assert_same_bits, each, everything, random_data, restore
from convkit._ext import engine
from problems import AWKWARD, AWKWARD_TRANSPOSED, PLANES, named, random_problem, random_transposed

RANDOM = tuple(make(index) for make in (random_problem, random_transposed) for index in range(2000, 2020))


@pytest.fixture
def cheapest():
    """Restores the planner's free choice."""
    yield
    engine.take_arrangements()


def take(name, op, x_shape, weight_shape, *, reads=None, **options) -> bool:
    """Takes this arrangement alone; fails unless the call then has it wherever it may. Whether it does."""
    engine.take_arrangements()
    free = convkit.explain(op, x_shape, weight_shape, **options)
    may = name in free.estimates or (free.arrangement == "lines" and name not in ("sheets", "unpacked"))
    engine.take_arrangements(name, reads=reads)
    taken = convkit.explain(op, x_shape, weight_shape, **options)
    assert (taken.arrangement == name) == may, f"{taken}, of {name}: {op}, {x_shape}, {weight_shape}, {options}"
    assert reads is None or taken.reads == reads
    return may


def take_for(name, problem, layout="NCHW", dtype="float32") -> bool:
    """Takes this arrangement alone for the forward pass and the gradient of x; whether the forward pass has it."""
    x_shape = problem.x_shape if layout == "NCHW" else (problem.n, *problem.spatial, problem.c_in)
    options = problem.arguments | {"layout": layout, "dtype": dtype}
    take(name, problem.forward, x_shape, problem.weight_shape, direction="x", **options)
    return take(name, problem.forward, x_shape, problem.weight_shape, **options)


@each(PLANES)
@pytest.mark.usefixtures("any_isa", "cheapest")
def test_planes_have_the_bits_of_panels(problem):
    for isa, dtype, layout in itertools.product(convkit.available_isas(), ("float32", "float64"), LAYOUTS):
        convkit.set_isa(isa)
        data = random_data(problem, dtype)
        expected = {}
        for name in ("by_pixel", "by_channel", "sheets" if layout == "NCHW" else "lines"):
            take_for(name, problem, layout, dtype)
            expected = expected or everything(data, layout)
            assert_same_bits(everything(data, layout), expected, f"{problem}, {dtype}, {layout}, {name}, {isa}")


@each([problem for problem in PLANES if problem.kernel[-2:] == (3, 3) and problem.groups == problem.c_in])
@pytest.mark.usefixtures("cheapest")
def test_planes_leave_out_padding_under_weights_that_are_not_finite(problem):
    for dtype, value in itertools.product(("float32", "float64"), (np.inf, np.nan)):
        data = random_data(problem, dtype)
        data.weight[-1].flat[[0, -1]] = value
        assert take_for("by_pixel", problem, dtype=dtype)
        expected = everything(data, "NCHW")
        for taken in ("by_channel", "sheets"):
            take_for(taken, problem, dtype=dtype)
            for name, array in everything(data, "NCHW").items():
                assert_bits(array, expected[name], f"{problem}, {dtype}, {value}, {taken}, {name}")


@each(named("1x1", "1x1_s2", "1x1_s2_wide", "1x1_two_k_blocks"))
@pytest.mark.usefixtures("any_isa", "cheapest")
def test_pointwise_sums_are_added_to_and_stored_alike(problem):
    """From bands, in place or a window; of a k-block or two; straight from registers, or by way of scratch."""
    for isa, dtype in itertools.product(convkit.available_isas(), ("float32", "float64")):
        convkit.set_isa(isa)
        data = random_data(problem, dtype)
        f = convkit.prepare_conv2d(data.weight, data.bias, **problem.arguments, activation="relu")
        more = np.random.default_rng(1).standard_normal(problem.y_shape).astype(dtype)
        expected = np.maximum(convkit.conv2d(data.x, data.weight, data.bias, **problem.arguments) + more, 0)
        for name in ("by_pixel", "by_channel"):
            assert take_for(name, problem, dtype=dtype)
            assert np.array_equal(f(data.x, add=more), expected), f"{problem}, {dtype}, {name}, {isa}"
        engine.take_arrangements()


@pytest.mark.usefixtures("any_isa", "cheapest")
def test_outputs_of_rows_that_a_window_keeps_apart_are_neighbours_in_columns():
    """Few inputs, many outputs: short rows, strides, padding, several images, groups, a kernel that is cut."""
    rng = np.random.default_rng(0)
    layers = (
        ((1, 2, 29, 29), (175, 2, 3, 3), {"padding": 1}),
        ((3, 2, 9, 11), (170, 2, 3, 3), {"padding": 1}),
        ((2, 1, 29, 29), (130, 1, 5, 5), {"stride": 2, "padding": 2}),
        ((4, 3, 14, 13), (97, 3, 4, 3), {"stride": 3, "dilation": 2, "padding": 3}),
        ((2, 4, 40, 50), (260, 2, 2, 3), {"stride": 4, "groups": 2}),
        ((1, 1, 54, 60), (300, 1, 49, 48), {"padding": 2}),
    )
    for isa, (x_shape, weight_shape, options) in itertools.product(convkit.available_isas(), layers):
        convkit.set_isa(isa)
        call = ("conv2d", x_shape, weight_shape)
        options = options | {"algorithm": "implicit_gemm"}
        x, weight = rng.standard_normal(x_shape, np.float32), rng.standard_normal(weight_shape, np.float32)
        for value in (None, np.inf) if weight[0].size < 600 else (None,):
            if value:
                weight[5].flat[[0, -1]] = value
            results = []
            for name, reads in (("by_pixel", "window"), ("by_channel", "window"), ("by_channel", "columns")):
                assert take(name, *call, reads=reads, **options)
                results.append(convkit.conv2d(x, weight, **options))
            for result in results[1:]:
                np.testing.assert_array_equal(result, results[0], f"{call}, {options}, {value}, {isa}")


@pytest.mark.usefixtures("any_isa", "cheapest")
def test_planes_of_a_large_input_are_read_in_place_some_at_a_time():
    """One tap and several, of channels that are no multiple of them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 37, 300, 305), np.float32)
    for isa, taps in itertools.product(convkit.available_isas(), ((1, 1), (2, 2))):
        convkit.set_isa(isa)
        weight, results = rng.standard_normal((3, 37, *taps), np.float32), []
        for name, reads in (("by_channel", "window"), ("by_channel", "input")):
            assert take(name, "conv2d", x.shape, weight.shape, reads=reads, algorithm="implicit_gemm")
            results.append(convkit.conv2d(x, weight, algorithm="implicit_gemm"))
        np.testing.assert_array_equal(*results, f"{taps}, {isa}")


@pytest.mark.usefixtures("any_isa", "cheapest")
def test_tiles_that_end_with_the_rows_of_an_image_have_the_bits_of_others():
    """By pixel, of one vector of outputs or half of one: rows of which two fit, one, a part, or nothing that ends."""
    rng = np.random.default_rng(0)
    sizes = ((1, 3), (3, 5), (8, 7), (12, 8), (16, 13), (2, 14), (5, 15), (7, 16), (4, 18), (13, 28))
    places = itertools.product(convkit.available_isas(), ("float32", "float64"), LAYOUTS, sizes)
    for isa, dtype, layout, (c_out, columns) in places:
        convkit.set_isa(isa)
        x = arrange(rng.standard_normal((2, 3, 9, columns + 2)).astype(dtype), layout)
        weight, bias = rng.standard_normal((c_out, 3, 3, 3)).astype(dtype), rng.standard_normal(c_out).astype(dtype)
        options = {"layout": layout, "algorithm": "implicit_gemm"}
        results = []
        for name, reads in (("by_channel", "window"), ("by_pixel", "window"), ("by_pixel", "input")):
            assert take(name, "conv2d", x.shape, weight.shape, reads=reads, dtype=dtype, **options)
            results.append(convkit.conv2d(x, weight, bias, activation="relu", **options))
        for result in results[1:]:
            np.testing.assert_array_equal(result, results[0], f"{c_out}, {columns}, {dtype}, {layout}, {isa}")


@pytest.mark.usefixtures("any_isa", "cheapest")
def test_short_rows_of_a_stride_are_copied_alike():
    """By channel of a vector's columns or fewer, out of lines of some rows, also of more rows than these hold."""
    rng = np.random.default_rng(0)
    layers = (
        ((2, 3, 12, 13), (5, 3, 3, 3), {"stride": 2, "padding": 1}),
        ((2, 4, 90, 29), (4, 1, 3, 4), {"stride": (1, 4), "groups": 4}),
        ((1, 2, 70, 20), (3, 2, 2, 3), {"stride": (1, 3), "padding": 2, "padding_mode": "replicate"}),
        ((1, 2, 9, 26), (3, 2, 2, 4), {"stride": 4, "dilation": 2, "padding": 1, "padding_mode": "reflect"}),
        ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), {"stride": 2}),
    )
    for isa, dtype, layer in itertools.product(convkit.available_isas(), ("float32", "float64"), layers):
        convkit.set_isa(isa)
        x_shape, weight_shape, options = layer
        op, options = f"conv{len(x_shape) - 2}d", options | {"algorithm": "implicit_gemm"}
        x, weight = rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(weight_shape).astype(dtype)
        results = []
        for name in ("by_pixel", "by_channel"):
            assert take(name, op, x_shape, weight_shape, reads="window", dtype=dtype, **options)
            results.append(getattr(convkit, op)(x, weight, **options))
        np.testing.assert_array_equal(*results, f"{layer}, {dtype}, {isa}")


@pytest.mark.parametrize("name", ["by_channel", "sheets"])
@pytest.mark.parametrize("activation", [None, "relu", ("leaky_relu", 0.1), "tanh"])
@pytest.mark.usefixtures("cheapest")
def test_planes_are_stored_in_any_strides(activation, name):
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(shape, np.float32) for shape in ((2, 3, 11, 19), (3, 1, 3, 3), (3,)))
    assert take(name, "conv2d", x.shape, weight.shape, padding=1, groups=3)
    expected = convkit.conv2d(x, weight, bias, padding=1, groups=3, activation=activation)
    for axes in itertools.permutations(range(4)):
        out = np.empty([expected.shape[i] for i in axes], np.float32).transpose(np.argsort(axes))
        convkit.conv2d(x, weight, bias, padding=1, groups=3, activation=activation, out=out)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
@pytest.mark.usefixtures("any_isa", "cheapest")
def test_phases_are_joined_into_rows_planes_and_images(activation):
    """By pixel and by group those with taps, with the elements that have none; otherwise phase by phase."""
    rng = np.random.default_rng(0)
    layers = (  # rows, planes and images whole, or with a part beyond the output; in the last two most have no tap
        ((2, 5, 7, 9), (5, 20, 3, 3), {"stride": 2, "padding": 1}),
        ((3, 4, 4, 5), (4, 33, 3, 2), {"stride": (3, 4), "output_padding": (1, 2)}),
        ((2, 3, 2, 3, 4), (3, 17, 1, 3, 2), {"stride": 2, "padding": (0, 1, 0)}),
        ((2, 18, 6, 20), (18, 1, 3, 3), {"stride": 3, "groups": 18, "padding": 2}),
        ((2, 5, 6, 7), (5, 9, 1, 1), {"stride": 2}),
        ((1, 5, 6, 7), (5, 9, 3, 3), {"stride": 3, "dilation": 3}),
    )
    for isa, (x_shape, weight_shape, options) in itertools.product(convkit.available_isas(), layers):
        convkit.set_isa(isa)
        nd = len(x_shape) - 2
        op, groups = f"conv_transpose{nd}d", options.get("groups", 1)
        x, weight = rng.standard_normal(x_shape, np.float32), rng.standard_normal(weight_shape, np.float32)
        bias = rng.standard_normal(groups * weight_shape[1], np.float32)
        given = options | {"activation": activation}
        results = []
        for name in ("by_channel", "by_pixel", "by_group"):
            if take(name, op, x_shape, weight_shape, **options):
                results.append(getattr(convkit, op)(x, weight, bias, **given))
                out = np.empty(results[0].shape[::-1], np.float32).transpose()
                getattr(convkit, op)(x, weight, bias, **given, out=out)
                results.append(out)
        assert len(results) >= 4
        for result in results[1:]:
            np.testing.assert_array_equal(result, results[0], f"{x_shape}, {weight_shape}, {given}, {isa}")


@pytest.mark.usefixtures("cheapest")
def test_a_call_is_planned_again_once_plans_have_changed():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 1, 40, 40), np.float32), rng.standard_normal((8, 1, 7, 7), np.float32)
    calls, results, needed = (convkit.prepare_conv2d(weight), lambda x: convkit.conv2d(x, weight)), [], {}
    for name in ("by_channel", "by_pixel"):
        assert take(name, "conv2d", x.shape, weight.shape)
        needed[name] = convkit.explain("conv2d", x.shape, weight.shape).workspace
    for name in sorted(needed, key=needed.get):  # the one that needs more would overrun the other's
        take(name, "conv2d", x.shape, weight.shape)
        results.append([call(x) for call in calls])
    assert len(set(needed.values())) == 2
    np.testing.assert_array_equal(*results)


@pytest.mark.usefixtures("isa", "cheapest")
def test_runs_of_images_and_planes_as_many_as_rows():
    """Two images of two planes are four runs, which do not follow one another as the four rows within each do."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 1, 8, 3, 8)), rng.standard_normal((8, 1, 3, 1, 1))
    sizes = {"stride": (3, 2, 1), "padding": (0, 2, 2), "algorithm": "implicit_gemm"}
    for reads in ("window", "columns"):
        engine.take_arrangements("by_channel", reads=reads)
        got = convkit.conv3d(x, weight, **sizes)
        engine.take_arrangements("by_pixel")
        np.testing.assert_array_equal(got, convkit.conv3d(x, weight, **sizes))


@pytest.mark.thorough
@pytest.mark.usefixtures("isa", "cheapest")
@pytest.mark.parametrize("name", ("by_channel", "by_pixel"))
def test_what_comes_from_memory_has_the_bits_of_single_images(name):
    """More than 12 MiB are read some planes at a time by the first of several tiles, and rows are not cut."""
    rng = np.random.default_rng(0)
    for channels, outputs, taps, options in ((70, 30, 1, {}), (40, 3, 2, {}), (50, 17, 2, {"stride": 2})):
        x = rng.standard_normal((2 + 13 * 2**20 // (4 * channels * 58**2), channels, 58, 58), np.float32)
        weight = rng.standard_normal((outputs, channels, taps, taps), np.float32)
        engine.take_arrangements(name, reads="input")
        got = convkit.conv2d(x, weight, algorithm="implicit_gemm", **options)
        alone = [convkit.conv2d(image[None], weight, algorithm="implicit_gemm", **options)[0] for image in x]
        np.testing.assert_array_equal(got, alone)


def test_a_plan_is_for_one_size_of_output():
    """Transposed, one pixel of y is read for 6x6 outputs or for 8x8, in planes of the same strides: scratch differs."""
    y, weight = np.ones((1, 16, 1, 1), np.float32), np.ones((16, 16, 4, 4), np.float32)

    def workspace(plane, size):
        x = np.zeros((1, 16, plane, plane), np.float32)[..., :size, :size]
        sizes = (size, size), (4, 4), (8, 8), (1, 1), (0, 0), (0, 0), (1, 1), 0  # stride 8, no padding
        geometry = engine.Geometry(1, 1, 16, 16, *sizes)
        return engine.conv_explain(geometry, engine.TRANSPOSED, x, weight, y, False, engine.AUTO, 1)["workspace"]

    expected = workspace(41, 8)
    assert workspace(40, 6) <= expected == workspace(40, 8)


@pytest.mark.usefixtures("isa", "cheapest")
def test_panels_are_of_one_arrangement_or_of_winograds_algorithm():
    """One function makes each kind at the first image that needs it, and finds it at the next."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((37, 20, 3, 3), np.float32)
    f = convkit.prepare_conv2d(weight, padding=1)
    images = [rng.standard_normal((2, 20, size, size), np.float32) for size in (14, 3)]  # Winograd's, the engine's
    for name in ("by_pixel", "by_channel") * 2:
        for x, may in zip(images, (False, True), strict=True):
            assert take(name, "conv2d", x.shape, weight.shape, padding=1) == may
            assert f(x).tobytes() == convkit.conv2d(x, weight, padding=1).tobytes(), f"{name}, {x.shape}"


def test_weights_laid_out_once_change_no_order_of_the_source(costs):
    """Groups as lanes may be the best where each task packs its weights, and pixels where they are packed for all."""
    rng = np.random.default_rng(0)
    grad, weight = rng.standard_normal((1, 16, 20, 11), np.float32), rng.standard_normal((16, 8, 2, 4), np.float32)
    options = {"stride": (1, 2), "padding": (0, 4), "dilation": (1, 3), "groups": 8, "need": "x", "algorithm": "direct"}
    few = {"stage": (4,), "stage_groups": (0.34, 0.037), "drain_groups": (0.14, 1.7, 0.098)}
    expected = convkit.conv2d_backward(grad, (1, 64, 21, 22), weight, **options).x
    for apart in np.geomspace(10, 1000, 40):
        engine.set_costs(costs | few | {"drain_run": (apart,), "drain_groups_run": (0.8 * apart,)})
        got = convkit.conv2d_backward(grad, (1, 64, 21, 22), weight, **options).x
        np.testing.assert_array_equal(got, expected, err_msg=str(apart))


@pytest.mark.usefixtures("isa")
def test_points_that_each_task_forms_are_those_that_all_share(costs):
    """A vector of products at a time, several, or all; channels and taps of the first axis fill none of them evenly."""
    rng = np.random.default_rng(0)
    for x_shape in ((1, 31, 4, 9, 10), (1, 50, 4, 9, 10), (6, 40, 1, 7, 7)):  # the last: rows at no even steps
        x = rng.standard_normal(x_shape, np.float32)
        weight = rng.standard_normal((37, x_shape[1], 3, 3, 3), np.float32)
        engine.set_costs(costs)
        with convkit.threads(2):
            expected = convkit.conv3d(x, weight, padding=1, algorithm="winograd")
            assert np.allclose(expected, convkit.conv3d(x, weight, padding=1, algorithm="im2col"), 0, 1e-2)
            for cut in (0, 1, 1000):
                engine.set_costs(costs | {"region": (1e12,), "strip": (cut,), "strip_vector": (0,)})
                plan = convkit.explain("conv3d", x.shape, weight.shape, padding=1, algorithm="winograd")
                assert plan.shared_weights == 0
                assert (plan.block[0] > 1) == (x_shape[0] > 1)
                got = convkit.conv3d(x, weight, padding=1, algorithm="winograd")
                np.testing.assert_array_equal(got, expected)


def weight_forms(weight):
    """The same weight with rows, or columns, adjacent; with rows apart and backwards; starting anywhere in a line."""
    wide = np.full((2 * weight.shape[0], weight.shape[1] + 3), np.nan, weight.dtype)
    wide[-1::-2, 2:-1] = weight
    shifted = np.empty(weight.size + 16, weight.dtype)
    start = (-shifted.ctypes.data // weight.itemsize + 13) % 16
    shifted = shifted[start : start + weight.size].reshape(weight.shape)
    shifted[...] = weight
    return weight, np.asfortranarray(weight), wide[-1::-2, 2:-1], shifted


def assert_bits(got, expected, case):
    """But for those of NaN, whose sign says which operand came first."""
    known = ~np.isnan(expected)
    assert np.array_equal(~np.isnan(got), known), case
    assert got[known].tobytes() == expected[known].tobytes(), case


@pytest.mark.parametrize(
    "size", [(16, 1), (19, 5), (64, 16), (577, 33), (1153, 17), pytest.param((2048, 31), marks=THOROUGH)], ids=str
)
@pytest.mark.usefixtures("any_isa", "cheapest")
def test_weights_that_are_not_packed_give_the_bits_of_panels(size):
    """Few rows, and weights that may be infinite: no tap is padding, so they are products like others."""
    rng = np.random.default_rng(3)
    for isa, dtype, infinite in itertools.product(convkit.available_isas(), ("float32", "float64"), (False, True)):
        convkit.set_isa(isa)
        options = {"layout": "NHWC", "dtype": dtype}
        weight = rng.standard_normal(size[::-1]).astype(dtype)
        if infinite:
            weight[-1, size[0] // 2], weight[0, 0] = np.inf, np.nan
        bias = rng.standard_normal(size[1]).astype(dtype)
        for rows in (*range(1, 10), 16):
            x = rng.standard_normal((rows, size[0])).astype(dtype)
            engine.take_arrangements("by_pixel")
            expected = convkit.linear(x, weight, bias, activation="relu")
            back = convkit.linear_backward(expected, x, weight, need="x").x
            shapes = "conv1d", (1, rows, size[0]), (*size[::-1], 1)
            take("unpacked", *shapes, direction="x", **options)
            assert take("unpacked", *shapes, **options)
            for i, form in enumerate(weight_forms(weight)):
                case = f"{rows} rows, {dtype}, {isa}, form {i}"
                assert_bits(convkit.linear(x, form, bias, activation="relu"), expected, case)
                assert_bits(convkit.linear_backward(expected, x, form, need="x").x, back, case)


@pytest.mark.parametrize("outputs", (1, 2, 4, 5))
@pytest.mark.usefixtures("any_isa", "cheapest")
def test_many_rows_of_few_outputs_have_the_bits_of_single_rows(outputs):
    """Rows and outputs then take each other's place; each output has its bias still."""
    rng = np.random.default_rng(5)
    for isa, dtype, features in itertools.product(convkit.available_isas(), ("float32", "float64"), (16, 37, 1153)):
        convkit.set_isa(isa)
        arrays = ((77, features), (outputs, features), outputs)
        x, weight, bias = (rng.standard_normal(shape).astype(dtype) for shape in arrays)
        for activation in (None, "relu", "tanh"):
            engine.take_arrangements("by_pixel")
            parts = [convkit.linear(x[i : i + 1], weight, bias, activation=activation) for i in range(77)]
            engine.take_arrangements()
            told = convkit.explain("conv1d", (1, 77, features), (outputs, features, 1), layout="NHWC", dtype=dtype)
            assert (told.arrangement == "unpacked") == (outputs <= (4 if features == 1153 else 1))
            got = convkit.linear(x, weight, bias, activation=activation)
            assert got.tobytes() == np.concatenate(parts).tobytes(), f"{isa}, {dtype}, {features}, {activation}"
        more, f = rng.standard_normal((77, outputs, 1)).astype(dtype), convkit.prepare_conv1d(weight[:, :, None], bias)
        image = x[:, :, None]
        assert (f(image, add=more) == convkit.linear(x, weight, bias)[:, :, None] + more).all()
        assert (convkit.linear(x[::-1], weight[::-1])[::-1, ::-1] == convkit.linear(x, weight)).all()


@pytest.mark.usefixtures("cheapest")
def test_a_kernel_as_large_as_the_image_is_not_packed():
    rng = np.random.default_rng(4)
    x, weight = rng.standard_normal((3, 6, 5, 4), np.float32), rng.standard_normal((21, 6, 5, 4), np.float32)
    assert take("by_pixel", "conv2d", x.shape, weight.shape)
    expected = convkit.conv2d(x, weight)
    assert take("unpacked", "conv2d", x.shape, weight.shape)
    assert convkit.conv2d(x, weight).tobytes() == expected.tobytes()


@pytest.mark.usefixtures("any_isa", "cheapest")
def test_groups_of_a_task_share_its_tables():
    """As many as fit, a part of a vector among them, and one whose weights are not finite, so that boxes change."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 153, 7, 9), np.float32), rng.standard_normal((153, 1, 3, 3), np.float32)
    weight[40, 0, 0, 0] = np.inf
    for isa in convkit.available_isas():
        convkit.set_isa(isa)
        results = []
        for name, threads in (("by_pixel", 1), ("by_group", 1), ("by_group", 3), ("by_channel", 1), ("sheets", 2)):
            assert take(name, "conv2d", x.shape, weight.shape, padding=1, groups=153, algorithm="direct")
            with convkit.threads(threads):
                results.append(convkit.conv2d(x, weight, padding=1, groups=153, algorithm="direct"))
        assert all(np.array_equal(y, results[0], equal_nan=True) for y in results), isa


@pytest.mark.thorough
@pytest.mark.usefixtures("cheapest")
@pytest.mark.parametrize("stride", [1, 3])
def test_planes_that_come_from_memory_have_the_bits_of_groups(stride):
    """Of more bytes than level 3 holds, what comes next is fetched: also of an array whose planes lie apart."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((40, 80, 60, 80), np.float32), rng.standard_normal((40, 1, 3, 2), np.float32)
    for source in (x[:, :40], x[:, ::2], x[:, 39::-1]):
        results = []
        for name in ("by_channel", "by_group"):
            assert take(name, "conv2d", source.shape, weight.shape, stride=stride, groups=40, algorithm="direct")
            results.append(convkit.conv2d(source, weight, stride=stride, groups=40, algorithm="direct"))
        assert np.array_equal(*results)


@pytest.mark.thorough
@each(AWKWARD + AWKWARD_TRANSPOSED + RANDOM)
@pytest.mark.usefixtures("any_isa", "cheapest")
def test_they_never_change_bits(problem):
    data = random_data(problem, "float32")
    for isa, layout in itertools.product(convkit.available_isas(), LAYOUTS):
        convkit.set_isa(isa)
        expected = everything(data, layout)
        for name in engine.arrangements():
            take_for(name, problem, layout)
            assert_same_bits(everything(data, layout), expected, f"{problem}, {layout}, {name}, {isa}")
        engine.take_arrangements()


@pytest.mark.usefixtures("any_isa", "cheapest")
@pytest.mark.parametrize("name", ["by_pixel", "by_channel"])
@pytest.mark.parametrize("shape", [(2, 5, 150, 9), (3, 20, 40, 31), (4, 23, 7, 34)], ids=str)
def test_one_tap_under_a_stride_of_two(name, shape):
    """More rows than are copied at a time, rows that several bands share, images that are runs of their own."""
    rng = np.random.default_rng(0)
    x, weight = (rng.integers(-4, 5, size).astype("f4") for size in (shape, (37, shape[1], 1, 1)))
    expected = np.einsum("oc,nchw->nohw", weight[:, :, 0, 0], x[:, :, ::2, ::2])
    for isa in convkit.available_isas():
        convkit.set_isa(isa)
        take(name, "conv2d", x.shape, weight.shape, stride=2)
        np.testing.assert_array_equal(convkit.conv2d(x, weight, stride=2), expected)
        take(name, "conv2d", expected.shape, (8, 37, 1, 1))  # the same without a stride
        ones = np.ones((8, 37, 1, 1), np.float32)
        np.testing.assert_array_equal(convkit.conv2d(expected, ones)[:, 0], expected.sum(1))


# Of depthwise layers with channels last: (N, H, W, channels), kernel, options. Phases without a tap, more of them than
# rows, kernels that reach beyond the image, a last vector that shares channels, arrays that no cache holds; less than
# a vector of channels, pixels of which are lanes together, and the last of them done again.
LINES = (
    ((2, 9, 11, 35), (3, 3), {"padding": 1}),
    ((3, 20, 27, 67), (4, 5), {"stride": (2, 3), "padding": (1, 2)}),
    ((1, 28, 33, 33), (3, 2), {"stride": 3, "dilation": 3, "padding": 2}),
    ((2, 52, 75, 16), (2, 3), {"stride": (7, 9), "dilation": (2, 1)}),
    ((1, 1, 600, 40), (1, 5), {"stride": (1, 2), "padding": (0, 4), "dilation": (1, 2)}),
    ((4, 6, 16, 48), (5, 5), {"padding": 4}),
    ((2, 9, 43, 3), (3, 3), {"padding": 1}),
    ((1, 12, 60, 7), (4, 5), {"padding": (2, 1)}),
    ((1, 5, 67, 2), (2, 3), {"padding": (3, 2), "dilation": (1, 2)}),
    pytest.param(((1, 165, 150, 64), (3, 3), {"padding": 1}), marks=pytest.mark.thorough),
    pytest.param(((1, 165, 150, 64), (3, 3), {"stride": 2, "padding": 1}), marks=pytest.mark.thorough),
)


@pytest.mark.parametrize("layer", LINES, ids=str)
@pytest.mark.usefixtures("any_isa", "cheapest")
def test_lines_from_memory_have_the_bits_of_windows(layer):
    """Gradients of x and transposed convolutions by phases; gradients of weights as with channels first."""
    (n, height, width, channels), kernel, options = layer
    options = options | {"groups": channels}
    rng = np.random.default_rng(0)
    places = itertools.product(convkit.available_isas(), ("float32", "float64"), (1, 3))
    for isa, dtype, threads in places:
        convkit.set_isa(isa)
        with convkit.threads(threads):
            lines_and_windows(rng, (n, height, width, channels), kernel, options, dtype)


def lines_and_windows(rng, x_shape, kernel, options, dtype):
    x = rng.standard_normal(x_shape).astype(dtype)
    weight = rng.standard_normal((x_shape[3], 1, *kernel)).astype(dtype)
    grad = rng.standard_normal(convkit.conv2d(x, weight, layout="NHWC", **options).shape).astype(dtype)
    call = {"direction": "x", "layout": "NHWC", "dtype": dtype, **options}
    f = convkit.prepare_conv_transpose2d(weight, layout="NHWC", **options)
    for value in (None, np.inf):
        if value is not None:
            grad[-1, -1, 0, [0, -1]] = value
        place = f"{x_shape}, {kernel}, {options}, {dtype}, {convkit.isa()}, {value}"
        assert convkit.explain("conv2d", x.shape, weight.shape, **call).arrangement == "lines", place
        found = convkit.conv2d_backward(grad, x, weight, layout="NHWC", **options)
        across = convkit.conv_transpose2d(grad, weight, layout="NHWC", **options)
        assert_bits(f(grad), across, place)
        planes = (np.ascontiguousarray(restore(array, "NHWC")) for array in (grad, x))
        planes = convkit.conv2d_backward(*planes, weight, **options)
        assert_bits(found.weight, planes.weight, place)
        assert_bits(found.bias, planes.bias, place)
        assert take("by_group", "conv2d", x.shape, weight.shape, **call)
        assert_bits(found.x, convkit.conv2d_backward(grad, x, weight, layout="NHWC", **options).x, place)
        assert_bits(across, convkit.conv_transpose2d(grad, weight, layout="NHWC", **options), place)
        engine.take_arrangements()
