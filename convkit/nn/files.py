"""Weight files: safetensors, npz and, to read, PyTorch's. None can run code when it is read."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from .. import _extras
from .._files import as_path, replacing
from .._memory import number_of_bytes
from .._words import brief
from ._bounded import Refused, Source
from ._plain_files import read_npz, read_safetensors
from ._torch_files import read_torch


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
        If `state` is not a mapping of names to arrays of numbers, of up to 64 bits each, or `path` is no path.
    ValueError
        If `path` ends otherwise, or a name is ``__metadata__`` or has a null in it.
    ImportError
        If safetensors is not installed; it comes with the extra [train].
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> from convkit import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "weights.npz")
    ...     nn.save_state(nn.Linear(3, 2, rng=0).state_dict(), path)
    ...     list(nn.load_state(path))
    ['weight', 'bias']
    """
    write = _WRITERS.get(as_path(path).suffix)
    if write is None:
        raise ValueError(f"path must end in .safetensors or .npz, got {os.fspath(path)!r}")
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
            raise ValueError(f"state must have names that files can hold, got {brief(name)}")
    write(state, path)


def load_state(
    path: str | os.PathLike, key: str | None = None, *, max_bytes: int | str | None = None
) -> dict[str, np.ndarray]:
    """Read a file that `save_state` or another program wrote, PyTorch's too, whoever it comes from.

    Parameters
    ----------
    path : str or path
        Ends in ``.safetensors``, ``.npz`` or, for what ``torch.save(model.state_dict(), path)`` wrote, in either of its
        forms, ``.pt`` or ``.pth``.
    key : str, optional
        For a ``.pt`` file that holds more than weights, ``{"state_dict": {...}, "epoch": 3}``: where they are.
    max_bytes : int or str, optional
        How much memory the arrays may take in all; text is a number and a unit, ``"2GiB"``. By default eight times the
        length of the file, and 64 MiB for a short one: few files unfold to more, and those of attackers do.

    Returns
    -------
    dict of str to ndarray
        In the file's order, each with its own memory. bfloat16, which NumPy has not, becomes float32, and in a ``.pt``
        file float16, too.

    Raises
    ------
    TypeError
        If `path` is no path, `key` no text, or `max_bytes` no number of bytes.
    ValueError
        If `path` ends otherwise, or the file is not what its name says, is cut short or is damaged; if it holds numbers
        that NumPy has no dtype for, or more of them than `max_bytes`; if a ``.pt`` file asks for more than tensors are
        made of, or has no tensors where `key` says. The message names the entry.
    OSError
        If the file cannot be read.

    Notes
    -----
    Nothing in a file is run. A ``.pt`` file has a pickle, a program; it is read by an interpreter that knows dicts,
    lists, tuples, text, numbers and tensors, and refuses the rest by name. PyTorch need not be installed. Sizes are
    compared with what the file has room for before anything is allocated.

    Examples
    --------
    >>> import os, tempfile
    >>> from convkit import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 8, 3, rng=0), nn.ReLU())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nn.save_state(model.state_dict(), os.path.join(folder, "weights.npz"))
    ...     state = nn.load_state(os.path.join(folder, "weights.npz"))
    >>> {name: array.shape for name, array in state.items()}
    {'0.weight': (8, 1, 3, 3), '0.bias': (8,)}
    >>> model.load_state_dict(state)
    IncompatibleKeys(missing_keys=[], unexpected_keys=[])
    """
    read = _READERS.get(as_path(path).suffix)
    if read is None:
        raise ValueError(f"path must end in .safetensors, .npz, .pt or .pth, got {os.fspath(path)!r}")
    if key is not None and not isinstance(key, str):
        raise TypeError(f"key must be text or None, got {brief(key)}")
    if read is read_torch:
        read = partial(read_torch, key=key)
    elif key is not None:
        raise ValueError(
            f"key must be None but for .pt and .pth files, which may have several levels, got {brief(key)}"
        )
    limit = None if max_bytes is None else number_of_bytes(max_bytes, "max_bytes")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        source = Source(file, size, max(8 * size, 2**26) if limit is None else limit)
        try:
            return read(source)
        except MemoryError:
            raise
        except Refused as error:
            raise ValueError(f"{path} {error}") from error
        except Exception as error:  # whatever comes of arbitrary bytes
            kind = Path(path).suffix[1:]
            raise ValueError(
                f"{path} is not a whole {kind} file of plain arrays ({type(error).__name__}: {str(error)[:300]}); "
                "copy or download it again, or save it anew with save_state"
            ) from error


def _write_safetensors(state: Mapping[str, np.ndarray], path: str | os.PathLike) -> None:
    # It writes the bytes as they lie in memory, so they have to lie in C order; and its save_file would write in place,
    # with a mode that locks other users out.
    plain = {name: array.astype(array.dtype.newbyteorder("="), order="C", copy=False) for name, array in state.items()}
    content = _extras.need("safetensors.numpy", "train").save(plain)
    with replacing(path) as file:
        file.write(content)


def _write_npz(state: Mapping[str, np.ndarray], path: str | os.PathLike) -> None:
    # Not by np.savez, to which some names would be arguments of its own.
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in state.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


_WRITERS = {".safetensors": _write_safetensors, ".npz": _write_npz}
_READERS: dict[str, Callable[..., dict[str, np.ndarray]]] = {
    ".safetensors": read_safetensors,
    ".npz": read_npz,
    ".pt": read_torch,
    ".pth": read_torch,
}
