"""What layers of images say of themselves to a graph: arguments as ONNX's attributes, layouts as transpositions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._shapes import paddings, plain_padding

_AUTO_PAD = {"same": "SAME_UPPER", "same_upper": "SAME_UPPER", "same_lower": "SAME_LOWER"}


def pads(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> dict[str, Any]:
    """The argument `padding`, in every form, as attributes."""
    padding, nd = plain_padding(padding), len(kernel)
    if padding in _AUTO_PAD:
        return {"auto_pad": _AUTO_PAD[padding]}
    lo, hi = paddings(padding, (1,) * nd, kernel, (1,) * nd, dilation)
    return {"pads": (*lo, *hi)}


def on_images(x: Any, nd: int, layout: str, emit: Callable[[Any], Any]) -> Any:
    """What `emit` makes of ``(N, C, *spatial)``, for an x of that layout, or without a batch."""
    alone, last = x.ndim == nd + 1, layout == "NHWC"
    if alone:
        x = x.emit("Unsqueeze", np.array([0], np.int64))
    if last:
        x = x.emit("Transpose", perm=(0, nd + 1, *range(1, nd + 1)))
    y = emit(x)
    if last:
        y = y.emit("Transpose", perm=(0, *range(2, nd + 2), 1))
    return y.emit("Squeeze", np.array([0], np.int64)) if alone else y


_PLAIN = {
    "relu": ("Relu", {}), "sigmoid": ("Sigmoid", {}), "tanh": ("Tanh", {}), "silu": ("Swish", {}), "gelu": ("Gelu", {}),
    "hard_swish": ("HardSwish", {}), "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
}  # fmt: skip


def activated(y: Any, activation: Any) -> Any:
    """A value after the activation that a layer was given."""
    if activation is None:
        return y
    name, *numbers = (activation,) if isinstance(activation, str) else activation
    if name in _PLAIN:
        op, attrs = _PLAIN[name]
        return y.emit(op, **attrs)
    if name == "clip":
        return y.emit("Clip", *(np.asarray(bound, y.dtype) for bound in numbers))
    return y.emit({"leaky_relu": "LeakyRelu", "elu": "Elu"}[name], alpha=float(numbers[0]))


def resize_attributes(mode: str, align_corners: bool, antialias: bool) -> dict[str, Any]:
    """A mode of `convkit.interpolate` as attributes of Resize."""
    if mode == "nearest":
        return {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if mode == "nearest-exact":
        return {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}
    if align_corners and antialias:
        raise TypeError("align_corners with antialias has no node in a graph")
    where = "align_corners" if align_corners else "half_pixel"
    more: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": where}
    if mode == "bicubic":
        more |= {"mode": "cubic", "cubic_coeff_a": -0.5 if antialias else -0.75}
    return more | ({"antialias": 1, "exclude_outside": 1} if antialias else {})
