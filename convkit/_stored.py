"""Arrays in storage (zarr, h5py, memmap, or any that gives and takes slices), whose errors say which and where."""

from __future__ import annotations

import contextlib
import mmap
import sys
from typing import Any

import numpy as np


class Stored:
    """An array that says which part of it could not be read or written."""

    def __init__(self, array: Any, name: str) -> None:
        self.array, self.name = array, name
        try:
            self.shape, self.dtype = tuple(map(int, array.shape)), np.dtype(array.dtype)
        except (AttributeError, TypeError) as error:
            raise TypeError(f"{name} must have a shape and a dtype, got {type(array).__name__}: {error}") from error
        self.ndim = len(self.shape)

    def __getitem__(self, where: tuple[slice, ...]) -> np.ndarray:
        try:
            return np.asarray(self.array[where])
        except Exception as error:
            raise self._failed("readable", where, error) from error

    def __setitem__(self, where: tuple[slice, ...], part: np.ndarray) -> None:
        try:
            self.array[where] = part
        except Exception as error:
            raise self._failed("writable", where, error) from error

    def let_go(self) -> None:
        """Unmap the pages of a memmap, which the system keeps, and writes, as those of any file.

        While they are mapped, all that was ever touched counts as the process's memory. A private copy stays.
        """
        mapped = getattr(self.array, "_mmap", None)
        if isinstance(self.array, np.memmap) and mapped is not None and self.array.mode != "c":
            if sys.platform == "linux":  # elsewhere the advice may mean that what was written is lost
                with contextlib.suppress(OSError):  # locked pages are to stay
                    mapped.madvise(mmap.MADV_DONTNEED)

    def _failed(self, able: str, where: tuple[slice, ...], error: Exception) -> OSError:
        part = ", ".join(f"{side.start}:{side.stop}" for side in where)
        return OSError(f"{self.name} must be {able}, got {error!r} for [{part}] of {self.array!r}")
