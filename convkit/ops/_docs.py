"""The words of operators' docstrings: what several of them say is written once, here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

from .. import _options

F = TypeVar("F", bound=Callable[..., object])
_SIZES = {
    "ones": "1",
    "twos": "2",
    "threes": "3",
    "fours": "4",
    "eights": "8",
    "sixteens": "16",
}  # of examples, along each axis

# Paragraphs that templates have by name, the first line standing where the name does; they are templates themselves.
_PARAGRAPHS = {
    "algorithm": """\
algorithm : {{"auto", "implicit_gemm", "im2col", "direct", "winograd"}}
        "implicit_gemm" and "im2col" can do every shape, "direct" depthwise convolution and narrow groups, "winograd"
        kernels of 3x3 taps along the last two axes, without a stride: a quarter of the products, in float32 an error of
        at most 2e-5 of the result in the L2 norm for normal deviates, but no bound element by element, nor exact
        integers. "auto" is one of them by a rule of one image's shape: "direct" where it can; "winograd" where
        a count of outputs, tiles of 4x4 of them, and channels in and out (of a group) says that it takes less time, as
        for 16 channels on 8x8; "im2col" for transposed convolutions and gradients of x, to few channels or of outputs
        that read much padding, where columns take fewer products. One that cannot do the shape is a ValueError.""",
    "layout": """\
layout : {{"NCHW", "NHWC"}}
        "NHWC" has the channel axis of arrays last: {x_last}.""",
    "into": """\
out : ndarray, optional
        Array of the result's shape and dtype to write to and return: writable, of any strides, overlapping neither
        itself nor an input.""",
    "return_indices": """\
return_indices : bool, default: False
        Whether to return where each maximum was found, too. `out` is then (y, indices), None entries allocated.""",
    "windows": """\
kernel_size : int or tuple of {ints}
        Size of the window, at least 1.
    stride : int or tuple of {ints}, optional
        Step of the window over the input, at least 1; by default `kernel_size`.
    padding : int, tuple or str, default: 0
        Positions added on both sides of the input: one int; a tuple of {ints}, one per dimension; a tuple of pairs
        ``(lo, hi)``, one per dimension; ``"valid"``, none; ``"same"`` or ``"same_upper"``: as many as ceil(in/stride)
        windows need, an odd one at the end; ``"same_lower"``, an odd one at the start. Each side is less than
        dilation*(kernel_size - 1) + 1.
    dilation : int or tuple of {ints}, default: 1
        Step between the elements of a window, at least 1.
    ceil_mode : bool, default: False
        Round the output size up, so that a last window may reach past the padding. One that would start past the image
        and the padding before it is dropped.""",
    "windows_out": """\
Along each axis out = floor((in + lo + hi - dilation*(kernel_size - 1) - 1) / stride) + 1, or ceil with
        `ceil_mode`, then one less if (out - 1)*stride >= in + lo.""",
    "raises": """\
Raises
    ------
    TypeError
        If an argument has the wrong type, an array a dtype other than float32 and float64 (indices: int64), or arrays
        have two dtypes.
    ValueError
        If a shape, size or option does not fit, or nothing is left of the output.
    OverflowError
        If a size, or the number of elements of the result, does not fit 64 bits.
    MemoryError
        If the result or a workspace cannot be allocated, or the least workspace is over `workspace_limit`.""",
    "gradients": """\
Parameters
    ----------
    grad : ndarray, {y} or {y1}
        Gradient of the loss with respect to the output of `{name}`; with `activation`, after it.
    x : ndarray or tuple of int
        The input, or its shape where `need` does not include "weight".
    weight : ndarray or tuple of int
        The weight, or its shape where `need` does not include "x".
    {sizes}, layout
        As in the forward call.
    activation : None, str or tuple, default: None
        {derivative}
    y : ndarray, optional
        The output of the forward call: required with `activation`, not looked at without.
    need : str or sequence of str, default: ("x", "weight", "bias")
        The gradients to compute. The others come back as None and cost nothing.
    algorithm : {{"auto", "implicit_gemm", "im2col", "direct", "winograd"}}
        As in `{name}`. The bits of a gradient of weight or bias follow from the batch, too, which it is a sum over.
    out : tuple of three arrays or None, optional
        A ConvGrads or tuple of arrays to fill and return, under the rules of `{name}`; None entries are allocated.

    Returns
    -------
    ConvGrads
        Named tuple (x, weight, bias) of arrays that have the shapes of the input, the weight, and (C_out,).

    Raises
    ------
    TypeError, ValueError, OverflowError, MemoryError
        As `{name}`; ValueError too if `need` has an unknown name, or `activation` comes without `y`.

    Notes
    -----
    All gradients have the same bits for any number of threads; that of the input of an image also alone and in a batch.
    An empty batch gives zeros.""",
}


def words(nd: int, c_in: str = "C_in", c_out: str = "C_out") -> dict[str, object]:
    """How the docstrings of one to three dimensions differ, for images of so many channels."""
    axes = ("L",) if nd == 1 else ("D", "H", "W")[-nd:]
    space, out = ", ".join(axes), ", ".join(axis + "_out" for axis in axes)
    kernel = ", ".join("k" + axis for axis in axes)
    return {
        "nd": nd,
        "activation": _options.ACTIVATION_DOC,
        "derivative": _options.DERIVATIVE_DOC,
        "ints": "1 int" if nd == 1 else f"{nd} ints",
        "x": f"(N, {c_in}, {space})",
        "x1": f"({c_in}, {space})",
        "x_last": f"(N, {space}, {c_in})",
        "y": f"(N, {c_out}, {out})",
        "y1": f"({c_out}, {out})",
        "plane": f"({space})",
        "w": f"(C_out, C_in/groups, {kernel})",
        "w_transposed": f"(C_in, C_out/groups, {kernel})",
        "flip": ", ".join(["..."] + ["::-1"] * nd),
        "out": out,
        "per_tap": ", ".join("zyx"[-nd:]),
        "corners": 2**nd,
        "sampled": ("linear", "bilinear", "trilinear")[nd - 1],
        "offsets": nd * 3**nd,
        **{name: ", ".join([size] * nd) for name, size in _SIZES.items()},
        "valid": (1, 8, *[14] * nd),
        "full": (1, 8, *[18] * nd),
    }


def documented(template: str, *channels: str, **own: str) -> Callable[[F], F]:
    """Decorator: the docstring that the functions of one to three dimensions share, in the words of one of them.

    Words of several lines have the template's indentation, four spaces, and that of where they stand.
    """

    def document(function: F) -> F:
        name = function.__name__.removesuffix("_backward")
        nd = next((int(character) for character in name if character.isdigit()), 1)
        plain = words(nd, *channels) | {"name": name} | own
        paragraphs = {key: text.format(**plain) for key, text in _PARAGRAPHS.items() if f"{{{key}}}" in template}
        function.__doc__ = inspect.cleandoc(template.format(**plain, **paragraphs))
        return function

    return document
