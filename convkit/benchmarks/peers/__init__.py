"""Other libraries on the same problems: one module each, named as the command has it, imported when it is asked for.

A module holds ``build(problem)``, which returns a `Contender` whose call does what convkit's does, on as many threads,
in float32 arithmetic, from arrays that are already where the library wants them. Where the library has no such
operator it raises a `NotOfferedError`, or what the library raises; the command prints it.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from ..._extras import need
from ..measure import Build
from ..problem import NotOfferedError

PEERS = ("torch", "onnxruntime", "openvino", "ncnn", "mnn", "scipy")


def add_against(parser: argparse.ArgumentParser, known: Sequence[str] = PEERS) -> None:
    """The option that names peers, separated by commas or blanks; an empty list where it is not given."""

    def names(text: str) -> list[str]:
        found = [name for name in text.split(",") if name]
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"must be of {', '.join(known)}, got {name!r}")
        return found

    class Joined(argparse.Action):
        def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
            setattr(namespace, self.dest, list(dict.fromkeys(sum(values, []))))

    parser.add_argument(
        "--against", nargs="+", type=names, action=Joined, default=[], metavar="PEER",
        help=f"time these beside it, one or several, with blanks or commas between: {', '.join(known)}",
    )  # fmt: skip


def load(name: str) -> Build:
    """A peer's `build`.

    Raises
    ------
    MissingExtraError
        If the library is not installed.
    """
    return importlib.import_module(f".{name}", __name__).build


def torchvision_deform() -> Callable[..., Any]:
    """PyTorch's deformable convolution, which is torchvision's.

    Raises
    ------
    NotOfferedError
        If torchvision is not installed, or does not load beside this PyTorch.
    """
    try:
        return need("torchvision.ops", "bench").deform_conv2d
    except (ImportError, RuntimeError) as error:  # RuntimeError: it was built for another PyTorch
        raise NotOfferedError(f"its deformable convolution is torchvision's, which does not load: {error}") from error
