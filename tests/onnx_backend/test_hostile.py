"""Files that are not what they say: no byte outside the model's folder is read, no more memory taken than allowed."""

import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

import fuzz_onnx
from convkit import onnx_backend
from convkit.onnx_backend import importer

HEAD = '<ir_version: 10, opset_import: ["" : 22]>'
SECRET = np.arange(4, dtype=np.float32)


def given_back(tensor: TensorProto) -> onnx.ModelProto:
    """A model that gives a tensor."""
    output = helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph([], "g", [], [output], [tensor]))


def beside(folder, location: str, dims=(4,), **entries):
    """The path of a model in a folder, whose tensor lies in a file at that location."""
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    (folder / "model.onnx").write_bytes(given_back(tensor).SerializeToString())
    return folder / "model.onnx"


@pytest.fixture
def folder(tmp_path):
    """A model's folder, with weights in it and beside it."""
    inside = tmp_path / "model"
    (inside / "deep").mkdir(parents=True)
    for path in (inside / "weights", inside / "deep" / "weights", tmp_path / "secret"):
        path.write_bytes(b"\0" * 4 + SECRET.tobytes() + b"\0" * 4)
    return inside


def test_data_beside_the_model(folder):
    for location in ("weights", "deep/weights", "deep/../weights"):
        y = onnx_backend.load(beside(folder, location, offset=4, length=16))()
        np.testing.assert_array_equal(y, SECRET)
    np.testing.assert_array_equal(onnx_backend.load(beside(folder, "weights", dims=(5,), offset=4))()[:4], SECRET)


def test_data_outside_is_not_read(folder):
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "up").symlink_to(folder.parent)
    for location in ("../secret", "link", "up/secret", str(folder.parent / "secret"), "deep/../../secret", ""):
        with pytest.raises(ValueError, match="outside the model's folder"):
            onnx_backend.load(beside(folder, location, offset=4, length=16))
    model = onnx.load(beside(folder, "weights", offset=4, length=16), load_external_data=False)
    for source in (model, model.SerializeToString()):
        with pytest.raises(ValueError, match="is loaded by its path"):
            onnx_backend.load(source)
        np.testing.assert_array_equal(onnx_backend.load(source, folder=folder)(), SECRET)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": 12, "length": 16}, "12 \\+ 16 bytes of 'weights', which has 24"),
        ({"offset": -4, "length": 16}, "at -4"),
        ({"offset": 4, "length": 12}, "12 bytes in 'weights', and its shape needs another number"),
        ({"offset": 4, "length": -1}, "4 \\+ -1"),
        ({"offset": "four"}, "no number"),
        ({"offset": 4}, "20 bytes"),
        ({"location": "deep"}, "no file"),
        ({"location": "none"}, "no file"),
        ({"offset": 4, "length": 16, "dims": (1 << 20, 1 << 20)}, "max_bytes"),
        ({"offset": 4, "length": 16, "dims": (-4, -1)}, "has no shape"),
    ],
)
def test_places_and_lengths_are_checked(folder, entries, message):
    with pytest.raises((ValueError, MemoryError), match=message):
        onnx_backend.load(beside(folder, **({"location": "weights"} | entries)))


@pytest.mark.parametrize("content", (b"", b"\xff\xff\xff", b"\x08\x0a", os.urandom(1000)))
def test_what_is_no_model_is_a_value_error(content):
    with pytest.raises(ValueError, match="no ONNX file"):
        onnx_backend.load(content)


def test_tensors_have_as_much_data_as_their_shape_needs():
    whole = numpy_helper.from_array(SECRET, "t")
    whole.dims[0] = 5
    listed = helper.make_tensor("t", TensorProto.FLOAT, [4], SECRET.tolist())
    listed.dims[0] = 3
    for tensor, message in ((whole, "16 bytes of data, and its shape needs 20"), (listed, "4 elements")):
        with pytest.raises(ValueError, match=message):
            onnx_backend.load(given_back(tensor))


AMPLIFIERS = {
    "ConstantOfShape": "y = ConstantOfShape(big)",
    "Expand": "y = Expand(x, big)",
    "Tile": "y = Tile(x, big)",
    "Resize": 'y = Resize <mode: string = "nearest"> (x, , , big)',
    "Pad": "pads = Concat <axis: int = 0> (big, big) y = Pad(x, pads)",
    "Range": "zero = Constant <value_int = 0> () one = Constant <value_int = 1> () "
    "n = ReduceProd <keepdims: int = 0>(big) numbers = Range(zero, n, one) y = Cast <to: int = 1> (numbers)",
    "OneHot": "n = ReduceProd <keepdims: int = 0>(big) two = Constant <value_floats = [0.0, 1.0]> () "
    "i = Constant <value_ints = [1]> () y = OneHot(i, n, two)",
    "CenterCropPad": "y = CenterCropPad(x, big)",
    "Add": "a = Reshape(v, column) b = Reshape(v, row) y = Add(a, b)",
    "Einsum": 'y = Einsum <equation: string = "i,j->ij"> (v, v)',
    "Gather": "i = ConstantOfShape <value: tensor = int64[1] {0}> (many) y = Gather(rows, i)",
}


@pytest.mark.parametrize("known", (True, False))
@pytest.mark.parametrize("name", AMPLIFIERS)
def test_small_files_take_no_large_memory(name, known):
    """Whether all is constant, so that it is folded, or planned, or run node by node."""
    source = "one = Constant <value_floats = [1.0]> ()" if known else "one = Identity(given)"
    proto = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 22]>
        top (float[1] given) => (float[n, m] y)
        <int64[2] big = {{1000000, 1000000}}, int64[2] small = {{1, 1}}, int64[1] many = {{100000}},
         int64[2] column = {{100000, 1}}, int64[2] row = {{1, 100000}}> {{
            {source}
            x = Reshape(one, small)
            v = Expand(one, many)
            rows = Reshape(v, row)
            {AMPLIFIERS[name]}
        }}"""
    )
    with pytest.raises(MemoryError, match="max_bytes"):
        onnx_backend.load(proto, max_bytes=10_000_000)(np.ones(1, np.float32))


def test_max_bytes_is_a_number_of_bytes():
    model = parser.parse_model(f"{HEAD} m (float[8] x) => (float[8] y) {{ y = Neg(x) }}")
    with pytest.raises(MemoryError, match="more than max_bytes = 16"):
        onnx_backend.load(model, max_bytes="16B")(np.ones(8, np.float32))
    with pytest.raises(ValueError, match="max_bytes must be at least 0 bytes, got -1"):
        onnx_backend.load(model, max_bytes=-1)


def test_calls_of_calls_of_calls_are_counted(monkeypatch):
    monkeypatch.setattr(importer, "_MOST_NODES", 1000)
    levels = "".join(
        f"""<domain: "own", opset_import: ["own" : 1]>
        f{i} (a) => (b) {{ {" ".join(f"x{k} = own.f{i - 1}({'a' if k == 0 else f'x{k - 1}'})" for k in range(10))}
        b = own.f{i - 1}(x9) }}"""
        for i in range(1, 6)
    )
    proto = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 22, "own" : 1]>
        top (float[n] x) => (float[n] y) {{ y = own.f5(x) }}
        <domain: "own", opset_import: ["" : 22]> f0 (a) => (b) {{ b = Neg(a) }}
        {levels}"""
    )
    with pytest.raises(ValueError, match="make more than 1000 nodes"):
        onnx_backend.load(proto)


MUTANTS = textwrap.dedent("""
    import resource, sys, warnings
    import numpy as np
    import onnx_vectors
    from convkit import onnx_backend

    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    warnings.simplefilter("ignore")
    first, count, step = map(int, sys.argv[1:])
    folders = onnx_vectors.folders("node")
    rng = np.random.default_rng(first)
    for i in range(count):
        folder = folders[(first + i * step) % len(folders)]
        content = np.frombuffer((folder / "model.onnx").read_bytes(), np.uint8).copy()
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(len(content))] = rng.integers(256)
        try:
            network = onnx_backend.load(content.tobytes(), max_bytes=1 << 26)
            shapes = [sizes for _, sizes in network.graph.declared.values()]
            inputs = [
                rng.integers(0, 3, [2 if n is None else min(n, 50) for n in sizes or ()]).astype(dtype)
                for dtype, sizes in network.graph.declared.values()
            ]
            network(*inputs)
        except (Exception, RecursionError):
            continue
    print("done")
""")


@pytest.mark.thorough
@pytest.mark.parametrize("first", range(2))
def test_mutants_end_in_an_error_or_in_arrays(first):
    """In a process of its own, with little memory: it must not crash."""
    path = os.pathsep.join([*sys.path, os.path.dirname(os.path.dirname(__file__))])
    result = subprocess.run(
        [sys.executable, "-c", MUTANTS, str(first), "250", "7"], capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": path, "CONVKIT_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr[-2000:]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y = Split <num_outputs: int = 4611686018427387904> (x)", "num_outputs must be from 1 to the axis's size, 4"),
        ("y = Add(x)", "has 1 inputs and 1 outputs"),
        ("y = Where(x, , x)", "has no input X"),
        ("y = Concat(x, x)", "has no attribute axis"),
        ("y = Concat <axis: float = 1.0> (x, x)", "an attribute axis of another type than INT"),
        ("axes = Constant <value_ints = [9]> () y = ReduceMean(x, axes)", "axis must be one of 1, got 9"),
        ("y = Neg(unknown)", "takes 'unknown', which nothing before it gives"),
    ],
)
def test_nodes_are_what_their_operators_ask_for(body, message):
    proto = parser.parse_model(f"{HEAD} top (float[4] x) => (float[n] y) {{ {body} }}")
    with pytest.raises(ValueError, match=message):
        onnx_backend.load(proto)(np.ones(4, np.float32))


@pytest.mark.parametrize("known", (True, False))
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y, z = Split <axis: int = 5, num_outputs: int = 2> (x)", "axis must be one of 4, got 5"),
        ("y = Slice(x, zero, one, nine)", "axis must be one of 4, got 9"),
        ("y = Pad(x, zeros, , nine)", "axis must be one of 4, got 9"),
        ("y = Gather(x, nine)", "index 9 is out of bounds"),
        ("y = LRN <size: int = 0> (x)", "division by zero"),
        ("y = GlobalLpPool <p: int = 0> (x)", "division by zero"),
        ("n = Size(x) y = Range(n, n, nought)", "division by zero"),
        ("y = Resize(x, , , sizes)", "sizes must be at least 0, got shape (1, 4, -5, 3)"),
        ("y = CenterCropPad(x, sizes)", "sizes must be at least 0, got shape (1, 4, -5, 3)"),
        ("y = Tile(x, sizes)", "sizes must be at least 0, got shape (1, 16, -15, 9)"),
        ("y, z = TopK(x, less)", "sizes must be at least 0, got shape (1, 4, 3, -5)"),
        ("y = RandomNormal <shape: ints = [-5]> ()", "sizes must be at least 0, got shape (-5,)"),
        ("y = Resize(x)", "scales or sizes must be given"),
        ("y = EyeLike(x)", "x must have 2 axes, got shape (1, 4, 3, 3)"),
        ("y = Clip(x, , bounds)", "max must be a number, got shape (2,)"),
    ],
)
def test_numbers_that_are_none_of_a_size_or_axis_are_value_errors(body, message, known):
    """Whether all is constant, so that it is folded, or planned."""
    source = "x = ConstantOfShape(whole)" if known else "x = Identity(given)"
    proto = parser.parse_model(
        f"""{HEAD} top (float[1, 4, 3, 3] given) => (float y)
        <int64[4] whole = {{1, 4, 3, 3}}, int64[4] sizes = {{1, 4, -5, 3}}, int64[1] less = {{-5}},
         int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] nine = {{9}}, int64[2] zeros = {{0, 0}},
         int64 nought = {{0}}, float[2] bounds = {{0, 1}}> {{ {source} {body} }}"""
    )
    proto.graph.output[0].type.Clear()
    with pytest.raises(ValueError, match=re.escape(message)):
        onnx_backend.load(proto)(np.ones((1, 4, 3, 3), np.float32))


def test_scratch_of_wide_windows_is_counted():
    wide = 1 << 30
    text = f"y = LpPool <kernel_shape: ints = [{wide}], pads: ints = [{wide - 1}, {wide - 1}]> (x)"
    proto = parser.parse_model(f"{HEAD} top (float[1,1,4] x) => (float[n] y) {{ {text} }}")
    with pytest.raises(MemoryError, match="max_bytes"):
        onnx_backend.load(proto, max_bytes=1_000_000)(np.ones((1, 1, 4), np.float32))


def test_operator_sets_of_the_future_are_refused():
    proto = parser.parse_model(f"{HEAD.replace('22', '999')} top (float[4] x) => (float[4] y) {{ y = Neg(x) }}")
    with pytest.raises(onnx_backend.UnsupportedError, match="operator set 999"):
        onnx_backend.load(proto)


@pytest.mark.parametrize("node, message", (
    ("Conv(x, w, two)", r"bias must have shape \(4,\), got \(2,\)"),
    ("Conv(x, w, one)", r"bias must have shape \(4,\), got \(\)"),
    ("ConvTranspose(x, w, two)", r"bias must have shape \(4,\)"),
    ("DeformConv(x, w, o, two)", r"bias must have shape \(4,\)"),
    ("DeformConv(x, w, o, four, x)", r"mask must have shape \(1, 1, 3, 3\)"),
    ("BatchNormalization(x, two, two, two, two)", "x must have 2 channels"),
    ("LayerNormalization(x, two)", r"x must have \(2,\)"),
    ("Concat<axis=1>(x, , x)", "no input inputs"),
    ("Resize<mode=\"line\">(x, two, four)", "the value 'line'"),
))  # fmt: skip
def test_kernels_read_no_numbers_that_are_not_there(node, message):
    inputs = "float[1, 4, 3, 3] x, float[4, 4, 1, 1] w, float[1, 2, 3, 3] o, float[4] four, float[2] two, float one"
    model = parser.parse_model(f"{HEAD} m ({inputs}) => (float y) {{ y = {node} }}")
    model.graph.output[0].type.Clear()
    shapes = {"x": (1, 4, 3, 3), "w": (4, 4, 1, 1), "o": (1, 2, 3, 3), "four": (4,), "two": (2,), "one": ()}
    for name in ("w", "four", "two", "one"):  # constants, whose numbers kernels take as they are
        model.graph.initializer.append(numpy_helper.from_array(np.ones(shapes[name], np.float32), name))
    with pytest.raises(ValueError, match=message):
        network = onnx_backend.load(model)
        network(**{name: np.ones(shapes[name], np.float32) for name in network.inputs})


@pytest.mark.thorough
def test_some_mutated_models():
    came = fuzz_onnx.run(0, 200)
    assert came.keys() <= {"arrays", "refused"} and min(came.values()) > 20, came
