"""`verify`: whether convkit computes what it promises on this machine."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import reference
from ._threads import get_num_threads, threads
from ._words import counted
from .machine import available_isas, isa, set_isa
from .ops import conv, conv_transpose, deform, grid, linear, resize
from .ops import pool as pooling
from .reference import pool, resample

_FAMILIES = (conv, conv_transpose, deform, linear, pooling, resize, grid)
_MOVED = ("x", "offset", "mask", "grad", "y")  # their channels are last in NHWC
_MIXED = -(2.0**-140), 1e-30, -1e30, 0.0, -0.0  # among the deviates: denormal in float32, tiny, huge


class _Case(NamedTuple):
    """An operator, what is special, the shapes of its arrays with the channels first, and its sizes and options."""

    operator: str
    what: str
    shapes: dict[str, tuple[int, ...]]
    options: dict[str, Any] = {}


def _as_a_whole(options: Mapping[str, Any]) -> bool:
    """Whether results have a bound of all elements together, and none of each."""
    return options.get("algorithm") == "winograd"


def _conv(x: tuple[int, ...], weight: tuple[int, ...], bias: int) -> dict[str, tuple[int, ...]]:
    return {"x": x, "weight": weight, "bias": (bias,)}


_CASES = (
    _Case("conv1d", "stride 3", _conv((2, 3, 41), (5, 3, 4), 5), {"stride": 3, "padding": 2}),
    _Case(
        "conv2d",
        "implicit_gemm",
        _conv((2, 19, 13, 11), (37, 19, 3, 3), 37),
        {"padding": 1, "algorithm": "implicit_gemm"},
    ),
    _Case(
        "conv2d",
        "grouped, stride 2",
        _conv((2, 6, 12, 13), (8, 3, 3, 2), 8),
        {"padding": ((1, 2), (0, 1)), "stride": 2, "groups": 2},
    ),
    _Case(
        "conv2d",
        "depthwise, dilated",
        _conv((2, 21, 14, 17), (21, 1, 3, 3), 21),
        {"padding": 2, "dilation": 2, "groups": 21},
    ),
    _Case("conv2d", "reflecting", _conv((1, 5, 9, 8), (7, 5, 3, 3), 7), {"padding": 2, "padding_mode": "reflect"}),
    _Case("conv2d", "1x1", _conv((3, 64, 12, 12), (48, 64, 1, 1), 48)),
    _Case("conv2d", "im2col", _conv((2, 3, 9, 9), (4, 3, 3, 3), 4), {"algorithm": "im2col", "dilation": (2, 1)}),
    _Case("conv2d", "no images", _conv((0, 3, 5, 5), (4, 3, 3, 3), 4)),
    _Case("conv2d", "winograd", _conv((2, 35, 14, 17), (22, 35, 3, 3), 22), {"padding": 1, "algorithm": "winograd"}),
    _Case("conv3d", "3x2x3", _conv((1, 4, 5, 6, 7), (6, 4, 3, 2, 3), 6), {"padding": 1}),
    _Case("conv_transpose2d", "stride 2, 3", _conv((2, 7, 6, 5), (7, 9, 4, 3), 9), {"stride": (2, 3), "padding": 1}),
    _Case(
        "deform_conv2d",
        "with a mask",
        _conv((1, 4, 7, 8), (6, 4, 3, 3), 6) | {"offset": (1, 18, 7, 8), "mask": (1, 9, 7, 8)},
        {"padding": 1},
    ),
    _Case("linear", "", _conv((9, 70), (33, 70), 33)),
    _Case("max_pool2d", "stride 2", {"x": (2, 3, 11, 10)}, {"kernel_size": 3, "stride": 2, "padding": 1}),
    _Case("avg_pool2d", "ceil_mode", {"x": (2, 3, 11, 10)}, {"kernel_size": (3, 2), "padding": 1, "ceil_mode": True}),
    _Case("interpolate", "bilinear", {"x": (2, 3, 7, 9)}, {"size": (13, 8), "mode": "bilinear"}),
    _Case("grid_sample", "bilinear", {"x": (1, 3, 8, 7), "grid": (1, 5, 6, 2)}),
)


@dataclass(frozen=True)
class Check:
    """What `verify` found about one call.

    Attributes
    ----------
    operator, what, isa : str
        The function, what is special about the call, and the instruction set that computed.
    results : int
        How many arrays were compared.
    error : float
        The largest error of an element, as a share of what rounding allows.
    wrong : tuple of str
        What did not hold; empty if all did.
    """

    operator: str
    what: str
    isa: str
    results: int
    error: float
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Verification:
    """What `verify` found: `checks`, a `Check` for each call, and whether all is right, `ok`."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not any(check.wrong for check in self.checks)

    def __str__(self) -> str:
        lines = [f"{'operator':18}{'':20}{'kernels':10}{'results':>8}{'error / bound':>15}"]
        for check in self.checks:
            verdict = "  WRONG: " + "; ".join(check.wrong) if check.wrong else ""
            row = f"{check.operator:18}{check.what:20}{check.isa:10}{check.results:8}{check.error:15.2f}"
            lines.append(row + verdict)
        lines += [
            "results: arrays that were compared: outputs and gradients, of each dtype and layout",
            "error / bound: the largest error of an element, as a share of what rounding allows; up to 1 is right",
        ]
        failed = sum(bool(check.wrong) for check in self.checks)
        right = f"{counted(len(self.checks), 'call')}: all right"
        return "\n".join([*lines, f"{counted(failed, 'call')} WRONG" if failed else right])


def verify() -> Verification:
    """Compute small problems of every family on this machine, and compare them with what they mean.

    On each of `available_isas`, in both dtypes and layouts, forward and every gradient, each element has to be as far
    from `convkit.reference`, which is plain NumPy in float64, as rounding allows; several threads have to give the bits
    of one. The problems have sizes that fit no vector, views that run backwards, numbers from denormal to huge, and an
    empty batch; all of Winograd's results together are held to 2e-5. It takes a second or two.

    Returns
    -------
    Verification
        ``ok``, whether everything was right, and a `Check` for each call; its ``str`` is a table.

    Notes
    -----
    Meanwhile `set_isa` is called for the whole process; afterwards the instruction set is what it was. That a machine
    computes rightly is no more than likely if these few do: the tests have thousands of problems.

    Examples
    --------
    >>> import convkit
    >>> convkit.verify().ok
    True
    """
    before = isa()
    try:
        return Verification(tuple(_checks()))
    finally:
        set_isa(before)


def _checks() -> Iterator[Check]:
    for name in available_isas():
        set_isa(name)
        for index, case in enumerate(_CASES):
            wrong: list[str] = []
            errors: list[float] = []
            for dtype in ("float32", "float64"):
                _check(case, _operands(case, dtype, index), errors, wrong)
            yield Check(
                case.operator, case.what, name, len(errors), max(errors, default=0.0), tuple(dict.fromkeys(wrong))
            )


def _operands(case: _Case, dtype: str, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    data = {name: rng.standard_normal(shape).astype(dtype) for name, shape in case.shapes.items()}
    if "grid" in data:
        data["grid"] = np.tanh(data["grid"])  # inside the image, mostly
    elif data["x"].size and not _as_a_whole(case.options):
        data["x"].flat[: len(_MIXED)] = np.array(_MIXED).astype(dtype)
    return data


def _check(case: _Case, data: dict[str, np.ndarray], errors: list[float], wrong: list[str]) -> None:
    """One call and its gradients, in both layouts and on several threads: adds what was found."""
    dtype = data["x"].dtype
    y_shape = np.shape(getattr(reference, case.operator)(**data, **case.options))
    grad = np.random.default_rng(1).standard_normal(y_shape).astype(dtype)
    calls = {case.operator: data}
    if case.operator != "max_pool2d":  # whose gradient moves numbers that indices name
        calls[f"{case.operator}_backward"] = data | {"grad": grad, "x_shape": data["x"].shape}
    for name, given in calls.items():
        function, means = _operator(name), getattr(reference, name)
        known = inspect.signature(means).parameters
        arguments = {key: value for key, value in given.items() if key in known}
        options = {key: value for key, value in case.options.items() if key in known}
        expected, allowed = _results(means(**arguments, **options)), _allowed(name, arguments, options, dtype)
        for layout in ("NCHW", "NHWC") if "layout" in known else ("",):
            what = f"{name} in {dtype}{', ' + layout if layout else ''}"
            got, several = (_call(function, arguments, options, layout, n) for n in (1, max(3, get_num_threads())))
            for key, value in expected.items():
                errors.append(_share(got[key], value, None if _as_a_whole(options) else allowed[key]))
                if not errors[-1] <= 1:
                    wrong.append(f"{key} of {what}: {errors[-1]:.3g} times the bound")
                if several[key].tobytes() != got[key].tobytes():
                    wrong.append(f"{key} of {what}: other bits on several threads")


def _operator(name: str) -> Callable[..., Any]:
    return next(getattr(family, name) for family in _FAMILIES if hasattr(family, name))


def _call(
    function: Callable[..., Any], arguments: Mapping[str, Any], options: Mapping[str, Any], layout: str, count: int
) -> dict[str, np.ndarray]:
    """The results with their channels first, of views whose last axis runs backwards in memory."""
    given = {key: _view(value, key in _MOVED and layout == "NHWC") for key, value in arguments.items()}
    if layout == "NHWC" and "x_shape" in given:
        first, channels, *rest = given["x_shape"]
        given["x_shape"] = (first, *rest, channels)
    with threads(count):
        results = _results(function(**given, **options, **({"layout": layout} if layout else {})))
    last = layout == "NHWC"
    return {key: np.moveaxis(value, -1, 1) if last and key in _MOVED else value for key, value in results.items()}


def _view(value: Any, last: bool) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    value = np.moveaxis(value, 1, -1) if last else value
    return np.ascontiguousarray(value[..., ::-1])[..., ::-1]


def _results(result: Any) -> dict[str, np.ndarray]:
    """Arrays by name: "y", or those of gradients that there are."""
    if hasattr(result, "_asdict"):
        return {name: array for name, array in result._asdict().items() if array is not None}
    return {"y": result}


def _allowed(name: str, arguments: dict[str, Any], options: dict[str, Any], dtype: np.dtype) -> dict[str, np.ndarray]:
    """What rounding allows each element, derived by the reference."""
    if name == "max_pool2d":  # exact
        return {"y": np.zeros(np.shape(reference.max_pool2d(**arguments, **options)))}
    judge = pool if "pool" in name else resample if hasattr(resample, name) else reference
    return _results(judge.bound(name, **arguments, **options, dtype=dtype))


def _share(got: np.ndarray, expected: np.ndarray, allowed: np.ndarray | None) -> float:
    """The largest error of an element as a share of what it may be; infinite where one is no number, or shapes differ.

    Without what it may be, the error of all together, as a share of 2e-5 in float32, and of as many units in float64.
    """
    if got.shape != expected.shape:
        return float("inf")
    error = np.abs(got.astype(np.float64) - expected)
    if allowed is None:
        most = 2e-5 * float(np.finfo(got.dtype).eps / np.finfo(np.float32).eps)
        share = np.linalg.norm(error) / np.linalg.norm(expected) / most
    else:
        share = np.where(error == 0, 0.0, error / np.maximum(allowed, np.finfo(np.float64).tiny))
    return float(np.max(np.where(np.isnan(share), np.inf, share), initial=0.0))
