"""Files as PyTorch writes them, and as nobody should: pickles put together from values and raw instructions."""

import io
import struct
import zipfile
from typing import NamedTuple

import numpy as np


class Name(NamedTuple):
    """Something of a module."""

    module: str
    name: str


class Call(NamedTuple):
    """What a function returns."""

    function: object
    arguments: tuple = ()


class Reference(NamedTuple):
    """What lies outside of the pickle."""

    to: object


def code(value):
    """The instructions that leave a value on the stack; bytes are such instructions."""
    match value:
        case bytes():
            return value
        case Name():
            return b"c" + f"{value.module}\n{value.name}\n".encode()
        case Call():
            return code(value.function) + code(value.arguments) + b"R"
        case Reference():
            return code(value.to) + b"Q"
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int():
            if -(2**31) <= value < 2**31:
                return b"J" + struct.pack("<i", value)
            raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(raw)]) + raw
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(code, value)) + b"t"
        case list():
            return b"](" + b"".join(map(code, value)) + b"e"
        case dict():
            return b"}(" + b"".join(code(key) + code(item) for key, item in value.items()) + b"u"
    raise TypeError(f"no instructions for {value!r}")


def pickled(value):
    return b"\x80\x02" + code(value) + b"."


STORAGES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "float16": "Half", "bfloat16": "BFloat16", "float32": "Float", "float64": "Double",
    "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip
ORDERED_DICT = Name("collections", "OrderedDict")
V2 = Name("torch._utils", "_rebuild_tensor_v2")


def storage(key, kind, count):
    return Reference(("storage", Name("torch", f"{STORAGES[kind]}Storage"), key, "cpu", count))


def older_storage(key, kind, count):
    return Reference(("storage", Name("torch", f"{STORAGES[kind]}Storage"), key, "cpu", count, None))


def tensor(key, kind, shape, count=None, offset=0, strides=None, *, where=storage):
    """A tensor at the start of a storage of its own, in C order; or whatever else is said of it."""
    if strides is None:
        strides = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    count = int(np.prod(shape)) if count is None else count
    return Call(V2, (where(key, kind, count), offset, shape, strides, False, Call(ORDERED_DICT)))


def zipped(members, **options):
    """A zip of these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def zip_form(tree, storages, **more):
    """A file of PyTorch 1.6 and later."""
    members = {"archive/data.pkl": tree if isinstance(tree, bytes) else pickled(tree)}
    members |= {f"archive/{name}": content for name, content in more.items()}
    members |= {f"archive/data/{key}": np.asarray(array).tobytes() for key, array in storages.items()}
    return zipped(members | {"archive/version": b"3\n"})


def older_form(tree, storages):
    """A file as they were before."""
    start = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}]
    content = b"".join(map(pickled, start)) + (tree if isinstance(tree, bytes) else pickled(tree))
    content += pickled(list(storages))
    for array in map(np.asarray, storages.values()):
        content += struct.pack("<q", array.size) + array.tobytes()
    return content


def of_state(state, form=zip_form):
    """A file of arrays that NumPy has, each with a storage of its own."""
    where = storage if form is zip_form else older_storage
    tree = {
        name: tensor(str(i), array.dtype.name, array.shape, where=where)
        for i, (name, array) in enumerate(state.items())
    }
    return form(tree, {str(i): np.ascontiguousarray(array) for i, array in enumerate(state.values())})
