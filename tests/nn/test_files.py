"""Weight files: whole or not there, never code, and an error that says what to do about a bad one."""

import io
import json
import os
import pickle
import resource
import stat
import struct
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest

from convkit import nn
from convkit._files import replacing
from convkit.train import History, checkpoint
from missing import hide

FORMS = pytest.mark.parametrize("suffix", [".safetensors", ".npz"])


def state():
    """Every kind of array that a state may hold; some names are arguments of np.savez."""
    rng = np.random.default_rng(0)
    return {
        "0.weight": rng.standard_normal((3, 2, 2, 2)).astype(np.float32),
        "file": rng.standard_normal((4, 3)).T,
        "allow_pickle": np.zeros((0, 3), np.float32),
        "foreign": np.arange(3, dtype=np.dtype("f8").newbyteorder()),
        "1.num_batches_tracked": np.array(7, np.int64),
    }


@FORMS
def test_there_and_back(tmp_path, suffix):
    path, arrays = tmp_path / f"weights{suffix}", state()
    nn.save_state(arrays, path)
    loaded = nn.load_state(str(path))
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype.name == array.dtype.name and loaded[name].shape == array.shape
        np.testing.assert_array_equal(loaded[name], array)
    assert os.listdir(tmp_path) == [path.name]


@FORMS
def test_a_models_weights(tmp_path, suffix):
    one, other = (nn.Sequential(nn.Conv2d(1, 2, 3, rng=seed), nn.BatchNorm2d(2)) for seed in (0, 1))
    x = np.random.default_rng(2).standard_normal((2, 1, 5, 5)).astype(np.float32)
    one(x)
    nn.save_state(one.state_dict(), tmp_path / f"weights{suffix}")
    assert other.load_state_dict(nn.load_state(tmp_path / f"weights{suffix}")) == ([], [])
    np.testing.assert_array_equal(other.eval()(x), one.eval()(x))
    assert other[1].num_batches_tracked.data == 1


def test_numpy_reads_the_npz_and_ours_reads_numpys(tmp_path):
    nn.save_state(state(), tmp_path / "ours.npz")
    with np.load(tmp_path / "ours.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["0.weight"], state()["0.weight"])
    np.savez_compressed(tmp_path / "theirs.npz", a=np.arange(3.0))
    np.testing.assert_array_equal(nn.load_state(tmp_path / "theirs.npz")["a"], np.arange(3.0))


@FORMS
def test_a_new_file_has_the_mode_that_open_gives(tmp_path, suffix):
    before = os.umask(0o027)
    try:
        nn.save_state(state(), tmp_path / f"weights{suffix}")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / f"weights{suffix}").stat().st_mode) == 0o640


def test_after_an_error_the_old_file_is_as_it_was(tmp_path):
    path = tmp_path / "weights.npz"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half of the new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["weights.npz"]
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["weights.npz"]


@contextmanager
def full_disk(room=5000):
    """No file may grow beyond so many bytes; on a disk that is full, writing fails in the same places."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def history():
    rows = History()
    for epoch in range(1, 1001):
        rows.append({"epoch": epoch, "loss": 1 / epoch})
    return rows


BIG = {"weight": np.random.default_rng(0).standard_normal(10_000)}
WRITERS = {
    "weights.npz": lambda path: nn.save_state(BIG, path),
    "weights.safetensors": lambda path: nn.save_state(BIG, path),
    "checkpoint": lambda path: checkpoint.write(path, {"model": BIG}),
    "history.csv": lambda path: history().to_csv(path),
    "curves.png": lambda path: history().plot(path),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", WRITERS)
def test_on_a_full_disk_the_old_file_is_as_it_was(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"old")
    with full_disk(), pytest.raises(OSError, match="File too large"):
        WRITERS[name](path)
    assert os.listdir(tmp_path) == [name] and path.read_bytes() == b"old"


@pytest.mark.thorough
def test_a_picture_without_a_suffix_is_a_png(tmp_path):
    history().plot(tmp_path / "curves")
    assert os.listdir(tmp_path) == ["curves.png"]


def test_a_name_as_long_as_names_may_be(tmp_path):
    path = tmp_path / f"{'n' * 251}.npz"
    nn.save_state(state(), path)
    assert os.listdir(tmp_path) == [path.name] and nn.load_state(path).keys() == state().keys()


@pytest.mark.parametrize("path", [5, io.BytesIO(), b"weights.npz", None], ids=lambda path: type(path).__name__)
def test_what_is_no_path_is_refused(path):
    for call in (nn.load_state, lambda path: nn.save_state(state(), path), History().to_csv, History.from_csv):
        with pytest.raises(TypeError, match=f"path must be a str or a path, got .* of type {type(path).__name__}"):
            call(path)


def test_what_is_no_file_is_not_replaced(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError, match="folder.npz"):
        nn.save_state(state(), tmp_path / "folder.npz")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.npz").symlink_to("pipe")
    with pytest.raises(OSError, match="path must be a file, or nothing yet: .*pipe"):
        nn.save_state(state(), tmp_path / "link.npz")
    assert sorted(os.listdir(tmp_path)) == ["folder.npz", "link.npz", "pipe"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.npz").symlink_to(tmp_path / "there" / "weights.npz")
    nn.save_state(state(), tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink() and (tmp_path / "there" / "weights.npz").is_file()


@FORMS
def test_a_file_that_was_cut_short_anywhere(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    nn.save_state(state(), path)
    whole = path.read_bytes()
    for length in {0, 1, 7, 8, 9, *range(20, len(whole), 37), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"is not a whole {suffix[1:]} file .* copy or download it again"):
            nn.load_state(path)


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("run",)


def npz(member, path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0.weight.npy", member)


def header(text, body=b""):
    """A .npy file with this header."""
    padded = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + body


@pytest.mark.parametrize(
    "member",
    [
        pickle.dumps(Hostile()),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", pickle.dumps([Hostile()])),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000,)}", b"abcd"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", b"abcd"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", b"abcd"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1)}", b"abcd"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", b"abcdefgh"),
        header("{'descr': '<U1', 'fortran_order': False, 'shape': (1,)}", b"\xff\xff\xff\xff"),
        header("{'descr': ('<f4', (1,)), 'fortran_order': False, 'shape': (1,)}", b"abcd"),
        header("(" * 5000),
        header("-" * 9000 + "1"),
        header("__import__('os').mkdir('run')"),
        b"",
    ],
)
def test_a_hostile_npz(tmp_path, monkeypatch, member):
    monkeypatch.chdir(tmp_path)
    npz(member, "weights.npz")
    with pytest.raises(ValueError, match=r"weights.npz is not a whole npz file of plain arrays \("):
        nn.load_state("weights.npz")
    assert os.listdir() == ["weights.npz"]


def safetensors(body, **entries):
    """A file with this header and these bytes."""
    content = json.dumps(entries).encode()
    return struct.pack("<Q", len(content)) + content + body


def entry(dtype, count, begin):
    """Of a header: so many elements from here on."""
    size = {"F32": 4, "BF16": 2, "F8_E4M3": 1, "BOOL": 1}[dtype]
    return {"dtype": dtype, "shape": [count], "data_offsets": [begin, begin + size * count]}


ONE = entry("F32", 1, 0)


@pytest.mark.parametrize(
    "content",
    {
        "a shape that needs more": safetensors(b"abcd", w=ONE | {"shape": [1000000000]}),
        "an end behind the file's": safetensors(b"abcd", w=ONE | {"data_offsets": [0, 400]}),
        "a begin before the file's": safetensors(b"abcd", w=ONE | {"data_offsets": [-4, 0]}),
        "two sizes below 0": safetensors(b"abcd", w=ONE | {"shape": [-1, -1]}),
        "sizes that overflow": safetensors(b"abcd", w=ONE | {"shape": [2**32, 2**32]}),
        "a million sizes": safetensors(b"abcd", w=ONE | {"shape": [9] * 10**6}),
        "a size that is a truth": safetensors(b"abcd", w=ONE | {"shape": [True]}),
        "text as a shape": safetensors(b"abcd", w=ONE | {"shape": "1"}),
        "an overlap": safetensors(b"abcd", w=ONE, v=ONE),
        "a gap": safetensors(b"abcdefghijkl", w=ONE, v=entry("F32", 1, 8)),
        "bytes left over": safetensors(b"abcdefgh", w=ONE),
        "a dtype that is none": safetensors(b"abcd", w=ONE | {"dtype": "O"}),
        "a name twice": safetensors(b"abcd", w=ONE, v=ONE).replace(b'"v"', b'"w"'),
        "an entry that is none": safetensors(b"abcd", w=7),
        "a very deep header": struct.pack("<Q", 10**5) + b"[" * 10**5,
        "a header longer than the file": struct.pack("<Q", 2**40) + b"{}",
        "a header that is no text": struct.pack("<Q", 4) + b"\xff\xfe{}",
    }.values(),
)
def test_a_hostile_safetensors_file(tmp_path, content):
    (tmp_path / "weights.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"weights.safetensors is not a whole safetensors file of plain arrays \("):
        nn.load_state(tmp_path / "weights.safetensors")


def test_truths_are_0_or_1(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(safetensors(b"\0\1\2", w=entry("BOOL", 3, 0)))
    npz(header("{'descr': '|b1', 'fortran_order': False, 'shape': (3,)}", b"\0\1\2"), tmp_path / "weights.npz")
    assert nn.load_state(tmp_path / "weights.safetensors")["w"].view(np.uint8).tolist() == [0, 1, 1]
    assert nn.load_state(tmp_path / "weights.npz")["0.weight"].view(np.uint8).tolist() == [0, 1, 1]


def test_a_dtype_that_numpy_has_not_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors(b"abcdefgh", w=entry("F32", 1, 0), v=entry("F8_E4M3", 4, 4)))
    with pytest.raises(
        ValueError, match="weights.safetensors must hold arrays of dtypes that NumPy has, got F8_E4M3 at 'v'"
    ):
        nn.load_state(path)


def test_bfloat16_becomes_float32(tmp_path):
    path, bits = tmp_path / "weights.safetensors", np.arange(2**16, dtype=np.uint16)
    path.write_bytes(safetensors(bits.tobytes(), w=entry("BF16", len(bits), 0)))
    np.testing.assert_array_equal(nn.load_state(path)["w"].view(np.uint32), bits.astype(np.uint32) << 16)
    assert nn.load_state(path, max_bytes=4 * len(bits)).keys() == {"w"}
    with pytest.raises(ValueError, match="holds 262144 bytes of arrays in 1311.. bytes of file, more than max_bytes"):
        nn.load_state(path, max_bytes=4 * len(bits) - 1)


@pytest.mark.thorough
def test_an_npz_that_unfolds_to_much(tmp_path):
    np.savez_compressed(tmp_path / "weights.npz", w=np.zeros(2**20, np.float32))
    assert nn.load_state(tmp_path / "weights.npz", max_bytes="4MiB")["w"].nbytes == 2**22
    with pytest.raises(ValueError, match=r"weights.npz holds 4194304 bytes of arrays in \d{4} bytes of file, more tha"):
        nn.load_state(tmp_path / "weights.npz", max_bytes="1MiB")
    np.savez_compressed(tmp_path / "bomb.npz", w=np.zeros(2**24 + 1, np.float32))
    with pytest.raises(ValueError, match="bomb.npz holds 67108868 bytes of arrays .* max_bytes allows, 67108864; give"):
        nn.load_state(tmp_path / "bomb.npz")


def test_what_lies_before_a_zip(tmp_path):
    """Python's zipfile passes over it, and so one file might be two things."""
    path = tmp_path / "weights.npz"
    nn.save_state(state(), path)
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    with pytest.raises(ValueError, match="weights.npz is not a whole npz file .* it does not begin as a zip"):
        nn.load_state(path)
    np.savez(tmp_path / "empty.npz")
    assert nn.load_state(tmp_path / "empty.npz") == {}


def test_an_npz_whose_directory_points_outside(tmp_path):
    path = tmp_path / "weights.npz"
    nn.save_state(state(), path)
    content = bytearray(path.read_bytes())
    end = content.rfind(b"PK\5\6")
    content[end + 16 : end + 20] = len(content).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match="weights.npz is not a whole npz file"):
        nn.load_state(path)


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in .safetensors or .npz, got 'weights.pth'"):
        nn.save_state(state(), "weights.pth")
    with pytest.raises(ValueError, match=r"path must end in .safetensors, .npz, .pt or .pth, got 'weights'"):
        nn.load_state("weights")
    with pytest.raises(FileNotFoundError, match="weights.npz"):
        nn.load_state(tmp_path / "weights.npz")
    with pytest.raises(TypeError, match="state must be a mapping of names to arrays, got Linear"):
        nn.save_state(nn.Linear(2, 2), tmp_path / "weights.npz")
    with pytest.raises(TypeError, match="names to arrays of numbers, got an ndarray of object at 'a'"):
        nn.save_state({"a": np.array([None])}, tmp_path / "weights.npz")
    for suffix in ("npz", "safetensors"):
        for dtype in ("complex64", "longdouble"):
            with pytest.raises(TypeError, match=f"got an ndarray of {np.dtype(dtype)} at 'a'"):
                nn.save_state({"a": np.zeros(1, dtype)}, tmp_path / f"weights.{suffix}")
        for name in ("a\0b", "__metadata__"):
            with pytest.raises(ValueError, match="state must have names that files can hold, got '"):
                nn.save_state({name: np.zeros(1)}, tmp_path / f"weights.{suffix}")
    with pytest.raises(FileNotFoundError):
        nn.save_state(state(), tmp_path / "nowhere" / "weights.npz")
    assert os.listdir(tmp_path) == []


def test_without_safetensors_its_files_are_read_and_not_written(tmp_path, monkeypatch):
    nn.save_state(state(), tmp_path / "weights.safetensors")
    hide(monkeypatch, "safetensors")
    with pytest.raises(ImportError, match=r"extra \[train\]"):
        nn.save_state(state(), tmp_path / "weights.safetensors")
    assert nn.load_state(tmp_path / "weights.safetensors").keys() == state().keys()
    nn.save_state(state(), tmp_path / "weights.npz")
    assert nn.load_state(tmp_path / "weights.npz").keys() == state().keys()
