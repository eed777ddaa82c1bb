"""The table of operators: one row for each, of what a graph and its plans need to know of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from operator import eq
from typing import Any, NamedTuple

import numpy as np

from .._arrays import is_real

Attrs = dict[str, Any]  # of a node: its settings by name, as ONNX has them


class Info(NamedTuple):
    """What is known of a value before it is there: its shape and dtype, and where it follows from shapes, itself.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import graph
    >>> x = graph.Info((2, 3), np.dtype("float32"))
    >>> graph.OPS["Concat"].infer({"axis": 1}, x, x)[0].shape
    (2, 6)
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    data: np.ndarray | None = None


class Undetermined(Exception):
    """The shape of an output follows from numbers that are not known before the network runs."""


class Op(NamedTuple):
    """An operator.

    Attributes
    ----------
    run : function
        ``run(attrs, *arrays)``: the output, or a tuple of them; of NumPy's functions and convkit's operators. Inputs
        that are left out are None, or missing at the end.
    infer : function
        ``infer(attrs, *infos)``: a list with the `Info` of each output; with `data` where all of it follows from what
        is known. Of constants it is asked only if `run` cannot be.
    lower : function or None
        ``lower(plan, node)``: appends the calls of the engine that compute the node to the plan's program, and
        returns True; or False, if there are none for these shapes. None: `run` is all there is.
    elementwise : bool
        Whether each element of the output follows from those in its place of the inputs, repeated to one shape.
    apart : function or None
        ``apart(attrs, *infos)``: whether each image of the output follows from that image of the inputs and from
        constants, as far as the batch's size in their shapes does not tell. None: of element-wise operators as
        `by_image` says, of others never.
    any_order : bool
        Whether its kernels read and write images at their best whatever order the elements stand in.
    view : bool
        Whether the output is the input's memory, if strides allow, as `run` gives it then.
    flops : function
        ``flops(attrs, infos, outputs)``: as in `Module.flops`.
    fixed : bool
        Whether equal inputs give equal outputs; random operators are not folded.
    scratch : function
        ``scratch(attrs, *infos)``: bytes that `run` allocates beside the outputs, where a node's attributes make them
        more than inputs and outputs take.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import graph
    >>> relu = graph.OPS["Relu"]
    >>> relu.run({}, np.array([-1.0, 2.0])), relu.elementwise, relu.fixed
    (array([0., 2.]), True, True)
    """

    run: Callable[..., Any]
    infer: Callable[..., list[Info]]
    lower: Callable[..., bool] | None = None
    elementwise: bool = False
    apart: Callable[..., bool] | None = None
    any_order: bool = False
    view: bool = False
    flops: Callable[..., int] = lambda attrs, infos, outputs: 0
    fixed: bool = True
    scratch: Callable[..., int] = lambda attrs, *infos: 0


OPS: dict[str, Op] = {}


def op(
    *names: str, infer: Callable[..., list[Info]] | None = None, decided_by: tuple[int, ...] = (), **row: Any
) -> Callable[[Callable], Callable]:
    """Decorator: the row of these operators, whose `run` the function is.

    Without `infer` shapes are found by a run on zeros; `decided_by` are the inputs whose numbers decide them.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import graph
    >>> @graph.op("Twice")
    ... def twice(attrs, x):
    ...     return 2 * x
    >>> graph.OPS.pop("Twice").run({}, np.ones(2))
    array([2., 2.])
    """

    def enter(run: Callable) -> Callable:
        for name in names:
            OPS[name] = Op(run, tried(run, decided_by) if infer is None else infer, **row)
        return run

    return enter


def tried(run: Callable, decided_by: tuple[int, ...]) -> Callable[..., list[Info]]:
    """Shapes as `run` gives them for zeros, where the numbers are not known; and the result itself, where they are."""

    def infer(attrs: Attrs, *infos: Info | None) -> list[Info]:
        for i in decided_by:
            if i < len(infos):
                needs(infos[i])
        known = all(info is None or info.data is not None for info in infos)
        arrays = [
            None if info is None else np.zeros(info.shape, info.dtype) if info.data is None else info.data
            for info in infos
        ]
        return [Info(y.shape, y.dtype, y if known else None) for y in results_of(run, attrs, arrays)]

    return infer


def results_of(run: Callable[..., Any], attrs: Attrs, arrays: Iterable[np.ndarray | None]) -> list[np.ndarray]:
    """What an operator gives for these arrays."""
    results = run(attrs, *arrays)
    return list(map(np.asarray, results if isinstance(results, tuple) else (results,)))


def inferred(row: Op, attrs: Attrs, infos: Sequence[Info | None]) -> list[Info]:
    """What `infer` gives; a size may follow from a number of a file's, and be none."""
    outputs = row.infer(attrs, *infos)
    for info in outputs:
        if min(info.shape, default=0) < 0:
            raise ValueError(f"sizes must be at least 0, got shape {info.shape}")
    return outputs


def folded(row: Op, attrs: Attrs, infos: Sequence[Info | None], outputs: list[Info]) -> list[Info]:
    """What is known of a node's outputs, with their numbers where these follow from what is known of its inputs."""
    known = row.fixed and all(info is None or info.data is not None for info in infos)
    if not known or all(info.data is not None for info in outputs):
        return outputs
    results = results_of(row.run, attrs, (None if info is None else info.data for info in infos))
    return [Info(array.shape, array.dtype, array) for array in results]


def positive(axis: int, nd: int) -> int:
    """An axis counted from the front."""
    if not -nd <= axis < max(nd, 1):
        raise ValueError(f"axis must be one of {nd}, got {axis}")
    return axis if axis >= 0 else axis + nd


def real(x: Info) -> None:
    """Raise unless x is what kernels take, whose results are written over its own dtype's memory."""
    if not is_real(x.dtype):
        raise TypeError(f"x must be float32 or float64, got dtype {x.dtype}")


def each_channel(attrs: Attrs, x: Info, *numbers: Info | None) -> list[Info]:
    """The shape and dtype of images; every further input must have a number for each of their channels."""
    real(x)
    for info in numbers:
        if info is not None and (len(x.shape) < 2 or info.shape != (x.shape[1],)):
            raise ValueError(f"x must have {math.prod(info.shape)} channels, as many as the node, got shape {x.shape}")
    return [Info(x.shape, x.dtype)]


def repeats(info: Info | None, sizes: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Raise unless numbers can be repeated to these sizes of an x of this shape."""
    padded = () if info is None else (1,) * (len(sizes) - len(info.shape)) + info.shape
    if info is not None and (
        len(padded) != len(sizes) or any(a not in (1, b) for a, b in zip(padded, sizes, strict=True))
    ):
        raise ValueError(f"x must have {info.shape} for the axes of the node's numbers, got shape {shape}")


def by_image(attrs: Attrs, *infos: Info | None) -> bool:
    """Whether arrays of several images have them along one axis, not the node's, and constants are alike for all."""
    taken = [info for info in infos if info is not None]
    axes = max(len(info.shape) for info in taken)
    repeated = (len(info.shape) < axes or info.shape[0] == 1 for info in taken)
    constant = (info.data is not None for info in taken)
    return attrs.get("axis", -1) % axes != 0 and all(map(eq, repeated, constant))


def bytes_of(infos: Iterable[Info]) -> int:
    """What arrays take."""
    return sum(math.prod(info.shape) * info.dtype.itemsize for info in infos)


def take(inputs: Sequence[Any], count: int) -> list[Any]:
    """That many inputs; those that are left out are None."""
    return [*inputs, *(None,) * (count - len(inputs))]


def needs(info: Info | None) -> np.ndarray | None:
    """The numbers of an input that decides a shape."""
    if info is None:
        return None
    if info.data is None:
        raise Undetermined
    return info.data
