"""The reference against numbers worked by hand, against loops over a padded copy, and against its own adjoints."""

import inspect
import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import convkit
from convkit import reference

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # ours: np.pad's


def row(*values):
    """A 1-D image of one channel in a batch of one."""
    return np.array(values, float).reshape(1, 1, -1)


# ---------------------------------------------------------------- by hand: forward


def test_3x3_on_4x4():
    # x = 0 1 2 3 / 4 5 6 7 / 8 9 10 11 / 12 13 14 15, w = 0 1 2 / 3 4 5 / 6 7 8.
    # y[0,0] = 0*0+1*1+2*2 + 4*3+5*4+6*5 + 8*6+9*7+10*8 = 5 + 62 + 191 = 258; a column on adds sum(w) = 36, a row 4*36.
    x, w = np.arange(16.0).reshape(1, 1, 4, 4), np.arange(9.0).reshape(1, 1, 3, 3)
    assert_array_equal(reference.conv2d(x, w), [[[[258, 294], [402, 438]]]])
    assert_array_equal(reference.conv2d(x, w, bias=np.array([0.5])), [[[[258.5, 294.5], [402.5, 438.5]]]])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        # x = 1 2 3 padded by 2, under w = 1 10 100: the digits, last one first, are what the window sees.
        ("zeros", [100, 210, 321, 32, 3]),  # 0 0 1 2 3 0 0
        ("reflect", [123, 212, 321, 232, 123]),  # 3 2 1 2 3 2 1
        ("replicate", [111, 211, 321, 332, 333]),  # 1 1 1 2 3 3 3
        ("circular", [132, 213, 321, 132, 213]),  # 2 3 1 2 3 1 2
    ],
)
def test_padding_modes(mode, expected):
    y = reference.conv1d(row(1, 2, 3), row(1, 10, 100), padding=2, padding_mode=mode)
    assert_array_equal(y, row(*expected))


@pytest.mark.parametrize(
    ("padding", "stride", "weight", "expected"),
    [
        # x = 1 2 3 4
        ("valid", 1, (1, 10), [21, 32, 43]),
        ("full", 1, (1, 10), [10, 21, 32, 43, 4]),
        ("same", 1, (1, 10), [21, 32, 43, 4]),  # the one element of padding at the end
        ("same_upper", 1, (1, 10), [21, 32, 43, 4]),
        ("same_lower", 1, (1, 10), [10, 21, 32, 43]),
        ("same", 2, (1, 10, 100), [321, 43]),  # 2 outputs reach over 5: one element, at the end
        ("same_lower", 2, (1, 10, 100), [210, 432]),
        ("same", 3, (1, 10), [21, 4]),  # 2 outputs reach over 5
        (((2, 0),), 1, (1, 10, 100), [100, 210, 321, 432]),
        (((0, 1),), 3, (1, 10), [21, 4]),
    ],
)
def test_padding_forms(padding, stride, weight, expected):
    assert_array_equal(reference.conv1d(row(1, 2, 3, 4), row(*weight), None, stride, padding), row(*expected))


def test_dilation_and_stride():
    # taps 2 apart, outputs 2 apart: 1 + 10*3 + 100*5 = 531, 3 + 10*5 + 100*7 = 753
    y = reference.conv1d(row(1, 2, 3, 4, 5, 6, 7), row(1, 10, 100), stride=2, dilation=2)
    assert_array_equal(y, row(531, 753))


def test_groups_and_depthwise_multiplier():
    x = np.array([[[1.0, 2.0], [3.0, 4.0]]])  # one image, two channels
    grouped = np.array([[[1.0]], [[10.0]]])  # two groups of one channel
    assert_array_equal(reference.conv1d(x, grouped, groups=2), [[[1, 2], [30, 40]]])
    doubled = np.array([[[1.0]], [[10.0]], [[100.0]], [[1000.0]]])  # each channel gives two
    assert_array_equal(reference.conv1d(x, doubled, groups=2), [[[1, 2], [10, 20], [300, 400], [3000, 4000]]])
    dense = np.array([[[1.0], [10.0]]])
    assert_array_equal(reference.conv1d(x, dense), [[[31, 42]]])


def test_layouts_and_batchless():
    x = np.arange(24.0).reshape(2, 3, 4)  # (N, C, L)
    w = np.arange(12.0).reshape(2, 3, 2)
    y = reference.conv1d(x, w)
    assert_array_equal(reference.conv1d(x.swapaxes(1, 2), w, layout="NHWC"), y.swapaxes(1, 2))
    assert_array_equal(reference.conv1d(x[0], w), y[0])
    assert_array_equal(reference.conv1d(x[0].T, w, layout="NHWC"), y[0].T)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_padding_contributes_nothing_to_non_finite_weights(bad):
    # The first tap lies in the padding for the first output alone.
    y = reference.conv1d(row(1, 2, 3), row(bad, 10, 100), padding=1)
    assert_array_equal(y, row(210, bad, bad))
    grads = reference.conv1d_backward(row(1, 1, 1), row(1, 2, 3), row(bad, 10, 100), padding=1)
    # x[2] is seen by the last output through tap 1 and by the one before through tap 2, by none through tap 0.
    assert_array_equal(grads.x, row(bad, bad, 110))


# ---------------------------------------------------------------- by hand: gradients


def test_gradients_of_3x3_on_4x4():
    x, w = np.arange(16.0).reshape(1, 1, 4, 4), np.arange(9.0).reshape(1, 1, 3, 3)
    grads = reference.conv2d_backward(np.ones((1, 1, 2, 2)), x, w)
    # weight[i, j] = the sum of the 2x2 block of x at (i, j); x's corner is seen through w[0, 0] = 0 alone, its inner
    # elements through four taps, such as 0 + 1 + 3 + 4 = 8.
    assert_array_equal(grads.weight, [[[[10, 14, 18], [26, 30, 34], [42, 46, 50]]]])
    assert_array_equal(grads.x, [[[[0, 1, 3, 2], [3, 8, 12, 7], [9, 20, 24, 13], [6, 13, 15, 8]]]])
    assert_array_equal(grads.bias, [4])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        # On the padded grid, 7 long, a gradient of ones gives 1 11 111 111 111 110 100: sums of the taps that see it.
        ("zeros", [111, 111, 111]),
        ("reflect", [211, 232, 112]),  # sources 2 1 0 1 2 1 0: 111+100, 11+111+110, 1+111
        ("replicate", [123, 111, 321]),  # sources 0 0 0 1 2 2 2: 1+11+111, 111, 111+110+100
        ("circular", [221, 212, 122]),  # sources 1 2 0 1 2 0 1: 111+110, 1+111+100, 11+111
    ],
)
def test_gradient_of_padding_modes(mode, expected):
    grads = reference.conv1d_backward(
        row(1, 1, 1, 1, 1), row(1, 2, 3), row(1, 10, 100), padding=2, padding_mode=mode, need="x"
    )
    assert_array_equal(grads.x, row(*expected))
    assert grads.weight is None
    assert grads.bias is None


ACTIVATIONS = [
    # activation, z -> act(z), y -> derivative from the output
    ("relu", {-2: 0, 0: 0, 3: 3}, {0: 0, 3: 1}),
    (("leaky_relu", 0.25), {-2: -0.5, 0: 0, 3: 3}, {-0.5: 0.25, 0: 0.25, 3: 1}),
    ("sigmoid", {0: 0.5, math.log(3): 0.75}, {0.5: 0.25, 0.75: 0.1875}),
    ("tanh", {0: 0, math.log(3): 0.8}, {0: 1, 0.5: 0.75}),
    (("clip", -1, 2), {-3: -1, -1: -1, 0.5: 0.5, 2: 2, 9: 2}, {-1: 0, 0.5: 1, 2: 0}),
    ("hard_sigmoid", {-4: 0, -3: 0, -1.5: 0.25, 0: 0.5, 3: 1, 4: 1}, {0: 0, 0.25: 1 / 6, 1: 0}),
    (("elu", 2), {-math.log(4): -1.5, 0: 0, 3: 3}, {-1.5: 0.5, 0: 2, 3: 1}),
]
FORWARD_ONLY = [
    ("silu", {-math.log(3): -math.log(3) / 4, 0: 0, math.log(3): 3 * math.log(3) / 4}, {}),
    ("gelu", {-math.sqrt(2): -math.sqrt(0.5) * math.erfc(1), 0: 0, math.sqrt(2): math.sqrt(0.5) * math.erfc(-1)}, {}),
    ("hard_swish", {-4: 0, -3: 0, -1.5: -0.375, 0: 0, 1.5: 1.125, 3: 3, 4: 4}, {}),
]


@pytest.mark.parametrize(("activation", "values", "slopes"), ACTIVATIONS + FORWARD_ONLY, ids=str)
def test_activations(activation, values, slopes):
    one = row(1)
    y = reference.conv1d(row(*values), one, activation=activation)
    np.testing.assert_allclose(y, row(*values.values()), rtol=1e-15)
    assert np.isnan(reference.conv1d(row(np.nan), one, activation=activation)).all()
    if not slopes:
        return
    y, grad = row(*slopes), row(*[8] * len(slopes))
    grads = reference.conv1d_backward(grad, np.zeros_like(y), one, activation=activation, y=y, need="x")
    np.testing.assert_allclose(grads.x, 8 * row(*slopes.values()), rtol=1e-15)


def test_activation_parameters_are_rounded_to_the_calls_dtype():
    hi = 0.7  # rounds down in float32
    x = np.full((1, 1, 1), 2.0, np.float32)
    y = reference.conv1d(x, np.ones_like(x), activation=("clip", 0.0, hi))
    assert y == np.float32(hi)
    grads = reference.conv1d_backward(x, x, x, activation=("clip", 0.0, hi), y=y.astype(np.float32), need="x")
    assert grads.x == 0


def test_im2col_and_col2im():
    # Channels, then taps, along the rows; positions along the columns.
    x = np.array([[[1.0, 2, 3], [4, 5, 6]]])
    cols = reference.im2col(x, (2,))
    assert_array_equal(cols, [[[1, 2], [2, 3], [4, 5], [5, 6]]])
    folded = [[[1, 4, 3], [4, 10, 6]]]  # inner elements are in two patches
    assert_array_equal(reference.col2im(cols, (3,), (2,)), folded)
    padded = reference.im2col(x[:, :1], (2,), padding=((1, 0),), padding_mode="replicate")
    assert_array_equal(padded, [[[1, 1, 2], [1, 2, 3]]])
    assert_array_equal(reference.col2im(padded, (3,), (2,), padding=((1, 0),), padding_mode="replicate"), [[[3, 4, 3]]])
    image = np.arange(9.0).reshape(1, 3, 3)
    assert_array_equal(reference.im2col(image, 2), [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]])
    assert_array_equal(reference.im2col(image.reshape(3, 3, 1), 2, layout="NHWC"), reference.im2col(image, 2))


def test_linear():
    x, w, b = np.array([[1.0, 2], [3, 4]]), np.array([[1.0, 10], [100, 1000], [0, -1]]), np.array([0.5, 0, 0])
    assert_array_equal(reference.linear(x, w, b), [[21.5, 2100, -2], [43.5, 4300, -4]])
    assert_array_equal(reference.linear(x, w, b, activation="relu"), [[21.5, 2100, 0], [43.5, 4300, 0]])
    assert_array_equal(reference.linear(x[0], w), [21, 2100, -2])
    grads = reference.linear_backward(np.array([[1.0, 0, 0], [0, 1, 2]]), x, w)
    assert_array_equal(grads.x, [[1, 10], [100, 998]])
    assert_array_equal(grads.weight, [[1, 2], [3, 4], [6, 8]])
    assert_array_equal(grads.bias, [1, 1, 2])


# ---------------------------------------------------------------- plain loops


def by_loops(x, w, stride, pads, dilation, groups, mode):
    """Every product written out, over a padded copy, which small integers make harmless."""
    padded = np.pad(x, ((0, 0), (0, 0), *pads), mode=MODES[mode])
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)]
    out = [(size - r) // s + 1 for size, r, s in zip(padded.shape[2:], reach, stride, strict=True)]
    y = np.zeros((len(x), len(w), *out))
    per_group = len(w) // groups
    for n, o, c in itertools.product(range(len(x)), range(len(w)), range(w.shape[1])):
        for p, t in itertools.product(np.ndindex(*out), np.ndindex(*w.shape[2:])):
            at = [i * s + j * d for i, s, j, d in zip(p, stride, t, dilation, strict=True)]
            y[(n, o, *p)] += padded[(n, o // per_group * w.shape[1] + c, *at)] * w[(o, c, *t)]
    return y


def problem(seed, mode):
    """Small integer arrays and the arguments of a random convolution."""
    rng = np.random.default_rng(seed)
    nd, groups = int(rng.integers(1, 4)), int(rng.integers(1, 3))

    def draw(lo, hi):
        return tuple(int(v) for v in rng.integers(lo, hi, nd))

    spatial, kernel, stride, dilation = draw(3, 7 - nd + 1), draw(1, 4), draw(1, 4), draw(1, 3)
    pads = [
        (max(lo, max(d * (k - 1) + 1 - size - hi, 0)), hi)
        for lo, hi, d, k, size in zip(draw(0, 3), draw(0, 3), dilation, kernel, spatial, strict=True)
    ]
    if mode != "zeros":  # these have a most; a kernel that then does not fit is cut to one tap
        pads = [(min(lo, s - 1), min(hi, s - 1)) for (lo, hi), s in zip(pads, spatial, strict=True)]
        kernel = tuple(
            k if d * (k - 1) < s + lo + hi else 1
            for k, d, s, (lo, hi) in zip(kernel, dilation, spatial, pads, strict=True)
        )
    x = rng.integers(-4, 5, (2, 2 * groups, *spatial)).astype(float)
    w = rng.integers(-4, 5, (3 * groups, 2, *kernel)).astype(float)
    arguments = {"stride": stride, "padding": tuple(pads), "dilation": dilation, "groups": groups, "padding_mode": mode}
    return x, w, arguments


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(6))
def test_against_loops_over_a_padded_copy(seed, mode):
    x, w, arguments = problem(seed, mode)
    expected = by_loops(
        x, w, arguments["stride"], arguments["padding"], arguments["dilation"], arguments["groups"], mode
    )
    assert_array_equal(getattr(reference, f"conv{x.ndim - 2}d")(x, w, **arguments), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(12))
def test_adjoints(seed, mode):
    """<conv(x, w), g> = <x, its gradient> = <w, its gradient>, exact in integers; so too im2col and col2im."""
    x, w, arguments = problem(100 + seed, mode)
    nd = x.ndim - 2
    y = getattr(reference, f"conv{nd}d")(x, w, **arguments)
    g = np.random.default_rng(seed).integers(-4, 5, y.shape).astype(float)
    grads = getattr(reference, f"conv{nd}d_backward")(g, x, w, **arguments)
    assert (y * g).sum() == (x * grads.x).sum() == (w * grads.weight).sum()
    assert_array_equal(grads.bias, g.sum(axis=(0, *range(2, g.ndim))))
    del arguments["groups"]
    cols = reference.im2col(x, w.shape[2:], **arguments)
    h = np.random.default_rng(seed).integers(-4, 5, cols.shape).astype(float)
    assert (cols * h).sum() == (x * reference.col2im(h, x.shape[2:], w.shape[2:], **arguments)).sum()


# ---------------------------------------------------------------- sizes of zero


def test_empty_sizes():
    x, w, b = np.ones((0, 2, 5)), np.ones((3, 2, 3)), np.arange(3.0)
    assert reference.conv1d(x, w, b).shape == (0, 3, 3)
    grads = reference.conv1d_backward(np.ones((0, 3, 3)), x, w)
    assert_array_equal(grads.weight, np.zeros((3, 2, 3)))
    assert_array_equal(grads.bias, np.zeros(3))
    assert_array_equal(reference.conv1d(np.ones((1, 0, 3)), np.ones((3, 0, 3)), b), b.reshape(1, 3, 1))
    assert reference.conv1d(np.ones((1, 2, 3)), np.ones((0, 2, 3))).shape == (1, 0, 1)
    assert reference.linear(np.ones((0, 2)), np.ones((3, 2)), b).shape == (0, 3)


# ---------------------------------------------------------------- terms and bound


def test_terms_count_only_the_products_that_are_summed():
    x, w, b = -np.ones((1, 2, 4, 4)), np.full((1, 2, 3, 3), 2.0), np.array([-5.0])
    size, count = reference.terms("conv2d", x, w, b, padding=1)
    taps = np.outer([2, 3, 3, 2], [2, 3, 3, 2])  # a corner sees 4 of 9
    assert_array_equal(count[0, 0], 2 * taps + 1)
    assert_array_equal(size[0, 0], 2 * 2 * taps + 5)
    size, count = reference.terms("conv2d_backward", np.full((1, 1, 4, 4), -3.0), x, w, padding=1)
    assert_array_equal(count.x[0, 0], taps)
    assert_array_equal(size.x[0, 0], 6 * taps)
    assert_array_equal(count.weight[0, 1], [[9, 12, 9], [12, 16, 12], [9, 12, 9]])
    assert_array_equal(count.bias, [16])
    assert_array_equal(size.bias, [48])


def test_pooling_has_convkits_signatures_and_takes_no_flag_for_another():
    names = [name for name in vars(convkit) if "pool" in name and hasattr(reference, name)]
    for name in names:
        own, theirs = (inspect.signature(getattr(module, name)).parameters for module in (reference, convkit))
        assert list(own) == [argument for argument in theirs if argument not in ("out", "algorithm")], name
    assert len(names) == 30
    with pytest.raises(TypeError, match="ceil_mode must be a bool, got 'no'"):
        reference.avg_pool2d(np.ones((1, 1, 4, 4)), 2, ceil_mode="no")


def test_bound_is_the_formula():
    x, w = row(1, -2), row(3, 4)  # 3 - 8: S = 11, K = 2
    for dtype, u, tiny, times in ((np.float32, 2.0**-24, 2.0**-149, 1), (np.float64, 2.0**-53, 2.0**-1074, 2)):
        expected = times * (4 * u / (1 - 4 * u) * 11 + 4 * tiny)
        assert_array_equal(reference.bound("conv1d", x.astype(dtype), w.astype(dtype)), row(expected))
        assert_array_equal(reference.bound("conv1d", x, w, dtype=dtype), row(expected))
        steep = reference.bound("conv1d", x, w, dtype=dtype, activation=("leaky_relu", 3))
        assert_array_equal(steep, 3 * row(expected))
    assert reference.bound("conv1d_backward", row(1), x, w, need="x").weight is None


@pytest.mark.parametrize("activation", [None, *(case[0] for case in ACTIVATIONS)], ids=str)
def test_bound_holds_for_float32_sums_and_catches_a_lost_product(activation):
    rng = np.random.default_rng(5)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 300), (7, 300)))
    exact, allowed = (
        reference.linear(x, w, activation=activation),
        reference.bound("linear", x, w, activation=activation),
    )
    z = np.zeros((4, 7), np.float32)
    for i in range(300):  # one after the other, the order with the largest error
        z += x[:, i, None] * w[:, i]
    as_rows = reference.linear(z, np.eye(7, dtype=np.float32), activation=activation).astype(np.float32)
    assert (np.abs(as_rows - exact) <= allowed).all()
    lost = reference.linear(x[:, 1:], w[:, 1:], activation=activation)
    assert (np.abs(lost - exact) > allowed).any()


def test_bound_of_gradients_with_activation_holds():
    rng = np.random.default_rng(6)
    one = np.float32(1)
    x, w, g = (rng.standard_normal(shape).astype(np.float32) for shape in ((40, 6), (5, 6), (40, 5)))
    for activation in ("sigmoid", "tanh", ("elu", 0.75)):
        y = reference.linear(3 * x, w, activation=activation).astype(np.float32)
        steep = {"sigmoid": y * (one - y), "tanh": one - y * y}
        h = g * steep.get(activation, np.where(y > 0, one, y + np.float32(0.75)))
        assert h.dtype == np.float32
        exact = reference.linear_backward(g, x, w, activation=activation, y=y)
        allowed = reference.bound("linear_backward", g, x, w, activation=activation, y=y)
        for got, want, limit in zip((h @ w, h.T @ x, h.sum(axis=0)), exact, allowed, strict=True):
            assert (np.abs(got - want) <= limit).all()
