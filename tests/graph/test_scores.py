"""Scores and what they weigh as one operator: beside the same node by node, in any layout, by any number of threads."""

import numpy as np
import pytest

import convkit
from convkit.graph import OPS, Graph, Info, Network


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def emit(whole, op, *inputs, **attrs):
    return whole.emit(op, [whole.constant(v) if isinstance(v, np.ndarray) else v for v in inputs], attrs)


def plain(w, q, k, v, change=lambda w, s: s, axis=-1):
    scores = change(w, emit(w, "MatMul", q, emit(w, "Transpose", k, perm=(0, 1, 3, 2))))
    return emit(w, "MatMul", emit(w, "Cast", emit(w, "Softmax", scores, axis=axis), to=np.float32), v)


def windows(w, s):
    """As Swin's: a bias for each head, then a mask for each window."""
    s = emit(w, "Add", s, noise(1, 3, 40, 40, seed=3))
    s = emit(w, "Reshape", s, np.array([2, 3, 3, 40, 40]))
    return emit(w, "Reshape", emit(w, "Add", s, noise(3, 1, 40, 40, seed=4)), np.array([6, 3, 40, 40]))


CHANGES = {
    "nothing": lambda w, s: s,
    "a number": lambda w, s: emit(w, "Div", s, np.array(3, np.float32)),
    "a number before": lambda w, s: emit(w, "Sub", np.array([0.5], np.float32), s),
    "a bias": lambda w, s: emit(w, "Add", emit(w, "Mul", s, np.array(0.3, np.float32)), noise(3, 40, 40, seed=3)),
    "a number for each column": lambda w, s: emit(w, "Add", s, noise(40, seed=3)),
    "a number for each row": lambda w, s: emit(w, "Mul", noise(6, 1, 40, 1, seed=3), s),
    "windows": windows,
    "a conversion to what it is": lambda w, s: emit(w, "Cast", emit(w, "Add", s, noise(40, seed=3)), to=np.float32),
}


def made(build, *arrays):
    """A network, and what its graph gives node by node before any pass, in float64."""
    whole = Graph()
    inputs = [whole.input(f"x{i}", Info(array.shape, array.dtype)) for i, array in enumerate(arrays)]
    whole.outputs, whole.output_names = [build(whole, *inputs)], ["y"]
    values = dict(zip(inputs, arrays, strict=True))
    for node in whole.nodes:
        taken = [values[v] if v.data is None else v.data for v in node.inputs]
        taken = [v.astype(np.float64) if v.dtype.kind == "f" else v for v in taken]
        values[node.outputs[0]] = OPS[node.op].run(node.attrs, *taken)
    wanted = values[whole.outputs[0]]
    return Network(whole), wanted


def operators(network, *arrays):
    return [node.op for node in network.explain(*arrays, measure=False).nodes if node.how != "view"]


def close(y, wanted):
    np.testing.assert_allclose(y, wanted, rtol=2e-5, atol=2e-6)


def test_the_rows_of_turns_follow_from_threads_and_bits_do_not():
    q, k, v = (noise(1, 2, 150, 8, seed=seed) for seed in range(3))
    network, turns = made(lambda w, *x: plain(w, *x), q, k, v)[0], set()
    whole = network(q, k, v)
    for threads in (1, 2, 3, 5):
        with convkit.threads(threads):
            np.testing.assert_array_equal(network(q, k, v), whole)
            turns.add(network._planned([q, k, v])[0].program.count)
            assert operators(network, q, k, v) == ["Attend"]
    assert len(turns) > 1


def test_the_function_that_the_operator_is():
    q, k, v = (noise(6, 3, 40, 8, seed=seed) for seed in range(3))
    network, wanted = made(lambda w, *x: plain(w, *x, windows), q, k, v)
    plan = network._planned([q, k, v])[0]
    (node,) = (node for node in plan.nodes if node.op == "Attend")
    k = k.swapaxes(2, 3)
    others = [plan.constant(value) for value in node.inputs[3:]]
    close(OPS["Attend"].run(node.attrs, q, k, v, *others), wanted)
    infos = [Info(array.shape, array.dtype) for array in (q, k, v, *others)]
    assert OPS["Attend"].infer(node.attrs, *infos)[0].shape == wanted.shape


def test_a_mask_that_varies():
    q, k, v = (noise(6, 3, 40, 8, seed=seed) for seed in range(3))
    mask = np.where(noise(6, 1, 40, 40, seed=4) > 0, np.float32(0), np.float32(-np.inf))
    mask[..., 0] = 0
    network, wanted = made(lambda w, q, k, v, m: plain(w, q, k, v, lambda w, s: emit(w, "Add", s, m)), q, k, v, mask)
    close(network(q, k, v, mask), wanted)
    assert operators(network, q, k, v, mask) == ["Attend"]
    mask = np.broadcast_to(mask, (6, 3, 40, 40)).copy()
    network, wanted = made(lambda w, q, k, v, m: plain(w, q, k, v, lambda w, s: emit(w, "Add", m, s)), q, k, v, mask)
    close(network(q, k, v, mask), wanted)
    assert operators(network, q, k, v, mask) == ["Attend"]


def test_factors_that_are_repeated_over_the_batch():
    q, k, v = noise(6, 3, 40, 8), noise(1, 3, 40, 8, seed=1), noise(2, 3, 3, 40, 5, seed=2)

    def build(w, q, k, v):
        def cut(w, s):
            return emit(w, "Reshape", emit(w, "Mul", s, np.array(2, np.float32)), np.array([2, 3, 3, 40, 40]))

        return plain(w, q, k, v, cut)

    network, wanted = made(build, q, k, v)
    close(network(q, k, v), wanted)
    assert operators(network, q, k, v) == ["Attend"]


@pytest.mark.parametrize("threads", (1, 2, 3))
@pytest.mark.parametrize("name", CHANGES)
def test_attention_is_one_node(name, threads):
    q, k, v = (noise(6, 3, 40, size, seed=seed) for seed, size in enumerate((8, 8, 5)))
    network, wanted = made(lambda w, *x: plain(w, *x, CHANGES[name]), q, k, v)
    with convkit.threads(threads):
        close(network(q, k, v), wanted)
        assert operators(network, q, k, v) == ["Attend"]
    with convkit.threads(1):
        one = network(q, k, v)
    with convkit.threads(3):
        np.testing.assert_array_equal(network(q, k, v), one)


@pytest.mark.parametrize("rows, columns", ((1, 7), (37, 301), (300, 300), (343, 343), (257, 1200), (2, 40000)))
def test_rows_are_taken_some_at_a_time(rows, columns):
    q, k, v = noise(2, 1, rows, 6), noise(2, 1, columns, 6, seed=1), noise(2, 1, columns, 9, seed=2)
    bias = noise(rows, columns, seed=3)
    network, wanted = made(lambda w, *x: plain(w, *x, lambda w, s: emit(w, "Add", s, bias)), q, k, v)
    for threads in (1, 2):
        with convkit.threads(threads):
            close(network(q, k, v), wanted)
            assert operators(network, q, k, v) == ["Attend"]
    whole = network(q, k, v)
    for limit in ("200KiB", "1MiB"):
        with convkit.workspace_limit(limit):
            np.testing.assert_array_equal(network(q, k, v), whole)
            plan = network._planned([q, k, v])[0]
            assert plan.program.workspace <= {"200KiB": 200 << 10, "1MiB": 1 << 20}[limit]
            assert ("Attend" in [node.op for node in plan.nodes]) == (limit == "1MiB")


def test_heads_that_share_an_array():
    """As exporters have them: one projection, cut into heads and into queries, keys and values, all of them views."""
    x, weight = noise(2, 50, 24), noise(24, 72, seed=1) / 5

    def build(w, x):
        cut = emit(w, "Reshape", emit(w, "MatMul", x, weight), np.array([2, 50, 3, 4, 6]))
        cut = emit(w, "Transpose", cut, perm=(2, 0, 3, 1, 4))
        q, k, v = (emit(w, "Gather", cut, np.array(i), axis=0) for i in range(3))
        y = emit(w, "Transpose", plain(w, q, k, v), perm=(0, 2, 1, 3))
        return emit(w, "Reshape", y, np.array([2, 50, 24]))

    network, wanted = made(build, x)
    close(network(x), wanted)
    assert "Attend" in operators(network, x) and "Softmax" not in operators(network, x)


def test_a_batch_of_one_has_the_bits_of_a_batch():
    q, k, v = (noise(5, 3, 40, 8, seed=seed) for seed in range(3))
    network = made(lambda w, *x: plain(w, *x), q, k, v)[0]
    np.testing.assert_array_equal(network(q, k, v)[3:4], network(q[3:4], k[3:4], v[3:4]))


def seen_twice(w, q, k, v):
    scores = emit(w, "MatMul", q, emit(w, "Transpose", k, perm=(0, 1, 3, 2)))
    weights = emit(w, "Softmax", scores, axis=-1)
    return emit(w, "Concat", emit(w, "MatMul", weights, v), weights, axis=-1)


OTHERS = {
    "weights that are used elsewhere": seen_twice,
    "softmax along rows": lambda w, q, k, v: plain(w, q, k, v, axis=2),
    "an activation": lambda w, q, k, v: plain(w, q, k, v, lambda w, s: emit(w, "Relu", s)),
    "a factor that is known": lambda w, q, k, v: emit(
        w, "MatMul", emit(w, "Softmax", emit(w, "MatMul", q, noise(6, 3, 8, 40, seed=5)), axis=-1), v
    ),
    "rows that are cut": lambda w, q, k, v: emit(
        w,
        "MatMul",
        emit(
            w,
            "Softmax",
            emit(
                w, "Reshape", emit(w, "MatMul", q, emit(w, "Transpose", k, perm=(0, 1, 3, 2))), np.array([6, 3, 80, 20])
            ),
            axis=-1,
        ),
        emit(w, "Slice", v, np.array([0]), np.array([20]), np.array([2])),
    ),
    "axes that cross": lambda w, q, k, v: emit(
        w,
        "MatMul",
        emit(
            w,
            "Softmax",
            emit(
                w,
                "Reshape",
                emit(
                    w,
                    "Mul",
                    emit(
                        w,
                        "Reshape",
                        emit(w, "MatMul", q, emit(w, "Transpose", k, perm=(0, 1, 3, 2))),
                        np.array([2, 9, 40, 40]),
                    ),
                    noise(2, 9, 1, 40),
                ),
                np.array([3, 6, 40, 40]),
            ),
            axis=-1,
        ),
        emit(w, "Reshape", v, np.array([3, 6, 40, 5])),
    ),
    "another function": lambda w, q, k, v: plain(w, q, k, v, lambda w, s: emit(w, "Tanh", s)),
    "scores turned around": lambda w, q, k, v: plain(
        w, q, k, v, lambda w, s: emit(w, "Transpose", emit(w, "Abs", s), perm=(0, 1, 3, 2))
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_attention(name):
    q, k, v = (noise(6, 3, 40, size, seed=seed) for seed, size in enumerate((8, 8, 5)))
    network, wanted = made(OTHERS[name], q, k, v)
    close(network(q, k, v), wanted)
    assert "Attend" not in operators(network, q, k, v)
