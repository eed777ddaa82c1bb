"""A problem filled with data and its float64 answers, and the calls that every test makes."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pytest

import convkit
from bounds import assert_within_bound
from problems import Problem

DTYPES = ("float32", "float64")
LAYOUTS = ("NCHW", "NHWC")
ALGORITHMS = ("auto", "implicit_gemm", "im2col", "direct")
GRADIENTS = ("x", "weight", "bias")
FUSED = [isa for isa in convkit.available_isas() if isa != "generic"]  # which have fused multiply-adds
EVERYWHERE = list(itertools.product(DTYPES, convkit.available_isas()))
ACTIVATIONS = ("relu", ("leaky_relu", 0.125), "sigmoid", "tanh", ("clip", -0.75, 1.5))
EVERY_ACTIVATION = (*ACTIVATIONS, ("leaky_relu", 0.1), "hard_sigmoid", ("elu", 0.75))
THOROUGH = pytest.mark.thorough

QUICK_FLOPS = 1e6  # a problem whose forward pass has more is left to the thorough tests
LARGE_FLOPS = 4e6  # and one with more than this has its bound looked at in one place alone


def _param(value, name: str, thorough: bool):
    return pytest.param(value, id=name, marks=THOROUGH if thorough else ())


def each(problems, quick=lambda problem: problem.flops <= QUICK_FLOPS):
    """Parametrise a test by `problem`, under its name; those that are not quick, the large ones, are thorough."""
    return pytest.mark.parametrize("problem", [_param(p, p.name, not quick(p)) for p in problems])


def each_place(problems, quick=lambda problem: problem.flops <= QUICK_FLOPS, places=lambda problem: EVERYWHERE):
    """Parametrise a test by `problem` and `places`, pairs of dtype and instruction set, in two parts.

    Quick is one dtype, by the problem's name, on the best instruction set. All other places come right after it and are
    thorough: what was solved for the first part is still at hand.
    """
    params = []
    for problem in problems:
        best = [place for place in places(problem) if place[1] == convkit.available_isas()[-1]]
        one = best[zlib.crc32(problem.name.encode()) % len(best)]
        params.append(pytest.param(problem, [one], id=problem.name, marks=() if quick(problem) else THOROUGH))
        if rest := [place for place in places(problem) if place != one]:
            params.append(pytest.param(problem, rest, id=f"{problem.name}, rest", marks=THOROUGH))
    return pytest.mark.parametrize(("problem", "places"), params)


def every_other(problem) -> bool:
    """Half of the small problems, quick where another quick test of the same call takes all of them."""
    return problem.flops <= QUICK_FLOPS and zlib.crc32(problem.name.encode()) % 2 == 0


def by_dtype(places):
    """The instruction sets of `places` for each dtype that has some."""
    for dtype in DTYPES:
        if isas := [isa for place, isa in places if place == dtype]:
            yield dtype, isas


def in_float32(problem) -> list[tuple[str, str]]:
    """Every instruction set, in float32."""
    return [place for place in EVERYWHERE if place[0] == "float32"]


def enough(problem) -> list[tuple[str, str]]:
    """The places in which a convolution's bounds are looked at.

    What is lost from a large sum shows in float64, and on every instruction set in `assert_exact`; how float32 rounds
    shows in small ones.
    """
    return EVERYWHERE if problem.flops <= LARGE_FLOPS else [("float64", convkit.available_isas()[-1])]


def blocks(count: int, size: int):
    """Parametrise a test of `count` random configurations by `block`, the numbers of `size`; the first is quick."""
    firsts = range(0, count, size)
    return pytest.mark.parametrize("block", [_param(range(i, i + size), f"{i}-{i + size - 1}", i > 0) for i in firsts])


def assert_all(check, block) -> None:
    """Run ``check(number)`` for a block of them, and fail by all that fail."""
    failures = []
    for number in block:
        try:
            check(number)
        except AssertionError as error:
            failures.append(f"configuration {number} on {convkit.isa()}: {error}")
    assert not failures, f"{len(failures)} of {len(block)}\n" + "\n".join(failures[:5])


def in_turns(argument: str, values, turn: int, quick=lambda value: True, of: int = 3):
    """Parametrise a test by values that have names, every third of them quick, from number `turn` on.

    Where several tests take the same values, each of them is quick in one of these.
    """
    chosen = iter(range(len(values)))
    params = [_param(v, v.name, not (quick(v) and next(chosen) % of == turn % of)) for v in values]
    return pytest.mark.parametrize(argument, params)


def pairs(names: str, firsts, seconds):
    """Parametrise a test by two arguments: each value of both in a quick pair or more, all other pairs thorough."""
    firsts, seconds = list(firsts), list(seconds)
    quick = {(i % len(firsts), i % len(seconds)) for i in range(max(len(firsts), len(seconds)))}
    params = []
    for i, j in itertools.product(range(len(firsts)), range(len(seconds))):
        name = "-".join(str(getattr(value, "name", value)) for value in (firsts[i], seconds[j]))
        params.append(pytest.param(firsts[i], seconds[j], id=name, marks=() if (i, j) in quick else THOROUGH))
    return pytest.mark.parametrize(names, params)


def in_turn(problem, *choices):
    """One of every sequence of choices, by the problem's name: where all combinations take one path, one is enough.

    The instruction set in force has a part in it, so that several of them try several combinations.
    """
    number = zlib.crc32(problem.name.encode()) + convkit.available_isas().index(convkit.isa())
    chosen = []
    for choice in choices:
        number, which = divmod(number, len(choice))
        chosen.append(choice[which])
    return chosen


@dataclass(frozen=True)
class Data:
    """Operands of one problem, all in NCHW order and C-contiguous; `y` is for the gradient of a fused activation."""

    problem: Problem
    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None
    grad: np.ndarray
    y: np.ndarray | None


@dataclass(frozen=True)
class Case:
    """Data with the float64 answer and the error bound of "y", "x", "weight" and "bias"."""

    data: Data
    expected: dict
    bound: dict


def arrange(array, layout: str) -> np.ndarray:
    """An NCHW array in `layout`, contiguous."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1) if layout == "NHWC" else array)


def restore(array, layout: str) -> np.ndarray:
    """The NCHW view of an array in `layout`."""
    return np.moveaxis(array, -1, 1) if layout == "NHWC" else array


def fill(problem: Problem, dtype, draw) -> Data:
    """Data whose arrays come from `draw(shape)`."""
    x, weight = draw(problem.x_shape).astype(dtype), draw(problem.weight_shape).astype(dtype)
    bias = draw((problem.c_out,)).astype(dtype) if problem.bias else None
    data = Data(problem, x, weight, bias, draw(problem.y_shape).astype(dtype), None)
    return data if problem.activation is None else replace(data, y=reference_forward(data).astype(dtype))


def seed_of(problem: Problem) -> np.random.Generator:
    """A generator that depends on nothing but the problem's name."""
    return np.random.default_rng(zlib.crc32(problem.name.encode()))


def random_data(problem: Problem, dtype) -> Data:
    """Normal deviates."""
    return fill(problem, dtype, seed_of(problem).standard_normal)


def integer_data(problem: Problem, dtype) -> Data:
    """Integers from -4 to 4: every sum of fewer than a million products is exact in float32, in any order."""
    rng = seed_of(problem)
    return fill(problem, dtype, lambda shape: rng.integers(-4, 5, shape))


def short(rng: np.random.Generator, shape, dtype) -> np.ndarray:
    """Numbers of so few digits that a product of two is exact, whether or not it is fused with the addition after."""
    digits = np.finfo(dtype).nmant // 2
    return (rng.integers(1 - 2**digits, 2**digits, shape) * 2.0 ** rng.integers(-4, 5, shape)).astype(dtype)


def short_data(problem: Problem, dtype) -> Data:
    """Short numbers: sums of their products are rounded, but alike on every instruction set."""
    rng = seed_of(problem)
    return fill(problem, dtype, lambda shape: short(rng, shape, dtype))


def reference_forward(data: Data) -> np.ndarray:
    """The float64 forward pass of `data`."""
    problem = data.problem
    operator = getattr(convkit.reference, problem.forward)
    return operator(data.x, data.weight, data.bias, **problem.arguments, activation=problem.activation)


def reference_gradients(data: Data) -> dict:
    """The float64 gradients of `data`."""
    problem = data.problem
    operator = getattr(convkit.reference, problem.backward)
    options = problem.arguments | {"activation": problem.activation, "y": data.y}
    return operator(data.grad, data.x, data.weight, **options)._asdict()


def solve(data: Data) -> Case:
    """Answers and bounds of `data` by the reference."""
    problem, bound = data.problem, convkit.reference.bound
    options = problem.arguments | {"activation": problem.activation}
    y_bound = bound(problem.forward, data.x, data.weight, data.bias, **options)
    bounds = bound(problem.backward, data.grad, data.x, data.weight, y=data.y, **options)
    return Case(data, {"y": reference_forward(data)} | reference_gradients(data), {"y": y_bound} | bounds._asdict())


@lru_cache(maxsize=8)
def random_case(problem: Problem, dtype: str) -> Case:
    """The solved case of a problem with normal deviates; kept for the tests that follow in other places."""
    return solve(random_data(problem, dtype))


@lru_cache(maxsize=8)
def integer_case(problem: Problem, dtype: str) -> Case:
    """The exact case of a problem with small integers: every bound is 0."""
    data = integer_data(problem, dtype)
    expected = {"y": reference_forward(data)} | reference_gradients(data)
    return Case(data, expected, {name: np.zeros_like(array) for name, array in expected.items()})


def forward(data: Data, layout: str = "NCHW", **options) -> np.ndarray:
    """convkit's forward pass of `data`, computed in `layout`, returned in NCHW order."""
    problem = data.problem
    operator = getattr(convkit, problem.forward)
    options = problem.arguments | {"activation": problem.activation} | options
    return restore(operator(arrange(data.x, layout), data.weight, data.bias, layout=layout, **options), layout)


def backward(data: Data, layout: str = "NCHW", **options) -> dict:
    """convkit's gradients of `data` by name, computed in `layout`, returned in NCHW order."""
    problem = data.problem
    if problem.activation is not None:
        options |= {"activation": problem.activation, "y": arrange(data.y, layout)}
    operator = getattr(convkit, problem.backward)
    grads = operator(
        arrange(data.grad, layout), arrange(data.x, layout), data.weight, layout=layout, **(problem.arguments | options)
    )._asdict()
    return grads | {"x": None if grads["x"] is None else restore(grads["x"], layout)}


def everything(data: Data, layout: str = "NCHW", **options) -> dict:
    """The forward pass as "y" and every gradient."""
    return {"y": forward(data, layout, **options)} | backward(data, layout, **options)


def possible(data: Data, layout: str, algorithm: str) -> dict:
    """All of `everything` but what "direct" refuses; every other algorithm can do every shape."""
    if algorithm != "direct":
        return everything(data, layout, algorithm=algorithm)
    results = {}
    for name in ("y", *GRADIENTS):
        try:
            if name == "y":
                results[name] = forward(data, layout, algorithm=algorithm)
            else:
                results[name] = backward(data, layout, algorithm=algorithm, need=name)[name]
        except ValueError as error:
            if "direct" not in str(error):
                raise
    return results


def assert_case(case: Case, layout: str = "NCHW", algorithm: str = "auto") -> None:
    """Fail unless the forward pass and every gradient keep their bounds; Winograd's algorithm promises none."""
    dtype = case.data.x.dtype
    if algorithm == "auto" and case.data.problem.three_by_three:
        algorithm = "implicit_gemm"
    for name, got in possible(case.data, layout, algorithm).items():
        what = f"{name} of {case.data.problem}, {dtype}, {layout}, {algorithm}, on {convkit.isa()}"
        assert got.dtype == dtype, f"{what}: dtype {got.dtype}"
        assert_within_bound(got, case.expected[name], case.bound[name], what)


def assert_bounds(problem: Problem, places) -> None:
    """Fail unless normal deviates keep their bounds in all places, in both layouts and by every algorithm."""
    for dtype, isas in by_dtype(places):
        case = random_case(problem, dtype)
        for isa in isas:
            convkit.set_isa(isa)
            for layout in LAYOUTS:
                assert_case(case, layout)
            for algorithm in ALGORITHMS[1:]:
                (layout,) = in_turn(problem.but(name=problem.name + algorithm + dtype), LAYOUTS)
                assert_case(case, layout, algorithm)


def assert_exact(problem: Problem, places) -> None:
    """Fail unless small integers give exact sums in all places and in both layouts."""
    for dtype, isas in by_dtype(places):
        case = integer_case(problem, dtype)
        for isa, layout in itertools.product(isas, LAYOUTS):
            convkit.set_isa(isa)
            assert_case(case, layout)


def assert_same_bits(got: dict, expected: dict, what: str = "") -> None:
    """Fail unless the arrays of two results are equal to the bit."""
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].dtype == array.dtype, f"{name}, {what}"
        assert got[name].shape == array.shape, f"{name}, {what}"
        assert got[name].tobytes() == array.tobytes(), f"{name} differs: {what}"
