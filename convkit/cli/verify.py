"""`convkit verify`: whether this machine computes what convkit promises."""

from __future__ import annotations

import argparse

import convkit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status, 1 if anything is wrong."""
    found = convkit.verify()
    print(found)
    return 0 if found.ok else 1
