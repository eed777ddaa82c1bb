"""What is said of a variable whose value cannot be: it is read while the package is imported, ahead of any command."""

from __future__ import annotations

import sys
from pathlib import Path


def refusal(message: str) -> RuntimeError | SystemExit:
    """What to raise: an error; in the command `convkit`, whose user imports nothing, what ends it after this line."""
    if not _of_the_command():
        return RuntimeError(message)
    print(f"convkit: {message}", file=sys.stderr)
    return SystemExit(2)


def _of_the_command() -> bool:
    """Whether this process was started as `convkit ...` or `python -m convkit ...`.

    While `-m` imports the package, ahead of its `__main__`, only the interpreter's own arguments say what it will run.
    """
    run = sys.orig_argv[-len(sys.argv) :][:1]
    return [Path(name).name for name in run] in (["convkit"], ["-mconvkit"])
