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


VIEWS = {
    "an input": lambda h: h,
    "a transposition": lambda h: h.emit("Transpose", perm=(0, 2, 1)).emit("Transpose", perm=(0, 2, 1)),
    "turned around": lambda h: h.emit("Transpose", perm=(0, 2, 1)),
    "every other": lambda h: h.emit("Slice", np.array([0]), np.array([2 * HIDDEN]), np.array([2]), np.array([2])),
}


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("name", VIEWS)
def test_states_that_are_inputs_and_views(name, op):
    x, numbers, states = arrays(op, 1, 0)
    if name == "turned around":
        states = [state.swapaxes(1, 2).copy() for state in states]
    elif name == "every other":
        states = [np.repeat(state, 2, axis=2) for state in states]
    whole = Graph()
    inputs = [whole.input(f"x{k}", Info(array.shape, array.dtype)) for k, array in enumerate((x, *states))]
    given = [inputs[0], *map(whole.constant, numbers), None, *map(VIEWS[name], inputs[1:])]
    whole.outputs, whole.output_names = [whole.emit(op, given, {}, 3 if op == "LSTM" else 2)[0]], ["y"]
    made = Network(whole)
    exact = arrays(op, 1, 0)[2]
    wanted = OPS[op].run(
        {}, *(v.astype(np.float64) for v in (x, *numbers)), None, *(v.astype(np.float64) for v in exact)
    )
    np.testing.assert_allclose(made(x, *states), wanted[0], rtol=1e-5, atol=1e-6)
    assert "NumPy" not in {node.how for node in made.explain(x, *states, measure=False).nodes}


@pytest.mark.parametrize("op", GATES)
def test_an_output_that_lies_in_what_it_is_joined_into_channels_last(op):
    x, numbers, _ = arrays(op, 1, 0)
    other = noise(TIMES, 19, BATCH, HIDDEN)
    whole = Graph()
    inputs = [whole.input(f"x{k}", Info(array.shape, array.dtype)) for k, array in enumerate((x, other))]
    y = whole.emit(op, [inputs[0], *map(whole.constant, numbers)], {}, 3 if op == "LSTM" else 2)[0]
    joined = whole.emit("Concat", [y, inputs[1].emit("Relu")], {"axis": 1})
    whole.outputs, whole.output_names = [joined.emit("Relu")], ["y"]
    wanted = OPS[op].run({}, *(v.astype(np.float64) for v in (x, *numbers)))[0]
    wanted = np.maximum(np.concatenate([wanted, other], 1), 0)
    np.testing.assert_allclose(Network(whole)(x, other), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("wrong", ("w", "rows of w", "r", "rows of r", "bias", "h", "batch of h"))
def test_what_has_other_shapes_is_not_the_engines(op, wrong):
    x, (w, r, bias), states = arrays(op, 1, 0)
    if wrong == "w":
        w = w[:, :, 1:]
    elif wrong == "rows of w":
        w = w[:, 1:]
    elif wrong == "r":
        r = np.concatenate([r, r], 2)
    elif wrong == "rows of r":
        r = r[:, 1:]
    elif wrong == "bias":
        bias = bias[:, 2:]
    else:
        states = [state[..., 1:] if wrong == "h" else state[:, :1] for state in states]
    made = network(op, x, [w, r, bias, None, *states], {})
    try:
        results = made(x)
    except ValueError:
        return
    assert [node.how for node in made.explain(x, measure=False).nodes] == ["NumPy"] and len(results)


def test_memory_in_between_is_counted():
    x, numbers, _ = arrays("LSTM", 1, 0)
    x = np.repeat(x, 1000, axis=0)
    whole = network("LSTM", x, numbers, {}).graph
    whole.outputs, whole.output_names, whole.several = [whole.outputs[1]], ["y"], False
    made = Network(whole, max_bytes=x.nbytes + 5000 * BATCH * HIDDEN * 4 + (1 << 16))
    with pytest.raises(MemoryError, match="max_bytes"):
        made(x)
