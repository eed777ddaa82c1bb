"""What layers show of themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def unusual(options: Mapping[str, Any], operator: Callable) -> str:
    """``", name=value"`` for every option that is not the operator's default."""
    defaults = inspect.signature(operator).parameters
    return "".join(f", {name}={value!r}" for name, value in options.items() if value != defaults[name].default)
