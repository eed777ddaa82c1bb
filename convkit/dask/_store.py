"""Results on the disk, there whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from .._extras import need
from .._stored import Stored
from ._graph import known

# What an array of either format has from its first to its last moment, and takes along when it gets its name.
_SIGNS = {2: ".zarray", 3: "zarr.json"}


class _UnderWay(Stored):
    """An array that a job writes: of tasks that come late, once it has been given up, nothing stays."""

    def __init__(self, array: Any, name: str, folder: Path) -> None:
        super().__init__(array, name)
        self.folder, self.sign = folder, folder / _SIGNS[array.metadata.zarr_format]

    def __setitem__(self, where: tuple[slice, ...], part: np.ndarray) -> None:
        if not self.sign.exists():
            raise self._failed("writable", where, FileNotFoundError(errno.ENOENT, "given up", str(self.sign)))
        try:
            super().__setitem__(where, part)
        finally:
            if not self.sign.exists():  # given up meanwhile: the folder may have been made again
                shutil.rmtree(self.folder, ignore_errors=True)


def _give_up(folder: Path) -> None:
    """Remove what there is; tasks that are writing just then miss the sign, and remove what they add."""
    for sign in _SIGNS.values():
        (folder / sign).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def to_zarr(array: da.Array, path: str | os.PathLike, **options: Any) -> Any:
    """
    Compute an array into a new zarr array, which is there whole or not at all.

    Parameters
    ----------
    array : dask.array.Array
        In chunks of known sizes.
    path : str or path
        A folder that is not there yet, in a file system that all workers share. It gets its name when all is written.
    **options
        As `zarr.create_array` takes them: `chunks`, `shards`, `compressors`, `attributes`... By default chunks are as
        large as the largest of `array`, which is rechunked where it does not fit them.

    Returns
    -------
    zarr.Array

    Raises
    ------
    ImportError
        If zarr, of the extra ``[dask]``, is not installed.
    TypeError, ValueError
        If `array` is no Dask array, or has chunks of unknown sizes; if `path` is a URL, or zarr refuses an option.
    OSError
        If there is something at `path`, or a part cannot be written, as on a full disk: the message has both. What was
        written until then is removed.

    Examples
    --------
    >>> import os, tempfile, convkit.dask, dask.array as da
    >>> y = convkit.dask.avg_pool2d(da.ones((1, 3, 100, 100), dtype="float32", chunks=(1, 3, 60, 40)), 2)
    >>> convkit.dask.to_zarr(y, os.path.join(tempfile.mkdtemp(), "y.zarr")).chunks
    (1, 3, 30, 20)
    """
    zarr = need("zarr", "dask")
    if not isinstance(array, da.Array):
        raise TypeError(f"array must be a Dask array, got {type(array).__name__}")
    if "://" in str(path):
        raise ValueError(
            f"path must be that of a folder, since only there a name can be given at the end, got {path!r}"
        )
    path, largest = Path(path), [max(1, *sizes) for sizes in known(array, "array").chunks]
    if os.path.lexists(path):
        raise FileExistsError(f"path must be nothing yet, got {str(path)!r}")
    if not options.get("shards"):
        options.setdefault("chunks", tuple(largest))
    beside = path.with_name(f".{secrets.token_hex(8)}.part")  # in the same file system
    try:
        out = zarr.create_array(str(beside), shape=array.shape, dtype=array.dtype, **options)
        units = zip(out.shards or out.chunks, largest, strict=True)
        pieces = {axis: unit * max(1, size // unit) for axis, (unit, size) in enumerate(units)}
        # No chunk of it is written by two tasks, so that no lock is needed.
        array.rechunk(pieces).store(_UnderWay(out, str(path), beside), lock=False)
        beside.rename(path)
    except BaseException as error:
        _give_up(beside)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)
        raise
    return zarr.open_array(str(path), mode="r+")
