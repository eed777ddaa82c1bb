"""Every bad size and option of the transposed convolutions: the exception and its message, nothing written."""

import numpy as np
import pytest

from refusals import NDS, assert_refused, axes_of, huge, ones

TRANSPOSED = [
    pytest.param(f"conv_transpose{nd}d{tail}", marks=() if nd == 2 else pytest.mark.thorough)
    for nd in NDS
    for tail in ("", "_backward")
]

# The good call: x (2, 8, 4, ...), weight (8, 2, 3, ...) in 2 groups, y (2, 4, 6, ...).
SHAPES_AND_OPTIONS = [
    ("x 1-D", lambda nd: {"x": ones(6)}, ValueError, r"x must have shape .*, got shape \(6,\)"),
    ("x rank", lambda nd: {"x": ones(2, 8, *(4,) * (nd + 1))}, ValueError,
     r"x must have shape .*, got shape \(2, 8, 4"),
    ("x empty axis", lambda nd: {"x": ones(2, 8, *(4,) * (nd - 1), 0)}, ValueError,
     r"x must have a size of at least 1 along every spatial axis, got shape \(2, 8,.* 0\)"),
    ("weight rank", lambda nd: {"weight": ones(8, 2, *(3,) * (nd + 1))}, ValueError,
     r"weight must have shape \(C_in, C_out/groups, k.*\), got shape \(8, 2, 3"),
    ("weight 1-D", lambda nd: {"weight": ones(8)}, ValueError, r"weight must have shape .*, got shape \(8,\)"),
    ("channels", lambda nd: {"weight": ones(6, 2, *(3,) * nd)}, ValueError,
     r"x must have weight.shape\[0\] = 6 channels, got 8 \(weight has shape \(6, 2, 3"),
    ("channels in groups", lambda nd: {"groups": 3}, ValueError,
     "groups must divide the channels of x, got groups 3 for 8 channels"),
    ("groups 0", lambda nd: {"groups": 0}, ValueError, "groups must be at least 1, got 0"),
    ("groups True", lambda nd: {"groups": True}, TypeError, "groups must be an int, got True of type bool"),
    ("kernel 0", lambda nd: {"weight": ones(8, 2, *(3,) * (nd - 1), 0)}, ValueError,
     r"weight.shape\[2:\] must be at least 1, got \(.*0,?\)"),
    ("stride 0", lambda nd: {"stride": 0}, ValueError, "stride must be at least 1, got 0"),
    ("stride length", lambda nd: {"stride": (1,) * (nd + 1)}, ValueError,
     r"stride must be one int or \d ints.*, got \(1, 1"),
    ("stride 2.0", lambda nd: {"stride": 2.0}, TypeError, "stride must be an int.*, got 2.0 of type float"),
    ("stride 2**63", lambda nd: {"stride": 2**63}, OverflowError, "stride must fit a 64-bit integer, got 92233720"),
    ("stride 2**62", lambda nd: {"stride": 2**62}, OverflowError,
     r"stride and dilation must keep .* below 2\*\*63, got stride \(4611686018427387904,"),
    ("dilation 0", lambda nd: {"dilation": 0}, ValueError, "dilation must be at least 1, got 0"),
    ("dilation 2**62", lambda nd: {"dilation": 2**62}, OverflowError,
     r"stride and dilation must keep .* below 2\*\*63, got stride .* dilation \(4611686018427387904,"),
    ("dilation 2**60", lambda nd: {"dilation": 2**60}, OverflowError,
     r"x, weight, stride and dilation must give an output of fewer than 2\*\*63 elements, got .* \(2, 4, 230584"),
    ("padding -1", lambda nd: {"padding": -1}, ValueError, "padding must be at least 0, got -1"),
    ("padding length", lambda nd: {"padding": (1,) * 5}, ValueError, r"padding must be one int.*, got \(1, 1, 1, 1, 1"),
    ("padding 'full'", lambda nd: {"padding": "full"}, ValueError,
     "padding must be an int, ints, .* or one of valid, same, same_upper, same_lower, got 'full'"),
    ("padding 'sames'", lambda nd: {"padding": "sames"}, ValueError, "padding must be an int, .*, got 'sames'"),
    ("padding crops all", lambda nd: {"padding": 3}, ValueError,
     r"padding must leave an output of at least 1 element per axis, got 3, leaving \(0"),
    ("padding 2**62", lambda nd: {"padding": 2**62}, ValueError, "padding must leave an output of .*, got 4611"),
    ("output_padding -1", lambda nd: {"output_padding": -1}, ValueError, "output_padding must be at least 0, got -1"),
    ("output_padding 1", lambda nd: {"output_padding": 1}, ValueError,
     r"output_padding must be less than max\(stride, dilation\) = 1, got 1"),
    ("output_padding 3", lambda nd: {"output_padding": (0,) * (nd - 1) + (3,), "stride": 2, "dilation": 3}, ValueError,
     r"output_padding must be less than max\(stride, dilation\) = 3, got 3"),
    ("output_padding length", lambda nd: {"output_padding": (0,) * (nd + 1)}, ValueError,
     r"output_padding must be one int or \d ints.*, got \(0, 0"),
    ("output_padding True", lambda nd: {"output_padding": True}, TypeError,
     "output_padding must be an int.*, got True of type bool"),
    ("output_padding None", lambda nd: {"output_padding": None}, TypeError,
     "output_padding must be an int.*, got None"),
    ("output_padding and same", lambda nd: {"output_padding": 1, "stride": 2, "padding": "same"}, ValueError,
     "output_padding must be 0 where padding is 'same', .*, got 1"),
    ("output_padding and output_size", lambda nd: {"output_padding": 1, "stride": 2, "output_size": 10}, ValueError,
     "output_padding must be 0 where output_size is given, got 1"),
    ("output_size short", lambda nd: {"output_size": 8, "stride": 2}, ValueError,
     "output_size must be from 9 to 10 along an axis .*, got 8"),
    ("output_size long", lambda nd: {"output_size": (9,) * (nd - 1) + (11,), "stride": 2}, ValueError,
     r"output_size must be from 9 to 10 along an axis .*, got \(.*11,?\)"),
    ("output_size and same", lambda nd: {"output_size": 9, "stride": 2, "padding": "same"}, ValueError,
     "output_size must be from 8 to 8 along an axis .*, got 9"),
    ("output_size 0", lambda nd: {"output_size": 0, "padding": 3}, ValueError, "output_size must be at least 1, got 0"),
    ("output_size of x's rank", lambda nd: {"output_size": (2, 4) + (6,) * nd}, ValueError,
     r"output_size must be one int or \d ints.*, got \(2, 4, 6"),
    ("output_size float", lambda nd: {"output_size": 6.0}, TypeError, "output_size must be an int.*, got 6.0"),
    ("output_size nested", lambda nd: {"output_size": ((6,),) * nd}, TypeError,
     r"output_size must be one int or \d ints, .*, got \(\(6,\)"),
    ("layout list", lambda nd: {"layout": ["NCHW"]}, TypeError, "layout must be one of NCHW, NHWC, got .* type list"),
    ("algorithm 'foo'", lambda nd: {"algorithm": "foo"}, ValueError, "algorithm must be one of auto, .*, got 'foo'"),
    ("activation 'foo'", lambda nd: {"activation": "foo"}, ValueError, "activation must be None, .*, got 'foo'"),
]  # fmt: skip


@pytest.mark.parametrize("name", TRANSPOSED)
@pytest.mark.parametrize("case", SHAPES_AND_OPTIONS, ids=lambda case: case[0])
def test_transposed_convolutions(case, name):
    _, changes, error, message = case
    assert_refused(name, changes(axes_of(name)), error, message)


@pytest.mark.parametrize("nd", NDS)
def test_transposed_alone(nd):
    name = f"conv_transpose{nd}d"
    y = (2, 4, *(6,) * nd)
    for changes, error, message in (
        ({"bias": ones(8)}, ValueError, r"bias must have shape \(4,\), one per output channel, got shape \(8,\)"),
        ({"out": ones(2, 8, *(4,) * nd)}, ValueError, r"out must have shape \(2, 4, 6.*\), got \(2, 8, 4"),
        ({"out": huge(*y)}, ValueError, "out must be writable, got a read-only array"),
        ({"padding_mode": "zeros"}, TypeError, ".*unexpected keyword argument 'padding_mode'"),
    ):
        assert_refused(name, changes, error, message)
    for changes, error, message in (
        ({"grad": ones(2, 8, *(6,) * nd)}, ValueError, r"grad must have shape \(2, 4, 6.*, got shape \(2, 8, 6"),
        ({"activation": "relu"}, ValueError, "y must be the output of the forward call .*, got None"),
        ({"need": "y"}, ValueError, "need must be one of x, weight, bias, got 'y'"),
        ({"x": (2, 8, *(4,) * nd)}, TypeError, "x must be an array where need includes 'weight', got tuple"),
        ({"weight": (8, 2, *(3,) * nd)}, TypeError, "weight must be an array where need includes 'x', got tuple"),
        ({"out": (None, None, ones(8))}, ValueError, r"out.bias must have shape \(4,\), got \(8,\)"),
    ):
        assert_refused(name + "_backward", changes, error, message)


@pytest.mark.parametrize("nd", NDS)
def test_out_of_the_transposed_overlaps_an_input(nd):
    memory = ones(4000)
    size = 2 * 4 * 6**nd
    out = memory[:size].reshape(2, 4, *(6,) * nd)
    for argument, shape in (("x", (2, 8) + (4,) * nd), ("weight", (8, 2) + (3,) * nd), ("bias", (4,))):
        view = memory[size - 1 :][: np.prod(shape)].reshape(shape)
        message = f"out must not share memory with {argument}, got an array that does"
        assert_refused(f"conv_transpose{nd}d", {argument: view, "out": out}, ValueError, message)
