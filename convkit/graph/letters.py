"""Sums of products by letters: those of two arrays that are products of matrices are the engine's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import is_real
from .._words import brief
from .products import lower_batch, row_step
from .table import Attrs, Info, op


def _lettered(attrs: Attrs, infos: Sequence[Info]) -> tuple[dict[str, int], tuple[int, ...], str]:
    """The sizes of letters, those of the dots, and the result's term."""
    terms, arrow, result = attrs["equation"].replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    rest: tuple[int, ...] = ()
    for term, info in zip(terms.split(","), infos, strict=True):
        before, dots, after = term.partition("...")
        wide = len(info.shape) - len(before) - len(after)
        if wide < 0 or (wide and not dots):
            raise ValueError(
                f"equation must have a letter for each axis, got {brief(attrs['equation'])} for {info.shape}"
            )
        rest = np.broadcast_shapes(rest, info.shape[len(before) : len(before) + wide])
        for letter, size in [
            *zip(before, info.shape, strict=False),
            *zip(after, info.shape[len(before) + wide :], strict=True),
        ]:
            sizes[letter] = size if sizes.get(letter, 1) == 1 else sizes[letter]
    if not arrow:
        result = "..." * ("..." in terms) + "".join(sorted(c for c in sizes if terms.count(c) == 1))
    return sizes, rest, result


def _einsum_infer(attrs: Attrs, *infos: Info) -> list[Info]:
    """Of arrays that take no memory, whose result does not, either: sizes by letters alone."""
    sizes, rest, result = _lettered(attrs, infos)
    before, dots, after = result.partition("...")
    whole = *(sizes[c] for c in before), *(rest if dots else ()), *(sizes[c] for c in after)
    return [Info(whole, infos[0].dtype)]


def _einsum_flops(attrs: Attrs, infos: Sequence[Info], outputs: Sequence[Info]) -> int:
    sizes, rest, _ = _lettered(attrs, infos)
    return len(infos) * math.prod((*sizes.values(), *rest))


# Fewer multiply-adds are not worth a call of the engine: NumPy does as many in the microsecond that it takes.
_LEAST_PRODUCT = 2048


def _lower_einsum(plan: Any, node: Any) -> bool:
    """Of two arrays the products of a batch of matrices, where they are."""
    terms, arrow, result = node.attrs["equation"].replace(" ", "").partition("->")
    letters, values = [*terms.split(","), result], (*node.inputs, node.outputs[0])
    places = [plan.spot(value) for value in values]
    if not arrow or len(letters) != 3 or any(isinstance(place, np.ndarray) for place in places):
        return False
    dtypes = {plan.info(value).dtype for value in values}
    if len(dtypes) > 1 or not is_real(*dtypes) or any(0 in place.shape for place in places):
        return False
    axes = _axes(letters, [place.shape for place in places])
    if axes is None:
        return False
    batch, *sides = axes
    matrices = [_matrix(place, term, batch, *side) for place, term, side in zip(places, letters, sides, strict=True)]
    if None in matrices or math.prod((*matrices[0].shape[-2:], matrices[1].shape[-1])) < _LEAST_PRODUCT:
        return False
    return lower_batch(plan, node, *matrices, None, None)


def _axes(letters: list[str], shapes: list[tuple[int, ...]]) -> tuple | None:
    """The letters of a batch, which all have; those of each array's rows and columns. None where others are left."""
    if any(len(set(term)) < len(term) or len(term) != len(shape) for term, shape in zip(letters, shapes, strict=True)):
        return None  # diagonals, or dots
    sizes = [dict(zip(term, shape, strict=True)) for term, shape in zip(letters, shapes, strict=True)]
    if any(size[c] != other[c] for size in sizes for other in sizes for c in size.keys() & other):
        return None
    a, b, y = letters
    batch, rows = [c for c in y if c in a and c in b], [c for c in y if c in a and c not in b]
    columns, inner = [c for c in y if c in b and c not in a], [c for c in a if c in b and c not in y]
    alone = not rows + columns or len(batch + rows + inner) != len(a) or len(batch + columns + inner) != len(b)
    return None if alone else (batch, (rows, inner), (inner, columns), (rows, columns))


def _matrix(spot: Any, term: str, batch: list[str], *sides: list[str]) -> Any:
    """An array of these letters as matrices; None where letters of a side are no axis of one step."""
    axes = [[term.index(letter) for letter in letters] for letters in (batch, *sides)]
    sizes, strides = ([[whole[axis] for axis in part] for part in axes] for whole in (spot.shape, spot.strides))
    steps = [row_step((*size, 1), (*stride, spot.item)) for size, stride in zip(sizes[1:], strides[1:], strict=True)]
    shape = *sizes[0], *(math.prod(size) for size in sizes[1:])
    return None if None in steps else spot._replace(shape=shape, strides=(*strides[0], *steps))


@op("Einsum", infer=_einsum_infer, lower=_lower_einsum, flops=_einsum_flops)
def _einsum(attrs: Attrs, *arrays: np.ndarray) -> np.ndarray:
    return np.einsum(attrs["equation"].replace(" ", ""), *arrays, optimize=len(arrays) > 2)
