"""Rows of further operators on numbers: bits, types, determinants, chance, and activations that the engine has not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .elements import broadcast, same
from .table import OPS, Attrs, Info, Op, op

# ---------------------------------------------------------------- sums of many, remainders, bits


def _sum(attrs: Attrs, first: np.ndarray, *others: np.ndarray) -> np.ndarray:
    for other in others:
        first = first + other
    return first


OPS["Mean"] = Op(
    lambda attrs, *arrays: _sum(attrs, *arrays) / arrays[0].dtype.type(len(arrays)), broadcast, elementwise=True
)


@op("Mod", infer=broadcast, elementwise=True)
def _mod(attrs: Attrs, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.fmod(a, b) if attrs.get("fmod", 0) or a.dtype.kind == "f" else np.mod(a, b)


@op("BitShift", infer=broadcast, elementwise=True)
def _bit_shift(attrs: Attrs, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.left_shift(a, b) if attrs["direction"] == "LEFT" else np.right_shift(a, b)


for _name, _function in {
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}.items():  # fmt: skip
    OPS[_name] = Op(lambda attrs, a, b, f=_function: f(a, b), broadcast, elementwise=True)
OPS["BitwiseNot"] = Op(lambda attrs, x: np.invert(x), same, elementwise=True)


# ---------------------------------------------------------------- types


@op("CastLike", infer=lambda attrs, x, like: [Info(x.shape, like.dtype)])
def _cast_like(attrs: Attrs, x: np.ndarray, like: np.ndarray) -> np.ndarray:
    return x.astype(like.dtype)


@op("BitCast", infer=lambda attrs, x: [Info(x.shape, np.dtype(attrs["to"]))])
def _bit_cast(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(attrs["to"]).reshape(x.shape)


@op("IsInf", infer=lambda attrs, x: [Info(x.shape, np.dtype(bool))], elementwise=True)
def _is_inf(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    up, down = attrs.get("detect_positive", 1), attrs.get("detect_negative", 1)
    return (np.isposinf(x) & bool(up)) | (np.isneginf(x) & bool(down))


# ---------------------------------------------------------------- activations


def _piecewise(function: Callable) -> Callable[..., np.ndarray]:
    return lambda attrs, x: function(attrs, x).astype(x.dtype)


def _celu(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    alpha = attrs.get("alpha", 1.0)
    return np.maximum(x, 0) + np.minimum(alpha * np.expm1(np.minimum(x / alpha, 0)), 0)


def _shrink(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    bias, limit = attrs.get("bias", 0.0), attrs.get("lambd", 0.5)
    return np.where(x < -limit, x + bias, np.where(x > limit, x - bias, 0))


for _name, _function in {
    "Celu": _celu, "Shrink": _shrink,
    "ThresholdedRelu": lambda attrs, x: np.where(x > attrs.get("alpha", 1.0), x, 0),
}.items():  # fmt: skip
    OPS[_name] = Op(_piecewise(_function), same, elementwise=True)


# ---------------------------------------------------------------- matrices


@op("Det", infer=lambda attrs, x: [Info(x.shape[:-2], x.dtype)])
def _det(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.det(x), x.dtype)


# ---------------------------------------------------------------- chance


def _random_infer(attrs: Attrs, x: Info | None = None) -> list[Info]:
    shape = tuple(attrs["shape"]) if x is None else x.shape
    return [Info(shape, np.dtype(attrs.get("dtype", np.float32 if x is None else x.dtype)))]


def _random(draw: Callable) -> Callable[..., np.ndarray]:
    def run(attrs: Attrs, x: np.ndarray | None = None) -> np.ndarray:
        seed = attrs.get("seed")
        info = _random_infer(attrs, None if x is None else Info(x.shape, x.dtype))[0]
        generator = np.random.default_rng(None if seed is None else np.float32(seed).view(np.uint32))
        return np.asarray(draw(attrs, generator, info.shape)).astype(info.dtype)

    return run


def _normal(attrs: Attrs, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.normal(attrs.get("mean", 0.0), attrs.get("scale", 1.0), shape)


def _uniform(attrs: Attrs, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.uniform(attrs.get("low", 0.0), attrs.get("high", 1.0), shape)


for _name, _draw in {"Normal": _normal, "Uniform": _uniform}.items():
    for _suffix in ("", "Like"):
        OPS[f"Random{_name}{_suffix}"] = Op(_random(_draw), _random_infer, fixed=False)


@op("Bernoulli", infer=_random_infer, fixed=False)
def _bernoulli(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    return _random(lambda attrs, generator, shape: generator.random(shape) < x)(attrs, x)


@op(
    "DropoutInTraining",
    infer=lambda attrs, x, *_: [Info(x.shape, x.dtype), Info(x.shape, np.dtype(bool))],
    fixed=False,
)
def _dropout(attrs: Attrs, x: np.ndarray, ratio: np.ndarray | None, training: np.ndarray) -> tuple:
    """By the numbers that onnx's reference draws for the same seed."""
    ratio = 0.5 if ratio is None else float(ratio.reshape(()))
    if not training.any():
        return x, np.ones(x.shape, bool)
    kept = np.random.RandomState(attrs.get("seed")).uniform(0, 1, x.shape) >= ratio
    return (x * kept / (1 - ratio)).astype(x.dtype) if ratio < 1 else np.zeros_like(x), kept
