"""`convkit info`: how convkit was built, what it chose here, and this machine's peak."""

from __future__ import annotations

import argparse

import convkit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    convkit.show_config()
    print(convkit.machine_peak())
    return 0
