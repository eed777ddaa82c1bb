"""Receptive fields: which pixels of the input a layer's outputs can see, by its window and those before it."""

from __future__ import annotations

from math import floor
from typing import NamedTuple

from .._windows import Window
from ..graph.ir import Value
from ..graph.network import Network
from ..nn.module import Module
from .trace import Trace, trace

Number = int | float


class Field(NamedTuple):
    """The receptive field of a layer's outputs; all but the name have one number for each spatial axis.

    Output i sees of the input at most the pixels p with ``start + i * jump <= p < start + i * jump + size``; those
    below 0 and past the end are padding.

    Examples
    --------
    >>> from convkit import analysis, nn
    >>> (field,) = analysis.receptive_field(nn.Conv1d(1, 1, 3, stride=2, padding=1, rng=0), (1, 1, 9))
    >>> field.size, field.jump, field.start
    ((3,), (2,), (-1,))
    """

    name: str  # path of the layer in the model
    size: tuple[int, ...]
    jump: tuple[Number, ...]
    start: tuple[Number, ...]


class Fields(tuple[Field, ...]):
    """What `receptive_field` returns: a tuple of `Field`; printed, a table.

    Examples
    --------
    >>> from convkit import analysis, nn
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3, rng=0), nn.MaxPool2d(2))
    >>> print(analysis.receptive_field(model, (1, 1, 16, 16)))
    layer          size        jump         start
    0               3x3         1x1           0x0
    1               4x4         2x2           0x0
    """

    def __str__(self) -> str:
        width = max([len("layer"), *(len(field.name) for field in self)])
        lines = [f"{'layer':<{width}}  {'size':>12}  {'jump':>10}  {'start':>12}"]
        for name, *columns in self:
            size, jump, start = ("x".join(f"{number:g}" for number in column) for column in columns)
            lines.append(f"{name:<{width}}  {size:>12}  {jump:>10}  {start:>12}")
        return "\n".join(lines)


def receptive_field(model: Module | Network, input_shape: tuple[int, ...]) -> Fields:
    """Size, jump and start of the receptive field of every layer.

    Parameters
    ----------
    model : Module or Network
        Traced in evaluation, and left as it was.
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
    deformable convolution counts as if its offsets were zero, see `sampling_points`. Operators of which it is not
    known what they read, and layers that have no nodes in a graph and do not say it (`Module.windows`), are left out,
    and so is what reads from them. Of a network every node has a field.

    References
    ----------
    A. Araujo, W. Norris, J. Sim: Computing receptive fields of convolutional neural networks, Distill, 2019.

    Examples
    --------
    >>> from convkit import analysis, nn
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3, rng=0), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, rng=1))
    >>> analysis.receptive_field(model, (1, 1, 16, 16))[-1]
    Field(name='2', size=(8, 8), jump=(2, 2), start=(0, 0))
    """
    traced = trace(model, input_shape)
    found = (field_of(call.name, call.y, traced) for call in traced.calls)
    return Fields(field for field in found if field is not None)


def field_of(name: str, value: Value, traced: Trace) -> Field | None:
    """What a value sees; None where it is not known, or everything."""
    lines = traced.lines.get(value, ())
    if len(lines) != traced.axes.stop + (traced.axes.start == 1):
        return None
    along = [lines[axis] for axis in traced.axes]
    if not along or any(line is None for line in along):
        return None
    return Field(name, *zip(*map(_numbers, along), strict=True))


def _numbers(line: Window) -> tuple[int, Number, Number]:
    """Size, jump and start; the last two ints where they are whole."""
    jump, start = (int(n) if n.denominator == 1 else float(n) for n in (line.jump, line.start))
    return floor(line.end - line.start) + 1, jump, start
