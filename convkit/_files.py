"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ._options import of_kind


def as_path(path: Any, name: str = "path") -> Path:
    """The argument that names a file."""
    of_kind(path, (str, os.PathLike), name, "a str or a path")
    return Path(path)


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a new file that becomes `path` when the block ends without an error, and else leaves no trace.

    Whoever reads `path` meanwhile, or after a crash, finds the old content or the new one, never a part. The file mode
    is what `open` gives a new file. What is no file, such as a folder or a device, is not replaced: OSError. Where
    writing fails, as on a full disk, the error names `path`.
    """
    path = Path(os.path.realpath(as_path(path)))  # a link stays, and what it points to is replaced
    if path.exists() and not path.is_file():
        raise OSError(errno.EISDIR if path.is_dir() else errno.EINVAL, "path must be a file, or nothing yet", str(path))
    # In one file system, so that a rename is enough; of a fixed length, since a longer name might be too long.
    beside = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a power failure might leave the new name on an empty file
        os.replace(beside, path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(beside)):
            error.filename = str(path)
        raise


def save_picture(figure: Any, path: str | os.PathLike, dpi: float) -> None:
    """Write a matplotlib figure; the suffix says how, and is .png where there is none."""
    path = as_path(path) if as_path(path).suffix else Path(f"{os.fspath(path)}.png")
    with replacing(path) as file:
        figure.savefig(file, dpi=dpi, format=path.suffix[1:])
