"""Deformable convolution at fixed offsets is linear in x: its matrix against the reference, its operator to the bit."""

import numpy as np
import pytest

import convkit
from bounds import assert_within_bound
from cases import LAYOUTS, THOROUGH, arrange, in_turns, restore
from convkit.analysis import conv_matrix, conv_operator
from deform_cases import Deform, backward, forward, named, random_case

PROBLEMS = tuple(
    problem.but(n=1, bias=False)
    for problem in named(
        "d_odd_sizes", "d_same_lower_s2", "d_no_bias_v1", "d_stride_over_k", "d_1x1_padded_s3", "d_dilated_strided",
        "d_asymmetric", "d_asymmetric_s2", "d_padding_only", "d_grouped_across", "d_grouped_each", "d_depthwise_x3",
    )
)  # fmt: skip


def of(problem: Deform) -> str:
    return problem.name


def placed(data, layout, batched):
    """Shape of x, and the arguments of the map."""
    arrays = {"x": data.x, "offset": data.offset, "mask": data.mask}
    arrays = {name: None if array is None else arrange(array, layout) for name, array in arrays.items()}
    if not batched:
        arrays = {name: None if array is None else array[0] for name, array in arrays.items()}
    shape = arrays.pop("x").shape
    return shape, arrays | data.problem.arguments | {"layout": layout}


@pytest.mark.parametrize("dtype", ("float32", pytest.param("float64", marks=THOROUGH)))
@in_turns("problem", PROBLEMS, 0)
def test_matrix_and_operator(problem, dtype):
    case = random_case(problem, dtype)
    data = case.data
    y, dx = forward(data), backward(data, need="x")["x"]
    for layout in LAYOUTS:
        x, grad = arrange(data.x, layout).ravel(), arrange(data.grad, layout).ravel()
        for batched in (True, False):
            shape, arguments = placed(data, layout, batched)
            matrix, operator = (
                f(problem.forward, shape, data.weight, **arguments) for f in (conv_matrix, conv_operator)
            )
            assert matrix.shape == operator.shape == (y.size, x.size)
            assert matrix.dtype == operator.dtype == dtype
            for name, a, vector, expected in (("y", matrix, x, y), ("x", matrix.T, grad, dx)):
                got = restore((a @ vector).reshape(arrange(expected, layout).shape), layout)
                assert_within_bound(got, case.expected[name], 2 * case.bound[name], f"{name}, {layout}")
            assert (operator @ x).tobytes() == arrange(y, layout).tobytes()
            assert (operator.T @ grad).tobytes() == arrange(dx, layout).tobytes()


def test_several_vectors_share_the_offsets():
    data = random_case(PROBLEMS[0], "float64").data
    shape, arguments = placed(data, "NCHW", False)
    operator = conv_operator(convkit.deform_conv2d, shape, data.weight, **arguments)
    vectors = np.random.default_rng(0).standard_normal((operator.shape[1], 3))
    expected = np.stack([operator @ vector for vector in vectors.T], axis=1)
    assert np.array_equal(operator @ vectors, expected)


def test_without_offsets_it_is_convolution():
    """And a whole-pixel offset shifts every row of the matrix."""
    w = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    offset = np.zeros((18, 5, 5))
    plain = conv_matrix("conv2d", (1, 5, 5), w, padding=1)
    assert (conv_matrix("deform_conv2d", (1, 5, 5), w, offset=offset, padding=1) != plain).nnz == 0
    offset[1::2] = 1.0
    shifted = conv_matrix("conv2d", (1, 5, 5), w, padding=((1, 1), (0, 2)))
    assert (conv_matrix("deform_conv2d", (1, 5, 5), w, offset=offset, padding=1) != shifted).nnz == 0


OFFSET, W = np.zeros((18, 4, 4), np.float32), np.ones((2, 3, 3, 3), np.float32)
REFUSED = [
    ((3, 6, 6), {}, TypeError, "missing a required argument: 'offset'"),
    ((3, 6, 6), {"offset": None}, TypeError, "offset must be a float32 or float64 array, got NoneType"),
    (
        (3, 6, 6),
        {"offset": OFFSET.astype(float)},
        TypeError,
        "offset must have the dtype of weight, float32, got float64",
    ),
    ((3, 6, 6), {"offset": OFFSET[:9]}, ValueError, r"offset must have shape .*, got shape \(9, 4, 4\)"),
    ((1, 3, 6, 6), {"offset": OFFSET}, ValueError, r"offset must have shape .*, got shape \(18, 4, 4\)"),
    (
        (2, 3, 6, 6),
        {"offset": np.stack([OFFSET] * 2)},
        ValueError,
        r"x_shape must be that of one image, .*, got \(2, 3",
    ),
    (
        (3, 6, 6),
        {"offset": OFFSET, "mask": OFFSET},
        ValueError,
        r"mask must have shape \(9, 4, 4\), .*, got shape \(18",
    ),
    ((3, 6, 6), {"offset": OFFSET, "mask": [1.0]}, TypeError, "mask must be a float32 or float64 array, got list"),
    ((3, 6, 6), {"offset": OFFSET, "bias": W}, ValueError, "bias must be left out, a matrix .*, got ndarray"),
]


@pytest.mark.parametrize("function", (conv_matrix, conv_operator))
@pytest.mark.parametrize(("shape", "arguments", "error", "message"), REFUSED)
def test_refused(function, shape, arguments, error, message):
    with pytest.raises(error, match="^" + message):
        function("deform_conv2d", shape, W, **arguments)


def test_nan_offsets_have_no_matrix():
    """The operator does have them: the outputs that read there are NaN."""
    offset = OFFSET.copy()
    offset[3, 1, 2] = np.nan
    with pytest.raises(ValueError, match="^offset must have no NaN, .*, got some"):
        conv_matrix("deform_conv2d", (3, 6, 6), W, offset=offset)
    y = conv_operator("deform_conv2d", (3, 6, 6), W, offset=offset) @ np.ones(108, np.float32)
    assert np.flatnonzero(np.isnan(y)).tolist() == [6, 22]
