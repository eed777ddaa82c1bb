"""Pooling refuses every bad input: the exception, a message with the argument, expected and got; nothing written."""

import numpy as np
import pytest

import convkit

X = np.ones((2, 4, 6, 6), np.float32)
Y = np.ones((2, 4, 3, 3), np.float32)
INDICES = np.zeros((2, 4, 3, 3), np.int64)
GOOD = {
    "max_pool2d": {"x": X, "kernel_size": 2},
    "max_pool2d_backward": {"grad": Y, "indices": INDICES, "x_shape": X.shape},
    "avg_pool2d": {"x": X, "kernel_size": 2},
    "avg_pool2d_backward": {"grad": Y, "x_shape": X.shape, "kernel_size": 2},
    "adaptive_avg_pool2d": {"x": X, "output_size": 3},
    "adaptive_avg_pool2d_backward": {"grad": Y, "x_shape": X.shape},
    "adaptive_max_pool2d": {"x": X, "output_size": 3},
    "adaptive_max_pool2d_backward": {"grad": Y, "indices": INDICES, "x_shape": X.shape},
    "max_unpool2d": {"x": Y, "indices": INDICES, "kernel_size": 2},
    "max_unpool2d_backward": {"grad": X, "indices": INDICES},
}
POOLED = ("max_pool2d", "avg_pool2d", "avg_pool2d_backward")
BY_INDEX = ("max_pool2d_backward", "adaptive_max_pool2d_backward", "max_unpool2d", "max_unpool2d_backward")
FORWARD = ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "max_unpool2d")


def refused(name, changes, error, message):
    """The call with these changes raises `error` with `message`, and leaves `out` as it was."""
    function, call = getattr(convkit, name), GOOD[name]
    function(**call)  # good without the changes
    call = call | changes
    out = call.get("out")
    before = out.copy() if isinstance(out, np.ndarray) else None
    with pytest.raises(error, match="^" + message):
        function(**call)
    if before is not None:
        assert out.tobytes() == before.tobytes()


def arrays_of(name):
    return [key for key, value in GOOD[name].items() if isinstance(value, np.ndarray) and key != "indices"]


@pytest.mark.parametrize("name", GOOD)
def test_arrays(name):
    for key in arrays_of(name):
        good = GOOD[name][key]
        refused(name, {key: None}, TypeError, f"{key} must be a float32 or float64 array, got NoneType")
        refused(name, {key: good.tolist()}, TypeError, f"{key} must be a float32 or float64 array, got list")
        refused(name, {key: np.ma.masked_array(good)}, TypeError, f"{key} must be .* array, got a MaskedArray")
        for dtype in ("?", "u1", "i8", "f2", "g", "D", "O"):
            refused(name, {key: good.astype(dtype)}, TypeError, f"{key} must be float32 or float64, got dtype")
        refused(name, {key: good[0, 0]}, ValueError, rf"{key} must have shape \(.*, got shape \({good.shape[-1]}, ")
        refused(name, {"layout": "CHWN"}, ValueError, "layout must be one of NCHW, NHWC, got 'CHWN'")
        refused(name, {"layout": []}, TypeError, r"layout must be one of NCHW, NHWC, got \[\]")


SIZES = [
    ({"kernel_size": 0}, ValueError, "kernel_size must be at least 1, got 0"),
    ({"kernel_size": True}, TypeError, "kernel_size must be an int.*, got True"),
    ({"kernel_size": 2.0}, TypeError, "kernel_size must be an int.*, got 2.0"),
    ({"kernel_size": (2,)}, ValueError, r"kernel_size must be one int or 2 ints.*, got \(2,\)"),
    ({"kernel_size": None}, TypeError, "kernel_size must be an int.*, got None"),
    ({"kernel_size": 7}, ValueError, "kernel_size must fit the padded input: .* reaches over 7, got an input of 6"),
    ({"kernel_size": 2**63}, OverflowError, "kernel_size must fit a 64-bit integer"),
    ({"stride": 0}, ValueError, "stride must be at least 1, got 0"),
    ({"stride": (1, 2, 3)}, ValueError, "stride must be one int or 2 ints"),
    ({"dilation": 0}, ValueError, "dilation must be at least 1, got 0"),
    ({"dilation": 6}, ValueError, "kernel_size must fit the padded input: a kernel of 2 at dilation 6"),
    ({"padding": 2}, ValueError, r"padding must be less than dilation\*\(kernel_size-1\)\+1 = 2 on each side, got 2"),
    ({"padding": ((0, 0), (0, 3))}, ValueError, "padding must be less than .* = 2 on each side, got 3"),
    ({"padding": -1}, ValueError, "padding must be at least 0, got -1"),
    ({"padding": (1, 2, 3, 4)}, ValueError, "padding must be one int, 2 ints or 2 .*, got"),
    ({"padding": "full"}, ValueError, "padding must be smaller than the window on each side, got 'full'"),
    ({"padding": "reflect"}, ValueError, "padding must be .* got 'reflect'"),
    ({"padding": None}, TypeError, "padding must be an int.*, got None"),
    ({"ceil_mode": 1}, TypeError, "ceil_mode must be a bool, got 1 of type int"),
]


@pytest.mark.parametrize(("changes", "error", "message"), SIZES, ids=lambda v: str(v) if isinstance(v, dict) else "")
@pytest.mark.parametrize("name", POOLED)
def test_sizes(name, changes, error, message):
    refused(name, changes, error, message)


OTHERS = [
    ("avg_pool2d", {"count_include_pad": None}, TypeError, "count_include_pad must be a bool, got None"),
    ("max_pool2d", {"return_indices": "yes"}, TypeError, "return_indices must be a bool, got 'yes'"),
    (
        "max_pool2d",
        {"return_indices": True, "out": Y.copy()},
        TypeError,
        r"out must be a tuple .* got nd",
    ),
    (
        "max_pool2d",
        {"return_indices": True, "out": (None,)},
        ValueError,
        r"out must be a tuple .* got 1 entries",
    ),
    (
        "max_pool2d",
        {"return_indices": True, "out": (None, Y.copy())},
        TypeError,
        r"out\[1\] must have dtype int64",
    ),
    ("adaptive_avg_pool2d", {"output_size": -1}, ValueError, "output_size must be at least 0, got -1"),
    ("adaptive_avg_pool2d", {"output_size": (1, 2, 3)}, ValueError, "output_size must be one int or 2 ints"),
    ("adaptive_avg_pool2d", {"output_size": 1.5}, TypeError, "output_size must be an int.*, got 1.5"),
    ("adaptive_avg_pool2d", {"x": X[:, :, :0]}, ValueError, r"x must have spatial sizes of at least 1, got shape"),
    ("adaptive_avg_pool2d", {"output_size": 2**40}, OverflowError, r"x and output_size must give an output of fewer"),
    ("avg_pool2d_backward", {"grad": Y[:, :, :2]}, ValueError, r"grad must have shape \(2, 4, 3, 3\), .*, got shape"),
    ("avg_pool2d_backward", {"x_shape": 5}, TypeError, "x_shape must be a tuple of ints, got 5 of type int"),
    ("avg_pool2d_backward", {"x_shape": (4, 6, 6)}, ValueError, r"grad must have shape \(4, 3, 3\), .*, got shape"),
    ("avg_pool2d_backward", {"x_shape": (2, 4, -6, 6)}, ValueError, "x_shape as a shape must have sizes of at least 0"),
    ("adaptive_avg_pool2d_backward", {"x_shape": (2, 5, 6, 6)}, ValueError, r"grad must have shape \(2, 5, 3, 3\)"),
    ("max_pool2d_backward", {"x_shape": (2, 5, 6, 6)}, ValueError, "grad must have the batch and channels of x_shape"),
    ("max_pool2d_backward", {"x_shape": (4, 6, 6)}, ValueError, "grad must have the batch and channels of x_shape"),
    (
        "max_pool2d_backward",
        {"indices": INDICES[:1]},
        ValueError,
        r"indices must have shape .*, that of grad",
    ),
    ("max_unpool2d", {"indices": INDICES[0]}, ValueError, r"indices must have shape \(2, 4, 3, 3\), that of x"),
    ("max_unpool2d", {"padding": "same"}, ValueError, "padding must be an int.* or 'valid', got 'same'"),
    ("max_unpool2d", {"padding": 9}, ValueError, "padding must leave an output of at least 0, got 9"),
    ("max_unpool2d", {"output_size": (6, 8)}, ValueError, r"output_size must be less than stride = .*, got \(6, 8\)"),
    ("max_unpool2d", {"output_size": (4, 6)}, ValueError, r"output_size must be less than stride = .*, got \(4, 6\)"),
    ("max_unpool2d_backward", {"grad": X[:1]}, ValueError, "indices must have the batch and channels of grad"),
]


@pytest.mark.parametrize(("name", "changes", "error", "message"), OTHERS)
def test_others(name, changes, error, message):
    refused(name, changes, error, message)


@pytest.mark.parametrize("name", BY_INDEX)
def test_indices(name):
    for bad, got in ((None, "NoneType"), ([0], "list"), (np.ma.masked_array(INDICES), "MaskedArray")):
        refused(name, {"indices": bad}, TypeError, f"indices must be an int64 array, got {got}")
    for dtype in ("i4", "u8", "f8", "?"):
        refused(name, {"indices": INDICES.astype(dtype)}, TypeError, "indices must be int64, got dtype")


@pytest.mark.parametrize("layout", ("NCHW", "NHWC"))
@pytest.mark.parametrize("name", BY_INDEX)
def test_an_index_outside_is_named(name, layout, isa):
    def arranged(array):
        return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if layout == "NHWC" else array

    call = {key: arranged(value) if isinstance(value, np.ndarray) else value for key, value in GOOD[name].items()}
    if "x_shape" in call:
        call["x_shape"] = arranged(X).shape
    unpooling = "unpool" in name
    for bad in (36, -2, 2**62, -(2**63), *((-1,) if unpooling else ())):
        indices = call["indices"].copy()
        where = (1, 2, 1, 0)
        indices[where] = bad
        indices[1, 2, 2, 2] = 99
        least = 0 if unpooling else -1
        message = rf"^indices must be at least {least} and less than 36, .* got {bad} at \(1, 2, 1, 0\)"
        with pytest.raises(ValueError, match=message):
            getattr(convkit, name)(**(call | {"indices": indices}), layout=layout)
        with pytest.raises(ValueError, match="^indices must lie in a plane of 36 elements"):
            getattr(convkit.reference, name)(**(call | {"indices": indices}), layout=layout)
        if name == "max_unpool2d":
            out = np.full_like(arranged(X), 7)
            with pytest.raises(ValueError, match=message):
                convkit.max_unpool2d(**(call | {"indices": indices}), layout=layout, out=out)
            assert (out == 7).all()


@pytest.mark.parametrize("name", FORWARD)
def test_out(name):
    shape = getattr(convkit, name)(**GOOD[name]).shape
    good = np.zeros(shape, np.float32)
    refused(name, {"out": good.tolist()}, TypeError, "out must be a float32 ndarray, got list")
    refused(name, {"out": good.astype(float)}, TypeError, "out must have dtype float32, got float64")
    refused(name, {"out": good[:1]}, ValueError, r"out must have shape .*, got \(1, 4")
    refused(name, {"out": np.broadcast_to(good[:1], shape)}, ValueError, "out must be writable, got a read-only array")
    shared = np.zeros(1000, np.float32)
    operand = GOOD[name]["x"]
    changes = {"x": shared[: operand.size].reshape(operand.shape), "out": shared[: good.size].reshape(shape)}
    refused(name, changes, ValueError, "out must not share memory with x, got an array that does")


def test_huge_virtual_inputs():
    """Sizes past 2**31 cost nothing until they are computed with."""
    vast = np.broadcast_to(np.float32(1), (1, 1, 2**30, 2**30))
    with pytest.raises(MemoryError, match="cannot allocate .* bytes"):
        convkit.max_pool2d(vast, 1)
    with pytest.raises(OverflowError, match="padding must keep the padded input below"):
        convkit.avg_pool1d(vast[0, :, :1], 2**62, padding=2**62, dilation=1)
    y, indices = convkit.max_pool1d(np.broadcast_to(np.float32(1), (1, 1, 2**60)), 1, 2**59, return_indices=True)
    assert y.tolist() == [[[1, 1]]] and indices.tolist() == [[[0, 2**59]]]
    assert convkit.avg_pool1d(np.ones((1, 1, 3)), 1, 2**61, dilation=2**62).tolist() == [[[1]]]
    none = np.broadcast_to(np.float32(1), (2**50, 1, 0))
    assert convkit.max_unpool1d(none, np.empty(none.shape, np.int64), 2).shape == none.shape
