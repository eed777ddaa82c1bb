"""Kinds of layers that there are for one, two and three spatial axes."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..ops._docs import words
from .module import Module


class ForAxes(Module):
    """Base of such a kind: ``class Conv2d(_Conv, nd=2)`` has the operators, and the docstring, of two axes."""

    _operators: tuple[ModuleType, str]  # where the operators are, and what they are called but for the axes
    _doc: str
    _passed: tuple[str, ...]  # names of the attributes that are the operator's options, in the order shown

    _nd: int
    _forward: Callable[..., Any]
    _backward: Callable[..., Any]

    def __init_subclass__(cls, nd: int = 0, **options: Any) -> None:
        super().__init_subclass__(**options)
        if nd:
            module, name = cls._operators
            cls._nd, cls.__doc__ = nd, cls._doc.format(**words(nd))
            cls._forward = staticmethod(getattr(module, f"{name}{nd}d"))
            cls._backward = staticmethod(getattr(module, f"{name}{nd}d_backward"))

    def _chosen(self) -> dict[str, Any]:
        """What is passed on to the operator."""
        return {name: getattr(self, name) for name in self._passed}
