"""Is a backward right?  Ask the forward."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._numbers import generator, number
from .._options import flag, of_kind
from .._shapes import at_least
from .._typing import Rng
from .._words import with_type
from ..nn.module import Module


@dataclass(frozen=True)
class GradientCheck:
    """How one array's gradient compares, at its worst element.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import analysis, nn
    >>> report = analysis.check_gradients(nn.Linear(3, 2, rng=0), np.ones((4, 3)))
    >>> [(check.name, check.shape, check.checked) for check in report.entries]
    [('input', (4, 3), 12), ('weight', (2, 3), 6), ('bias', (2,), 2)]
    """

    name: str
    shape: tuple[int, ...]
    checked: int
    error: float
    index: tuple[int, ...]
    analytic: float
    numeric: float


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found: one entry for the input and for every parameter that learns.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import analysis
    >>> def wrong(x):
    ...     return (x**2).sum(), x  # where 2 * x is right
    >>> report = analysis.check_gradients(wrong, np.array([1.0, 2.0]), raise_error=False)
    >>> report.ok, round(report.error, 2)
    (False, 0.5)
    """

    entries: tuple[GradientCheck, ...]
    rtol: float

    @property
    def error(self) -> float:
        """The largest relative error of all."""
        return max((entry.error for entry in self.entries), default=0.0)

    @property
    def ok(self) -> bool:
        """Whether it is within the tolerance (a NaN is not)."""
        return all(entry.error <= self.rtol for entry in self.entries)

    def __str__(self) -> str:
        lines = [f"{'gradient of':<20} {'shape':<18} {'checked':>7} {'worst error':>12}   analytic and numeric, where"]
        for e in self.entries:
            flag = "" if e.error <= self.rtol else "  <-- wrong"
            values = f"{e.analytic:.9g} and {e.numeric:.9g}, at {e.index}" if e.checked else "(empty)"
            lines.append(f"{e.name:<20} {e.shape!s:<18} {e.checked:>7} {e.error:>12.1e}   {values}{flag}")
        return "\n".join(lines)


def check_gradients(
    target: Module | Callable[..., tuple[Any, np.ndarray]],
    x: np.ndarray,
    *args: Any,
    step: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    max_elements: int | None = None,
    rng: Rng = 0,
    raise_error: bool = True,
) -> GradientReport:
    """Compare a layer's, a model's or a loss's gradients with central differences in float64.

    Parameters
    ----------
    target : Module or function
        A module is checked as ``sum(v * module(x))`` for a random v, in its input and in every parameter that learns.
        It is copied first, the copy in float64: its own parameters and gradients stay as they are. Every evaluation
        begins with the generators that are attributes of its layers in the same place, so that dropout drops the same.
        A function ``target(x, *args) -> (value, grad)``, such as a loss, is checked in `x`; an array `value` is summed.
    x : ndarray
        Where to check; converted to float64. Central differences see both sides of a kink, so stay `step` away from
        one: ReLU at 0, or samples of a deformable layer at whole positions, as a fresh one's are: give the bias of its
        ``conv_offset`` values between 0 and 1 first.
    *args
        Passed on after `x`.
    step : float, default 1e-6
        Half the distance between the two points.
    rtol, atol : float
        A gradient g passes where ``|g - numeric| <= rtol * |numeric| + atol``. `atol` covers the rounding of the
        difference, about ``1e-16 * |value| / step``.
    max_elements : int or None
        Look at so many elements of each array, chosen at random; None looks at all.
    rng : numpy.random.Generator, int or None
        Source of v and of the elements chosen.
    raise_error : bool, default True
        Whether a gradient that does not pass is an error.

    Returns
    -------
    GradientReport
        `ok`, `error` (the largest ``|g - numeric| / (|numeric| + atol / rtol)``), `entries`; printed, a table.

    Raises
    ------
    AssertionError
        If a gradient does not pass; the message is the report.
    TypeError
        If an argument is not of its kind.
    ValueError
        If `step` or `rtol` is not above 0, `atol` below 0, or `max_elements` below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import analysis, nn
    >>> analysis.check_gradients(nn.Conv2d(2, 3, 3, rng=0), np.random.default_rng(0).random((1, 2, 5, 5))).ok
    True
    """
    of_kind(target, Callable, "target", "a Module or a function that gives a value and its gradient")
    step, rtol = (
        number(value, name, "a finite number above 0", lambda value: 0 < value < math.inf)
        for name, value in (("step", step), ("rtol", rtol))
    )
    atol = number(atol, "atol", "a finite number of at least 0", lambda value: 0 <= value < math.inf)
    if max_elements is not None:
        at_least(max_elements, "max_elements")
    rng, raise_error = generator(rng), flag(raise_error, "raise_error")
    try:
        x = np.array(x, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"x must be an array of numbers, got {with_type(x)}") from error
    arrays, gradients, value = (_of_module if isinstance(target, Module) else _of_function)(target, x, args, rng)
    entries = []
    for name, array in arrays.items():
        chosen = np.arange(array.size)
        if max_elements is not None and max_elements < array.size:
            chosen = rng.choice(array.size, max_elements, replace=False)
        numeric = np.array([_difference(value, array, int(i), step) for i in chosen])
        entries.append(_compare(name, array.shape, chosen, gradients[name], numeric, atol / rtol))
    report = GradientReport(tuple(entries), rtol)
    if raise_error and not report.ok:
        raise AssertionError(f"gradients are wrong by more than rtol {rtol:g}\n{report}")
    return report


def _of_module(module: Module, x: np.ndarray, args: tuple, rng: np.random.Generator):
    """Return arrays to vary, their analytic gradients, and the function whose gradients they are."""
    module, args = copy.deepcopy((module, args))
    for parameter in module.parameters():
        parameter.data = parameter.data.astype(np.float64)
    module.zero_grad()
    inside = (value for part in module.modules() for value in vars(part).values())
    sources = [value for value in inside if isinstance(value, np.random.Generator)]
    places = [source.bit_generator.state for source in sources]
    y, back = module.begin(x, *args)
    v = rng.standard_normal(y.shape)
    found = back(v)
    inputs = [array for array in (x, *args) if isinstance(array, np.ndarray) and array.dtype.kind == "f"]
    names = ("input", *(f"input {i}" for i in range(1, len(inputs))))
    arrays = dict(zip(names, inputs, strict=True))
    gradients = dict(zip(names, found if isinstance(found, tuple) else (found,), strict=True))
    for name, parameter in module.named_parameters():
        if parameter.trainable:
            arrays[name] = parameter.data
            gradients[name] = np.zeros(parameter.shape) if parameter.grad is None else parameter.grad

    def value() -> np.ndarray:
        for source, place in zip(sources, places, strict=True):
            source.bit_generator.state = place
        return v * module(x, *args)

    return arrays, gradients, value


def _of_function(function: Callable, x: np.ndarray, args: tuple, rng: np.random.Generator):
    """Return the same three for a function that gives its value and its gradient."""
    _, gradient = function(x, *args)
    return {"input": x}, {"input": gradient}, lambda: np.asarray(function(x, *args)[0])


def _difference(value: Callable[[], np.ndarray], array: np.ndarray, i: int, step: float) -> float:
    """Central difference of the sum of `value()` in one element; subtracted before summing, to lose less."""
    here = array.flat[i]
    array.flat[i] = here + step
    above, upper = np.array(value()), array.flat[i]
    array.flat[i] = here - step
    below, lower = value(), array.flat[i]
    array.flat[i] = here
    return float((above - below).sum() / (upper - lower))


def _compare(
    name: str, shape: tuple[int, ...], chosen: np.ndarray, gradient: np.ndarray, numeric: np.ndarray, floor: float
) -> GradientCheck:
    """Find the worst of the chosen elements."""
    if np.shape(gradient) != shape:
        raise AssertionError(f"gradient of {name} must have shape {shape}, got {np.shape(gradient)}")
    if not len(chosen):
        return GradientCheck(name, shape, 0, 0.0, (), 0.0, 0.0)
    analytic = gradient.reshape(-1)[chosen]
    errors = np.abs(analytic - numeric) / (np.abs(numeric) + floor)
    worst = int(np.argmax(errors))  # a NaN is the largest
    index = tuple(int(i) for i in np.unravel_index(chosen[worst], shape))
    return GradientCheck(
        name, shape, len(chosen), float(errors[worst]), index, float(analytic[worst]), float(numeric[worst])
    )
