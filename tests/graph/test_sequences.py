"""Recurrent operators by the engine, beside the table's NumPy functions in float64."""

import itertools
import threading

import numpy as np
import pytest

import convkit
from convkit.graph import OPS, Graph, Info, Network

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
TIMES, BATCH, INPUTS, HIDDEN = 5, 3, 7, 9


def noise(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def arrays(op, directions, layout, dtype="float32", times=TIMES):
    """x, the weights and the bias, and initial states."""
    x = noise(times, BATCH, INPUTS, dtype=dtype)
    rows = GATES[op] * HIDDEN
    shapes = (rows, INPUTS), (rows, HIDDEN), (2 * rows,)
    numbers = [noise(directions, *shape, seed=k + 1, dtype=dtype) / 2 for k, shape in enumerate(shapes)]
    states = [noise(directions, BATCH, HIDDEN, seed=k + 4, dtype=dtype) for k in range(2 if op == "LSTM" else 1)]
    if layout:
        x, states = np.swapaxes(x, 0, 1).copy(), [np.swapaxes(state, 0, 1).copy() for state in states]
    return x, numbers, states


def network(op, x, inputs, attrs, before=lambda value: value):
    """Of x and constants, None among them; all outputs."""
    whole = Graph()
    value = whole.input("x", Info(x.shape, x.dtype))
    taken = [before(value), *(None if v is None else whole.constant(v) for v in inputs)]
    whole.outputs, whole.several = list(whole.emit(op, taken, attrs, 3 if op == "LSTM" else 2)), True
    whole.output_names = [f"y{k}" for k in range(len(whole.outputs))]
    return Network(whole)


def check(made, op, attrs, x, inputs, how="engine", given=None):
    results, tolerance = made(x), 40 * np.finfo(x.dtype).eps
    wide = [None if v is None else v.astype(np.float64) for v in (x if given is None else given, *inputs)]
    for y, wanted in zip(results, OPS[op].run(attrs, *wide), strict=True):
        np.testing.assert_allclose(y, wanted, rtol=tolerance, atol=tolerance)
    assert [node.how for node in made.explain(x, measure=False).nodes if node.op == op] == [how]
    return results


@pytest.mark.parametrize("direction", ("forward", "reverse", "bidirectional"))
@pytest.mark.parametrize("layout", (0, 1))
@pytest.mark.parametrize("op", GATES)
def test_recurrent_operators(op, layout, direction):
    x, numbers, states = arrays(op, 2 if direction == "bidirectional" else 1, layout)
    late = (0, 1) if op == "GRU" else (0,)
    for begun, bias, after in itertools.product((True, False), (True, False), late):
        attrs = {"direction": direction, "layout": layout, "hidden_size": HIDDEN, "linear_before_reset": after}
        inputs = [*numbers[:2], numbers[2] if bias else None, *([None, *states] if begun else [])]
        made = network(op, x, inputs, attrs)
        results = check(made, op, attrs, x, inputs)
        with convkit.threads(3):
            for again, y in zip(made(x), results, strict=True):
                np.testing.assert_array_equal(again, y)


@pytest.mark.parametrize("op", GATES)
def test_one_step_doubles_and_inputs_behind_a_transposition(op):
    x, numbers, _ = arrays(op, 1, 0, times=1)
    check(network(op, x, numbers, {}), op, {}, x, numbers)
    x, numbers, states = arrays(op, 1, 0, "float64")
    check(network(op, x, [*numbers, None, *states], {}), op, {}, x, [*numbers, None, *states])
    x, numbers, _ = arrays(op, 1, 0)
    made = network(op, x, numbers, {"layout": 1}, lambda value: value.emit("Transpose", perm=(1, 0, 2)))
    check(made, op, {"layout": 1}, x, numbers, given=x.swapaxes(0, 1))


@pytest.mark.parametrize("names", (["Relu", "Relu"], ["Tanh", "Tanh"], ["Relu", "Tanh"], ["Softsign", "Tanh"]))
def test_functions_of_an_rnn(names):
    x, numbers, _ = arrays("RNN", 2, 0)
    attrs = {"direction": "bidirectional", "activations": names}
    check(network("RNN", x, numbers, attrs), "RNN", attrs, x, numbers, "engine" if names[0] == names[1] else "NumPy")


@pytest.mark.parametrize("attrs", ({"clip": 0.5}, {"input_forget": 1}))
def test_what_the_engine_has_not_is_numpys(attrs):
    x, numbers, _ = arrays("LSTM", 1, 0)
    check(network("LSTM", x, numbers, attrs), "LSTM", attrs, x, numbers, "NumPy")


def test_several_threads_call_one_network():
    x, numbers, _ = arrays("LSTM", 2, 0)
    made, found = network("LSTM", x, numbers, {"direction": "bidirectional"}), []
    wanted = made(x)
    callers = [threading.Thread(target=lambda: found.append([made(x) for _ in range(20)])) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for results in itertools.chain(*found):
        for y, again in zip(wanted, results, strict=True):
            np.testing.assert_array_equal(again, y)
    assert len(found) == 4
