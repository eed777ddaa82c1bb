"""PyTorch's weight files: a pickle that says what lies where in which storage, and the storages.

Since PyTorch 1.6 both are members of a zip; before, and still on demand, they follow one another.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from . import _pickles
from ._bounded import AXES, KINDS, Refused, Source, archive, byte_length, content, decoded, filled, shown, stored

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001  # what the older form begins with


class _Storage(NamedTuple):
    """Numbers in a row, of one kind; where each tensor says the kind, bytes."""

    key: str
    kind: str
    elements: int

    @property
    def nbytes(self) -> int:
        """In the file."""
        return byte_length((self.elements,), stored(self.kind))


class _Tensor(NamedTuple):
    """Part of a storage; offset and strides count elements."""

    storage: _Storage
    kind: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """Of the array that it becomes."""
        return np.dtype("float32" if self.kind in ("float16", "bfloat16") else self.kind)


class _Contents(NamedTuple):
    """The storages in a file: how many bytes each has there, and a function that reads them; their byte order."""

    storages: dict[str, tuple[int, Callable[[], np.ndarray]]]
    order: str


def read_torch(source: Source, key: str | None) -> dict[str, np.ndarray]:
    """The arrays of a file, or of the dict that it has under `key`."""
    start = source.file.read(2)
    source.file.seek(0)
    if start == b"PK":
        tree, contents = _read_zip(source)
    elif start[:1] == b"\x80":
        tree, contents = _read_older(source)
    else:
        raise ValueError("it begins neither as a zip nor as a pickle")
    tensors = _chosen(tree, key)
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    for storage in storages.values():
        length = contents.storages.get(storage.key, (-1, None))[0]
        if length != storage.nbytes:
            there = "is not there" if length < 0 else f"has {length}"
            raise ValueError(f"a storage should have {storage.nbytes} bytes, and {there}: {shown([storage.key])}")
    source.check_total(sum(byte_length(tensor.shape, tensor.dtype) for tensor in tensors.values()))
    source.check_total(max((storage.nbytes for storage in storages.values()), default=0))
    return _arrays(tensors, contents)


def _chosen(tree: Any, key: str | None) -> dict[str, _Tensor]:
    """The tensors of what a pickle left, by name."""
    if key is not None:
        if type(tree) is not dict or key not in tree:
            keys = f"dict with {shown(tree)}" if type(tree) is dict else _what(tree)
            raise Refused(f"must have {shown([key])}, which key says, got {keys}")
        tree = tree[key]
    if type(tree) is not dict:
        raise Refused(f"must hold a dict of names and tensors, got {_what(tree)}")
    odd = {name: value for name, value in tree.items() if type(value) is not _Tensor or type(name) is not str}
    if odd:
        deeper = [
            name
            for name, value in odd.items()
            if type(value) is dict and type(next(iter(value.values()), None)) is _Tensor
        ]
        if deeper:
            raise Refused(f"has tensors a level below its own; say with key= in which of {shown(deeper)}")
        name, value = next(iter(odd.items()))
        raise Refused(f"must hold a dict of names and tensors alone, got {_what(value)} at {shown([name])}")
    return tree


def _what(value: Any) -> str:
    return type(value).__name__.lstrip("_").lower()


def _arrays(tensors: dict[str, _Tensor], contents: _Contents) -> dict[str, np.ndarray]:
    """Read each storage once, one after the other, so that no more than one is there beside the arrays."""
    names: dict[str, list[str]] = {}
    for name, tensor in tensors.items():
        names.setdefault(tensor.storage.key, []).append(name)
    arrays: dict[str, np.ndarray] = {}
    for key, its_names in names.items():
        raw = contents.storages[key][1]()
        arrays |= {name: _array(raw, tensors[name], contents.order) for name in its_names}
    return {name: arrays[name] for name in tensors}


def _array(raw: np.ndarray, tensor: _Tensor, order: str) -> np.ndarray:
    if 0 in tensor.shape:
        return np.empty(tensor.shape, tensor.dtype)
    dtype = stored(tensor.kind, order)
    flat = raw[: raw.size // dtype.itemsize * dtype.itemsize].view(dtype)
    # A single element is never stepped over, so its stride, which may be any number, does not matter.
    steps = [
        stride * dtype.itemsize if size > 1 else 0 for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    ]
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, steps, writeable=False)
    with np.errstate(invalid="ignore"):  # a signalling NaN is a number like others
        return decoded(view.copy(order="C"), tensor.kind).astype(tensor.dtype, copy=False)


# ---------------------------------------------------------------- the two forms


def _read_zip(source: Source) -> tuple[Any, _Contents]:
    """What a file of the present form holds, a zip archive: a tree of tensors, and the storages they lie in."""
    opened, members = archive(source)
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"it must have one member data.pkl in a folder, and has {shown(pickles) or 'none'}")
    root = pickles[0].removesuffix("data.pkl")
    if members[pickles[0]].file_size > _pickles.LONGEST:
        raise Refused(f"has a pickle of {members[pickles[0]].file_size} bytes; {_pickles.LONGEST} are read at most")
    order = b"little"
    if (info := members.get(f"{root}byteorder")) is not None:
        order = content(opened, info).tobytes() if info.file_size < 10 else b"?"
    if order not in (b"little", b"big"):
        raise ValueError("its byte order is neither little nor big")
    tree = _pickles.run(io.BytesIO(content(opened, members[pickles[0]])), _NAMES, _References())
    storages = {
        name.removeprefix(f"{root}data/"): (info.file_size, partial(content, opened, info))
        for name, info in members.items()
        if name.startswith(f"{root}data/")
    }
    return tree, _Contents(storages, "<" if order == b"little" else ">")


def _read_older(source: Source) -> tuple[Any, _Contents]:
    """The same of the form before PyTorch 1.6: pickles one after the other, then the storages."""
    stream = io.BytesIO(source.file.read(_pickles.LONGEST))
    references = _References()
    run = partial(_pickles.run, stream, _NAMES, references)
    if [run() for _ in range(2)] != [_MAGIC, _VERSION]:
        raise ValueError("its first pickles are not those of PyTorch")
    run()  # of the machine that wrote it; numbers have the lower byte first on any
    tree = run()
    storages: dict[str, tuple[int, Callable[[], np.ndarray]]] = {}
    keys, at = run(), stream.tell()
    for key in keys:
        storage = references.storages[key] if type(key) is str else None
        if storage is None or key in storages:
            raise ValueError("its list of storages is not one")
        source.file.seek(at)
        count = int.from_bytes(source.file.read(8), "little")
        at += 8 + storage.nbytes
        if count != storage.elements or at > source.size:
            raise ValueError(f"a storage should have {storage.elements} elements, and has {count}: {shown([key])}")
        storages[key] = storage.nbytes, partial(_read_at, source.file, at - storage.nbytes, storage.nbytes)
    return tree, _Contents(storages, "<")


def _read_at(file: BinaryIO, start: int, length: int) -> np.ndarray:
    file.seek(start)
    return filled(file, length)


# ---------------------------------------------------------------- what the pickle may ask for


class _References:
    """What a pickle's references stand for: storages, which it collects."""

    def __init__(self) -> None:
        self.storages: dict[str, _Storage] = {}

    def __call__(self, reference: Any) -> _Storage:
        what, kind, key, _, count, *rest = reference if type(reference) is tuple else ()
        if (
            [type(kind), type(key), type(count)] != [str, str, int]
            or what != "storage"
            or kind not in KINDS
            or count < 0
        ):
            raise ValueError("a reference is not one to a storage")
        if any(rest):
            raise Refused("has a view of a storage, as PyTorch wrote before 0.4; save it anew with a later one")
        storage = self.storages.setdefault(key, _Storage(key, kind, count))
        if storage != (key, kind, count):
            raise ValueError(f"two references to a storage disagree: {shown([key])}")
        return storage


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, kind: Any, metadata: Any) -> _Tensor:
    """A tensor as a file describes it, once it is known to lie within its storage."""
    if [type(storage), type(shape), type(strides), type(kind)] != [_Storage, tuple, tuple, str] or kind not in KINDS:
        raise ValueError("a tensor is made of something else than a storage, sizes and strides")
    if metadata:  # conjugation or negation, put off until somebody reads it
        raise Refused("has a tensor that is to be conjugated or negated; save tensor.resolve_conj().resolve_neg()")
    if len(shape) != len(strides) or len(shape) > AXES:
        raise ValueError(f"a tensor has {len(shape)} sizes and {len(strides)} strides")
    if any(type(number) is not int or not 0 <= number < 2**63 for number in (offset, *shape, *strides)):
        raise ValueError("a tensor has an offset, a size or a stride that is not a whole number from 0 to 2**63 - 1")
    end = 0  # of an empty tensor, which may lie anywhere
    if 0 not in shape:
        end = offset + 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if end * stored(kind).itemsize > storage.nbytes:
        raise ValueError(f"a tensor ends with element {end} of a storage that has {storage.nbytes} bytes")
    return _Tensor(storage, kind, offset, shape, strides)


def _tensor_2(storage, offset, shape, strides, requires_grad=False, hooks=None, metadata=None) -> _Tensor:
    return _tensor(storage, offset, shape, strides, getattr(storage, "kind", None), metadata)


def _tensor_3(storage, offset, shape, strides, requires_grad, hooks, kind, metadata=None) -> _Tensor:
    return _tensor(storage, offset, shape, strides, kind, metadata)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _size(values: Any) -> Any:
    return values


def _ordered_dict(pairs: Any = None) -> dict[str, Any]:
    """Empty, to be filled by the pickle, but of a list in Python 2.

    The list is then empty, or a short program could make a thousand large dicts of it.
    """
    if pairs is None:
        return {}
    if type(pairs) is not list or any(type(pair) is not list or type(pair[0]) is not str for pair in pairs):
        raise ValueError("an OrderedDict is made of something else than names and values")
    items, pairs[:] = dict(pairs), []
    return items


_STORAGES = {
    "Bool": "bool",
    "Byte": "uint8",
    "Char": "int8",
    "Short": "int16",
    "Int": "int32",
    "Long": "int64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Float": "float32",
    "Double": "float64",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
}
_NAMES: dict[str, Any] = {
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "torch.storage.UntypedStorage": "uint8",
    "torch._utils._rebuild_tensor": _tensor_2,
    "torch._utils._rebuild_tensor_v2": _tensor_2,
    "torch._utils._rebuild_tensor_v3": _tensor_3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}
_NAMES |= {f"torch.{name}Storage": kind for name, kind in _STORAGES.items()}
_NAMES |= {f"torch.{kind}": kind for kind in KINDS}
