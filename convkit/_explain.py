"""What a convolution would do, and why: the algorithm, how it is arranged and cut, what it costs, where it lands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from . import _options, _shapes
from ._arrays import empty
from ._ext import engine
from ._probe import UNSTEADY, Probe, why_above
from ._threads import current
from ._timing import bursts_of
from ._typing import Padding, Size
from ._words import brief, byte_count, counted, dimensions, percent, rounded
from .machine import isa
from .ops import conv, conv_transpose
from .ops._shared import ONLY_FOR, Plan, check_algorithm
from .ops.conv import CONV
from .ops.conv_transpose import CONV_TRANSPOSE

_OPS = {f"conv{nd}d": (nd, CONV) for nd in (1, 2, 3)} | {
    f"conv_transpose{nd}d": (nd, CONV_TRANSPOSE) for nd in (1, 2, 3)
}
_DIRECTIONS, _DTYPES = ("forward", "x", "weight"), ("float32", "float64")
_BURST_SECONDS = 0.05


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns; ``print`` it, or take its fields.

    Attributes
    ----------
    op, direction, dtype, layout, isa : str
        What was asked, and the instruction set in force.
    algorithm, why : str
        The algorithm that runs, and what decided it.
    rejected : dict of str to str
        Every other algorithm, and why it does not run.
    arrangement : str or None
        What lies on the lanes of "implicit_gemm", "im2col" and "direct": "by_pixel" (output channels), "by_channel"
        (pixels), "by_group" (groups) or "unpacked" (output channels, whose weights are read where they are, for a few
        pixels); or "sheets" (pixels) and "lines" (channels), depthwise convolution from memory to memory: with 3x3 taps
        of channels first, and of channels last. It never changes bits.
    reads : str or None
        What tasks with an arrangement read: a "window" of the input, copied, padding and all; the "input", in place; or
        "columns" of their blocks, which "im2col" always writes out and "by_channel" may.
    estimates : dict of str to float
        Estimated cycles of every arrangement that the call may have, from which the least was taken; none where it may
        have "lines", which are always taken.
    estimate : float
        Estimated cycles of what runs; 0 where there is no estimate.
    block : tuple of int
        Outputs that a task computes at a time: images, depth, height, width.
    channels, lanes : int
        Input channels summed at a time, and output channels (or groups) of a tile.
    threads, tasks, workspace : int
        Threads that the call uses at most, tasks that they share, and bytes of scratch memory.
    shared_weights, shared_inputs, rounds : int
        Of the scratch memory, bytes that hold the weights, packed or transformed once for all tasks; and those that
        hold the inputs that "winograd" transforms once for all tasks of a round, and how many rounds there are. 0 where
        each task has its own.
    patches : int
        Where much padding is read, the boxes into which a block's outputs are cut at most, each of which is multiplied
        by the taps alone that it reads inside the image. 1 where a block is not cut.
    flops, bytes : int
        Floating-point operations of the textbook's sum, a multiply-add being two, and bytes of the operands and the
        result, each once. Their ratio is the arithmetic intensity.
    peak_gflops, triad : float or None
        This machine's peak in GFLOP/s and its memory bandwidth in GB/s; measured only with ``measure=True``.
    bound : float or None
        The roofline: the larger of flops / peak and bytes / bandwidth, in seconds.
    seconds : float or None
        How long a call took.
    unsteady : bool
        Whether other work was using the machine: the peak moved by more than a tenth, or no two bursts of calls
        without interruptions took the same time.
    """

    op: str
    direction: str
    dtype: str
    layout: str
    isa: str
    algorithm: str
    why: str
    rejected: dict[str, str]
    arrangement: str | None
    reads: str | None
    estimates: dict[str, float]
    estimate: float
    block: tuple[int, int, int, int]
    channels: int
    lanes: int
    threads: int
    tasks: int
    workspace: int
    shared_weights: int
    shared_inputs: int
    rounds: int
    patches: int
    flops: int
    bytes: int
    peak_gflops: float | None = None
    triad: float | None = None
    bound: float | None = None
    seconds: float | None = None
    unsteady: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Every field by name."""
        return asdict(self)

    def __str__(self) -> str:
        estimates = ", ".join(f"{name} {cycles:.3g}" for name, cycles in self.estimates.items())
        work = f"{self.flops / 1e9:.3g} GFLOP, {byte_count(self.bytes)}"
        shared = [f"{self.shared_weights / 2**10:.0f} KiB of weights"] * (self.shared_weights > 0)
        if self.rounds:
            shared.append(f"{self.shared_inputs / 2**10:.0f} KiB of inputs, in {counted(self.rounds, 'round')}")
        rows = [
            ("algorithm", f"{self.algorithm}: {self.why}"),
            *(("", f"not {name}: {reason}") for name, reason in self.rejected.items()),
            (
                "arrangement",
                self.arrangement and self.arrangement + (estimates and f" (estimated cycles: {estimates})"),
            ),
            ("reads", self.reads and _READS[self.reads]),
            (
                "blocks",
                self.tasks
                and f"{dimensions(self.block)} outputs, {counted(self.channels, 'channel')} at a time, "
                f"{counted(self.lanes, 'lane')} a tile",
            ),
            ("patches", self.patches > 1 and f"up to {self.patches} of a block, each with the taps that it reads"),
            ("tasks", self.tasks and f"{self.tasks} on up to {counted(self.threads, 'thread')}"),
            ("workspace", f"{self.workspace / 2**10:.0f} KiB"),
            ("shared", shared and f"laid out once for all tasks: {' and '.join(shared)}"),
            ("work", f"{work}: {self.flops / max(self.bytes, 1):.3g} FLOP a byte"),
        ]
        if self.seconds is not None and self.bound is not None:
            rate, share = self.flops / self.seconds / 1e9, self.bound / self.seconds
            rows += [
                ("machine", f"{self.peak_gflops:.0f} GFLOP/s, {self.triad:.0f} GB/s"),
                ("roofline", f"{rounded(self.bound * 1e3)} ms"),
                ("measured", f"{rounded(self.seconds * 1e3)} ms: {rate:.0f} GFLOP/s, {percent(share)} of the roofline"),
            ]
            if share > 1:
                rows.append(("", why_above(self.algorithm == "winograd", rate / (self.peak_gflops or rate))))
            rows += [("", UNSTEADY)] * self.unsteady
        lines = [f"{self.op}, {self.direction}, {self.dtype}, {self.layout}, on {self.isa}"]
        lines += [f"{label:<13}{text}" for label, text in rows if text]
        return "\n".join(lines)


def _name_of_dtype(dtype):
    return np.dtype(dtype).name if isinstance(dtype, type | np.dtype) else dtype


def explain(
    op: str, x_shape: Sequence[int], weight_shape: Sequence[int], *, direction: str = "forward",
    dtype: str | type | np.dtype = "float32", measure: bool = False, stride: Size = 1, padding: Padding = 0,
    output_padding: Size = 0, dilation: Size = 1, groups: int = 1, padding_mode: str = "zeros",
    output_size: Size | None = None, layout: str = "NCHW", algorithm: str = "auto",
) -> Explanation:  # fmt: skip
    """Say what a convolution of these shapes would do here and now, and why.

    Parameters
    ----------
    op : str
        "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d" or "conv_transpose3d".
    x_shape, weight_shape : tuple of int
        Shapes of its operands, as the operator takes them.
    direction : {"forward", "x", "weight"}
        The forward pass, or the gradient of x or of the weight.
    dtype : {"float32", "float64"}
        Or NumPy's own: ``np.float32``, ``x.dtype``.
    measure : bool, default: False
        Also measure the machine's peak and time the call, about a second: where it lands below the roofline.
    stride, padding, output_padding, dilation, groups, padding_mode, output_size, layout, algorithm
        As in the operator; output_padding and output_size of transposed convolution alone, padding_mode of the others.
        A bias or an activation makes no difference.

    Returns
    -------
    Explanation

    Raises
    ------
    TypeError, ValueError
        As the operator; and for an `op`, `direction` or `dtype` that is not named above.
    MemoryError
        If no workspace within the caller's `workspace_limit` does, or operands of these shapes do not fit into memory.

    Examples
    --------
    >>> import convkit
    >>> convkit.explain("conv2d", (1, 64, 56, 56), (64, 64, 3, 3), padding=1).algorithm
    'winograd'
    """
    for value, names, name in (
        (op, tuple(_OPS), "op"),
        (direction, _DIRECTIONS, "direction"),
        (_name_of_dtype(dtype), _DTYPES, "dtype"),
    ):
        _options.one_of(value, names, name)
    dtype = _name_of_dtype(dtype)
    nd, family = _OPS[op]
    _check_unused(op, output_padding=output_padding, output_size=output_size, padding_mode=padding_mode)
    transposed, number = family.transposed, family.ops[_DIRECTIONS.index(direction)]
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "layout": layout}
    if transposed:
        options |= {"output_padding": output_padding, "output_size": output_size}
        sizes = (nd, stride, padding, output_padding, groups, dilation, output_size, layout)
    else:
        options |= {"padding_mode": padding_mode}
        sizes = (nd, stride, padding, dilation, groups, padding_mode, layout)
    x_shape, weight_shape = _shapes.x_shape(x_shape), _shapes.x_shape(weight_shape, "weight_shape")
    plan = family.plan((x_shape, weight_shape), sizes)
    code = check_algorithm(algorithm, plan)
    x, weight, y = (empty(shape, np.dtype(dtype)) for shape in (x_shape, weight_shape, plan.y_shape))
    images = (x, y) if plan.batched else (x[None], y[None])
    first, last = reversed(images) if transposed else images
    told = engine.conv_explain(plan.geometry, number, first, weight, last, plan.channel_last, code, current())
    name = _options.name_of(told.pop("algorithm"), _options.ALGORITHMS)
    explanation = Explanation(
        op=op, direction=direction, dtype=dtype, layout=layout, isa=isa(), algorithm=name,
        why=_WHY[name] if algorithm == "auto" else "asked for",
        rejected=_rejected(name, algorithm, plan),
        flops=2 * (x if transposed else y).size * math.prod(weight_shape[1:]),
        bytes=x.nbytes + weight.nbytes + y.nbytes, **told,
    )  # fmt: skip
    return _measured(explanation, x.shape, weight.shape, options | {"algorithm": algorithm}) if measure else explanation


def _check_unused(op: str, **options: Any) -> None:
    """Refuse what an operator does not take, such as `padding_mode` of a transposed convolution."""
    (nd, family), usual = _OPS[op], {"output_padding": 0, "output_size": None, "padding_mode": "zeros"}
    for name, value in options.items():
        if (name == "padding_mode") == (family is CONV):  # it is taken
            continue
        if name == "output_padding":
            left_out = not any(_shapes.per_axis(value, nd, name, 0))
        else:
            left_out = value is None or (isinstance(value, str) and value == usual[name])
        if not left_out:
            raise ValueError(f"{name} must be {usual[name]!r} for {op}, which takes none, got {brief(value)}")


_READS = {
    "window": "a window of the input, copied",
    "input": "the input, in place",
    "columns": "columns, written out block by block",
}
_WHY = {  # by the rule
    "implicit_gemm": "the engine, which does every shape",
    "im2col": "its columns are multiplied for all taps and phases at once, then added up, in fewer products",
    "direct": "groups too narrow to fill the lanes of a dense tile",
    "winograd": "3x3 taps of the last two axes, no stride, channels and full tiles enough: a quarter of the products",
}
_WHY_NOT_THE_ENGINE = {  # by what the rule takes instead
    "im2col": "it would multiply padding, or with lanes that are empty, or pack weights for hardly a product",
    "direct": "groups this narrow would leave most of its lanes empty",
    "winograd": "it takes up to four times the products",
}
_WHY_NOT = {  # by the rule, of what could run
    "im2col": "columns pay only for gradients of x and transposed convolution: many channels to few, few positions, "
    "or much padding",
    "winograd": "with so few channels, or outputs that fill so little of its tiles of 4x4, it would take longer",
}


def _rejected(name: str, wanted: str, plan: Plan) -> dict[str, str]:
    """Why the other algorithms do not run: they cannot, they would take longer, or another was asked for."""
    reasons = {}
    for other, code in _options.ALGORITHMS.items():
        if other in ("auto", name):
            continue
        if not engine.conv_supports(plan.geometry, code):
            reasons[other] = f"it does only {ONLY_FOR[other]}; here {plan.words[other]}"
        elif wanted != "auto":
            reasons[other] = f"it could run, but {wanted} was asked for"
        else:
            reason = _WHY_NOT_THE_ENGINE[name] if other == "implicit_gemm" else _WHY_NOT[other]
            reasons[other] = f"it could run, but {reason}"
    return reasons


def _measured(explanation: Explanation, x_shape, weight_shape, options: dict[str, Any]) -> Explanation:
    """The explanation with the machine's peak, and the time of this call on random operands."""
    rng, dtype = np.random.default_rng(0), explanation.dtype
    x, weight = rng.standard_normal(x_shape, dtype), rng.standard_normal(weight_shape, dtype)
    nd, family = _OPS[explanation.op]
    module = conv_transpose if family.transposed else conv
    call, first = getattr(module, explanation.op), (x, weight)
    out = y = call(*first, **options)
    if explanation.direction != "forward":
        call, first = getattr(module, explanation.op + "_backward"), (y, x, weight)
        options = options | {"need": explanation.direction}
        out = call(*first, **options)
    probe = Probe(dtype, explanation.threads)
    bursts = bursts_of(lambda: call(*first, **options, out=out), probe, _BURST_SECONDS)
    probe.renew()
    bound = max(explanation.flops / probe.best, explanation.bytes / probe.triad) / 1e9
    return replace(
        explanation, peak_gflops=probe.best, triad=probe.triad, bound=bound, seconds=probe.best_of(bursts).seconds,
        unsteady=probe.unsteady(bursts),
    )  # fmt: skip
