"""Mutated and crafted models of ONNX, loaded and run by child processes: an error, or arrays as a model declares them.

    PYTHONPATH=tests python tests/fuzz_onnx.py --count 10000

Never a crash, a hang, much memory, code that runs, or another file that is opened. Each model is made from its number
alone: `--first N --count 1 --keep FILE` makes it again.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

from convkit import onnx_backend
from fuzz_files import NUMBERS, by_bytes, in_child, pick

MEMORY, SECONDS, MAX_BYTES = 1 << 30, 30, 1 << 26
SEEDS = [
    """y = Conv<pads=[1, 1, 1, 1], group=2>(x, w, b)  z = Clip(y, lo, hi)  p = MaxPool<kernel_shape=[2, 2]>(z)
       q = ConvTranspose<strides=[2, 2]>(p, w)  out = Resize<mode="linear">(q, none, scales)""",
    """t = Transpose<perm=[0, 2, 3, 1]>(x)  n = LayerNormalization<axis=-1>(t, b, b)  m = MatMul(n, m44)  g = Gelu(m)
       o = Mul(g, b)  u = Transpose<perm=[0, 3, 1, 2]>(o)  out = Add(u, x)""",
    """c = Concat<axis=1>(x, x)  s = Relu(x)  c2 = Concat<axis=1>(s, x)  r = Reshape(c2, five)
       t = Transpose<perm=[0, 2, 1, 3, 4]>(r)  f = Reshape(t, four)  a, d = Split<axis=1, num_outputs=2>(f)
       k = Softmax<axis=1>(a)  out = Concat<axis=-1>(k, d)""",
    """m = ReduceMean(x, last)  d = Sub(x, m)  q = Pow(d, two)  v = ReduceMean(q, last)  e = Add(v, two)  r = Sqrt(e)
       n = Div(d, r)  o = Mul(n, b6)  h = Div(o, two)  f = Erf(h)  l = LRN<size=3>(f)
       a = AveragePool<kernel_shape=[2, 2]>(l)  out = GlobalAveragePool(a)""",
    """s = Shape(x)  g = Gather(s, zero)  e = Expand(b6, s)  t = Tile(e, ones4)  p = Pad(t, eight)  f = Flatten(p)
       k, i = TopK(f, one)  out = ReduceL2<keepdims=0>(k)""",
]  # fmt: skip
PRELUDE = """<ir_version: 10, opset_import: ["" : 22]> m (float[n, 4, 5, 6] x) => (float out)
  <float[4, 2, 3, 3] w, float[4] b, float[4, 4] m44, float[6] b6, float two = {2.0},
   float lo = {-1.0}, float hi = {1.0}, float[4] scales = {1.0, 1.0, 2.0, 2.0},
   int64[5] five = {0, 2, 4, 5, 6}, int64[4] four = {0, 8, 5, 6},
   int64[1] last = {-1}, int64 zero = {0}, int64[4] ones4 = {1, 1, 2, 1}, int64[8] eight = {0, 0, 1, 1, 0, 0, 1, 1},
   int64[1] one = {1}, float[0] none> {"""


def seeds() -> list[onnx.ModelProto]:
    """Models that run as they are."""
    rng, found = np.random.default_rng(0), []
    for body in SEEDS:
        model = parser.parse_model(PRELUDE + body + "}")
        model.graph.output[0].type.CopyFrom(helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None))
        given = {tensor.name for tensor in model.graph.initializer}
        for entry in list(model.graph.value_info):
            if entry.name in ("w", "b", "m44", "b6", "none") and entry.name not in given:
                shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
                array = rng.standard_normal(shape).astype(np.float32)
                model.graph.initializer.append(numpy_helper.from_array(array, entry.name))
        found.append(model)
    return found


# ---------------------------------------------------------------- mutation

PIECES = SimpleNamespace(pieces=[b"\x08\x01", b"\x12\x04", b"\xff" * 9 + b"\x01", b"Relu", b"\n\x01x"])


def made(number: int, models: list[onnx.ModelProto]) -> bytes:
    """The model of a number."""
    rng = np.random.default_rng(number)
    model = onnx.ModelProto.FromString(pick(rng, models).SerializeToString())
    if rng.random() < 0.25:
        content = model.SerializeToString()
        for _ in range(rng.integers(1, 4)):
            content = by_bytes(content, rng, PIECES)
        return content
    for _ in range(rng.integers(1, 4)):
        pick(rng, CHANGES)(model, rng)
    return model.SerializeToString()


def integer(rng: np.random.Generator) -> int:
    number = pick(rng, NUMBERS) if rng.random() < 0.3 else int(rng.integers(-3, 9))
    return (-number if rng.random() < 0.2 else number) % 2**64 - (2**64 if number >= 2**63 else 0)


def changed_attribute(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    if not attributes:
        return
    attribute = pick(rng, attributes)
    number = max(min(integer(rng), 2**63 - 1), -(2**63))
    if attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = number
        if rng.random() < 0.3:
            attribute.ints.append(number)
    else:
        attribute.i, attribute.f = number, float(pick(rng, [0, -1, 1e30, np.inf, np.nan, 1e-30]))


def changed_inputs(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    names = [name for node in model.graph.node for name in (*node.input, *node.output)] + [""]
    node = pick(rng, model.graph.node)
    if node.input and rng.random() < 0.8:
        node.input[int(rng.integers(len(node.input)))] = pick(rng, names)
    else:
        node.input.append(pick(rng, names))


def changed_op(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    pick(rng, model.graph.node).op_type = pick(rng, OPERATORS)


def changed_tensor(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    tensor = pick(rng, model.graph.initializer)
    try:
        array = np.array(numpy_helper.to_array(tensor))
    except Exception:  # it has been changed before
        return
    match rng.integers(4):
        case 0:
            tensor.dims.append(max(min(integer(rng), 2**63 - 1), -(2**63)))
        case 1:
            tensor.data_type = int(rng.integers(0, 25))
        case 2:
            array = array.reshape(-1)[: int(rng.integers(array.size + 1))] if rng.random() < 0.5 else array[np.newaxis]
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
        case 3:
            with np.errstate(all="ignore"):
                array[...] = np.asarray(pick(rng, [0, -1, 1, 3, 1e30, np.inf, np.nan, 2**40])).astype(array.dtype)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def changed_types(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    kind, given = model.graph.input[0].type.tensor_type, model.graph.output[0].type.tensor_type
    match rng.integers(5):
        case 0:
            kind.elem_type = int(rng.integers(0, 25))
        case 1:
            pick(rng, kind.shape.dim).dim_value = max(min(integer(rng), 2**63 - 1), -(2**63))
        case 2:
            model.opset_import[0].version = int(rng.integers(1, 28))
        case 3:
            kind.elem_type = given.elem_type = int(rng.integers(0, 25))
        case 4:
            given.shape.dim.add().dim_value = int(rng.integers(0, 5))


def changed_nodes(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    nodes = list(model.graph.node)
    at = int(rng.integers(len(nodes)))
    nodes.insert(int(rng.integers(len(nodes))), nodes.pop(at)) if rng.random() < 0.5 else nodes.pop(at)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


CHANGES = [changed_attribute, changed_inputs, changed_op, changed_tensor, changed_types, changed_nodes]
OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""})


# ---------------------------------------------------------------- the child


class Watch:
    """An audit hook: while it is on, no program may run, and no file be opened but this one and Python's own."""

    def __init__(self) -> None:
        self.path, self.seen = None, []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple) -> None:
        if self.path is None or event not in ("open", "os.system", "subprocess.Popen", "os.exec", "socket.connect"):
            return
        if event != "open" or not (arguments[0] == self.path or str(arguments[0]).startswith(sys.prefix)):
            self.seen.append(f"{event} {arguments}"[:200])


def judged(path: str, watch: Watch) -> str:
    """What came of a model: "arrays" or "refused", or else what is wrong."""
    watch.path, watch.seen = path, []
    try:
        network = onnx_backend.load(path, max_bytes=MAX_BYTES)
        arrays = [array_for(network, name) for name in network.inputs]
        results = network(*arrays)
    except (ValueError, TypeError, MemoryError, OverflowError) as error:
        return f"it did {watch.seen}" if watch.seen else "refused" if str(error) else f"a bare {type(error).__name__}"
    except Exception as error:  # whether it is one of those that may come is what is asked
        return (
            "refused" if isinstance(error, onnx_backend.UnsupportedError) else f"{type(error).__name__}: {error}"[:200]
        )
    finally:
        watch.path = None
    results = results if isinstance(results, tuple) else (results,)
    if watch.seen or len(results) != len(network.outputs):
        return f"it did {watch.seen}, and gave {len(results)} arrays"
    for name, array in zip(network.outputs, results, strict=True):
        said = next(entry.type.tensor_type for entry in onnx.load(path).graph.output if entry.name == name)
        wanted = array.dtype if not said.elem_type else helper.tensor_dtype_to_np_dtype(said.elem_type)
        sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in said.shape.dim]
        if not isinstance(array, np.ndarray) or array.dtype != wanted:
            return f"{name!r} is {array.dtype}, and declared to be {wanted}"
        if said.HasField("shape") and not same(array.shape, sizes):
            return f"{name!r} has shape {array.shape}, and is declared to have {sizes}"
    return "arrays"


def same(shape: tuple[int, ...], sizes: list[int | None]) -> bool:
    return len(shape) == len(sizes) and all(b is None or b < 0 or a == b for a, b in zip(shape, sizes, strict=True))


def array_for(network: Any, name: str) -> np.ndarray:
    dtype, sizes = network.graph.declared[name]
    sizes = tuple(2 if size is None else size for size in sizes or (2, 4, 5, 6))
    if np.prod([float(size) for size in sizes]) > 1e6:
        raise MemoryError("an input of that size is not tried")
    return np.ones(sizes, dtype)


def child(first: int, count: int) -> None:
    """Run these models here, saying which one before each, and print what came of them."""
    faulthandler.enable()
    models, watch, came = seeds(), Watch(), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for model in models:
            Path("model.onnx").write_bytes(model.SerializeToString())
            network = onnx_backend.load("model.onnx", max_bytes=MAX_BYTES)
            network(np.ones((2, 4, 5, 6), np.float32))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
        for number in range(first, first + count):
            print(number, file=sys.stderr, flush=True)
            Path("model.onnx").write_bytes(made(number, models))
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            result = judged("model.onnx", watch)
            came[result if result in ("arrays", "refused") else f"{number}: {result}"] += 1
        faulthandler.cancel_dump_traceback_later()
        os.chdir("/")
    print(json.dumps({"models": came}))


def run(first: int, count: int) -> dict[str, int]:
    """What came of these models in a child."""
    (came,) = in_child(__file__, first, count).values()
    return came


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="write the first model here, and run none")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.keep:
        options.keep.write_bytes(made(options.first, seeds()))
    elif options.child:
        child(options.first, options.count)
    else:
        total: collections.Counter[str] = collections.Counter()
        for first in range(options.first, options.first + options.count, 1000):
            total.update(run(first, min(1000, options.first + options.count - first)))
        print(dict(total))


if __name__ == "__main__":
    main()
