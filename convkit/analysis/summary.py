"""A model as a table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from .. import _extras
from ..nn.module import Module, Parameter
from .counts import count_parameters
from .fields import fields
from .trace import Call, trace


class SummaryRow(NamedTuple):
    """One call of one layer."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int  # of the layer itself; 0 where an earlier row has them
    flops: int  # one multiply-add = 2
    field: tuple[int, ...] | None  # size of the receptive field; None if it is not known, or is everything


@dataclass(frozen=True)
class Summary:
    """What `summary` returns; printed, or shown in a notebook, a table.

    Attributes
    ----------
    rows : tuple of SummaryRow
        In the order in which the layers are called.
    input_shape : tuple of int
    parameters, trainable : int
        Of the whole model; those of them that learn.
    flops : int
        Of one forward pass of the batch, as layers say it (`Module.flops`), one multiply-add = 2 FLOPs.
    parameter_bytes, output_bytes : int
        Of all parameters, and of the outputs of all layers for the batch.
    """

    rows: tuple[SummaryRow, ...]
    input_shape: tuple[int, ...]
    parameters: int
    trainable: int
    flops: int
    parameter_bytes: int
    output_bytes: int

    def _table(self, style: str) -> str:
        headers = ("layer", "kind", "output", "parameters", "FLOPs", "sees")
        rows = [
            (row.name, row.kind, _times(row.output_shape), row.parameters, row.flops, _times(row.field))
            for row in self.rows
        ]
        tabulate = _extras.need("tabulate", "analysis").tabulate
        align = ("left", "left", "right", "right", "right", "right")
        return tabulate(rows, headers, tablefmt=style, intfmt=",", colalign=align, disable_numparse=[0, 1, 2, 5])

    def _totals(self) -> list[str]:
        return [
            f"input {_times(self.input_shape)}; parameters {self.parameters:,}, of which {self.trainable:,} learn",
            f"FLOPs of the layers {self.flops:,} (one multiply-add = 2 FLOPs)",
            f"memory: parameters {self.parameter_bytes / 1e6:,.1f} MB, outputs {self.output_bytes / 1e6:,.1f} MB",
        ]

    def __str__(self) -> str:
        return "\n".join([self._table("simple"), "", *self._totals()])

    def _repr_html_(self) -> str:
        return self._table("html") + "".join(f"<p>{line}</p>" for line in self._totals())


def _times(sizes: tuple[int, ...] | None) -> str:
    return "" if sizes is None else "x".join(map(str, sizes))


def summary(model: Module, input_shape: tuple[int, ...]) -> Summary:
    """List the layers of a model: output, parameters, FLOPs (one multiply-add = 2) and receptive field of each.

    Parameters
    ----------
    model : Module
        Run once, in evaluation, on zeros; left as it was.
    input_shape : tuple of int
        Of a batch, ``(N, C, *spatial)``; outputs and FLOPs are those of all its N images.

    Returns
    -------
    Summary
        Printing it takes the package tabulate, of the extra [analysis]; its numbers do not.

    Raises
    ------
    TypeError, ValueError
        If the model does not take such a batch.
    ImportError
        When printed, if tabulate is not installed.

    See Also
    --------
    count_flops : what is counted.
    receptive_field : which pixels a layer sees.
    """
    calls = trace(model, input_shape)
    seen: set[int] = set()
    rows = tuple(
        SummaryRow(
            call.name, type(call.layer).__name__, call.y_shape, _own(call, seen), call.flops, field and field.size
        )
        for call, field in zip(calls, fields(model, input_shape, calls), strict=True)
    )
    parameters = list(model.parameters())
    width = parameters[0].dtype.itemsize if parameters else 4
    return Summary(
        rows,
        tuple(input_shape),
        count_parameters(model),
        count_parameters(model, trainable=True),
        sum(row.flops for row in rows),
        sum(parameter.data.nbytes for parameter in parameters),
        sum(width * math.prod(row.output_shape) for row in rows),
    )


def _own(call: Call, seen: set[int]) -> int:
    """Numbers in the parameters of the layer itself that are not in `seen`; then they are."""
    own = {id(value): value for value in vars(call.layer).values() if isinstance(value, Parameter)}
    new = [value.size for key, value in own.items() if key not in seen]
    seen.update(own)
    return sum(new)
