"""What the scripts of `examples/` have in common as commands.

They import it before all else that may be missing: it ends them with a word on where that comes from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from .. import _extras
from . import _arguments

try:
    _extras.need("skimage", "docs")
    _extras.need("matplotlib.figure", "docs")
except _extras.MissingExtraError as error:
    raise SystemExit(f"{Path(sys.argv[0]).name}: {error}") from None


picture_name = _arguments.picture_name("docs")


def picture_file(text: str) -> str:
    """Such a file, in a folder that is there."""
    return _arguments.to_write(picture_name(text))


def picture_script(main: Callable[..., None], doc: str, quick: str | None = None) -> None:
    """Run a script's `main` on its arguments: a picture and, where `quick` says what is left out, ``--quick``."""
    title, idea, *_ = doc.split("\n\n")
    parser = argparse.ArgumentParser(description=f"{title}. {' '.join(idea.split())}")
    parser.add_argument(
        "picture", nargs="?", default=f"{Path(sys.argv[0]).stem}.png", type=picture_file,
        help="the file to draw, whose suffix says how (default: %(default)s)",
    )  # fmt: skip
    if quick is not None:
        parser.add_argument("--quick", action="store_true", help=f"for a picture of the same kind, sooner: {quick}")
    main(**vars(parser.parse_args()))
