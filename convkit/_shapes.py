"""Sizes: arguments to plain ints, paddings to (lo, hi), and the output-size formulas, each in one place.

Nothing here touches an array. Python's ints have no limit, so sizes are computed exactly and compared with int64 after.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from . import _options
from ._ext import engine
from ._words import brief, with_type

INT64_MAX = 2**63 - 1
PADDING_NAMES = ("valid", "full", "same", "same_upper", "same_lower")
TRANSPOSED_PADDING_NAMES = tuple(name for name in PADDING_NAMES if name != "full")
_AXES = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}


class Moves(NamedTuple):
    """How a kernel moves over the spatial axes; every field but the last is one int per axis."""

    in_: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pad_lo: tuple[int, ...]
    pad_hi: tuple[int, ...]
    out: tuple[int, ...]
    padding_mode: int  # the engine's code


class ConvShape(NamedTuple):
    """One convolution without its arrays: the arguments of `engine.Geometry`. Channels are per group.

    It also describes the transposed convolution that is its adjoint: then `in_` and `c_in` are the output's, `out` and
    `c_out` the input's, and `pad_hi` is below 0 where the output is longer than what the kernel reaches.
    """

    n: int
    groups: int
    c_in: int
    c_out: int
    in_: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pad_lo: tuple[int, ...]
    pad_hi: tuple[int, ...]
    out: tuple[int, ...]
    padding_mode: int


# ---------------------------------------------------------------- ints


def integer(value, name: str, expected: str = "an int") -> int:
    """`value` as a plain int that fits 64 bits. A bool is not an int; a NumPy integer is."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be {expected}, got {with_type(value)}")
    value = int(value)
    if not -INT64_MAX - 1 <= value <= INT64_MAX:
        raise OverflowError(f"{name} must fit a 64-bit integer, got {brief(value)}")
    return value


def at_least(value, name: str, least: int = 1) -> int:
    """`value` as a plain int that is so large."""
    value = integer(value, name)
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {brief(value)}")
    return value


def plain(value, name: str, depth: int = 3):
    """`value` with every int made plain and every list a tuple, so that equal results mean equal sizes.

    It makes cache keys: True equals 1 and hashes like it, and must not be let through because 1 went before. Nesting
    beyond `depth` fits no argument, and may have no end: a list can contain itself.
    """
    if isinstance(value, (tuple, list)):
        small = [type(item) is int and 0 <= item <= INT64_MAX for item in value]  # nearly always, and quicker
        if all(small):
            return tuple(value)
        if depth == 1:
            raise TypeError(f"{name} must be an int or a tuple of ints, got one nested more than 3 deep")
        return tuple(plain(item, name, depth - 1) for item in value)
    return integer(value, name, "an int, or a tuple of ints")


def plain_padding(value):
    """`plain` for the argument padding, which may also be a name."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (tuple, list)):
        return plain(value, "padding")
    return integer(value, "padding", "an int, a tuple of ints, a tuple of (lo, hi) pairs, or a name")


def per_axis(value, nd: int, name: str, least: int) -> tuple[int, ...]:
    """One int per spatial axis, each at least `least`, from one int or `nd` of them."""
    value = plain(value, name)
    values = (value,) * nd if isinstance(value, int) else value
    if any(isinstance(item, tuple) for item in values):
        raise TypeError(f"{name} must be one int or {nd} ints, one per spatial dimension, got {brief(value)}")
    if len(values) != nd:
        raise ValueError(f"{name} must be one int or {nd} ints, one per spatial dimension, got {brief(value)}")
    if any(item < least for item in values):
        raise ValueError(f"{name} must be at least {least}, got {brief(value)}")
    return values


def elements(shape, name: str) -> int:
    """Number of elements of `shape`, and a promise that every partial product of its sizes fits 64 bits too."""
    if math.prod(size or 1 for size in shape) > INT64_MAX:
        raise OverflowError(f"{name} must have fewer than 2**63 elements, got shape {brief(tuple(shape))}")
    return math.prod(shape)


def output_elements(shape, names: str) -> None:
    """The promise of `elements` for what follows from these arguments."""
    if math.prod(size or 1 for size in shape) > INT64_MAX:
        got = brief(tuple(shape))
        raise OverflowError(f"{names} must give an output of fewer than 2**63 elements, got one of shape {got}")


def array_shape(value, name: str) -> tuple[int, ...]:
    """A shape that stands for an array: a tuple or list of ints that an array could have."""
    shape = plain(value, name)
    if any(isinstance(size, tuple) for size in shape):
        raise TypeError(f"{name} as a shape must be a tuple of ints, got {brief(value)}")
    if any(size < 0 for size in shape):
        raise ValueError(f"{name} as a shape must have sizes of at least 0, got {brief(shape)}")
    elements(shape, name)
    return shape


def x_shape(value, name: str = "x_shape") -> tuple[int, ...]:
    """The argument x_shape, or another that is a shape, as ints."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{name} must be a tuple of ints, got {with_type(value)}")
    return array_shape(value, name)


# ---------------------------------------------------------------- paddings


def _same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TensorFlow's and ONNX's SAME_UPPER: ceil(size / stride) outputs, the odd element of padding at the end."""
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def _named_padding(name: str, in_, kernel, stride, dilation, names) -> list[tuple[int, int]]:
    if name not in names:
        raise ValueError(
            f"padding must be an int, ints, (lo, hi) pairs or one of {', '.join(names)}, got {brief(name)}"
        )
    if name == "valid":
        return [(0, 0)] * len(in_)
    if name == "full":
        return [(d * (k - 1), d * (k - 1)) for k, d in zip(kernel, dilation, strict=True)]
    pairs = [_same(*axis) for axis in zip(in_, kernel, stride, dilation, strict=True)]
    return [(hi, lo) for lo, hi in pairs] if name == "same_lower" else pairs


def _counted_padding(padding: tuple, nd: int) -> list[tuple[int, int]]:
    """Pairs from a flat tuple (both sides alike) or from a tuple of pairs: the nesting alone decides."""
    nested = [isinstance(item, tuple) for item in padding]
    if len(padding) == nd and not any(nested):
        return [(item, item) for item in padding]
    if len(padding) == nd and all(nested) and all(len(item) == 2 for item in padding):
        if any(isinstance(side, tuple) for item in padding for side in item):
            raise ValueError(f"padding must not be nested deeper than (lo, hi) pairs, got {brief(padding)}")
        return list(padding)
    hint = ""
    if not any(nested) and len(padding) == 2 * nd:
        pairs = tuple(zip(padding[::2], padding[1::2], strict=True))
        hint = f"; different sides are written as pairs, such as {pairs}"
    expected = f"one int, {nd} ints" if nd > 1 else "one int"
    raise ValueError(f"padding must be {expected} or {nd} (lo, hi) pair{'s' * (nd > 1)}, got {brief(padding)}{hint}")


def paddings(padding, in_, kernel, stride, dilation, names=PADDING_NAMES) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Every form of the argument `padding` as (lo of each axis, hi of each axis); `names` are those it may have."""
    padding, nd = plain_padding(padding), len(in_)
    if isinstance(padding, str):
        pairs = _named_padding(padding, in_, kernel, stride, dilation, names)
    else:
        pairs = [(padding, padding)] * nd if isinstance(padding, int) else _counted_padding(padding, nd)
    if any(side < 0 for pair in pairs for side in pair):
        raise ValueError(f"padding must be at least 0, got {brief(padding)}")
    return tuple(lo for lo, _ in pairs), tuple(hi for _, hi in pairs)


def _check_padding_mode(mode: str, in_, lo, hi) -> int:
    """The engine's code of the mode, once every axis is found to have enough elements for it."""
    code = _options.padding_mode(mode)
    for size, pad in zip(in_, map(max, lo, hi), strict=True):
        limit = {"reflect": size - 1, "circular": size}.get(mode, pad)
        if pad > max(limit, 0):
            kind = "less than" if mode == "reflect" else "at most"
            raise ValueError(
                f"padding must be {kind} the input's size where padding_mode is {mode!r}, got {pad} on {size}"
            )
        if mode == "replicate" and pad and not size:
            raise ValueError(
                f"x must have an element to repeat where padding_mode is 'replicate', got size 0, padding {pad}"
            )
    return code


# ---------------------------------------------------------------- windows


def output_size(size: int, kernel: int, stride: int, dilation: int, lo: int, hi: int) -> int:
    """Outputs along one axis: floor((size + lo + hi - dilation*(kernel - 1) - 1) / stride) + 1."""
    return (size + lo + hi - dilation * (kernel - 1) - 1) // stride + 1


def window(in_, kernel, stride, padding, dilation, padding_mode: str, kernel_name: str, over: bool = False) -> Moves:
    """All sizes of a moving window, checked; with `over` it may reach beyond the padding by less than a stride."""
    nd = len(in_)
    kernel = per_axis(kernel, nd, kernel_name, 1)
    stride = per_axis(stride, nd, "stride", 1)
    dilation = per_axis(dilation, nd, "dilation", 1)
    lo, hi = paddings(padding, in_, kernel, stride, dilation)
    for size, k, s, d, a, b in zip(in_, kernel, stride, dilation, lo, hi, strict=True):
        reach, padded = d * (k - 1) + 1, size + a + b
        if padded > INT64_MAX:
            raise OverflowError(f"padding must keep the padded input below 2**63, got {size} + {a} + {b}")
        if reach > INT64_MAX:
            raise OverflowError(f"dilation must keep dilation*(kernel-1)+1 below 2**63, got dilation {d}, kernel {k}")
        if reach > padded + (s - 1 if over else 0):
            raise ValueError(
                f"{kernel_name} must fit the padded input: a kernel of {k} at dilation {d} reaches over {reach}, "
                f"got an input of {size} padded to {padded}"
            )
    mode = _check_padding_mode(padding_mode, in_, lo, hi)
    out = tuple(map(output_size, in_, kernel, stride, dilation, lo, hi))
    return Moves(in_, kernel, stride, dilation, lo, hi, out, mode)


def _image_text(nd: int, channel_last: bool) -> str:
    """Both shapes an image argument may have, for messages: '(N, C, H, W) or (C, H, W)'."""
    axes = (*_AXES[nd], "C") if channel_last else ("C", *_AXES[nd])
    return f"({', '.join(('N', *axes))}) or ({', '.join(axes)})"


def split_image(shape, nd: int, name: str, channel_last: bool) -> tuple[int, int, tuple[int, ...]]:
    """(n, channels, spatial) of an image of `nd` spatial axes; n is 1 where it has no batch axis."""
    if not 1 <= nd <= 3:
        raise ValueError(f"{name} must have 1, 2 or 3 spatial axes, got shape {tuple(shape)}")
    if len(shape) not in (nd + 1, nd + 2):
        raise ValueError(f"{name} must have shape {_image_text(nd, channel_last)}, got shape {tuple(shape)}")
    n = shape[0] if len(shape) == nd + 2 else 1
    image = shape[-nd - 1 :]
    return (n, image[-1], image[:-1]) if channel_last else (n, image[0], image[1:])


def image_shape(n: int, channels: int, spatial, channel_last: bool, batched: bool) -> tuple[int, ...]:
    """The inverse of `split_image`."""
    image = (*spatial, channels) if channel_last else (channels, *spatial)
    return (n, *image) if batched else image


def _other_layout(channels: int, in_, channel_last: bool) -> str:
    """What to add where these channels are found where the other layout has them."""
    if channels != in_[0 if channel_last else -1]:
        return ""
    if channel_last:
        return '; for channels first pass layout="NCHW"'
    return f'; for channels last pass layout="NHWC", or np.moveaxis(x, -1, {-len(in_) - 1}) to a network'


def _check_groups(groups, c_in: int, in_, weight_shape, channel_last: bool) -> int:
    groups = at_least(groups, "groups")
    c_out, per_group = weight_shape[:2]
    hint = _other_layout(per_group * groups, in_, channel_last)
    if c_in % groups:
        raise ValueError(f"groups must divide the channels of x, got groups {groups} for {c_in} channels{hint}")
    if c_in != per_group * groups:
        raise ValueError(
            f"x must have weight.shape[1] * groups = {per_group} * {groups} = {per_group * groups} channels, "
            f"got {c_in} (weight has shape {weight_shape}){hint}"
        )
    if c_out % groups:
        raise ValueError(f"groups must divide weight.shape[0], the output channels, got groups {groups} for {c_out}")
    return groups


def _check_weight_axes(nd: int, weight_shape, channels: str = "C_out, C_in/groups") -> None:
    if len(weight_shape) != nd + 2:
        kernel = ", ".join("k" + axis for axis in _AXES[nd])
        raise ValueError(f"weight must have shape ({channels}, {kernel}), got shape {tuple(weight_shape)}")


def conv(nd, x_shape, weight_shape, stride, padding, dilation, groups, padding_mode, channel_last) -> ConvShape:
    """Every size of a convolution, checked; an input without a batch axis counts as a batch of one."""
    n, c_in, in_ = split_image(x_shape, nd, "x", channel_last)
    _check_weight_axes(nd, weight_shape)
    groups = _check_groups(groups, c_in, in_, weight_shape, channel_last)
    moves = window(in_, weight_shape[2:], stride, padding, dilation, padding_mode, "weight.shape[2:]")
    output_elements((n, weight_shape[0], *moves.out), "x, weight and padding")
    return ConvShape(n, groups, c_in // groups, weight_shape[0] // groups, *moves)


def transposed_reach(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Elements that inputs reach along one axis of a transposed convolution's output, before padding crops them."""
    return (size - 1) * stride + dilation * (kernel - 1) + 1


def _check_transposed_groups(groups, c_in: int, weight_shape) -> int:
    groups = at_least(groups, "groups")
    if c_in % groups:
        raise ValueError(f"groups must divide the channels of x, got groups {groups} for {c_in} channels")
    if c_in != weight_shape[0]:
        raise ValueError(
            f"x must have weight.shape[0] = {weight_shape[0]} channels, got {c_in} (weight has shape {weight_shape})"
        )
    return groups


def _lengthened(shortest, most, output_padding, output_size, named_same: bool) -> tuple[int, ...]:
    """The output's size: `shortest`, and at its end output_padding, or what output_size asks for; at most `most`."""
    nd = len(shortest)
    added = per_axis(output_padding, nd, "output_padding", 0)
    if any(added) and (named_same or output_size is not None):
        why = "output_size is given" if output_size is not None else "padding is 'same', which settles the size"
        raise ValueError(f"output_padding must be 0 where {why}, got {output_padding}")
    for count, limit in zip(added, most, strict=True):
        if count > limit:
            raise ValueError(f"output_padding must be less than max(stride, dilation) = {limit + 1}, got {count}")
    if output_size is None:
        return tuple(map(sum, zip(shortest, added, strict=True)))
    sizes = per_axis(output_size, nd, "output_size", 1)
    for size, least, limit in zip(sizes, shortest, most, strict=True):
        if not least <= size <= least + limit:
            raise ValueError(
                f"output_size must be from {least} to {least + limit} along an axis of these sizes, got {output_size}"
            )
    return sizes


def _transposed_out(reach, kernel, stride, dilation, size, padding, output_padding, output_size):
    """(pad_lo, out) of a transposed convolution: what is cropped at the start of each axis, and what is left."""
    same = isinstance(padding, str) and padding.startswith("same")
    whole = tuple(count * step for count, step in zip(size, stride, strict=True))  # what "same" is to give
    lo, hi = paddings(padding, whole, kernel, stride, dilation, TRANSPOSED_PADDING_NAMES)
    if same:
        shortest, most = whole, (0,) * len(size)
    else:
        shortest = tuple(length - a - b for length, a, b in zip(reach, lo, hi, strict=True))
        most = tuple(max(step, gap) - 1 for step, gap in zip(stride, dilation, strict=True))
    out = _lengthened(shortest, most, output_padding, output_size, same)
    if min(out) < 1:
        raise ValueError(
            f"padding must leave an output of at least 1 element per axis, got {brief(padding)}, leaving {out}"
        )
    return lo, out


def conv_transpose(
    nd, x_shape, weight_shape, stride, padding, output_padding, groups, dilation, output_size, channel_last
) -> ConvShape:
    """Every size of a transposed convolution, checked, as those of the convolution whose adjoint it is."""
    n, c_in, size = split_image(x_shape, nd, "x", channel_last)
    _check_weight_axes(nd, weight_shape, "C_in, C_out/groups")
    groups = _check_transposed_groups(groups, c_in, weight_shape)
    kernel = per_axis(weight_shape[2:], nd, "weight.shape[2:]", 1)
    stride = per_axis(stride, nd, "stride", 1)
    dilation = per_axis(dilation, nd, "dilation", 1)
    if 0 in size:
        raise ValueError(f"x must have a size of at least 1 along every spatial axis, got shape {tuple(x_shape)}")
    reach = tuple(map(transposed_reach, size, kernel, stride, dilation))
    if max(reach) > INT64_MAX:
        raise OverflowError(
            "stride and dilation must keep (in-1)*stride + dilation*(kernel-1) + 1 below 2**63, "
            f"got stride {stride}, dilation {dilation} for in {size}, kernel {kernel}"
        )
    lo, out = _transposed_out(reach, kernel, stride, dilation, size, padding, output_padding, output_size)
    output_elements((n, groups * weight_shape[1], *out), "x, weight, stride and dilation")
    hi = tuple(length - a - count for length, a, count in zip(reach, lo, out, strict=True))
    return ConvShape(
        n, groups, weight_shape[1], c_in // groups, out, kernel, stride, dilation, lo, hi, size, engine.ZEROS
    )


class DeformShape(NamedTuple):
    """One deformable convolution without its arrays."""

    conv: ConvShape
    offset_groups: int
    mask: tuple[int, ...]


def _weight_groups(nd: int, c_in: int, weight_shape) -> int:
    """How many groups a deformable convolution's weight makes of the input channels."""
    _check_weight_axes(nd, weight_shape)
    c_out, per_group = weight_shape[:2]
    if c_in == per_group:
        return 1
    if not per_group or not c_in or c_in % per_group:
        raise ValueError(
            f"x must have a multiple of weight.shape[1] = {per_group} channels, one share per weight group, "
            f"got {c_in} (weight has shape {tuple(weight_shape)})"
        )
    groups = c_in // per_group
    if c_out % groups:
        raise ValueError(
            f"weight must have a multiple of C_in / weight.shape[1] = {c_in} / {per_group} = {groups} output channels, "
            f"one share per weight group, got shape {tuple(weight_shape)}"
        )
    return groups


def _offset_groups(shape, offset_shape, c_in: int, channel_last: bool, batched: bool) -> int:
    """Number of groups that the channels of offset make, for a deformable convolution of this shape."""
    nd, taps = len(shape.out), math.prod(shape.kernel)
    channels = offset_shape[-1 if channel_last else -nd - 1] if len(offset_shape) > nd else 0
    expected = image_shape(shape.n, channels, shape.out, channel_last, batched)
    if tuple(offset_shape) != expected or not channels or channels % (nd * taps):
        sizes = image_shape(shape.n, f"{nd * taps}*G", shape.out, channel_last, batched)
        formula = image_shape("N", f"{nd}*G*prod(kernel)", ("*out",), channel_last, batched)
        raise ValueError(
            f"offset must have shape ({', '.join(formula)}) = ({', '.join(map(str, sizes))}) with G >= 1 offset "
            f"groups, got shape {tuple(offset_shape)}"
        )
    groups = channels // (nd * taps)
    if c_in % groups:
        raise ValueError(
            f"offset must have a number of groups that divides the {c_in} channels of x, got {channels} channels, "
            f"which at {nd}*prod(kernel) = {nd * taps} a group are {groups} groups"
        )
    return groups


def deform(nd, x_shape, offset_shape, weight_shape, stride, padding, dilation, channel_last) -> DeformShape:
    """Every size of a deformable convolution, checked but for the mask's shape, which is returned."""
    _, c_in, _ = split_image(x_shape, nd, "x", channel_last)
    groups = _weight_groups(nd, c_in, weight_shape)
    shape = conv(nd, x_shape, weight_shape, stride, padding, dilation, groups, "zeros", channel_last)
    batched = len(x_shape) == nd + 2
    offset_groups = _offset_groups(shape, offset_shape, c_in, channel_last, batched)
    rows = offset_groups * math.prod(shape.kernel)
    return DeformShape(shape, offset_groups, image_shape(shape.n, rows, shape.out, channel_last, batched))


def columns(nd, x_shape, kernel_size, stride, padding, dilation, padding_mode, channel_last) -> ConvShape:
    """Every size of im2col and col2im, whose columns have shape (n, c_in * prod(kernel), prod(out))."""
    n, channels, in_ = split_image(x_shape, nd, "x", channel_last)
    moves = window(in_, kernel_size, stride, padding, dilation, padding_mode, "kernel_size")
    output_elements((n, channels, *moves.kernel, *moves.out), "x, kernel_size and padding")
    return ConvShape(n, 1, channels, 1, *moves)


def _check_axes(nd: int, name: str, value) -> None:
    """Whether an argument that says how many spatial axes there are says one, two or three."""
    if nd not in _AXES:
        raise ValueError(f"{name} must be an int, or a tuple of 1, 2 or 3 ints, got {brief(value)}")


def unfolded(ndim: int, kernel_size) -> int:
    """Number of spatial axes of im2col's image: what a tuple says, else PyTorch's two, else what is left."""
    nd = len(kernel_size) if isinstance(kernel_size, (tuple, list)) else {2: 1, 5: 3}.get(ndim, 2)
    _check_axes(nd, "kernel_size", kernel_size)
    return nd


def folded(output_size, kernel_size) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(kernel, spatial) of col2im, either of which may be a tuple and then says how many axes there are."""
    output_size, kernel_size = plain(output_size, "output_size"), plain(kernel_size, "kernel_size")
    name, value = ("output_size", output_size) if isinstance(output_size, tuple) else ("kernel_size", kernel_size)
    nd = len(value) if isinstance(value, tuple) else 2
    _check_axes(nd, name, value)
    return per_axis(kernel_size, nd, "kernel_size", 1), per_axis(output_size, nd, "output_size", 0)


def folded_image(cols_shape, kernel, spatial, channel_last: bool) -> tuple[tuple[int, ...], bool]:
    """Shape of the image, with a batch axis, that columns of this shape belong to; and whether the columns have one."""
    if len(cols_shape) not in (2, 3):
        expected = "(N, C*prod(kernel_size), L) or (C*prod(kernel_size), L)"
        raise ValueError(f"cols must have shape {expected}, got shape {tuple(cols_shape)}")
    rows, taps = cols_shape[-2], math.prod(kernel)
    if rows % taps:
        raise ValueError(f"cols must have a multiple of prod(kernel_size) = {taps} rows, got shape {tuple(cols_shape)}")
    batched = len(cols_shape) == 3
    shape = image_shape(cols_shape[0] if batched else 1, rows // taps, spatial, channel_last, True)
    output_elements(shape, "cols and output_size")
    return shape, batched


def check_positions(cols_shape, shape: ConvShape) -> None:
    """Whether columns are as many as a kernel has positions in the image."""
    positions = math.prod(shape.out)
    if cols_shape[-1] != positions:
        raise ValueError(
            f"cols must have L = {positions} columns, the product of the output sizes {shape.out}, "
            f"got shape {tuple(cols_shape)}"
        )


# ---------------------------------------------------------------- linear


def check_features(x_shape, weight_shape) -> None:
    """Whether x (*, in) and weight (out, in) fit."""
    if len(weight_shape) != 2:
        raise ValueError(f"weight must have shape (out, in), got shape {tuple(weight_shape)}")
    if not x_shape:
        raise ValueError("x must have shape (*, in), got shape ()")
    if x_shape[-1] != weight_shape[1]:
        raise ValueError(f"x must have weight.shape[1] = {weight_shape[1]} features, got shape {tuple(x_shape)}")
    output_elements((*x_shape[:-1], weight_shape[0]), "x and weight")
