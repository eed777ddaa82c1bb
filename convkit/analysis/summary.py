"""A model as a table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from .. import _extras
from .._words import byte_count, dimensions
from ..graph.network import Network
from ..nn.module import Module
from .counts import count_parameters
from .fields import field_of
from .trace import trace


class SummaryRow(NamedTuple):
    """One call of one layer.

    Examples
    --------
    >>> from convkit import analysis, nn
    >>> analysis.summary(nn.Conv2d(3, 8, 3, rng=0), (1, 3, 8, 8)).rows[0]
    SummaryRow(name='', kind='Conv2d', output_shape=(1, 8, 6, 6), parameters=224, flops=15552, field=(3, 3))
    """

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
        Of the whole model; those of them that learn, none of a network's.
    flops : int
        Of one forward pass of the batch, as layers say it (`Module.flops`), one multiply-add = 2 FLOPs.
    parameter_bytes, output_bytes : int
        Of all parameters, and of the outputs of all layers for the batch.

    Examples
    --------
    >>> from convkit import analysis, nn
    >>> summary = analysis.summary(nn.Conv2d(3, 8, 3, padding=1, rng=0), (2, 3, 8, 8))
    >>> summary.parameters, summary.flops, summary.parameter_bytes, summary.output_bytes
    (224, 55296, 896, 4096)
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
            (row.name, row.kind, dimensions(row.output_shape), row.parameters, row.flops, dimensions(row.field or ()))
            for row in self.rows
        ]
        tabulate = _extras.need("tabulate", "analysis").tabulate
        align = ("left", "left", "right", "right", "right", "right")
        return tabulate(rows, headers, tablefmt=style, intfmt=",", colalign=align, disable_numparse=[0, 1, 2, 5])

    def _totals(self) -> list[str]:
        return [
            f"input {dimensions(self.input_shape)}; parameters {self.parameters:,}, of which {self.trainable:,} learn",
            f"FLOPs of convolutions and matrix products {self.flops:,} (one multiply-add = 2 FLOPs)",
            f"memory: parameters {byte_count(self.parameter_bytes)}, outputs {byte_count(self.output_bytes)}",
        ]

    def __str__(self) -> str:
        return "\n".join([self._table("simple"), "", *self._totals()])

    def _repr_html_(self) -> str:
        return self._table("html") + "".join(f"<p>{line}</p>" for line in self._totals())


def summary(model: Module | Network, input_shape: tuple[int, ...]) -> Summary:
    """List the layers of a model: output, parameters, FLOPs (one multiply-add = 2) and receptive field of each.

    Parameters
    ----------
    model : Module or Network
        Traced in evaluation, and left as it was. A network's rows are its nodes, and its constants its parameters.
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

    Examples
    --------
    >>> from convkit import analysis, nn
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, rng=0), nn.ReLU(), nn.MaxPool2d(2))
    >>> for row in analysis.summary(model, (1, 1, 8, 8)).rows:
    ...     print(row.kind, row.output_shape, row.parameters, row.flops, row.field)
    Conv2d (1, 4, 8, 8) 40 4608 (3, 3)
    ReLU (1, 4, 8, 8) 0 0 (3, 3)
    MaxPool2d (1, 4, 4, 4) 0 0 (4, 4)
    """
    traced = trace(model, input_shape)
    rows: list[SummaryRow] = []
    counted: set[int] = set()
    for call in traced.calls:
        field = field_of(call.name, call.y, traced)
        own = sum(size for key, size in call.holds.items() if key not in counted)
        counted.update(call.holds)
        rows.append(SummaryRow(call.name, call.kind, call.y_shape, own, call.flops, field and field.size))
    width, known = traced.itemsize, isinstance(model, Module)
    parameters = count_parameters(model) if known else sum(row.parameters for row in rows)
    return Summary(
        tuple(rows),
        tuple(input_shape),
        parameters,
        count_parameters(model, trainable=True) if known else 0,
        sum(row.flops for row in rows),
        width * parameters,
        sum(width * math.prod(row.output_shape) for row in rows),
    )
