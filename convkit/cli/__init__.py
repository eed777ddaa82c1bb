"""The command `convkit`.

A command is a module here with `add_arguments(parser)` and `run(args)`, which returns the exit status, and a line in
COMMANDS.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence
from typing import Any

import convkit

from .._extras import MissingExtraError
from ._arguments import INTERRUPTED, failed

COMMANDS = {
    "demo": "train a small network on real handwritten digits, draw what it learned, and time this machine",
    "train": "train a network on the digits or on a folder of images, with what you choose by name",
    "bench": "time the layers of well-known networks against this machine's peak",
    "explain": "say what a convolution would do on this machine, why, and how far below the roofline it lands",
    "time": "time a whole network, prepared for inference, and show where its time goes",
    "run": "run a model of ONNX's on an array or a picture, and time it beside ONNX Runtime",
    "verify": "compute small problems of every family here, and compare them with what they mean",
    "info": "show how convkit was built, what it chose here, and this machine's peak",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (by default the process's own) and return the exit status."""
    parser, args = _parser(), argparse.Namespace(command=None)
    if isinstance(sys.stdout, io.TextIOWrapper):  # in a log, too, lines appear as they are printed
        sys.stdout.reconfigure(line_buffering=True)
    try:
        parser.parse_args(argv, args)
        if args.command is None:  # as argparse has it of what is missing: nothing was done, which a script is to notice
            parser.print_help(sys.stderr)
            return 2
        return args.run(args)
    except (MissingExtraError, BrokenPipeError) as error:
        return failed(args.command, error, 1)
    except KeyboardInterrupt:
        print(f"convkit {args.command}: interrupted", file=sys.stderr)
        return INTERRUPTED


class _Command(argparse.ArgumentParser):
    """A command answers by its own usage what it does not know, which argparse would leave to the whole."""

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        found, unknown = super().parse_known_args(*args, **kwargs)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="convkit", description="Convolutions and their gradients for NumPy, on all cores of a CPU."
    )
    parser.add_argument("--version", action="version", version=f"convkit {convkit.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", parser_class=_Command)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        module = importlib.import_module(f".{name}", __name__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
