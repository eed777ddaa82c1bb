"""Where a training stands, in one file: safetensors, with everything that is no array as JSON in its metadata.

Neither format can run code, and safetensors checks sizes and offsets before anything is allocated.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import _extras
from .._files import as_path, replacing
from .._words import brief, said, with_type
from ..nn.module import Module

VERSION = 1
_KEY = "convkit_checkpoint"  # the only key of the metadata: of several, safetensors writes the order as it comes
_ARRAY = "$array"  # {"$array": name} stands for an array in the JSON


def check_possible(path: str | Path) -> None:
    """Say now, not after hours of training, if nothing can be written to `path`.

    Raises
    ------
    ImportError
        If safetensors, of the extra ``[train]``, is not installed.
    FileNotFoundError, PermissionError, IsADirectoryError
        If there is no such folder, nothing may be written to it, or `path` is a folder itself.
    """
    _extras.need("safetensors.numpy", "train")
    place = Path(os.path.realpath(as_path(path, "checkpoint")))  # of a link, where the file is
    if not place.parent.is_dir():
        raise FileNotFoundError(f"checkpoint must be in a folder that exists, got {str(path)!r}")
    if place.is_dir():
        raise IsADirectoryError(f"checkpoint must be a file, or nothing yet, got the folder {str(path)!r}")
    if not os.access(place.parent, os.W_OK):
        raise PermissionError(f"checkpoint must be in a folder that can be written to, got {str(path)!r}")


def write(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write a tree of dicts, lists, arrays, numbers, texts and None; `path` never holds half of it.

    Raises
    ------
    ImportError
        If safetensors, of the extra ``[train]``, is not installed.
    TypeError
        If the tree holds something else, or a key that is no text.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = _pack(state, "", arrays)
    about = json.dumps({"version": VERSION, "tree": tree, "digest": _digest(tree, arrays)})
    save = _extras.need("safetensors.numpy", "train").save
    content = save(arrays, {_KEY: about})
    with replacing(path) as file:
        file.write(content)


def read(path: str | Path) -> dict[str, Any]:
    """Read what `write` wrote; tuples come back as lists, NumPy's scalars as arrays.

    Raises
    ------
    ImportError
        If safetensors, of the extra ``[train]``, is not installed.
    OSError
        If the file cannot be read.
    ValueError
        If it is no checkpoint, or a damaged one.
    """
    safetensors = _extras.need("safetensors", "train")
    with as_path(path).open("rb"):
        pass  # an error of the operating system says more than safetensors' about it
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise ValueError(
                    "it has arrays alone; model.load_state_dict(nn.load_state(path)) reads a file of weights"
                )
            about = json.loads(metadata[_KEY])
            if about["version"] != VERSION:
                raise ValueError(f"its version must be {VERSION}, got {brief(about['version'])}")
            arrays = {name: file.get_tensor(name) for name in list(file.keys())}
        digest = _digest(about["tree"], arrays)
        if about.get("digest", digest) != digest:  # convkit 0.1 wrote none
            raise ValueError(f"its digest must be {about['digest']}, got {digest}")
        return _unpack(about["tree"], arrays)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} must be a checkpoint that convkit wrote: {said(error)}") from error


def digest(state: Mapping[str, Any]) -> str:
    """The digest of such a tree, the same on every machine where it holds the same."""
    arrays: dict[str, np.ndarray] = {}
    return _digest(_pack(state, "", arrays), arrays)


def _digest(tree: Any, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all that a checkpoint holds."""
    found = hashlib.sha256(json.dumps(tree).encode())
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(array.reshape(-1).view(np.uint8))
    return found.hexdigest()


def _pack(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """`value` for JSON; arrays go to `arrays` under their path in the tree."""
    if isinstance(value, np.ndarray | np.generic):
        arrays[path] = np.asarray(value, order="C")  # safetensors writes memory as it lies
        return {_ARRAY: path}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"state{path} must have keys of type str, got {with_type(key)}")
        return {key: _pack(item, f"{path}/{key}", arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(item, f"{path}/{i}", arrays) for i, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"state{path} must be an array, a number, text or None, got {type(value).__name__}")


def _unpack(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The reverse of `_pack`."""
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {key: _unpack(item, arrays) for key, item in value.items()}
    return [_unpack(item, arrays) for item in value] if isinstance(value, list) else value


# ---------------------------------------------------------------- random numbers


def generators(rng: np.random.Generator, model: Module) -> dict[str, np.random.Generator]:
    """Every source of random numbers in a training, once, under its first name: the trainer's, then the layers'."""
    found = {"rng": rng}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, np.random.Generator) and all(value is not other for other in found.values()):
                found[f"model.{path}.{name}"] = value
    return found


def generator_states(sources: Mapping[str, np.random.Generator]) -> dict[str, Any]:
    """Where each of them stands."""
    return {name: source.bit_generator.state for name, source in sources.items()}


def set_generator_states(sources: Mapping[str, np.random.Generator], states: Mapping[str, Any]) -> None:
    """Set each of them to where it stood.

    Raises
    ------
    ValueError
        If they are not the same ones, or of another kind.
    """
    if sources.keys() != states.keys():
        raise ValueError(
            f"the random generators must be {', '.join(states)}, as in the checkpoint, got {', '.join(sources)}"
        )
    for name, source in sources.items():
        try:
            source.bit_generator.state = states[name]
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"the random generator {name} cannot be set to {brief(states[name])}: {error}") from error
