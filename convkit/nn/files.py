"""Weight files: safetensors or npz, neither of which can run code when it is read."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .. import _extras
from .._files import replacing


def save_state(state: Mapping[str, np.ndarray], path: str | os.PathLike) -> None:
    """Write arrays with names to a file, ``save_state(model.state_dict(), "weights.safetensors")``.

    Parameters
    ----------
    state : mapping of str to ndarray
        `Module.state_dict`.
    path : str or path
        Ends in ``.safetensors``, which PyTorch and others read too, or in ``.npz``, which NumPy reads. An old file of
        that name is replaced when the new one is complete; after an error it is as it was.

    Raises
    ------
    TypeError
        If `state` is not a mapping of names to arrays of numbers, of up to 64 bits each.
    ValueError
        If `path` ends otherwise, or a name is ``__metadata__`` or has a null in it.
    ImportError
        If safetensors is not installed; it comes with the extra [train].
    OSError
        If the file cannot be written.
    """
    write = _form(path)[0]
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a mapping of names to arrays, got {type(state).__name__}")
    for name, array in state.items():
        plain = isinstance(array, np.ndarray) and array.dtype.kind in "fiub" and array.dtype.itemsize <= 8
        if not isinstance(name, str) or not plain:
            kind = f"an ndarray of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"state must be a mapping of names to arrays of numbers, got {kind} at {name!r}")
        if (
            "\0" in name or name == "__metadata__"
        ):  # npz would cut the name there; safetensors has it for something else
            raise ValueError(f"state must have names that files can hold, got {name!r}")
    write(state, path)


def load_state(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read a file that `save_state`, or another program, wrote; ``model.load_state_dict(load_state(path))``.

    Parameters
    ----------
    path : str or path
        Ends in ``.safetensors`` or ``.npz``.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    ValueError
        If `path` ends otherwise, or the file is not what its name says, is cut short or is damaged, or holds numbers
        that NumPy has no dtype for, such as bfloat16; the message names the entry.
    ImportError
        If safetensors is not installed; it comes with the extra [train].
    OSError
        If the file cannot be read.
    """
    read = _form(path)[1]
    with open(path, "rb") as file:
        try:
            return read(file)
        except ImportError:
            raise
        except _Foreign as error:
            raise ValueError(f"{path} must hold arrays of dtypes that NumPy has, got {error}") from error
        except Exception as error:  # whatever the readers of two formats make of arbitrary bytes
            kind = Path(path).suffix[1:]
            raise ValueError(
                f"{path} is not a whole {kind} file of plain arrays ({type(error).__name__}: {error}); "
                "copy or download it again, or save it anew with save_state"
            ) from error


def _write_safetensors(state: Mapping[str, np.ndarray], path: str | os.PathLike) -> None:
    # It writes the bytes as they lie in memory, so they have to lie in C order; and its save_file would write in place,
    # with a mode that locks other users out.
    plain = {name: array.astype(array.dtype.newbyteorder("="), order="C", copy=False) for name, array in state.items()}
    content = _extras.need("safetensors.numpy", "train").save(plain)
    with replacing(path) as file:
        file.write(content)


class _Foreign(Exception):
    """A whole file has an array of a dtype that NumPy has not."""


def _read_safetensors(file: BinaryIO) -> dict[str, np.ndarray]:
    content = file.read()
    try:
        return _extras.need("safetensors.numpy", "train").load(content)
    except KeyError as error:  # of a dtype; by now the file is known to be whole
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        names = [name for name, entry in header.items() if entry.get("dtype") in error.args]
        raise _Foreign(f"{error.args[0]} at {', '.join(map(repr, names))}") from error


def _write_npz(state: Mapping[str, np.ndarray], path: str | os.PathLike) -> None:
    # Not by np.savez, to which some names would be arguments of its own.
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in state.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _read_npz(file: BinaryIO) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        state = {}
        for name in archive.namelist():
            with archive.open(name) as member:
                state[name.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
        return state


_FORMS = {".safetensors": (_write_safetensors, _read_safetensors), ".npz": (_write_npz, _read_npz)}


def _form(path: str | os.PathLike):
    """The functions that write and read what the suffix stands for."""
    form = _FORMS.get(Path(path).suffix)
    if form is None:
        raise ValueError(f"path must end in .safetensors or .npz, got {os.fspath(path)!r}")
    return form
