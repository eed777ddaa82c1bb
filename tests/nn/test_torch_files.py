"""PyTorch's weight files without PyTorch: the same arrays, from files that do not lie, and nothing is ever run."""

import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import pt_files
from convkit import nn
from convkit.nn import _pickles
from pt_files import ORDERED_DICT, V2, Call, Name, Reference, code, pickled, storage, tensor, zip_form

VECTORS = Path(__file__).parents[1] / "vectors"
FORMS = pytest.mark.parametrize("form", [pt_files.zip_form, pt_files.older_form])
KINDS = "bool uint8 int8 int16 int32 int64 uint16 float16 float32 float64 complex64 complex128".split()
FLOATS = np.arange(6, dtype=np.float32)


def load(content, path, **options):
    path.write_bytes(content)
    return nn.load_state(path, **options)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "weights.pt"


@pytest.mark.parametrize("file", ["torch.pt", "torch_older.pt"])
def test_files_that_pytorch_wrote(file):
    numbers, shared = np.arange(12).reshape(3, 4), np.arange(20, dtype=np.float32)
    expected = {"weight": np.ones(3, "f"), "bias": np.zeros(3, "f"), "running_mean": np.zeros(3, "f")}
    expected |= {"running_var": np.ones(3, "f"), "num_batches_tracked": np.array(0)}
    expected |= {kind: (numbers - 5).astype(kind) for kind in KINDS}
    expected |= {"float16": (numbers - 5).astype("f"), "bfloat16": (numbers - 5).astype("f")}
    expected |= {"columns": shared[2:14].reshape(3, 4).T, "steps": shared[1::3], "expanded": np.full((2, 3), 5, "f")}
    expected |= {"empty": np.zeros((0, 3), "f"), "scalar": np.array(7), "parameter": np.ones(2, "f")}
    loaded = nn.load_state(VECTORS / file)
    assert loaded.keys() == expected.keys() and list(loaded)[:2] == ["weight", "bias"]
    for name, array in expected.items():
        assert loaded[name].dtype == array.dtype and loaded[name].shape == array.shape, name
        assert loaded[name].flags.c_contiguous and loaded[name].flags.writeable
        np.testing.assert_array_equal(loaded[name], array, err_msg=name)
    loaded["columns"][:] = -1  # it lay in the same storage as others
    np.testing.assert_array_equal(loaded["steps"], expected["steps"])


@FORMS
def test_a_models_weights(path, form):
    one, other = (nn.Sequential(nn.Conv2d(1, 2, 3, rng=seed), nn.BatchNorm2d(2)) for seed in (0, 1))
    state = load(pt_files.of_state(one.state_dict(), form), path)
    assert other.load_state_dict(state) == ([], [])
    np.testing.assert_array_equal(other[0].weight.data, one[0].weight.data)


def test_bytes_may_have_the_highest_first(path):
    tree = {"f": tensor("0", "float32", (6,)), "b": tensor("1", "bfloat16", (2,)), "i": tensor("2", "int16", (2,))}
    storages = {"0": FLOATS.astype(">f4"), "1": np.array([0x3F80, 0xC000], ">u2"), "2": np.array([1, -2], ">i2")}
    loaded = load(zip_form(tree, storages, byteorder=b"big"), path)
    np.testing.assert_array_equal(loaded["f"], FLOATS)
    np.testing.assert_array_equal(loaded["b"], np.array([1, -2], np.float32))
    np.testing.assert_array_equal(loaded["i"], [1, -2])
    with pytest.raises(ValueError, match="its byte order is neither little nor big"):
        load(zip_form(tree, storages, byteorder=b"middle"), path)


def test_bits_of_every_kind_come_through(path):
    half = np.arange(2**16, dtype=np.uint16)
    tree = {"half": tensor("0", "float16", half.shape), "brain": tensor("1", "bfloat16", half.shape)}
    loaded = load(zip_form(tree | {"bool": tensor("2", "bool", (3,))}, {"0": half, "1": half, "2": b"\0\1\2"}), path)
    np.testing.assert_array_equal(loaded["half"], half.view(np.float16).astype(np.float32))
    np.testing.assert_array_equal(loaded["brain"].view(np.uint32), half.astype(np.uint32) << 16)
    assert loaded["bool"].view(np.uint8).tolist() == [0, 1, 1]


def test_an_empty_tensor_may_lie_anywhere(path):
    """PyTorch's slices of nothing begin behind the end."""
    loaded = load(zip_form({"w": tensor("0", "float32", (0, 2), 6, offset=9)}, {"0": FLOATS}), path)
    assert loaded["w"].shape == (0, 2)


def test_what_python_2_wrote(path):
    pairs = [[b"U\x06weight", tensor("0", "float32", (6,))]]
    np.testing.assert_array_equal(load(zip_form(Call(ORDERED_DICT, (pairs,)), {"0": FLOATS}), path)["weight"], FLOATS)


def test_weights_among_other_things(path):
    inner = {"weight": tensor("0", "float32", (6,))}
    tree = {"epoch": 3, "state_dict": inner, "ema": inner, "best": 0.5, "name": "x", "sizes": [(1, 2), None, True]}
    content = zip_form(tree, {"0": FLOATS})
    np.testing.assert_array_equal(load(content, path, key="state_dict")["weight"], FLOATS)
    with pytest.raises(ValueError, match=r"weights.pt has tensors .* say with key= in which of 'state_dict', 'ema'"):
        load(content, path)
    with pytest.raises(ValueError, match=r"must have 'model', which key says, got dict with 'epoch', 'state_dict', "):
        load(content, path, key="model")
    with pytest.raises(ValueError, match="must hold a dict of names and tensors, got int"):
        load(content, path, key="epoch")
    with pytest.raises(ValueError, match="names and tensors alone, got int at 'epoch'"):
        load(zip_form(inner | {"epoch": 3}, {"0": FLOATS}), path)
    with pytest.raises(ValueError, match="must hold a dict of names and tensors, got tensor"):
        load(zip_form(inner["weight"], {"0": FLOATS}), path)
    with pytest.raises(TypeError, match="key must be text or None, got 3"):
        nn.load_state(path, 3)
    with pytest.raises(ValueError, match="key must be None but for .pt and .pth files"):
        nn.load_state("weights.npz", "state_dict")


RUN = ("touch run",)
PROGRAMS = {
    "os.system": pickled({"w": Call(Name("os", "system"), RUN)}),
    "posix.system": pickled(Call(b"X\5\0\0\0posixX\6\0\0\0system\x93", RUN)),
    "builtins.eval": pickled({"w": Call(Name("builtins", "eval"), ("open('run', 'w')",))}),
    "torch.storage._load_from_bytes": pickled(Call(Name("torch.storage", "_load_from_bytes"), (b"C\1x",))),
    "torch.jit.load": pickled(Call(Name("torch.jit", "load"), ("run",))),
    "numpy.core.multiarray.scalar": pickled({"w": Name("numpy.core.multiarray", "scalar")}),
    "convkit.nn.load_state": pickled(Call(Name("convkit.nn", "load_state"), ("run",))),
    "torch._utils._rebuild_tensor_v2.__globals__": pickled(Name("torch._utils", "_rebuild_tensor_v2.__globals__")),
}


@FORMS
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_name_that_no_tensor_needs_is_refused(path, form, name):
    with pytest.raises(ValueError, match=f"weights.pt asks for '{name}', which a file of weights has no need of; noth"):
        load(form(PROGRAMS[name], {}), path)
    assert os.listdir() == ["weights.pt"]


INSTRUCTIONS = {
    "INST": b"(X\5\0\0\0touchios\nsystem\n",
    "OBJ": b"(" + code(ORDERED_DICT) + b"o",
    "NEWOBJ": code(ORDERED_DICT) + b")\x81",
    "EXT1": b"\x82\1",
    "PERSID": b"Pstorage\n",
    "DUP": b")2",
    "LONG4": b"\x8b\1\0\0\0\1",
    "STRING": b"S'text'\n",
}


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_an_instruction_that_no_tensor_needs_is_refused(path, name):
    with pytest.raises(ValueError, match=f"weights.pt has a pickle with the instruction {name}, which"):
        load(zip_form(b"\x80\2" + INSTRUCTIONS[name] + b".", {}), path)


DEEP = b")" + b"\x85" * 200_000  # a tuple in a tuple in a tuple; hashing or comparing one would overflow C's stack
FLOAT = Name("torch", "FloatStorage")


def but_deep_ones_thorough(names):
    return [pytest.param(name, marks=pytest.mark.thorough if "deep" in name else ()) for name in names]


def rebuilt(*arguments):
    return Call(V2, arguments)


LIES = {
    "reaches beyond its storage": tensor("0", "float32", (7,), 6),
    "is longer than the file's": tensor("0", "float32", (7,)),
    "is shorter than the file's": tensor("0", "float32", (5,)),
    "begins beyond its storage": tensor("0", "float32", (1,), 6, offset=6),
    "begins before its storage": tensor("0", "float32", (1,), 6, offset=-1),
    "steps out of its storage": tensor("0", "float32", (2, 2), 6, strides=(5, 1)),
    "steps backwards": tensor("0", "float32", (2,), 6, offset=1, strides=(-1,)),
    "overflows 64 bits": tensor("0", "float32", (2**62, 4), 6, strides=(2**62, 2**62)),
    "would wrap to the start": tensor("0", "float32", (2,), 6, strides=(2**64,)),
    "has fractions of a size": tensor("0", "float32", (2.0,), 6, strides=(1,)),
    "has a truth as a size": tensor("0", "float32", (True,), 6, strides=(1,)),
    "has more sizes than strides": tensor("0", "float32", (2, 2), 6, strides=(1,)),
    "has more axes than NumPy's": tensor("0", "float32", (1,) * 65, 6, strides=(1,) * 65),
    "has no such storage": tensor("1", "float32", (6,)),
    "has a storage outside": tensor("../version", "uint8", (2,)),
    "has a storage of text": rebuilt("0", 0, (6,), (1,), False, {}),
    "has a reference to nothing": rebuilt(Reference("0"), 0, (6,), (1,), False, {}),
    "has a reference to a number": rebuilt(Reference(("module", FLOAT, "0", "cpu", 6)), 0, (6,), (1,), False, {}),
    "has a storage below 0": rebuilt(storage("0", "float32", -6), 0, (6,), (1,), False, {}),
    "has another kind": rebuilt(Reference(("storage", "object", "0", "cpu", 6)), 0, (6,), (1,), False, {}),
    "has a deep key": rebuilt(Reference(("storage", FLOAT, DEEP, "cpu", 6)), 0, (6,), (1,), False, {}),
    "has a deep kind": rebuilt(Reference(("storage", DEEP, "0", "cpu", 6)), 0, (6,), (1,), False, {}),
    "has deep sizes": rebuilt(storage("0", "float32", 6), 0, (DEEP,), (1,), False, {}),
    "has too few arguments": rebuilt(storage("0", "float32", 6)),
    "calls text": Call("text"),
    "calls with no tuple": code(V2) + code([]) + b"R",
    "sets attributes of a list": code([]) + code({}) + b"b",
    "sets items of a list": code([]) + code(1) + code(2) + b"s",
    "appends to a dict": code({}) + code(1) + b"a",
    "takes from an empty stack": b"\x87",
    "has no such mark": b"t",
    "recalls what was not kept": b"h\7",
    "has several ends": code(1) + code(2),
    "makes dicts of one list": Call(ORDERED_DICT, ([[3, 4]],)),
}


@pytest.mark.parametrize("lie", but_deep_ones_thorough(LIES))
def test_a_tensor_that(path, lie):
    with pytest.raises(ValueError, match=r"weights.pt is not a whole pt file of plain arrays \(\w+: "):
        load(zip_form({"w": LIES[lie]}, {"0": FLOATS}), path)


REFUSED = {
    "is nested very deep": (DEEP, "got tuple at 'w'"),
    "is deep as a key": (b"}" + DEEP + b")s", "has a key that is neither text nor a small integer, but tuple"),
    "is very long as a key": (b"}" + code(2**70) + b")s", "neither text nor a small integer, but int"),
    "is conjugated": (rebuilt(storage("0", "float32", 6), 0, (6,), (1,), False, {}, {"conj": True}), "conjugated or"),
    "is of float8": (Name("torch", "float8_e4m3fn"), "asks for 'torch.float8_e4m3fn'"),
    "is quantised": (Name("torch", "QInt8Storage"), "asks for 'torch.QInt8Storage'"),
    "is a view as before 0.4": (
        Reference(("storage", FLOAT, "0", "cpu", 6, ("1", 0, 6))), "has a view of a storage, as PyTorch wrote bef"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", but_deep_ones_thorough(REFUSED))
def test_a_value_that(path, what):
    value, message = REFUSED[what]
    with pytest.raises(ValueError, match=f"weights.pt .*{message}"):
        load(zip_form({"w": value}, {"0": FLOATS}), path)


def test_references_that_disagree(path):
    tree = {"a": tensor("0", "float32", (6,)), "b": tensor("0", "int16", (12,))}
    with pytest.raises(ValueError, match="two references to a storage disagree: '0'"):
        load(zip_form(tree, {"0": FLOATS}), path)


def test_what_unfolds_to_more_than_the_file(path):
    content = zip_form({"w": tensor("0", "float32", (2**20, 2**20), 6, strides=(0, 0))}, {"0": FLOATS})
    with pytest.raises(ValueError, match=r"weights.pt holds 4398046511104 bytes of arrays .* max_bytes .* 67108864; g"):
        load(content, path)
    content = zip_form({"w": tensor("0", "bfloat16", (100,), 3, strides=(0,))}, {"0": FLOATS[:3].astype(np.uint16)})
    assert load(content, path, max_bytes=400)["w"].nbytes == 400
    with pytest.raises(ValueError, match=r"holds 400 bytes .* max_bytes allows, 399; give more"):
        load(content, path, max_bytes="399B")
    for max_bytes, error in ((-1, ValueError), ("a lot", ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="max_bytes must be "):
            nn.load_state(path, max_bytes=max_bytes)


def test_storages_of_the_older_form(path):
    where = pt_files.older_storage
    tree = {"a": tensor("0", "float32", (6,), where=where), "b": tensor("1", "int16", (2,), where=where)}
    storages = {"0": FLOATS, "1": np.array([1, -2], np.int16)}
    whole = pt_files.older_form(tree, storages)
    np.testing.assert_array_equal(load(whole, path)["b"], [1, -2])
    swapped = {"1": storages["1"], "0": storages["0"]}
    np.testing.assert_array_equal(load(pt_files.older_form(tree, swapped), path)["a"], FLOATS)
    bad = {
        "unknown": pt_files.older_form(tree, storages | {"2": FLOATS}),
        "missing": pt_files.older_form(tree, {"0": FLOATS}),
        "longer": pt_files.older_form(tree, {"0": np.zeros(7, "f"), "1": storages["1"]}),
        "cut": whole[:-1],
        "count": whole.replace(struct.pack("<q", 6), struct.pack("<q", 2**61)),
        "keys": whole.replace(pickled(["0", "1"]), pickled(["0", "0"])),
        "no list": whole.replace(pickled(["0", "1"]), pickled(7)),
        "another pickle": pickled(tree),
        "a later version": whole.replace(pickled(1001), pickled(1002)),
        "neither": b"\x1f\x8b" + whole,
    }
    for name, content in bad.items():
        with pytest.raises(ValueError, match="weights.pt is not a whole pt file of plain arrays"):
            load(content, path)
            raise AssertionError(name)


def test_a_program_is_bounded(path, monkeypatch):
    monkeypatch.setattr(_pickles, "MOST", 1000)
    with pytest.raises(ValueError, match="weights.pt has a pickle of more than 1000 instructions"):
        load(zip_form(b"\x80\2" + b")" * 1000 + b".", {}), path)
    monkeypatch.setattr(_pickles, "LONGEST", 1000)
    with pytest.raises(ValueError, match="weights.pt has a pickle of 1003 bytes; 1000 are read at most"):
        load(zip_form(b"\x80\2" + b")" * 1000 + b".", {}), path)


def test_one_list_is_not_many_dicts(path):
    """Or a program of n instructions would take n * n of time and memory."""
    pairs = code([[f"{i}", i] for i in range(1000)]) + b"q\0"
    program = b"\x80\2](" + pairs + (code(ORDERED_DICT) + b"h\0\x85R") * 1000 + b"e."
    with pytest.raises(ValueError, match="must hold a dict of names and tensors, got list"):
        load(zip_form(program, {}), path)


def lying(content, name, field, value, width=4):
    """A zip whose directory says something else of a member."""
    content, at = bytearray(content), -1
    while content[at + 46 : at + 46 + len(name)] != name.encode():
        at = content.index(b"PK\1\2", at + 1)
    content[at + field : at + field + width] = value.to_bytes(width, "little")
    return bytes(content)


ONE = zip_form({"w": tensor("0", "float32", (6,))}, {"0": FLOATS})
NAME = "archive/data/0"
ZIPS = {
    "no pickle": (pt_files.zipped({"archive/version": b"3"}), "one member data.pkl in a folder, and has none"),
    "two pickles": (pt_files.zipped({"a/data.pkl": b"", "b/data.pkl": b""}), "has 'a/data.pkl', 'b/data.pkl'"),
    "absolute": (pt_files.zipped({"/etc/data.pkl": pickled({})}), "has a name outside of the file"),
    "above": (pt_files.zipped({"../data.pkl": pickled({})}), "has a name outside of the file"),
    "encrypted": (lying(ONE, NAME, 8, 1, 2), "has a member that is encrypted, 'archive/data/0'"),
    "lzma": (pt_files.zipped({"a/data.pkl": pickled({})}, compression=zipfile.ZIP_LZMA), "neither stored nor deflated"),
    "longer than it can be": (lying(ONE, NAME, 24, 2**31), "cannot hold 2147483648 bytes in 24"),
    "overlapping": (lying(ONE, NAME, 42, 0), "overlaps what follows it"),
    "damaged": (ONE.replace(FLOATS.tobytes(), FLOATS[::-1].tobytes()), "BadZipFile: Bad CRC-32"),
}


@pytest.mark.parametrize("lie", ZIPS)
def test_a_zip_that_lies(path, lie):
    content, message = ZIPS[lie]
    with pytest.raises(ValueError, match=message):
        load(content, path)
    assert os.listdir() == ["weights.pt"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_a_name_twice(path):
    with zipfile.ZipFile(path, "w") as archive:
        for _ in range(2):
            archive.writestr("archive/data.pkl", pickled({}))
    with pytest.raises(ValueError, match="two members have the name 'archive/data.pkl'"):
        nn.load_state(path)


def test_a_deflated_file(path):
    """PyTorch stores; who packs again deflates, and a bomb is told by what it unfolds to."""
    members = {"a/data.pkl": pickled({"w": tensor("0", "float32", (2**20,))}), "a/data/0": bytes(2**22)}
    content = pt_files.zipped(members, compression=zipfile.ZIP_DEFLATED)
    assert len(content) < 5000 and load(content, path)["w"].nbytes == 2**22
    with pytest.raises(ValueError, match="holds 4194304 bytes of arrays"):
        load(content, path, max_bytes="1MiB")
    small = {"w": tensor("0", "float32", (1,), 2**20)}  # but its storage is large
    content = pt_files.zipped(members | {"a/data.pkl": pickled(small)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="holds 4194304 bytes of arrays"):
        load(content, path, max_bytes="1MiB")


@FORMS
def test_a_file_that_was_cut_short_anywhere(path, form):
    whole = pt_files.of_state({"w": FLOATS, "i": np.arange(3)}, form)
    for length in {0, 1, 2, 7, *range(20, len(whole), 11), len(whole) - 1}:
        with pytest.raises(ValueError, match="is not a whole pt file .* copy or download it again"):
            load(whole[:length], path)
