"""safetensors and npz: headers that say what arrays there are, and their bytes."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import numpy as np

from ._bounded import Refused, Source, archive, byte_length, decoded, filled, shown, stored

_LONGEST_HEADER = 2**24  # bytes; an array takes a hundred
_KINDS = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}
_FOREIGN = frozenset("F4 F6_E2M3 F6_E3M2 F8_E4M3 F8_E4M3FNUZ F8_E5M2 F8_E5M2FNUZ F8_E8M0".split())


def read_safetensors(source: Source) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file."""
    length = int.from_bytes(filled(source.file, 8), "little")
    if length > min(_LONGEST_HEADER, source.size - 8):
        raise ValueError(f"its header should have {length} bytes, {_LONGEST_HEADER} at most")
    header = json.loads(filled(source.file, length).tobytes().decode(), object_pairs_hook=_once_each)
    header.pop("__metadata__", None)
    foreign = {name: entry["dtype"] for name, entry in header.items() if entry["dtype"] in _FOREIGN}
    if foreign:
        dtypes = ", ".join(sorted(set(foreign.values())))
        raise Refused(f"must hold arrays of dtypes that NumPy has, got {dtypes} at {shown(foreign)}")
    kinds = {name: _KINDS[entry["dtype"]] for name, entry in header.items()}
    places = sorted(((name, *entry["data_offsets"]) for name, entry in header.items()), key=lambda place: place[1:])
    at = 0
    for name, begin, end in places:
        shape = header[name]["shape"]
        if any(type(number) is not int or number < 0 for number in (begin, end, *shape)):
            raise ValueError(f"a size or an offset is no whole number from 0 at {shown([name])}")
        if begin != at or end - begin != byte_length(shape, stored(kinds[name])):
            raise ValueError(f"bytes {begin} to {end} are not those of the array at {shown([name])}")
        at = end
    if at != source.size - 8 - length:
        raise ValueError(f"its arrays have {at} bytes, and {source.size - 8 - length} are there")
    widths = {name: 2 if kind == "bfloat16" else 1 for name, kind in kinds.items()}  # half as wide in the file
    source.check_total(sum((end - begin) * widths[name] for name, begin, end in places))
    arrays = {}
    for name, begin, end in places:
        raw = filled(source.file, end - begin).view(stored(kinds[name]))
        arrays[name] = decoded(raw, kinds[name]).reshape(header[name]["shape"])
    return {name: arrays[name] for name in header}


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, whose names must differ."""
    items = dict(pairs)
    if len(items) != len(pairs):
        raise ValueError("a name is there twice")
    return items


def read_npz(source: Source) -> dict[str, np.ndarray]:
    """The arrays of an npz file; they keep their byte order."""
    opened, members = archive(source)
    headers = {name: _npy_header(opened, info) for name, info in members.items()}
    source.check_total(sum(byte_length(shape, dtype) for _, shape, _, dtype in headers.values()))
    arrays = {}
    for name, (start, shape, columns, dtype) in headers.items():
        with opened.open(name) as member:
            member.read(start)
            raw = filled(member, byte_length(shape, dtype))
        flat = raw != 0 if dtype.kind == "b" else raw.view(dtype)
        arrays[name.removesuffix(".npy")] = flat.reshape(shape[::-1]).T if columns else flat.reshape(shape)
    return arrays


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def _npy_header(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[int, tuple[int, ...], bool, np.dtype]:
    """Where the bytes of a member begin, and its array's shape, whether it lies in Fortran's order, and its dtype."""
    if not info.filename.endswith(".npy"):
        raise ValueError(f"the member {shown([info.filename])} is no .npy file")
    with opened.open(info) as member:
        try:
            shape, columns, dtype = _HEADERS[np.lib.format.read_magic(member)](member)
        except MemoryError:  # what Python's parser says of brackets in brackets
            raise ValueError(f"the header of {shown([info.filename])} is nested too deep") from None
        start = member.tell()
    if dtype.kind not in "biufc":
        raise ValueError(f"{shown([info.filename])} is an array of {str(dtype)[:40]}, not of numbers")
    if any(size < 0 for size in shape) or byte_length(shape, dtype) != info.file_size - start:
        raise ValueError(f"{shown([info.filename])} should have {byte_length(shape, dtype)} bytes")
    return start, shape, columns, dtype
