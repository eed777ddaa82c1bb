"""Output sizes without arrays."""

from __future__ import annotations

from .. import _pool_shapes, _shapes
from .._options import flag
from .._typing import Padding, Size
from .._words import brief


def output_size(
    input_size: Size,
    kernel_size: Size,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    *,
    transposed: bool = False,
    output_padding: Size = 0,
    ceil_mode: bool = False,
) -> int | tuple[int, ...]:
    """Spatial size of what a convolution, a transposed convolution or a pooling gives.

    Parameters
    ----------
    input_size : int or tuple of int
        Spatial size of the input: one number, or one for every axis.
    kernel_size, stride, dilation : int or tuple of int
        One number, or one for every axis.
    padding : int, tuple or str
        Every form that the operator takes.
    transposed : bool, default False
        Whether the convolution is transposed.
    output_padding : int or tuple of int
        Of a transposed convolution.
    ceil_mode : bool, default False
        Of pooling: round up, but let no window start behind the input and its leading padding.

    Returns
    -------
    int or tuple of int
        As `input_size` was given. With t = dilation * (kernel - 1) + 1 along each axis::

            convolution, pooling    floor((in + pad_lo + pad_hi - t) / stride) + 1
            transposed              (in - 1) * stride + t - pad_lo - pad_hi + output_padding

        ``padding="same"`` gives ceil(in / stride); transposed, in * stride.

    Raises
    ------
    TypeError, ValueError
        As from the operator. Also if `output_padding` is given without `transposed`, or both `transposed` and
        `ceil_mode`.

    Examples
    --------
    >>> from convkit import analysis
    >>> analysis.output_size((224, 224), 7, stride=2, padding=3), analysis.output_size(7, 2, stride=2, transposed=True)
    ((112, 112), 14)
    """
    given = _shapes.plain(input_size, "input_size")
    nd = 1 if isinstance(given, int) else len(given)
    sizes = _shapes.per_axis(given, nd, "input_size", 0)
    kernel = _shapes.per_axis(kernel_size, nd, "kernel_size", 1)
    more = _shapes.per_axis(output_padding, nd, "output_padding", 0)
    transposed, ceil_mode = flag(transposed, "transposed"), flag(ceil_mode, "ceil_mode")
    if transposed and ceil_mode:
        raise ValueError("ceil_mode must be False where transposed is True, got True")
    if not transposed and any(more):
        raise ValueError(f"output_padding must be 0 where transposed is False, got {brief(output_padding)}")
    x, weight = (1, 1, *sizes), (1, 1, *kernel)
    if transposed:
        shape = _shapes.conv_transpose(nd, x, weight, stride, padding, more, 1, dilation, None, False)
        out = shape.in_  # a transposed convolution is described as what it is the adjoint of
    elif ceil_mode:
        out = _pool_shapes.windows(nd, x, kernel, stride, padding, dilation, True, False).out
    else:
        out = _shapes.window(sizes, kernel, stride, padding, dilation, "zeros", "kernel_size").out
    return out[0] if isinstance(given, int) else out
