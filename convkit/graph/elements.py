"""Rows of operators that work element by element: activations, and arithmetic with broadcasting."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._arrays import is_real
from .._ext import engine
from .._limits import share
from .._options import NO_ACTIVATION as NONE
from ..ops import _elementwise
from ..ops._elementwise import Code
from .table import OPS, Attrs, Info, Op, op, repeats

COPY = engine.ACTIVATE  # if it is none


# ---------------------------------------------------------------- activations


def _clip_code(attrs: Attrs, bounds: tuple) -> Code | None:
    """None for integers, too, which a bound of the engine's need not hold."""
    known = [bound for bound in bounds if bound is not None]
    if not known or any(bound.data is None or bound.data.size > 1 or not is_real(bound.dtype) for bound in known):
        return None
    given = (None if bound is None or bound.data.size == 0 else bound.data.item() for bound in (*bounds, None, None))
    lo, hi = (far if bound is None else bound for bound, far in zip(given, (-math.inf, math.inf), strict=False))
    return _elementwise.clip(lo, hi) if lo <= hi else None


def _hard_sigmoid_code(attrs: Attrs, _: tuple) -> Code | None:
    usual = math.isclose(attrs.get("alpha", 0.2), 1 / 6, rel_tol=1e-6) and attrs.get("beta", 0.5) == 0.5
    return _elementwise.HARD_SIGMOID if usual else None


def _leaky_code(attrs: Attrs, _: tuple) -> Code | None:
    slope = attrs.get("alpha", 0.01)
    return _elementwise.leaky_relu(slope) if 0 <= slope < math.inf else None


def _prelu_code(attrs: Attrs, slopes: tuple) -> Code | None:
    """One slope for all is a LeakyRelu."""
    data = slopes[0].data
    return None if data is None or data.size != 1 else _leaky_code({"alpha": float(data.reshape(()))}, ())


# What the engine calls an activation of these attributes and further inputs, or None, where it has none.
CODES: dict[str, Callable[[Attrs, tuple], Code | None]] = {
    "Relu": lambda attrs, _: _elementwise.RELU,
    "LeakyRelu": _leaky_code,
    "PRelu": _prelu_code,
    "Sigmoid": lambda attrs, _: _elementwise.SIGMOID,
    "Tanh": lambda attrs, _: _elementwise.TANH,
    "Clip": _clip_code,
    "HardSigmoid": _hard_sigmoid_code,
    "HardSwish": lambda attrs, _: _elementwise.HARD_SWISH,
    "Swish": lambda attrs, _: _elementwise.SILU if attrs.get("alpha", 1.0) == 1 else None,
    "Gelu": lambda attrs, _: _elementwise.GELU_TANH if attrs.get("approximate") == "tanh" else _elementwise.GELU,
    "Elu": lambda attrs, _: _elementwise.elu(attrs.get("alpha", 1.0), 1.0),
    "Selu": lambda attrs, _: _elementwise.elu(
        attrs.get("alpha", 1.6732632423543772), attrs.get("gamma", 1.0507009873554805)
    ),
    "Softplus": lambda attrs, _: _elementwise.softplus(1.0, math.inf),
}
# How ONNX says an activation: the operator, the attributes that its numbers are, and what else it is told.
_OPERATORS: dict[int, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    engine.RELU: ("Relu", (), {}),
    engine.LEAKY_RELU: ("LeakyRelu", ("alpha",), {}),
    engine.SIGMOID: ("Sigmoid", (), {}),
    engine.TANH: ("Tanh", (), {}),
    engine.CLIP: ("Clip", (), {}),  # its numbers are inputs
    engine.SILU: ("Swish", (), {}),
    engine.GELU: ("Gelu", (), {}),
    engine.GELU_TANH: ("Gelu", (), {"approximate": "tanh"}),
    engine.HARD_SWISH: ("HardSwish", (), {}),
    engine.HARD_SIGMOID: ("HardSigmoid", (), {"alpha": 1 / 6, "beta": 0.5}),
    engine.ELU: ("Selu", ("alpha", "gamma"), {}),
    engine.ELU_OF_X: ("Selu", ("alpha", "gamma"), {}),
    engine.SOFTPLUS: ("Softplus", (), {}),
}


def operator_of(code: Code) -> tuple[str, dict[str, Any]]:
    """An activation's operator and attributes."""
    kind, *numbers = code
    if kind in (engine.ELU, engine.ELU_OF_X) and numbers[1] == 1:
        return "Elu", {"alpha": float(numbers[0])}
    op, names, attrs = _OPERATORS[kind]
    return op, attrs | dict(zip(names, map(float, numbers), strict=False))


def code_of(node: Any) -> Code | None:
    """What the engine calls an activation, if all is known that it takes beside its argument."""
    if any(value is not None and value.data is None for value in node.inputs[1:]):
        return None
    return CODES[node.op](node.attrs, tuple(None if value is None else value.info for value in node.inputs[1:]))


_each_erf = np.frompyfunc(math.erf, 1, 1)


def _erf(x: np.ndarray) -> np.ndarray:
    """In float64; of one element without axes, too, of which NumPy would make a number."""
    return np.asarray(_each_erf(x), np.float64)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    e = np.exp(-np.abs(x))
    return (np.where(x >= 0, 1, e) / (1 + e)).astype(x.dtype)


def _gelu(x: np.ndarray, approximate: str) -> np.ndarray:
    if approximate == "tanh":
        return share(1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)), 0.5 * x).astype(x.dtype)
    return share(1 + _erf(x / math.sqrt(2)), 0.5 * x).astype(x.dtype)


def softsign(x: np.ndarray) -> np.ndarray:
    """x / (1 + |x|)."""
    return np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x)))


def _linear_below(x: np.ndarray, slope: Any) -> np.ndarray:
    return np.where(x > 0, x, np.asarray(slope, x.dtype) * x)


def _clip(x: np.ndarray, lo: np.ndarray | None, hi: np.ndarray | None) -> np.ndarray:
    x = x if lo is None or lo.size == 0 else np.maximum(x, lo.reshape(()))
    return x if hi is None or hi.size == 0 else np.minimum(x, hi.reshape(()))


def _elu(x: np.ndarray, alpha: float, scale: float) -> np.ndarray:
    return (scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))).astype(x.dtype)


def _hard_sigmoid(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.clip(alpha * x + beta, 0, 1).astype(x.dtype)


_ACTIVATIONS: dict[str, Callable[..., np.ndarray]] = {
    "Relu": lambda attrs, x: np.maximum(x, x.dtype.type(0)),
    "LeakyRelu": lambda attrs, x: _linear_below(x, attrs.get("alpha", 0.01)),
    "PRelu": lambda attrs, x, slope: _linear_below(x, slope),
    "Sigmoid": lambda attrs, x: sigmoid(x),
    "Tanh": lambda attrs, x: np.tanh(x),
    "Clip": lambda attrs, x, lo=None, hi=None: _clip(x, lo, hi),
    "HardSigmoid": lambda attrs, x: _hard_sigmoid(x, attrs.get("alpha", 0.2), attrs.get("beta", 0.5)),
    "HardSwish": lambda attrs, x: share(_hard_sigmoid(x, 1 / 6, 0.5), x).astype(x.dtype),
    "Swish": lambda attrs, x: share(sigmoid(share(x.dtype.type(attrs.get("alpha", 1.0)), x)), x),
    "Gelu": lambda attrs, x: _gelu(x, attrs.get("approximate", "none")),
    "Elu": lambda attrs, x: _elu(x, attrs.get("alpha", 1.0), 1.0),
    "Selu": lambda attrs, x: _elu(x, attrs.get("alpha", 1.6732632423543772), attrs.get("gamma", 1.0507009873554805)),
    "Softplus": lambda attrs, x: np.logaddexp(x, x.dtype.type(0)),
}


def same(attrs: Attrs, x: Info, *others: Info | None) -> list[Info]:
    """The shape and dtype of the first input."""
    return [Info(x.shape, x.dtype)]


def lower_activation(plan: Any, node: Any) -> bool:
    """One pass of the engine."""
    x, y = plan.info(node.inputs[0]), plan.info(node.outputs[0])
    code = CODES[node.op](node.attrs, tuple(None if v is None else plan.info(v) for v in node.inputs[1:]))
    return (
        code is not None and x.shape == y.shape and lower_pass(plan, COPY, node.inputs[0], None, node.outputs[0], code)
    )


def _slopes(attrs: Attrs, x: Info, slope: Info) -> list[Info]:
    repeats(slope, x.shape, x.shape)
    return same(attrs, x)


def _bounded(attrs: Attrs, x: Info, *bounds: Info | None) -> list[Info]:
    for name, bound in zip(("min", "max"), bounds, strict=False):
        if bound is not None and math.prod(bound.shape) > 1:
            raise ValueError(f"{name} must be a number, got shape {bound.shape}")
    return same(attrs, x)


for _name, _run in _ACTIVATIONS.items():
    _infer = {"PRelu": _slopes, "Clip": _bounded}.get(_name, same)
    OPS[_name] = Op(_run, _infer, lower_activation, elementwise=True, any_order=True)


# ---------------------------------------------------------------- arithmetic


def broadcast(attrs: Attrs, *infos: Info) -> list[Info]:
    """The shape that all of them can be repeated to."""
    return [Info(np.broadcast_shapes(*(info.shape for info in infos)), infos[0].dtype)]


def truth(attrs: Attrs, *infos: Info) -> list[Info]:
    """As `broadcast`, of bools."""
    return [broadcast(attrs, *infos)[0]._replace(dtype=np.dtype(bool))]


ARITHMETIC = frozenset(("Add", "Sub", "Mul", "Div", "Max", "Min"))
ELEMENT_OPS = {
    "Add": engine.PLUS, "Sub": engine.MINUS, "Mul": engine.TIMES, "Div": engine.OVER,
    "Max": engine.LARGER, "Min": engine.SMALLER,
}  # fmt: skip


def lower_arithmetic(plan: Any, node: Any) -> bool:
    """One pass of the engine for two arrays; of one, the copy that it is; of more, a pass for each further one."""
    y, first, *others = node.outputs[0], *node.inputs
    activation = node.attrs.get("activation", NONE)
    if not others:
        return lower_pass(plan, COPY, first, None, y, activation)
    return len(others) == 1 and lower_pass(plan, ELEMENT_OPS[node.op], first, others[0], y, activation)


def lower_pass(plan: Any, code: int, a: Any, b: Any, y: Any, activation: Code) -> bool:
    """y = activation(a op b), of values, as a step of the plan's program; whether the engine can."""
    values = [value for value in (y, a, b) if value is not None]
    info = plan.info(y)
    if any(plan.info(value).dtype != info.dtype for value in values):
        return False
    return engine_pass(plan, code, info, [plan.spot(value) for value in values], activation)


def engine_pass(plan: Any, code: int, info: Info, spots: list, activation: Code = NONE) -> bool:
    """The same of the places of y, a and, if there is one, b; `info` is y's."""
    shape, dtype = info.shape, info.dtype
    if not is_real(dtype):
        return False
    if 0 in shape:
        return True
    strides = spots[0][2]
    kept = sorted((i for i, size in enumerate(shape) if size != 1), key=lambda axis: -strides[axis])
    if len(kept) > engine.MAX_AXES:
        return False
    operands = (*(_spread(spot, shape, kept) for spot in spots), None)[:3]
    plan.program.elementwise(code, dtype.itemsize, tuple(shape[axis] for axis in kept), *operands, activation)
    return True


def _spread(spot: Any, shape: tuple[int, ...], axes: list[int]) -> Any:
    """An array, or its place, repeated to a shape, of which these axes are left, in this order."""
    if isinstance(spot, np.ndarray):
        whole = np.broadcast_to(spot, shape)
        index = tuple(slice(None) if axis in axes else 0 for axis in range(len(shape)))
        return np.asarray(whole[index]).transpose([sorted(axes).index(axis) for axis in axes])
    base, offset, strides, item, sizes = spot
    strides = (0,) * (len(shape) - len(sizes)) + tuple(
        0 if size == 1 else stride for size, stride in zip(sizes, strides, strict=True)
    )
    return base, offset, tuple(strides[axis] for axis in axes), item


def _chained(function: Callable) -> Callable:
    """A function of two arrays over any number of them, activation and all."""

    def run(attrs: Attrs, first: np.ndarray, *others: np.ndarray) -> np.ndarray:
        for other in others:
            first = function(first, other)
        return activated(attrs, first)

    return run


def activated(attrs: Attrs, y: np.ndarray) -> np.ndarray:
    """A result after the activation that was fused into its node."""
    code = attrs.get("activation", NONE)
    if code == NONE:
        return y
    if not is_real(y.dtype):
        op, own = operator_of(code)
        return _ACTIVATIONS[op](own, y)
    return _elementwise.activate(y, code)


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """ONNX's integers are divided as C has it: towards zero."""
    if a.dtype.kind not in "iu":
        return a / b
    quotient = a // b
    return (quotient + ((a % b != 0) & ((a < 0) != (b < 0)))).astype(a.dtype)


for _name, _function in {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divided, "Max": np.maximum, "Min": np.minimum,
}.items():  # fmt: skip
    OPS[_name] = Op(_chained(_function), broadcast, lower_arithmetic, elementwise=True, any_order=True)

for _name, _function in {
    "Abs": np.abs, "Exp": np.exp, "Log": np.log, "Sqrt": np.sqrt, "Sin": np.sin, "Cos": np.cos,
    "Floor": np.floor, "Ceil": np.ceil, "Sign": np.sign,
    "Round": np.round, "Erf": _erf, "Tan": np.tan, "Asin": np.arcsin, "Acos": np.arccos,
    "Atan": np.arctan, "Sinh": np.sinh, "Cosh": np.cosh, "Asinh": np.arcsinh, "Acosh": np.arccosh, "Atanh": np.arctanh,
    "Softsign": softsign, "Mish": lambda x: share(np.tanh(np.logaddexp(x, x.dtype.type(0))), x),
}.items():  # fmt: skip
    OPS[_name] = Op(lambda attrs, x, f=_function: np.asarray(f(x), x.dtype), same, elementwise=True)

for _name, _function in {
    "Equal": np.equal, "Less": np.less, "LessOrEqual": np.less_equal, "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal, "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
}.items():  # fmt: skip
    OPS[_name] = Op(lambda attrs, a, b, f=_function: f(a, b), truth, elementwise=True)


def _lower_with(operator: str, number: float, first: bool = False) -> Callable[..., bool]:
    """One pass of x, and a number beside it or before it."""

    def lower(plan: Any, node: Any) -> bool:
        info, y = plan.info(node.inputs[0]), plan.spot(node.outputs[0])
        operands = [plan.spot(node.inputs[0]), np.array(number, info.dtype)]
        return engine_pass(plan, ELEMENT_OPS[operator], info, [y, *(operands[::-1] if first else operands)])

    return lower


_lower_reciprocal = _lower_with("Div", 1.0, first=True)
for _name, _function, _lower in (
    ("Neg", np.negative, _lower_with("Mul", -1.0)), ("Reciprocal", lambda x: x.dtype.type(1) / x, _lower_reciprocal),
):  # fmt: skip
    OPS[_name] = Op(
        lambda attrs, x, f=_function: np.asarray(f(x), x.dtype), same, _lower, elementwise=True, any_order=True
    )


def _lower_power(plan: Any, node: Any) -> bool:
    """The powers that are a pass of products."""
    x, exponent = node.inputs[0], plan.constant(node.inputs[1])
    number = exponent.item() if exponent is not None and exponent.size == 1 else None
    if plan.info(x).shape != plan.info(node.outputs[0]).shape or number not in (2, -1):
        return False
    if number == -1:
        return _lower_reciprocal(plan, node)
    return lower_pass(plan, ELEMENT_OPS["Mul"], x, x, node.outputs[0], NONE)


@op("Pow", infer=broadcast, lower=_lower_power, elementwise=True)
def _pow(attrs: Attrs, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.power(a, b).astype(a.dtype)


@op("Not", infer=same, elementwise=True)
def _not(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    return ~x


@op("Where", infer=lambda attrs, condition, a, b: [broadcast(attrs, a, b, condition)[0]], elementwise=True)
def _where(attrs: Attrs, condition: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(condition, a, b)


@op("IsNaN", infer=lambda attrs, x: [Info(x.shape, np.dtype(bool))], elementwise=True)
def _is_nan(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    return np.isnan(x)


@op("Identity", "Dropout", infer=same, view=True, elementwise=True)
def _identity(attrs: Attrs, x: np.ndarray, *_: np.ndarray) -> np.ndarray:
    return x
