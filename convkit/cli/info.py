"""`convkit info`: how convkit was built, what it chose here, and this machine's peak."""

from __future__ import annotations

import argparse

import convkit

from .._probe import UNSTEADY, highest, moved


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    convkit.show_config()
    first, second = convkit.machine_peak(), convkit.machine_peak()
    print(highest(first, second))
    if moved(first, second):
        print(UNSTEADY)
    return 0
