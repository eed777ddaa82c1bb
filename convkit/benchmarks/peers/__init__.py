"""Other libraries on the same problems: one module each, named as the command has it, imported when it is asked for.

A module holds ``build(problem)``, which returns a `Contender` whose call does what convkit's does, on as many threads,
in float32 arithmetic, from arrays that are already where the library wants them. Where the library has no such
operator it raises a `NotOfferedError`, or what the library raises; the command prints it.
"""

from __future__ import annotations

import importlib

from ..measure import Build

PEERS = ("torch", "onnxruntime", "openvino", "ncnn", "mnn", "scipy")


def load(name: str) -> Build:
    """A peer's `build`.

    Raises
    ------
    MissingExtraError
        If the library is not installed.
    """
    return importlib.import_module(f".{name}", __name__).build
