"""Context managers that hold for the calling Python thread, or asyncio task, alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from functools import wraps
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class Held(AbstractContextManager[None], Generic[_T]):
    """Inside the ``with`` a variable is what `change` makes of it; also a decorator of functions that run so.

    It may be entered again when it has been left. It holds one thing to go back to, so it is not entered twice at once.
    """

    def __init__(self, variable: ContextVar[_T], change: Callable[[_T], _T]) -> None:
        self._variable, self._change = variable, change
        self._token: Token[_T] | None = None

    def __enter__(self) -> None:
        if self._token is not None:
            raise RuntimeError("a context manager must be left before it is entered again; make one for each with")
        self._token = self._variable.set(self._change(self._variable.get()))

    def __exit__(self, *_: object) -> None:
        token, self._token = self._token, None
        if token is not None:
            self._variable.reset(token)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with Held(self._variable, self._change):  # of its own, since calls may be nested, and in several threads
                return function(*args, **kwargs)

        return inside
