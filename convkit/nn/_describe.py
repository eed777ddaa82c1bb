"""What layers show of themselves, and what they all check."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def unusual(options: Mapping[str, Any], operator: Callable) -> str:
    """``", name=value"`` for every option that is not the operator's default."""
    defaults = inspect.signature(operator).parameters
    return "".join(f", {name}={value!r}" for name, value in options.items() if value != defaults[name].default)


def check_groups(groups: int, in_channels: int, out_channels: int) -> None:
    """Raise ValueError unless `groups` divides both channel counts."""
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ValueError(
            f"groups must divide the {in_channels} input and the {out_channels} output channels, got {groups}"
        )
