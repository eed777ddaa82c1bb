"""Rows of recurrent operators, RNN, GRU and LSTM: as functions, step by step on NumPy, with all that ONNX allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .elements import sigmoid, softsign
from .sequences import lower, scratch
from .table import OPS, Attrs, Info, Op

_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "sigmoid": lambda x, a, b: sigmoid(x),
    "tanh": lambda x, a, b: np.tanh(x),
    "relu": lambda x, a, b: np.maximum(x, 0),
    "affine": lambda x, a, b: a * x + b,
    "leakyrelu": lambda x, a, b: np.where(x > 0, x, a * x),
    "thresholdedrelu": lambda x, a, b: np.where(x > a, x, 0),
    "scaledtanh": lambda x, a, b: a * np.tanh(b * x),
    "hardsigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "elu": lambda x, a, b: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0))),
    "softsign": lambda x, a, b: softsign(x),
    "softplus": lambda x, a, b: np.logaddexp(x, 0),
}
_DEFAULTS = {"affine": (1.0, 0.0), "leakyrelu": (0.01, 0.0), "thresholdedrelu": (1.0, 0.0), "scaledtanh": (1.0, 1.0),
             "hardsigmoid": (0.2, 0.5), "elu": (1.0, 0.0)}  # fmt: skip
_NAMES = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}


def _functions(op: str, attrs: Attrs, direction: int) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Those of one direction."""
    usual = _NAMES[op]
    names = attrs.get("activations") or usual * 2
    alphas, betas = list(attrs.get("activation_alpha", ())), list(attrs.get("activation_beta", ()))
    chosen = []
    for name in names:
        a, b = _DEFAULTS.get(name.lower(), (0.0, 0.0))
        takes = name.lower() in _DEFAULTS
        a = alphas.pop(0) if takes and alphas else a
        b = betas.pop(0) if name.lower() in ("affine", "scaledtanh", "hardsigmoid") and betas else b
        function = _FUNCTIONS[name.lower()]
        chosen.append(lambda x, f=function, a=a, b=b: f(x, a, b))
    return chosen[direction * len(usual) : (direction + 1) * len(usual)]


def _infer(op: str) -> Callable[..., list[Info]]:
    def infer(attrs: Attrs, x: Info, w: Info, r: Info, *_: Info | None) -> list[Info]:
        directions, hidden = r.shape[0], r.shape[2]
        steps, batch = x.shape[:2] if not attrs.get("layout", 0) else x.shape[1::-1]
        if attrs.get("layout", 0):
            shapes = (batch, steps, directions, hidden), (batch, directions, hidden)
        else:
            shapes = (steps, directions, batch, hidden), (directions, batch, hidden)
        return [Info(shapes[0], x.dtype), *(Info(shapes[1], x.dtype),) * (2 if op == "LSTM" else 1)]

    return infer


def _run(op: str) -> Callable[..., tuple[np.ndarray, ...]]:
    """An operator's function: its step along the sequence, in each direction."""

    def run(attrs: Attrs, x, w, r, *others) -> tuple[np.ndarray, ...]:
        bias, lengths, *states = [*others, *(None,) * (5 - len(others))]
        turned = bool(attrs.get("layout", 0))
        x = x.swapaxes(0, 1) if turned else x
        first = [None if s is None else s.swapaxes(0, 1) if turned else s for s in states[: 2 if op == "LSTM" else 1]]
        y = np.zeros((x.shape[0], r.shape[0], x.shape[1], r.shape[2]), x.dtype)
        last = []
        for d in range(r.shape[0]):
            backward = attrs.get("direction", "forward") == "reverse" or d == 1
            state = [np.zeros(y.shape[2:], x.dtype) if s is None else s[d] for s in first]
            peepholes = None if op != "LSTM" or states[2] is None else states[2][d]
            whole = np.zeros(2 * w.shape[1], x.dtype) if bias is None else bias[d]
            step = _STEPS[op](attrs, _functions(op, attrs, d), w[d], r[d], whole, peepholes)
            last.append(_walk(step, x, y[:, d], state, lengths, backward))
        ends = [np.stack([state[i] for state in last]) for i in range(len(first))]
        if turned:
            return y.transpose(2, 0, 1, 3), *(end.swapaxes(0, 1) for end in ends)
        return y, *ends

    return run


def _walk(step: Callable, x: np.ndarray, y: np.ndarray, state: list, lengths, backward: bool) -> list[np.ndarray]:
    """All steps in one direction; where a sequence has ended its state stays and its output is 0."""
    count = len(x)
    for t in range(count)[::-1] if backward else range(count):
        new = step(x[t], state)
        if lengths is not None:
            going = (t < lengths)[:, np.newaxis]
            new = [np.where(going, a, b) for a, b in zip(new, state, strict=True)]
            y[t] = np.where(going, new[0], 0)
        else:
            y[t] = new[0]
        state = new
    return state


# ---------------------------------------------------------------- one step each


def _clipped(attrs: Attrs, x: np.ndarray) -> np.ndarray:
    limit = attrs.get("clip")
    return x if limit is None else np.clip(x, -limit, limit)


def _rnn(attrs: Attrs, functions: Sequence[Callable], w, r, bias, _) -> Callable:
    half = len(bias) // 2

    def step(x: np.ndarray, state: list[np.ndarray]) -> list[np.ndarray]:
        return [functions[0](_clipped(attrs, x @ w.T + state[0] @ r.T + bias[:half] + bias[half:]))]

    return step


def _gru(attrs: Attrs, functions: Sequence[Callable], w, r, bias, _) -> Callable:
    """A step of one direction; the rows of its weights are those of update, reset and candidate."""
    hidden = w.shape[0] // 3
    wb, rb = bias[: 3 * hidden], bias[3 * hidden :]
    late = attrs.get("linear_before_reset", 0)

    def step(x: np.ndarray, state: list[np.ndarray]) -> list[np.ndarray]:
        (h,) = state
        given = x @ w.T + wb
        both = given[:, : 2 * hidden] + h @ r[: 2 * hidden].T + rb[: 2 * hidden]
        z, reset = np.split(functions[0](_clipped(attrs, both)), 2, axis=1)
        own, own_bias = r[2 * hidden :].T, rb[2 * hidden :]
        kept = reset * (h @ own + own_bias) if late else (reset * h) @ own + own_bias
        candidate = functions[1](_clipped(attrs, given[:, 2 * hidden :] + kept))
        return [(1 - z) * candidate + z * h]

    return step


def _lstm(attrs: Attrs, functions: Sequence[Callable], w, r, bias, peepholes) -> Callable:
    """A step of one direction; the rows of its weights are those of input, output, forget and cell."""
    half, hidden = len(bias) // 2, w.shape[0] // 4
    p = np.zeros((3, hidden), w.dtype) if peepholes is None else peepholes.reshape(3, hidden)  # of i, o, f

    def step(x: np.ndarray, state: list[np.ndarray]) -> list[np.ndarray]:
        h, c = state
        i, o, f, g = np.split(x @ w.T + h @ r.T + bias[:half] + bias[half:], 4, axis=1)
        i = functions[0](_clipped(attrs, i + p[0] * c))
        f = 1 - i if attrs.get("input_forget", 0) else functions[0](_clipped(attrs, f + p[2] * c))
        c = f * c + i * functions[1](_clipped(attrs, g))
        o = functions[0](_clipped(attrs, o + p[1] * c))
        return [o * functions[2](c), c]

    return step


def _flops(attrs: Attrs, infos: Sequence[Info], outputs: Sequence[Info]) -> int:
    x, w, r = infos[:3]
    return 2 * math.prod(x.shape[:2]) * (math.prod(w.shape) + math.prod(r.shape))


_STEPS = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}
for _name in _STEPS:
    OPS[_name] = Op(_run(_name), _infer(_name), lower, flops=_flops, scratch=scratch)
