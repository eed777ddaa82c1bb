"""Mutated and crafted weight files, read by child processes: an error that says so, or the arrays that a file states.

    PYTHONPATH=tests python tests/fuzz_files.py --count 10000 --formats pt safetensors

Never a crash, a hang, much memory, code that runs, or another file that is opened. Each case is made from its number
alone, so `--first N --count 1 --keep FILE` makes it again. A format is a row of FORMATS.
"""

import argparse
import collections
import faulthandler
import importlib
import io
import json
import os
import pickle
import pickletools
import re
import resource
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy

import pt_files
from convkit import nn

MEMORY, SECONDS = 512 * 2**20, 20  # that a child may take beyond what it begins with; for a file
VECTORS = Path(__file__).parent / "vectors"
Parts = dict[str, bytes]


class Format(NamedTuple):
    """How files of a form are made, read and judged."""

    name: str
    seeds: list[Parts]  # whole files, in the parts that are mutated
    join: Callable[[Parts], bytes]  # a file of its parts, with lengths and checksums that are right
    split: Callable[[bytes], list[bytes]]  # a part into pieces, to be taken out, doubled and exchanged
    pieces: list[bytes]  # that are put in besides
    load: Callable[[str], dict[str, np.ndarray]]
    stated: Callable[[bytes], dict[str, np.ndarray]]  # the arrays, read in another way


# ---------------------------------------------------------------- mutation

NUMBERS = [0, 1, 2, 7, 64, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1]


def pick(rng, items):
    return items[rng.integers(len(items))]


def mutated(content, rng, form):
    """Some bytes changed, or some pieces: taken out, doubled, exchanged, or put in."""
    for _ in range(rng.integers(1, 4)):
        content = (by_pieces if rng.random() < 0.6 else by_bytes)(content, rng, form)
    return content


def by_pieces(content, rng, form):
    pieces = form.split(content)
    if not pieces:
        return content
    at, other = sorted(int(rng.integers(len(pieces))) for _ in range(2))
    match rng.integers(6):
        case 0:
            del pieces[at : at + int(rng.integers(1, 4))]
        case 1:
            pieces[at:at] = pieces[at : other + 1] * int(rng.integers(1, 3))
        case 2:
            pieces[at], pieces[other] = pieces[other], pieces[at]
        case 3:
            pieces[at] = pick(rng, form.pieces)
        case 4:
            pieces.insert(at, pick(rng, form.pieces))
        case 5:
            number = str(pick(rng, NUMBERS) * (-1 if rng.random() < 0.1 else 1)).encode()
            pieces[at] = re.sub(rb"-?\d+", number, pieces[at], count=1)
    return b"".join(pieces)


def by_bytes(content, rng, form):
    changed = bytearray(content)
    at = int(rng.integers(len(changed) + 1))
    match rng.integers(5):
        case 0:
            changed[at : at + 1] = bytes([rng.integers(256)])
        case 1:
            width = pick(rng, [1, 2, 4, 8])
            changed[at : at + width] = (pick(rng, NUMBERS) % 2 ** (8 * width)).to_bytes(width, "little")
        case 2:
            del changed[at : at + int(rng.integers(1, 16))]
        case 3:
            changed[at:at] = pick(rng, form.pieces)
        case 4:
            if rng.random() < 0.2:
                del changed[at:]
    return bytes(changed)


def made(form, number):
    """The file of a number."""
    rng = np.random.default_rng([number, len(form.name)])
    parts = dict(pick(rng, form.seeds))
    if rng.random() < 0.2:
        return mutated(form.join(parts), rng, form)
    for name in rng.choice(list(parts), min(len(parts), int(rng.integers(1, 3))), replace=False):
        parts[name] = mutated(parts[name], rng, form)
    return form.join(parts)


# ---------------------------------------------------------------- PyTorch's

CANARY = "touch run"
EVIL = [
    pt_files.code(pt_files.Call(pt_files.Name("os", "system"), (CANARY,))),
    pt_files.code(pt_files.Call(b"X\5\0\0\0posixX\6\0\0\0system\x93", (CANARY,))),
    pt_files.code(pt_files.Call(pt_files.Name("builtins", "eval"), ("open('run', 'w')",))),
    f"(X\x09\0\0\0{CANARY}ios\nsystem\n".encode(),
    b"(cos\nsystem\n" + pt_files.code(CANARY) + b"o",
]
INSTRUCTIONS = [
    *(bytes([code]) for code in b"().0NRQbestuld]}\x81\x85\x86\x87\x88\x89\x93\x94"),
    *(pt_files.code(value) for value in (0, -1, 2**31 - 1, 2**63 - 1, 2**64, (), (2**40,), {}, 1.5, "0", "storage")),
    pt_files.code(pt_files.ORDERED_DICT), pt_files.code(pt_files.V2), pt_files.code(pt_files.storage("0", "int8", 9)),
    pt_files.code(pt_files.tensor("0", "float32", (2**20, 2**20), 3, strides=(0, 0))),
    b"h\0", b"h\1", b"q\0", b"\x80\4", b"\x85" * 1000,
]  # fmt: skip


def instructions(content):
    """A pickle's, as far as it is one."""
    starts = []
    try:
        for _, _, at in pickletools.genops(content):
            starts.append(at)
    except Exception:  # what comes of bytes that are no pickle
        starts.append(len(content))
    return [content[start:end] for start, end in zip(starts, [*starts[1:], len(content)], strict=True)]


def zip_parts(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def older_parts(content):
    """Its five pickles, and the storages."""
    parts, stream = {}, io.BytesIO(content)
    for name in ("magic", "version", "machine", "tree", "keys"):
        start = stream.tell()
        collections.deque(pickletools.genops(stream), maxlen=0)
        parts[name] = content[start : stream.tell()]
    return parts | {"storages": stream.read()}


REBUILT = {f"_rebuild_{end}" for end in ("tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state")}
KINDS = {f"{name}Storage": kind for kind, name in pt_files.STORAGES.items()} | {"UntypedStorage": "uint8"}


class Unpickler(pickle.Unpickler):
    """Python's own, which gets at nothing but tuples of what it asks for."""

    def __init__(self, stream):
        super().__init__(stream)
        self.widths = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch", "Size"):
            return tuple
        if module == "torch._utils" and name in REBUILT:
            return lambda *arguments: arguments[0] if "parameter" in name else (name, *arguments)
        return name

    def persistent_load(self, reference):
        self.widths[reference[2]] = bits(KINDS[reference[1]]).itemsize
        return reference


def bits(kind):
    return np.dtype({"bfloat16": "u2", "bool": "u1"}.get(kind, kind))


def tensors(tree, read, order="<"):
    """The arrays of what it leaves, an element at a time."""
    arrays = {}
    for name, (function, (_, storage, key, *_), offset, shape, strides, *more) in tree.items():
        kind = more[2] if function == "_rebuild_tensor_v3" else KINDS[storage]
        width, where = bits(kind).itemsize, np.array(offset)
        for size, stride in zip(shape, strides, strict=True):
            where = np.add.outer(where, np.arange(size) * (stride if size > 1 else 0))
        raw = read(key)
        flat = np.frombuffer(raw[: len(raw) // width * width], bits(kind).newbyteorder(order))
        array = flat[where] if where.size else np.zeros(shape, flat.dtype)
        if kind == "bfloat16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        elif kind in ("bool", "float16"):
            array = array != 0 if kind == "bool" else array.astype(np.float32)
        arrays[name] = array.astype(array.dtype.newbyteorder("="))
    return arrays


def stated_by_zip(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (root,) = [name[:-8] for name in archive.namelist() if name.endswith("/data.pkl")]
        big = f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") == b"big"
        tree = Unpickler(io.BytesIO(archive.read(f"{root}data.pkl"))).load()
        return tensors(tree, lambda key: archive.read(f"{root}data/{key}"), ">" if big else "<")


def stated_by_older(content):
    stream, widths, storages, keys = io.BytesIO(content), {}, {}, None
    for _ in range(5):
        unpickler = Unpickler(stream)
        tree, keys = keys, unpickler.load()
        widths |= unpickler.widths
    for key in keys:
        storages[key] = stream.read(int.from_bytes(stream.read(8), "little") * widths[key])
    return tensors(tree, storages.__getitem__)


# ---------------------------------------------------------------- the others


def words(content):
    """Of JSON or a header of NumPy's, as far as it is text."""
    return re.findall(rb"'[^']*'|\"[^\"]*\"|-?\d+|\w+|.", content, re.DOTALL)


def join_safetensors(parts):
    return len(parts["header"]).to_bytes(8, "little") + parts["header"] + parts["body"]


def safetensors_parts(content):
    end = 8 + int.from_bytes(content[:8], "little")
    return {"header": content[8:end], "body": content[end:]}


def stated_by_npz(content):
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] != 0 if file[name].dtype.kind == "b" else file[name] for name in file.files}


def stated_by_safetensors(content):
    arrays = safetensors.numpy.load(content)
    return {name: array.view("u1") != 0 if array.dtype.kind == "b" else array for name, array in arrays.items()}


def npz_bytes(state):
    file = io.BytesIO()
    np.savez(file, **state)
    return file.getvalue()


def either_zip(parts):
    """Stored, as PyTorch and NumPy write it, or deflated, by the parts themselves."""
    deflated = sum(map(len, parts.values())) % 3 == 0
    return pt_files.zipped(parts, compression=zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED)


STATE = {
    "0.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "0.bias": np.zeros(2),
    "n": np.array(3),
    "h": np.arange(3, dtype=np.float16),
    "b": np.array([True, False]),
    "e": np.zeros((0, 2), np.int16),
}
EVIL_TEXT = [b"__import__('os').system('touch run')", b"[" * 300, b"-" * 300, b"('<f4', (9,))"]
WORDS = b"""{} null True 1e400 "F32" "BOOL" "F64" "__metadata__" [0,8] "shape" , : { } [ ] 0 "w":{""".split()
NPY_WORDS = b"'|O' '<f8' '>i4' '|b1' '<U9' True False ( ) 3, 'shape' {} \x93NUMPY\1\0\x76\0".split()
FORMATS = [
    Format(
        "pt",
        [zip_parts((VECTORS / "torch.pt").read_bytes()), zip_parts(pt_files.of_state(STATE))],
        either_zip,
        instructions,
        INSTRUCTIONS + EVIL,
        nn.load_state,
        stated_by_zip,
    ),
    Format(
        "older.pt",
        [
            older_parts((VECTORS / "torch_older.pt").read_bytes()),
            older_parts(pt_files.of_state(STATE, pt_files.older_form)),
        ],
        lambda parts: b"".join(parts.values()),
        instructions,
        INSTRUCTIONS + EVIL,
        nn.load_state,
        stated_by_older,
    ),
    Format(
        "safetensors",
        [
            safetensors_parts(safetensors.numpy.save(STATE)),
            safetensors_parts(safetensors.numpy.save({"w": STATE["n"]})),
        ],
        join_safetensors,
        words,
        WORDS + EVIL_TEXT,
        nn.load_state,
        stated_by_safetensors,
    ),
    Format(
        "npz",
        [zip_parts(npz_bytes(STATE)), zip_parts(npz_bytes({"w": STATE["0.weight"].T}))],
        either_zip,
        words,
        NPY_WORDS + EVIL_TEXT + [pickle.dumps(np.array([None]))],
        nn.load_state,
        stated_by_npz,
    ),
]


# ---------------------------------------------------------------- the child


class Watch:
    """An audit hook: while it is on, nothing but this one file may be opened, and nothing run or imported."""

    def __init__(self):
        self.path, self.seen = None, []
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if self.path is None or event == "compile" or (event == "open" and arguments[0] == self.path):
            return  # NumPy reads its headers by the compiler, and by literal_eval
        self.seen.append(f"{event} {arguments}"[:200])


def judged(form, path, content, watch):
    """What came of a file: "arrays" or "refused", or else what is wrong."""
    watch.path, watch.seen, loaded, error = path, [], None, None
    try:
        loaded = form.load(path)
    except Exception as caught:  # whether it is one of those that may come is what is asked
        error = caught
    watch.path = None
    if watch.seen or os.listdir() != [path]:
        return f"it did {watch.seen}, and there are {os.listdir()}"
    if error is not None:
        return "refused" if type(error) is ValueError else f"{type(error).__name__}: {error}"[:300]
    if sum(array.nbytes for array in loaded.values()) > max(2**26, 8 * len(content)):
        return "arrays of more bytes than they may have"
    try:
        stated = form.stated(content)
    except Exception as caught:
        return f"arrays where another reader says {type(caught).__name__}: {caught}"[:300]
    return next((wrong for name in loaded | stated if (wrong := differ(name, loaded, stated))), "arrays")


def differ(name, loaded, stated):
    if name not in loaded or name not in stated:
        return f"{name!r} is in one alone"
    one, other = loaded[name], stated[name]
    if one.dtype != other.dtype or one.shape != other.shape or one.dtype.kind not in "biufc":
        return f"{name!r} is {one.dtype} {one.shape}, and stated to be {other.dtype} {other.shape}"
    return "" if one.tobytes() == other.tobytes() else f"{name!r} has other numbers"


def child(names, first, count):
    """Read these files here, saying which one before each, and print what came of them."""
    faulthandler.enable()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    watch, results = Watch(), {}
    for form in FORMATS:
        if form.name not in names:
            continue
        came = results[form.name] = collections.Counter()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            path = f"weights.{form.name}"
            importlib.import_module("unicodedata")  # as Python's parser does, which reads NumPy's headers
            for seed in form.seeds:  # whole files are read, and what they import is there from then on
                Path(path).write_bytes(form.join(seed))
                form.stated(form.join(seed))
                form.load(path)
            for number in range(first, first + count):
                print(form.name, number, file=sys.stderr, flush=True)
                content = made(form, number)
                Path(path).write_bytes(content)
                faulthandler.dump_traceback_later(SECONDS, exit=True)
                result = judged(form, path, content, watch)
                came[result if result in ("arrays", "refused") else f"{number}: {result}"] += 1
            faulthandler.cancel_dump_traceback_later()
            os.chdir("/")
    print(json.dumps(results))


def in_child(script, first, count, *options):
    """What a script says of so many numbers when it runs as a child, as JSON; or how it ended, as what is wrong."""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "CONVKIT_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, script, "--child", "--first", str(first), "--count", str(count), *options],
        env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return {"child": {f"exit status {done.returncode} after {done.stderr[-2000:]}": 1}}
    return json.loads(done.stdout)


def run(names, first, count):
    """What came of these files in a child: for each format how many were "arrays", "refused" and, by number, wrong."""
    return in_child(__file__, first, count, "--formats", *names)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = [form.name for form in FORMATS]
    parser.add_argument("--formats", nargs="*", default=names, choices=names)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="write the first file here, and read none")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.keep:
        form = next(form for form in FORMATS if form.name == options.formats[0])
        options.keep.write_bytes(made(form, options.first))
    elif options.child:
        child(options.formats, options.first, options.count)
    else:
        for name in options.formats:
            total = collections.Counter()
            for first in range(options.first, options.first + options.count, 1000):
                for came in run([name], first, min(1000, options.first + options.count - first)).values():
                    total.update(came)
            print(name, dict(total), flush=True)


if __name__ == "__main__":
    main()
