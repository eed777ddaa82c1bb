"""Every bad input: the exception, a message with the argument, what was expected and what was got, nothing written.

Each case is one change to a good call of `conv1d/2d/3d` (in both directions), `im2col`, `col2im` or `linear`. What is
said of arrays holds for the transposed convolutions too; their own sizes are in test_bad_transposed.py.
"""

import inspect
import itertools

import numpy as np
import pytest

import convkit
from convkit._ext import engine
from refusals import NDS, assert_refused, axes_of, good_call, huge, ones

ENDLESS = [1]
ENDLESS.append(ENDLESS)


class Sparse:
    """Looks like a scipy.sparse array: a shape, a dtype, no __array__."""

    shape, dtype, ndim = (2, 4, 6, 6), np.dtype(np.float32), 4

    def toarray(self):
        return ones(*self.shape)


class Refuses:
    """Like a tensor that will not be turned into an array."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("call detach first")


CONVS = [f"conv{nd}d{tail}" for nd in NDS for tail in ("", "_backward")]
TRANSPOSED = [name.replace("conv", "conv_transpose") for name in CONVS]
OPERATORS = [*CONVS, *TRANSPOSED, "im2col", "col2im", "linear", "linear_backward"]


# ---------------------------------------------------------------- arrays that are none, or of no dtype we have

NO_ARRAYS = {
    "None": None,
    "dict": {},
    "a float": 1.0,
    "text": "x",
    "a class": np.ndarray,
    "sparse": Sparse(),
    "refuses": Refuses(),
    "masked": np.ma.masked_array(ones(2, 3), ones(2, 3) > 0),
    "masked, no mask": np.ma.masked_array(ones(2, 3)),
}
NO_DTYPES = ["?", "i8", "u1", "f2", "g", "F", "D", "O", "S3", "U3", "M8[s]", "m8[s]", [("a", "f4")]]


def arrays_of(name):
    return [key for key, value in good_call(name)[1].items() if isinstance(value, np.ndarray) and key != "out"]


@pytest.mark.parametrize("name", OPERATORS)
def test_not_an_array(name):
    for argument, kind in itertools.product(arrays_of(name), NO_ARRAYS):
        if argument == "bias" and kind == "None":
            continue  # there need be no bias
        assert_refused(
            name, {argument: NO_ARRAYS[kind]}, TypeError, f"{argument} must be a float32 or float64 array, got "
        )


@pytest.mark.parametrize("name", OPERATORS)
def test_lists_are_not_arrays(name):
    for argument in arrays_of(name):
        for nested in ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0]], (1.0, 2.0)):  # the second is ragged
            assert_refused(name, {argument: nested}, TypeError, f"{argument} must be a.* array.*, got (list|tuple)")


@pytest.mark.parametrize("name", OPERATORS)
def test_dtypes(name):
    for argument, dtype in itertools.product(arrays_of(name), NO_DTYPES):
        bad = np.zeros(good_call(name)[1][argument].shape, dtype)
        assert_refused(name, {argument: bad}, TypeError, f"{argument} must be float32 or float64, got dtype ")


@pytest.mark.parametrize("name", OPERATORS)
def test_mixed_dtypes(name):
    first, *others = arrays_of(name)
    for argument in others:
        double = good_call(name)[1][argument].astype(np.float64)
        message = f"{argument} must have the dtype of {first}, float32, got float64"
        assert_refused(name, {argument: double}, TypeError, message)


# ---------------------------------------------------------------- convolutions, forward and backward

# name, what changes for nd axes, exception, message
SHAPES_AND_OPTIONS = [
    ("x 0-D", lambda nd: {"x": ones()}, ValueError, r"x must have shape \(N, C, .*\) or \(C, .*\), got shape \(\)"),
    ("x 1-D", lambda nd: {"x": ones(6)}, ValueError, r"x must have shape .*, got shape \(6,\)"),
    ("x rank", lambda nd: {"x": ones(2, 4, *(6,) * (nd + 1))}, ValueError,
     r"x must have shape .*, got shape \(2, 4, 6"),
    ("weight rank", lambda nd: {"weight": ones(8, 2, *(3,) * (nd + 1))}, ValueError,
     r"weight must have shape \(C_out, C_in/groups, k.*\), got shape \(8, 2, 3"),
    ("weight 1-D", lambda nd: {"weight": ones(8)}, ValueError, r"weight must have shape .*, got shape \(8,\)"),
    ("channels", lambda nd: {"weight": ones(8, 3, *(3,) * nd)}, ValueError,
     r"x must have weight.shape\[1\] \* groups = 3 \* 2 = 6 channels, got 4"),
    ("channels in groups", lambda nd: {"groups": 3}, ValueError,
     "groups must divide the channels of x, got groups 3 for 4 channels"),
    ("outputs in groups", lambda nd: {"weight": ones(7, 2, *(3,) * nd)}, ValueError,
     r"groups must divide weight.shape\[0\], the output channels, got groups 2 for 7"),
    ("more groups than outputs", lambda nd: {"weight": ones(1, 2, *(3,) * nd)}, ValueError,
     "groups must divide .*, got"),
    ("groups 0", lambda nd: {"groups": 0}, ValueError, "groups must be at least 1, got 0"),
    ("groups -1", lambda nd: {"groups": -1}, ValueError, "groups must be at least 1, got -1"),
    ("groups True", lambda nd: {"groups": True}, TypeError, "groups must be an int, got True of type bool"),
    ("groups 1.0", lambda nd: {"groups": 1.0}, TypeError, "groups must be an int, got 1.0 of type float"),
    ("kernel 0", lambda nd: {"weight": ones(8, 2, *(3,) * (nd - 1), 0)}, ValueError,
     r"weight.shape\[2:\] must be at least 1, got \(.*0,?\)"),
    ("kernel too large", lambda nd: {"weight": ones(8, 2, *(3,) * (nd - 1), 7)}, ValueError,
     r"weight.shape\[2:\] must fit .* a kernel of 7 at dilation 1 reaches over 7, got an input of 6 padded to 6"),
    ("dilated too large", lambda nd: {"dilation": 4, "padding": 1}, ValueError,
     r"weight.shape\[2:\] must fit .* a kernel of 3 at dilation 4 reaches over 9, got an input of 6 padded to 8"),
    ("dilation 2**40", lambda nd: {"dilation": 2**40}, ValueError,
     r"weight.shape\[2:\] must fit .*, got an input of 6"),
    ("stride length", lambda nd: {"stride": (1,) * (nd + 1)}, ValueError,
     r"stride must be one int or \d ints.*, got \(1, 1"),
    ("dilation length", lambda nd: {"dilation": (1,) * (nd + 1)}, ValueError,
     r"dilation must be one int or .*, got \(1, 1"),
    ("padding length", lambda nd: {"padding": (1,) * 5}, ValueError,
     r"padding must be one int.*, got \(1, 1, 1, 1, 1\)"),
    ("stride 0", lambda nd: {"stride": 0}, ValueError, "stride must be at least 1, got 0"),
    ("stride -1", lambda nd: {"stride": (1,) * (nd - 1) + (-1,)}, ValueError,
     r"stride must be at least 1, got \(.*-1,?\)"),
    ("dilation 0", lambda nd: {"dilation": 0}, ValueError, "dilation must be at least 1, got 0"),
    ("dilation -1", lambda nd: {"dilation": -1}, ValueError, "dilation must be at least 1, got -1"),
    ("padding -1", lambda nd: {"padding": -1}, ValueError, "padding must be at least 0, got -1"),
    ("stride in itself", lambda nd: {"stride": ENDLESS}, TypeError, "stride must be an int.*, got one nested"),
    ("padding in itself", lambda nd: {"padding": ENDLESS}, TypeError,
     "padding must be an int or a tuple of ints, got one nested more than 3 deep"),
    ("stride 1.5", lambda nd: {"stride": 1.5}, TypeError, "stride must be an int.*, got 1.5 of type float"),
    ("stride '2'", lambda nd: {"stride": "2"}, TypeError, "stride must be an int.*, got '2' of type str"),
    ("stride True", lambda nd: {"stride": True}, TypeError, "stride must be an int.*, got True of type bool"),
    ("stride None", lambda nd: {"stride": None}, TypeError, "stride must be an int.*, got None"),
    ("stride 2**63", lambda nd: {"stride": 2**63}, OverflowError,
     "stride must fit a 64-bit integer, got 9223372036854775808"),
    ("dilation array", lambda nd: {"dilation": np.ones(nd, int)}, TypeError, "dilation must be an int.*, got array"),
    ("padding 'foo'", lambda nd: {"padding": "foo"}, ValueError, "padding must be .* valid, full, same.*, got 'foo'"),
    ("padding 2**62", lambda nd: {"padding": 2**62}, OverflowError, "padding must keep .* below 2.*63, got 6 \\+ 4611"),
    ("padding 2**61", lambda nd: {"padding": 2**61}, OverflowError,
     r"x, weight and padding must give an output of fewer than 2\*\*63 elements, got one of shape \(2, 8, 461"),
    ("reflect", lambda nd: {"padding": 6, "padding_mode": "reflect"}, ValueError,
     "padding must be less than .*, got 6 on 6"),
    ("circular", lambda nd: {"padding": 7, "padding_mode": "circular"}, ValueError,
     "padding must be at most .*, got 7 on 6"),
    ("mode 'edge'", lambda nd: {"padding_mode": "edge"}, ValueError,
     "padding_mode must be one of zeros.*, got 'edge', which is 'replicate' here"),
    ("mode 'grid-wrap'", lambda nd: {"padding_mode": "grid-wrap"}, ValueError,
     "padding_mode must be one of zeros.*, got 'grid-wrap', which is 'circular' here"),
    ("mode 'symmetric'", lambda nd: {"padding_mode": "symmetric"}, ValueError,
     r"padding_mode must be .*, got 'symmetric'; pad with np.pad\(x, \.\.\., mode='symmetric'\) first"),
    ("mode None", lambda nd: {"padding_mode": None}, TypeError, "padding_mode must be one of zeros.*, got None"),
    ("mode list", lambda nd: {"padding_mode": ["zeros"]}, TypeError,
     r"padding_mode must be one of .*, got \['zeros'\]"),
    ("layout 'NWHC'", lambda nd: {"layout": "NWHC"}, ValueError, "layout must be one of NCHW, NHWC, got 'NWHC'"),
    ("layout 'NDHWC'", lambda nd: {"layout": "NDHWC"}, ValueError,
     "layout must be one of NCHW, NHWC, got 'NDHWC', which is 'NHWC' here"),
    ("layout 'channels_first'", lambda nd: {"layout": "channels_first"}, ValueError,
     "layout must be one of NCHW, NHWC, got 'channels_first', which is 'NCHW' here"),
    ("layout 1", lambda nd: {"layout": 1}, TypeError, "layout must be one of NCHW, NHWC, got 1 of type int"),
    ("layout list", lambda nd: {"layout": ["NCHW"]}, TypeError,
     "layout must be one of NCHW, NHWC, got .* of type list"),
    ("layout of x", lambda nd: {"layout": "NHWC", "x": ones(2, *(6,) * nd, 5)}, ValueError,
     "groups must divide .*, got"),
    ("algorithm 'foo'", lambda nd: {"algorithm": "foo"}, ValueError, "algorithm must be one of auto, .*, got 'foo'"),
    ("algorithm None", lambda nd: {"algorithm": None}, TypeError, "algorithm must be one of .*, got None"),
    ("activation 'foo'", lambda nd: {"activation": "foo"}, ValueError, "activation must be None, .*, got 'foo'"),
    ("activation 3", lambda nd: {"activation": 3}, TypeError, "activation must be None, .*, got 3"),
    ("activation ()", lambda nd: {"activation": ()}, TypeError, r"activation must be None, .*, got \(\)"),
    ("leaky without slope", lambda nd: {"activation": "leaky_relu"}, ValueError,
     "activation must be .*, got 'leaky_relu'"),
    ("relu with slope", lambda nd: {"activation": ("relu", 1)}, ValueError,
     r"activation must be .*, got \('relu', 1\)"),
    ("relu in a tuple", lambda nd: {"activation": ("relu",)}, ValueError,
     r"activation must be .*, got \('relu',\)"),
    ("slope -1", lambda nd: {"activation": ("leaky_relu", -1)}, ValueError, "activation's slope must be .*, got -1.0"),
    ("slope nan", lambda nd: {"activation": ("leaky_relu", np.nan)}, ValueError,
     "activation's slope must be .*, got nan"),
    ("slope inf", lambda nd: {"activation": ("leaky_relu", np.inf)}, ValueError,
     "activation's slope must be .*, got inf"),
    ("slope text", lambda nd: {"activation": ("leaky_relu", "1")}, TypeError, "activation's slope must be .*, got '1'"),
    ("alpha -1", lambda nd: {"activation": ("elu", -1)}, ValueError, "activation's alpha must be .*, got -1.0"),
    ("slope True", lambda nd: {"activation": ("leaky_relu", True)}, TypeError,
     "activation's slope must be .*, got True"),
    ("clip crossed", lambda nd: {"activation": ("clip", 1, 0)}, ValueError,
     "activation's lo must not exceed hi, got lo 1.0"),
    ("clip nan", lambda nd: {"activation": ("clip", 0, np.nan)}, ValueError,
     "activation's lo must not exceed hi, got lo 0.0"),
    ("clip half", lambda nd: {"activation": ("clip", 0)}, ValueError, r"activation must be .*, got \('clip', 0\)"),
]  # fmt: skip


@pytest.mark.parametrize("case", SHAPES_AND_OPTIONS, ids=lambda case: case[0])
def test_convolutions(case):
    _, changes, error, message = case
    for name in CONVS:
        assert_refused(name, changes(axes_of(name)), error, message)


@pytest.mark.parametrize("nd", NDS)
def test_direct_says_why_it_cannot(nd):
    wide = {"x": ones(1, 64, *(6,) * nd), "weight": ones(64, 64, *(3,) * nd), "groups": 1, "algorithm": "direct"}
    message = "algorithm must be another than 'direct', .*; got 1 group of 64 channels in and 64 out"
    assert_refused(f"conv{nd}d", wide | {"bias": None}, ValueError, message)
    grad = {"grad": ones(1, 64, *(4,) * nd), "out": None}
    assert_refused(f"conv{nd}d_backward", wide | grad, ValueError, message)
    assert_refused(f"conv_transpose{nd}d", wide | {"bias": None, "out": None}, ValueError, message)
    grad = {"grad": ones(1, 64, *(8,) * nd), "out": None}
    assert_refused(f"conv_transpose{nd}d_backward", wide | grad, ValueError, message)


@pytest.mark.parametrize("nd", NDS)
def test_winograd_says_why_it_cannot(nd):
    wide = {"algorithm": "winograd", "stride": 2, "padding": 1, "bias": None, "out": None}
    message = r"algorithm must be another than 'winograd', which does only kernels of 3x3 .*; got .* stride \(2"
    assert_refused(f"conv{nd}d", wide, ValueError, message)
    if nd == 1:
        assert_refused(f"conv{nd}d", wide | {"stride": 1}, ValueError, "algorithm must be .* 'winograd'")


FORWARD = [
    ("bias 2-D", lambda nd: {"bias": ones(1, 8)}, ValueError, r"bias must have shape \(8,\), .*, got shape \(1, 8\)"),
    ("bias length", lambda nd: {"bias": ones(4)}, ValueError, r"bias must have shape \(8,\), .*, got shape \(4,\)"),
    ("out a list", lambda nd: {"out": [1.0]}, TypeError, "out must be a float32 ndarray, got list"),
    ("out masked", lambda nd: {"out": np.ma.masked_array(ones(2, 8, *(4,) * nd))}, TypeError,
     "out must be a float32 ndarray, got MaskedArray"),
    ("out dtype", lambda nd: {"out": ones(2, 8, *(4,) * nd, dtype=float)}, TypeError,
     "out must have dtype float32, got float64"),
    ("out byte order", lambda nd: {"out": ones(2, 8, *(4,) * nd, dtype=np.dtype("f4").newbyteorder())},
     ValueError, "out must have the native byte order, got dtype [<>]f4"),
    ("out shape", lambda nd: {"out": ones(2, 8, *(5,) * nd)}, ValueError,
     r"out must have shape \(2, 8, 4.*\), got \(2, 8, 5"),
    ("out without batch", lambda nd: {"out": ones(8, *(4,) * nd)}, ValueError,
     r"out must have shape \(2, 8, 4.*\), got \(8, 4"),
    ("out read-only", lambda nd: {"out": huge(2, 8, *(4,) * nd)}, ValueError,
     "out must be writable, got a read-only array"),
]  # fmt: skip


@pytest.mark.parametrize("case", FORWARD, ids=lambda case: case[0])
def test_forward_alone(case):
    _, changes, error, message = case
    for nd in NDS:
        assert_refused(f"conv{nd}d", changes(nd), error, message)


BACKWARD = [
    ("grad shape", lambda nd: {"grad": ones(2, 8, *(5,) * nd)}, ValueError,
     r"grad must have shape \(2, 8, 4.*, got shape"),
    ("grad without batch", lambda nd: {"grad": ones(8, *(4,) * nd)}, ValueError,
     r"grad must have shape .*, got shape \(8, 4"),
    ("y missing", lambda nd: {"activation": "relu"}, ValueError,
     "y must be the output of the forward call .*, got None"),
    ("y shape", lambda nd: {"activation": "relu", "y": ones(2, 8, *(5,) * nd)}, ValueError,
     r"y must have shape \(2, 8, 4.*, that of grad, got shape \(2, 8, 5"),
    ("y dtype", lambda nd: {"activation": "relu", "y": ones(2, 8, *(4,) * nd, dtype=float)}, TypeError,
     "y must have the dtype of grad, float32, got float64"),
    ("y a list", lambda nd: {"activation": "relu", "y": [1.0]}, TypeError,
     "y must be a float32 or float64 array, got list"),
    ("need unknown", lambda nd: {"need": "y"}, ValueError, "need must be one of x, weight, bias, got 'y'"),
    ("need one unknown", lambda nd: {"need": ("x", "mask")}, ValueError, "need must be one of .*, got 'mask'"),
    ("need a number", lambda nd: {"need": 1}, TypeError, "need must be one or several of x, weight, bias, got 1"),
    ("need numbers", lambda nd: {"need": (1,)}, TypeError, "need must be one of x, weight, bias, got 1 of type int"),
    ("x a shape", lambda nd: {"x": (2, 4, *(6,) * nd)}, TypeError,
     r"x must be an array where need includes 'weight', got tuple \(2, 4"),
    ("weight a shape", lambda nd: {"weight": [8, 2, *(3,) * nd]}, TypeError,
     r"weight must be an array where need includes 'x', got list \[8, 2"),
    ("x a bad shape", lambda nd: {"x": (2, -4, *(6,) * nd), "need": "x", "out": None}, ValueError,
     "x as a shape must have sizes of at least 0, got"),
    ("x a shape of floats", lambda nd: {"x": (2, 4.0, *(6,) * nd), "need": "x", "out": None}, TypeError,
     "x must be an int.*, got 4.0 of type float"),
    ("out a list", lambda nd: {"out": [None, None, None]}, TypeError,
     "out must be a tuple of three arrays or None .*, got list"),
    ("out an array", lambda nd: {"out": ones(3)}, TypeError,
     "out must be a tuple of three arrays or None .*, got ndarray"),
    ("out of two", lambda nd: {"out": (None, None)}, ValueError,
     "out must be a tuple of three arrays or None .*, got 2 "),
    ("out not needed", lambda nd: {"need": ("x", "bias")}, ValueError,
     "out.weight must be None where need does not include 'weight', got an array"),
    ("out.weight shape", lambda nd: {"out": (None, ones(8, 2), None)}, ValueError,
     r"out.weight must have shape .*, got \(8, 2\)"),
    ("out.bias dtype", lambda nd: {"out": (None, None, ones(8, dtype=float))}, TypeError,
     "out.bias must have dtype float32, got float64"),
]  # fmt: skip


@pytest.mark.parametrize("case", BACKWARD, ids=lambda case: case[0])
def test_backward_alone(case):
    _, changes, error, message = case
    for nd in NDS:
        assert_refused(f"conv{nd}d_backward", changes(nd), error, message)


# ---------------------------------------------------------------- memory that is shared


@pytest.mark.parametrize("nd", NDS)
def test_out_overlaps_an_input(nd):
    memory = ones(4000)
    size = 2 * 8 * 4**nd
    out = memory[:size].reshape(2, 8, *(4,) * nd)
    last = memory[size - 1 :]  # one element in common
    for argument, shape in (("x", (2, 4) + (6,) * nd), ("weight", (8, 2) + (3,) * nd), ("bias", (8,))):
        view = last[: np.prod(shape)].reshape(shape)
        message = f"out must not share memory with {argument}, got an array that does"
        assert_refused(f"conv{nd}d", {argument: view, "out": out}, ValueError, message)
    function, call = good_call(f"conv{nd}d")
    call |= {"bias": memory[size : size + 8], "out": out}
    assert function(**call) is out  # side by side is not overlapping


def test_out_interleaved_with_an_input_does_not_overlap_it():
    memory = ones(2, 4, 6, 12)
    x, out = memory[..., ::2], memory[..., 1::2]
    expected = convkit.conv2d(x.copy(), ones(4, 4, 3, 3), padding=1)
    assert np.array_equal(convkit.conv2d(x, ones(4, 4, 3, 3), padding=1, out=out), expected)
    assert (x == 1).all()


def test_out_overlaps_itself():
    memory = ones(4000)
    for strides in ((0, 16, 4), (32, 4, 4), (4, 8, 4), (128, 16, 3), (-4, 16, 4)):
        out = np.lib.stride_tricks.as_strided(memory[100:], (2, 8, 4), strides)
        assert_refused("conv1d", {"out": out}, ValueError, r"out must not overlap itself, got strides \(")
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)):  # any order of axes is fine, backwards too
        _, call = good_call("conv1d")
        call |= {"out": ones(*np.array((2, 8, 4))[list(order)]).transpose(np.argsort(order))[:, ::-1]}
        assert convkit.conv1d(**call) is call["out"]
        assert (call["out"] == 7).all()  # 2 channels of 3 taps each, and the bias


@pytest.mark.parametrize("nd", NDS)
def test_gradients_that_share_memory(nd):
    name = f"conv{nd}d_backward"
    _, call = good_call(name)
    memory = ones(4000)
    x, weight = (memory[: call[key].size].reshape(call[key].shape) for key in ("x", "weight"))
    assert_refused(
        name, {"out": (x, weight, None)}, ValueError, "out.weight must not share memory with out.x, got an array"
    )
    for argument in ("grad", "x", "weight"):
        array = ones(*call[argument].shape)
        changes = {argument: array, "out": (None, None, array.reshape(-1)[:8])}
        assert_refused(name, changes, ValueError, f"out.bias must not share memory with {argument}, got an array")
    y = ones(*call["grad"].shape)
    changes = {"activation": "relu", "y": y, "out": (None, None, y.reshape(-1)[:8])}
    assert_refused(name, changes, ValueError, "out.bias must not share memory with y, got an array")


# ---------------------------------------------------------------- columns and linear

OTHERS = [
    ("im2col", {"x": ones(6)}, ValueError, r"x must have shape \(N, C, H, W\) or \(C, H, W\), got shape \(6,\)"),
    ("im2col", {"x": ones(2, 4, 6, 6, 6, 6)}, ValueError, r"x must have shape .*, got shape \(2, 4, 6, 6, 6, 6\)"),
    ("im2col", {"kernel_size": (3,) * 4}, ValueError, r"kernel_size must be an int, or a tuple of 1, 2 or 3 ints, got"),
    ("im2col", {"kernel_size": ()}, ValueError, r"kernel_size must be an int, or a tuple of 1, 2 or 3 ints, got \(\)"),
    ("im2col", {"kernel_size": 0}, ValueError, "kernel_size must be at least 1, got 0"),
    ("im2col", {"kernel_size": (3, -1)}, ValueError, r"kernel_size must be at least 1, got \(3, -1\)"),
    ("im2col", {"kernel_size": True}, TypeError, "kernel_size must be an int.*, got True"),
    ("im2col", {"kernel_size": "3"}, TypeError, "kernel_size must be an int.*, got '3'"),
    ("im2col", {"kernel_size": 7}, ValueError, "kernel_size must fit .* reaches over 7, got an input of 6 padded to 6"),
    ("im2col", {"kernel_size": 2**63}, OverflowError, "kernel_size must fit a 64-bit integer, got"),
    ("im2col", {"stride": 0}, ValueError, "stride must be at least 1, got 0"),
    ("im2col", {"stride": (1,)}, ValueError, r"stride must be one int or 2 ints.*, got \(1,\)"),
    ("im2col", {"padding": "foo"}, ValueError, "padding must be .*, got 'foo'"),
    ("im2col", {"padding": (1, 2, 3, 4)}, ValueError, r"padding must be .*, got \(1, 2, 3, 4\)"),
    ("im2col", {"dilation": 0}, ValueError, "dilation must be at least 1, got 0"),
    ("im2col", {"padding_mode": "edge"}, ValueError, "padding_mode must be one of .*, got 'edge'"),
    ("im2col", {"padding_mode": {}}, TypeError, r"padding_mode must be one of .*, got \{\}"),
    ("im2col", {"layout": "CHW"}, ValueError, "layout must be one of .*, got 'CHW'"),
    ("im2col", {"layout": []}, TypeError, r"layout must be one of .*, got \[\]"),
    ("col2im", {"cols": ones(36)}, ValueError,
     r"cols must have shape \(N, C\*prod\(kernel_size\), L\) or .*, got shape \(36,\)"),
    ("col2im", {"cols": ones(2, 35, 16)}, ValueError,
     r"cols must have a multiple of prod.* = 9 rows, got shape \(2, 35, 16\)"),
    ("col2im", {"cols": ones(2, 36, 15)}, ValueError, r"cols must have L = 16 columns, .*, got shape \(2, 36, 15\)"),
    ("col2im", {"output_size": (6, 6, 6, 6)}, ValueError,
     "output_size must be an int, or a tuple of 1, 2 or 3 ints, got"),
    ("col2im", {"output_size": (6, -6)}, ValueError, r"output_size must be at least 0, got \(6, -6\)"),
    ("col2im", {"output_size": (6, 6.0)}, TypeError, "output_size must be an int.*, got 6.0"),
    ("col2im", {"output_size": None}, TypeError, "output_size must be an int.*, got None"),
    ("col2im", {"output_size": (2, 2)}, ValueError, "kernel_size must fit .*, got an input of 2 padded to 2"),
    ("col2im", {"output_size": (2**62, 2**62)}, OverflowError,
     r"cols and output_size must give .* fewer than 2\*\*63 .* \(2, 4, 46116"),
    ("col2im", {"kernel_size": (3,)}, ValueError, r"kernel_size must be one int or 2 ints.*, got \(3,\)"),
    ("col2im", {"kernel_size": (3, 0)}, ValueError, r"kernel_size must be at least 1, got \(3, 0\)"),
    ("col2im", {"stride": 2}, ValueError, "cols must have L = 4 columns, .*, got shape"),
    ("col2im", {"padding": 1.0}, TypeError, "padding must be an int.*, got 1.0"),
    ("col2im", {"layout": "foo"}, ValueError, "layout must be one of .*, got 'foo'"),
    ("linear", {"x": ones()}, ValueError, r"x must have shape \(\*, in\), got shape \(\)"),
    ("linear", {"x": ones(3, 5)}, ValueError, r"x must have weight.shape\[1\] = 4 features, got shape \(3, 5\)"),
    ("linear", {"weight": ones(4)}, ValueError, r"weight must have shape \(out, in\), got shape \(4,\)"),
    ("linear", {"weight": ones(5, 4, 1)}, ValueError, r"weight must have shape \(out, in\), got shape \(5, 4, 1\)"),
    ("linear", {"bias": ones(4)}, ValueError, r"bias must have shape \(5,\), .*, got shape \(4,\)"),
    ("linear", {"bias": ones(1, 5)}, ValueError, r"bias must have shape \(5,\), .*, got shape \(1, 5\)"),
    ("linear", {"activation": "mish"}, ValueError, "activation must be .*, got 'mish'"),
    ("linear", {"out": ones(5, 3)}, ValueError, r"out must have shape \(3, 5\), got \(5, 3\)"),
    ("linear", {"out": ones(3, 5, dtype=float)}, TypeError, "out must have dtype float32, got float64"),
    ("linear_backward", {"grad": ones(3, 4)}, ValueError, r"grad must have shape \(3, 5\), .*, got shape \(3, 4\)"),
    ("linear_backward", {"activation": "relu"}, ValueError, "y must be the output .*, got None"),
    ("linear_backward", {"activation": "relu", "y": ones(5)}, ValueError,
     r"y must have shape \(3, 5\), .*, got shape \(5,\)"),
    ("linear_backward", {"need": "grad"}, ValueError, "need must be one of x, weight, bias, got 'grad'"),
    ("linear_backward", {"x": (3, 4)}, TypeError,
     r"x must be an array where need includes 'weight', got tuple \(3, 4\)"),
    ("linear_backward", {"weight": (5, 4)}, TypeError, r"weight must be an array where need includes 'x', got tuple"),
    ("linear_backward", {"weight": (5,), "need": "bias"}, ValueError,
     r"weight must have shape \(out, in\), got shape \(5,\)"),
    ("linear_backward", {"x": (2**62, 4), "need": "x"}, OverflowError, r"x must have fewer than 2\*\*63 elements, got"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "error", "message"), OTHERS, ids=lambda v: v if isinstance(v, str) else "")
def test_columns_and_linear(name, changes, error, message):
    assert_refused(name, changes, error, message)


def test_out_of_linear_overlaps_an_input():
    out = ones(3, 5)
    changes = {"out": out, "x": out[:, :4]}
    assert_refused("linear", changes, ValueError, "out must not share memory with x, got an array that does")


# ---------------------------------------------------------------- allocation


def test_allocation_refused():
    vast = {"x": huge(2**30, 1, 6), "weight": huge(2**20, 1, 3), "bias": None, "groups": 1, "out": None}
    bytes_asked = 2**50 * 4 * 4
    message = rf"cannot allocate {bytes_asked} bytes for a float32 array of shape \(1073741824, 1048576, 4\)"
    assert_refused("conv1d", vast, MemoryError, message)
    vast = {"bias": None, "dilation": 2**45, "out": None}
    message = r"cannot allocate 2251799813685376 bytes for a float32 array of shape \(2, 4, 70368744177668\)"
    assert_refused("conv_transpose1d", vast, MemoryError, message)


# ---------------------------------------------------------------- anything at all

# Ints are small or too many for memory: 2**31 zeros a side would fit, slowly.
VALUES = [
    0, 1, 2, 3, -1, 2**45, 2**62, 2**63, True, 1.5, None, np.int64(2), np.float32(2), object(), {}, b"", [2, 2],
    (), (1,), (1, 2), (2, 1), ((1, 0), (0, 1)), (1, (1, 1)), ("clip", 0, 1), "relu",
    "same", "full", "valid", "zeros", "circular", "NHWC", "direct",
    ones(8), ones(1, 1), ones(2, 4, 6, 6), ones(8, 2, 3, 3), ones(2, 8, 4, 4), ones(0, 4, 6, 6), ones(2, 36, 16),
]  # fmt: skip
DOCUMENTED = (TypeError, ValueError, OverflowError, MemoryError)


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in OPERATORS if "1d" not in name and "3d" not in name])
def test_only_documented_exceptions(name):
    """Two arguments replaced by anything: a result, or an exception that the documentation names."""
    rng = np.random.default_rng(38)
    function, good = good_call(name)
    names = list(inspect.signature(function).parameters)
    results = 0
    for _ in range(800):
        call = good | {"out": None} if "out" in good else dict(good)
        for argument in rng.choice(names, 2):
            call[str(argument)] = VALUES[rng.integers(len(VALUES))]
        try:
            function(**call)
            results += 1
        except DOCUMENTED as error:
            assert str(error)
    assert results > 2


LONG = {"array": np.zeros((50, 100)), "list": [*range(5000)], "text": "NCHW" * 1000, "number": 10**4000}


@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_what_is_long_is_cut(value):
    """No page of numbers in an error, whichever argument they were given for."""
    for name in OPERATORS:
        function, arguments = good_call(name)
        for option in inspect.signature(function).parameters:
            try:
                function(**arguments | {option: value})
            except (TypeError, ValueError, OverflowError) as error:
                assert len(str(error)) < 300 and "truth value" not in str(error), (name, option)
    for option in inspect.signature(convkit.explain).parameters.keys() - {"measure"}:
        try:
            convkit.explain(**{"op": "conv1d", "x_shape": (1, 2, 9), "weight_shape": (3, 2, 3)} | {option: value})
        except (TypeError, ValueError, OverflowError) as error:
            assert str(error).startswith(option) and len(str(error)) < 300


def test_what_c_refuses_is_named():
    """Past convkit's own checks it would be a fault, and says which."""
    geometry = engine.Geometry(1, 1, 2, 3, (4, 4), (1, 1), (1, 1), (1, 1), (0, 0), (0, 0), (4, 4), engine.ZEROS)
    call = geometry, ones(1, 2, 4, 4), ones(3, 2, 1, 1), None, ones(1, 3, 4, 4), engine.IDENTITY, 0.0, 0.0, False
    with pytest.raises(RuntimeError, match="a fault in convkit, please report it: algorithm that cannot do this shape"):
        engine.conv_forward(*call, engine.WINOGRAD, False, 1)


def test_a_picture_in_the_other_layout_is_told_which():
    """The first mistake of who has a photograph: (height, width, 3)."""
    photo, dense, each = ones(9, 8, 3), ones(2, 3, 3, 3), ones(3, 1, 3, 3)
    for weight, groups in ((dense, 1), (each, 3)):
        for x in (photo, photo[None], ones(10, 8, 3)):
            hint = r'; for channels last pass layout="NHWC", or np.moveaxis\(x, -1, -3\) to a network$'
            with pytest.raises(ValueError, match=hint):
                convkit.conv2d(x, weight, groups=groups)
        with pytest.raises(ValueError, match=r'; for channels first pass layout="NCHW"$'):
            convkit.conv2d(ones(3, 9, 8), weight, groups=groups, layout="NHWC")
    with pytest.raises(ValueError, match=r"got 9 \(weight has shape \(2, 3, 3, 3\)\)$"):
        convkit.conv2d(ones(9, 3, 8), dense)
