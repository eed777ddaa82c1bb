"""`convkit explain`: what a convolution would do here, and why."""

from __future__ import annotations

import argparse
import json

import convkit

from .._options import ALGORITHMS, LAYOUTS, PADDING_MODES
from .._shapes import PADDING_NAMES
from ._arguments import REFUSALS, add_threads, each_axis, failed, several, whole

_OPTIONS = (
    "direction", "stride", "padding", "output_padding", "dilation", "groups", "padding_mode", "layout", "dtype",
    "algorithm", "measure",
)  # fmt: skip
_shape = several(whole(0), "8,64,56,56")


def _padding(text: str) -> str | int | tuple[int, ...]:
    if text in PADDING_NAMES:
        return text
    try:
        return each_axis(0)(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(PADDING_NAMES)}, or it {error}") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add = parser.add_argument
    add("op", help="conv2d, conv_transpose2d, or of 1 or 3 dimensions")
    add("x_shape", type=_shape, metavar="N,C,H,W", help="shape of the input")
    add("weight_shape", type=_shape, metavar="C_OUT,C_IN,K,K", help="shape of the weight, as the operator takes it")
    add("--direction", choices=("forward", "x", "weight"), default="forward", help="or the gradient of x or weight")
    add("--stride", type=each_axis(1), default=1, metavar="S", help="one number, or one for each axis: 2,1")
    add("--padding", type=_padding, default=0, metavar="P", help="numbers, or a name: same")
    more = (
        "elements added at the end of the output of a transposed convolution, to reach one of the sizes that a stride"
    )
    more += " makes of one: a number, or one for each axis (default: 0)"
    add("--output-padding", type=each_axis(0), default=0, metavar="P", help=more)
    add("--dilation", type=each_axis(1), default=1, metavar="D", help="distance of the taps, for each axis or for all")
    add("--groups", type=whole(1), default=1, metavar="G", help="parts of the channels, each by itself (default: 1)")
    add("--padding-mode", choices=PADDING_MODES, default="zeros", help="what padding holds (default: zeros)")
    add("--layout", choices=LAYOUTS, default="NCHW", help="order of the axes in memory (default: NCHW)")
    add("--dtype", choices=("float32", "float64"), default="float32", help="default: float32")
    add("--algorithm", choices=ALGORITHMS, default="auto", help="default: auto, which chooses by the shape")
    add_threads(parser)
    add("--measure", action="store_true", help="measure the machine and time the call, too")
    add("--json", action="store_true", help="print every field as JSON")


def run(args: argparse.Namespace) -> int:
    """Explain one call."""
    options = {name: getattr(args, name) for name in _OPTIONS}
    try:
        with convkit.threads(args.threads or convkit.get_num_threads()):
            explanation = convkit.explain(args.op, args.x_shape, args.weight_shape, **options)
    except REFUSALS as error:
        return failed("explain", error, 1)
    print(json.dumps(explanation.as_dict(), indent=2) if args.json else explanation)
    return 0
