"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a new file that becomes `path` when the block ends without an error, and else leaves no trace.

    Whoever reads `path` meanwhile, or after a crash, finds the old content or the new one, never a part. The file mode
    is what `open` gives a new file.
    """
    path = Path(os.path.realpath(path))  # a link stays, and what it points to is replaced
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # in one file system, so that a rename is enough
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a power failure might leave the new name on an empty file
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
