"""What files say of themselves, checked before it is believed: numbers of bytes, members of zips, forms of numbers."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from typing import IO, BinaryIO, NamedTuple

import numpy as np

from .._words import brief

_PIECE = 2**20  # bytes read at a time: a stream of compressed ones never unfolds to more
AXES = 64  # as many as NumPy's arrays have
_RATIO = 1032  # bytes that one byte of deflate's can stand for, at most
_HEAD = 30  # bytes of a zip member's own header, without its name


class Refused(Exception):
    """A file is whole, or may be, and not for us; the message goes on after the file's name."""


class Source(NamedTuple):
    """An open file, its length, and how much memory the arrays in it may take."""

    file: BinaryIO
    size: int
    max_bytes: int

    def check_total(self, total: int) -> None:
        """Raise unless arrays of so many bytes in all may be read."""
        if total > self.max_bytes:
            raise Refused(
                f"holds {total} bytes of arrays in {self.size} bytes of file, more than max_bytes allows, "
                f"{self.max_bytes}; give more to read it"
            )


def shown(names: Iterable[object]) -> str:
    """Names for a message, which hold whatever a file's author put there: a few of them, none too long."""
    names = list(names)
    return ", ".join(map(brief, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


# ---------------------------------------------------------------- numbers

# As NumPy names them, and bfloat16, the upper half of a float32.
KINDS = frozenset(
    "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 "
    "float16 bfloat16 float32 float64 complex64 complex128".split()
)


def stored(kind: str, order: str = "<") -> np.dtype:
    """The dtype that numbers lie in a file as."""
    return np.dtype({"bfloat16": "u2", "bool": "u1"}.get(kind, kind)).newbyteorder(order)


def byte_length(shape: Sequence[int], dtype: np.dtype) -> int:
    """How many bytes an array takes, in Python's integers, which do not overflow."""
    if len(shape) > AXES:  # a product of a million sizes would take hours
        raise ValueError(f"an array has {len(shape)} axes, more than NumPy's {AXES}")
    return math.prod(shape) * dtype.itemsize


def decoded(raw: np.ndarray, kind: str) -> np.ndarray:
    """What lies in `raw`, an array of the `stored` dtype in C order, in this machine's byte order; it may be `raw`."""
    if kind == "bfloat16":
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return raw != 0 if kind == "bool" else raw.astype(kind, copy=False)


def filled(stream: IO[bytes], length: int) -> np.ndarray:
    """The next bytes of a stream, all of them."""
    raw = np.empty(length, np.uint8)
    view = memoryview(raw)
    for at in range(0, length, _PIECE):
        piece = stream.read(min(_PIECE, length - at))
        view[at : at + len(piece)] = piece
        if len(piece) < min(_PIECE, length - at):
            raise ValueError(f"{length} bytes were to come, and {at + len(piece)} did")
    return raw


# ---------------------------------------------------------------- zips


def archive(source: Source) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """Open a zip and return it and its members by name, none of which can unfold to more than it says."""
    if source.file.read(4) not in (b"PK\3\4", b"PK\5\6"):  # with a member, or empty; others look for a zip's end alone
        raise ValueError("it does not begin as a zip")
    opened = zipfile.ZipFile(source.file)
    members: dict[str, zipfile.ZipInfo] = {}
    end = source.size
    for info in sorted(opened.infolist(), key=lambda info: info.header_offset, reverse=True):
        _check_member(info, end)
        if info.filename in members:
            raise ValueError(f"two members have the name {shown([info.filename])}")
        members[info.filename] = info
        end = info.header_offset
    return opened, {info.filename: info for info in opened.infolist()}


def _check_member(info: zipfile.ZipInfo, end: int) -> None:
    """Raise unless a member lies before `end`, is in the clear, and can have the size that it says."""
    name = shown([info.filename])
    if info.flag_bits & 0x41:
        raise Refused(f"has a member that is encrypted, {name}")
    if info.filename.startswith(("/", "\\")) or ".." in info.filename.split("/"):
        raise ValueError(f"the member {name} has a name outside of the file")
    if info.header_offset < 0 or info.header_offset + _HEAD + info.compress_size > end:
        raise ValueError(f"the member {name} overlaps what follows it")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused(f"has a member that is neither stored nor deflated, {name}")
    most = info.compress_size * (_RATIO if info.compress_type == zipfile.ZIP_DEFLATED else 1)
    if info.file_size > most:
        raise ValueError(f"the member {name} cannot hold {info.file_size} bytes in {info.compress_size}")


def content(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """All bytes of a member, which the zip's checksum confirms."""
    try:
        with opened.open(info) as member:
            return filled(member, info.file_size)
    except zlib.error as error:
        raise ValueError(f"the member {shown([info.filename])} is damaged: {error}") from error
