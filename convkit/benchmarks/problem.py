"""A layer in one direction, with its operands; and convkit's calls of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import convkit

from .._extras import MissingExtraError
from .._timing import Contender
from .layers import DEFORMABLE, Layer

DIRECTIONS = ("forward", "x", "weight", "backward")
PASSES = {"forward": 1, "x": 1, "weight": 1, "backward": 2}  # FLOPs, as multiples of the forward pass's
OPERATORS = {"conv": "conv{}d", "convT": "conv_transpose{}d", "dcn": "deform_conv{}d", "dcn2": "deform_conv{}d"}
IMAGES = ("x", "y", "grad", "offset", "mask")  # arrays whose channel axis the layout moves


class NotOfferedError(Exception):
    """A peer has no operator for a problem; the message says which."""


@dataclass(frozen=True)
class Setting:
    """What is the same for all layers of a run."""

    dtype: str = "float32"
    layout: str = "NCHW"
    threads: int = 1
    algorithm: str = "auto"
    prepared: bool = False  # weights laid out ahead of the calls


@dataclass(frozen=True)
class Problem:
    """A layer in one direction."""

    layer: Layer
    direction: str
    setting: Setting

    @property
    def flops(self) -> int:
        """FLOPs of the direction, one multiply-add = 2, taps on padding counted."""
        return PASSES[self.direction] * self.layer.flops

    @property
    def bytes(self) -> int:
        """Bytes that have to be read and written: each operand once, each result once."""
        counts = self.layer.elements
        read = sum(counts.values()) - (counts["y"] if self.direction == "forward" else 0)
        if self.direction in ("x", "weight"):
            read -= counts[self.direction]
        written = sum(counts[name] for name in self.results if name != "bias")
        return (read + written) * np.dtype(self.setting.dtype).itemsize

    @property
    def winograd(self) -> bool:
        """Whether Winograd's algorithm runs, for one gradient at least: with fewer products than `flops` counts."""
        if self.layer.kind in DEFORMABLE:
            return False
        directions = ("x", "weight") if self.direction == "backward" else (self.direction,)
        return "winograd" in [self.explained(direction).algorithm for direction in directions]

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the arrays that the call gives."""
        if self.direction != "backward":
            return ("y",) if self.direction == "forward" else (self.direction,)
        extra = {"dcn": ("offset",), "dcn2": ("offset", "mask")}.get(self.layer.kind, ())
        return ("x", *extra, "weight", "bias")

    @cached_property
    def operands(self) -> dict[str, np.ndarray]:
        """x, weight, bias, and grad of a gradient; offset and mask of a deformable layer: channels first.

        All are N(0, 1), the mask uniform in 0..1.
        """
        layer, rng = self.layer, np.random.default_rng(0)
        shapes = {"x": layer.x_shape, "weight": layer.weight_shape, "bias": (layer.c_out,)}
        if self.direction != "forward":
            shapes["grad"] = layer.y_shape
        taps = math.prod(layer.kernel)
        if layer.kind in DEFORMABLE:
            shapes["offset"] = (layer.n, layer.nd * taps, *layer.out_spatial)
        data = {name: rng.standard_normal(shape, self.setting.dtype) for name, shape in shapes.items()}
        if layer.kind == "dcn2":
            data["mask"] = rng.random((layer.n, taps, *layer.out_spatial), self.setting.dtype)
        return data

    def explained(self, direction: str) -> convkit.Explanation:
        """What `convkit.explain` says of the layer, which is none that is deformable, in one direction."""
        layer, setting, x_shape = self.layer, self.setting, self.layer.x_shape
        if setting.layout == "NHWC":
            x_shape = (x_shape[0], *x_shape[2:], x_shape[1])
        return convkit.explain(
            OPERATORS[layer.kind].format(layer.nd), x_shape, layer.weight_shape, direction=direction,
            dtype=setting.dtype, layout=setting.layout, algorithm=setting.algorithm, groups=layer.groups,
            **self.sizes(),
        )  # fmt: skip

    def sizes(self) -> dict[str, Any]:
        """stride, padding and dilation for each axis."""
        layer = self.layer
        return {"stride": (layer.stride,) * layer.nd, "padding": layer.pads, "dilation": (layer.dilation,) * layer.nd}


def ours(problem: Problem) -> tuple[Contender, Contender]:
    """convkit's calls: with `out=`, and with results allocated by each call."""
    layer, setting = problem.layer, problem.setting
    moved = IMAGES if setting.layout == "NHWC" else ()
    data = {name: _channels_last(array) if name in moved else array for name, array in problem.operands.items()}
    operator = OPERATORS[layer.kind].format(layer.nd)
    options = problem.sizes() | {"layout": setting.layout}
    if layer.kind not in DEFORMABLE:  # which has neither: its weight says the groups, and there is one algorithm
        options |= {"groups": layer.groups, "algorithm": setting.algorithm}
    if problem.direction == "forward":
        call = getattr(convkit, operator)
    else:
        del data["bias"]
        call, options["need"] = getattr(convkit, operator + "_backward"), problem.results
    if setting.prepared:
        if problem.direction != "forward" or layer.kind in DEFORMABLE:
            raise ValueError("only the forward pass of convolutions that are not deformable can be prepared")
        call = getattr(convkit, f"prepare_{operator}")(data.pop("weight"), data.pop("bias"), **options)
        options = {}
    given = data | options

    def read(result: Any) -> dict[str, np.ndarray]:
        named = {"y": result} if problem.direction == "forward" else result._asdict()
        return {name: np.moveaxis(named[name], -1, 1) if name in moved else named[name] for name in problem.results}

    fresh = Contender("fresh", lambda: call(**given), read)
    out = fresh.call()  # as large as what is wanted, in the right layout
    return Contender("convkit", lambda: call(**given, out=out), read), fresh


def _channels_last(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


# ---------------------------------------------------------------- agreement

# Of the L2 norms, and of the largest difference to the root mean square. float32 results summed in another order differ
# by 1e-7 to 1e-6 of the norm, by Winograd on large tiles by up to 2e-4; with operands rounded to 11 bits by 4e-4.
NORM_DIFFERS, LARGEST_DIFFERS = 2.5e-4, 2e-2


def difference(got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> str | None:
    """How the results `got` differ from those `wanted`, in words, or None where they agree but for rounding."""
    for name, expected in wanted.items():
        result = np.asarray(got[name])
        if result.shape != expected.shape:
            return f"{name} has shape {result.shape}, not {expected.shape}"
        distance = result.astype(np.float64) - expected
        scale = math.sqrt(np.mean(np.square(expected, dtype=np.float64)))
        norm, largest = math.sqrt(np.mean(np.square(distance))), np.abs(distance).max()
        if not (norm <= NORM_DIFFERS * scale and largest <= LARGEST_DIFFERS * scale):
            return f"{name} differs by {norm / (scale or 1):.1e} of its norm, at most by {largest / (scale or 1):.1e}"
    return None


def agreeing(
    build: Callable[[], Contender], wanted: Mapping[str, np.ndarray]
) -> tuple[Contender, None] | tuple[None, str]:
    """A peer's contender, or why it is not timed: it cannot do the call, or its result differs from what is wanted."""
    try:
        peer = build()
        why = difference(peer.read(peer.call()), wanted)
    except MissingExtraError:
        raise
    except NotOfferedError as error:
        return None, str(error)
    except Exception as error:  # whatever a library says of what it cannot do; it is reported in its words
        return None, f"{type(error).__name__}: {error}"
    return (peer, None) if why is None else (None, f"its result differs: {why}")
