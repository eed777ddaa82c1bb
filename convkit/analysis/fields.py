"""Receptive fields: which pixels of the input a layer's outputs can see, by its window and those before it."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import floor
from typing import NamedTuple

from ..nn.module import Module
from ..nn.windows import Window
from .trace import INPUT, Call, of_batch, trace

Number = int | float


class Field(NamedTuple):
    """The receptive field of a layer's outputs; all but the name have one number for each spatial axis.

    Output i sees of the input at most the pixels p with ``start + i * jump <= p < start + i * jump + size``; those
    below 0 and past the end are padding.
    """

    name: str  # path of the layer in the model
    size: tuple[int, ...]
    jump: tuple[Number, ...]
    start: tuple[Number, ...]


class Fields(tuple[Field, ...]):
    """What `receptive_field` returns: a tuple of `Field`; printed, a table."""

    def __str__(self) -> str:
        width = max([len("layer"), *(len(field.name) for field in self)])
        lines = [f"{'layer':<{width}}  {'size':>12}  {'jump':>10}  {'start':>12}"]
        for name, *columns in self:
            size, jump, start = ("x".join(f"{number:g}" for number in column) for column in columns)
            lines.append(f"{name:<{width}}  {size:>12}  {jump:>10}  {start:>12}")
        return "\n".join(lines)


class _State(NamedTuple):
    """What is known of a call's output: its spatial sizes and a line for each."""

    sizes: tuple[int, ...]
    lines: tuple[Window, ...]


def receptive_field(model: Module, input_shape: tuple[int, ...]) -> Fields:
    """Size, jump and start of the receptive field of every layer.

    Parameters
    ----------
    model : Module
        Run once, in evaluation, on zeros; left as it was.
    input_shape : tuple of int
        Of a batch, ``(N, C, *spatial)``, or ``(N, *spatial, C)`` if the model's layers have ``layout="NHWC"``.

    Returns
    -------
    Fields
        A tuple of `Field`, in the order in which layers are called: ``[-1]`` is the last one's. A sum of branches
        shows in the layer that reads it. Layers behind a `Flatten` see everything and are left out.

    Raises
    ------
    TypeError, ValueError
        If the model does not take such a batch.

    Notes
    -----
    A layer of kernel k, stride s, dilation d and padding p makes of its input's field::

        size  = size + d * (k - 1) * jump        start = start - p * jump        jump = jump * s

    where the right sides are the input's; the model's own input has size 1, start 0 and jump 1. Where branches meet,
    the field is the smallest that holds all of theirs. After up-sampling (transposed convolution, `Upsample`) outputs
    lie closer together than what they read: jump and start may be fractions, and the field is the smallest that holds
    what is seen by every output, whichever its phase.

    Normalisation counts as element by element, though `GroupNorm` and `LayerNorm` take a mean over the whole image; a
    deformable convolution counts as if its offsets were zero, see `sampling_points`. Layers that do not say what their
    outputs read (`Module.windows`) are left out, and so is what reads from them.

    References
    ----------
    A. Araujo, W. Norris, J. Sim: Computing receptive fields of convolutional neural networks, Distill, 2019.
    """
    found = fields(model, input_shape, trace(model, input_shape))
    return Fields(field for field in found if field is not None)


def fields(model: Module, input_shape: tuple[int, ...], calls: list[Call]) -> list[Field | None]:
    """The field of every call; None where it is not known, or everything."""
    with of_batch(input_shape):
        states = _states(model, input_shape, calls)
    return [
        Field(call.name, *zip(*map(_numbers, state.lines), strict=True)) if state is not None and state.lines else None
        for call, state in zip(calls, states, strict=True)
    ]


def _states(model: Module, input_shape: tuple[int, ...], calls: list[Call]) -> list[_State | None]:
    """For every call what is known of its output."""
    last = channel_last(model)
    sizes = spatial(tuple(input_shape), last)
    known: dict[int, _State | None] = {INPUT: _State(sizes, (Window(),) * len(sizes))}
    for i, call in enumerate(calls):
        seen = None if call.sources is None else _joined(spatial(call.x_shape, last), [known[s] for s in call.sources])
        known[i] = None if seen is None else _through(call, seen, spatial(call.y_shape, last))
    return [known[i] for i in range(len(calls))]


def channel_last(model: Module) -> bool:
    """Whether the model's layers have their channels last; it is said by any that has a layout."""
    return next((layer.layout == "NHWC" for layer in model.modules() if hasattr(layer, "layout")), False)


def spatial(shape: tuple[int, ...], last: bool) -> tuple[int, ...]:
    return shape[1:-1] if last else shape[2:]


def _numbers(line: Window) -> tuple[int, Number, Number]:
    """Size, jump and start; the last two ints where they are whole."""
    jump, start = (int(n) if n.denominator == 1 else float(n) for n in (line.jump, line.start))
    return floor(line.end - line.start) + 1, jump, start


# ---------------------------------------------------------------- where branches meet


def _joined(sizes: tuple[int, ...], sources: Iterable[_State | None]) -> _State | None:
    """The state of an array of these sizes that was made of these sources; None if nothing sure can be said."""
    sources = list(sources)
    if any(state is None or not _broadcasts(state.sizes, sizes) for state in sources):
        return None
    if not any(state.sizes == sizes for state in sources):
        return None
    lines = []
    for axis, size in enumerate(sizes):
        whole = [state for state in sources if state.sizes[axis] == size]
        jump = whole[0].lines[axis].jump
        lines.append(_union([_stretched(state, axis, size) for state in sources], size, jump))
    return _State(sizes, tuple(lines))


def _broadcasts(sizes: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(sizes) == len(to) and all(size in (1, wanted) for size, wanted in zip(sizes, to, strict=True))


def _stretched(state: _State, axis: int, size: int) -> Window:
    """The line of an axis; one of a single element that is repeated does not move."""
    line = state.lines[axis]
    return line._replace(jump=Fraction(0)) if state.sizes[axis] != size else line


def _union(lines: list[Window], count: int, jump: Fraction) -> Window:
    """The smallest line of that jump which holds all of `lines` at outputs 0 to count - 1: at the first and last."""
    drifts = [(line, i * (line.jump - jump)) for line in lines for i in (0, max(count - 1, 0))]
    start = min(line.start + drift for line, drift in drifts)
    return Window(start, max(line.end + drift for line, drift in drifts), jump)


# ---------------------------------------------------------------- through a layer


def _through(call: Call, seen: _State, out: tuple[int, ...]) -> _State | None:
    """The state of a layer's output, from that of its input."""
    windows = call.layer.windows(seen.sizes, out)
    if windows is None:
        return None
    lines = []
    for line, window in zip(seen.lines, windows, strict=True):
        start, end = line.start + window.start * line.jump, line.end + window.end * line.jump
        lines.append(Window(start, end, line.jump * window.jump))
    return _State(out, tuple(lines))
