"""Rows of products of matrices: pixels are their rows, so that they run as convolutions of one tap."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _shapes
from .._arrays import is_real
from .._ext import engine
from ..ops import linear
from .elements import NONE, activated
from .images import by_weight, lower_product, one_dtype, place_sum, summed
from .table import Attrs, Info, op, take
from .turns import in_turns, joined, turns_at_once

_TURNED = (False, "Gemm", True)  # the form of a weight (in, out)


def _gemm_infer(attrs: Attrs, a: Info, b: Info, c: Info | None = None, add: Info | None = None) -> list[Info]:
    one_dtype(a, b, c, add)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise ValueError(f"factors must be matrices, got shapes {a.shape} and {b.shape}")
    rows, inner = a.shape[::-1] if attrs.get("transA", 0) else a.shape
    depth, columns = b.shape[::-1] if attrs.get("transB", 0) else b.shape
    if inner != depth:
        raise ValueError(f"factors must share an axis, got shapes {a.shape} and {b.shape}")
    return [summed(Info((rows, columns), a.dtype), add)]


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of matrices; of the engine's where it has numbers for it."""
    if is_real(a.dtype) and a.ndim == b.ndim == 2 and a.dtype == b.dtype:
        return linear.linear(a, b.T)
    return np.matmul(a, b)


def _gemm_flops(attrs: Attrs, infos: Sequence[Info], outputs: Sequence[Info]) -> int:
    inner = infos[0].shape[0 if attrs.get("transA", 0) else -1]
    return 2 * inner * math.prod(outputs[0].shape)


def _lower_gemm(plan: Any, node: Any) -> bool:
    """Rows are pixels of a 1x1 convolution whose channels lie side by side."""
    a, b, c, add = take(node.inputs, 4)
    attrs, product = node.attrs, _gemm_infer(node.attrs, plan.info(a), plan.info(b))[0].shape
    rows, columns = product
    x, bias = plan.spot(a), None if c is None else plan.constant(c)
    scaled = attrs.get("alpha", 1.0) != 1 or attrs.get("beta", 1.0) != 1
    if not is_real(plan.info(a).dtype) or rows * columns == 0 or scaled or isinstance(x, np.ndarray):
        return False
    if c is not None and (bias is None or bias.shape not in ((columns,), (1, columns))):
        return False
    if plan.info(node.outputs[0]).shape != product:
        return False
    bias, turned = None if bias is None else bias.reshape(-1), not attrs.get("transB", 0)
    x = as_image(x, transposed=bool(attrs.get("transA", 0)))
    inner = plan.info(a).shape[0 if attrs.get("transA", 0) else 1]
    images, kernel = (x, as_image(plan.spot(node.outputs[0]))), as_kernel(plan.spot(b), turned)
    lower_product(plan, node, as_pixels(rows, inner, columns), images, b, kernel, (False, "Gemm", turned), bias, add)
    return True


def _by_rows(attrs: Attrs, a: Info, b: Info, *others: Info | None) -> bool:
    """Whether each row is multiplied by one matrix for all."""
    return len(b.shape) == 2 and not attrs.get("transA", 0) and by_weight(attrs, a, b, *others)


@op("Gemm", infer=_gemm_infer, lower=_lower_gemm, apart=_by_rows, flops=_gemm_flops)
def _gemm(attrs: Attrs, a, b, c=None, add=None) -> np.ndarray:
    a = a.T if attrs.get("transA", 0) else a
    y = _product(a, b.T if attrs.get("transB", 0) else b)
    y = y if attrs.get("alpha", 1.0) == 1 else (attrs["alpha"] * y).astype(y.dtype)
    if c is not None:
        y = y + (c if attrs.get("beta", 1.0) == 1 else (attrs["beta"] * c).astype(c.dtype))
    return activated(attrs, y if add is None else y + add)


def as_kernel(place: Any, turned: bool) -> Any:
    """A matrix (out, in), or turned (in, out), as a kernel of one tap; of several matrices the first."""
    if isinstance(place, np.ndarray):
        return (place.T if turned else place)[:, :, np.newaxis]
    base, offset, strides, item, _ = place
    return base, offset, (*(strides[:-3:-1] if turned else strides[-2:]), 0), item


def as_image(spot: tuple, transposed: bool = False) -> tuple:
    """A matrix (rows, features) as a batch of one signal, (1, features, rows)."""
    rows, features = spot[2][-2:][::-1] if transposed else spot[2][-2:]
    return as_rows(spot, rows, features)


def as_rows(spot: tuple, rows: int, features: int) -> tuple:
    """Rows and features of these steps as one signal, (1, features, rows)."""
    base, offset, _, item, _ = spot
    return base, offset, (0, features, rows), item


def as_pixels(rows: int, inner: int, columns: int) -> engine.Geometry:
    return engine.Geometry(*_shapes.conv(1, (1, inner, rows), (columns, inner, 1), 1, 0, 1, 1, "zeros", False))


def _matmul_infer(attrs: Attrs, a: Info, b: Info, c: Info | None = None, add: Info | None = None) -> list[Info]:
    one_dtype(a, b, c, add)
    left = a.shape if len(a.shape) > 1 else (1, *a.shape)
    right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    if left[-1] != right[-2]:
        raise ValueError(f"factors must share an axis, got shapes {a.shape} and {b.shape}")
    rows = left[-2:-1] if len(a.shape) > 1 else ()
    columns = right[-1:] if len(b.shape) > 1 else ()
    return [summed(Info((*np.broadcast_shapes(left[:-2], right[:-2]), *rows, *columns), a.dtype), add)]


def _lower_matmul(plan: Any, node: Any) -> bool:
    """Matrices of a batch in turn, or one matrix for all: rows are pixels of 1x1 convolutions."""
    a, b, c, add = take(node.inputs, 4)
    (sa, dtype, _), (sb, _, _), y = plan.info(a), plan.info(b), plan.info(node.outputs[0])
    bias = None if c is None else plan.constant(c)
    if not is_real(dtype) or min(len(sa), len(sb)) < 2 or 0 in y.shape or 0 in sa or (c is not None and bias is None):
        return False
    x, weight, out = plan.spot(a), plan.spot(b), plan.spot(node.outputs[0])
    if isinstance(x, np.ndarray) or _matmul_infer({}, plan.info(a), plan.info(b))[0].shape != y.shape:
        return False
    inner, columns = sb[-2:]
    steps = row_step(sa, x[2]), row_step(y.shape, out[2])
    if isinstance(weight, np.ndarray) and len(sb) == 2 and None not in steps:
        images = tuple(as_rows(spot, step, spot[2][-1]) for spot, step in zip((x, out), steps, strict=True))
        geometry = as_pixels(math.prod(sa[:-1]), inner, columns)
        lower_product(plan, node, geometry, images, b, as_kernel(weight, True), _TURNED, bias, add)
        return True
    return lower_batch(plan, node, x, weight, out, bias, add)


def row_step(shape: tuple[int, ...], strides: tuple[int, ...]) -> int | None:
    """The step of all axes but the last as one; None if they are none."""
    axes = [(size, stride) for size, stride in zip(shape[:-1], strides[:-1], strict=True) if size != 1]
    within = all(outer == size * stride for (_, outer), (size, stride) in itertools.pairwise(axes))
    return (axes[-1][1] if axes else strides[-1]) if within else None


# Products of up to so many multiply-adds are side by side on the threads where there are at least so many for each: by
# two threads that share each 192 of 49x32 with 32x49 take 0.84 ms, by one 0.82, side by side 0.43; 16 of 64 cubed take
# 0.78 of the time of sharing, of 100 cubed 0.80, of 160 cubed 0.96, of 320 cubed the same (Zen 3).
_SMALL_PRODUCT, _FEW_TURNS = 1 << 22, 4


def lower_batch(plan: Any, node: Any, x: Any, weight: Any, out: Any, bias: np.ndarray | None, add: Any) -> bool:
    """A product for each matrix of a batch, as one step that is repeated."""
    constant, batch = isinstance(weight, np.ndarray), out.shape[:-2]
    if constant and weight.ndim > 2:
        return False
    panels = plan.panels(weight, _TURNED) if constant else None
    kernel, activation = as_kernel(weight, True), node.attrs.get("activation", NONE)
    moving = [(x, as_image(x)), (out, as_image(out)), *([] if constant else [(weight, kernel)])]
    axes = joined(batch, [_batch_strides(spot, len(batch)) for spot, _ in moving])
    sizes = *x.shape[-2:], out.shape[-1]
    many = turns_at_once(axes) >= _FEW_TURNS * plan.program.threads > _FEW_TURNS
    apart, geometry = many and math.prod(sizes) <= _SMALL_PRODUCT, as_pixels(*sizes)
    place_sum(plan, node, add)
    for (signal, result, *own), turns, steps in in_turns(axes, [place for _, place in moving]):
        plan.program.turns(turns, 1, apart, 0)
        plan.program.conv(
            geometry, False, signal, own[0] if own else kernel, bias, result, add is not None, activation, engine.AUTO,
            panels,
        )  # fmt: skip
        plan.program.moving(*steps)
    return True


def _batch_strides(spot: Any, axes: int) -> list[int]:
    """The steps along the axes of a batch, 0 along those that are repeated."""
    own = [0 if size == 1 else stride for size, stride in zip(spot.shape[:-2], spot.strides[:-2], strict=True)]
    return [0] * (axes - len(own)) + own


@op("MatMul", infer=_matmul_infer, lower=_lower_matmul, apart=_by_rows, flops=lambda *a: _gemm_flops({}, *a[1:]))
def _matmul(attrs: Attrs, a, b, c=None, add=None) -> np.ndarray:
    y = _product(a, b)
    y = y if c is None else y + c
    return activated(attrs, y if add is None else y + add)
