"""Sizes: what counts as an int, every form of padding, output sizes, shapes of results, and sizes past 64 bits."""

import inspect

import numpy as np
import pytest

import convkit
from convkit import _shapes
from convkit._ext import engine

NDS = (1, 2, 3)


def padding_of(padding, in_, kernel, stride=1, dilation=1):
    """(lo, hi) of each axis."""
    nd = len(in_)
    kernel, stride, dilation = (_shapes.per_axis(v, nd, "size", 1) for v in (kernel, stride, dilation))
    return list(zip(*_shapes.paddings(padding, in_, kernel, stride, dilation), strict=True))


# ---------------------------------------------------------------- ints


def test_what_is_an_int():
    assert _shapes.per_axis(3, 2, "stride", 1) == (3, 3)
    assert _shapes.per_axis(np.int32(3), 2, "stride", 1) == (3, 3)
    assert _shapes.per_axis([1, np.uint8(2)], 2, "stride", 1) == (1, 2)
    assert all(type(v) is int for v in _shapes.per_axis((np.int64(1), np.uint8(2)), 2, "stride", 1))
    for bad in (True, np.True_, 1.0, np.float64(1), "1", None, (1, True), (1, 1.0), ((1, 1), (1, 1)), np.array([1, 1])):
        with pytest.raises(TypeError, match="^stride must be .*, got"):
            _shapes.per_axis(bad, 2, "stride", 1)
    for bad in ((), (1,), (1, 1, 1), 0, -1, (1, 0)):
        with pytest.raises(ValueError, match="^stride must be .*, got"):
            _shapes.per_axis(bad, 2, "stride", 1)
    for bad in (2**63, -(2**63) - 1, (1, 2**70)):
        with pytest.raises(OverflowError, match="^stride must fit a 64-bit integer, got"):
            _shapes.per_axis(bad, 2, "stride", 1)


def test_an_equal_bool_is_not_let_through_by_a_remembered_int():
    x, w = np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3))
    for argument in ("stride", "padding", "dilation"):
        for good, bad in ((1, True), ((1, 1), (1, True)), (((1, 1), (1, 1)), ((1, 1), (1, True)))):
            if argument != "padding" and isinstance(good, tuple) and isinstance(good[0], tuple):
                continue
            convkit.conv2d(x, w, padding=1) if argument == "padding" else convkit.conv2d(x, w, **{argument: 1})
            convkit.conv2d(x, w, **{argument: good})
            with pytest.raises(TypeError, match=f"^{argument} must be"):
                convkit.conv2d(x, w, **{argument: bad})
    with pytest.raises(TypeError, match="^groups must be"):
        convkit.conv2d(x, w, groups=True)


def test_an_array_is_not_let_through_by_a_remembered_tuple_of_its_shape():
    x, w = np.ones((1, 1, 9, 9), np.float32), np.ones((1, 1, 3, 3), np.float32)
    for argument in ("stride", "padding", "dilation"):
        convkit.conv2d(x, w, **{argument: (3, 2)})
        for bad in (np.zeros((3, 2)), np.zeros((3, 2), np.int64)):
            with pytest.raises(TypeError, match=f"^{argument} must be"):
                convkit.conv2d(x, w, **{argument: bad})
    convkit.max_pool2d(x, (3, 2))
    with pytest.raises(TypeError, match="^kernel_size must be"):
        convkit.max_pool2d(x, np.zeros((3, 2)))


def test_what_follows_from_sizes_is_found_under_equal_ones_alone():
    """However they are written, and when others have been found since, more than are kept."""
    found = []

    def plan(*sizes):
        found.append(sizes)
        return sizes

    def made_plain(given):
        return tuple([v if v is None or isinstance(v, str) else _shapes.plain(v, "size") for v in given])

    planned = engine.remembered(plan, made_plain)
    for given in ((1, 2, "name"), (1, np.int64(2), "name"), ([1, 1], 2, "name"), ((1, 1), 2, "name")):
        expected = ((2, 3), (1, 1) if not isinstance(given[0], int) else 1, 2, "name")
        assert planned(((2, 3),), given) == expected
    assert len(found) == 2
    different = [
        (1, (2,)),
        ((1, 2),),
        ((1,), 2),
        (((1,), (2,)),),
        (((1, 2),),),
        (1, 2),
        (None, 2),
        (0, 2),
        ((),),
    ]
    for given in (*different, *((i, 0) for i in range(1, 1500)), *different):
        assert planned(((2, 3),), given)[1:] == given


# ---------------------------------------------------------------- paddings


def test_counted_paddings():
    assert padding_of(2, (9, 9), 3) == [(2, 2), (2, 2)]
    assert padding_of((1, 2), (9, 9), 3) == [(1, 1), (2, 2)]
    assert padding_of(((1, 2), (3, 4)), (9, 9), 3) == [(1, 2), (3, 4)]
    assert padding_of([[1, 2], [3, np.int64(4)]], (9, 9), 3) == [(1, 2), (3, 4)]
    assert padding_of((1,), (9,), 3) == [(1, 1)]
    assert padding_of(((1, 2),), (9,), 3) == [(1, 2)]
    assert padding_of((1, 2, 3), (9, 9, 9), 3) == [(1, 1), (2, 2), (3, 3)]


def test_named_paddings():
    assert padding_of("valid", (9, 9), 3) == [(0, 0), (0, 0)]
    assert padding_of("full", (9, 9), (3, 4), dilation=(1, 2)) == [(2, 2), (6, 6)]
    for name in ("same", "same_upper"):
        assert padding_of(name, (9, 9), (3, 4)) == [(1, 1), (1, 2)]
    assert padding_of("same_lower", (9, 9), (3, 4)) == [(1, 1), (2, 1)]


@pytest.mark.parametrize("stride", range(1, 6))
@pytest.mark.parametrize("dilation", range(1, 4))
def test_same_gives_the_input_over_the_stride_and_no_more_padding_than_it_takes(stride, dilation):
    for size in range(1, 14):
        for kernel in range(1, 6):
            ((lo, hi),) = padding_of("same", (size,), kernel, stride, dilation)
            assert padding_of("same_lower", (size,), kernel, stride, dilation) == [(hi, lo)]
            out = -(-size // stride)
            assert _shapes.output_size(size, kernel, stride, dilation, lo, hi) == out
            assert hi - lo in (0, 1)
            if lo + hi:
                assert _shapes.output_size(size, kernel, stride, dilation, lo, hi - 1) == out - 1


@pytest.mark.parametrize(
    ("nd", "padding", "message"),
    [
        (1, (1, 2), r"padding must be one int or 1 \(lo, hi\) pair, got \(1, 2\).*\(\(1, 2\),\)"),
        (2, (1,), r"padding must be one int, 2 ints or 2 \(lo, hi\) pairs, got \(1,\)"),
        (2, (1, 2, 3, 4), r"padding must be .*, got \(1, 2, 3, 4\).*\(\(1, 2\), \(3, 4\)\)"),
        (2, (1, (2, 3)), r"padding must be .*, got \(1, \(2, 3\)\)"),
        (2, ((1, 2),), r"padding must be .*, got \(\(1, 2\),\)"),
        (2, ((1, 2), (3,)), r"padding must be .*, got \(\(1, 2\), \(3,\)\)"),
        (2, ((1, 2), (3, (4, 5))), r"padding must not be nested .*, got"),
        (3, (1, 2), r"padding must be one int, 3 ints or 3 \(lo, hi\) pairs, got \(1, 2\)"),
        (2, (), r"padding must be .*, got \(\)"),
        (2, -1, "padding must be at least 0, got -1"),
        (2, (0, -1), r"padding must be at least 0, got \(0, -1\)"),
        (2, ((0, 0), (0, -1)), r"padding must be at least 0, got"),
        (2, "foo", "padding must be .* valid, full, same, same_upper, same_lower, got 'foo'"),
        (2, "SAME", "padding must be .*, got 'SAME'"),
    ],
)
def test_paddings_refused(nd, padding, message):
    with pytest.raises(ValueError, match="^" + message):
        padding_of(padding, (9,) * nd, 3)


@pytest.mark.parametrize(
    "padding", [None, 1.0, True, (1, True), ((1, 2), (3, 1.0)), {1: 2}, b"same", np.ones(2, int)], ids=str
)
def test_paddings_of_the_wrong_type(padding):
    with pytest.raises(TypeError, match="^padding must be .*, got"):
        padding_of(padding, (9, 9), 3)


@pytest.mark.parametrize(
    ("mode", "most", "message"),
    [
        ("reflect", 4, "padding must be less than the input's size where padding_mode is 'reflect', got 5 on 5"),
        ("circular", 5, "padding must be at most the input's size where padding_mode is 'circular', got 6 on 5"),
        ("replicate", 9, None),
        ("zeros", 9, None),
    ],
)
def test_padding_modes_have_a_most(mode, most, message):
    x, w = np.ones((1, 1, 5, 9)), np.ones((1, 1, 1, 1))
    assert convkit.conv2d(x, w, padding=(most, 0), padding_mode=mode).shape == (1, 1, 5 + 2 * most, 9)
    if message:
        for padding in ((most + 1, 0), ((0, most + 1), (0, 0)), ((most + 1, 0), (0, 0))):
            with pytest.raises(ValueError, match=f"^{message}"):
                convkit.conv2d(x, w, padding=padding, padding_mode=mode)


# ---------------------------------------------------------------- shapes of results


@pytest.mark.parametrize(
    ("name", "spatial", "out", "channels", "more"),  # kernel 3, stride 2
    [
        ("conv", (7, 8, 9), (3, 3, 4), (6, 2), {}),
        ("conv_transpose", (3, 4, 5), (8, 10, 12), (4, 3), {"output_padding": 1}),
    ],
)
@pytest.mark.parametrize("nd", NDS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("batched", [True, False])
def test_result_shapes(name, spatial, out, channels, more, nd, layout, batched):
    def image(channels, sizes):
        shape = (*sizes[:nd], channels) if layout == "NHWC" else (channels, *sizes[:nd])
        return (2, *shape) if batched else shape

    x, w, b = np.ones(image(4, spatial)), np.ones(channels + (3,) * nd), np.ones(6)
    arguments = {"stride": 2, "groups": 2, "layout": layout} | more
    y = getattr(convkit, f"{name}{nd}d")(x, w, b, **arguments)
    assert y.shape == image(6, out)
    backward = getattr(convkit, f"{name}{nd}d_backward")
    grads = backward(y, x, w, **arguments)
    assert isinstance(grads, convkit.ConvGrads)
    assert [g.shape for g in grads] == [x.shape, w.shape, b.shape]
    assert backward(y, x.shape, w, need="x", **arguments).x.shape == x.shape
    assert backward(y, x.shape, list(w.shape), need=["bias"], **arguments).bias.shape == b.shape
    assert backward(y, x, w.shape, need={"weight"}, **arguments).weight.shape == w.shape
    assert backward(y, x.shape, w.shape, need=(), **arguments) == (None, None, None)
    if name == "conv":
        cols = convkit.im2col(x, (3,) * nd, 2, layout=layout)
        assert cols.shape == ((2,) if batched else ()) + (4 * 3**nd, np.prod(out[:nd]))
        assert convkit.col2im(cols, spatial[:nd], 3, 2, layout=layout).shape == x.shape


@pytest.mark.parametrize("ndim", [2, 3, 4, 5])
def test_number_of_axes_of_im2col(ndim):
    x = np.ones((2, 4, 5, 6, 7)[:ndim])
    assert convkit.im2col(x, 2).shape == {2: (4, 3), 3: (8, 12), 4: (2, 16, 20), 5: (2, 32, 120)}[ndim]
    if ndim > 2:
        assert convkit.im2col(x, (2,) * (ndim - 2)).shape == (2, 4 * 2 ** (ndim - 2), np.prod([4, 5, 6][: ndim - 2]))
    assert convkit.im2col(x, (2,) * (ndim - 1) if ndim < 5 else (2, 2, 2)).ndim == (2 if ndim < 5 else 3)


def test_number_of_axes_of_col2im():
    assert convkit.col2im(np.ones((8, 9)), 4, 2).shape == (2, 4, 4)  # two axes, as for PyTorch's fold
    assert convkit.col2im(np.ones((8, 3)), (4,), 2).shape == (4, 4)
    assert convkit.col2im(np.ones((8, 3)), 4, (2,)).shape == (4, 4)
    assert convkit.col2im(np.ones((3, 8, 27)), (4, 4, 4), 2).shape == (3, 1, 4, 4, 4)


@pytest.mark.parametrize("lead", [(), (1,), (5,), (2, 3), (0,), (2, 0, 3), (1, 2, 3, 1, 2)])
def test_linear_shapes(lead):
    x, w = np.ones((*lead, 4)), np.ones((3, 4))
    y = convkit.linear(x, w, np.ones(3))
    assert y.shape == (*lead, 3)
    assert (y == 5).all()
    grads = convkit.linear_backward(y, x, w)
    assert [g.shape for g in grads] == [x.shape, w.shape, (3,)]
    assert (grads.bias == 5 * np.prod(lead, dtype=int)).all()


@pytest.mark.parametrize("nd", NDS)
def test_sizes_of_zero(nd):
    conv, backward = getattr(convkit, f"conv{nd}d"), getattr(convkit, f"conv{nd}d_backward")
    for n, c_in, c_out in ((0, 2, 3), (2, 0, 3), (2, 2, 0), (0, 0, 0)):
        x, w, b = np.ones((n, c_in) + (4,) * nd), np.ones((c_out, c_in) + (3,) * nd), np.arange(float(c_out))
        y = conv(x, w, b)
        assert y.shape == (n, c_out) + (2,) * nd
        if not c_in:
            assert (y == b.reshape(-1, *(1,) * nd)).all()
        grads = backward(np.ones_like(y), x, w)
        assert [g.shape for g in grads] == [x.shape, w.shape, b.shape]
        assert not np.any(grads.weight)
        assert (grads.bias == n * 2**nd).all()
        if not c_out:
            assert not np.any(grads.x)
        assert convkit.im2col(x, (3,) * nd).shape == (n, c_in * 3**nd, 2**nd)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular", "replicate"])
def test_an_image_without_pixels(mode):
    x, w = np.ones((1, 1, 0)), np.ones((1, 1, 1))
    if mode == "zeros":  # nothing but padding
        assert convkit.conv1d(x, w, np.array([7.0]), padding=1).tolist() == [[[7.0, 7.0]]]
    else:
        with pytest.raises(ValueError, match="^(padding|x) must .*, got"):
            convkit.conv1d(x, w, padding=1, padding_mode=mode)
    with pytest.raises(ValueError, match="must fit the padded input.*, got an input of 0 padded to 0"):
        convkit.conv1d(x, w, padding_mode=mode)


def test_an_equal_bool_is_not_let_through_in_the_transposed():
    x, w = np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3))
    for argument in ("stride", "padding", "output_padding", "groups", "dilation", "output_size"):
        common = {"output_padding": {"stride": 2}, "output_size": {"stride": 2, "padding": 4}}.get(argument, {})
        convkit.conv_transpose2d(x, w, **common, **{argument: 1})
        with pytest.raises(TypeError, match=f"^{argument} must be"):
            convkit.conv_transpose2d(x, w, **common, **{argument: True})


# ---------------------------------------------------------------- past 64 bits


@pytest.mark.parametrize("nd", NDS)
def test_far_steps_and_paddings_that_still_fit(nd):
    """Positions near 2**62 are legal where few of them are outputs."""
    conv, x, w = getattr(convkit, f"conv{nd}d"), np.ones((1, 1) + (5,) * nd), np.ones((1, 1) + (3,) * nd)
    assert (conv(x, w, stride=2**62) == [3**nd]).all()
    far = conv(x, w, stride=2**61, padding=2**61)
    assert far.shape == (1, 1) + (3,) * nd
    assert far.sum() == 3**nd  # only the middle one sees the image
    assert (conv(x, w, dilation=2**60, padding=2**60, stride=2**62) == 1).all()


@pytest.mark.parametrize("algorithm", ("auto", "im2col"))
@pytest.mark.parametrize("operator", ("conv", "conv_transpose"))
@pytest.mark.parametrize("nd", NDS)
def test_gradients_of_far_steps(nd, operator, algorithm, isa):
    """Forward and gradients where a step, a crop or a reach is near 2**62 or 2**63, exact in integers."""
    forward, backward = (f"{operator}{nd}d", f"{operator}{nd}d_backward")
    both = [({"stride": 2**62}, 5), ({"stride": 2**63 - 1}, 5), ({"stride": 2**61, "padding": 2**61}, 5)]
    both += [({"dilation": 2**60, "padding": 2**60, "stride": 2**62}, 5)]
    transposed = [({"stride": 2**62}, 1), ({"stride": 2**63 - 1}, 1), ({"stride": 2**61, "padding": 2**61}, 3)]
    transposed += [({"dilation": 2**60, "padding": 2**60}, 3), ({"stride": 2**62 - 1, "padding": 2**61}, 2)]
    rng = np.random.default_rng(0)
    for arguments, size in both if operator == "conv" else transposed:
        x, w = (rng.integers(-4, 5, (2, 2) + (length,) * nd).astype(np.float64) for length in (size, 3))
        y = getattr(convkit, forward)(x, w, algorithm=algorithm, **arguments)
        np.testing.assert_array_equal(y, getattr(convkit.reference, forward)(x, w, **arguments))
        g = rng.integers(-4, 5, y.shape).astype(np.float64)
        expected = getattr(convkit.reference, backward)(g, x, w, **arguments)
        got = getattr(convkit, backward)(g, x, w, algorithm=algorithm, **arguments)
        for array, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize("nd", NDS)
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"stride": 2**63}, "stride"),
        ({"padding": 2**63}, "padding"),
        ({"padding": 2**62}, "padding"),
        ({"padding": 2**61}, "x, weight and padding"),
        ({"dilation": 2**63}, "dilation"),
        ({"dilation": 2**62}, "dilation"),
        ({"dilation": 2**62, "padding": "full"}, "padding"),
        ({"groups": 2**63}, "groups"),
    ],
    ids=str,
)
def test_sizes_past_64_bits(nd, arguments, name):
    x, w = np.ones((2, 1) + (5,) * nd), np.ones((1, 1) + (3,) * nd)
    with pytest.raises(OverflowError, match=f"^{name} must"):
        getattr(convkit, f"conv{nd}d")(x, w, **arguments)


@pytest.mark.parametrize("nd", NDS)
def test_virtual_arrays_of_too_many_elements(nd):
    """Arrays of stride 0 are as large as one likes; nothing is allocated before the sizes are known to fit."""
    x = np.broadcast_to(np.float32(1), (2**31, 1) + (5,) * nd)
    w = np.broadcast_to(np.float32(1), (2**32, 1) + (3,) * nd)
    with pytest.raises(OverflowError, match=r"^x, weight and padding must give .* \(2147483648, 4294967296, "):
        getattr(convkit, f"conv{nd}d")(x, w)
    with pytest.raises(MemoryError, match=r"^cannot allocate \d{16,} bytes for a float32 array of shape \("):
        getattr(convkit, f"conv{nd}d")(x[: 2**29], w[: 2**26])
    g = np.broadcast_to(np.float32(1), (1, 1) + (3,) * nd)
    with pytest.raises(OverflowError, match="^x must have fewer than .*, got shape"):
        getattr(convkit, f"conv{nd}d_backward")(g, (2**40, 2**40) + (5,) * nd, g, need="x")
    with pytest.raises(OverflowError, match="^weight must have fewer than .*, got shape"):
        getattr(convkit, f"conv{nd}d_backward")(g, g, (2**40, 2**40) + (1,) * nd, need="bias")
    with pytest.raises(MemoryError, match=r"^cannot allocate \d{16,} bytes"):
        convkit.linear(x.reshape(-1, 1)[: 2**29], w.reshape(-1, 1)[: 2**26])
    with pytest.raises(OverflowError, match="^x, kernel_size and padding must give an output of fewer"):
        convkit.im2col(np.broadcast_to(np.float32(1), (2**40, 1) + (5,) * nd), (5,) * nd, padding=2**20)


# ---------------------------------------------------------------- signatures


ORDER = {
    "conv": ["stride", "padding", "dilation", "groups"],
    "conv_transpose": ["stride", "padding", "output_padding", "groups", "dilation"],
}


@pytest.mark.parametrize("operator", ORDER)
@pytest.mark.parametrize("nd", NDS)
def test_documentation_and_signatures(nd, operator):
    name, order = f"{operator}{nd}d", ORDER[operator]
    conv, backward = getattr(convkit, name), getattr(convkit, name + "_backward")
    assert list(inspect.signature(conv).parameters)[: 3 + len(order)] == ["x", "weight", "bias", *order]
    assert list(inspect.signature(backward).parameters)[: 3 + len(order)] == ["grad", "x", "weight", *order]
    for function in (conv, backward):
        assert "{" not in function.__doc__.replace('{"', "")
        assert name in function.__doc__ or function is conv
        for section in ("Parameters", "Returns", "Raises", "References"):
            assert f"\n{section}\n----" in function.__doc__
        reference = getattr(convkit.reference, function.__name__)
        assert [p for p in inspect.signature(function).parameters if p != "out"] == list(
            inspect.signature(reference).parameters
        )


def test_taps_that_lie_closer_than_all_of_a_kernel(isa):
    """Of a row's four taps, 4 apart, two are no padding; the hull of those is longer than four positions."""
    shapes = (3, 9, 25, 6), (3, 9, 6, 4)
    x, weight = (np.arange(np.prod(shape), dtype=np.float32).reshape(shape) % 7 for shape in shapes)
    options = {"stride": (1, 5), "padding": ((5, 2), (4, 4)), "dilation": (3, 4)}
    for channels in (1, 9):
        some = x[:, :channels], weight[:, :channels]
        assert np.array_equal(convkit.conv2d(*some, **options), convkit.reference.conv2d(*some, **options))
