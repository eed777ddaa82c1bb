"""interpolate and its gradient, by hand and by identities, more than `test_resample_family.py` has."""

import numpy as np
import pytest

import convkit
from bounds import assert_slopes, assert_within_bound
from cases import DTYPES, LAYOUTS, arrange, assert_same_bits, restore, short
from convkit.reference import resample
from resample_problems import RESIZE_MODES, SMALL_RESIZES, Resize, random_resize


def of(problem):
    return problem.name


def test_the_random_problems_cover_what_they_promise():
    problems = [random_resize(index) for index in range(240)]
    for nd, modes in RESIZE_MODES.items():
        for mode in modes:
            assert sum(len(p.spatial) == nd and p.mode == mode for p in problems) >= 10, (nd, mode)
    assert sum(p.align_corners for p in problems) >= 25
    assert sum(p.scale is not None for p in problems) >= 60


# ---------------------------------------------------------------- by hand


def resized(values, *arguments, **options):
    """Of nested lists, as nested lists."""
    return convkit.interpolate(np.array(values, np.float64)[None, None], *arguments, **options)[0, 0].tolist()


def test_linear_by_hand(isa):
    assert resized([0, 4], 4, mode="linear") == [0, 1, 3, 4]
    assert resized([0, 4], 5, mode="linear", align_corners=True) == [0, 1, 2, 3, 4]
    assert resized([0, 8, 4], 6, mode="linear") == [0, 2, 6, 7, 5, 4]
    assert resized([0, 1, 2, 3, 4, 5], 2, mode="linear") == [1, 4]
    assert resized([6, 1, 2], 1, mode="linear", align_corners=True) == [6]


def test_bilinear_and_trilinear_by_hand(isa):
    assert resized([[0, 4], [8, 12]], (4, 4), mode="bilinear") == [
        [0, 1, 3, 4], [2, 3, 5, 6], [6, 7, 9, 10], [8, 9, 11, 12],
    ]  # fmt: skip
    assert resized([[[0, 4], [8, 12]], [[16, 20], [24, 28]]], 1, mode="trilinear") == [[[14]]]


def test_bicubic_by_hand(isa):
    """At t = 1/2 the weights are (-3, 19, 19, -3) / 32; at t = 1/4 they are (-27, 225, 67, -9) / 256."""
    unit = [0, 0, 1, 0, 0, 0]
    row = resized([[32 * v for v in unit]], (1, 11), mode="bicubic", align_corners=True)[0]
    assert row == [0, -3, 0, 19, 32, 19, 0, -3, 0, 0, 0]
    row = resized([[256 * v for v in unit]], None, (1, 2), mode="bicubic")[0]
    assert row == [0, -9, -27, 67, 225, 225, 67, -27, -9, 0, 0, 0]


def test_bicubic_repeats_the_edge(isa):
    row = resized([[256, 0, 0, 0]], None, (1, 2), mode="bicubic")[0]
    assert row == [-9 + 67 + 225, -27 + 225, -9 + 67, -27, -9, 0, 0, 0]
    constant = resized([[3.0] * 5] * 4, (9, 7), mode="bicubic")
    assert np.allclose(constant, 3, rtol=1e-15)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_is_integer_arithmetic(mode, isa):
    """floor(i * in / out) and floor((i + 1/2) * in / out), on every pair of small sizes."""
    for before in range(1, 24):
        x = np.arange(before, dtype=np.float32)[None, None]
        for after in range(1, 50):
            i = np.arange(after)
            at = i * before // after if mode == "nearest" else (2 * i + 1) * before // (2 * after)
            assert np.array_equal(convkit.interpolate(x, after, mode=mode)[0, 0], x[0, 0, at])


def test_nearest_copies_bits(isa):
    """Negative zero, infinities and NaN arrive as they were; no element is touched by another."""
    values = np.array([-0.0, np.inf, -np.inf, np.nan, 1e-45, 3], np.float32).reshape(1, 1, 2, 3)
    for layout in LAYOUTS:
        x = arrange(values, layout)
        for size in ((4, 6), (3, 7), (1, 2), (2, 3)):
            got = restore(convkit.interpolate(x, size, layout=layout), layout)
            rows, columns = (np.arange(n) * m // n for n, m in zip(size, (2, 3), strict=True))
            assert got.tobytes() == values[:, :, rows[:, None], columns].tobytes()


# ---------------------------------------------------------------- definitions


def test_what_has_no_weight_does_not_count(isa):
    """The same size gives x back, and corners stay, beside infinite and missing values."""
    x = np.array([[1, np.inf, 2], [np.nan, 3, -np.inf], [4, 5, 6]], np.float32)[None, None]
    for layout in LAYOUTS:
        for mode in ("bilinear", "bicubic"):
            for align_corners in (False, True):
                got = convkit.interpolate(
                    arrange(x, layout), (3, 3), mode=mode, align_corners=align_corners, layout=layout
                )
                assert np.array_equal(restore(got, layout), x, equal_nan=True)
            got = restore(convkit.interpolate(arrange(x, layout), (5, 5), None, mode, True, layout=layout), layout)
            assert np.array_equal(got[0, 0, ::2, ::2], x[0, 0], equal_nan=True)
    grad = np.full((1, 1, 3, 3), np.inf, np.float32)
    assert np.array_equal(convkit.interpolate_backward(grad, (1, 1, 3, 3), mode="bilinear"), grad)


def test_an_infinite_element_reaches_what_reads_it(isa):
    x = np.zeros((1, 1, 8), np.float32)
    x[..., 3] = np.inf
    y = convkit.interpolate(x, 16, mode="linear")[0, 0]
    assert np.array_equal(np.flatnonzero(np.isinf(y)), [5, 6, 7, 8])
    assert np.isfinite(np.delete(y, [5, 6, 7, 8])).all()


def test_the_scale_is_used_as_given():
    """Of 5 elements by 1.3 there are 6 outputs, 1/1.3 apart and not 5/6."""
    x = np.arange(5, dtype=np.float64)[None, None]
    expected = np.clip((np.arange(6) + 0.5) / 1.3 - 0.5, 0, 4)
    assert np.allclose(convkit.interpolate(x, scale_factor=1.3, mode="linear")[0, 0], expected, rtol=0, atol=1e-15)
    expected = np.clip((np.arange(6) + 0.5) * 5 / 6 - 0.5, 0, 4)
    assert np.allclose(convkit.interpolate(x, 6, mode="linear")[0, 0], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_places_do_not_depend_on_the_dtype(dtype, isa):
    """A ramp far from its start: coordinates rounded to float32 would be off by 1/32 there."""
    x = (np.arange(400_000) % 64).astype(dtype)[None, None]
    y = convkit.interpolate(x, scale_factor=1.25, mode="linear")[0, 0, -640:]
    c = (np.arange(499_360, 500_000) + 0.5) / 1.25 - 0.5
    lower, t = np.floor(c).astype(int), c - np.floor(c)
    expected = (1 - t) * x[0, 0, lower] + t * x[0, 0, np.minimum(lower + 1, 399_999)]
    assert np.allclose(y, expected, rtol=0, atol=64 * np.finfo(dtype).eps)


def test_what_lies_before_the_first_elements_middle_is_that_element(isa):
    """To the bit, as it has no other neighbour: the coordinate is 0 there, and no sum of two parts is rounded."""
    x = np.random.default_rng(0).standard_normal((1, 50, 3), np.float32)
    y = convkit.interpolate(x, scale_factor=9, mode="linear")
    assert np.array_equal(y[..., :4], np.broadcast_to(x[..., :1], (1, 50, 4)))


def test_numbers_and_tuples_of_sizes_agree():
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6)).astype(np.float32)
    expected = convkit.interpolate(x, (7, 7), mode="bilinear").tobytes()
    for size in (7, np.int32(7), [7, 7], (np.int64(7), 7)):
        assert convkit.interpolate(x, size, mode="bilinear").tobytes() == expected
    expected = convkit.interpolate(x, scale_factor=(2.0, 2.0), mode="bilinear").tobytes()
    for scale in (2, 2.0, np.float32(2), [2, 2.0], (np.int64(2), 2)):
        assert convkit.interpolate(x, scale_factor=scale, mode="bilinear").tobytes() == expected
    assert convkit.interpolate(x, (10, 12), mode="bilinear").tobytes() == expected


# ---------------------------------------------------------------- identities


@pytest.mark.parametrize("problem", [p.but(size=None, scale=2.0) for p in SMALL_RESIZES], ids=of)
def test_doubling_has_an_exact_adjoint(problem, isa):
    """<A x, g> = <x, A' g> on integers: at scale 2 the weights are dyadic, so it is equal and not close."""
    rng = problem.rng()
    problem = problem.but(align_corners=False)
    x, grad = (rng.integers(-4, 5, shape).astype(np.float32) for shape in (problem.x_shape, problem.y_shape))
    for layout in LAYOUTS:
        got = problem.run(convkit, {"x": x, "grad": grad}, layout)
        assert np.sum(got["y"].astype(float) * grad) == np.sum(got["x"].astype(float) * x)


@pytest.mark.parametrize("problem", SMALL_RESIZES, ids=of)
def test_central_differences(problem):
    operands = problem.operands("float64")
    x, grad = operands["x"], operands["grad"]
    gradient = problem.run(convkit, operands)["x"]
    assert_slopes(
        gradient, lambda: np.vdot(convkit.interpolate(x, problem.size, **problem.options), grad), x, problem.rng(), 30
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "problem",
    (
        Resize("agree_linear", 2, 5, (117,), "linear", None, 2),
        Resize("agree_rows", 2, 19, (7, 9), "bilinear", None, (1, 2)),
        Resize("agree_columns", 1, 3, (17, 39), "bicubic", None, (2, 1)),
        Resize("agree_cubic_rows", 2, 3, (6, 47), "bicubic", None, (1, 2)),
        Resize("agree_planes", 1, 17, (5, 4, 6), "trilinear", None, (2, 1, 1)),
    ),
    ids=of,
)
def test_instruction_sets_agree(problem, dtype, any_isa):
    """Doubling along one axis has weights of a few digits: of short numbers no product is rounded, fused or not; nor is
    any sum but those of cubic weights in float32."""
    rng = problem.rng()
    operands = {"x": short(rng, problem.x_shape, dtype), "grad": short(rng, problem.y_shape, dtype)}
    convkit.set_isa(convkit.available_isas()[0])
    expected = problem.run(convkit if (problem.mode, dtype) == ("bicubic", "float32") else convkit.reference, operands)
    expected = {key: value.astype(dtype) + 0 for key, value in expected.items()}
    for name in convkit.available_isas():
        convkit.set_isa(name)
        assert_same_bits(problem.run(convkit, operands), expected, name)


# ---------------------------------------------------------------- views and out


def test_out_in_the_other_layouts_memory(isa):
    """Channels adjacent in one array and in planes in the other."""
    for problem in SMALL_RESIZES:
        operands = problem.operands("float32")
        for layout in LAYOUTS:
            x = arrange(operands["x"], layout)
            expected = convkit.interpolate(x, problem.size, layout=layout, **problem.options)
            order = np.moveaxis(expected, -1, 1) if layout == "NHWC" else np.moveaxis(expected, 1, -1)
            memory = np.empty_like(np.ascontiguousarray(order))
            out = np.moveaxis(memory, 1, -1) if layout == "NHWC" else np.moveaxis(memory, -1, 1)
            convkit.interpolate(x, problem.size, layout=layout, out=out, **problem.options)
            assert np.array_equal(out, expected)


def test_the_reference_knows_its_terms():
    """S and K of a bilinear doubling: four products an output, |x| weighted."""
    x = -np.ones((1, 1, 4, 4))
    s, k = resample.terms("interpolate", x, scale_factor=2, mode="bilinear")
    assert np.allclose(s, 1)
    assert k[0, 0, 3, 3] == 4
    bound = resample.bound("interpolate", x.astype(np.float32), scale_factor=2, mode="bilinear")
    assert_within_bound(convkit.interpolate(x, scale_factor=2, mode="bilinear"), -np.ones((1, 1, 8, 8)), bound)
