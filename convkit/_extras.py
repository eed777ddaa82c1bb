"""Packages that convkit can do without until something asks for them."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingExtraError(ImportError):
    """A package of one of convkit's extras is not installed."""


def need(module: str, extra: str) -> ModuleType:
    """Import `module` and return it.

    Raises
    ------
    MissingExtraError
        If it is not installed; the message says which of convkit's extras brings it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # it is installed, and broken: its own message helps more
        raise MissingExtraError(
            f"{error.name} is not installed; it comes with the extra [{extra}]: "
            f'pip install ".[{extra}]" in convkit\'s source tree',
            name=error.name,
        ) from error
