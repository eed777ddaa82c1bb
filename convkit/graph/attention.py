"""Rows of the operators of transformers: attention, and the rotation of places into its operands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._limits import difference
from .table import Attrs, Info, op


def _heads(attrs: Attrs, x: Any, name: str) -> tuple[int, int, int, int]:
    """(batch, heads, length, size of a head)."""
    if len(x.shape) == 4:
        return tuple(x.shape)
    count = attrs.get(name, 0)
    if len(x.shape) != 3 or count <= 0 or x.shape[2] % count:
        raise ValueError(f"{name} must divide the last of three axes, got {count} for {x.shape}")
    return x.shape[0], count, x.shape[1], x.shape[2] // count


def _split(attrs: Attrs, x: np.ndarray, name: str) -> np.ndarray:
    """As (batch, heads, length, size)."""
    n, heads, length, size = _heads(attrs, x, name)
    return x if x.ndim == 4 else x.reshape(n, length, heads, size).transpose(0, 2, 1, 3)


def _infer(
    attrs: Attrs, q: Info, k: Info, v: Info, mask=None, past_k: Info | None = None, *_: Info | None
) -> list[Info]:
    n, heads, length, size = _heads(attrs, q, "q_num_heads")
    _, few, keys, depth = _heads(attrs, k, "kv_num_heads")
    width = _heads(attrs, v, "kv_num_heads")[3]
    keys += past_k.shape[2] if past_k is not None else 0
    y = (n, heads, length, width) if len(q.shape) == 4 else (n, length, heads * width)
    scores = Info((n, heads, length, keys), q.dtype)
    return [Info(y, q.dtype), Info((n, few, keys, depth), k.dtype), Info((n, few, keys, width), v.dtype), scores]


@op("Attention", infer=_infer)
def _attention(attrs: Attrs, q, k, v, mask=None, past_k=None, past_v=None, valid=None) -> tuple[np.ndarray, ...]:
    """softmax(q k' * scale + mask) v, heads of q sharing those of k and v; and what a next call calls the past."""
    flat = q.ndim == 3
    q, k, v = (_split(attrs, x, f"{name}_num_heads") for x, name in ((q, "q"), (k, "kv"), (v, "kv")))
    before = 0 if past_k is None else past_k.shape[2]
    k = k if past_k is None else np.concatenate([past_k, k], 2)
    v = v if past_v is None else np.concatenate([past_v, v], 2)
    groups = q.shape[1] // k.shape[1]
    keys, values = (np.repeat(x, groups, 1) if groups > 1 else x for x in (k, v))
    scale = attrs.get("scale") or 1 / math.sqrt(q.shape[-1])
    root = q.dtype.type(math.sqrt(scale))
    scores = (q * root) @ (keys * root).swapaxes(-1, -2)
    seen = [scores]  # of which the last output is one
    cap, bias = attrs.get("softcap", 0.0), _bias(attrs, mask, valid, scores.shape, before, q.dtype)
    scores = np.tanh(scores / cap) * q.dtype.type(cap) if cap else scores
    seen.append(scores)
    scores = scores if bias is None else _added(scores, bias)
    seen.append(scores)
    largest = scores.max(-1, keepdims=True, initial=-math.inf)
    weights = np.exp(difference(scores, largest))
    weights[np.broadcast_to(largest == -math.inf, weights.shape)] = 0  # who may look at nothing gets nothing
    total = weights.sum(-1, keepdims=True)
    weights /= np.where(total == 0, 1, total)
    seen.append(weights)
    y = weights @ values
    y = y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1) if flat else y
    return y, k, v, seen[attrs.get("qk_matmul_output_mode", 0)]


def _added(scores: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The sum; minus infinity in the bias hides any score."""
    scores = scores + bias
    np.copyto(scores, -math.inf, where=bias == -math.inf)
    return scores


def _bias(attrs: Attrs, mask, valid, shape: tuple[int, ...], before: int, dtype: np.dtype) -> np.ndarray | None:
    """What is added to the scores: 0 or minus infinity where the mask is of bools, of what is to come, of padding."""
    n, _, length, keys = shape
    bias = None
    if mask is not None:
        bias = np.where(mask, dtype.type(0), dtype.type(-np.inf)) if mask.dtype == bool else mask
        if bias.shape[-1] < keys:
            sides = [(0, 0)] * (bias.ndim - 1) + [(0, keys - bias.shape[-1])]
            bias = np.pad(bias, sides, constant_values=-np.inf)
    if attrs.get("is_causal", 0):
        first = before if valid is None else (valid - length).reshape(-1, 1, 1, 1)
        hidden = np.arange(keys) > np.arange(length)[:, np.newaxis] + first
        causal = np.where(hidden, dtype.type(-np.inf), dtype.type(0))
        bias = causal if bias is None else bias + causal
    if valid is not None:
        padding = np.where(np.arange(keys) < valid.reshape(n, 1, 1, 1), dtype.type(0), dtype.type(-np.inf))
        bias = padding if bias is None else bias + padding
    return bias


@op("RotaryEmbedding", infer=lambda attrs, x, *_: [Info(x.shape, x.dtype)])
def _rotary(attrs: Attrs, x, cosines, sines, places=None) -> np.ndarray:
    """Pairs of features turned by an angle for each place."""
    heads = _split(attrs, x, "num_heads")
    cosines, sines = (t if places is None else t[places] for t in (cosines, sines))  # (batch, length, size / 2)
    cosines, sines = (t[:, np.newaxis] for t in (cosines, sines))
    turned = attrs.get("rotary_embedding_dim", 0) or heads.shape[-1]
    part, y = heads[..., :turned], np.array(heads)
    if attrs.get("interleaved", 0):
        first, second, places_of = part[..., 0::2], part[..., 1::2], (slice(0, turned, 2), slice(1, turned, 2))
    else:
        first, second = np.split(part, 2, -1)
        places_of = slice(0, turned // 2), slice(turned // 2, turned)
    y[..., places_of[0]] = first * cosines - second * sines
    y[..., places_of[1]] = first * sines + second * cosines
    return y if x.ndim == 4 else y.transpose(0, 2, 1, 3).reshape(x.shape)
