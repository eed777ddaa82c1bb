"""Options given by name, and the codes that the engine knows them by."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import lru_cache

import numpy as np

from ._ext import engine
from ._numbers import number
from ._words import brief, with_type

LAYOUTS = ("NCHW", "NHWC")
PADDING_MODES = {
    "zeros": engine.ZEROS,
    "reflect": engine.REFLECT,
    "replicate": engine.REPLICATE,
    "circular": engine.CIRCULAR,
}
# Names of other libraries, and what they are here, for the messages of errors.
_ELSEWHERE = {
    "layout": {
        **dict.fromkeys(("NCW", "NCDHW", "channels_first"), ("NCHW",)),
        **dict.fromkeys(("NWC", "NDHWC", "channels_last"), ("NHWC",)),
    },
    "padding_mode": {
        **dict.fromkeys(("constant", "grid-constant", "fill", "zero"), ("zeros",)),
        **dict.fromkeys(("edge", "nearest", "replicate", "border"), ("replicate", "border")),
        **dict.fromkeys(("mirror", "reflect", "reflection"), ("reflect", "reflection")),
        **dict.fromkeys(("wrap", "grid-wrap"), ("circular",)),
    },
}
_REPEATS_EDGE = ("symmetric", "symm", "grid-mirror")  # names of a padding mode that convolutions do not have
ALGORITHMS = {
    "auto": engine.AUTO,
    "implicit_gemm": engine.IMPLICIT_GEMM,
    "im2col": engine.IM2COL,
    "direct": engine.DIRECT,
    "winograd": engine.WINOGRAD,
}
INTERPOLATIONS = ("nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area")
GRID_MODES = {"nearest": engine.NEAREST, "bilinear": engine.LINEAR, "bicubic": engine.CUBIC}
GRID_PADDINGS = {
    "zeros": engine.BORDER_ZEROS,
    "border": engine.BORDER_EDGE,
    "reflection": engine.BORDER_REFLECTION,
}


# The engine's code, parameters' names, and whether the derivative is one of the result, which a backward forms it from.
_ACTIVATIONS = {
    "relu": (engine.RELU, (), True),
    "leaky_relu": (engine.LEAKY_RELU, ("slope",), True),
    "sigmoid": (engine.SIGMOID, (), True),
    "tanh": (engine.TANH, (), True),
    "clip": (engine.CLIP, ("lo", "hi"), True),
    "silu": (engine.SILU, (), False),
    "gelu": (engine.GELU, (), False),
    "hard_swish": (engine.HARD_SWISH, (), False),
    "hard_sigmoid": (engine.HARD_SIGMOID, (), True),
    "elu": (engine.ELU, ("alpha",), True),
}
_PLAIN_ACTIVATIONS = {name: (code, 0.0, 0.0) for name, (code, labels, _) in _ACTIVATIONS.items() if not labels}
_OF_ARGUMENT = [name for name, (_, _, of_result) in _ACTIVATIONS.items() if not of_result]


def _forms(backward: bool) -> str:
    """Every form that the argument `activation` may have."""
    rows = [(name, labels) for name, (_, labels, of_result) in _ACTIVATIONS.items() if of_result or not backward]
    *forms, last = [f'("{name}", {", ".join(labels)})' if labels else f'"{name}"' for name, labels in rows]
    return f"None, {', '.join(forms)} or {last}"


# What docstrings say of `activation`, in a forward and in a backward call.
ACTIVATION_DOC = """\
"relu", ("leaky_relu", slope), "sigmoid", "tanh", ("clip", lo, hi), "silu", "gelu", "hard_swish",
        "hard_sigmoid" or ("elu", alpha), applied to the sum before it is stored; NaN passes through. Parameters are
        rounded to the call's dtype. "gelu" is x * Phi(x), "hard_sigmoid" clip(x + 3, 0, 6) / 6, "hard_swish" x
        times that."""
DERIVATIVE_DOC = """\
As in the forward call, but neither "silu" nor "gelu" nor "hard_swish", whose derivatives are no functions of y.
        With it g = grad * act'(y): relu, 1 where y > 0, else 0; leaky_relu, 1 where y > 0, else slope; sigmoid,
        y*(1 - y); tanh, 1 - y*y; clip, 1 where lo < y < hi, else 0; hard_sigmoid, 1/6 where 0 < y < 1, else 0; elu, 1
        where y > 0, else y + alpha. Without it g = grad."""
NO_ACTIVATION = (engine.IDENTITY, 0.0, 0.0)
BOUNDS = frozenset((engine.IDENTITY, engine.RELU, engine.CLIP))  # codes of activations that are no more than these


def one_of(value, choices: Collection[str], name: str) -> str:
    """A plain name, of those that an argument may have."""
    expected = f"{name} must be one of {', '.join(choices)}"
    if not isinstance(value, str):
        raise TypeError(f"{expected}, got {with_type(value)}")
    if value not in choices:
        here = [f", which is {meant!r} here" for meant in _ELSEWHERE.get(name, {}).get(value, ()) if meant in choices]
        if value in _REPEATS_EDGE and "reflect" in choices:
            here.append("; pad with np.pad(x, ..., mode='symmetric') first")
        raise ValueError(f"{expected}, got {brief(value)}{''.join(here)}")
    return str(value)


def of_kind(value, kind, name: str, expected: str) -> None:
    """Refuse what is not of this kind, which `isinstance` takes; in words it is what is expected."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {expected}, got {with_type(value)}")


def several(value, name: str, kind: str) -> tuple:
    """The items of a sequence, or of what else has some; a text, whose items are letters, is none."""
    try:
        if not isinstance(value, (str, bytes)):
            return tuple(value)
    except TypeError:
        pass
    raise TypeError(f"{name} must be a sequence of {kind}, got {with_type(value)}")


def name_of(code: int, codes: dict[str, int]) -> str:
    """What a code is called."""
    return next(name for name, at in codes.items() if at == code)


def channel_last(layout) -> bool:
    """Whether the layout has the channel axis last."""
    return one_of(layout, LAYOUTS, "layout") == "NHWC"


def padding_mode(mode) -> int:
    """The engine's code of a padding mode."""
    return PADDING_MODES[one_of(mode, PADDING_MODES, "padding_mode")]


def algorithm(name) -> int:
    """The engine's code of an algorithm."""
    return ALGORITHMS[one_of(name, ALGORITHMS, "algorithm")]


def interpolation(mode) -> str:
    """The interpolation mode of this name."""
    return one_of(mode, INTERPOLATIONS, "mode")


def interpolation_for(nd: int, mode: str, align_corners: bool, antialias: bool) -> None:
    """Refuse a mode that is for another number of spatial axes, whose elements have no corners, or no antialiasing."""
    axes = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}.get(mode, nd)
    if axes != nd:
        raise ValueError(
            f"mode must be for {nd} spatial axes, as many as x has beside batch and channels (one image is x[None]), "
            f"got {brief(mode)}, which is for {axes}"
        )
    interpolation_flags(mode, align_corners, antialias)


def interpolation_flags(mode: str, align_corners: bool, antialias: bool) -> None:
    """Refuse corners of a mode whose elements have none, and antialiasing where there is none."""
    for name, value, fits in (
        ("align_corners", align_corners, not mode.startswith("nearest") and mode != "area"),
        ("antialias", antialias, mode in ("bilinear", "bicubic")),
    ):
        if value and not fits:
            raise ValueError(f"{name} must be False where mode is {mode!r}, got True")


def grid_mode(mode, nd: int) -> int:
    """The engine's code of a sampling mode."""
    mode = one_of(mode, GRID_MODES, "mode")
    if mode == "bicubic" and nd == 3:
        raise ValueError("mode must be nearest or bilinear for x with 3 spatial axes, got 'bicubic'")
    return GRID_MODES[mode]


def grid_padding(mode) -> int:
    """The engine's code of what lies outside a sampled image."""
    return GRID_PADDINGS[one_of(mode, GRID_PADDINGS, "padding_mode")]


def flag(value, name: str) -> bool:
    """`value` as a plain bool; numbers are not taken for one."""
    of_kind(value, (bool, np.bool_), name, "a bool")
    return bool(value)


def activation(value) -> tuple[int, float, float]:
    """(code, a, b) of an activation; a and b are 0 where it has no use for them."""
    if value is None:
        return NO_ACTIVATION
    if isinstance(value, str) and value in _PLAIN_ACTIVATIONS:
        return _PLAIN_ACTIVATIONS[value]
    if type(value) is tuple:
        try:
            return _activation_of(*value)
        except TypeError:  # one that has no hash, or is refused, as it is again
            pass
    return _parsed_activation(value)


def _parsed_activation(value) -> tuple[int, float, float]:
    name, *parameters = value if isinstance(value, (tuple, list)) and value else (value,)
    if not isinstance(name, str):
        raise TypeError(f"activation must be {_forms(False)}, got {brief(value)}")
    code, labels, _ = _ACTIVATIONS.get(name, (engine.IDENTITY, (), False))
    if not labels or len(parameters) != len(labels):
        raise ValueError(f"activation must be {_forms(False)}, got {brief(value)}")
    forms = zip(parameters, labels, strict=True)
    numbers = (number(p, f"activation's {label}", "a real number", lambda _: True) for p, label in forms)
    a, b = (*(value + 0.0 for value in numbers), 0.0, 0.0)[:2]  # -0 as 0, for which it may be found
    if name in ("leaky_relu", "elu") and not (a >= 0 and math.isfinite(a)):
        raise ValueError(f"activation's {labels[0]} must be finite and at least 0, got {a}")
    if name == "clip" and not a <= b:
        raise ValueError(f"activation's lo must not exceed hi, got lo {a}, hi {b}")
    return code, a, 1.0 if name == "elu" else b  # the engine's ELU has a scale


# Every step asks for each layer's again. Of numbers that are equal, such as 1 and True, each type is known by itself.
_activation_of = lru_cache(maxsize=64, typed=True)(lambda *value: _parsed_activation(value))


def of_result(value) -> bool:
    """Whether the derivative of an activation is formed from its result."""
    return not isinstance(value, str) or value not in _OF_ARGUMENT


def activation_backward(value) -> tuple[int, float, float]:
    """(code, a, b) of an activation whose derivative is to be formed from its result."""
    codes = activation(value)
    if not of_result(value):
        raise ValueError(
            f"activation must be {_forms(True)} in a backward call, got {brief(value)}, whose derivative is no "
            "function of y: leave it out of both calls and apply it apart"
        )
    return codes


def need(value, names: tuple[str, ...]) -> tuple[bool, ...]:
    """For each of `names`, whether it is asked for; `value` is one name or several."""
    if value is names:
        return (True,) * len(names)
    if isinstance(value, str) and value in names:
        return tuple([name == value for name in names])
    try:
        chosen = (value,) if isinstance(value, str) else tuple(value)
    except TypeError:
        raise TypeError(f"need must be one or several of {', '.join(names)}, got {brief(value)}") from None
    for name in chosen:
        if type(name) is not str or name not in names:
            one_of(name, names, "need")
    return tuple([name in chosen for name in names])
