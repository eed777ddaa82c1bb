"""Arrays: what is taken in, what may be written to, and allocation that says what it could not get.

After `as_array` an array is a plain ndarray of float32 or float64 in native byte order. Nothing is copied but arrays of
foreign byte order. Dtypes are compared by value: NumPy does not intern them, and an array that was pickled brings one
of its own.
"""

from __future__ import annotations

import numpy as np

from ._ext import engine

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
# Work that np.shares_memory may spend on strides no bound can tell apart (the question is NP-hard): a few milliseconds.
_OVERLAP_WORK = 100_000


def _as_array(value, name: str, first: np.ndarray | None, first_name: str) -> np.ndarray:
    array = _take_in(value, name)
    if first is not None:
        same_dtype(array, name, first, first_name)
    return array


engine.take_in_by(_as_array)
as_array, empty, fits_out = engine.as_array, engine.empty, engine.fits_out


def _take_in(value, name: str) -> np.ndarray:
    """`value` as a plain array of float32 or float64 in the machine's byte order."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a float32 or float64 array, got a MaskedArray, whose mask would be lost")
    # Looked up on the type: a class that defines __array__ is not itself an array.
    if not hasattr(type(value), "__array__"):
        raise TypeError(f"{name} must be a float32 or float64 array, got {type(value).__name__}")
    refuse_lazy(value, name)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a float32 or float64 array, got {type(value).__name__}: {error}") from error
    if not is_real(array.dtype):
        hint = "; astype converts it" if array.dtype.kind in "biuf" else ""
        raise TypeError(f"{name} must be float32 or float64, got dtype {array.dtype}{hint}")
    return native(array).view(FLOAT32 if array.dtype.itemsize == 4 else FLOAT64)


def refuse_lazy(value, name: str) -> None:
    """Refuse what would silently be loaded whole."""
    package = type(value).__module__.partition(".")[0]
    if package in ("dask", "zarr"):
        raise TypeError(
            f"{name} must be an ndarray, got an array of {package}'s, all of which would be loaded: convkit.dask works "
            "on it block by block, numpy.asarray loads it"
        )


def is_real(dtype: np.dtype) -> bool:
    """Whether it is float32 or float64, in either byte order."""
    return dtype.kind == "f" and dtype.itemsize in (4, 8)


def native(array: np.ndarray) -> np.ndarray:
    """The array in native byte order, without a copy unless its own is foreign."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def in_order(array: np.ndarray) -> np.ndarray:
    """The array as its own elements side by side, each at a multiple of its size: without a copy where it is that."""
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else np.array(array, order="C")


def writable(value):
    """`value`, or a copy if it is an array that is read-only or misaligned: for what an unpickled object writes to.

    Arrays that travel beside a pickle (protocol 5), or that joblib maps into the memory of its workers, come like that.
    """
    return value.copy() if isinstance(value, np.ndarray) and not value.flags.behaved else value


def same_dtype(array: np.ndarray, name: str, first: np.ndarray, first_name: str) -> None:
    """All arrays of a call share one dtype; there is no silent promotion."""
    if array.dtype != first.dtype:
        error = TypeError(
            f"{name} must have the dtype of {first_name}, {first.dtype}, got {array.dtype}; astype converts either"
        )
        error.differing = name, array.dtype, first_name, first.dtype  # for a layer, to which its parameters are given
        raise error


def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays share a byte; True as well where finding out would take too long."""
    apart = a is not b and a.flags.owndata and b.flags.owndata  # found out in half the time
    if apart or not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, max_work=_OVERLAP_WORK)
    except np.exceptions.TooHardError:
        return True


def overlaps_itself(array: np.ndarray) -> bool:
    """Whether two elements share a byte.

    Two such elements first differ in some axis; seen from there, the first slice of that axis meets one of the others.
    """
    if array.flags.c_contiguous:
        return False
    while array.ndim and array.size:
        if overlap(array[:1], array[1:]):
            return True
        array = array[0]
    return False


def as_out(out, name: str, shape: tuple[int, ...], dtype: np.dtype, inputs) -> np.ndarray:
    """`out` as a plain ndarray, once it is known to be fit for writing; `inputs` are (name, array or None) pairs."""
    plain = type(out) is np.ndarray
    if not plain and (not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray)):
        raise TypeError(f"{name} must be a {dtype} ndarray, got {type(out).__name__}")
    if out.dtype is not dtype and out.dtype != dtype:
        if out.dtype.newbyteorder("=") == dtype:
            raise ValueError(f"{name} must have the native byte order, got dtype {out.dtype.str}")
        raise TypeError(f"{name} must have dtype {dtype}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name} must be writable, got a read-only array")
    if overlaps_itself(out):
        raise ValueError(f"{name} must not overlap itself, got strides {out.strides} for shape {out.shape}")
    for other, array in inputs:
        if array is not None and overlap(out, array):
            raise ValueError(f"{name} must not share memory with {other}, got an array that does")
    return out if plain else np.asarray(out)
