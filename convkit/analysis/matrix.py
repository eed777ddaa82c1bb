"""A convolution at fixed arguments is a linear map: here it is as a sparse matrix, and as an operator on vectors.

The matrix is written down from the definition, tap by tap, and never calls the kernels; the operator does nothing else.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import convkit

from .. import _extras, _options, _shapes
from .._arrays import as_array, empty, same_dtype
from .._typing import Array
from .._words import brief
from ..reference import conv, deform

_NOT_LINEAR = ("bias", "activation", "out")  # arguments of operators that a matrix has no place for
_OF_ONE_IMAGE = ("offset", "mask")  # arguments that are images themselves


class _Reads(NamedTuple):
    """What some input channels are read for: an entry for each output position, tap and input position that meet."""

    channels: range
    output: np.ndarray
    tap: np.ndarray
    input: np.ndarray
    factor: np.ndarray | float  # of the weight


class _Operator(NamedTuple):
    nd: int
    sizes: Callable[..., _shapes.ConvShape]
    reads: Callable[..., list[_Reads]]
    adjoint: bool = False  # whether these are of the convolution that it is the adjoint of


class _Map(NamedTuple):
    """An operator at fixed arguments, on one image: the convolution `shape`, or its adjoint."""

    name: str
    operator: _Operator
    shape: _shapes.ConvShape
    channel_last: bool
    weight: np.ndarray
    options: dict  # the other arguments of the operator

    @property
    def images(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of x and of y."""
        shape, last = self.shape, self.channel_last
        x = _shapes.image_shape(1, shape.groups * shape.c_in, shape.in_, last, False)
        y = _shapes.image_shape(1, shape.groups * shape.c_out, shape.out, last, False)
        return (y, x) if self.operator.adjoint else (x, y)


# ---------------------------------------------------------------- the operators


def _conv_sizes(nd: int, x_shape, weight_shape, call: dict, channel_last: bool) -> _shapes.ConvShape:
    names = ("stride", "padding", "dilation", "groups", "padding_mode")
    return _shapes.conv(nd, x_shape, weight_shape, *(call[name] for name in names), channel_last)


def _transposed_sizes(nd: int, x_shape, weight_shape, call: dict, channel_last: bool) -> _shapes.ConvShape:
    names = ("stride", "padding", "output_padding", "groups", "dilation", "output_size")
    return _shapes.conv_transpose(nd, x_shape, weight_shape, *(call[name] for name in names), channel_last)


def _deform_sizes(nd: int, x_shape, weight_shape, call: dict, channel_last: bool) -> _shapes.ConvShape:
    if len(x_shape) == nd + 2 and x_shape[0] != 1:
        raise ValueError(f"x_shape must be that of one image, whose offsets and mask are given, got {x_shape}")
    names, mask = ("stride", "padding", "dilation"), call["mask"]
    offset_shape, sizes = call["offset"].shape, tuple(call[name] for name in names)
    shape = _shapes.deform(nd, x_shape, offset_shape, weight_shape, *sizes, channel_last)
    if mask is not None and mask.shape != shape.mask:
        raise ValueError(f"mask must have shape {shape.mask}, one per tap and output, got shape {mask.shape}")
    return shape.conv


def _conv_reads(m: _Map) -> list[_Reads]:
    """All channels are read alike: the taps of each axis, in every combination."""
    shape = m.shape
    output = tap = source = np.zeros(1, np.int64)
    for axis, sizes in enumerate(zip(shape.out, shape.kernel, shape.in_, strict=True)):
        entries = conv.axis_taps(shape, axis)
        along = (
            np.concatenate([seen for _, seen, _ in entries]),
            np.repeat([number for number, _, _ in entries], [seen.size for _, seen, _ in entries]),
            np.concatenate([position for _, _, position in entries]),
        )
        output, tap, source = (
            np.add.outer(outer * size, inner).ravel()
            for outer, inner, size in zip((output, tap, source), along, sizes, strict=True)
        )
    return [_Reads(range(shape.groups * shape.c_in), output, tap, source, 1.0)]


def _deform_reads(m: _Map) -> list[_Reads]:
    """The channels of an offset group are read alike: the corners of every sample that lie in the image."""
    shape, options = m.shape, m.options
    x_shape, sizes = m.images[0], tuple(options[name] for name in ("stride", "padding", "dilation"))
    call, _ = deform.call_of(
        m.operator.nd, x_shape, options["offset"], m.weight.shape, *sizes, m.channel_last, np.positive
    )
    if np.isnan(call.coordinates).any():
        raise ValueError("offset must have no NaN, which a matrix has no place for, got some")
    taps, positions = math.prod(shape.kernel), math.prod(shape.out)
    by_tap = np.ones((call.groups, taps, positions))
    if options["mask"] is not None:
        mask = np.moveaxis(options["mask"], -1, 0) if m.channel_last else options["mask"]
        by_tap = mask.reshape(by_tap.shape).astype(np.float64)
    corners = [(corner.at[0], by_tap * corner.share[0]) for corner in call.corners]
    tap, output = (np.broadcast_to(index, (taps, positions)) for index in np.ogrid[:taps, :positions])
    channels, reads = shape.groups * shape.c_in // call.groups, []
    for group in range(call.groups):
        inside = [at[group] < math.prod(shape.in_) for at, _ in corners]
        entries = ([values[there] for there in inside] for values in (output, tap))
        places = [at[group][there] for (at, _), there in zip(corners, inside, strict=True)]
        shares = [share[group][there] for (_, share), there in zip(corners, inside, strict=True)]
        first = group * channels
        reads.append(_Reads(range(first, first + channels), *map(np.concatenate, (*entries, places, shares))))
    return reads


_OPERATORS = {f"conv{nd}d": _Operator(nd, _conv_sizes, _conv_reads) for nd in (1, 2, 3)}
_OPERATORS |= {f"conv_transpose{nd}d": _Operator(nd, _transposed_sizes, _conv_reads, True) for nd in (1, 2, 3)}
_OPERATORS |= {f"deform_conv{nd}d": _Operator(nd, _deform_sizes, _deform_reads) for nd in (1, 2, 3)}


def _name_of(op) -> str:
    """The name of an operator that is given by itself or by its name."""
    name = op if isinstance(op, str) else getattr(op, "__name__", None)
    if name not in _OPERATORS or not (isinstance(op, str) or op is getattr(convkit, name)):
        raise ValueError(f"op must be one of convkit's {', '.join(_OPERATORS)}, or its name, got {brief(op)}")
    return name


def _map(op, x_shape, weight, arguments: dict[str, Any]) -> _Map:
    """The map, all arguments checked."""
    name = _name_of(op)
    operator = _OPERATORS[name]
    weight = as_array(weight, "weight")
    x_shape = _shapes.x_shape(x_shape)
    call = inspect.signature(getattr(convkit, name)).bind(x=x_shape, weight=weight, **arguments)
    call.apply_defaults()
    call = call.arguments
    for argument in _NOT_LINEAR:
        if call[argument] is not None:
            kind = type(call[argument]).__name__
            raise ValueError(f"{argument} must be left out, a matrix has no place for it, got {kind}")
    _options.algorithm(call.get("algorithm", "auto"))
    last = _options.channel_last(call["layout"])
    for argument in _OF_ONE_IMAGE:
        if argument in call and not (argument == "mask" and call[argument] is None):
            call[argument] = as_array(call[argument], argument)
            same_dtype(call[argument], argument, weight, "weight")
    shape = operator.sizes(operator.nd, x_shape, weight.shape, call, last)._replace(n=1)
    options = {key: value for key, value in call.items() if key not in ("x", "weight", *_NOT_LINEAR)}
    if len(x_shape) == operator.nd + 2:
        options |= {key: options[key][0] for key in _OF_ONE_IMAGE if options.get(key) is not None}
    return _Map(name, operator, shape, last, weight, options)


# ---------------------------------------------------------------- the matrix


def _entries(m: _Map) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and value of every entry of the convolution's matrix, one input channel after the other."""
    shape, all_reads = m.shape, m.operator.reads(m)
    weight = m.weight.reshape(shape.groups, shape.c_out, shape.c_in, math.prod(shape.kernel))
    c_in, c_out = shape.groups * shape.c_in, shape.groups * shape.c_out
    positions_in, positions_out = math.prod(shape.in_), math.prod(shape.out)
    index = np.dtype(np.int32 if max(c_in * positions_in, c_out * positions_out) < 2**31 else np.int64)
    count = sum(len(reads.channels) * shape.c_out * reads.output.size for reads in all_reads)
    rows, columns, values = (empty((count,), dtype) for dtype in (index, index, weight.dtype))
    first = 0
    for reads in all_reads:
        for channel in reads.channels:
            group, within = divmod(channel, shape.c_in)
            lanes = np.arange(group * shape.c_out, (group + 1) * shape.c_out)[:, None]
            block = (shape.c_out, reads.output.size)
            part = slice(first, first + math.prod(block))
            if m.channel_last:
                row, column = reads.output * c_out + lanes, reads.input * c_in + channel
            else:
                row, column = lanes * positions_out + reads.output, channel * positions_in + reads.input
            rows[part].reshape(block)[...], columns[part].reshape(block)[...] = row, column
            values[part].reshape(block)[...] = weight[group, :, within, reads.tap].T * reads.factor
            first = part.stop
    return rows, columns, values


def _size(m: _Map) -> tuple[int, int]:
    """(outputs, inputs) of the operator."""
    x, y = m.images
    return math.prod(y), math.prod(x)


def conv_matrix(op: str, x_shape: Sequence[int], weight: Array, **arguments: Any) -> Any:
    """
    The sparse matrix of a convolution of one image: plain, transposed, or deformable at fixed offsets.

    ``conv_matrix(op, x.shape, weight, ...) @ x.ravel()`` is ``op(x, weight, ...).ravel()`` for one image x, and the
    transposed matrix times the gradient of the output is the gradient of x. Vectors are images in C order, so `layout`
    decides what they mean: with "NCHW" element (c, i) of an image is number c*prod(spatial) + i, with "NHWC" element
    (i, c) is number i*C + c, with i row-major in the plane.

    Parameters
    ----------
    op : str or function
        `convkit.conv1d`, 2d, 3d, `conv_transpose1d`, 2d, 3d, `deform_conv1d`, 2d or 3d, or the name of one.
    x_shape : tuple of int
        Shape of an input of `op`. The matrix is that of one image: a batch axis makes no difference, but that it must
        be 1 with offsets, which have it too.
    weight : ndarray
        The weight, as for `op`, float32 or float64, which is the matrix's dtype too.
    **arguments
        Those of `op` by name: stride, padding, groups, offset, mask, ... There is no bias, activation or out; algorithm
        makes no difference.

    Returns
    -------
    scipy.sparse.csr_array, (outputs, inputs)
        One row for each element of an image of the output, one column for each of the input. It has an entry wherever
        the output reads the input, also where the weight is zero; taps in zero padding have none, and what several taps
        read of the same element, by a padding mode or by their offsets, is added up.

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
    places = (columns, rows) if m.operator.adjoint else (rows, columns)
    return sparse.coo_array((values, places), shape=_size(m)).tocsr()


# ---------------------------------------------------------------- the operator


def _images(columns: np.ndarray, image: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Vectors, the columns of a matrix, as a batch of images: a view, unless their dtype is another."""
    if not np.can_cast(columns.dtype, dtype, "same_kind"):
        raise TypeError(f"the operator must be applied to real vectors, got dtype {columns.dtype}")
    return columns.astype(dtype, copy=False).T.reshape(columns.shape[1], *image)


def _for_each(count: int, options: dict) -> dict:
    """The options of a call on so many images: views of what belongs to one."""
    shared = {key: options[key] for key in _OF_ONE_IMAGE if options.get(key) is not None}
    return options | {key: np.broadcast_to(array, (count, *array.shape)) for key, array in shared.items()}


def _forward(m: _Map, columns: np.ndarray) -> np.ndarray:
    """The matrix times `columns`."""
    x = _images(columns, m.images[0], m.weight.dtype)
    y = getattr(convkit, m.name)(x, weight=m.weight, **_for_each(len(x), m.options))
    return y.reshape(len(x), _size(m)[0]).T


def _backward(m: _Map, columns: np.ndarray) -> np.ndarray:
    """The transposed matrix times `columns`."""
    x_image, y_image = m.images
    grad = _images(columns, y_image, m.weight.dtype)
    x_shape, options = (len(grad), *x_image), _for_each(len(grad), m.options)
    dx = getattr(convkit, m.name + "_backward")(grad, x_shape, weight=m.weight, need="x", **options).x
    return dx.reshape(len(grad), _size(m)[1]).T


def _on_vector(times: Callable[[np.ndarray], np.ndarray], vector: np.ndarray) -> np.ndarray:
    """What gives a matrix for a matrix, for a vector."""
    return times(vector.reshape(vector.size, 1))[:, 0]


def conv_operator(op: str, x_shape: Sequence[int], weight: Array, **arguments: Any) -> Any:
    """
    A convolution of one image, plain, transposed or deformable, as a linear operator that runs the kernels.

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
    matmat, rmatmat = partial(_forward, m), partial(_backward, m)  # which can be pickled, as closures cannot
    return linalg.LinearOperator(
        _size(m),
        matvec=partial(_on_vector, matmat),
        rmatvec=partial(_on_vector, rmatmat),
        matmat=matmat,
        rmatmat=rmatmat,
        dtype=m.weight.dtype,
    )
