"""Output sizes without arrays are those of the operators."""

import numpy as np
import pytest

import convkit
from convkit.analysis import output_size


def x(*sizes):
    return np.zeros((1, 1, *sizes), np.float32)


@pytest.mark.parametrize("padding", [0, 2, (1, 0), ((0, 2), (1, 1)), "valid", "full", "same", "same_lower"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), ((3, 1), (1, 2))])
def test_convolution(padding, stride, dilation):
    y = convkit.conv2d(x(11, 8), x(3, 2), None, stride, padding, dilation)
    assert output_size((11, 8), (3, 2), stride, padding, dilation) == y.shape[2:]


@pytest.mark.parametrize("padding", [0, 1, (1, 0), ((0, 1), (1, 1)), "valid", "same"])
@pytest.mark.parametrize("output_padding", [0, 1])
def test_transposed_convolution(padding, output_padding):
    output_padding = 0 if padding == "same" else output_padding
    y = convkit.conv_transpose2d(x(4, 5), x(3, 2), None, 2, padding, output_padding, dilation=(1, 2))
    size = output_size((4, 5), (3, 2), 2, padding, (1, 2), transposed=True, output_padding=output_padding)
    assert size == y.shape[2:]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("size", range(5, 12))
def test_pooling(size, ceil_mode):
    y = convkit.avg_pool1d(x(size), 3, 2, 1, ceil_mode=ceil_mode)
    assert output_size(size, 3, 2, 1, ceil_mode=ceil_mode) == y.shape[2]


def test_one_number_gives_one_number():
    assert output_size(224, 7, 2, 3) == 112
    assert output_size(np.int64(224), 7, 2, 3) == 112
    assert output_size((224,), 7, 2, 3) == (112,)
    assert output_size([9, 9, 9], 3) == (7, 7, 7)


def test_no_padding_of_the_output_may_be_spelled_by_axis():
    assert all(output_size((7, 7), 2, output_padding=none) == (6, 6) for none in (0, np.int64(0), (0, 0), [0, 0]))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: output_size(4, 5), ValueError, "kernel_size must fit the padded input"),
        (lambda: output_size((4, 4), (3, 3, 3)), ValueError, "kernel_size must be one int or 2 ints"),
        (lambda: output_size(4.0, 3), TypeError, "input_size must be an int"),
        (lambda: output_size(True, 1), TypeError, "input_size must be an int"),
        (lambda: output_size(4, 3, output_padding=1), ValueError, "output_padding must be 0 where transposed is False"),
        (lambda: output_size(4, 3, transposed=True, ceil_mode=True), ValueError, "ceil_mode must be False"),
        (lambda: output_size(4, 3, padding="full", ceil_mode=True), ValueError, "padding must be smaller"),
        (lambda: output_size(4, 3, transposed=True, output_padding=2), ValueError, "output_padding must be less"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
