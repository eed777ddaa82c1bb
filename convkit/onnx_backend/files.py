"""What a model's file says, before it is believed: messages, tensors, and data that lies in files beside the model.

Nothing is allocated before it is counted, and nothing is read that does not lie in the model's own folder.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from .._extras import need

# The numbers of TensorProto.DataType, and their dtypes; what is not here is refused by name.
DTYPES = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip
FLOAT16, BFLOAT16 = 10, 16
HALVES = FLOAT16, BFLOAT16  # read as float32
_TYPED = {1: "float_data", 6: "int32_data", 7: "int64_data", 11: "double_data", 12: "uint64_data", 13: "uint64_data"}
_EXTERNAL = 1  # of TensorProto.DataLocation


class UnsupportedError(RuntimeError):
    """A model has what convkit does not have: operators, element types, forms of them. All are named at once."""


class RefusedTypeError(UnsupportedError):
    """An element type that convkit has no arrays of."""


def onnx() -> Any:
    """The package, which only this part of convkit needs."""
    return need("onnx", "onnx")


def type_name(number: int) -> str:
    """What ONNX calls an element type."""
    names = onnx().TensorProto.DataType
    return names.Name(number) if number in names.values() else f"number {number}"


def dtype_of(number: int) -> np.dtype:
    """The dtype that elements of this type have here.

    Raises
    ------
    RefusedTypeError
        If they have none.
    """
    if number in HALVES:
        return np.dtype(np.float32)
    if number not in DTYPES:
        raise RefusedTypeError(f"elements of type {type_name(number)}")
    return np.dtype(DTYPES[number])


def declared_dtype(number: int) -> np.dtype:
    """The dtype that callers give and get: float16 and bfloat16 are themselves."""
    return onnx().helper.tensor_dtype_to_np_dtype(number) if number in HALVES else dtype_of(number)


def read(source: Any) -> tuple[Any, Path | None]:
    """A model, and the folder that its further files lie in.

    Parameters
    ----------
    source : path, bytes or ModelProto

    Raises
    ------
    ValueError
        If it is no model.
    """
    proto = onnx().ModelProto
    if isinstance(source, proto):
        return source, None
    folder = None
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        content, folder = path.read_bytes(), path.resolve().parent
    elif isinstance(source, (bytes, bytearray, memoryview)):
        content = bytes(source)
    else:
        raise TypeError(f"model must be a path, bytes or an onnx.ModelProto, got {type(source).__name__}")
    try:
        model = proto.FromString(content)
    except Exception as error:  # of google.protobuf, whose class depends on how it was built
        raise ValueError(f"the model is no ONNX file: {error}") from error
    if not model.HasField("graph"):
        raise ValueError("the model is no ONNX file: it has no graph")
    return model, folder


class Tensors:
    """The arrays of a model's tensors.

    Parameters
    ----------
    folder : Path or None
        Where files of external data may lie; None: nowhere.
    max_bytes : int
        What all arrays together may take.
    """

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self._folder, self._left, self._max_bytes = folder, max_bytes, max_bytes

    def array(self, tensor: Any) -> np.ndarray:
        """The array that a TensorProto is; float16 and bfloat16 as float32."""
        what = f"tensor {tensor.name!r}"
        dtype, shape = dtype_of(tensor.data_type), tuple(tensor.dims)
        if any(size < 0 for size in shape) or len(shape) > 64:
            raise ValueError(f"{what} has no shape: {shape}")
        if tensor.HasField("segment"):
            raise ValueError(f"{what} is a segment of a tensor, which no version of ONNX has read")
        count = math.prod(shape)
        self._left -= count * dtype.itemsize
        if self._left < 0:
            raise MemoryError(f"the model's tensors take more than max_bytes = {self._max_bytes}, at {what}")
        if tensor.data_location == _EXTERNAL:
            stored = self._external(tensor, count)
        elif tensor.HasField("raw_data"):
            stored = _raw(tensor.raw_data, tensor.data_type, count, what)
        else:
            stored = _listed(tensor, count, what)
        array = stored.reshape(shape)
        return array.astype(dtype) if array.dtype != dtype else array

    def _external(self, tensor: Any, count: int) -> np.ndarray:
        """A tensor from a file beside the model's, which must be in the model's folder and long enough."""
        what = f"tensor {tensor.name!r}"
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if self._folder is None:
            raise ValueError(f"{what} lies in the file {location!r}; a model with such files is loaded by its path")
        path = (self._folder / location).resolve()
        if not location or Path(location).is_absolute() or not path.is_relative_to(self._folder):
            raise ValueError(f"{what} lies in {location!r}, outside the model's folder")
        if not path.is_file():
            raise ValueError(f"{what} lies in {location!r}, which is no file")
        try:
            offset, size = int(entries.get("offset", 0)), path.stat().st_size
            length = int(entries.get("length", size - offset))
        except ValueError as error:
            raise ValueError(f"{what} lies at a place that is no number: {error}") from error
        if offset < 0 or length < 0 or offset + length > size:
            raise ValueError(f"{what} lies at {offset} + {length} bytes of {location!r}, which has {size}")
        if length != count * _stored(tensor.data_type).itemsize:
            raise ValueError(f"{what} has {length} bytes in {location!r}, and its shape needs another number")
        with open(path, "rb") as file:
            file.seek(offset)
            return _raw(file.read(length), tensor.data_type, count, what)


def _stored(number: int) -> np.dtype:
    """How raw data has the elements."""
    return np.dtype(np.uint16) if number in HALVES else dtype_of(number)


def _raw(content: bytes, number: int, count: int, what: str) -> np.ndarray:
    stored = _stored(number).newbyteorder("<")
    if len(content) != count * stored.itemsize:
        raise ValueError(f"{what} has {len(content)} bytes of data, and its shape needs {count * stored.itemsize}")
    return _widened(np.frombuffer(content, stored).astype(stored.newbyteorder("="), copy=False), number)


def _listed(tensor: Any, count: int, what: str) -> np.ndarray:
    values = getattr(tensor, _TYPED.get(tensor.data_type, "int32_data"))
    if len(values) != count:
        raise ValueError(f"{what} has {len(values)} elements, and its shape needs {count}")
    wide = np.array(values, np.int64 if tensor.data_type not in (1, 11, 13) else DTYPES[tensor.data_type])
    return _widened(wide.astype(_stored(tensor.data_type)), tensor.data_type)


def _widened(stored: np.ndarray, number: int) -> np.ndarray:
    """float16 and bfloat16, which are stored as their bits, in float32."""
    if number == FLOAT16:
        return stored.view(np.float16).astype(np.float32)
    if number == BFLOAT16:
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored
