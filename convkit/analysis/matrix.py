"""A convolution at fixed arguments is a linear map: here it is as a sparse matrix, and as an operator on vectors.

The matrix is written down from the definition, tap by tap, and never calls the kernels; the operator does nothing else.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import convkit

from .. import _extras, _options, _shapes
from .._arrays import as_array, empty
from ..reference.conv import axis_taps

_NOT_LINEAR = ("bias", "activation", "out")  # arguments of operators that a matrix has no place for


class _Reads(NamedTuple):
    """What is read in the plane of one channel: for each entry the output position, the tap, the input position."""

    output: np.ndarray
    tap: np.ndarray
    input: np.ndarray


class _Map(NamedTuple):
    """An operator at fixed arguments: the convolution `shape`, or its adjoint."""

    name: str
    shape: _shapes.ConvShape
    adjoint: bool
    channel_last: bool
    weight: np.ndarray
    options: dict  # the other arguments of the operator

    @property
    def images(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of one image of x and of y."""
        shape, last = self.shape, self.channel_last
        x = _shapes.image_shape(1, shape.groups * shape.c_in, shape.in_, last, False)
        y = _shapes.image_shape(1, shape.groups * shape.c_out, shape.out, last, False)
        return (y, x) if self.adjoint else (x, y)


# ---------------------------------------------------------------- the operators


def _conv(nd: int, x_shape, weight_shape, call: dict, channel_last: bool) -> _shapes.ConvShape:
    names = ("stride", "padding", "dilation", "groups", "padding_mode")
    return _shapes.conv(nd, x_shape, weight_shape, *(call[name] for name in names), channel_last)


def _conv_transpose(nd: int, x_shape, weight_shape, call: dict, channel_last: bool) -> _shapes.ConvShape:
    names = ("stride", "padding", "output_padding", "groups", "dilation", "output_size")
    return _shapes.conv_transpose(nd, x_shape, weight_shape, *(call[name] for name in names), channel_last)


class _Operator(NamedTuple):
    nd: int
    sizes: Callable[..., _shapes.ConvShape]
    adjoint: bool  # whether these are the sizes of the convolution that it is the adjoint of


_OPERATORS = {f"conv{nd}d": _Operator(nd, _conv, False) for nd in (1, 2, 3)}
_OPERATORS |= {f"conv_transpose{nd}d": _Operator(nd, _conv_transpose, True) for nd in (1, 2, 3)}


def _name_of(op) -> str:
    """The name of an operator that is given by itself or by its name."""
    name = op if isinstance(op, str) else getattr(op, "__name__", None)
    if name not in _OPERATORS or not (isinstance(op, str) or op is getattr(convkit, name)):
        raise ValueError(f"op must be one of convkit's {', '.join(_OPERATORS)}, or its name, got {op!r}")
    return name


def _map(op, x_shape, weight, arguments: dict[str, Any]) -> _Map:
    """The map, all arguments checked; a batch axis of x_shape makes no difference."""
    name = _name_of(op)
    operator = _OPERATORS[name]
    weight = as_array(weight, "weight")
    x_shape = _shapes.array_shape(x_shape, "x_shape")
    call = inspect.signature(getattr(convkit, name)).bind(x_shape, weight, **arguments)
    call.apply_defaults()
    for argument in _NOT_LINEAR:
        if call.arguments[argument] is not None:
            raise ValueError(f"{argument} must be left out, a matrix has none, got {call.arguments[argument]!r}")
    _options.algorithm(call.arguments["algorithm"])
    last = _options.channel_last(call.arguments["layout"])
    shape = operator.sizes(operator.nd, x_shape, weight.shape, call.arguments, last)._replace(n=1)
    options = {key: value for key, value in call.arguments.items() if key not in ("x", "weight", *_NOT_LINEAR)}
    return _Map(name, shape, operator.adjoint, last, weight, options)


# ---------------------------------------------------------------- the matrix


def _reads(shape: _shapes.ConvShape) -> _Reads:
    """Every pair of an output and an input position that a tap connects, the same for all channels."""
    output = tap = source = np.zeros(1, np.int64)
    for axis, sizes in enumerate(zip(shape.out, shape.kernel, shape.in_, strict=True)):
        entries = axis_taps(shape, axis)
        along = (
            np.concatenate([seen for _, seen, _ in entries]),
            np.repeat([number for number, _, _ in entries], [seen.size for _, seen, _ in entries]),
            np.concatenate([position for _, _, position in entries]),
        )
        output, tap, source = (
            np.add.outer(outer * size, inner).ravel()
            for outer, inner, size in zip((output, tap, source), along, sizes, strict=True)
        )
    return _Reads(output, tap, source)


def _entries(m: _Map) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and value of every entry of the convolution's matrix, one input channel after the other."""
    shape, reads = m.shape, _reads(m.shape)
    weight = m.weight.reshape(shape.groups, shape.c_out, shape.c_in, math.prod(shape.kernel))
    c_in, c_out = shape.groups * shape.c_in, shape.groups * shape.c_out
    positions_in, positions_out = math.prod(shape.in_), math.prod(shape.out)
    most = max(c_in * positions_in, c_out * positions_out)
    index = np.dtype(np.int32 if most < 2**31 else np.int64)
    blocks = (c_in, shape.c_out, reads.output.size)
    rows, columns, values = (empty(blocks, dtype) for dtype in (index, index, weight.dtype))
    for channel in range(c_in):
        group, within = divmod(channel, shape.c_in)
        lanes = np.arange(group * shape.c_out, (group + 1) * shape.c_out)[:, None]
        if m.channel_last:
            rows[channel], columns[channel] = reads.output * c_out + lanes, reads.input * c_in + channel
        else:
            rows[channel], columns[channel] = lanes * positions_out + reads.output, channel * positions_in + reads.input
        values[channel] = weight[group, :, within, reads.tap].T
    return rows.ravel(), columns.ravel(), values.ravel()


def _size(m: _Map) -> tuple[int, int]:
    """(outputs, inputs) of the operator."""
    x, y = m.images
    return math.prod(y), math.prod(x)


def conv_matrix(op, x_shape, weight, **arguments):
    """
    The sparse matrix of a convolution or transposed convolution of one image.

    ``conv_matrix(op, x.shape, weight, ...) @ x.ravel()`` is ``op(x, weight, ...).ravel()`` for one image x, and the
    transposed matrix times the gradient of the output is the gradient of x. Vectors are images in C order, so `layout`
    decides what they mean: with "NCHW" element (c, i) of an image is number c*prod(spatial) + i, with "NHWC" element
    (i, c) is number i*C + c, with i row-major in the plane.

    Parameters
    ----------
    op : str or function
        `convkit.conv1d`, 2d, 3d, `convkit.conv_transpose1d`, 2d or 3d, or the name of one.
    x_shape : tuple of int
        Shape of an input of `op`. The matrix is that of one image: a batch axis makes no difference.
    weight : ndarray
        The weight, as for `op`, float32 or float64, which is the matrix's dtype too.
    **arguments
        Those of `op` by name: stride, padding, groups, ... There is no bias, activation or out; algorithm makes no
        difference.

    Returns
    -------
    scipy.sparse.csr_array, (outputs, inputs)
        One row for each element of an image of the output, one column for each of the input. It has an entry wherever
        the output reads the input, also where the weight is zero; taps in zero padding have none, and taps that another
        padding mode sends to the same element are added up.

    Raises
    ------
    ImportError
        If SciPy, which comes with the extra [analysis], is not installed.
    TypeError, ValueError, OverflowError, MemoryError
        As `op`; ValueError too for another `op`, and for a bias, an activation or an out.

    See Also
    --------
    conv_operator : the same map without the matrix.

    References
    ----------
    V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285: chapter 4.

    Examples
    --------
    A 3x3 kernel on a 4x4 image is a 4x16 matrix C, and its transpose takes 2x2 to 4x4:

    >>> import numpy as np
    >>> from convkit.analysis import conv_matrix
    >>> C = conv_matrix("conv2d", (1, 4, 4), np.ones((1, 1, 3, 3)))
    >>> C.shape, C.nnz
    ((4, 16), 36)
    >>> (C.T @ np.ones(4)).reshape(4, 4)
    array([[1., 2., 2., 1.],
           [2., 4., 4., 2.],
           [2., 4., 4., 2.],
           [1., 2., 2., 1.]])
    """
    sparse = _extras.need("scipy.sparse", "analysis")
    m = _map(op, x_shape, weight, arguments)
    rows, columns, values = _entries(m)
    places = (columns, rows) if m.adjoint else (rows, columns)
    return sparse.coo_array((values, places), shape=_size(m)).tocsr()


# ---------------------------------------------------------------- the operator


def _images(columns: np.ndarray, image: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Vectors, the columns of a matrix, as a batch of images: a view, unless their dtype is another."""
    if not np.can_cast(columns.dtype, dtype, "same_kind"):
        raise TypeError(f"the operator must be applied to real vectors, got dtype {columns.dtype}")
    return columns.astype(dtype, copy=False).T.reshape(columns.shape[1], *image)


def conv_operator(op, x_shape, weight, **arguments):
    """
    A convolution or transposed convolution of one image as a linear operator that runs the kernels.

    It is the map of `conv_matrix`, for SciPy's iterative solvers: ``@`` runs `op`, ``.T @`` its gradient of x. A matrix
    of several columns is one call on a batch. Vectors of other real dtypes are converted to that of `weight`, which is
    the dtype of the results.

    Parameters
    ----------
    op, x_shape, weight, **arguments
        As in `conv_matrix`; algorithm is the one that is run. `weight` is not copied: later changes to it show.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator, (outputs, inputs)
        With matvec, rmatvec, matmat and rmatmat.

    Raises
    ------
    ImportError
        If SciPy, which comes with the extra [analysis], is not installed.
    TypeError, ValueError, OverflowError, MemoryError
        As `conv_matrix`.

    See Also
    --------
    conv_matrix : the matrix itself, and how images become vectors.

    Examples
    --------
    Which image was it before it was blurred?

    >>> import numpy as np
    >>> from scipy.sparse.linalg import lsqr
    >>> from convkit.analysis import conv_operator
    >>> blur = conv_operator("conv2d", (1, 7, 7), np.full((1, 1, 3, 3), 1 / 9), padding=1)
    >>> image = np.arange(49.0)
    >>> bool(np.allclose(lsqr(blur, blur @ image, atol=1e-12, btol=1e-12)[0], image))
    True
    """
    linalg = _extras.need("scipy.sparse.linalg", "analysis")
    m = _map(op, x_shape, weight, arguments)
    forward, backward = getattr(convkit, m.name), getattr(convkit, m.name + "_backward")
    (x_image, y_image), (outputs, inputs), dtype = m.images, _size(m), m.weight.dtype

    def matmat(columns: np.ndarray) -> np.ndarray:
        x = _images(columns, x_image, dtype)
        return forward(x, m.weight, **m.options).reshape(len(x), outputs).T

    def rmatmat(columns: np.ndarray) -> np.ndarray:
        grad = _images(columns, y_image, dtype)
        grads = backward(grad, (len(grad), *x_image), m.weight, need="x", **m.options)
        return grads.x.reshape(len(grad), inputs).T

    return linalg.LinearOperator(
        (outputs, inputs),
        matvec=lambda vector: matmat(vector.reshape(inputs, 1))[:, 0],
        rmatvec=lambda vector: rmatmat(vector.reshape(outputs, 1))[:, 0],
        matmat=matmat,
        rmatmat=rmatmat,
        dtype=dtype,
    )
