"""Products of matrices by the engine: what is a batch, rows and columns, side by side, and as NumPy has them."""

import numpy as np
import pytest

import convkit
from bounds import assert_within_bound
from convkit.graph import OPS, Graph, Info, Network

SUMS = [
    ("bghid,bghjd->bghij", (1, 4, 2, 17, 15), (1, 4, 2, 9, 15)),
    ("bghij,bghjd->bghid", (1, 9, 2, 17, 14), (1, 9, 2, 14, 13)),
    ("ij,jk->ki", (13, 14), (14, 15)),
    ("abc,dbc->ad", (13, 4, 15), (12, 4, 15)),
    ("nctkv,kvw->nctw", (2, 13, 14, 2, 15), (2, 15, 15)),
    ("a,b->ab", (53,), (64,)),
    ("ij,j->i", (50, 60), (60,)),
]
OTHERS = [
    ("ab,ab->", (50, 60), (50, 60)),  # one sum
    ("abc,abd->abcd", (9, 8, 7), (9, 8, 6)),  # products that are small
    ("abc,dcb->ad", (3, 4, 5), (2, 5, 4)),  # what is summed has another order in the second
    ("bchw,cd->bdhw", (2, 3, 4, 5), (3, 6)),  # rows are two axes apart from each other
    ("ab,bc->c", (3, 4), (4, 5)),
    ("aab,b->a", (3, 3, 4), (4,)),
    ("b...,bd->b...d", (3, 4), (3, 5)),
    ("ab,ab->a", (3, 4), (1, 4)),
    ("ab,bc->ac", (3, 0), (0, 2)),
]


def noise(shape, seed, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def network(build, *arrays):
    whole = Graph()
    values = [whole.input(f"x{i}", Info(x.shape, x.dtype)) for i, x in enumerate(arrays)]
    whole.outputs, whole.output_names = [build(whole, *values)], ["y"]
    return Network(whole)


def alike(made, *arrays):
    """The result, whose bits are the same on any number of threads and with little room."""
    y = made(*arrays)
    for threads in (2, 5):
        with convkit.threads(threads):
            np.testing.assert_array_equal(made(*arrays), y)
            with convkit.workspace_limit("32KiB"):
                np.testing.assert_array_equal(made(*arrays), y)
    return y


@pytest.mark.parametrize(
    ("equation", "a", "b", "in_engine"), [*((*s, True) for s in SUMS), *((*s, False) for s in OTHERS)]
)
def test_sums_by_letters(equation, a, b, in_engine):
    a, b = noise(a, 0), noise(b, 1)
    made = network(lambda g, *values: g.emit("Einsum", values, {"equation": equation}), a, b)
    assert [node.how != "NumPy" for node in made.explain(a, b, measure=False).nodes] == [in_engine]
    bound = np.einsum(equation, abs(a), abs(b))
    assert_within_bound(alike(made, a, b), np.einsum(equation, a, b), a.size * bound * np.finfo(a.dtype).eps, equation)


def test_sums_of_two_dtypes_are_numpys():
    a, b = noise((13, 14), 0), noise((14, 15), 1, "float64")
    made = network(lambda g, *values: g.emit("Einsum", values, {"equation": "ij,jk->ki"}), a, b)
    np.testing.assert_allclose(made(a, b), (a @ b).T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(40, 3, 17, 9), (3, 40, 17, 9), (1, 1, 50, 60), (2, 2, 1, 1)])
def test_batches_of_products(shape):
    *batch, rows, inner = shape
    a, b = noise(shape, 0), noise((*batch, 11, inner), 1)

    def build(graph, a, b):
        turned = graph.emit("Transpose", [b], {"perm": (*range(len(batch)), len(batch) + 1, len(batch))})
        return graph.emit("MatMul", [a, turned], {})

    wanted, bound = a @ b.swapaxes(-1, -2), abs(a) @ abs(b).swapaxes(-1, -2)
    made = network(build, a, b)
    with convkit.threads(2):
        (how,) = [node.how for node in made.explain(a, b, measure=False).nodes if node.op == "MatMul"]
    assert "2 threads" in how if np.prod(batch) >= 8 else "1 thread" in how
    got = alike(made, a, b)
    assert_within_bound(got, wanted, inner * bound * np.finfo(a.dtype).eps, str(shape))


def test_rows_that_are_an_axis_of_their_own_are_one_product():
    """One for each would read the weight as often."""
    x, w = noise((1, 30, 8), 0), noise((8, 6), 1)

    def build(graph, x):
        turned = graph.emit("Transpose", [x], {"perm": (1, 0, 2)})
        return graph.emit("MatMul", [turned, graph.constant(w)], {})

    made = network(build, x)
    (node,) = [node for node in made.explain(x, measure=False).nodes if node.op == "MatMul"]
    whole = network(lambda graph, x: graph.emit("MatMul", [x, graph.constant(w)], {}), x[0])
    assert node.how == whole.explain(x[0], measure=False).nodes[0].how
    np.testing.assert_array_equal(made(x)[:, 0], whole(x[0]))


def test_rows_along_axes_that_are_none_together():
    """Windows of an image: a step for those of each row of windows."""
    x = noise((2, 28, 35, 24), 0)

    def build(graph, x):
        windows = graph.emit("Reshape", [x, graph.constant(np.array([2, 4, 7, 5, 7, 24]))], {})
        turned = graph.emit("Transpose", [windows], {"perm": (0, 1, 3, 2, 4, 5)})
        return graph.emit("Softmax", [turned], {"axis": -1})

    made, windows = network(build, x), x.reshape(2, 4, 7, 5, 7, 24).swapaxes(2, 3).astype("float64")
    assert "NumPy" not in {node.how for node in made.explain(x, measure=False).nodes}
    powers = np.exp(windows)
    np.testing.assert_allclose(alike(made, x), powers / powers.sum(-1, keepdims=True), rtol=3e-6)


MOVES = {
    "Pad": ([np.array([0, 0, 2, 1, 0, 1, -1, 2]), np.float32(3)], {}),
    "Pad of nothing": ([np.zeros(8, np.int64)], {}),
    "Pad of less than nothing": ([np.array([0, 0, -2, 0, 0, 0, -4, 0])], {}),
    "Tile": ([np.array([1, 2, 1, 3])], {}),
    "Expand": ([np.array([3, 2, 4, 5, 6])], {}),
    "DepthToSpace": ([], {"blocksize": 2}),
    "DepthToSpace by columns": ([], {"blocksize": 2, "mode": "CRD"}),
    "SpaceToDepth": ([], {"blocksize": 2}),
}


@pytest.mark.parametrize("case", MOVES)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1)])
def test_what_is_moved(case, order):
    """Of what lies in either order, beside NumPy's."""
    op, (numbers, attrs) = case.split()[0], MOVES[case]
    x = noise((2, 4, 6, 8), 0, "float32") if op != "Expand" else noise((2, 1, 5, 6), 0, "float32")
    turned = np.ascontiguousarray(x.transpose(np.argsort(order)))

    def build(graph, turned):
        x = graph.emit("Transpose", [graph.emit("Relu", [turned], {})], {"perm": order})
        return graph.emit(op, [x, *map(graph.constant, numbers)], attrs)

    made = network(build, turned)
    assert "NumPy" not in {node.how for node in made.explain(turned, measure=False).nodes}
    np.testing.assert_array_equal(made(turned), OPS[op].run(attrs, np.maximum(x, 0), *numbers))
