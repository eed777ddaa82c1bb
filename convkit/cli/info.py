"""`convkit info`: how convkit was built, what it chose here, and this machine's peak."""

from __future__ import annotations

import argparse

import convkit

from .._probe import UNSTEADY, Probe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    convkit.show_config()
    probe = Probe("float32", convkit.get_num_threads(), "float64")
    probe.renew()
    print(probe.peak)
    if probe.disturbed:
        print(UNSTEADY)
    return 0
