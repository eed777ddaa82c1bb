"""A convolution as a matrix and as an operator: the study-book example, the operators themselves, SciPy's solvers."""

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse import linalg

import convkit
from bounds import assert_within_bound
from cases import LAYOUTS, THOROUGH, arrange, integer_data, random_case, random_data
from convkit.analysis import conv_matrix, conv_operator
from missing import hide
from problems import EMPTY, EMPTY_TRANSPOSED, Problem, named

PROBLEMS = named(
    "odd_sizes", "even_kernel_lower", "stride_over_kernel", "dilated_strided", "asymmetric_s2", "padding_only",
    "grouped_odd", "depthwise_x3", "1d_s4_d3", "3d_mixed", "reflect", "reflect_max", "replicate_far", "circular_max",
    "circular_3d", "replicate_grouped", "kernel_over_image", "1x1_padded_s3",
    "t_asymmetric", "t_kernel_is_stride", "t_under_stride_out", "t_out_over_stride", "t_past_the_reach", "t_bias_alone",
    "t_same_deficit", "t_output_size", "t_grouped_odd", "t_depthwise_x3", "t_1d_s4_d3", "t_3d_mixed",
)  # fmt: skip


def of(problem: Problem) -> str:
    return problem.name


def as_vectors(array, layout):
    """The images of an NCHW batch as columns."""
    return arrange(array, layout).reshape(len(array), -1).T


def gradient_of_x(data):
    operator = getattr(convkit, data.problem.backward)
    return operator(data.grad, data.x.shape, data.weight, need="x", **data.problem.arguments).x


# ---------------------------------------------------------------- the study-book example


def test_3x3_on_4x4_is_a_4x16_matrix():
    """V. Dumoulin and F. Visin, section 4.1: each row has the kernel, row by row, where its window lies."""
    w = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    c = conv_matrix(convkit.conv2d, (1, 4, 4), w)
    assert isinstance(c, scipy.sparse.csr_array)
    first = [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0]
    expected = [np.roll(first, shift) for shift in (0, 1, 4, 5)]
    np.testing.assert_array_equal(c.toarray(), expected)
    x = np.arange(16.0).reshape(1, 4, 4)
    np.testing.assert_array_equal((c @ x.ravel()).reshape(1, 2, 2), convkit.conv2d(x, w))


def test_its_transpose_takes_2x2_to_4x4():
    w = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    c, y = conv_matrix("conv2d", (1, 4, 4), w), np.array([[1.0, 10.0], [100.0, 1000.0]])
    spread = convkit.conv_transpose2d(y[None], w)
    assert spread.shape == (1, 4, 4)
    np.testing.assert_array_equal((c.T @ y.ravel()).reshape(1, 4, 4), spread)
    np.testing.assert_array_equal(conv_matrix("conv_transpose2d", (1, 2, 2), w).toarray(), c.toarray().T)


# ---------------------------------------------------------------- the matrix


@pytest.mark.parametrize("dtype", ("float32", pytest.param("float64", marks=THOROUGH)))
@pytest.mark.parametrize("problem", PROBLEMS, ids=of)
def test_the_matrix_is_the_operator(problem, dtype):
    data = integer_data(problem.but(bias=False), dtype)
    y = getattr(convkit, problem.forward)(data.x, data.weight, **problem.arguments)
    for layout in LAYOUTS:
        shape = arrange(data.x, layout).shape
        matrix = conv_matrix(problem.forward, shape, data.weight, layout=layout, **problem.arguments)
        assert matrix.dtype == dtype
        assert matrix.shape == (y[0].size, data.x[0].size)
        np.testing.assert_array_equal(matrix @ as_vectors(data.x, layout), as_vectors(y, layout))
        np.testing.assert_array_equal(matrix.T @ as_vectors(data.grad, layout), as_vectors(gradient_of_x(data), layout))
        one_image = conv_matrix(problem.forward, shape[1:], data.weight, layout=layout, **problem.arguments)
        assert (one_image != matrix).nnz == 0


@pytest.mark.thorough
@pytest.mark.parametrize("problem", named("odd_sizes", "t_asymmetric", "circular_max"), ids=of)
def test_its_entries_are_what_is_read(problem):
    """One for each output and each input that it reads, however often, and also where the weight is zero."""
    data = random_data(problem.but(bias=False), "float64")
    matrix = conv_matrix(problem.forward, data.x.shape, np.zeros_like(data.weight), **problem.arguments)
    ones = conv_matrix(problem.forward, data.x.shape, np.ones_like(data.weight), **problem.arguments)
    assert matrix.has_canonical_format
    assert matrix.nnz == ones.nnz == np.count_nonzero(ones.toarray())
    _, count = convkit.reference.terms(problem.forward, data.x, data.weight, **problem.arguments)
    np.testing.assert_array_equal(ones.sum(axis=1), count[0].ravel())


@pytest.mark.parametrize("problem", (*EMPTY, *EMPTY_TRANSPOSED), ids=of)
def test_sizes_of_zero(problem):
    data = integer_data(problem.but(bias=False), "float32")
    arguments = (problem.forward, data.x.shape, data.weight)
    shape = (np.prod(problem.y_shape[1:]), np.prod(problem.x_shape[1:]))
    matrix, operator = (f(*arguments, **problem.arguments) for f in (conv_matrix, conv_operator))
    assert matrix.shape == operator.shape == shape
    for by_matrix, by_kernels, size in ((matrix, operator, shape[1]), (matrix.T, operator.T, shape[0])):
        vector = np.ones(size, np.float32)
        assert np.array_equal(by_matrix @ vector, by_kernels @ vector)


# ---------------------------------------------------------------- the operator


@pytest.mark.parametrize("dtype", ("float32", pytest.param("float64", marks=THOROUGH)))
@pytest.mark.parametrize("problem", PROBLEMS, ids=of)
def test_the_operator_runs_the_kernels(problem, dtype):
    """Their very bits, of one vector and of several at once."""
    data = random_data(problem.but(n=3, bias=False), dtype)
    y, dx = getattr(convkit, problem.forward)(data.x, data.weight, **problem.arguments), gradient_of_x(data)
    for layout in LAYOUTS:
        shape = arrange(data.x, layout).shape
        operator = conv_operator(problem.forward, shape, data.weight, layout=layout, **problem.arguments)
        assert operator.dtype == dtype
        for apply, given, expected in ((operator, data.x, y), (operator.T, data.grad, dx)):
            given, expected = as_vectors(given, layout), as_vectors(expected, layout)
            assert np.array_equal(apply @ given, expected)
            assert np.array_equal(apply @ given[:, 1], expected[:, 1])
            assert np.array_equal(apply @ given[:, 1:2], expected[:, 1:2])
            assert (apply @ given).dtype == dtype
            assert (apply @ given[:, :0]).shape == (len(expected), 0)


def test_the_operator_takes_every_algorithm():
    case = random_case(named("depthwise")[0].but(n=1, bias=False), "float32")
    data = case.data
    for algorithm in ("auto", "direct", "implicit_gemm", "im2col"):
        operator = conv_operator("conv2d", data.x.shape, data.weight, algorithm=algorithm, **data.problem.arguments)
        got = (operator @ data.x.ravel()).reshape(data.problem.y_shape)
        assert_within_bound(got, case.expected["y"], case.bound["y"], algorithm)


def test_vectors_of_other_dtypes():
    w = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    operator = conv_operator(convkit.conv2d, (1, 4, 4), w)
    for dtype in ("float64", "int64", "bool"):
        vector = np.arange(16).astype(dtype)
        got = operator @ vector
        assert got.dtype == np.float32
        assert np.array_equal(got, operator @ vector.astype(np.float32))
    with pytest.raises(TypeError, match="operator must be applied to real vectors, got dtype complex128"):
        operator @ np.ones(16, complex)
    with pytest.raises(ValueError, match="dimension mismatch"):
        operator @ np.ones(15)


# ---------------------------------------------------------------- SciPy's solvers


@pytest.fixture
def blur():
    """A 5x5 blur of 12x12, wrapped round so that its eigenvalues are its Fourier transform, none of them zero."""
    window = np.array([1.0, 4.0, 16.0, 4.0, 1.0])
    w = (np.outer(window, window) / window.sum() ** 2).reshape(1, 1, 5, 5)
    return "conv2d", (1, 12, 12), w, {"padding": 2, "padding_mode": "circular"}


def test_lsqr_and_cg_undo_a_blur(blur):
    name, shape, w, arguments = blur
    operator, image = conv_operator(name, shape, w, **arguments), np.random.default_rng(0).standard_normal(144)
    blurred = operator @ image
    found = linalg.lsqr(operator, blurred, atol=1e-12, btol=1e-12)[0]
    assert np.allclose(found, image, rtol=0, atol=1e-8)
    found, failed = linalg.cg(operator, blurred, rtol=1e-12)  # the kernel is even, so the operator is symmetric
    assert not failed
    assert np.allclose(found, image, rtol=0, atol=1e-8)


def test_svds_finds_the_fourier_transform(blur):
    """The singular values of a circular convolution are the absolute values of its kernel's transform."""
    name, shape, w, arguments = blur
    expected = np.sort(np.abs(np.fft.fft2(w[0, 0], (12, 12))).ravel())[-6:]
    for a in (conv_operator(name, shape, w, **arguments), conv_matrix(name, shape, w, **arguments)):
        singular = linalg.svds(a, k=6, return_singular_vectors=False, rng=np.random.default_rng(0))
        assert np.allclose(np.sort(singular), expected, rtol=1e-10)


@pytest.mark.thorough
def test_lsqr_through_a_transposed_convolution():
    """The coarse picture whose up-sampling comes nearest to a fine one: as the dense solver finds it."""
    rng = np.random.default_rng(1)
    w, fine = rng.standard_normal((2, 3, 4, 4)), rng.standard_normal(3 * 10 * 12)
    arguments = ("conv_transpose2d", (2, 5, 6), w)
    operator, matrix = (f(*arguments, stride=2, padding=1) for f in (conv_operator, conv_matrix))
    found = linalg.lsqr(operator, fine, atol=1e-13, btol=1e-13, iter_lim=1000)[0]
    expected = np.linalg.lstsq(matrix.toarray(), fine)[0]
    assert np.allclose(found, expected, rtol=0, atol=1e-7)


# ---------------------------------------------------------------- what is refused

W = np.ones((2, 3, 3, 3), np.float32)
REFUSED = [
    (("conv4d", (3, 4, 4), W), {}, ValueError, "op must be one of convkit's conv1d, .*, or its name, got 'conv4d'"),
    (("im2col", (3, 4, 4), W), {}, ValueError, "op must be one of .*, got 'im2col'"),
    ((convkit.conv2d_backward, (3, 4, 4), W), {}, ValueError, "op must be one of .*, got <function conv2d_backward"),
    ((convkit.reference.conv2d, (3, 4, 4), W), {}, ValueError, "op must be one of .*, got <function conv2d"),
    ((3, (3, 4, 4), W), {}, ValueError, "op must be one of .*, got 3"),
    (("conv2d", (3, 4, 4), [1.0]), {}, TypeError, "weight must be a float32 or float64 array, got list"),
    (("conv2d", (3, 4, 4), W.astype(int)), {}, TypeError, "weight must be float32 or float64, got dtype int64"),
    (("conv2d", np.ones((3, 4, 4)), W), {}, TypeError, "x_shape must be a tuple of ints, got an"),
    (("conv2d", (3, 4, -4), W), {}, ValueError, r"x_shape as a shape must have sizes of at least 0, got \(3, 4, -4\)"),
    (("conv2d", (4, 4), W), {}, ValueError, r"x must have shape .*, got shape \(4, 4\)"),
    (("conv2d", (4, 4, 4), W), {}, ValueError, r"x must have weight.shape\[1\] \* groups = .* channels, got 4"),
    (("conv2d", (3, 4, 4), W), {"bias": np.ones(2)}, ValueError, "bias must be left out, a matrix .*, got ndarray"),
    (("conv2d", (3, 4, 4), W), {"activation": "relu"}, ValueError, "activation must be left out, .*, got str"),
    (("conv2d", (3, 4, 4), W), {"out": np.ones(2)}, ValueError, "out must be left out, a matrix .*, got ndarray"),
    (("conv2d", (3, 4, 4), W), {"stride": 0}, ValueError, "stride must be at least 1, got 0"),
    (("conv2d", (3, 4, 4), W), {"layout": "CHW"}, ValueError, "layout must be one of NCHW, NHWC, got 'CHW'"),
    (("conv2d", (3, 4, 4), W), {"algorithm": "fft"}, ValueError, "algorithm must be one of auto, .*, got 'fft'"),
    (("conv2d", (3, 4, 4), W), {"steps": 2}, TypeError, ".*unexpected keyword argument 'steps'"),
    (("conv_transpose2d", (2, 4, 4), W), {"padding_mode": "zeros"}, TypeError, ".*unexpected .* 'padding_mode'"),
    (("conv_transpose2d", (2, 4, 4), W), {"padding": "full"}, ValueError, "padding must be .*, got 'full'"),
]  # fmt: skip


@pytest.mark.parametrize("function", (conv_matrix, conv_operator))
@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"), REFUSED, ids=lambda v: v if type(v) is str else ""
)
def test_refused(function, arguments, options, error, message):
    with pytest.raises(error, match="^" + message):
        function(*arguments, **options)


def test_a_matrix_past_memory():
    with pytest.raises(MemoryError, match="^cannot allocate .* bytes for a int64 array of shape"):
        conv_matrix("conv1d", (2**15, 2**16), np.broadcast_to(np.float32(1), (2**15, 2**15, 1)))


@pytest.mark.parametrize("function", (conv_matrix, conv_operator))
def test_scipy_is_an_extra(function, monkeypatch):
    hide(monkeypatch, "scipy")
    with pytest.raises(ImportError, match=r"scipy is not installed; it comes with the extra \[analysis\]"):
        function("conv2d", (3, 4, 4), W)
